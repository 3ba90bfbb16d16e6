"""The way down: heights that the ledger lacks, fetched below a published tipset and published by the same follower.

A `Hole` names the tipset on top of it, which is published already. From there the walk goes down by parent hash; tipsets are
asked for by height as well, so that the links need not come one by one, but nothing counts before the hash of its child says so.
Each tipset is published as soon as its parent's height is known, newest first, the tipset on top again before the others where
heights below it are null: only then does it say so. Else it is left as it was told, by a node that may have known more.

Whatever is published here is an ancestor of a published tipset, which is looked for in the node's chain first. Where that one is
undone, so is the walk (`rewound`); the shell asks the ledger again, and what is still missing is the next hole. So nothing of a
walk has to be remembered, but for the heights that it passed over, since the node does not tell their tipsets.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from streams.chain import Link, Published, check_order
from streams.endpoints import Endpoint
from streams.enrich import Assembled, assemble
from streams.errors import NodeFault, Oversize, Refusal, Silence
from streams.events import Event, Incomplete, OutOfReach, Policy
from streams.greeting import fetch_link, fetch_link_at
from streams.left_out import IN_A_ROW, PATIENCE, LeftOut
from streams.memory import Memory
from streams.pace import Pace
from streams.questions import Question
from streams.records import Hash
from streams.retries import Retries
from streams.tasks import Fetch, Key, gather
from streams.traces import Tracing
from streams.wire import Cid

PAST = frozenset(("past anchor", "past at", "past link", "past tipset"))
"""The kinds of questions of a walk."""
NEVER_NOTICED = 0.0
"""When a node announced what was fetched afterwards: its latency means nothing."""
STALE_SECONDS = 5.0
"""How long nothing is asked after a hole below a tipset that is undone: the ledger has not heard of it yet."""
REST_SECONDS = 60.0
"""How long nothing is asked after a walk that came to no end."""


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


class History:
    """One walk at a time; told answers, it says what to ask and what to publish."""

    def __init__(self, policy: Policy) -> None:
        self._out_of_reach: int | None = None
        """The height that no node would tell of the last time, and nothing below it."""
        self.finished = 0
        """How many walks came to their end."""
        self._passed_over: set[int] = set()
        self._left_out = LeftOut()
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
        self._answering: set[str] = set()
        """Who was asked since the last interruption."""
        self._assembled: dict[Hash, Assembled] = {}
        self._left_out.clear()
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

    def take_passed_over(self) -> frozenset[int]:
        """Heights that stay missing though what lies below them is told: tipsets that are left out, and the null rounds below each of them,
        which only it could tell of; told once.
        """
        passed, self._passed_over = frozenset(self._passed_over), set()
        return passed

    @property
    def hole(self) -> Hole | None:
        """What is being filled."""
        return self._hole

    @property
    def next_height(self) -> int | None:
        """What comes next: all of the hole above it is published, or passed over. None while that is not known."""
        return self._path[0].height if self._path else None

    def idle(self, now: float) -> bool:
        """Whether another hole may be given."""
        return self._hole is None and now >= self._rest_until

    def rewound(self, height: int) -> None:
        """Everything published above `height` is undone: if the top of the hole is, what hangs below it may be no ancestor any more."""
        if self._hole is not None and self._hole.above.height > height:
            self.clear()

    def interrupted(self, name: str) -> None:
        """The connection to this endpoint is gone, with all that was asked on it."""
        if name not in self._answering:
            return
        self._answering.clear()
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
        while self._path and (len(self._path) > 1 or self._ended):
            link = self._path[0]
            if link.hash not in self._assembled and not self._left_out.is_passed(link.hash):
                return None
            self._child = self._path.popleft()
            parent = self._path[0].height if self._path else self._bottom
            assembled = self._assembled.pop(link.hash, None)
            if not self._path:
                self._finish()
            if assembled is not None:
                return Past(assembled, parent)
            self._passed_over.update(range(link.height if parent is None else parent + 1, link.height + 1))
        return None

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
                self._answering.add(leader.name)
                yield key, fetch

    @staticmethod
    def _opening(leader: Endpoint, hole: Hole) -> Iterator[Question]:
        head = leader.target.child if leader.native and leader.target is not None else ()
        yield ("past anchor", hole.above.hash), partial(fetch_anchor, hole.above, head)

    def _further(self, leader: Endpoint, memory: Memory) -> Iterator[Question]:
        above = self._child
        # What is left out may not keep those below it, which decide over it, from being asked for.
        for place, link in enumerate(self._path):
            if place >= self.pace.allowed + IN_A_ROW:
                break
            if self._left_out.is_alone(link.hash) or self._left_out.is_alone(link.parent_hash):
                # Whether the node answers anything at all: only then is its silence about this one, or where its parent lies.
                yield ("past at", link.height), partial(fetch_link_at, link.height, link.key if leader.native else ())
            elif link.hash not in self._assembled and link.hash not in self._left_out and not self._may_stay(link):
                tracing = self._tracing if self._is_traced(link) else None
                yield ("past tipset", link.hash), partial(assemble, link, above, memory, native=leader.native, tracing=tracing)
            above = link
        if not self._ended and len(self._path) < 2 * self.pace.allowed + IN_A_ROW:
            yield from self._downwards(leader)

    def _may_stay(self, link: Link) -> bool:
        """Whether this is the tipset on top, of which it is not known yet whether it has anything to say."""
        return self._hole is not None and link.hash == self._hole.above.hash and len(self._path) == 1 and not self._ended

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
        self._left_out.heard()
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
                return self._accept(key, result, now) + self._decide(now)
        if isinstance(key[1], int):
            self._asked.add(key[1])
        self._descend()
        return self._decide(now)

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
            check_order(lowest, link.height)
            if link.height <= self._hole.low:
                self._ended, self._bottom = True, link.height
            else:
                self._path.append(link)
                if lowest.hash == self._hole.above.hash and link.height == lowest.height - 1:
                    self._child = self._path.popleft()
            self._links = {block: one for block, one in self._links.items() if one.height < link.height}
            self._asked = {height for height in self._asked if height < link.height}

    def failed(self, key: Key, fault: NodeFault, now: float) -> list[Event]:
        """A question was not answered, or with nonsense."""
        if key not in self._running:
            return []
        self._running.discard(key)
        if fault.busy:
            self.pace.limited(now)
            return self._unanswered(key, fault, now) if isinstance(fault, Silence) else []
        self._left_out.heard()
        if isinstance(key[1], int):
            self._asked.add(key[1])  # its hash will find it
            return []
        if isinstance(fault, Oversize) and key[0] == "past tipset":
            skipped = [self._left_out.too_long(link, str(fault)) for link in self._path if link.hash == key[1]]
            return [*skipped, *self._decide(now)]
        if self._retries.failed(key, now) < PATIENCE:
            return []
        if key[0] == "past tipset":
            self._left_out.refused(str(key[1]), str(fault))
            return self._decide(now)
        return self._give_up(fault, now)

    def _unanswered(self, key: Key, fault: Silence, now: float) -> list[Event]:
        """The node, or whoever is asked, says nothing: of one tipset or link alone that is as good as a refusal."""
        match key:
            case (_, int(height)):
                self._asked.add(height)
            case ("past tipset", str(block)):
                self._left_out.silent(block, str(fault))
                return self._decide(now)
            case ("past link", str(block)):
                self._left_out.silent(block, str(fault))
                return self._give_up(fault, now) if block in self._left_out else []
        return []

    def _decide(self, now: float) -> list[Event]:
        """Leave out what stands alone, and all from the first of many in a row down."""
        skipped, first = self._left_out.decide(self._path, self._assembled, ended=self._ended)
        if first is None:
            return [*skipped]
        while self._path[-1] is not first:
            self._path.pop()
        self._path.pop()
        self._bottom = first.height
        return [*skipped, *self._end(first.height, now)]

    def _give_up(self, fault: NodeFault, now: float) -> list[Event]:
        """Leave all below the lowest link missing."""
        if self._hole is None or not self._path:
            self._rest_until = now + REST_SECONDS
            self._out_of_reach = self._hole.above.height if self._hole is not None else None
            self._finish()
            return []
        self._bottom = None
        ended = self._end(self._path[-1].height - 1, now)
        return [*self._decide(now), *(ended if isinstance(fault, Refusal) else [])]

    def _end(self, height: int, now: float) -> list[Event]:
        """The walk ends with what is on its way: `height` and what is below stay missing."""
        self._rest_until = now + REST_SECONDS
        self._ended, self._out_of_reach = True, height
        # The top of the hole alone would say no more than it says already.
        alone = len(self._path) == 1 and self._hole is not None and self._path[0].hash == self._hole.above.hash
        if not self._path or (self._bottom is None and alone):
            self._finish()
        return [OutOfReach(height)]


def fetch_anchor(above: Published, head: tuple[Cid, ...]) -> Fetch[Anchor | None]:
    """The tipset `above`, and the one on top of it where `head` (the key of the head) is known; None if it is not of the node's chain.

    The ledger that named it may lag behind what is published: an undone tipset must not be taken for the top of a hole, though the
    node still knows it by its hash.
    """
    heights = (above.height, above.height + 1) if head else (above.height,)
    link, *children = yield from gather([fetch_link_at(height, head) for height in heights])
    child = children[0] if children else None
    return Anchor(link, child) if link is not None and link.hash == above.hash else None
