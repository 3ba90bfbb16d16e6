"""Why an indicator has no value, one reason after the other."""

from dataclasses import replace

import pytest

from processors.absence import UNTOLD, WITHOUT_NATIVE, Absence, absence
from processors.catalogue import ROWS, watched
from processors.economy import Economy
from processors.money import facts
from processors.readings import Sample, Snapshot, StateReading
from processors.standings import standings
from processors.state_samples import NEVER_VESTED
from processors.windows import DAY_EPOCHS
from streams.account import Account, Endpoint
from tests.processors.snapshots import NOW, snapshot, tipsets, window
from tests.processors.test_money import ECONOMY
from tests.processors.test_standings import WATCHES

MONTH = 30 * DAY_EPOCHS


def why(metric: str, of: Snapshot, window: str = "24h") -> Absence:
    return absence(of, next(row for row in ROWS if row.metric == metric), window)


def day(**more: object) -> Snapshot:
    return snapshot(first=tipsets(name="24h", **more), logs=window("24h"))


def sampled(*, since: int = 0, head: int = 200 * DAY_EPOCHS, **latest: int) -> Snapshot:
    """A network of whose state these names are known, since a height."""
    samples = {name.replace("__", ":"): Sample(value, head) for name, value in latest.items()}
    return replace(day(), state=StateReading(head, samples, {}, since))


def following(of: Snapshot, *endpoints: Endpoint) -> Snapshot:
    account = Account(endpoints={str(place): one for place, one in enumerate(endpoints)})
    return replace(of, latest=of.latest | {"follower": account.fact(int(NOW))})


def declaring(of: Snapshot, economy: Economy) -> Snapshot:
    return replace(of, latest=of.latest | facts(economy))


def test_before_the_first_tipset_everything_fills() -> None:
    """Whatever it is."""
    for metric in ("fvm_active_addresses", "filecoin_power_bytes", "fvm_tvl_usd"):
        assert why(metric, Snapshot("devnet")) == Absence("filling", "nothing is processed yet", 0.0)


def test_windows() -> None:
    """One that has holes fills; one that is not kept never will; in a full one there may be nothing to divide by."""
    assert why("fvm_gas_share_ratio", day(processed=15)) == Absence("filling", "the window is not known in full", 0.85)
    assert why("fvm_gas_share_ratio", day(), "30d") == Absence("unavailable", "windows has 24h, not 30d")
    assert why("fvm_gas_share_ratio", day()) == Absence("unavailable", "nothing of it was in the window")


def test_what_is_compared_needs_the_window_before_too() -> None:
    """Half of it is there when the window itself is full."""
    filling = replace(day(prior_processed=10), streams={"tipsets": day(prior_processed=10).streams["tipsets"]})
    logs = replace(filling.streams["tipsets"], windows={"24h": window("24h", prior_processed=20)})
    both = replace(filling, streams={"tipsets": filling.streams["tipsets"], "logs": logs})
    assert why("fvm_project_growth_ratio", both) == Absence("filling", "the window just before is not known in full", 0.75)
    full = replace(both, streams={"tipsets": day().streams["tipsets"], "logs": logs})
    assert why("fvm_project_growth_ratio", full) == Absence("unavailable", "nothing of it was in the window just before")


@pytest.mark.parametrize("metric", ["filecoin_power_bytes", "filecoin_staking_apy_ratio", "filecoin_locked_fil"])
def test_what_only_lotus_tells(metric: str) -> None:
    """Where every node that is up serves the Ethereum RPC alone that is why; else a probe failed, or nobody knows."""
    nothing, ethereum, lotus = sampled(base_fee_attofil=1), Endpoint(up=True), Endpoint(up=True, native=True)
    assert why(metric, following(nothing, ethereum)) == Absence("unavailable", WITHOUT_NATIVE)
    assert why(metric, following(nothing, ethereum, replace_up(lotus))) == Absence("unavailable", WITHOUT_NATIVE)
    assert why(metric, following(nothing, ethereum, lotus)) == why(metric, nothing) == Absence("unavailable", UNTOLD)


def replace_up(endpoint: Endpoint) -> Endpoint:
    return Endpoint(up=False, native=endpoint.native)


def test_the_circulating_supply() -> None:
    """It may be unknown beside its parts, or nothing at all."""
    metric = "filecoin_locked_to_circulating_ratio"
    assert why(metric, sampled(supply__locked_attofil=5)) == Absence("unavailable", NEVER_VESTED)
    nothing = sampled(supply__locked_attofil=5, supply__circulating_attofil=0)
    assert why(metric, nothing) == Absence("unavailable", "the circulating supply is 0")


def test_growth_fills_until_samples_reach_back() -> None:
    """Then it is an upgrade within, or a hole where the stretch begins."""
    metric = "filecoin_power_growth_annualized_ratio"
    head = 200 * DAY_EPOCHS
    reason = "samples do not reach back so far yet"
    assert why(metric, sampled(since=head - MONTH // 4, power__raw_bytes=5), "30d") == Absence("filling", reason, 0.25)
    hole = "there is no sample from the start of it, or nothing to compare with"
    assert why(metric, sampled(power__raw_bytes=5), "30d") == Absence("unavailable", hole)
    across = replace(sampled(head=6_470_279 + DAY_EPOCHS, power__raw_bytes=5), network="mainnet")
    assert why(metric, across, "30d") == Absence("unavailable", "an upgrade of the network within it changed what it means")
    young = sampled(since=head - DAY_EPOCHS // 2, power__pledge_attofil=1, reward__minted_attofil=1)
    assert why("filecoin_staking_apy_ratio", young, "") == Absence("filling", reason, 0.5)


def test_money_that_nobody_declared_and_pools_that_do_not_answer() -> None:
    """A private network has no pools; a declared one may fail; a price and loans are things of their own."""
    bare, declared = sampled(), declaring(sampled(), ECONOMY)
    assert why("fvm_tvl_usd", bare).reason == "no pool is declared for devnet: see registry"
    assert why("fvm_tvl_usd", declared).reason.startswith("none of 5 pools gave a sample")
    told = declaring(sampled(pool__glif__assets_attofil=1), ECONOMY)
    assert why("fvm_tvl_usd", told).reason == "no price of FIL on chain is declared, or none is fresh"
    assert why("fvm_lent_fil", told).reason == "no pool tells what it has lent"
    assert why("fvm_rolling_bridge_transfers", bare).reason == "no bridge is declared for devnet: see registry"
    assert why("fvm_storage_payments_growth_ratio", bare).reason == "no payment contract is declared for devnet: see registry"
    assert why("fvm_pool_apy_ratio", replace(told, state=replace(told.state, since=told.state.head)), "30d").state == "filling"


def test_every_indicator_without_a_value_says_why() -> None:
    """Whatever is missing, the reason is a sentence of its own, and whatever has a value has none."""
    for of in (Snapshot("devnet"), snapshot(), day(), sampled(), declaring(sampled(), ECONOMY)):
        for standing in standings(of, WATCHES, NOW):
            valued = standing.figure is not None and standing.figure.value is not None
            assert valued is (standing.reason is None)
            assert standing.state in {"filling", "unavailable"} or valued
    assert {indicator.name for _, indicator in watched()} >= {"gas_share", "tvl"}
