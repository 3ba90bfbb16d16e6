"""Questions about pools: what they report, and what they hold. Pure.

A pool has two probes. `pool:<name>` asks its views: assets, supply, the price of a share, what is lent. `pool:<name>:balance` asks
what lies at its address. Each is all or nothing: a view that reverts, or answers anything but words, leaves no sample of that probe.

Questions name the block by its hash (EIP-1898), so an answer can not be about another tipset of that height.
Sources: ERC-20 (`totalSupply`, `balanceOf`), ERC-4626 (`totalAssets`), GLIF InfinityPool (`totalBorrowed`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from eth_utils.crypto import keccak
from msgspec import Meta

from streams.errors import NodeFault
from streams.records import Address
from streams.rpc import Answer, Call
from streams.sampling import Moment, Probe
from streams.tasks import Fetch
from streams.wire import MOST_UNITS, HexData, Quantity, read

E18 = 10**18
MOST_WORDS = 64
"""How long an answer may be; the longest status in use has 23 words."""

Words = Annotated[str, Meta(pattern=r"^0x([0-9a-fA-F]{64})+\Z", max_length=2 + 64 * MOST_WORDS)]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a kind of pool answers, by the signatures of its views; `supply` is asked of the token of its shares.

    With `assets_are_supply` each share stands for its price in the underlying, 1 where no price is declared.
    """

    assets: tuple[str, ...] = ()
    supply: tuple[str, ...] = ()
    borrowed: tuple[str, ...] = ()
    assets_are_supply: bool = False


ADAPTERS: Mapping[str, Adapter] = {
    "erc4626": Adapter(assets=("totalAssets()",), supply=("totalSupply()",)),
    "glif-pool": Adapter(assets=("totalAssets()",), supply=("totalSupply()",), borrowed=("totalBorrowed()",)),
    "erc20-supply": Adapter(supply=("totalSupply()",), assets_are_supply=True),
    "native-balance": Adapter(),
    "views": Adapter(),
}
"""By name: a vault of ERC-4626; a pool of GLIF; a token whose supply is the stake; whatever lies there; only what is declared."""


@dataclass(frozen=True, slots=True)
class View:
    """A function of no argument at `to`; of its answer, the word number `word`."""

    to: Address
    signature: str
    word: int = 0

    def call(self, moment: Moment) -> Call:
        """The question, in the state after `moment`."""
        return eth_call(self.to, keccak(text=self.signature)[:4], moment)


@dataclass(frozen=True, slots=True)
class PoolQuestions:
    """What is asked about one pool; amounts have `decimals` and are told in 18. An empty list is not asked."""

    name: str
    address: Address
    unit: Literal["attofil", "usd_e18"] = "attofil"
    decimals: int = 18
    wrapped: tuple[Address, ...] = ()
    assets: tuple[View, ...] = ()
    supply: tuple[View, ...] = ()
    borrowed: tuple[View, ...] = ()
    price: tuple[View, ...] = ()
    price_decimals: int = 18
    assets_are_supply: bool = False
    every_epochs: int = 10


def pool_probes(pool: PoolQuestions) -> tuple[Probe, ...]:
    """The probes of a pool; one that has no views has no probe of them."""
    asked = any((pool.assets, pool.supply, pool.borrowed, pool.price))
    reported = Probe(f"pool:{pool.name}", pool.every_epochs, False, partial(_reported, pool))
    balance = Probe(f"pool:{pool.name}:balance", pool.every_epochs, False, partial(_balance, pool))
    return (reported, balance) if asked else (balance,)


def _reported(pool: PoolQuestions, moment: Moment) -> Fetch[Mapping[str, int]]:
    """Assets, supply, borrowed and the price of a share, as far as the pool has them."""
    parts = (pool.assets, pool.supply, pool.borrowed, pool.price)
    answers = yield tuple(view.call(moment) for views in parts for view in views)
    found = iter(answers)
    assets, supply, borrowed, price = (_summed(views, found) for views in parts)
    price_e18 = price * E18 // 10**pool.price_decimals if price is not None else None
    if pool.assets_are_supply and supply is not None:
        assets = supply if price_e18 is None else supply * price_e18 // E18
    elif price_e18 is None and assets is not None and supply:
        price_e18 = assets * E18 // supply
    scale = 10 ** (18 - pool.decimals)
    samples = {
        f"assets_{pool.unit}": None if assets is None else assets * scale,
        f"borrowed_{pool.unit}": None if borrowed is None else borrowed * scale,
        "supply": supply,
        "price_e18": price_e18 or None,
    }
    return {f"pool:{pool.name}:{name}": value for name, value in samples.items() if value is not None}


def _summed(views: tuple[View, ...], answers: Iterator[Answer]) -> int | None:
    return sum([word_of(next(answers), view.word) for view in views]) if views else None


def _balance(pool: PoolQuestions, moment: Moment) -> Fetch[Mapping[str, int]]:
    """What lies at the address: FIL for a pool of FIL, and the tokens that are worth as much.

    Nothing lies at an address without code: the pool is not on this chain, which is not the same as being empty.
    """
    native = (Call("eth_getBalance", (pool.address, at(moment))),) if pool.unit == "attofil" else ()
    holder = bytes.fromhex(pool.address[2:]).rjust(32, b"\0")
    tokens = tuple(eth_call(token, keccak(text="balanceOf(address)")[:4] + holder, moment) for token in pool.wrapped)
    code, *answers = yield (Call("eth_getCode", (pool.address, at(moment))), *native, *tokens)
    if len(read(code.required(), HexData, "eth_getCode")) <= len("0x"):
        raise NodeFault(f"{pool.name}: there is no contract at its address")
    held = sum(within(int(read(one.required(), Quantity, "eth_getBalance"), 16), "eth_getBalance") for one in answers[: len(native)])
    wrapped = sum(word_of(one) for one in answers[len(native) :])
    return {f"pool:{pool.name}:balance_{pool.unit}": held + wrapped * 10 ** (18 - pool.decimals)}


# Calls at a block, and words of their answers.


def at(moment: Moment) -> dict[str, str]:
    """The block of a moment, as EIP-1898 has it."""
    return {"blockHash": moment.hash}


def eth_call(to: Address, data: bytes, moment: Moment) -> Call:
    """A call that changes nothing, in the state after `moment`."""
    return Call("eth_call", ({"to": to, "data": "0x" + data.hex()}, at(moment)))


def words_of(answer: Answer) -> list[bytes]:
    """The 32-byte words that a call answered with.

    Raises:
        NodeFault: it reverted, or answered with nothing, with too much, or with something else.
    """
    text = read(answer.required(), Words, "eth_call")
    return [bytes.fromhex(text[start : start + 64]) for start in range(2, len(text), 64)]


def word_of(answer: Answer, number: int = 0) -> int:
    """An amount: one word of an answer.

    Raises:
        NodeFault: there is no such word, or no amount is that large.
    """
    words = words_of(answer)
    if number >= len(words):
        raise NodeFault(f"eth_call: {len(words)} words, word {number} was wanted")
    return within(int.from_bytes(words[number]), "eth_call")


def within(amount: int, what: str) -> int:
    """The amount, if one can be that large.

    Raises:
        NodeFault: it can not.
    """
    if amount >= MOST_UNITS:
        raise NodeFault(f"{what}: {amount} is no amount")
    return amount
