"""What ran inside the messages of a tipset: contracts that contracts made, and FIL that calls sent to f099.

Only `trace_block` tells. It is dear, many nodes refuse it, and it is asked by height, so what comes back may be about another
tipset: a tipset whose traces are late, refused or of another block is published without, and a node that keeps refusing is left
alone for a while. Traces are joined to messages by transaction hash, never by position (Lotus counted from 1 before 1.36.1).

Source: Lotus node/impl/eth/trace.go. The result's code of a creation is 0xfe for contracts and built-in actors alike; a built-in
actor's creation has 0xfe for its init code, and a masked id for its address.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from streams.chain import Link
from streams.errors import NodeFault
from streams.records import Address, Hash
from streams.rpc import NO_SUCH_METHOD, Call
from streams.tasks import Fetch
from streams.wire import BURNT_FUNDS, MOST_UNITS, Receipt, Trace, actor_id, read

PATIENCE_SECONDS = 10.0
"""How long a tipset waits for its traces: a third of an epoch, and rarely, since a node that is late is asked less and less."""
REFUSALS = 3
"""How many in a row are enough to stop asking."""
FIRST_PAUSE_TIPSETS = 20
LONGEST_PAUSE_TIPSETS = 2880
_NATIVE_INIT = "0xfe"


@dataclass(slots=True)
class Tracing:
    """Whether one node is asked for traces: after some refusals in a row not for a while, which doubles each time."""

    refusals: int = 0
    paused_tipsets: int = 0
    next_pause_tipsets: int = FIRST_PAUSE_TIPSETS
    open: bool = False
    """Whether anything was asked since the last answer."""

    def wanted(self) -> bool:
        """Whether to ask about the next tipset."""
        if self.paused_tipsets:
            self.paused_tipsets -= 1
            return False
        self.open = True
        return True

    def told(self) -> None:
        """The node told the traces of a tipset."""
        self.open, self.refusals, self.next_pause_tipsets = False, 0, FIRST_PAUSE_TIPSETS

    def refused(self, *, for_good: bool = False) -> None:
        """It did not; `for_good` if it does not know the question."""
        self.open = False
        if self.paused_tipsets:
            return  # asked before the pause began
        self.refusals += 1
        if for_good or self.refusals >= REFUSALS:
            self.refusals = 0
            self.paused_tipsets = LONGEST_PAUSE_TIPSETS if for_good else self.next_pause_tipsets
            self.next_pause_tipsets = min(2 * self.next_pause_tipsets, LONGEST_PAUSE_TIPSETS)

    def dropped(self) -> None:
        """The connection ended. An answer that is too long to read ends one, so a question that was open counts as refused."""
        if self.open:
            self.refused()


@dataclass(frozen=True, slots=True)
class Made:
    """A contract that a message made; `top` if it is what the message itself asked for."""

    address: Address
    creator: Address
    top: bool


@dataclass(frozen=True, slots=True)
class Inside:
    """By transaction: what was made, and the attoFIL that calls inside sent to f099."""

    made: Mapping[Hash, tuple[Made, ...]] = field(default_factory=dict)
    burnt_attofil: Mapping[Hash, int] = field(default_factory=dict)


def fetch_traces(link: Link, tracing: Tracing | None) -> Fetch[list[Trace] | None]:
    """The traces at this height, None where they are not asked for or the node does not tell them in time."""
    if tracing is None or not tracing.wanted():
        return None
    (answer,) = yield (Call("trace_block", (hex(link.height),), PATIENCE_SECONDS),)
    if answer.result is not None:
        try:
            return read(answer.result, list[Trace], "trace_block")
        except NodeFault:
            pass  # a tipset is not worth less for it
    tracing.refused(for_good=answer.error is not None and answer.error.code == NO_SUCH_METHOD)
    return None


def inside(traces: list[Trace] | None, link: Link, receipts: Mapping[Hash, Receipt], tracing: Tracing | None) -> Inside | None:
    """What the traces say of the messages with these receipts (by lower-case hash), None where they do not say all.

    They do if they are of this tipset, every message that used gas has one, and nothing burnt is more than can be.
    """
    if traces is None or tracing is None:
        return None
    of: dict[Hash, list[Trace]] = {}
    for trace in traces:
        of.setdefault(trace.transaction_hash.lower(), []).append(trace)
    held = {name: list(_held(of[name])) for name, receipt in receipts.items() if receipt.succeeded and name in of}
    burnt = {name: sum(_burns(one)) for name, one in held.items()}
    strange = any(trace.block_hash.lower() != link.hash for trace in traces) or any(value >= MOST_UNITS for value in burnt.values())
    if strange or any(int(receipt.gas_used, 16) and name not in of for name, receipt in receipts.items()):
        tracing.refused()
        return None
    tracing.told()
    made = {name: tuple(_made(one)) for name, one in held.items()}
    return Inside({name: one for name, one in made.items() if one}, {name: value for name, value in burnt.items() if value})


def _held(traces: Sequence[Trace]) -> Iterator[Trace]:
    """The traces of one transaction whose effect stayed: neither they nor any call around them failed."""
    failed = {trace.trace_address for trace in traces if trace.error}
    for trace in traces:
        place = trace.trace_address
        if not failed or not any(place[:depth] in failed for depth in range(len(place) + 1)):
            yield trace


def _made(traces: Sequence[Trace]) -> Iterator[Made]:
    for trace in traces:
        address = trace.result.address.lower() if trace.result is not None and trace.result.address is not None else None
        if trace.type != "create" or address is None or trace.action.init == _NATIVE_INIT or actor_id(address) is not None:
            continue
        yield Made(address, trace.action.sender.lower(), top=not trace.trace_address)


def _burns(traces: Sequence[Trace]) -> Iterator[int]:
    for trace in traces:
        action = trace.action
        inner = trace.type == "call" and action.call_type == "call" and trace.trace_address
        if inner and action.value is not None and action.to is not None and action.to.lower() == BURNT_FUNDS:
            yield int(action.value, 16)
