"""The class of a contract, and what decided it.

A pure function of the evidence about the contract and of the registry: neither the order nor the time at which contracts
were seen can change a class, so a recount over the same records finds the same totals. The first that says something wins:

1. the registry, by the exact address;
2. the factory in the registry that made the contract, as a trace shows, or that announced it (its project is inherited);
3. the registry again, by the implementation behind a proxy;
4. ERC-165: what `supportsInterface` confirmed;
5. the shape of the functions in the code (`streams.evidence.STANDARDS`);
6. the kind of announcement, where the factory is not registered (anybody can announce anything, so code comes first);
7. the shape of the events in the code (`streams.evidence.EVENT_SHAPES`).

What no code can tell apart stays with the nearest class until the registry says more: a stablecoin is a `token`, a data DAO
a `dao`, the vault of a staking pool is `defi-lending` (most vaults here lend what they hold to storage providers).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache, partial
from typing import Annotated, Literal

from msgspec import Meta, Struct

from processors.economy import Economy
from processors.flows import Flows
from streams.evidence import EVENT_SHAPES, FACTORY_OF, INTERFACES, STANDARDS, Shape
from streams.records import Address, Contract

UNKNOWN = "unknown"
"""The class of a contract that nothing tells anything about; the registry never says it."""
CLASSES = (
    "defi-lending",
    "liquid-staking",
    "dex",
    "bridge",
    "oracle",
    "nft",
    "dao",
    "data-dao",
    "storage-service",
    "token",
    "stablecoin",
    "multisig",
    "infra",
    UNKNOWN,
)
"""Every class that a contract can have."""

_Text = Annotated[str, Meta(max_length=400)]
_Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^\S(.*\S)?$")]

REMEMBERED = 8_192
"""How many verdicts are kept; one that is forgotten is found again."""


class Entry(Struct, frozen=True, kw_only=True, rename={"contract_class": "class"}):
    """One contract. `address` and `implementation` are lower-case; the confidence grades are explained in `contracts.yaml`.

    `since_epoch` is the epoch of its deployment, `superseded` that its project has replaced it.
    """

    address: Address
    name: _Name
    project: _Name
    contract_class: str
    confidence: Literal["A", "B", "C"] = "A"
    sources: tuple[str, ...] = ()
    factory: str | None = None
    implementation: Address | None = None
    since_epoch: Annotated[int, Meta(ge=0)] | None = None
    superseded: bool = False
    note: _Text = ""

    @property
    def unconfirmed(self) -> bool:
        """Whether a single weak source, or sources that disagree, are all there is."""
        return self.confidence == "C"


@dataclass(frozen=True)
class Contracts:
    """The contracts of one chain by lower-case address, and by the implementation that stands behind them; and what of them is money."""

    entries: Mapping[Address, Entry] = field(default_factory=dict)
    economy: Economy = field(default_factory=Economy)
    by_implementation: Mapping[Address, Entry] = field(init=False)

    def __post_init__(self) -> None:
        behind: dict[Address, Entry] = {}
        for _, entry in sorted(self.entries.items()):
            if entry.implementation is not None:
                behind.setdefault(entry.implementation, entry)
        object.__setattr__(self, "by_implementation", behind)

    def get(self, address: Address) -> Entry | None:
        """What is said about exactly this contract."""
        return self.entries.get(address)

    def behind(self, implementation: Address) -> Entry | None:
        """What is said about an implementation: as a contract of its own, or as what a known proxy runs."""
        return self.entries.get(implementation) or self.by_implementation.get(implementation)

    @property
    def projects(self) -> tuple[str, ...]:
        """Every name that a project label of this chain can have, sorted."""
        return tuple(sorted({entry.project for entry in self.entries.values()}))


class Reason(StrEnum):
    """Which kind of evidence decided."""

    REGISTRY = "registry"
    REGISTERED_FACTORY = "registered factory"
    IMPLEMENTATION = "implementation"
    INTERFACE = "interface"
    FUNCTIONS = "functions"
    FACTORY = "factory"
    EVENTS = "events"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What decided. `unconfirmed` marks an entry of the registry that rests on a weak source (confidence C)."""

    reason: Reason
    detail: str = ""
    unconfirmed: bool = False

    def __str__(self) -> str:
        said = f"{self.reason}: {self.detail}" if self.detail else str(self.reason)
        return f"{said} (unconfirmed)" if self.unconfirmed else said


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of `CLASSES`, the project where the registry knows it, and what decided."""

    contract_class: str
    project: str | None
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule, and what it said; None if nothing."""

    reason: Reason
    verdict: Verdict | None


