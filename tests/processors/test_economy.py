from dataclasses import replace

import msgspec
import pytest

from processors.economy import KEYS, BridgedToken, Economy, Gateway, Pool, conflict, economy_of, key_of, topic_of
from processors.registry import Registry

ONE, TWO = "0x" + "01" * 20, "0x" + "02" * 20
POOL = Pool(pool="one", project="P", contract_class="defi-lending", address=ONE, adapter="erc4626")
GATEWAY = Gateway(bridge="span", address=ONE, incoming=("In()",), outgoing=("Out()",))
TOKEN = BridgedToken(bridge="span", token="T", address=ONE, decimals=6)


def changed(**fields: object) -> Pool:
    """The pool with other fields."""
    return msgspec.structs.replace(POOL, **fields)


def test_every_section_has_a_key() -> None:
    """An overlay can replace a line of each."""
    assert set(KEYS) == set(Economy.__dataclass_fields__)
    assert key_of("pools", POOL) == "one"
    assert economy_of("pools", POOL) == Economy(pools=(POOL,))


def test_an_overlay_replaces_by_key_and_adds() -> None:
    """The order stays, new lines come last."""
    below = Economy(pools=(POOL, changed(pool="two", address=TWO)), gateways=(GATEWAY,))
    over = Economy(pools=(changed(adapter="views"), changed(pool="new")))
    merged = below.merged(over)
    assert [(one.pool, one.adapter) for one in merged.pools] == [("one", "views"), ("two", "erc4626"), ("new", "erc4626")]
    assert merged.gateways == (GATEWAY,)
    assert merged.bridges() == ("span",)


@pytest.mark.parametrize(
    "economy, reason",
    [
        (Economy(pools=(changed(inside_of="one"),)), "inside_of 'one'"),
        (Economy(pools=(changed(inside_of="none"),)), "another pool of the chain"),
        (
            Economy(pools=(POOL, changed(pool="b", address=TWO, inside_of="one"), changed(pool="c", address="0x", inside_of="b"))),
            "pool c: inside_of 'b'",
        ),
        (Economy(pools=(POOL, changed(pool="two"))), f"pool address {ONE}: stands there twice"),
        (Economy(pools=tuple(changed(pool=f"p{place}", address=str(place)) for place in range(101))), "101 pools: allowed are 100"),
        (Economy(gateways=(msgspec.structs.replace(GATEWAY, outgoing=("In()",)),)), "event of a gateway"),
        (Economy(bridged_tokens=(TOKEN, msgspec.structs.replace(TOKEN, address=TWO))), "bridged token"),
        (
            Economy(gateways=tuple(msgspec.structs.replace(GATEWAY, bridge=f"b{place}", address=str(place)) for place in range(21))),
            "21 bridges: allowed are 20",
        ),
    ],
)
def test_lines_that_can_not_stand_beside_each_other(economy: Economy, reason: str) -> None:
    """The reason names them."""
    assert reason in (conflict(economy) or "")


def test_the_bundled_lines_go_together() -> None:
    """On every chain; each pool asks for something, and only pools outside of others count."""
    for economy in Registry.load().economies.values():
        assert conflict(economy) is None
        probes = [probe.name for probe in economy.probes()]
        assert len(probes) == len(set(probes))
        assert {f"pool:{one.pool}:balance" for one in economy.pools} <= set(probes)
    assert conflict(Economy(pools=(POOL, changed(pool="b", address=TWO, inside_of="one")))) is None
    assert POOL.counted
    assert not changed(inside_of="x").counted
    assert not changed(counts_in_tvl=False).counted


def test_views_are_the_adapters_or_the_declared() -> None:
    """A share token is asked for the supply; a declared view may name its contract and its word."""
    glif = changed(adapter="glif-pool", share=TWO).questions()
    assert [(one.to, one.signature) for one in (*glif.assets, *glif.supply, *glif.borrowed)] == [
        (ONE, "totalAssets()"),
        (TWO, "totalSupply()"),
        (ONE, "totalBorrowed()"),
    ]
    own = changed(adapter="views", assets=("getStatus()#2", f"{TWO}.idle()")).questions()
    assert [(one.to, one.signature, one.word) for one in own.assets] == [(ONE, "getStatus()", 2), (TWO, "idle()", 0)]
    assert changed(adapter="erc20-supply").questions().assets_are_supply
    assert changed(underlying="USD", decimals=6).questions().unit == "usd_e18"


def test_topics_are_hashes_of_signatures() -> None:
    """The transfer of ERC-20, as everybody knows it."""
    assert topic_of("Transfer(address,address,uint256)") == "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def test_an_economy_is_a_value() -> None:
    """Nothing of it changes in place."""
    assert replace(Economy(), pools=(POOL,)) == Economy(pools=(POOL,))
