"""The way down: heights that the ledger lacks, fetched below a published tipset and published by the same follower.

A `Hole` names the tipset on top of it, which is published already. From there the walk goes down by parent hash; tipsets are
asked for by height as well, so that the links need not come one by one, but nothing counts before the hash of its child says so.
Each tipset is published as soon as its parent's height is known, newest first, the tipset on top again before the others: only
then does it say which heights below it are null.

Whatever is published here is an ancestor of a published tipset, which is looked for in the node's chain first. Where that one is
undone, so is the walk (`rewound`); the shell asks the ledger again, and what is still missing is the next hole. So nothing of a
walk has to be remembered.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from streams.chain import Link, Published
from streams.endpoints import Endpoint
from streams.enrich import Assembled, assemble
from streams.errors import NodeFault, Oversize, Refusal, Silence
from streams.events import Event, Incomplete, OutOfReach, Policy, Skipped
from streams.greeting import fetch_link, fetch_link_at
from streams.memory import Memory
from streams.questions import Question
from streams.records import Hash
from streams.retries import Retries
from streams.rpc import RANGE_TOO_WIDE
from streams.tasks import Fetch, Key, gather
from streams.traces import Tracing
from streams.wire import Cid

PAST = frozenset(("past anchor", "past at", "past link", "past tipset"))
"""The kinds of questions of a walk."""
NEVER_NOTICED = 0.0
"""When a node announced what was fetched afterwards: its latency means nothing."""
PATIENCE = 3
"""How many times the node may refuse a question before the walk ends there."""
STALE_SECONDS = 5.0
"""How long nothing is asked after a hole below a tipset that is undone: the ledger has not heard of it yet."""
REST_SECONDS = 60.0
"""How long nothing is asked after a walk that came to no end."""
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
_TOO_MANY = 429
_LIMITED = ("too many requests", "rate limit", "429", "limit exceeded")


@dataclass(frozen=True, slots=True)
class Hole:
    """Heights to be published (again): all above `low` up to the published tipset `above`, that one included."""

    above: Published
    low: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a walk starts: the tipset on top of the hole, and its child where the node can tell."""

    link: Link
    child: Link | None


@dataclass(frozen=True, slots=True)
class Past:
    """A tipset to be published, and the height of its parent (None: not known)."""

    assembled: Assembled
    parent_height: int | None


