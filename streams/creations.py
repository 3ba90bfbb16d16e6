"""The contracts that a tipset made: by messages, as the receipts tell, and by contracts, as the traces do.

A contract that is made again at the address of one that destroyed itself is no new one: its actor was there before.
"""

import base64
import binascii
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streams.addresses import delegated
from streams.chain import Link
from streams.memory import Memory
from streams.records import Address, Creation, Hash, InnerBurn, Message
from streams.rpc import Call
from streams.tasks import Fetch
from streams.traces import Inside, Made
from streams.wire import EAM, Actor, EthBlock, NativeReceipt, Receipt, read

_ADDRESS_BYTES = 20
_ARRAY_OF_3, _BYTES_OF_20 = 0x83, 0x54
"""CBOR: how the return value of a creation begins, and how the address at its end does."""


@dataclass(frozen=True, slots=True)
class Creations:
    """What a tipset made.

    Attributes:
        direct: the contract that a message made, by transaction.
        inner: the contracts that contracts made, by transaction.
        resurrected: those of both that were there before.
    """

    direct: Mapping[Hash, Address] = field(default_factory=dict)
    inner: Mapping[Hash, tuple[Made, ...]] = field(default_factory=dict)
    resurrected: frozenset[Address] = frozenset()

    @property
    def addresses(self) -> list[Address]:
        """All of them, sorted."""
        return sorted({*self.direct.values(), *(one.address for made in self.inner.values() for one in made)})

    def without(self, resurrected: Iterable[Address]) -> "Creations":
        """The same, knowing which were there before."""
        return replace(self, resurrected=frozenset(resurrected))


def created(block: EthBlock, receipts: Mapping[Hash, Receipt], natives: Sequence[NativeReceipt] | None, inside: Inside | None) -> Creations:
    """What the receipts, the native receipts and the traces of a tipset tell of contracts made; `natives` in the block's order."""
    traced = inside.made if inside is not None else {}
    direct: dict[Hash, Address] = {}
    for place, transaction in enumerate(block.transactions):
        name = transaction.hash.lower()
        receipt = receipts.get(name)
        if receipt is None or not receipt.succeeded:
            continue
        address = receipt.created
        if address is None and transaction.to is not None and transaction.to.lower() == EAM:
            # A message to the manager itself: the eth receipt does not name what it made.
            address = next((one.address for one in traced.get(name, ()) if one.top), None)
            address = address or (returned(natives[place].answer) if natives is not None else None)
        if address is not None:
            direct[name] = address
    inner = {name: tuple(one for one in made if not one.top) for name, made in traced.items()}
    return Creations(direct, {name: made for name, made in inner.items() if made})


def returned(answer: str | None) -> Address | None:
    """The contract in the return value of the manager's creations: base64 of CBOR `[actor id, robust address or null, 20 bytes]`."""
    try:
        value = base64.b64decode(answer or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    tail = value[-_ADDRESS_BYTES - 1 :]
    if len(tail) <= _ADDRESS_BYTES or value[0] != _ARRAY_OF_3 or tail[0] != _BYTES_OF_20:
        return None
    return "0x" + tail[1:].hex()


def resurrected(addresses: Collection[Address], link: Link, child: Link | None) -> Fetch[set[Address]]:
    """Those that were contracts in the state before the tipset at `link` already; `child` is None where nothing native can be asked."""
    if not addresses or child is None or not link.key:
        return set()
    answers = yield tuple(
        Call("Filecoin.StateGetActor", (delegated(address), key)) for address in addresses for key in (link.key, child.key)
    )
    codes = [read(answer.result, Actor, "StateGetActor").code if answer.result is not None else None for answer in answers]
    befores_and_afters = zip(codes[::2], codes[1::2], strict=True)
    # An address that was only paid to has other code before.
    return {
        address for address, (before, after) in zip(addresses, befores_and_afters, strict=True) if before is not None and before == after
    }


def learn_creators(creations: Creations, memory: Memory) -> None:
    """Remember which contract made which."""
    for made in creations.inner.values():
        for one in made:
            memory.learn_creator(one.address, one.creator)


def recorded(
    creations: Creations, inside: Inside | None, messages: Sequence[Message], memory: Memory
) -> tuple[tuple[Creation, ...], tuple[InnerBurn, ...]]:
    """What was made and what was burnt inside, as it stands in a record with these messages."""
    found: list[Creation] = []
    burns: list[InnerBurn] = []
    for place, message in enumerate(messages):
        made = [(creations.direct[message.hash], message.sender, False)] if message.hash in creations.direct else []
        made += [(one.address, memory.name(one.creator), True) for one in creations.inner.get(message.hash, ())]
        for address, creator, internal in made:
            contract = memory.contracts.get(address)
            if address not in creations.resurrected:
                found.append(Creation(address, creator, contract.code_hash if contract is not None else None, place, internal))
        if inside is not None and message.hash in inside.burnt_attofil:
            burns.append(InnerBurn(place, inside.burnt_attofil[message.hash]))
    return tuple(found), tuple(burns)
