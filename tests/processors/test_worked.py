"""Worked numbers: figures that public sources print, through the catalogue's rows, each with the hand calculation beside it.

Sources: filecoin-data-portal issue 229 (burn of a year), FIP-0118 and its upgrade discussion (power, targets of revenue), Messari's
reports of 2024 (value locked), Spacescope's samples of January 2026 (contracts, gas), a public note of October 2026 (a pool that was
emptied), GLIF's documents (price of iFIL). The article's levels are goals; that they do not follow from these is the point.
"""

from collections.abc import Mapping

import pytest

from processors.catalogue import INDICATORS, ROWS
from processors.economy import Economy, PaymentContract, Pool
from processors.growth import YEAR_EPOCHS
from processors.money import facts
from processors.page import number
from processors.readings import Sample, Snapshot, StateReading, StreamReading, WindowReading
from processors.standings import standings
from processors.thresholds import Preset, watches
from processors.windows import DAY_EPOCHS

FIL, PIB = 10**18, 2**50
SOLSTICE = 6_470_279
HEAD = 6_300_000
DAY, MONTH, QUARTER = DAY_EPOCHS, 30 * DAY_EPOCHS, 90 * DAY_EPOCHS
POOL = Pool(pool="emptied", project="P", contract_class="liquid-staking", address="0x" + "01" * 20, adapter="glif-pool")
DECLARED = Economy(pools=(POOL,), payment_contracts=(PaymentContract(name="pay", address="0x" + "02" * 20),))


def at(height: int, values: Mapping[str, int]) -> dict[str, Sample]:
    return {name: Sample(value, height) for name, value in values.items()}


def network(
    now: Mapping[str, int] | None = None, past: Mapping[int, Mapping[str, int]] | None = None, head: int = HEAD, **window: object
) -> Snapshot:
    """Mainnet with these samples, and with windows of a day and of 30 days that hold `window`."""
    windows = {
        name: WindowReading(name, epochs, processed=epochs, prior_processed=epochs, **window)  # type: ignore[arg-type]
        for name, epochs in (("24h", DAY), ("30d", MONTH))
    }
    streams = {stream: StreamReading(head=head, windows=windows) for stream in ("tipsets", "logs")}
    state = StateReading(head, at(head, now or {}), {back: at(head - back, values) for back, values in (past or {}).items()}, 0)
    return Snapshot("mainnet", streams, facts(DECLARED) | {"timestamp_seconds": "0"}, state)  # type: ignore[arg-type]


def shown(metric: str, of: Snapshot) -> dict[str, float]:
    """The samples of a metric, by the values of their labels."""
    row = next(row for row in ROWS if row.metric == metric)
    assert row.samples is not None
    return {"|".join(labels.values()): value for labels, value in row.samples(of)}


def state_of(indicator: str, of: Snapshot, preset: Preset = "default") -> str:
    return next(one.state for one in standings(of, watches(INDICATORS, preset), 0.0) if one.name == indicator)


