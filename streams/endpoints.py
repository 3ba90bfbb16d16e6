"""Which node to talk to: the phases of an endpoint, its back-off, and the choice of a leader along the list."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from streams.chain import Link
from streams.events import Sought
from streams.records import Hash
from streams.traces import Tracing
from streams.wire import Cid

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 30.0
OPENING_SECONDS = 30.0
"""How long a connection may take to greet."""
LAG_EPOCHS = 2
"""How far a preferred node may be behind the leader and still take over again."""


class Phase(Enum):
    """Where an endpoint is between being left alone and being of use."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPENING = "opening"
    LIVE = "live"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Target:
    """The tipset to get to: the newest one that was executed, and (natively) the key of the one on top of it."""

    hash: Hash
    key: tuple[Cid, ...]
    child: tuple[Cid, ...]
    head_height: int


@dataclass(slots=True)
class Endpoint:
    """One node of the list, and what it last said."""

    name: str
    phase: Phase = Phase.IDLE
    since: float = 0.0
    retry_at: float = 0.0
    failures: int = 0
    reason: str = ""
    native: bool = False
    head: Link | None = None
    """The native head as `ChainNotify` told it, to check the next notice against."""
    target: Target | None = None
    heard_at: float = 0.0
    counts_heights: bool = True
    """Whether it can be asked for tipsets by height."""

    tracing: Tracing = field(default_factory=Tracing)
    """Whether it is asked for traces."""

    connections: int = 0
    """How many connections were begun; the number of the present one."""

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self.phase in {Phase.OPENING, Phase.LIVE}

    def silent_at(self, stale_after_seconds: float) -> float:
        """When it will have said nothing for too long, infinite where it need not say anything."""
        match self.phase:
            case Phase.OPENING:
                return self.since + OPENING_SECONDS
            case Phase.LIVE:
                return self.heard_at + stale_after_seconds
        return math.inf

    def opened(self, now: float) -> None:
        """The connection is open, the node has to say what it is."""
        self.phase, self.since, self.heard_at = Phase.OPENING, now, now

    def greeted(self, now: float, *, native: bool) -> None:
        """The node said what it is."""
        self.phase, self.since, self.heard_at, self.native = Phase.LIVE, now, now, native

    def left(self) -> None:
        """The connection is not wanted any more."""
        self.phase, self.head, self.target = Phase.IDLE, None, None

    @property
    def busy(self) -> bool:
        """Whether a connection is open or being made."""
        return self.connected or self.phase is Phase.CONNECTING


@dataclass(slots=True)
class Endpoints:
    """The list of nodes in order of preference.

    Args:
        names: the endpoints, preferred first.
        jitter: a number in [0, 1) each time, so that many followers do not return at once.
        witnesses: how many endpoints besides the leader are wanted, where there are so many.
        stale_after_seconds: how long a live endpoint may say nothing.
    """

    names: Iterable[str]
    jitter: Callable[[], float]
    witnesses: int = 0
    stale_after_seconds: float = math.inf
    all: dict[str, Endpoint] = field(init=False)
    leader: Endpoint | None = None
    _sought: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.all = {name: Endpoint(name) for name in self.names}

    def failed(self, endpoint: Endpoint, reason: str, now: float, *, refused: bool) -> None:
        """The endpoint is of no use now; it is tried again later, a refused one never."""
        endpoint.failures += 1
        delay = min(FIRST_DELAY_SECONDS * 2 ** min(endpoint.failures - 1, 16), LONGEST_DELAY_SECONDS)
        endpoint.phase = Phase.REFUSED if refused else Phase.IDLE
        endpoint.retry_at = now + delay * (0.5 + self.jitter() / 2)
        endpoint.reason = reason
        endpoint.tracing.dropped()
        endpoint.head, endpoint.target = None, None
        if self.leader is endpoint:
            self.leader = None

    def succeeded(self) -> None:
        """The leader was of use: the next failure is its first."""
        if self.leader is not None:
            self.leader.failures = 0

    def elect(self, would_undo: Callable[[Target], bool]) -> bool:
        """Choose the leader: the first live endpoint that is not behind. Returns whether it changed.

        Args:
            would_undo: whether what is published goes on above the target. Who leads may say so, since heads go down; who would
                take over has only not heard of it yet.
        """
        live = [(one, one.target) for one in self.all.values() if one.phase is Phase.LIVE and one.target is not None]
        highest = max((target.head_height for _, target in live), default=0)
        near = [(one, target) for one, target in live if target.head_height >= highest - LAG_EPOCHS]
        ready = [one for one, target in near if one is self.leader or not would_undo(target)]
        chosen = next(iter(ready or [one for one, _ in near]), None)
        changed = chosen is not self.leader
        self.leader = chosen
        return changed

    def wanted(self, now: float) -> dict[str, int]:
        """The endpoints that should be connected, each with the number of the connection; marks those that begin to connect.

        Beside the leader these are the ones before it, to return to them, and the next ones as witnesses; without a leader it is one
        at a time.
        """
        keep = {one.name: one.connections for one in self._candidates() if one.busy}
        if self.leader is not None:
            keep[self.leader.name] = self.leader.connections
        for one in self._candidates():
            if one.phase is Phase.IDLE and one.retry_at <= now and (self.leader is not None or not keep):
                one.phase, one.since, one.connections = Phase.CONNECTING, now, one.connections + 1
                keep[one.name] = one.connections
        return keep

    def _candidates(self) -> list[Endpoint]:
        order = list(self.all.values())
        if self.leader is None:
            return order
        place = order.index(self.leader)
        usable = [one for one in order[place + 1 :] if one.phase is not Phase.REFUSED]
        return order[:place] + usable[: max(self.witnesses - place, 0)]

    def sought(self) -> list[Sought]:
        """Which endpoints should be connected, or tried again and again; nothing where that is as it was the last time."""
        names = frozenset(one.name for one in self._candidates()) | ({self.leader.name} if self.leader is not None else set())
        if names == self._sought:
            return []
        self._sought = names
        return [Sought(names)]

    def others(self) -> list[Endpoint]:
        """The live endpoints besides the leader that told a head, preferred first."""
        return [one for one in self.all.values() if one is not self.leader and one.phase is Phase.LIVE and one.target is not None]

    def silent(self, now: float) -> list[Endpoint]:
        """Those that have said nothing for too long."""
        return [one for one in self.all.values() if one.silent_at(self.stale_after_seconds) <= now]

    def wake_at(self) -> float | None:
        """When an endpoint may be tried again, or one is silent for too long; without a leader only one at a time is tried."""
        times = [one.silent_at(self.stale_after_seconds) for one in self.all.values()]
        if self.leader is not None or not any(one.busy for one in self.all.values()):
            times += [one.retry_at for one in self._candidates() if one.phase is Phase.IDLE]
        return min((time for time in times if time < math.inf), default=None)

    def all_refused(self) -> str | None:
        """Why there is nobody left to talk to, None while there is."""
        if all(one.phase is Phase.REFUSED for one in self.all.values()):
            return "; ".join(f"{one.name}: {one.reason}" for one in self.all.values())
        return None
