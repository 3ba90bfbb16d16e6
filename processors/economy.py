"""What is declared about money: pools, bridges, payments and prices of a chain. Pure; `processors.registry` reads it from YAML.

Each struct is one line of a section of the contracts file; a new line there is a new series, and needs no code.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from eth_utils.crypto import keccak
from msgspec import Meta, Struct

from streams.pools import ADAPTERS, PoolQuestions, View, pool_probes
from streams.prices import PriceQuestion, price_probe
from streams.records import Address, Hash
from streams.sampling import Probe

Direction: TypeAlias = Literal["in", "out"]
DIRECTIONS: tuple[Direction, ...] = ("in", "out")
"""`in` arrives on Filecoin, `out` leaves it."""

MOST_POOLS = 100
MOST_TOKENS = 100
MOST_BRIDGES = 20
"""How many of each a chain can have: they are labels."""

Label = Annotated[str, Meta(pattern=r"\A[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=32)]
Symbol = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.]*\Z", max_length=16)]
_Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A\S(.*\S)?\Z")]
_Text = Annotated[str, Meta(max_length=400)]
_Event = Annotated[str, Meta(pattern=r"\A[A-Za-z_]\w*\((?!.*int(?!\d))(?!.*(,,|\(,|,\)))[a-z0-9,()\[\]]*\)\Z", max_length=200)]
_View = Annotated[str, Meta(pattern=r"\A(0x[0-9a-fA-F]{40}\.)?[A-Za-z_]\w*\(\)(#[0-9]{1,2})?\Z")]
_Decimals = Annotated[int, Meta(ge=0, le=18)]
_Epochs = Annotated[int, Meta(ge=1, le=2880)]
_Feed = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{64}\Z")]


class Declaration(Struct, frozen=True, kw_only=True):
    """What every line may have: the grade of confidence, the sources, and a note."""

    confidence: Literal["A", "B", "C"] = "A"
    sources: tuple[str, ...] = ()
    note: _Text = ""


class Pool(Declaration, frozen=True, kw_only=True, rename={"contract_class": "class"}):
    """A contract that holds value for others.

    `adapter` names what is asked (`streams.pools.ADAPTERS`); `assets`, `supply`, `borrowed` and `price` replace or add to it, each a
    list of views of no argument that are summed: `totalAssets()`, `0xOther….totalSupply()`, `getStatus()#2` for its third word.
    `share` is the token of the shares where it is another contract; `wrapped` are tokens worth 1 FIL (or USD) each that count as
    balance. What stands `inside_of` another pool, or has `counts_in_tvl` false, is shown and not summed.
    """

    pool: Label
    project: _Name
    contract_class: str
    address: Address
    adapter: str
    underlying: Literal["FIL", "USD"] = "FIL"
    decimals: _Decimals = 18
    share: Address | None = None
    wrapped: tuple[Address, ...] = ()
    assets: tuple[_View, ...] = ()
    supply: tuple[_View, ...] = ()
    borrowed: tuple[_View, ...] = ()
    price: tuple[_View, ...] = ()
    price_decimals: Annotated[int, Meta(ge=0, le=36)] = 18
    counts_in_tvl: bool = True
    inside_of: Label | None = None
    every_epochs: _Epochs = 10

    @property
    def counted(self) -> bool:
        """Whether its assets are part of the total."""
        return self.counts_in_tvl and self.inside_of is None

    def questions(self) -> PoolQuestions:
        """What the follower asks about it."""
        adapter, share = ADAPTERS[self.adapter], self.share or self.address
        return PoolQuestions(
            name=self.pool,
            address=self.address,
            unit="attofil" if self.underlying == "FIL" else "usd_e18",
            decimals=self.decimals,
            wrapped=self.wrapped,
            assets=self._views(self.assets) or tuple(View(self.address, one) for one in adapter.assets),
            supply=self._views(self.supply) or tuple(View(share, one) for one in adapter.supply),
            borrowed=self._views(self.borrowed) or tuple(View(self.address, one) for one in adapter.borrowed),
            price=self._views(self.price),
            price_decimals=self.price_decimals,
            assets_are_supply=adapter.assets_are_supply and not self.assets,
            every_epochs=self.every_epochs,
        )

    def _views(self, texts: tuple[str, ...]) -> tuple[View, ...]:
        return tuple(_view(text, self.address) for text in texts)


def _view(text: str, default: Address) -> View:
    found = re.fullmatch(r"(?:(0x[0-9a-fA-F]{40})\.)?(\w+\(\))(?:#(\d+))?", text)
    if found is None:
        raise ValueError(f"{text!r} is not a view")
    return View((found[1] or default).lower(), found[2], int(found[3] or 0))


class Gateway(Declaration, frozen=True, kw_only=True, rename={"incoming": "in", "outgoing": "out"}):
    """A contract whose events are a bridge's messages: their signatures, by direction. One event is one message."""

    bridge: Label
    address: Address
    incoming: tuple[_Event, ...] = ()
    outgoing: tuple[_Event, ...] = ()