CLASS_OF_INTERFACE = {"ERC-721": "nft", "ERC-1155": "nft"}
CLASS_OF_FACTORY = {"univ2": "dex", "univ3": "dex", "safe-proxy": "multisig", "glif-agent": "defi-lending"}
_SHAPES_OF = {
    "dex": (
        ("Uniswap v2 pair", "Uniswap v3 pool", "Uniswap v2 factory", "Uniswap v3 factory", "Curve pool"),
        ("Uniswap v2 router", "Uniswap v3 router", "Uniswap v3 router 2", "Uniswap universal router"),
        ("Uniswap v2 swaps", "Uniswap v3 swaps", "pair creation", "pool creation"),
    ),
    "bridge": (
        ("Axelar gateway", "Celer message bus", "Celer pool bridge", "Wormhole core"),
        ("Axelar calls", "Axelar transfers", "Wormhole messages"),
    ),
    "oracle": (("Chainlink aggregator", "Pyth", "Tellor"), ("Chainlink answers", "Pyth prices")),
    "dao": (("Governor", "Governor Bravo", "timelock"), ("votes",)),
    "multisig": (("Safe", "Safe proxy"), ("Safe executions", "Safe creation")),
    "storage-service": (
        ("Filecoin Pay", "PDP verifier"),
        ("settled rails", "settled rails before v1", "proof fees"),
    ),
    "liquid-staking": (("Lido-like staking",),),
    "defi-lending": (
        ("Aave-like pool", "Compound-like market", "ERC-4626"),
        ("vault deposits and withdrawals", "GLIF loans", "GLIF agents"),
    ),
    "nft": (("ERC-721", "ERC-1155"), ("ERC-721 transfers", "ERC-1155 transfers")),
    "token": (("ERC-20", "wrapped native token"), ("ERC-20 transfers",)),
    "infra": (("Multicall3", "ERC-4337 entry point"),),
}
CLASS_OF_SHAPE = {name: one for one, groups in _SHAPES_OF.items() for group in groups for name in group}


class Classifier:
    """Names the class of contracts of one chain; verdicts are remembered by the whole evidence, not by address."""

    def __init__(self, contracts: Contracts, *, remembered: int = REMEMBERED) -> None:
        self._contracts = contracts
        self.flows = Flows(contracts.economy)
        """Which events move money."""
        self._rules: tuple[tuple[Reason, Callable[[Contract], Verdict | None]], ...] = (
            (Reason.REGISTRY, self._registered),
            (Reason.REGISTERED_FACTORY, self._child_of_registered),
            (Reason.IMPLEMENTATION, self._implementation),
            (Reason.INTERFACE, _interface),
            (Reason.FUNCTIONS, partial(_shape, shapes=STANDARDS, reason=Reason.FUNCTIONS)),
            (Reason.FACTORY, _child),
            (Reason.EVENTS, partial(_shape, shapes=EVENT_SHAPES, reason=Reason.EVENTS)),
        )
        self._remembered = lru_cache(maxsize=remembered)(self._decide)

    def classify(self, contract: Contract) -> Verdict:
        """The class of the contract that this is the evidence about."""
        return self._remembered(contract)

    @property
    def projects(self) -> tuple[str, ...]:
        """Every project that a verdict can name, sorted."""
        return self._contracts.projects

    def explain(self, contract: Contract) -> tuple[Tried, ...]:
        """Every rule in the order in which they are tried, with what it says; the first that says anything decides."""
        return tuple(Tried(reason, rule(contract)) for reason, rule in self._rules)

    def _decide(self, contract: Contract) -> Verdict:
        for _, rule in self._rules:
            if (verdict := rule(contract)) is not None:
                return verdict
        return Verdict(UNKNOWN, None, Evidence(Reason.NOTHING))

    def _registered(self, contract: Contract) -> Verdict | None:
        entry = self._contracts.get(contract.address)
        return _said(entry, Reason.REGISTRY) if entry is not None else None

    def _child_of_registered(self, contract: Contract) -> Verdict | None:
        """By the trace of its creation, which nobody can fake, or by the factory's announcement."""
        creator = self._contracts.get(contract.created_by) if contract.created_by is not None else None
        if creator is not None and creator.factory is not None:
            return _born(creator, creator.factory)
        child = contract.child_of
        entry = self._contracts.get(child.factory) if child is not None else None
        factory = FACTORY_OF.get(child.topic0) if child is not None else None
        return _born(entry, factory.name) if entry is not None and factory is not None else None

    def _implementation(self, contract: Contract) -> Verdict | None:
        entry = self._contracts.behind(contract.implementation) if contract.implementation is not None else None
        return _said(entry, Reason.IMPLEMENTATION) if entry is not None else None


def _said(entry: Entry, reason: Reason) -> Verdict:
    return Verdict(entry.contract_class, entry.project, Evidence(reason, f"{entry.project} {entry.name}", entry.unconfirmed))


def _born(entry: Entry, factory: str) -> Verdict:
    evidence = Evidence(Reason.REGISTERED_FACTORY, f"{entry.project} {entry.name}", entry.unconfirmed)
    return Verdict(CLASS_OF_FACTORY[factory], entry.project, evidence)


def _interface(contract: Contract) -> Verdict | None:
    for interface, name in INTERFACES.items():
        if interface in contract.interfaces:
            return Verdict(CLASS_OF_INTERFACE[name], None, Evidence(Reason.INTERFACE, name))
    return None


def _shape(contract: Contract, shapes: tuple[Shape, ...], reason: Reason) -> Verdict | None:
    selectors, topics = frozenset(contract.selectors), frozenset(contract.topics)
    for shape in shapes:
        if shape.fits(selectors, topics):
            return Verdict(CLASS_OF_SHAPE[shape.name], None, Evidence(reason, shape.name))
    return None


def _child(contract: Contract) -> Verdict | None:
    factory = FACTORY_OF.get(contract.child_of.topic0) if contract.child_of is not None else None
    return Verdict(CLASS_OF_FACTORY[factory.name], None, Evidence(Reason.FACTORY, factory.name)) if factory is not None else None
