"""The second read: a published tipset is fetched again once it lies deep, compared, and published again where nodes told it late.

Nodes tell receipts and logs before their index has them all. So each tipset is read again at the depth at which it counts as
confirmed, and at finality: one at a time, in the background, by preference from another node than told it the first time.

A read that differs replaces what is published only where it is to be believed, since nodes lose things more often than they make
them up: it is whole where the first was not, it has more logs, it comes from the node that told the first, with no fewer logs,
or a second read agrees with it. What corrects a height is a record like any other, numbered while its tipset is published;
`rewound` takes it back before that.

What is not compared, since not every node tells it (the rise of f099, traces, rails), is kept from the first read where the second
lacks it; within one run only.

Over a restart it is kept how each tipset was told (`Told`). That is stored before the record itself, so of one that was told in
several ways (corrected, or come back after a fork) it is not known which of them is stored, and the next read is published in any
case. Where nothing was kept, reads are skipped.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush

from msgspec.structs import replace

from streams.chain import FINALITY_EPOCHS, Link, Published
from streams.contents import UNSURE, Content, Told, content
from streams.creations import Creations
from streams.endpoints import Endpoint
from streams.enrich import Assembled, assemble
from streams.errors import NodeFault
from streams.events import Depth, Policy, Reread, RereadResult
from streams.greeting import fetch_link_at
from streams.history import Past
from streams.memory import Memory
from streams.questions import Question
from streams.records import Hash, Rail
from streams.tasks import Fetch
from streams.traces import Inside, Tracing

KIND = "reread"
"""The kind of questions that are asked here."""
LATE_EPOCHS = 480
"""How much deeper than it should a tipset may lie and still be read again: what an outage held up longer is skipped."""
TOLD_EPOCHS = FINALITY_EPOCHS + LATE_EPOCHS
"""How far below the highest one it is kept how tipsets were told."""
PATIENCE = 3
"""How often a node that is busy or silent is asked about one tipset."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a node tells of a tipset that was published; None where another one stands at its height."""

    block: Hash
    assembled: Assembled | None


@dataclass(frozen=True, slots=True)
class _Beside:
    """What was told of a tipset besides what is compared."""

    burnt_rise_attofil: int | None
    creations: Creations
    inside: Inside | None
    rails: tuple[Rail, ...]

    @classmethod
    def of(cls, assembled: Assembled) -> "_Beside":
        """What this read told."""
        return cls(assembled.burnt_rise_attofil, assembled.creations, assembled.inside, assembled.rails)

    def completes(self, later: Assembled) -> Assembled:
        """A later read of the same tipset, with what it lacks."""
        rise = later.burnt_rise_attofil if later.burnt_rise_attofil is not None else self.burnt_rise_attofil
        later = dataclasses.replace(later, burnt_rise_attofil=rise, rails=later.rails or self.rails)
        if later.inside is not None or self.inside is None:
            return later
        made, old = later.creations, self.creations
        creations = Creations({**old.direct, **made.direct}, old.inner, old.resurrected | made.resurrected)
        return dataclasses.replace(later, inside=self.inside, creations=creations)


@dataclass(slots=True, eq=False)
class _Kept:
    """A published tipset that is to be read again, and how it was told, None where that is not known any more."""

    tip: Published
    told: Told | None
    beside: _Beside | None = None
    stage: int = 0
    doubted: Content | None = None
    """What a read told that was not believed."""
    asked: str | None = None
    """The node that is asked, and those that were at this depth."""
    tried: set[str] = field(default_factory=set)
    attempts: int = 0
    result: RereadResult = "failed"
    """What the read comes to if no node that is left brings more."""


