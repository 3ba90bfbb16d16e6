from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.answers import Answers
from streams.errors import NodeFault
from streams.pools import E18, PoolQuestions, View, pool_probes
from streams.recording import load
from streams.rpc import Call
from streams.sampling import Moment
from tests.node.asking import REVERT, asked, words

MOMENT = Moment(100, "0x" + "ab" * 32, (), 1_700_000_000)
VAULT, SHARE, WFIL = "0x" + "01" * 20, "0x" + "02" * 20, "0x" + "03" * 20
TOTAL_ASSETS, TOTAL_SUPPLY, TOTAL_BORROWED, BALANCE_OF = "0x01e1d114", "0x18160ddd", "0x4c19386c", "0x70a08231"

GLIF = PoolQuestions(
    name="glif",
    address=VAULT,
    wrapped=(WFIL,),
    assets=(View(VAULT, "totalAssets()"),),
    supply=(View(SHARE, "totalSupply()"),),
    borrowed=(View(VAULT, "totalBorrowed()"),),
)


class Chain:
    """A node that answers views by contract and selector, and notes at which block it was asked."""

    def __init__(self, views: Mapping[tuple[str, str], Any], balance: Any = "0x0") -> None:
        self.views = views
        self.balance = balance
        self.code: Any = "0x60"
        self.blocks: list[object] = []

    def __call__(self, call: Call) -> Any:
        """The answer to one call."""
        self.blocks.append(call.params[1])
        if call.method == "eth_getBalance":
            return self.balance
        if call.method == "eth_getCode":
            return self.code
        return self.views.get((call.params[0]["to"], call.params[0]["data"][:10]), REVERT)


def sampled(pool: PoolQuestions, node: Any, probe: int = 0) -> Mapping[str, int]:
    """What a probe of the pool tells."""
    return asked(pool_probes(pool)[probe].ask(MOMENT), node)


def test_a_pool_reports_and_holds() -> None:
    """Assets, supply, loans and the price of a share from its views; its balance from what lies there, wrapped or not."""
    node = Chain(
        {
            (VAULT, TOTAL_ASSETS): words(1_500 * E18),
            (SHARE, TOTAL_SUPPLY): words(1_200 * E18),
            (VAULT, TOTAL_BORROWED): words(1_100 * E18),
            (WFIL, BALANCE_OF): words(390 * E18),
        },
        hex(10 * E18),
    )
    assert sampled(GLIF, node) == {
        "pool:glif:assets_attofil": 1_500 * E18,
        "pool:glif:borrowed_attofil": 1_100 * E18,
        "pool:glif:supply": 1_200 * E18,
        "pool:glif:price_e18": 125 * 10**16,
    }
    assert sampled(GLIF, node, 1) == {"pool:glif:balance_attofil": 400 * E18}
    assert [one.name for one in pool_probes(GLIF)] == ["pool:glif", "pool:glif:balance"]
    assert all(block == {"blockHash": MOMENT.hash} for block in node.blocks)


@pytest.mark.parametrize(
    "answer",
    [
        REVERT,
        None,
        "0x",
        "0x01",
        "0x" + "zz" * 32,
        "0x" + "00" * 31,
        words(*range(65)),
        "0x" + "00" * 10_000_000,
        words(2**128),
        17,
        ["0x00"],
        {"to": 1},
        True,
    ],
    ids=lambda answer: repr(answer)[:20],
)
def test_an_answer_that_is_no_amount_gives_no_sample(answer: Any) -> None:
    """Reverted, empty, cut off, not hex, endless or beyond all reason: the probe fails, and never says 0."""
    node = Chain({(VAULT, TOTAL_ASSETS): answer, (SHARE, TOTAL_SUPPLY): words(1), (VAULT, TOTAL_BORROWED): words(0)}, answer)
    for probe in (0, 1):
        with pytest.raises(NodeFault):
            sampled(GLIF, node, probe)


def test_the_balance_is_known_where_the_views_are_not() -> None:
    """The two probes fail one by one."""
    node = Chain({(WFIL, BALANCE_OF): words(5)}, "0x7")
    with pytest.raises(NodeFault):
        sampled(GLIF, node)
    assert sampled(GLIF, node, 1) == {"pool:glif:balance_attofil": 12}


@pytest.mark.parametrize("code", ["0x", None, REVERT, "60"], ids=repr)
def test_an_address_without_a_contract_holds_nothing_known(code: Any) -> None:
    """A pool of another chain is not an empty pool: its balance of 0 is no sample."""
    node = Chain({(WFIL, BALANCE_OF): words(0)})
    node.code = code
    with pytest.raises(NodeFault):
        sampled(GLIF, node, 1)