class Pace:
    """How many questions may be on their way: halved when the node has too much, and raised slowly while it answers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = max(most / 2, 1.0)
        self._pause_seconds = 0.0
        self.resume_at = 0.0

    @property
    def allowed(self) -> int:
        """Tasks at a time."""
        return int(self._allowed)

    def succeeded(self) -> None:
        """The node answered."""
        self._allowed = min(self._allowed + 1 / self._allowed, self._most)
        self._pause_seconds = 0.0

    def limited(self, now: float) -> None:
        """The node has too much to do; what was on its way together counts once."""
        if now < self.resume_at:
            return
        self._allowed = max(self._allowed / 2, 1.0)
        self._pause_seconds = min(max(2 * self._pause_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        self.resume_at = now + self._pause_seconds


class History:
    """One walk at a time; told answers, it says what to ask and what to publish."""

    def __init__(self, policy: Policy) -> None:
        self._out_of_reach: int | None = None
        """The height that no node would tell of the last time, and nothing below it."""
        self.finished = 0
        """How many walks came to their end."""
        self.pace = Pace(2 * policy.concurrency)
        self._retries = Retries(policy.incomplete_retries, policy.incomplete_delay_seconds)
        self._traces, self._traces_of_all = policy.traces, policy.traces_of_history
        self._tracing = Tracing()
        """Not the leader's: a node that has no traces of the past may have those of new tipsets."""
        self._rest_until = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget the walk."""
        self._hole: Hole | None = None
        self._path: deque[Link] = deque()
        self._child: Link | None = None
        self._links: dict[Hash, Link] = {}
        self._asked: set[int] = set()
        self._running: set[Key] = set()
        self._assembled: dict[Hash, Assembled] = {}
        self._unreadable: set[Hash] = set()
        self._ended = False
        self._bottom: int | None = None
        self._retries.keep(lambda _: False)

    def fill(self, hole: Hole) -> None:
        """Begin a walk, in place of the one before."""
        self.clear()
        self._out_of_reach = None
        self._hole = hole

    def take_out_of_reach(self) -> int | None:
        """The height that no node would tell of in the walk that has ended, and below it nothing that is missing; told once."""
        if self._hole is not None:
            return None
        reached, self._out_of_reach = self._out_of_reach, None
        return reached

    @property
    def hole(self) -> Hole | None:
        """What is being filled."""
        return self._hole

    def idle(self, now: float) -> bool:
        """Whether another hole may be given."""
        return self._hole is None and now >= self._rest_until

    def rewound(self, height: int) -> None:
        """Everything published above `height` is undone: if the top of the hole is, what hangs below it may be no ancestor any more."""
        if self._hole is not None and self._hole.above.height > height:
            self.clear()

    def interrupted(self) -> None:
        """The connection is gone, with all that was asked on it."""
        self._running.clear()
        self._asked.clear()
        self._retries.clear()
        self._tracing.dropped()

    def wake_at(self, now: float) -> float | None:
        """When something may be asked that may not be asked now."""
        if self._hole is None:
            return None
        times = [self._retries.wake_at(now), self.pace.resume_at if self.pace.resume_at > now else None]
        return min((time for time in times if time is not None), default=None)

    # What to publish

    def next(self) -> Past | None:
        """The next tipset to publish, None until there is one."""
        while self._path and self._path[0].hash in self._unreadable and (len(self._path) > 1 or self._ended):
            self._child = self._path.popleft()
            self._out_of_reach = max(self._child.height, -1 if self._out_of_reach is None else self._out_of_reach)
            if not self._path:
                self._finish()
        if not self._path or self._path[0].hash not in self._assembled or not (len(self._path) > 1 or self._ended):
            return None
        link = self._path.popleft()
        parent = self._path[0].height if self._path else self._bottom
        assembled = self._assembled.pop(link.hash)
        self._child = link
        if not self._path:
            self._finish()
        return Past(assembled, parent)

    def _finish(self) -> None:
        self.finished += self._out_of_reach is None
        self.clear()

    # What to ask

    def questions(self, leader: Endpoint, memory: Memory, now: float) -> Iterator[Question]:
        """What is to be asked of the leader now, the most urgent first."""
        if self._hole is None or leader.target is None or now < self.pace.resume_at:
            return
        wanted = self._opening(leader, self._hole) if not self._path else self._further(leader, memory)
        for key, fetch in wanted:
            if len(self._running) >= self.pace.allowed:
                return
            if key not in self._running and self._retries.due(key, now):
                self._running.add(key)
                yield key, fetch

    @staticmethod
    def _opening(leader: Endpoint, hole: Hole) -> Iterator[Question]:
        head = leader.target.child if leader.native and leader.target is not None else ()
        yield ("past anchor", hole.above.hash), partial(fetch_anchor, hole.above, head)

    def _further(self, leader: Endpoint, memory: Memory) -> Iterator[Question]:
        above = self._child
        for place, link in enumerate(self._path):
            if place >= self.pace.allowed:
                break
            if link.hash not in self._assembled and link.hash not in self._unreadable:
                tracing = self._tracing if self._is_traced(link) else None
                yield ("past tipset", link.hash), partial(assemble, link, above, memory, native=leader.native, tracing=tracing)
            above = link
        if not self._ended and len(self._path) < 2 * self.pace.allowed:
            yield from self._downwards(leader)

    def _is_traced(self, link: Link) -> bool:
        """The tipset on top is published already, with traces maybe, and may not lose them; the others would cost much."""
        return self._traces and (self._traces_of_all or (self._hole is not None and link.hash == self._hole.above.hash))

    def _downwards(self, leader: Endpoint) -> Iterator[Question]:
        lowest, hole = self._path[-1], self._hole
        if hole is None:
            return
        bottom = max(lowest.height - 1 - self.pace.allowed, hole.low - 1, -1)
        heights = range(lowest.height - 1, bottom, -1) if leader.counts_heights else range(0)
        key = lowest.key if leader.native else ()
        for height in heights:
            if height not in self._asked:
                yield ("past at", height), partial(fetch_link_at, height, key)
        # By its hash only where its height did not bring it: after null rounds, or where heights are not answered for.
        if all(height in self._asked and ("past at", height) not in self._running for height in heights):
            parent_key = lowest.parent_key if leader.native else ()
            yield ("past link", lowest.parent_hash), partial(fetch_link, lowest.parent_hash, parent_key)

    # What answers bring

    def done(self, key: Key, result: object, now: float) -> list[Event]:
        """A question was answered."""
        if key not in self._running:
            return []
        self._running.discard(key)
        self.pace.succeeded()
        self._retries.succeeded(key)
        match result:
            case Anchor(link, child):
                self._child = child
                self._path.append(link)
                self._asked.clear()
            case None if key[0] == "past anchor":
                self.clear()
                self._rest_until = now + STALE_SECONDS
            case Link():
                self._links[result.hash] = result
            case Assembled():
                return self._accept(key, result, now)
        if isinstance(key[1], int):
            self._asked.add(key[1])
        self._descend()
        return []

    def _accept(self, key: Key, assembled: Assembled, now: float) -> list[Event]:
        if assembled.complaint is not None and self._retries.complained(key, now):
            return []
        self._retries.settled(key)
        self._assembled[assembled.link.hash] = assembled
        return [Incomplete(assembled.link.height, assembled.complaint)] if assembled.complaint is not None else []

    def _descend(self) -> None:
        """Take what is known for certain of the way down."""
        while self._path and not self._ended and self._hole is not None:
            lowest = self._path[-1]
            if lowest.height <= self._hole.low + 1 or lowest.height == 0:
                # What is below is known, or not wanted: where its parent lies need not be told.
                self._ended = True
                return
            link = self._links.pop(lowest.parent_hash, None)
            if link is None:
                return
            if link.height >= lowest.height:
                raise NodeFault(f"the tipset {lowest.hash} is said to lie at {lowest.height}, and its parent at {link.height}")
            if link.height <= self._hole.low:
                self._ended, self._bottom = True, link.height
            else:
                self._path.append(link)
            self._links = {block: one for block, one in self._links.items() if one.height < link.height}
            self._asked = {height for height in self._asked if height < link.height}

    def failed(self, key: Key, fault: NodeFault, now: float) -> list[Event]:
        """A question was not answered, or with nonsense."""
        if key not in self._running:
            return []
        self._running.discard(key)
        if is_busy(fault):
            self.pace.limited(now)
            return []
        if isinstance(key[1], int):
            self._asked.add(key[1])  # its hash will find it
            return []
        if isinstance(fault, Oversize) and key[0] == "past tipset":
            self._unreadable.add(str(key[1]))
            return [Skipped(link.height, str(fault)) for link in self._path if link.hash == key[1]]
        if self._retries.failed(key, now) < PATIENCE:
            return []
        return self._give_up(key, fault, now)

    def _give_up(self, key: Key, fault: NodeFault, now: float) -> list[Event]:
        """Leave what `key` asked for, and all below it, missing."""
        self._rest_until = now + REST_SECONDS
        if self._hole is None or not self._path:
            self._out_of_reach = self._hole.above.height if self._hole is not None else None
            self._finish()
            return []
        height = self._path[-1].height - 1
        if key[0] == "past tipset":
            while self._path and self._path[-1].hash != key[1]:
                self._path.pop()
            height = self._bottom = self._path.pop().height if self._path else height
        else:
            self._bottom = None
        self._ended, self._out_of_reach = True, height
        # The top of the hole alone would say no more than it says already.
        if not self._path or (self._bottom is None and len(self._path) == 1 and self._path[0].hash == self._hole.above.hash):
            self._finish()
        return [OutOfReach(height)] if isinstance(fault, Refusal) else []


def fetch_anchor(above: Published, head: tuple[Cid, ...]) -> Fetch[Anchor | None]:
    """The tipset `above`, and the one on top of it where `head` (the key of the head) is known; None if it is not of the node's chain.

    The ledger that named it may lag behind what is published: an undone tipset must not be taken for the top of a hole, though the
    node still knows it by its hash.
    """
    heights = (above.height, above.height + 1) if head else (above.height,)
    link, *children = yield from gather([fetch_link_at(height, head) for height in heights])
    child = children[0] if children else None
    return Anchor(link, child) if link is not None and link.hash == above.hash else None


def is_busy(fault: NodeFault) -> bool:
    """Whether the node may answer later: it says nothing, or asks for fewer questions."""
    text = str(fault).lower()
    limited = isinstance(fault, Refusal) and (fault.code in {_TOO_MANY, RANGE_TOO_WIDE} or any(word in text for word in _LIMITED))
    return limited or isinstance(fault, Silence)
