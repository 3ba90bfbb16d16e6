"""Traces: which are believed, what of them held, and how a node that refuses is left alone."""

from typing import Any

import msgspec
import pytest

from streams.chain import Link
from streams.traces import (
    FIRST_PAUSE_TIPSETS,
    LONGEST_PAUSE_TIPSETS,
    PATIENCE_SECONDS,
    REFUSALS,
    Inside,
    Made,
    Tracing,
    fetch_traces,
    inside,
)
from streams.wire import BURNT_FUNDS, Receipt, Trace
from tests.node.asking import ask, refused, told

BLOCK, ONE, TWO = ("0x" + pair * 32 for pair in ("b0", "01", "02"))
ALICE, FACTORY, CHILD, OTHER = ("0x" + pair * 20 for pair in ("aa", "fa", "c1", "c2"))
LINK = Link(100, BLOCK, "0x" + "af" * 32, (), (), 0)


def trace(kind: str = "call", *place: int, of: str = ONE, error: str = "", result: Any = None, **action: Any) -> dict[str, Any]:
    """A trace as a node writes it."""
    made = {"from": FACTORY, "callType": "call", "to": CHILD, "value": "0x0", **action}
    row = {"type": kind, "traceAddress": place, "transactionHash": of, "blockHash": BLOCK, "action": made, "transactionPosition": 7}
    return row | {"result": result} | ({"error": error} if error else {})


def create(address: str | None, *place: int, **more: Any) -> dict[str, Any]:
    """The trace of a creation."""
    return trace("create", *place, result={"address": address, "code": "0xfe"}, **{"init": "0x6080", **more})


def receipts(*names: str, status: str = "0x1", gas: str = "0x1") -> dict[str, Receipt]:
    """Receipts of messages with these hashes."""
    return {name: Receipt(name, BLOCK, "0x64", gas, status, ()) for name in names}


def read(*rows: dict[str, Any]) -> list[Trace]:
    return msgspec.convert(list(rows), list[Trace])


def told_inside(*rows: dict[str, Any], of: dict[str, Receipt] | None = None) -> Inside | None:
    return inside(read(*rows), LINK, of or receipts(ONE), Tracing())


def test_creations_are_told_by_who_made_them() -> None:
    """Direct ones at the top, others inside; addresses in lower case."""
    found = told_inside(create(FACTORY.upper().replace("X", "x"), **{"from": ALICE}), create(CHILD, 0), create(OTHER, 0, 3))
    assert found == Inside({ONE: (Made(FACTORY, ALICE, True), Made(CHILD, FACTORY, False), Made(OTHER, FACTORY, False))})


@pytest.mark.parametrize("failed", [(), (1,), (1, 0)])
def test_what_a_failed_call_made_does_not_exist(failed: tuple[int, ...]) -> None:
    """An error of the creation, or of any call around it; a neighbour's does no harm."""
    rows = [trace("call", *place, error="Reverted" if place == failed else "") for place in ((), (0,), (1,))]
    rows.append(create(CHILD, 1, 0, error="out of gas" if failed == (1, 0) else ""))
    assert told_inside(*rows) == Inside()
    neighbour = told_inside(trace(), trace("call", 0, error="Reverted"), create(CHILD, 1))
    assert neighbour == Inside({ONE: (Made(CHILD, FACTORY, False),)})


def test_a_message_that_failed_made_nothing() -> None:
    """Whatever its traces say."""
    assert told_inside(trace(), create(CHILD, 0), of=receipts(ONE, status="0x0")) == Inside()


@pytest.mark.parametrize(
    "row", [create(f"0xff{1234:038x}", 0), create(CHILD, 0, init="0xfe"), create(None, 0), trace("create", 0), trace("suicide", 0)]
)
def test_built_in_actors_are_no_contracts(row: dict[str, Any]) -> None:
    """A masked id or the init code 0xfe; neither is a creation without an address."""
    assert told_inside(trace(), row) == Inside()


