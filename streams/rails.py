"""Rails of Filecoin Pay: who pays on them, and in which token; asked of the node where a settlement does not say. Pure.

The events of a settlement name the rail by its number alone. `getRail` tells the rest, as long as the rail is open; so it is
asked in the state before the tipset, since the settlement itself may close it. A rail that the tipset opens says it in its event.

Source: FilOzone/filecoin-pay, `FilecoinPayV1.sol` and the release before it, whose events have no network fee.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated

from eth_utils.crypto import keccak
from msgspec import Meta

from streams.errors import NodeFault
from streams.evidence import address_in
from streams.records import Address, Hash, Rail
from streams.rpc import Answer, Call
from streams.tasks import Fetch
from streams.wire import Receipt, ReceiptLog, read

AMOUNTS_OF_PAYMENT: Mapping[str, tuple[int, ...]] = {
    "RailSettled(uint256,uint256,uint256,uint256,uint256,uint256)": (0,),
    "RailSettled(uint256,uint256,uint256,uint256,uint256)": (0,),
    "RailOneTimePaymentProcessed(uint256,uint256,uint256,uint256)": (0, 1, 2),
    "RailOneTimePaymentProcessed(uint256,uint256,uint256)": (0, 1),
}
"""The events of payments of every known release, and which words of their data add up to what the payer paid."""
CREATED = "RailCreated(uint256,address,address,address,address,address,address,uint256)"

MOST_RAILS = 1_000
"""How many rails are asked about after one tipset: anybody can log anything, and each costs a call."""

_WORDS_OF_RAIL = Annotated[str, Meta(pattern=r"^0x([0-9a-fA-F]{64}){2,32}\Z")]
_GET_RAIL = "0x" + keccak(text="getRail(uint256)")[:4].hex()
_PAYMENTS = frozenset("0x" + keccak(text=one).hex() for one in AMOUNTS_OF_PAYMENT)
_CREATED = "0x" + keccak(text=CREATED).hex()


def learn_rails(parent_hash: Hash, receipts: Iterable[Receipt]) -> Fetch[tuple[Rail, ...]]:
    """The rails that are paid on in these receipts, as far as anybody tells.

    Nothing is remembered: a number may be another rail's on another fork, and there are few settlements.
    """
    paid: dict[tuple[Address, Hash], None] = {}
    opened: dict[tuple[Address, Hash], Rail] = {}
    for log in (log for receipt in receipts for log in receipt.logs if len(log.topics) > 1):
        first, place = log.topics[0].lower(), (log.address.lower(), log.topics[1].lower())
        if first in _PAYMENTS:
            paid[place] = None
        elif first == _CREATED and (rail := _opened(place, log)) is not None:
            opened[place] = rail
    unknown = [place for place in paid if place not in opened][:MOST_RAILS]
    if unknown:
        answers = yield tuple(_question(parent_hash, *place) for place in unknown)
        told = (_answered(place, answer) for place, answer in zip(unknown, answers, strict=True))
        opened |= {(rail.contract, rail.number): rail for rail in told if rail is not None}
    return tuple(opened[place] for place in paid if place in opened)


def _opened(place: tuple[Address, Hash], log: ReceiptLog) -> Rail | None:
    payer = address_in(log.topics[2].lower()) if len(log.topics) > 2 else None
    word = log.data[2:66].lower()
    if payer is None or len(word) != 64:
        return None
    return Rail(*place, token="0x" + word[24:], payer=payer)


def _question(parent_hash: Hash, contract: Address, number: Hash) -> Call:
    return Call("eth_call", ({"to": contract, "data": _GET_RAIL + number[2:]}, {"blockHash": parent_hash}))


def _answered(place: tuple[Address, Hash], answer: Answer) -> Rail | None:
    """The first two words of the rail: token and payer. A rail that is closed, or never was, has none."""
    try:
        text = read(answer.required(), _WORDS_OF_RAIL, "getRail").lower()
    except NodeFault:
        return None
    payer = address_in("0x" + text[66:130])
    return Rail(*place, token="0x" + text[26:66], payer=payer) if payer is not None else None