class BridgedToken(Declaration, frozen=True, kw_only=True):
    """An ERC-20 token that a bridge mints for what arrives and burns for what leaves."""

    bridge: Label
    token: Symbol
    address: Address
    decimals: _Decimals


class PaymentContract(Declaration, frozen=True, kw_only=True):
    """A deployment of Filecoin Pay, of any version."""

    name: _Name
    address: Address


class PaymentToken(Declaration, frozen=True, kw_only=True):
    """A stablecoin that storage is paid in, taken for 1 USD."""

    token: Symbol
    address: Address
    decimals: _Decimals


class Price(Declaration, frozen=True, kw_only=True):
    """Where a price stands on chain; one that was published longer ago than `stale_after_seconds` is none."""

    pair: Literal["FIL/USD"]
    oracle: Literal["pyth"]
    address: Address
    feed: _Feed
    stale_after_seconds: Annotated[int, Meta(ge=30, le=86_400)] = 3_600
    every_epochs: _Epochs = 10


@dataclass(frozen=True)
class Economy:
    """All that is declared about the money of one chain."""

    pools: tuple[Pool, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    bridged_tokens: tuple[BridgedToken, ...] = ()
    payment_contracts: tuple[PaymentContract, ...] = ()
    payment_tokens: tuple[PaymentToken, ...] = ()
    prices: tuple[Price, ...] = ()

    def merged(self, over: "Economy") -> "Economy":
        """This, with each line replaced for which `over` has one of the same key."""
        parts = {
            name: tuple({**{key(one): one for one in getattr(self, name)}, **{key(one): one for one in getattr(over, name)}}.values())
            for name, key in KEYS.items()
        }
        return Economy(**parts)

    def probes(self) -> tuple[Probe, ...]:
        """What the follower samples for it."""
        questions = [one.questions() for one in self.pools]
        prices = [PriceQuestion(one.address, one.feed, one.stale_after_seconds, one.every_epochs) for one in self.prices]
        return (*(probe for one in questions for probe in pool_probes(one)), *(price_probe(one) for one in prices))

    def bridges(self) -> tuple[str, ...]:
        """Every bridge with a gateway, sorted."""
        return tuple(sorted({one.bridge for one in self.gateways}))


KEYS: Mapping[str, Any] = {
    "pools": lambda one: one.pool,
    "gateways": lambda one: one.address,
    "bridged_tokens": lambda one: one.address,
    "payment_contracts": lambda one: one.address,
    "payment_tokens": lambda one: one.address,
    "prices": lambda one: one.pair,
}
"""An overlay replaces by it."""


def economy_of(section: str, line: Declaration) -> Economy:
    """One line of a section, by itself."""
    parts: dict[str, Any] = {section: (line,)}
    return Economy(**parts)


def key_of(section: str, line: Declaration) -> object:
    """By what a line of a section is told from its others."""
    return KEYS[section](line)


def topic_of(event: str) -> Hash:
    """The first topic of an event, by its signature."""
    return "0x" + keccak(text=event).hex()


def conflict(economy: Economy) -> str | None:
    """Why the lines can not stand beside each other, None if they can."""
    pools = {one.pool: one for one in economy.pools}
    for pool in economy.pools:
        outer = pools.get(pool.inside_of) if pool.inside_of is not None else pool
        if outer is None or (outer is not pool and outer.inside_of is not None) or pool.inside_of == pool.pool:
            return f"pool {pool.pool}: inside_of {pool.inside_of!r}: allowed: another pool of the chain that is inside of none"
    bridges = {one.bridge for one in economy.gateways} | {one.bridge for one in economy.bridged_tokens}
    tokens = [(one.bridge, one.token) for one in economy.bridged_tokens]
    return (
        _too_many("pools", pools, MOST_POOLS)
        or _too_many("bridges", bridges, MOST_BRIDGES)
        or _too_many("bridged tokens", tokens, MOST_TOKENS)
        or _twice("pool address", (one.address for one in economy.pools))
        or _twice("bridged token", tokens)
        or _twice("event of a gateway", ((one.address, name) for one in economy.gateways for name in (*one.incoming, *one.outgoing)))
    )


def _too_many(what: str, found: Iterable[object], most: int) -> str | None:
    count = len(list(found))
    return f"{count} {what}: allowed are {most}, since they are labels" if count > most else None


def _twice(what: str, found: Iterable[object]) -> str | None:
    seen: set[object] = set()
    for one in found:
        if one in seen:
            return f"{what} {one}: stands there twice"
        seen.add(one)
    return None
