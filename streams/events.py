"""What the follower is given, and what it tells: its policy, where it goes on from, and the events on its way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from streams.chain import Published
from streams.contents import Told
from streams.errors import NodeFault, Refusal, Silence
from streams.memory import Memory
from streams.records import Hash
from streams.sampling import Probe
from streams.tasks import Answered
from streams.witnesses import Verdict


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers that an operator may set.

    Attributes:
        look_back_epochs: how far below the head a gap is filled.
        concurrency: requests in flight on one endpoint, and tipsets assembled ahead.
        stale_after_seconds: how long a live node may announce nothing.
        request_timeout_seconds: how long an answer may take.
        incomplete_retries: how often receipts that seem incomplete are read again before they are published as such.
        incomplete_delay_seconds: the pause before the first of these; it doubles.
        traces: whether nodes are asked what ran inside of messages.
        traces_of_history: whether they are for tipsets of the past, too.
        requests_per_second: how many requests one endpoint gets, None for as many as it answers.
        witnesses: how many endpoints are kept connected besides the leader, to be compared with it.
        compare_depth_epochs: how deep a tipset lies when witnesses are asked about it.
        receipts_quorum: how many nodes must tell the same receipts before a tipset is published without complaint.
        hedge_after_seconds: how long the leader may take for a tipset before a witness is asked as well.
        reread_depth_epochs: how deep a tipset lies when it is read again, 0 for never.
        reread_final_epochs: how deep it lies when it is read once more, 0 for never.
    """

    look_back_epochs: int = 2000
    concurrency: int = 8
    stale_after_seconds: float = 120.0
    request_timeout_seconds: float = 30.0
    incomplete_retries: int = 3
    incomplete_delay_seconds: float = 0.5
    traces: bool = True
    traces_of_history: bool = False
    requests_per_second: float | None = None
    witnesses: int = 0
    compare_depth_epochs: int = 5
    receipts_quorum: int = 1
    hedge_after_seconds: float = 5.0
    reread_depth_epochs: int = 0
    reread_final_epochs: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on: what the store holds of earlier runs.

    Attributes:
        incarnation: a number that is larger for each run of a follower.
        published: the processed tipsets that may still be undone.
        reserved: the height up to which an earlier run may have published, None if there was none.
        memory: what earlier runs learnt.
        since: the lowest height that the store should hold, None if `published` tells it.
        probes: what is sampled of this chain, beside what is sampled of every one.
        told: how what is published was told, by hash.
    """

    incarnation: int
    published: tuple[Published, ...]
    reserved: int | None
    memory: Memory
    since: int | None = None
    probes: tuple[Probe, ...] = ()
    told: Mapping[Hash, Told] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reorg:
    """So many published epochs were undone."""

    depth_epochs: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """An endpoint was left or lost, and why."""

    endpoint: str
    reason: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Nonsense:
    """An endpoint said something that can not be true, or can not be read."""

    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tipset is left out, since what a node tells of it is too long to be read, or is refused again and again."""

    height: int
    reason: str


def doubts(endpoint: str, fault: NodeFault) -> list[Nonsense]:
    """The fault as an event; none where the node only refused, or was silent."""
    return [] if isinstance(fault, Refusal | Silence) else [Nonsense(endpoint, str(fault))]


@dataclass(frozen=True, slots=True)
class Live:
    """An endpoint greeted us and is followed or held ready."""

    endpoint: str
    native: bool


@dataclass(frozen=True, slots=True)
class Sought:
    """These endpoints should be connected from now on, and no others."""

    endpoints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Announced:
    """An endpoint has a new head."""

    endpoint: str
    height: int


@dataclass(frozen=True, slots=True)
class WitnessSays:
    """What another endpoint says of a tipset that was published."""

    endpoint: str
    height: int
    verdict: Verdict


Depth: TypeAlias = Literal["confirmed", "final"]
DEPTHS: tuple[Depth, ...] = get_args(Depth)
RereadResult: TypeAlias = Literal["same", "different", "disputed", "repeated", "failed", "skipped"]
"""What a second read of a tipset came to. `disputed`: a node tells something else, and that is not believed; `repeated`: it is not known
any more which of several tellings is stored, so it was published once more."""
REREAD_RESULTS: tuple[RereadResult, ...] = get_args(RereadResult)


@dataclass(frozen=True, slots=True)
class Reread:
    """A published tipset was read again: what came of it, who told, and what differs (`chain`: another tipset stands there)."""

    height: int
    depth: Depth
    result: RereadResult
    endpoint: str
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A tipset was published although its receipts seem incomplete."""

    height: int
    complaint: str


@dataclass(frozen=True, slots=True)
class LogMismatch:
    """The streamed logs of a tipset differ from its receipts'."""

    height: int


@dataclass(frozen=True, slots=True)
class NoSample:
    """A probe of the state gave no sample."""

    probe: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """The nodes tell nothing of this height and those below it any more: they stay missing."""

    height: int


Event: TypeAlias = (
    Answered
    | Reorg
    | Dropped
    | Nonsense
    | Live
    | Sought
    | Announced
    | WitnessSays
    | Reread
    | Incomplete
    | LogMismatch
    | NoSample
    | OutOfReach
    | Skipped
)
