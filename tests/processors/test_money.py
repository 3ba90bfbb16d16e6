import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from processors import money as m
from processors.economy import BridgedToken, Economy, Gateway, PaymentContract, Pool
from processors.growth import YEAR_EPOCHS, annualised, growth
from processors.readings import Sample, Snapshot, StateReading, StreamReading, WindowReading
from processors.samples import Samples

FIL = 10**18
HEAD = 1_000_000
ADDRESSES = ("0x" + f"{place:02x}" * 20 for place in range(1, 100))


def pool(name: str, adapter: str = "glif-pool", **fields: object) -> Pool:
    """A pool of lending."""
    values = {"contract_class": "defi-lending", "project": name.upper(), **fields}
    return Pool(pool=name, address=next(ADDRESSES), adapter=adapter, **values)  # type: ignore[arg-type]


ECONOMY = Economy(
    pools=(
        pool("glif"),
        pool("vault", "erc4626", contract_class="liquid-staking"),
        pool("active", "native-balance"),
        pool("inner", "erc4626", inside_of="vault"),
        pool("usd", "erc4626", underlying="USD"),
    ),
    gateways=(Gateway(bridge="span", address=next(ADDRESSES), incoming=("In()",)),),
    bridged_tokens=(BridgedToken(bridge="span", token="spUSD", address=next(ADDRESSES), decimals=6),),
    payment_contracts=(PaymentContract(name="pay", address=next(ADDRESSES)),),
)
NOW = {
    "pool:glif:assets_attofil": 1_000 * FIL,
    "pool:glif:balance_attofil": 90 * FIL,
    "pool:glif:borrowed_attofil": 900 * FIL,
    "pool:glif:price_e18": 12 * FIL // 10,
    "pool:vault:assets_attofil": 500 * FIL,
    "pool:vault:balance_attofil": 20 * FIL,
    "pool:active:balance_attofil": 70 * FIL,
    "pool:inner:assets_attofil": 300 * FIL,
    "pool:usd:assets_usd_e18": 40 * FIL,
    "price:fil_usd_e18": 25 * FIL // 10,
}


def snapshot(
    now: dict[str, int] | None = None,
    past: dict[int, dict[str, int]] | None = None,
    window: WindowReading | None = None,
    economy: Economy = ECONOMY,
) -> Snapshot:
    """A network with these samples, and one window of events."""
    state = StateReading(
        HEAD,
        {name: Sample(value, HEAD) for name, value in (NOW if now is None else now).items()},
        {back: {name: Sample(value, HEAD - back) for name, value in values.items()} for back, values in (past or {}).items()},
    )
    streams = {"logs": StreamReading(head=HEAD, windows={window.name: window})} if window is not None else {}
    return Snapshot("n", streams, m.facts(economy), state)  # type: ignore[arg-type]


def shown(samples: Samples, of: Snapshot) -> dict[str, float]:
    """The samples by the values of their labels."""
    return {"|".join(labels.values()): value for labels, value in samples(of)}


def test_pools_are_shown_by_source() -> None:
    """What they report and what they hold, with project and class; a stablecoin's apart."""
    assert shown(m.pool_assets("attofil"), snapshot()) == {
        "glif|GLIF|defi-lending|reported": 1_000,
        "glif|GLIF|defi-lending|balance": 90,
        "vault|VAULT|liquid-staking|reported": 500,
        "vault|VAULT|liquid-staking|balance": 20,
        "active|ACTIVE|defi-lending|balance": 70,
        "inner|INNER|defi-lending|reported": 300,
    }
    assert shown(m.pool_assets("usd_e18"), snapshot()) == {"usd|USD|defi-lending|reported": 40}
    assert shown(m.pool_share_price, snapshot()) == {"glif": 1.2}


def test_what_is_lent_and_what_is_not_there() -> None:
    """900 of 1,000 are lent and 90 lie there: 1 % is neither; a pool that does not tell its loans says nothing."""
    assert shown(m.pool_borrowed, snapshot()) == {"glif|GLIF|defi-lending": 900}
    assert shown(m.pool_utilization, snapshot()) == {"glif": 0.9}
    assert shown(m.pool_unbacked, snapshot()) == {"glif": 0.01}
    assert shown(m.lent_fil, snapshot()) == {"": 900}
    assert shown(m.lent_usd, snapshot()) == {"": 2_250}


def test_value_locked_counts_once() -> None:
    """What stands inside of another pool is not added again; USD needs a price, FIL does not."""
    assert shown(m.tvl_fil, snapshot()) == {"defi-lending": 1_070, "liquid-staking": 500}
    assert shown(m.tvl_usd, snapshot()) == {"": 1_570 * 2.5 + 40}
    assert shown(m.price_usd, snapshot()) == {"": 2.5}
    without = snapshot({name: value for name, value in NOW.items() if not name.startswith("price:")})
    assert shown(m.tvl_usd, without) == shown(m.lent_usd, without) == shown(m.price_usd, without) == {}
    assert shown(m.tvl_fil, without) == {"defi-lending": 1_070, "liquid-staking": 500}


def test_a_pool_that_does_not_answer_is_missing_and_not_0() -> None:
    """Sums go on without it, and say so."""
    partly = snapshot({name: value for name, value in NOW.items() if not name.startswith("pool:vault:")})
    assert shown(m.tvl_fil, partly) == {"defi-lending": 1_070}
    assert shown(m.tvl_coverage, snapshot()) == {"": 1.0}
    assert shown(m.tvl_coverage, partly) == {"": 0.75}
    nothing = snapshot({})
    for samples in (m.pool_assets("attofil"), m.tvl_fil, m.tvl_usd, m.lent_fil, m.pool_apy, m.pool_growth, m.pool_unbacked, m.tvl_growth):
        assert shown(samples, nothing) == {}
    undeclared = Snapshot("n", {}, {m.FACT: "nonsense"}, snapshot().state)
    assert list(m.tvl_fil(undeclared)) == list(m.tvl_coverage(undeclared)) == []