class Rereads:
    """What was published, by height, and what of it is to be read again; one tipset at a time."""

    def __init__(self, policy: Policy) -> None:
        depths: list[tuple[int, Depth]] = [(policy.reread_depth_epochs, "confirmed"), (policy.reread_final_epochs, "final")]
        self._stages = sorted((epochs, name) for epochs, name in depths if epochs > 0)
        self._traces = policy.traces
        self._alone = policy.receipts_quorum <= 1
        self._events: list[Reread] = []
        self._learnt: list[Told] = []
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._kept: dict[int, _Kept] = {}
        self._told: dict[Hash, Told] = {}
        self._due: list[list[int]] = [[] for _ in self._stages]
        self._ready: deque[Past] = deque()
        self._current: _Kept | None = None
        self._top = -1
        self.astray = False
        """Whether the leader tells another tipset at a published height: its head has to be asked for."""

    def take(self) -> list[Reread]:
        """What came of the reads since the last time."""
        events, self._events = self._events, []
        return events

    def take_told(self) -> list[Told]:
        """What is new since the last time of how tipsets were told, to be kept before their records are."""
        told, self._learnt = self._learnt, []
        return told

    # What is published

    def resume(self, published: Iterable[Published], told: Mapping[Hash, Told]) -> None:
        """Go on from what earlier runs published, and were told, by hash, as far as that is known."""
        self.clear()
        self._told = dict(told)
        tips = tuple(published)
        self._top = max((one.height for one in tips), default=-1)
        for tip in tips:
            one = told.get(tip.hash)
            self._keep(_Kept(tip, one if one is not None and one.height == tip.height else None))

    def published(self, assembled: Assembled, parent_height: int | None, teller: str) -> None:
        """A tipset is published as the node `teller` told it; one below others was read at that depth."""
        link, known = assembled.link, self._kept.get(assembled.link.height)
        self._top = max(self._top, link.height)
        if known is None and self._reached(link.height) == len(self._stages):
            return  # so deep, as most of history is, that it is not read again: what it holds need not be digested
        traced = assembled.inside is not None
        told = Told(link.height, link.hash, link.parent_hash, parent_height, teller, traced, content(assembled))
        self._learn(told)
        if known is not None and known.told is not None and known.tip.hash == link.hash and known.told.content == told.content:
            known.told = replace(known.told, parent_height=parent_height)
        else:
            self._keep(_Kept(Published(link.height, link.hash), told, _Beside.of(assembled)))

    def rewound(self, height: int) -> None:
        """Everything published above `height` is undone."""
        self._top = min(self._top, height)
        self._kept = {one: kept for one, kept in self._kept.items() if one <= height}
        self._ready = deque(past for past in self._ready if past.assembled.link.height <= height)

    def next(self) -> Past | None:
        """The next tipset to publish again, None until there is one."""
        return self._ready.popleft() if self._ready else None

    def _learn(self, told: Told) -> None:
        before = self._told.get(told.hash)
        if before is not None:
            if before.content in (told.content, UNSURE):
                return
            told = replace(told, content=UNSURE)
        elif len(self._told) >= 2 * TOLD_EPOCHS:
            self._told = {block: one for block, one in self._told.items() if one.height > self._top - TOLD_EPOCHS}
        self._told[told.hash] = told
        self._learnt.append(told)

    def _keep(self, kept: _Kept) -> None:
        """Have it read again at every depth that it has not reached."""
        height = kept.tip.height
        self._kept[height] = kept
        kept.stage = self._reached(height)
        self._await(kept)

    def _reached(self, height: int) -> int:
        """How many of the depths lie above `height`."""
        return sum(1 for epochs, _ in self._stages if epochs <= self._top - height)

    def _await(self, kept: _Kept) -> None:
        height = kept.tip.height
        if kept.stage < len(self._stages):
            heappush(self._due[kept.stage], height)
        else:
            self._kept.pop(height, None)

    # What to ask

    def questions(self, leader: Endpoint, others: Sequence[Endpoint], memory: Memory) -> Iterator[tuple[Endpoint, Question]]:
        """The read that is due, and of whom: the same one until it is answered."""
        while not self._ready and (due := self._choose()) is not None:
            kept, told = due
            endpoint = self._whom(kept, told.teller, leader, others)
            if endpoint is None:
                self._end(kept, kept.result)
                continue
            kept.asked = endpoint.name
            tracing = endpoint.tracing if self._traces and told.traced else None
            link = Link(told.height, told.hash, told.parent_hash)
            fetch = partial(read_again, link, self._child(told), endpoint, memory, known=told.content, tracing=tracing)
            yield endpoint, ((KIND, told.hash), fetch)
            return

    def _choose(self) -> tuple[_Kept, Told] | None:
        """The tipset to be read now, and how it was told; what can not be, or is too late, is skipped."""
        current = self._current
        if current is not None and current.told is not None and self._is_kept(current):
            return current, current.told
        self._current = None
        for stage, (epochs, _) in enumerate(self._stages):
            due = self._due[stage]
            while due and due[0] <= self._top - epochs:
                kept = self._kept.get(heappop(due))
                if kept is None or kept.stage != stage:
                    continue  # undone, or published again since
                if kept.told is not None and kept.told.height > self._top - epochs - LATE_EPOCHS:
                    self._current = kept
                    return kept, kept.told
                self._end(kept, "skipped")
        return None

    @staticmethod
    def _whom(kept: _Kept, teller: str, leader: Endpoint, others: Sequence[Endpoint]) -> Endpoint | None:
        """Another than told it the first time, else that one; each once."""
        able = [one for one in (*others, leader) if one.target is not None and one.target.head_height > kept.tip.height]
        for one in able:
            if one.name == kept.asked:
                return one
        left = [one for one in able if one.name not in kept.tried]
        return next((one for one in left if one.name != teller), left[0] if left else None)

    def _child(self, told: Told) -> Link | None:
        """The tipset on top, by which a native node tells that receipts are whole."""
        above = next((self._kept[height].told for height in range(told.height + 1, self._top + 1) if height in self._kept), None)
        return Link(above.height, above.hash, above.parent_hash) if above is not None and above.parent_hash == told.hash else None

    def _is_kept(self, kept: _Kept) -> bool:
        return self._kept.get(kept.tip.height) is kept

    # What answers bring

    def answered(self, name: str, found: Found, *, leads: bool) -> None:
        """A node told the tipset again."""
        kept = self._current
        if kept is None or kept.told is None or not self._is_kept(kept) or kept.tip.hash != found.block:
            return
        kept.asked = None
        if found.assembled is None:
            kept.tried.add(name)
            if leads:
                self.astray = True
                self._end(kept, "different", name, ("chain",))
            return
        known, told = kept.told.content, content(found.assembled)
        differs = told.differs(known)
        if not differs or (differs == ("completeness",) and known.whole):
            self._end(kept, "same" if kept.result == "failed" else kept.result, name)
        elif self._is_believed(kept, kept.told, told, name):
            whole = kept.beside.completes(found.assembled) if kept.beside is not None else found.assembled
            self._ready.append(Past(whole, kept.told.parent_height))
            kept.told, kept.doubted = replace(kept.told, content=told, teller=name), None
            self._end(kept, "repeated" if known == UNSURE else "different", name, differs)
        else:
            kept.tried.add(name)
            kept.result, kept.doubted = "disputed" if told.whole else kept.result, told

    def failed(self, name: str, block: Hash, fault: NodeFault) -> None:
        """A node did not answer."""
        kept = self._current
        if kept is None or kept.tip.hash != block or kept.asked != name:
            return
        kept.attempts += 1
        if not fault.busy or kept.attempts >= PATIENCE:
            kept.asked, kept.attempts = None, 0
            kept.tried.add(name)

    def _is_believed(self, kept: _Kept, before: Told, told: Content, name: str) -> bool:
        """Whether what was told now is to be published in place of what is known."""
        known = before.content
        if known.whole and not told.whole:
            return False
        if kept.doubted is not None and not told.differs(kept.doubted):
            return True
        if not self._alone:
            return False  # one more node has to tell the same
        corrected = name == before.teller and told.log_count == known.log_count
        return told.log_count > known.log_count or (told.whole and not known.whole) or corrected

    def _end(self, kept: _Kept, result: RereadResult, endpoint: str = "", differs: tuple[str, ...] = ()) -> None:
        """This read is over; the next is at the next depth."""
        self._events.append(Reread(kept.tip.height, self._stages[kept.stage][1], result, endpoint, differs))
        kept.stage += 1
        kept.asked, kept.attempts, kept.result = None, 0, "failed"
        kept.tried.clear()
        self._current = None
        self._await(kept)


def read_again(
    link: Link, child: Link | None, endpoint: Endpoint, memory: Memory, *, known: Content | None, tracing: Tracing | None
) -> Fetch[Found]:
    """The tipset at `link` once more, if it still stands at its height; `child` is the one on top of it, where that is known.

    Traces are dear: they are asked for only if anything is not as `known`.

    Raises:
        NodeFault: the node answered for another tipset, or not at all.
    """
    if endpoint.counts_heights:
        # In the chain of the node's own head: maybe it told us of another one.
        stands = yield from fetch_link_at(link.height, ())
        if stands is None or stands.hash != link.hash:
            return Found(link.hash, None)
    assembled = yield from assemble(link, child, memory, native=endpoint.native)
    if tracing is not None and known is not None and content(assembled).differs(known):
        assembled = yield from assemble(link, child, memory, native=endpoint.native, tracing=tracing)
    return Found(link.hash, assembled)
