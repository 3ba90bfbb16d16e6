"""What is learnt from the node once and holds: contracts, the names of actors, balances of f099."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec.structs import replace

from streams.records import Address, Child, Contract, Hash
from streams.wire import actor_id, may_have_eth_name

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

RECHECK_EPOCHS = 120
"""How long an address without code is believed to stay so; a contract may be made there later."""
REMEMBERED = 100_000
"""How many addresses without code, names and balances are kept before they are asked for again."""


@dataclass(slots=True)
class Memory:
    """What was learnt from the node once and holds: contracts, other names, balances of f099."""

    contracts: dict[Address, Contract] = field(default_factory=dict)
    without_code: dict[Address, int] = field(default_factory=dict)
    names: dict[Address, Address] = field(default_factory=dict)
    children: dict[Address, Child] = field(default_factory=dict)
    creators: dict[Address, Address] = field(default_factory=dict)
    """The contract that made a contract, as traces tell."""
    burnt_attofil: dict[Hash, dict[int, int]] = field(default_factory=dict)
    """The balance of f099 after a tipset, by the height of the next one: the cron of null rounds in between may burn as well."""
    learnt: list[Contract] = field(default_factory=list)
    """Contracts that are new since the shell last stored them."""

    def join(self, stored: "Memory") -> None:
        """What a store has kept is known as well, and what it lacks of ours is to be kept again.

        This stays the one memory of a run: tipsets that are being asked about rely on what it has learnt meanwhile.
        """
        self.learnt = [one for address, one in self.contracts.items() if stored.contracts.get(address) != one]
        _fill(self.contracts, stored.contracts)
        _fill(self.without_code, stored.without_code)
        _fill(self.names, stored.names)
        _fill(self.children, stored.children)
        _fill(self.creators, stored.creators)
        _fill(self.burnt_attofil, stored.burnt_attofil)

    def name(self, address: Address) -> Address:
        """The one name of an actor."""
        return self.names.get(address, address)

    def needs_evidence(self, address: Address, height: int) -> bool:
        """Whether the node must be asked if there is code at `address`."""
        if address in self.contracts:
            return False
        checked = self.without_code.get(address)
        if checked is None:
            return not _is_native(address) or may_have_eth_name(address)
        return height - checked >= RECHECK_EPOCHS and not _is_native(address)

    def learn(self, contract: Contract) -> None:
        """Keep the evidence about a contract, for this run and (through `learnt`) the next."""
        contract = replace(
            contract,
            child_of=contract.child_of or self.children.get(contract.address),
            created_by=contract.created_by or self.creators.get(contract.address),
        )
        self.contracts[contract.address] = contract
        self.without_code.pop(contract.address, None)
        self.learnt.append(contract)

    def learn_child(self, address: Address, child: Child) -> None:
        """A factory announced `address`; the first announcement counts."""
        if address in self.children:
            return
        self.children[address] = child
        known = self.contracts.get(address)
        if known is not None and known.child_of is None:
            self.learn(known)

    def learn_creator(self, address: Address, creator: Address) -> None:
        """A trace shows that the contract `creator` made `address`."""
        known = self.contracts.get(address)
        if known is None:
            self.creators[address] = creator
        elif known.created_by is None:
            self.learn(replace(known, created_by=creator))

    def learn_burnt(self, parent: Hash, height: int, balance_attofil: int) -> None:
        """The balance of f099 in the state before the tipset at `height` on top of `parent` runs."""
        self.burnt_attofil.setdefault(parent, {})[height] = balance_attofil

    def knows_burnt(self, parent: Hash, height: int) -> bool:
        """Whether the node need not be asked for this balance."""
        return height in self.burnt_attofil.get(parent, {})

    def burnt_before(self, parent: Hash, height: int) -> int | None:
        """That balance; where the node would not tell it, that of another height on top of `parent`."""
        known = self.burnt_attofil.get(parent, {})
        return known.get(height, next(iter(known.values()), None))

    def take_learnt(self) -> list[Contract]:
        """The contracts that are new since the last time."""
        learnt, self.learnt = self.learnt, []
        return learnt

    def trim(self) -> None:
        """Forget what can be asked again, if it has become too much."""
        kept: tuple[dict[Any, Any], ...] = (self.without_code, self.burnt_attofil)
        for one in kept:
            if len(one) > REMEMBERED:
                one.clear()
        if len(self.names) > REMEMBERED:
            # Other names stay: a tipset may have been asked about that is not built yet.
            self.names = {address: name for address, name in self.names.items() if name != address}


def _is_native(address: Address) -> bool:
    return actor_id(address) is not None


def _fill(ours: dict[_Key, _Value], theirs: dict[_Key, _Value]) -> None:
    for key, value in theirs.items():
        ours.setdefault(key, value)
