"""What a follower may do over a tree of tipsets, and what must be seen after it: the naive side of the store's tests."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from processors.folds import Contribution
from processors.readings import StreamReading, WindowReading
from processors.windows import Window
from streams.records import Record, Rewind, TipsetRecord

NETWORK = "testnet"
FIRST_HEIGHT = 1000
DAY, TOP = 2880, 10

Step = tuple[str, int]
Held = Contribution | None
"""What a known height holds: a contribution, or None for a null round."""


def contribution(seed: int) -> Contribution:
    """A contribution of a few fields and members of few names, so that they meet often; amounts of one to three limbs."""
    rng = random.Random(seed)
    sums = {
        name: rng.choice((1, 7, 10**12, 10**12 - 1, 10**19, 3 * 10**26 + 5, -1, -(10**12), -(10**25) - 3)) for name in rng.sample("abcd", 2)
    }
    addresses = [f"0x{number:040x}" for number in rng.sample(range(12), rng.randrange(5))]
    kinds = {kind: frozenset(rng.sample(addresses, rng.randrange(len(addresses) + 1))) for kind in ("sender:x", "sender:y", "contract")}
    kinds["sender"] = frozenset(addresses)
    projects = frozenset(rng.sample(("one", "two", "three", "a name of more than 20 letters"), rng.randrange(3)))
    ranked = {address: rng.choice((1, 5, 10**10)) for address in rng.sample(addresses, rng.randrange(len(addresses) + 1))}
    deployers = frozenset(f"0x{number:040x}" for number in rng.sample(range(40), rng.choice((0, 0, 1, 3))))
    return Contribution(sums, kinds, {"lasts": rng.randrange(3)}, {"project": projects, "deployer": deployers}, ranked)


def tipset(height: int, parent: int | None, sequence: int, network: str = NETWORK) -> TipsetRecord:
    """A record without messages; what it adds is said by `contribution(sequence)`."""
    digest = f"0x{sequence:064x}"
    return TipsetRecord(
        network=network,
        sequence=sequence,
        height=height,
        parent_height=parent,
        hash=digest,
        parent_hash=digest,
        timestamp_seconds=30 * height,
        noticed_at=0.0,
        base_fee_attofil=100 + height,
    )


def rewind(height: int, top: int, sequence: int) -> Rewind:
    """Everything in `(height, top]` is empty."""
    return Rewind(network=NETWORK, sequence=sequence, stream="tipsets", height=height, top=top)


@dataclass(slots=True)
class Walker:
    """A follower that publishes what `steps` tell it to, and remembers what is true: `chain` is what a recount would find."""

    records: list[Record] = field(default_factory=list)
    chain: list[tuple[int, int]] = field(default_factory=list)  # height, sequence; oldest first
    start: int = FIRST_HEIGHT
    reserved: int = FIRST_HEIGHT
    incarnation: int = 1
    counter: int = 0

    @property
    def head(self) -> int | None:
        """The height of the newest tipset."""
        return self.chain[-1][0] if self.chain else None

    def sequence(self) -> int:
        """The next one, larger than any before."""
        self.counter += 1
        return self.incarnation << 32 | self.counter

    def extend(self, nulls: int) -> None:
        """A tipset on the head, after so many null rounds."""
        parent = self.head
        height = self.start if parent is None else parent + 1 + nulls
        record = tipset(height, parent, self.sequence())
        self.records.append(record)
        self.chain.append((height, record.sequence))
        self.reserved = max(self.reserved, height)

    def fork(self, depth_epochs: int) -> None:
        """Go back so many epochs at most: the head's tipset falls, the next one will have another parent."""
        top = self.head
        if top is None:
            return
        self.chain = [(height, sequence) for height, sequence in self.chain if height <= top - depth_epochs]
        if self.chain:
            self.records.append(rewind(self.chain[-1][0], top, self.sequence()))
        else:
            self.records.append(rewind(self.start - 1, top, self.sequence()))

    def restart(self, stale_epochs: int) -> None:
        """A new run that believes in a checkpoint so many epochs old; the old run goes on for a while unheard."""
        zombie = replace(self, records=[], chain=list(self.chain))
        zombie.extend(0)
        zombie.fork(stale_epochs // 2)
        zombie.extend(1)
        self.records += zombie.records
        self.reserved = zombie.reserved
        self.incarnation, self.counter = self.incarnation + 1, 0
        top = self.head
        if top is not None:
            self.chain = [(height, sequence) for height, sequence in self.chain if height <= top - stale_epochs]
        self.records.append(rewind(self.chain[-1][0] if self.chain else self.start - 1, self.reserved, self.sequence()))

    def walk(self, steps: Sequence[Step]) -> None:
        """Take the steps, one by one."""
        for verb, number in steps:
            getattr(self, verb)(number)

    def held(self) -> dict[int, Held]:
        """Every height of the canonical chain."""
        found: dict[int, Held] = {}
        before: int | None = None
        for height, sequence in self.chain:
            found |= dict.fromkeys(range(height if before is None else before + 1, height))
            found[height] = contribution(sequence)
            before = height
        return found


def steps(longest_fork: int, most: int) -> st.SearchStrategy[list[Step]]:
    """Mostly growth, with null rounds, forks and restarts."""
    extend = st.tuples(st.just("extend"), st.sampled_from((0, 0, 0, 0, 1, 2, 5)))
    fork = st.tuples(st.just("fork"), st.integers(1, longest_fork))
    restart = st.tuples(st.just("restart"), st.integers(0, longest_fork))
    return st.lists(st.one_of(extend, extend, extend, extend, fork, restart), min_size=1, max_size=most)


def shuffled(records: Sequence[Record], seed: int, reach: int) -> list[Record]:
    """The records as a careless queue delivers them: each up to three times, each copy up to `reach` places late."""
    rng = random.Random(seed)
    copies = [(place + rng.random() * reach, record) for place, record in enumerate(records) for _ in range(rng.choice((1, 1, 2, 3)))]
    return [record for _, record in sorted(copies, key=lambda copy: copy[0])]


@dataclass(slots=True)
class Naive:
    """Registers by the words of the rule: per height, the record with the largest sequence."""

    held: dict[int, Held] = field(default_factory=dict)
    sequences: dict[int, int] = field(default_factory=dict)
    lowest: int | None = None

    def apply(self, record: Record) -> None:
        """Let the record write each height that it speaks for."""
        if isinstance(record, Rewind):
            for height in range(record.height + 1, record.top + 1):
                if self._younger(height, record.sequence):
                    self.held.pop(height, None)
            return
        parent = record.height - 1 if record.parent_height is None else record.parent_height
        for height in range(parent + 1, record.height + 1):
            if self._younger(height, record.sequence):
                self.held[height] = contribution(record.sequence) if height == record.height else None
                self.lowest = height if self.lowest is None else min(self.lowest, height)

    def _younger(self, height: int, sequence: int) -> bool:
        younger = sequence > self.sequences.get(height, -1)
        if younger:
            self.sequences[height] = sequence
        return younger


def recount(held: Mapping[int, Held], windows: Sequence[Window], lowest: int | None) -> StreamReading:
    """What a stream must show, counted from nothing."""
    head = max((height for height, contribution in held.items() if contribution is not None), default=None)
    if head is None or lowest is None:
        return StreamReading(windows={window.name: WindowReading(window.name, window.epochs) for window in windows})
    heights = [height for height in held if height <= head]
    null = sum(held[height] is None for height in heights)
    ranked_epochs = min((w.epochs for w in windows if w.epochs >= DAY), default=max(w.epochs for w in windows))
    ranked: dict[str, int] = {}
    for part in (held[height] for height in heights if height > head - ranked_epochs):
        for address, value in part.ranked.items() if part is not None else ():
            ranked[address] = ranked.get(address, 0) + value
    return StreamReading(
        head=head,
        processed=len(heights) - null,
        null=null,
        missing=head - lowest + 1 - len(heights),
        windows={w.name: _window(held, w, head, max(one.epochs for one in windows)) for w in windows},
        since=lowest,
        sums=_lasting(held[height] for height in heights),
        ranked=tuple(sorted(ranked.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)[:TOP]),
        ranked_epochs=ranked_epochs,
    )


def _lasting(parts: Iterable[Held]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for part in filter(None, parts):
        for name, value in part.lasting_sums.items():
            sums[name] = sums.get(name, 0) + value
    return {name: value for name, value in sums.items() if value}


def _window(held: Mapping[int, Held], window: Window, head: int, longest: int) -> WindowReading:
    now = [part for height, part in held.items() if window.covers(height, head)]
    before = [part for height, part in held.items() if window.covers(height, head - window.epochs)]
    long_before = [part for height, part in held.items() if head - 2 * longest < height <= head - window.epochs]
    seen = {one for part in filter(None, long_before) for one in part.lasting_members.get("deployer", ())}
    sums: dict[str, int] = {}
    members: dict[str, set[str]] = {}
    before_members: dict[str, set[str]] = {}
    before_sums: dict[str, int] = {}
    for part in filter(None, now):
        for name, value in (*part.sums.items(), *part.lasting_sums.items()):
            sums[name] = sums.get(name, 0) + value
        for kind, found in (*part.members.items(), *part.lasting_members.items()):
            members.setdefault(kind, set()).update(found)
    for part in filter(None, before):
        for name, value in part.lasting_sums.items():
            before_sums[name] = before_sums.get(name, 0) + value
        for kind, found in part.lasting_members.items():
            before_members.setdefault(kind, set()).update(found)
    return WindowReading(
        name=window.name,
        epochs=window.epochs,
        sums={name: value for name, value in sums.items() if value},
        distinct={kind: len(found) for kind, found in members.items() if found},
        processed=sum(part is not None for part in now),
        null=sum(part is None for part in now),
        prior_distinct={kind: len(found) for kind, found in before_members.items() if found},
        prior_processed=sum(part is not None for part in before),
        prior_null=sum(part is None for part in before),
        prior_sums={name: value for name, value in before_sums.items() if value},
        new_deployers=len(members.get("deployer", set()) - seen),
    )
