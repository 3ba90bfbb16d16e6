"""Traffic of no real chain: tipsets of a given size, the same for every contender and every run."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from processors.classify import Contracts
from processors.registry import Registry
from streams.evidence import STANDARDS, selector_of
from streams.records import Address, Contract, Hash, Log, LogsRecord, Message, TipsetRecord

NETWORK = "synthetic"
CHAIN_ID = 314
FIRST_HEIGHT = 1000
_GAS_PRICE = 10**9


@dataclass(frozen=True, slots=True)
class Size:
    """How busy the chain is, a tipset.

    Attributes:
        messages: all messages.
        fevm_messages: those of them that call a contract; the others are of block producers.
        senders: distinct senders of the FEVM messages.
        contracts: distinct receivers of the FEVM messages.
        events: logs.
        population: of senders; the more popular ones come back in most tipsets, the others seldom (by Zipf's law).
        contract_population: of contracts, the same way.
        null_rounds: share of the heights without a tipset.
    """

    messages: int = 400
    fevm_messages: int = 120
    senders: int = 60
    contracts: int = 40
    events: int = 150
    population: int = 20_000
    contract_population: int = 2_000
    null_rounds: float = 0.02


TINY = Size(messages=12, fevm_messages=8, senders=4, contracts=3, events=5, population=40, contract_population=9, null_rounds=0.1)


def registered() -> Contracts:
    """What the bundled registry knows of the chain."""
    return Registry.load(None).for_chain(CHAIN_ID)


class _Crowd:
    """Members drawn by Zipf's law: the second is met half as often as the first."""

    def __init__(self, members: list[Address]) -> None:
        self._members = members
        self._weights = list(accumulate(1 / place for place in range(1, len(members) + 1)))

    def some(self, rng: random.Random, number: int) -> list[Address]:
        """So many different members."""
        found: dict[Address, None] = {}
        while len(found) < number:
            found |= dict.fromkeys(rng.choices(self._members, cum_weights=self._weights, k=number - len(found)))
        return list(found)


class Traffic:
    """Makes the records of a chain, from `FIRST_HEIGHT` on; the same for the same `seed`."""

    def __init__(self, size: Size, seed: int = 1) -> None:
        self._size = size
        self._rng = rng = random.Random(seed)
        self._senders = _Crowd([_address(rng) for _ in range(size.population)])
        known = rng.sample(sorted(registered().entries), min(size.contract_population // 4, 100))
        addresses = known + [_address(rng) for _ in range(size.contract_population - len(known))]
        rng.shuffle(addresses)
        self._evidence = {address: _contract(address, place, rng) for place, address in enumerate(addresses)}
        self._contracts = _Crowd(addresses)
        self._block_producers = [f"0xff{place:038x}" for place in range(1000, 1600)]
        self._sequence = 1 << 32

    def some_senders(self, rng: random.Random) -> list[Address]:
        """Those of a tipset."""
        return self._senders.some(rng, self._size.senders)

    def some_contracts(self, rng: random.Random) -> list[Address]:
        """Those of a tipset."""
        return self._contracts.some(rng, self._size.contracts)

    @property
    def evidence(self) -> Mapping[Address, Contract]:
        """All contracts."""
        return self._evidence

    def tipsets(self) -> Iterator[TipsetRecord]:
        """One tipset after the other, with a null round here and there."""
        height, parent_hash = FIRST_HEIGHT, _hash(self._rng)
        parent_height = height - 1
        while True:
            if height > FIRST_HEIGHT and self._rng.random() < self._size.null_rounds:
                height += 1
            record = self._tipset(height, parent_height, parent_hash)
            yield record
            height, parent_height, parent_hash = height + 1, height, record.hash

    def logs(self, tipset: TipsetRecord, events: int | None = None) -> LogsRecord:
        """The events of a tipset: so many, or as many as all have."""
        rng = self._rng
        return LogsRecord(
            network=NETWORK,
            sequence=tipset.sequence + 1,
            height=tipset.height,
            parent_height=tipset.parent_height,
            hash=tipset.hash,
            noticed_at=tipset.noticed_at,
            logs=tuple(
                _log(place, rng.choice(tipset.contracts).address, rng) for place in range(self._size.events if events is None else events)
            ),
            contracts=tipset.contracts,
        )

    def _tipset(self, height: int, parent_height: int, parent_hash: Hash) -> TipsetRecord:
        size, rng = self._size, self._rng
        senders, contracts = self.some_senders(rng), self.some_contracts(rng)
        calls = [_call(senders[i % size.senders], contracts[i % size.contracts], rng) for i in range(size.fevm_messages)]
        others = [_proof(rng.choice(self._block_producers), rng) for _ in range(size.messages - size.fevm_messages)]
        self._sequence += 2
        return TipsetRecord(
            network=NETWORK,
            sequence=self._sequence,
            height=height,
            parent_height=parent_height,
            hash=_hash(rng),
            parent_hash=parent_hash,
            timestamp_seconds=1_700_000_000 + 30 * height,
            noticed_at=1_700_000_000.0 + 30 * height,
            base_fee_attofil=rng.randrange(10**7, 10**9),
            messages=(*calls, *others),
            contracts=tuple(self._evidence[address] for address in sorted(contracts)),
            burnt_rise_attofil=rng.randrange(10**18, 10**20),
        )


def _address(rng: random.Random) -> Address:
    return f"0x{rng.getrandbits(160):040x}"


def _hash(rng: random.Random) -> Hash:
    return f"0x{rng.getrandbits(256):064x}"


def _contract(address: Address, place: int, rng: random.Random) -> Contract:
    shape = STANDARDS[place % len(STANDARDS)]
    return Contract(address=address, code_hash=_hash(rng), selectors=tuple(sorted(selector_of(one) for one in shape.functions)))


def _call(sender: Address, receiver: Address, rng: random.Random) -> Message:
    return _message(sender, receiver, rng.randrange(2_000_000, 60_000_000), "0xa9059cbb", rng)


def _proof(block_producer: Address, rng: random.Random) -> Message:
    return _message(f"0xff{rng.randrange(2000, 4000):038x}", block_producer, rng.randrange(20_000_000, 400_000_000), "", rng)


def _message(sender: Address, receiver: Address, gas_used: int, selector: str, rng: random.Random) -> Message:
    return Message(
        hash=_hash(rng),
        sender=sender,
        receiver=receiver,
        creates=False,
        created=None,
        succeeded=rng.random() < 0.97,
        gas_used=gas_used,
        gas_limit=gas_used * 5 // 4,
        gas_fee_cap=_GAS_PRICE * rng.randrange(1, 9),
        gas_premium=100_000 * rng.randrange(1, 9),
        value_attofil=rng.randrange(10**18),
        selector=selector,
    )


def _log(place: int, emitter: Address, rng: random.Random) -> Log:
    return Log(place, place, emitter, (_hash(rng), _hash(rng), _hash(rng)), f"0x{rng.getrandbits(256):064x}")