def test_yield_and_growth_against_the_past() -> None:
    """A worked example: the share of GLIF's pool from 1.2118 to 1.2250 within 30 days is 14.09 % a year."""
    then = {86_400: {"pool:glif:price_e18": 12_118 * 10**14, "pool:glif:assets_attofil": 800 * FIL, "pool:vault:assets_attofil": 500 * FIL}}
    now = {**NOW, "pool:glif:price_e18": 12_250 * 10**14}
    apy = shown(m.pool_apy, snapshot(now, then))
    assert apy == {"glif|30d": pytest.approx((1.2250 / 1.2118) ** (365 / 30) - 1)}
    assert round(apy["glif|30d"], 4) == 0.1409
    assert shown(m.pool_growth, snapshot(now, then)) == {"glif|30d": 0.25, "vault|30d": 0.0}
    assert shown(m.tvl_growth, snapshot(now, then)) == {"30d": pytest.approx(200 / 1_300)}


prices = st.integers(10**15, 10**24)
heights = st.integers(1, 10**6)


@given(prices, prices, heights, st.integers(1, 1_000))
def test_yield_knows_no_scale(before: int, after: int, elapsed: int, factor: int) -> None:
    """Prices in other units give the same yield; and the yield has the sign of the change."""
    found = annualised(Sample(after, elapsed), Sample(before, 0))
    scaled = annualised(Sample(after * factor, elapsed), Sample(before * factor, 0))
    assert (found is None) == (scaled is None)
    if found is not None and scaled is not None:
        assert math.isclose(1 + found, 1 + scaled, rel_tol=1e-6)
        assert (found > 0) <= (after > before)
        assert (found < 0) <= (after < before)


@given(prices, st.integers(0, 10**22), st.integers(1, 10**20), st.integers(20_000, 10**6))
def test_a_higher_price_is_no_lower_yield(before: int, rise: int, more: int, elapsed: int) -> None:
    """Monotone in the price of now."""
    lower = annualised(Sample(before + rise, elapsed), Sample(before, 0))
    higher = annualised(Sample(before + rise + more, elapsed), Sample(before, 0))
    assume(lower is not None and higher is not None)
    assert lower is not None
    assert higher is not None
    assert higher >= lower


@given(st.floats(-0.5, 3.0), st.integers(2_880, 259_200))
def test_a_steady_yield_is_found_again_whatever_the_gap(rate: float, elapsed: int) -> None:
    """Between samples of any distance: the exponent is the time that really passed."""
    before = 10**24
    after = int(before * (1 + rate) ** (elapsed / YEAR_EPOCHS))
    found = annualised(Sample(after, HEAD + elapsed), Sample(before, HEAD))
    assert found == pytest.approx(rate, abs=1e-6)


def test_there_is_no_growth_from_nothing_or_within_no_time() -> None:
    """After a rewind the sample of now may be the one of then."""
    one, none = Sample(5, 100), Sample(0, 50)
    assert annualised(one, one) is annualised(one, none) is annualised(none, one) is None
    assert annualised(Sample(2**250, 101), Sample(1, 100)) is None
    assert growth(one, one, 50) is growth(one, none, 50) is None
    assert growth(Sample(0, 100), Sample(4, 50), 50) == -1


def window(**fields: object) -> WindowReading:
    """A window of a day, covered in full unless told otherwise."""
    values = {"processed": 2880, "prior_processed": 2880, **fields}
    return WindowReading("24h", 2880, **values)  # type: ignore[arg-type]


def test_bridges_are_there_from_the_start() -> None:
    """Every declared bridge and token has both directions, 0 where nothing moved; without events nothing is known."""
    day = window(sums={"bridge_messages:span:in": 3, "bridge_value:span:spUSD:out": 5 * FIL // 2, "bridge_messages:gone:in": 9})
    assert shown(m.bridge_transfers, snapshot(window=day)) == {"span|in|24h": 3, "span|out|24h": 0}
    assert shown(m.bridged_value, snapshot(window=day)) == {"span|spUSD|in|24h": 0, "span|spUSD|out|24h": 2.5}
    assert shown(m.bridge_transfers, snapshot()) == {}


def test_payments() -> None:
    """Paid, as a rate a year, against the day before; who paid, on how many rails, and what nobody told of."""
    day = window(
        sums={"payments:usd_e18": 30 * FIL, "payments:settlements": 8, "payments:unattributed": 2},
        prior_sums={"payments:usd_e18": 20 * FIL},
        distinct={"payer": 2, "rail": 5},
    )
    found = snapshot(window=day)
    assert shown(m.payments_usd, found) == {"24h": 30}
    assert shown(m.payments_annualized_usd, found) == {"24h": 30 * 365}
    assert shown(m.payments_growth, found) == {"24h": 0.5}
    assert shown(m.payers, found) == {"24h": 2}
    assert shown(m.rails, found) == {"24h": 5}
    assert shown(m.payments_unattributed, found) == {"24h": 0.25}
    holed = snapshot(window=window(sums={"payments:usd_e18": FIL}, prior_sums={"payments:usd_e18": FIL}, processed=2879))
    assert shown(m.payments_growth, holed) == shown(m.payments_annualized_usd, holed) == {}
    assert shown(m.payments_usd, snapshot(window=day, economy=Economy())) == {}