def test_a_vault_without_shares_has_no_price() -> None:
    """Nothing is divided by 0."""
    pool = PoolQuestions("new", VAULT, assets=(View(VAULT, "totalAssets()"),), supply=(View(VAULT, "totalSupply()"),))
    node = Chain({(VAULT, TOTAL_ASSETS): words(0), (VAULT, TOTAL_SUPPLY): words(0)})
    assert sampled(pool, node) == {"pool:new:assets_attofil": 0, "pool:new:supply": 0}


def test_a_supply_can_be_the_stake() -> None:
    """Shares count 1 FIL each, or what the price says."""
    supply = (View(SHARE, "totalSupply()"),)
    node = Chain({(SHARE, TOTAL_SUPPLY): words(40 * E18), (SHARE, "0x182df0f5"): words(11 * 10**26)})
    plain = PoolQuestions("st", VAULT, supply=supply, assets_are_supply=True)
    assert sampled(plain, node) == {"pool:st:assets_attofil": 40 * E18, "pool:st:supply": 40 * E18}
    priced = PoolQuestions(
        "st", VAULT, supply=supply, price=(View(SHARE, "exchangeRateStored()"),), price_decimals=27, assets_are_supply=True
    )
    assert sampled(priced, node) == {
        "pool:st:assets_attofil": 44 * E18,
        "pool:st:supply": 40 * E18,
        "pool:st:price_e18": 11 * 10**17,
    }


def test_a_word_of_a_status_and_sums_of_views() -> None:
    """A view can name the word that it wants; several are summed; a word that is not there is a fault."""
    status = words(*range(1, 24))
    pool = PoolQuestions(
        "fl", VAULT, assets=(View(VAULT, "getStatus()", 0), View(VAULT, "getStatus()", 2)), borrowed=(View(VAULT, "getStatus()", 22),)
    )
    answers = {(VAULT, "0x4e69d560"): status}
    assert sampled(pool, Chain(answers)) == {"pool:fl:assets_attofil": 4, "pool:fl:borrowed_attofil": 23}
    with pytest.raises(NodeFault, match="22 words, word 22"):
        sampled(pool, Chain({(VAULT, "0x4e69d560"): words(*range(22))}))


def test_a_pool_of_a_stablecoin_is_told_in_usd() -> None:
    """Six decimals become 18, and FIL that lies there is none of its balance."""
    pool = PoolQuestions("usd", VAULT, "usd_e18", 6, (WFIL,), assets=(View(VAULT, "totalAssets()"),))
    node = Chain({(VAULT, TOTAL_ASSETS): words(7_000_000), (WFIL, BALANCE_OF): words(5_000_000)}, hex(E18))
    assert sampled(pool, node) == {"pool:usd:assets_usd_e18": 7 * E18}
    assert sampled(pool, node, 1) == {"pool:usd:balance_usd_e18": 5 * E18}


def test_a_pool_of_nothing_but_its_balance_has_one_probe() -> None:
    """What is not declared is not asked."""
    pool = PoolQuestions("active", VAULT)
    assert [one.name for one in pool_probes(pool)] == ["pool:active:balance"]
    assert sampled(pool, Chain({}, "0x10")) == {"pool:active:balance_attofil": 16}


@given(st.integers(1, 2**100), st.integers(1, 2**100), st.integers(1, 1000))
def test_the_price_of_a_share_knows_no_scale(assets: int, supply: int, factor: int) -> None:
    """Deposits at the price of the moment leave it as it is, but for rounding down."""
    pool = PoolQuestions("p", VAULT, assets=(View(VAULT, "totalAssets()"),), supply=(View(VAULT, "totalSupply()"),))

    def price(by: int) -> int:
        node = Chain({(VAULT, TOTAL_ASSETS): words(assets * by), (VAULT, TOTAL_SUPPLY): words(supply * by)})
        return sampled(pool, node).get("pool:p:price_e18", 0)

    assert price(1) == price(factor) == assets * E18 // supply


def test_the_vault_of_the_recording() -> None:
    """What a real node answered about a real ERC-4626 vault: as much as was ever put into it, a token a share."""
    answers = Answers(load("devnet"))
    vault = "0x8941c19c5765b9c59b7e0b150921a4ed95a836af"
    pool = PoolQuestions("v", vault, assets=(View(vault, "totalAssets()"),), supply=(View(vault, "totalSupply()"),))

    def node(call: Call) -> Any:
        return msgspec.json.decode(answers.answer(call.method, list(call.params), 1e9))

    assert sampled(pool, node) == {
        "pool:v:assets_attofil": 0x1BA837DDF4B01D8BA,
        "pool:v:supply": 0x1BA837DDF4B01D8BA,
        "pool:v:price_e18": E18,
    }
