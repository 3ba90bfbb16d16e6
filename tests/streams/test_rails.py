from typing import Any

import pytest
from eth_utils.crypto import keccak

from streams.rails import AMOUNTS_OF_PAYMENT, CREATED, MOST_RAILS, learn_rails
from streams.records import Rail
from streams.rpc import Call
from streams.wire import Receipt, ReceiptLog
from tests.node.asking import REVERT, asked, words

PAY, OTHER, USDFC, PAYER, PAYEE = ("0x" + pair * 20 for pair in ("0a", "0b", "0c", "0d", "0e"))
PARENT, HASH = "0x" + "aa" * 32, "0x" + "bb" * 32
SETTLED, _, ONE_TIME, _ = AMOUNTS_OF_PAYMENT


def topic(event: str) -> str:
    """Its first topic."""
    return "0x" + keccak(text=event).hex()


def word(value: int) -> str:
    """A topic that holds a number, or an address."""
    return "0x" + value.to_bytes(32).hex()


def log(event: str, *indexed: int, data: str = "0x", emitter: str = PAY) -> ReceiptLog:
    """An event, spelt in capitals as some nodes do."""
    return ReceiptLog(emitter.upper().replace("0X", "0x"), (topic(event), *map(word, indexed)), data)


def rails(*logs: ReceiptLog, node: Any = None) -> tuple[Rail, ...]:
    """What is learnt from one receipt with these events."""
    receipt = Receipt(HASH, HASH, "0x1", "0x1", "0x1", logs)
    return asked(learn_rails(PARENT, [receipt]), node or (lambda call: pytest.fail(str(call))))


def number(address: str) -> int:
    """An address as a number."""
    return int(address, 16)


def test_the_node_tells_a_rail_once() -> None:
    """In the state before the tipset, however often the rail is paid on."""
    calls: list[Call] = []

    def node(call: Call) -> Any:
        calls.append(call)
        return words(number(USDFC), number(PAYER), number(PAYEE), *range(9))

    found = rails(log(SETTLED, 7), log(ONE_TIME, 7), log("Transfer(address,address,uint256)", 1, 2), node=node)
    assert found == (Rail(PAY, word(7), USDFC, PAYER),)
    assert calls == [Call("eth_call", ({"to": PAY, "data": "0x22e440b3" + word(7)[2:]}, {"blockHash": PARENT}))]


def test_a_rail_that_the_tipset_opens_needs_no_question() -> None:
    """Its event says it all; the same number of another contract is another rail."""
    opened = log(CREATED, 7, number(PAYER), number(PAYEE), data=words(number(USDFC), 1, 2, 3, 4))
    assert rails(opened, log(SETTLED, 7)) == (Rail(PAY, word(7), USDFC, PAYER),)
    assert rails(opened, log(SETTLED, 7, emitter=OTHER), node=lambda _: REVERT) == ()
    assert rails(opened) == ()


@pytest.mark.parametrize("answer", [REVERT, None, "0x", words(1), words(number(USDFC), 0), words(1, 2**200), 3], ids=repr)
def test_what_nobody_tells_stays_unknown(answer: Any) -> None:
    """A rail without a payer is none; the others are told all the same."""
    good = words(0, number(PAYER))

    def node(call: Call) -> Any:
        return answer if call.params[0]["data"].endswith("7") else good

    assert rails(log(SETTLED, 7), log(SETTLED, 8), node=node) == (Rail(PAY, word(8), "0x" + "00" * 20, PAYER),)


def test_nobody_can_make_us_ask_without_end() -> None:
    """Anybody can log anything: the questions after one tipset are bounded."""
    asked_about: list[Call] = []

    def node(call: Call) -> Any:
        asked_about.append(call)
        return REVERT

    assert rails(*(log(SETTLED, place) for place in range(MOST_RAILS + 50)), log(SETTLED), node=node) == ()
    assert len(asked_about) == MOST_RAILS
