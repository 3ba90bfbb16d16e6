from typing import Any

import pytest

from streams.errors import NodeFault
from streams.prices import NAME, PriceQuestion, price_probe
from streams.rpc import Call
from streams.sampling import Moment
from tests.node.asking import REVERT, asked, words

NOW = 1_700_000_000
MOMENT = Moment(100, "0x" + "ab" * 32, (), NOW)
QUESTION = PriceQuestion("0x" + "0a" * 20, "0x" + "15" * 32, stale_after_seconds=600)


def price(answer: Any) -> int:
    """The price that the probe finds in an answer."""

    def node(call: Call) -> Any:
        assert call == Call("eth_call", ({"to": QUESTION.address, "data": "0x96834ad3" + "15" * 32}, {"blockHash": MOMENT.hash}))
        return answer

    return asked(price_probe(QUESTION).ask(MOMENT), node)[NAME]


def test_the_price_has_18_decimals() -> None:
    """1.12345678 USD, as Pyth writes it, at both ends of what is fresh."""
    for published in (NOW, NOW - 600, NOW + 600):
        assert price(words(112_345_678, 90_000, -8, published)) == 1_123_456_780_000_000_000
    assert price(words(3, 0, 0, NOW)) == 3 * 10**18
    assert price(words(3, 0, 2, NOW)) == 300 * 10**18


@pytest.mark.parametrize(
    "answer",
    [
        words(112_345_678, 1, -8, NOW - 601),
        words(112_345_678, 1, -8, NOW + 601),
        words(112_345_678, 1, -8, 0),
        words(0, 1, -8, NOW),
        words(-5, 1, -8, NOW),
        words(5, 1, -19, NOW),
        words(5, 1, 19, NOW),
        words(5, 1, -8),
        words(2**200, 1, -8, NOW),
        "0x",
        REVERT,
        None,
    ],
    ids=lambda answer: repr(answer)[:20],
)
def test_a_price_that_is_old_or_none_is_no_sample(answer: Any) -> None:
    """The age counts from the timestamp of the tipset, so that it is the same on every run."""
    with pytest.raises(NodeFault):
        price(answer)