def test_power_before_solstice() -> None:
    """14,760 PiB, 20 to 37 PiB fewer each day: 38 % to 59 % fewer a year, far from the article's 62 % more."""
    for a_day, compound, simple in ((20, -0.3842, -0.4946), (37, -0.5862, -0.9150)):
        now = {"power:quality_adjusted_bytes": 14_760 * PIB, "network_version": 28}
        now |= {"power:position_q128": 14_760 * PIB << 128, "power:velocity_q128": -(a_day * PIB << 128) // DAY}
        then = {"power:quality_adjusted_bytes": (14_760 + 30 * a_day) * PIB, "network_version": 28}
        found = shown("filecoin_power_growth_annualized_ratio", network(now, {MONTH: then}))
        assert found["quality_adjusted|30d"] == pytest.approx((14_760 / (14_760 + 30 * a_day)) ** (365 / 30) - 1)
        assert found["quality_adjusted|30d"] == pytest.approx(compound, abs=1e-4)
        assert found["quality_adjusted|smoothed"] == pytest.approx(-a_day / 14_760 * YEAR_EPOCHS / DAY)
        assert found["quality_adjusted|smoothed"] == pytest.approx(simple, abs=1e-4)


def test_the_step_of_solstice_is_no_growth() -> None:
    """Quality rose by 12.7 % at once: that would be 328 % a year over 30 days. Raw power is compared, the step is not."""
    assert pytest.approx(3.28, abs=0.01) == 1.127 ** (365 / 30) - 1
    then = {"power:quality_adjusted_bytes": 14_000 * PIB, "power:raw_bytes": 3_000 * PIB, "network_version": 28}
    now = {"power:quality_adjusted_bytes": 14_000 * PIB * 1127 // 1000, "power:raw_bytes": 3_000 * PIB, "network_version": 29}
    found = shown("filecoin_power_growth_annualized_ratio", network(now, {MONTH: then}, head=SOLSTICE + 10 * DAY))
    assert found == {"raw|30d": 0.0}
    assert state_of("power_growth", network(now, {MONTH: then}, head=SOLSTICE + 10 * DAY)) == "unavailable"


def test_a_quarter_of_58_per_cent() -> None:
    """Is 539 % a year: the article's two growths are not of one kind."""
    found = network({"power:raw_bytes": 158 * PIB}, {QUARTER: {"power:raw_bytes": 100 * PIB}})
    assert shown("filecoin_power_growth_ratio", found) == {"raw|90d": pytest.approx(0.58)}
    assert shown("filecoin_power_growth_annualized_ratio", found)["raw|90d"] == pytest.approx(1.58 ** (365 / 90) - 1)
    assert shown("filecoin_power_growth_annualized_ratio", found)["raw|90d"] == pytest.approx(5.392, abs=1e-3)
    assert state_of("capacity_growth", found, "article") == "ok"


def test_stored_bytes() -> None:
    """1.8 EB are 1.56 EiB: a seventh between the two."""
    assert number(1.8e18, "bytes") == "1.56 EiB"
    assert pytest.approx(1.153, abs=1e-3) == 2**60 / 10**18


def test_locked_share() -> None:
    """140 M FIL as 29 % of what circulates is 482.76 M FIL circulating, and 22.5 % of both together."""
    now = {"supply:locked_attofil": 140_000_000 * FIL, "supply:circulating_attofil": 14_000_000_000 * FIL // 29}
    found = network(now)
    assert shown("filecoin_circulating_fil", found)[""] == pytest.approx(482.76e6, rel=1e-5)
    assert shown("filecoin_locked_to_circulating_ratio", found)[""] == pytest.approx(0.29)
    assert shown("filecoin_locked_share_ratio", found)[""] == pytest.approx(0.29 / 1.29)
    assert round(shown("filecoin_locked_share_ratio", found)[""], 4) == 0.2248


def test_staking_yield() -> None:
    """Block rewards of a day over locked times 365: 23 % on 140 M FIL is 88,219 FIL a day, less what Solstice burns of it."""
    minted = 88_219_178 * FIL // 1000
    pledge = {"power:pledge_attofil": 140_000_000 * FIL, "network_version": 28}
    before = network(
        pledge | {"reward:minted_attofil": 5 * 10**26 + minted}, {DAY: {"reward:minted_attofil": 5 * 10**26, "network_version": 28}}
    )
    assert shown("filecoin_staking_apy_ratio", before) == {"": pytest.approx(0.23, abs=1e-6)}
    names = ("reward:minted_attofil", "reward:burnt_minted_attofil", "reward:explicit_minted_attofil")
    now = dict(zip(names, (5 * 10**26 + minted, 10**24 + minted // 4, 10**23), strict=True)) | pledge | {"network_version": 29}
    then = dict(zip(names, (5 * 10**26, 10**24, 10**23), strict=True)) | {"network_version": 29}
    after = network(now, {DAY: then}, head=SOLSTICE + 2 * DAY)
    assert shown("filecoin_staking_apy_ratio", after) == {"": pytest.approx(0.23 * 3 / 4, abs=1e-6)}


def test_value_locked() -> None:
    """63 M FIL at 4.33 USD were 273 M USD in 2024; 300 M USD at 1.12 USD are 268 M FIL, more than the whole pledge."""
    for held, price, usd in ((63_000_000, 433, 272.79e6), (267_857_143, 112, 300e6)):
        found = network({"pool:emptied:assets_attofil": held * FIL, "price:fil_usd_e18": price * FIL // 100})
        assert shown("fvm_tvl_fil", found) == {"liquid-staking": held}
        assert shown("fvm_tvl_usd", found)[""] == pytest.approx(usd)
    assert state_of("tvl", network({"pool:emptied:assets_attofil": 63_000_000 * FIL, "price:fil_usd_e18": FIL}), "article") == "info"


def test_accounting_is_not_money() -> None:
    """A pool that was emptied and still answered 254,531.9 FIL: all of it is missing, which is critical; a fall of what it holds is too."""
    told = {"pool:emptied:assets_attofil": 2_545_319 * FIL // 10, "pool:emptied:borrowed_attofil": 0}
    emptied = network(told | {"pool:emptied:balance_attofil": 0})
    assert shown("fvm_pool_assets_fil", emptied) == {
        "emptied|P|liquid-staking|reported": pytest.approx(254_531.9),
        "emptied|P|liquid-staking|balance": 0,
    }
    assert shown("fvm_pool_unbacked_ratio", emptied) == {"emptied": 1.0}
    assert state_of("pool_unbacked", emptied) == "critical"
    whole = network(told | {"pool:emptied:balance_attofil": 2_545_319 * FIL // 10})
    assert state_of("pool_unbacked", whole) == "ok"


def test_pools_of_the_article() -> None:
    """18 % a year is 1.37 % in 30 days; 40 % a month is 60 times as much in a year; lent of what is there is utilisation."""
    price = {MONTH: {"pool:emptied:price_e18": FIL, "pool:emptied:assets_attofil": 100 * FIL}}
    now = {
        "pool:emptied:price_e18": 1_013_697_400_000_000_000,
        "pool:emptied:assets_attofil": 140 * FIL,
        "pool:emptied:borrowed_attofil": 105 * FIL,
    }
    found = network(now, price)
    assert shown("fvm_pool_apy_ratio", found)["emptied|30d"] == pytest.approx(0.18, abs=1e-5)
    assert shown("fvm_pool_growth_ratio", found)["emptied|30d"] == pytest.approx(0.40)
    assert shown("fvm_pool_utilization_ratio", found) == {"emptied": 0.75}
    assert pytest.approx(59.97, abs=0.01) == 1.4 ** (365 / 30)


def test_liquidity_lent() -> None:
    """1.6 billion USD at 1.12 USD are 1.43 billion FIL, more than twice all that vested of the genesis."""
    found = network({"pool:emptied:borrowed_attofil": 1_428_571_429 * FIL, "price:fil_usd_e18": 112 * FIL // 100})
    assert shown("fvm_lent_fil", found) == {"": 1_428_571_429}
    assert shown("fvm_lent_usd", found)[""] == pytest.approx(1.6e9)
    assert state_of("liquidity_lent", found, "article") == "ok"
    assert shown("fvm_pool_borrowed_fil", found) == {"emptied|P|liquid-staking": 1_428_571_429}


def test_projects_and_addresses() -> None:
    """47 registered projects of which 35 were active after 25 grew by the article's 40 %; 148 users of a day are far from 50,000."""
    distinct = {"project": 35, "sender": 148}
    found = network(distinct=distinct, prior_distinct={"project": 25})
    assert shown("fvm_project_growth_ratio", found)["30d"] == pytest.approx(0.40)
    assert shown("fvm_active_addresses", found)["24h"] == 148
    assert (state_of("active_addresses", found), state_of("active_addresses", found, "article")) == ("ok", "info")


def test_a_year_of_burn() -> None:
    """Of 2.83 M USD that f099 gained in a year, messages of the FVM burnt 961 USD: 0.034 %, where the article wants 30 %."""
    sums = {"f099_rise": 2_830_000 * FIL, "f099_fevm_burn": 961 * FIL, "f099_known": 1}
    found = shown("fvm_total_burn_share_ratio", network(sums=sums))
    assert found["24h"] == pytest.approx(961 / 2_830_000)
    assert round(found["24h"], 6) == 0.00034


def test_gas_and_deployments_of_a_day() -> None:
    """3.53 T gas is 34 % of 10.38 T; 8 contracts a day are a fall of a third after 12; 0.000353 FIL is shown to the digit."""
    sums = {"gas:dex": 3_530 * 10**9, "all_gas": 10_382_352_941_176, "deployments:direct": 8}
    found = network(sums=sums, prior_sums={"deployments:direct": 12})
    assert shown("fvm_gas_share_ratio", found)["24h"] == pytest.approx(0.34)
    assert shown("fvm_deployment_growth_ratio", found)["30d"] == pytest.approx(-1 / 3)
    assert number(0.000353, "FIL") == "0.000353 FIL"


def test_storage_revenue() -> None:
    """300 % a quarter is 58.7 % a month; the targets of 3.5, 9.4 and 25.5 thousand USD a quarter are 169 % and 171 % apart."""
    assert pytest.approx(0.5874, abs=1e-4) == 4 ** (1 / 3) - 1
    for before, now, growth in ((3_500, 9_400, 1.6857), (9_400, 25_500, 1.7128)):
        found = network(sums={"payments:usd_e18": now * FIL}, prior_sums={"payments:usd_e18": before * FIL})
        assert shown("fvm_storage_payments_usd", found)["30d"] == now
        assert shown("fvm_storage_payments_annualized_usd", found)["30d"] == pytest.approx(now * 365 / 30)
        assert shown("fvm_storage_payments_growth_ratio", found)["30d"] == pytest.approx(growth, abs=1e-4)
        assert state_of("storage_revenue_growth", found, "article") == "ok"