def test_what_calls_inside_send_to_f099_is_summed() -> None:
    """By transaction; the message's own value is not inside, other kinds of calls move nothing, failed ones did not."""
    to_f099 = {"to": BURNT_FUNDS.upper().replace("X", "x"), "value": "0x5"}
    rows = [
        trace("call", **to_f099),
        trace("call", 0, **to_f099),
        trace("call", 1, **to_f099),
        trace("call", 2, error="Reverted", **to_f099),
    ]
    rows += [trace("call", 3, callType=kind, **to_f099) for kind in ("staticcall", "delegatecall")]
    found = told_inside(*rows, trace("call", 4, value="0x7"), trace(of=TWO), of=receipts(ONE, TWO))
    assert found == Inside({}, {ONE: 10})


@pytest.mark.parametrize(
    "rows, of",
    [
        ([trace() | {"blockHash": "0x" + "99" * 32}], receipts(ONE)),
        ([trace(), trace(of=TWO) | {"blockHash": "0x" + "99" * 32}], receipts(ONE, TWO)),
        ([trace()], receipts(ONE, TWO)),
        ([], receipts(ONE)),
        ([trace(), trace("call", 0, callType="call", to=BURNT_FUNDS, value=hex(2**128))], receipts(ONE)),
    ],
)
def test_traces_of_another_tipset_or_of_a_part_tell_nothing(rows: list[dict[str, Any]], of: dict[str, Receipt]) -> None:
    """Joined by hash, each message that used gas must have one, every one must be of this block and burn what can be."""
    tracing = Tracing()
    assert inside(read(*rows), LINK, of, tracing) is None
    assert tracing.refusals == 1


def test_a_message_that_never_ran_needs_no_trace() -> None:
    """It used no gas; an empty tipset needs none at all."""
    assert told_inside(trace(), of={**receipts(ONE), **receipts(TWO, gas="0x0", status="0x0")}) == Inside()
    assert inside([], LINK, {}, Tracing()) == Inside()


def test_the_question_has_a_patience_of_its_own() -> None:
    """It is by height, and does not end the fetch when nothing comes."""
    asked: list[Any] = []
    assert ask(fetch_traces(LINK, Tracing()), lambda call: told(call, [trace()]), asked) == read(trace())
    assert [(call.method, call.params, call.patience_seconds) for call in asked] == [("trace_block", ("0x64",), PATIENCE_SECONDS)]


@pytest.mark.parametrize("answer", [{"a": 1}, [{"type": "call"}], None])
def test_a_refusal_or_nonsense_is_counted_and_no_more(answer: Any) -> None:
    """The tipset goes on without."""
    tracing = Tracing()
    assert ask(fetch_traces(LINK, tracing), lambda call: told(call, answer)) is None
    assert tracing.refusals == 1


def test_nobody_is_asked_where_traces_are_not_wanted() -> None:
    """By the settings, or for a while."""
    asked: list[Any] = []
    assert ask(fetch_traces(LINK, None), refused, asked) is None
    assert ask(fetch_traces(LINK, Tracing(paused_tipsets=1)), refused, asked) is None
    assert asked == []


def skipped(tracing: Tracing) -> int:
    """How many tipsets go by until it is asked again."""
    count = 0
    while not tracing.wanted():
        count += 1
    return count


def test_a_node_that_refuses_is_left_alone_for_longer_and_longer() -> None:
    """After some refusals in a row; those of questions asked before do not count, and one answer starts anew."""
    tracing, pauses = Tracing(), []
    for _ in range(10):
        for _ in range(REFUSALS + 2):
            tracing.refused()
        pauses.append(skipped(tracing))
    assert pauses[:3] == [FIRST_PAUSE_TIPSETS, 2 * FIRST_PAUSE_TIPSETS, 4 * FIRST_PAUSE_TIPSETS]
    assert pauses[-1] == LONGEST_PAUSE_TIPSETS
    tracing.told()
    for _ in range(REFUSALS - 1):
        tracing.refused()
    assert skipped(tracing) == 0


def test_a_node_without_the_method_is_asked_once_a_day() -> None:
    """One such answer is enough."""
    tracing = Tracing()
    ask(fetch_traces(LINK, tracing), lambda call: refused(call, -32601))
    assert skipped(tracing) == LONGEST_PAUSE_TIPSETS


def test_a_lost_connection_counts_only_where_a_question_was_open() -> None:
    """Traces too long to read end a connection, again and again if they were asked for again and again."""
    tracing = Tracing()
    tracing.dropped()
    assert tracing.refusals == 0
    for _ in range(REFUSALS):
        assert tracing.wanted()
        tracing.dropped()
    assert not tracing.wanted()
