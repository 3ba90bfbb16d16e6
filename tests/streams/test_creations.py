"""Creations: who tells of them, which are none, and how they stand in a record."""

import base64
from typing import Any

import pytest

from streams.addresses import delegated
from streams.chain import Link
from streams.creations import Creations, created, learn_creators, recorded, resurrected, returned
from streams.memory import Memory
from streams.records import Contract, Creation, InnerBurn, Message
from streams.traces import Inside, Made
from streams.wire import EAM, Cid, EthBlock, NativeReceipt, Receipt, Transaction
from tests.node.asking import ask, refused, told

ONE, TWO = ("0x" + pair * 32 for pair in ("01", "02"))
ALICE, FACTORY, CHILD, OTHER = ("0x" + pair * 20 for pair in ("aa", "fa", "c1", "c2"))
MADE_BY_MANAGER = base64.b64encode(bytes.fromhex("8319042d" + "5502" + "77" * 20 + "54" + CHILD[2:])).decode()
EVM, PLACEHOLDER = {"/": "bafk2bzaceevm"}, {"/": "bafk2bzaceplace"}


def creations(
    to: str | None, *, status: str = "0x1", contract: str | None = None, returned: str | None = None, inside: Inside | None = None
) -> Creations:
    """What one message to `to` made."""
    block = EthBlock("0x" + "b0" * 32, "0x" + "af" * 32, "0x64", "0x0", "0x1", [Transaction(ONE, ALICE, "0x1", to)])
    receipts = {ONE: Receipt(ONE, block.hash, "0x64", "0x1", status, (), contract)}
    return created(block, receipts, [NativeReceipt(0, 1, None, returned)], inside)


def test_the_receipt_names_what_a_message_made() -> None:
    """In lower case, and only if it succeeded."""
    assert creations(None, contract=CHILD.upper().replace("X", "x")).direct == {ONE: CHILD}
    assert creations(None, contract=CHILD, status="0x0").direct == {}


def test_what_the_manager_made_stands_in_the_trace_or_the_return_value() -> None:
    """Where the receipt does not name it; calls to anybody else make nothing, whatever they return."""
    traced = Inside({ONE: (Made(OTHER, ALICE, True), Made(CHILD, OTHER, False))})
    assert creations(EAM, inside=traced) == Creations({ONE: OTHER}, {ONE: (Made(CHILD, OTHER, False),)})
    assert creations(EAM, returned=MADE_BY_MANAGER).direct == {ONE: CHILD}
    assert creations(FACTORY, returned=MADE_BY_MANAGER).direct == {}
    assert creations(EAM, returned=MADE_BY_MANAGER, status="0x0").direct == {}
    assert creations(EAM).direct == {}


@pytest.mark.parametrize(
    "answer", [None, "", "!", "gwE=", base64.b64encode(b"\x82" + b"\x54" * 30).decode(), base64.b64encode(b"\x83" * 30).decode()]
)
def test_other_return_values_name_nothing(answer: str | None) -> None:
    """No base64, too short, not three values, or no address at the end."""
    assert returned(answer) is None


def links() -> tuple[Link, Link]:
    """A tipset, and one on top."""
    below, above = (Cid("bafy" + letter) for letter in "ab")
    return Link(10, "0x" + "0a" * 32, "0x" + "09" * 32, (below,), (), 0), Link(
        11, "0x" + "0b" * 32, "0x" + "0a" * 32, (above,), (below,), 0
    )


@pytest.mark.parametrize(
    "before, after, old",
    [(EVM, EVM, True), (PLACEHOLDER, EVM, False), (None, EVM, False), (EVM, None, False), (None, None, False)],
)
def test_a_contract_that_was_there_before_is_no_new_one(before: Any, after: Any, old: bool) -> None:
    """Its actor has the code of a contract in the state before the tipset already; one that was only paid to has not."""
    link, child = links()

    def answer(call: Any) -> Any:
        assert call.params[0] == delegated(CHILD)
        code = before if call.params[1] == link.key else after
        return told(call, {"Balance": "0", "Code": code}) if code else refused(call)

    assert ask(resurrected([CHILD], link, child), answer) == ({CHILD} if old else set())


def test_only_a_native_node_can_tell_and_only_of_something() -> None:
    """Otherwise nothing is asked."""
    link, child = links()
    asked: list[Any] = []
    assert ask(resurrected([], link, child), refused, asked) == ask(resurrected([CHILD], link, None), refused, asked) == set()
    assert asked == []


def test_a_record_has_them_in_the_order_of_the_messages() -> None:
    """With the code that is known, without those that were there before, and with what was burnt inside."""
    messages = [Message(name, ALICE, FACTORY, False, None, True, 1, 1, 1, 1, 0, "") for name in (ONE, TWO)]
    memory = Memory(contracts={CHILD: Contract(CHILD, "0x" + "cc" * 32)})
    made = Creations({ONE: OTHER}, {TWO: (Made(CHILD, FACTORY, False), Made(FACTORY, OTHER, False))}, frozenset({FACTORY}))
    found = recorded(made, Inside({}, {TWO: 9}), messages, memory)
    expected = (Creation(OTHER, ALICE, None, 0, False), Creation(CHILD, FACTORY, "0x" + "cc" * 32, 1, True))
    assert found == (expected, (InnerBurn(1, 9),))
    assert recorded(Creations(), None, messages, memory) == ((), ())


def test_the_evidence_names_the_maker() -> None:
    """Of a contract that is known already as of one that comes to be known later."""
    memory = Memory(contracts={CHILD: Contract(CHILD, "0x" + "cc" * 32)})
    learn_creators(Creations({}, {ONE: (Made(CHILD, FACTORY, False), Made(OTHER, FACTORY, False))}), memory)
    memory.learn(Contract(OTHER, "0x" + "dd" * 32))
    assert memory.contracts[CHILD].created_by == memory.contracts[OTHER].created_by == FACTORY
    assert [one.address for one in memory.learnt] == [CHILD, OTHER]
