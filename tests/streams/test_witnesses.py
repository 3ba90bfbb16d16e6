"""Witnesses: what other nodes say of a tipset, and when they are asked."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.rpc import NULL_ROUND, Answer, Call
from streams.wire import Receipt
from streams.witnesses import WAITING_TIPSETS, Compared, Seen, Verdict, Vouched, Witnesses, compare, digest, vouch
from tests.node.asking import Answerer, ask, refused, told

BLOCK, OTHER = "0x" + "b1" * 32, "0x" + "b2" * 32


def receipt(number: int, gas_used: int = 100, status: int = 1, logs: int = 0) -> dict[str, object]:
    """A receipt as a node sends it."""
    return {
        "transactionHash": f"0x{number:064x}",
        "blockHash": BLOCK,
        "blockNumber": "0x5",
        "gasUsed": hex(gas_used),
        "status": hex(status),
        "logs": [{"address": "0x" + "11" * 20, "topics": [], "data": "0x"}] * logs,
    }


def typed(*receipts: dict[str, object]) -> list[Receipt]:
    """The same, decoded."""
    return [msgspec.convert(one, Receipt) for one in receipts]


def node(block: str | None = BLOCK, receipts: list[dict[str, object]] | None = None) -> Answerer:
    """A node that holds `block` at height 5 (None: a null round) with these receipts (None: refuses them)."""

    def answer(call: Call) -> Answer:
        if call.method == "eth_getBlockReceipts":
            return told(call, receipts) if receipts is not None else refused(call)
        if block is None:
            return refused(call, NULL_ROUND)
        return told(call, {"hash": block, "number": "0x5", "parentHash": OTHER, "timestamp": "0x1"})

    return answer


def seen(height: int = 5, *receipts: dict[str, object]) -> Seen:
    return Seen(height, BLOCK, digest(typed(*receipts)))


@given(st.permutations([receipt(1), receipt(2, 7), receipt(3, logs=2)]))
def test_the_order_of_receipts_does_not_matter(receipts: list[dict[str, object]]) -> None:
    """Nodes may list them as they like."""
    assert digest(typed(*receipts)) == digest(typed(receipt(1), receipt(2, 7), receipt(3, logs=2)))


@pytest.mark.parametrize("other", [receipt(2), receipt(1, 99), receipt(1, status=0), receipt(1, logs=1)])
def test_what_counts_is_told_apart(other: dict[str, object]) -> None:
    """Another transaction, gas, status or number of logs is another digest; so is one receipt less."""
    assert digest(typed(other)) != digest(typed(receipt(1)))
    assert digest(typed(other, receipt(1))) != digest(typed(other))


@pytest.mark.parametrize(
    "answers, verdict",
    [
        (node(receipts=[receipt(1)]), "same"),
        (node(receipts=[receipt(1, logs=1)]), "receipts"),
        (node(receipts=[]), "receipts"),
        (node(OTHER, [receipt(1)]), "chain"),
        (node(None), "chain"),
        (node(), "unanswered"),
    ],
)
def test_a_comparison_ends_in_one_of_four_ways(answers: Answerer, verdict: Verdict) -> None:
    """The same; another tipset, or none, at that height; other receipts; no answer."""
    one = seen(5, receipt(1))
    assert ask(compare(one), answers) == Compared(one, verdict)


def test_a_voucher_is_a_digest_or_nothing() -> None:
    """Of the receipts as that node tells them."""
    assert ask(vouch(BLOCK), node(receipts=[receipt(1)])) == Vouched(BLOCK, digest(typed(receipt(1))))
    assert ask(vouch(BLOCK), node()) == Vouched(BLOCK, None)


def test_only_what_is_deep_is_compared() -> None:
    """Below what was published last, and below the head of whoever is asked; each tipset once by each witness."""
    some = Witnesses(3)
    for height in range(1, 6):
        some.published(seen(height), ["a", "b"])
    assert some.next({"a": 3, "b": 100}) == [("b", seen(1))]
    assert some.next({"a": 4, "b": 100}) == [("a", seen(1)), ("b", seen(2))]
    assert some.next({"b": 100}) == []


def test_what_is_undone_is_not_compared() -> None:
    """A rewind takes back what waits, for each witness."""
    some = Witnesses(1)
    for height in range(1, 6):
        some.published(seen(height), ["a"])
    some.rewound(1)
    assert some.next({"a": 100}) == [("a", seen(1))]
    assert some.next({"a": 100}) == []


def test_a_slow_witness_does_not_pile_up() -> None:
    """Only the newest wait; one that is gone leaves nothing."""
    some = Witnesses(0)
    for height in range(2 * WAITING_TIPSETS):
        some.published(seen(height), ["a"])
    assert some.next({"a": 10_000}) == [("a", seen(WAITING_TIPSETS))]
    some.published(seen(10_000), ["b"])
    assert some.next({"a": 20_000}) == []
