"""The price of FIL in USD, as it stands on chain. Pure.

Source: Pyth `getPriceUnsafe(bytes32)`, which answers (int64 price, uint64 conf, int32 expo, uint256 publishTime) whatever its age:
whether it is too old is decided here, against the timestamp of the tipset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from eth_utils.crypto import keccak

from streams.errors import NodeFault
from streams.pools import eth_call, words_of
from streams.records import Address
from streams.sampling import Moment, Probe
from streams.tasks import Fetch

NAME = "price:fil_usd_e18"
_WORDS = 4
_EXPONENTS = range(-18, 19)


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """A Pyth contract, and the id of the feed in it (`0x` and 64 hex digits)."""

    address: Address
    feed: str
    stale_after_seconds: int
    every_epochs: int = 10


def price_probe(question: PriceQuestion) -> Probe:
    """The probe for the price: USD per FIL, with 18 decimals."""
    return Probe(NAME, question.every_epochs, False, partial(_pyth, question))


def _pyth(question: PriceQuestion, moment: Moment) -> Fetch[Mapping[str, int]]:
    data = keccak(text="getPriceUnsafe(bytes32)")[:4] + bytes.fromhex(question.feed[2:])
    (answer,) = yield (eth_call(question.address, data, moment),)
    words = words_of(answer)
    if len(words) != _WORDS:
        raise NodeFault(f"getPriceUnsafe: {len(words)} words, {_WORDS} were wanted")
    price, exponent = (int.from_bytes(words[place], signed=True) for place in (0, 2))
    published = int.from_bytes(words[3])
    age = abs(moment.timestamp_seconds - published)
    if age > question.stale_after_seconds:
        raise NodeFault(f"getPriceUnsafe: published {age} s away from the tipset, {question.stale_after_seconds} s are allowed")
    if not 0 < price < 2**63 or exponent not in _EXPONENTS:
        raise NodeFault(f"getPriceUnsafe: {price}e{exponent} is no price")
    return {NAME: price * 10 ** (18 + exponent)}
