"""What a read amounts to: everything that the chain fixes counts, and nothing else."""

from typing import Any

import msgspec
import pytest

from streams.chain import Link
from streams.contents import UNSURE, Content, content
from streams.enrich import Assembled
from streams.wire import EthBlock, Receipt, ReceiptLog

ONE, TWO = "0x" + "0a" * 32, "0x" + "0b" * 32
SENDER, CONTRACT = "0x" + "a1" * 20, "0x" + "c0" * 20


def transaction(name: str, **changes: Any) -> dict[str, Any]:
    return {"hash": name, "from": SENDER, "to": CONTRACT, "gas": "0x10", "value": "0x0", "input": "0x12345678", **changes}


def receipt(name: str, **changes: Any) -> Receipt:
    logs = (ReceiptLog(CONTRACT, ("0x" + "11" * 32,), "0xab"),)
    told = Receipt(transaction_hash=name, block_hash="0x" + "22" * 32, block_number="0x5", gas_used="0x10", status="0x1", logs=logs)
    return msgspec.structs.replace(told, **changes)


def read(*, complaint: str | None = None, sent: dict[str, Any] | None = None, **changes: Any) -> Content:
    """A read of a tipset with two messages, of which the first is changed in the block (`sent`) or in its receipt."""
    block = {
        "hash": "0x" + "22" * 32,
        "parentHash": "0x" + "21" * 32,
        "number": "0x5",
        "timestamp": "0x100",
        "baseFeePerGas": "0x64",
        "transactions": [transaction(ONE, **(sent or {})), transaction(TWO)],
    }
    link = Link(5, "0x" + "22" * 32, "0x" + "21" * 32)
    receipts = {ONE: receipt(ONE, **changes), TWO: receipt(TWO)}
    return content(Assembled(link, msgspec.convert(block, EthBlock), receipts, None, complaint))


LOG = ReceiptLog(CONTRACT, ("0x" + "11" * 32,), "0xab")


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"sent": {"value": "0x1"}}, "messages"),
        ({"sent": {"gas": "0x11"}}, "messages"),
        ({"sent": {"input": "0x12345679"}}, "messages"),
        ({"gas_used": "0x11"}, "receipts"),
        ({"status": "0x0"}, "receipts"),
        ({"contract_address": CONTRACT}, "receipts"),
        ({"logs": ()}, "logs"),
        ({"logs": (msgspec.structs.replace(LOG, data="0xac"),)}, "logs"),
        ({"logs": (msgspec.structs.replace(LOG, topics=("0x" + "12" * 32,)),)}, "logs"),
        ({"logs": (msgspec.structs.replace(LOG, address=SENDER),)}, "logs"),
        ({"complaint": "3 receipts are missing"}, "completeness"),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], part: str) -> None:
    """A change of a message, a receipt, a topic or the data of a log is another content, and says of what."""
    assert read(**changes).differs(read()) == (part,)


def test_how_it_is_written_does_not_count() -> None:
    """Nodes write hex in capitals and with zeros in front, and the fetch may have learnt other things besides."""
    spelt = read(sent={"from": SENDER.upper().replace("X", "x"), "gas": "0x10"}, logs=[ReceiptLog(CONTRACT, ("0x" + "11" * 32,), "0xAB")])
    assert spelt == read()


def test_a_receipt_that_is_missing_counts() -> None:
    """As other receipts and other logs."""
    told = read()
    link = Link(5, "0x" + "22" * 32, "0x" + "21" * 32)
    block = EthBlock("0x", "0x", "0x5", "0x100", "0x64", [])
    empty = content(Assembled(link, block, {}, None, None))
    assert set(empty.differs(told)) == {"messages", "receipts", "logs"}
    assert empty.log_count == 0
    assert msgspec.structs.replace(told, whole=False).differs(told) == ("completeness",)


def test_what_is_not_known_differs_from_everything() -> None:
    """And everything has more logs."""
    told = read()
    assert told.differs(UNSURE) == ("messages", "receipts", "logs")
    assert told.log_count > UNSURE.log_count
