"""Samples about the state of the network, through the rows that show them, with figures that can be checked by hand."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.readings import Sample, Snapshot, StateReading
from processors.rows_economy import ECONOMY
from processors.state_samples import window_upgrade
from processors.windows import DAY_EPOCHS

HEAD = 6_000_000
SOLSTICE = 6_470_279
FIL = 10**18
LATEST = {
    "power:raw_bytes": 2 * 10**18,
    "power:quality_adjusted_bytes": 15 * 10**18,
    "power:position_q128": 15 * 10**18 << 128,
    "power:velocity_q128": -(10**13) << 128,
    "power:pledge_attofil": 100_000_000 * FIL,
    "supply:circulating_attofil": 600_000_000 * FIL,
    "supply:locked_attofil": 150_000_000 * FIL,
    "supply:recomputed": 1,
    "reward:minted_attofil": 500_000_000 * FIL,
    "burnt:attofil": 40_000_000 * FIL,
    "network_version": 28,
}
QUARTER_AGO = {"power:raw_bytes": 4 * 10**18, "power:quality_adjusted_bytes": 20 * 10**18, "network_version": 28}
DAY_AGO = {"reward:minted_attofil": 499_900_000 * FIL, "network_version": 28}


def samples(values: Mapping[str, int], height: int) -> dict[str, Sample]:
    return {name: Sample(value, height) for name, value in values.items()}


def snapshot(
    head: int = HEAD,
    latest: Mapping[str, int] = LATEST,
    *,
    network: str = "mainnet",
    day: Mapping[str, int] = DAY_AGO,
    quarter: Mapping[str, int] = QUARTER_AGO,
) -> Snapshot:
    """What is sampled now, a day ago and a quarter ago."""
    back = 90 * DAY_EPOCHS
    past = {DAY_EPOCHS: samples(day, head - DAY_EPOCHS), back: samples(quarter, head - back)}
    return Snapshot(network, state=StateReading(head, samples(latest, head), past))


def shown(metric: str, of: Snapshot) -> dict[tuple[str, ...], float]:
    """The samples of a metric by the values of its labels."""
    row = next(row for row in ECONOMY if row.metric == metric)
    assert row.samples is not None
    found = {}
    for labels, value in row.samples(of):
        assert tuple(labels) == row.labels
        found[tuple(labels.values())] = value
    return found


@pytest.mark.parametrize(
    "metric,expected",
    [
        ("filecoin_power_bytes", {("raw",): 2e18, ("quality_adjusted",): 1.5e19}),
        ("filecoin_power_growth_ratio", {("raw", "90d"): -0.5, ("quality_adjusted", "90d"): -0.25}),
        ("filecoin_circulating_fil", {(): 600e6}),
        ("filecoin_locked_fil", {(): 150e6}),
        ("filecoin_supply_recomputed", {(): 1}),
        ("filecoin_locked_to_circulating_ratio", {(): 0.25}),
        ("filecoin_locked_share_ratio", {(): 0.2}),
        ("filecoin_staking_apy_ratio", {(): 0.365}),
        ("filecoin_burnt_fil", {(): 40e6}),
        ("filecoin_network_version", {(): 28}),
    ],
)
def test_figures(metric: str, expected: dict[tuple[str, ...], float]) -> None:
    """Each as counted by hand."""
    assert shown(metric, snapshot()) == pytest.approx(expected)


def test_growth_a_year() -> None:
    """Halved in a quarter; the smoothed estimate is that of the moment."""
    found = shown("filecoin_power_growth_annualized_ratio", snapshot())
    assert found == pytest.approx(
        {
            ("raw", "90d"): 0.5 ** (365 / 90) - 1,
            ("quality_adjusted", "90d"): 0.75 ** (365 / 90) - 1,
            ("quality_adjusted", "smoothed"): -(10**13) * 1_051_200 / (15 * 10**18),
        }
    )


def test_across_an_upgrade_only_what_it_left_alone_is_compared() -> None:
    """Solstice changed quality and reward: raw power is compared across it, by the epoch or, where none is known, by the version."""
    across = [
        snapshot(SOLSTICE + 10),
        snapshot(SOLSTICE + 10, LATEST | {"network_version": 29}, network="devnet"),
    ]
    for one in across:
        assert set(shown("filecoin_power_growth_annualized_ratio", one)) == {("raw", "90d")}
        assert set(shown("filecoin_power_growth_ratio", one)) == {("raw", "90d")}
        assert shown("filecoin_staking_apy_ratio", one) == {}
        assert {labels["window"]: value for labels, value in window_upgrade(one)}["90d"] == 1
    later = snapshot(SOLSTICE + 91 * DAY_EPOCHS, LATEST | {"network_version": 29}, quarter=QUARTER_AGO | {"network_version": 29})
    assert ("quality_adjusted", "90d") in shown("filecoin_power_growth_ratio", later)
    assert {labels["window"]: value for labels, value in window_upgrade(later)}["90d"] == 0


BACKS = {"7d": 7 * DAY_EPOCHS, "30d": 30 * DAY_EPOCHS, "90d": 90 * DAY_EPOCHS}
NETWORKS = st.sampled_from(["mainnet", "testing"])


def sampled_across(head: int, network: str, upgrade: int, missing: int) -> Snapshot:
    """Everything sampled now and at each distance, a few epochs early; the version rises above `upgrade`, power jumps tenfold there."""

    def at(height: int) -> dict[str, Sample]:
        new = height > upgrade
        values = {"power:raw_bytes": 10**18 + height, "power:quality_adjusted_bytes": (10 if new else 1) * (10**18 + height)}
        values |= {"network_version": 29 if new else 28, "power:pledge_attofil": 10**26, "reward:minted_attofil": 10**20 * height}
        values |= {"power:position_q128": 1 << 160, "power:velocity_q128": 1 << 120}
        return samples(values, height)

    past = {back: at(head - back - missing) for back in (DAY_EPOCHS, *BACKS.values())}
    return Snapshot(network, state=StateReading(head, at(head), past, 0))


@given(NETWORKS, st.integers(-40 * DAY_EPOCHS, 95 * DAY_EPOCHS), st.integers(0, 144))
def test_no_growth_is_told_across_an_upgrade(network: str, after: int, missing: int) -> None:
    """Whatever the head, by the table's epoch or by the versions recorded: adjusted growth only where both ends are on one side.

    Raw power was not touched: its growth is always there. What is told is never the jump. And every stretch that holds the upgrade is
    marked, by which alerts on whatever looks back over it are silent.
    """
    head = SOLSTICE + after
    found = sampled_across(head, network, SOLSTICE, missing)
    one_sided = {window for window, back in BACKS.items() if head <= SOLSTICE or head - back - missing > SOLSTICE}
    marked = {labels["window"] for labels, value in window_upgrade(found) if value}
    for metric in ("filecoin_power_growth_ratio", "filecoin_power_growth_annualized_ratio"):
        growths = shown(metric, found)
        told = {window for kind, window in growths if kind == "quality_adjusted" and window != "smoothed"}
        # At the epoch of the upgrade itself both ends are of before: the table masks it all the same.
        assert told <= one_sided
        assert told == one_sided or (head == SOLSTICE and network == "mainnet")
        assert {window for kind, window in growths if kind == "raw"} == set(BACKS)
        assert all(value < 1 for value in growths.values())
        assert marked.isdisjoint(told)
    day_sided = head <= SOLSTICE or head - DAY_EPOCHS - missing > SOLSTICE
    assert bool(shown("filecoin_staking_apy_ratio", found)) <= day_sided
    assert {window for window, back in BACKS.items() if head - back < SOLSTICE < head} <= marked


@given(st.integers(0, 10**6), st.integers(-95 * DAY_EPOCHS, 95 * DAY_EPOCHS))
def test_an_upgrade_that_changed_nothing_of_it_masks_nothing(missing: int, after: int) -> None:
    """FireHorse changed the base fee alone: power and reward are compared across it, and the stretch is marked all the same."""
    firehorse = 6_052_800
    missing %= 145
    found = sampled_across(firehorse + after, "mainnet", SOLSTICE, missing)
    assert {window for kind, window in shown("filecoin_power_growth_ratio", found) if kind == "quality_adjusted"} == set(BACKS)
    marked = {labels["window"] for labels, value in window_upgrade(found) if value}
    assert marked == {window for window, back in ({"24h": DAY_EPOCHS} | BACKS).items() if 0 <= after <= back}


def test_since_solstice_what_was_burnt_or_given_out_is_no_reward() -> None:
    """100,000 FIL minted in a day, of which 30,000 burnt and 20,000 given out: half of the yield; with one end only, none."""
    now = LATEST | {"reward:burnt_minted_attofil": 130_000 * FIL, "reward:explicit_minted_attofil": 20_000 * FIL}
    then = DAY_AGO | {"reward:burnt_minted_attofil": 100_000 * FIL, "reward:explicit_minted_attofil": 0}
    assert shown("filecoin_staking_apy_ratio", snapshot(latest=now, day=then)) == pytest.approx({(): 0.1825})
    assert shown("filecoin_staking_apy_ratio", snapshot(latest=now)) == {}


def test_what_is_not_known_is_absent() -> None:
    """Without samples no row shows anything; with nothing in circulation there is no ratio to it."""
    for row in ECONOMY:
        assert row.samples is not None
        assert list(row.samples(Snapshot("mainnet"))) == []
    nothing = snapshot(latest=LATEST | {"supply:circulating_attofil": 0})
    assert shown("filecoin_locked_to_circulating_ratio", nothing) == {}
    assert shown("filecoin_locked_share_ratio", nothing) == {(): 1.0}
    assert list(window_upgrade(Snapshot("mainnet"))) == []
