from dataclasses import replace

import msgspec
import pytest

from processors.catalogue import INDICATORS
from processors.money import FACT, Declared, PoolFacts
from processors.readings import Sample, Snapshot, StateReading, StreamReading
from processors.row import Row
from processors.standings import Figure, Standing, Trend, _standing, age_seconds, as_json, standings
from processors.thresholds import Indicator, Threshold, Watch, watches
from streams.prices import NAME as PRICE
from streams.settings import load
from tests.processors.snapshots import FIL, NOW, snapshot, tipsets

WATCHES = watches(INDICATORS)


def standing(name: str, reading: Snapshot) -> Standing:
    return next(found for found in standings(reading, WATCHES, NOW) if found.name == name)


def day(**more: object) -> Snapshot:
    """A snapshot whose only window is the watched one."""
    return snapshot(first=tipsets(name="24h", **more), logs=tipsets(name="24h"))


def test_states() -> None:
    """Beyond a level is its severity; a window with holes is filling, whatever its value; without a value the reason decides."""
    assert standing("active_addresses", day(distinct={"sender": 30})).state == "ok"
    assert standing("active_addresses", day(distinct={"sender": 5})).state == "warning"
    assert standing("active_addresses", day(distinct={})).state == "critical"
    assert standing("active_addresses", day(distinct={}, processed=17)).state == "filling"
    assert standing("gas_share", day(sums={})).state == "unavailable"


def test_what_is_old_is_stale() -> None:
    """No level is held against a figure by which alerts are not raised either; the state has an age of its own."""
    old = replace(day(), latest={"timestamp_seconds": str(int(NOW) - 601)})
    found = standing("active_addresses", old)
    assert (found.state, found.age_seconds, found.figure) == ("stale", 601.0, Figure("24h", 5, 1.0))
    assert standing("gas_share", replace(old, latest={"timestamp_seconds": str(int(NOW) - 600)})).state != "stale"
    stopped = replace(day(), state=replace(day().state, head=100 - 121))
    assert (standing("stored_capacity", stopped).state, standing("stored_capacity", stopped).age_seconds) == ("stale", 60 + 121 * 30)
    assert standing("stored_capacity", replace(stopped, state=replace(stopped.state, head=100 - 120))).age_seconds == 60
    assert standing("active_addresses", stopped).state == "warning"


def test_a_window_that_is_not_kept() -> None:
    """An indicator over another window than the configured ones is not known."""
    found = standing("active_addresses", snapshot())
    assert found.figure is None
    assert found.state == "unavailable"
    assert found.figures["20e"].value == 5


@pytest.mark.parametrize("known,state,share", [(2, "ok", 1.0), (1, "filling", 0.5)])
def test_a_sum_is_judged_where_all_of_it_is_known(known: int, state: str, share: float) -> None:
    """One pool whose size is not known makes value locked no smaller."""
    pools = tuple(PoolFacts(name, "P", "defi-lending", "attofil", counted=True, reports=True) for name in ("a", "b"))
    sizes = {f"pool:{pool.pool}:assets_attofil": Sample(200_000_000 * FIL, 100) for pool in pools[:known]}
    facts = {FACT: msgspec.json.encode(Declared(pools=pools)).decode(), "timestamp_seconds": str(int(NOW))}
    reading = Snapshot("devnet", {"tipsets": StreamReading(head=100)}, facts, StateReading(100, {PRICE: Sample(FIL, 100), **sizes}))
    level = watches(INDICATORS, overrides=load({"thresholds": {"tvl": {"bound": "below", "critical": 3e8}}}).thresholds)
    found = next(one for one in standings(reading, level, NOW) if one.name == "tvl")
    assert (found.state, found.coverage) == (state, share)


def test_of_several_series_the_worst_counts() -> None:
    """Beside a floor the least, and only the series that the indicator asks for."""
    row = Row(
        metric="fvm_x",
        help="X.",
        unit="any",
        group="gas",
        labels=("pool", "kind"),
        samples=lambda _: [({"pool": "a", "kind": "k"}, 3.0), ({"pool": "b", "kind": "k"}, 2.0), ({"pool": "c", "kind": "l"}, 1.0)],
    )
    indicator = Indicator(name="x", title="X", window="", labels={"kind": "k"})
    found = _standing(day(), row, Watch(indicator, Threshold("below", warn=2.5), "1h"), NOW)
    assert found.figure == Figure("", 2.0, 1.0)
    assert found.state == "warning"


def test_trends_are_left_to_prometheus() -> None:
    """Nothing here claims to know the past."""
    assert not [found for found in standings(day(), WATCHES, NOW) if found.name.endswith("_trend")]


def test_age() -> None:
    """Seconds since the newest tipset, None before there is one."""
    assert age_seconds(snapshot(), NOW) == 60
    assert age_seconds(Snapshot("devnet"), NOW) is None


def test_json() -> None:
    """Value, coverage and thresholds per indicator and window."""
    (network,) = as_json([day()], WATCHES, NOW)["networks"]
    assert network["network"] == "devnet"
    assert network["age_seconds"] == 60
    assert network["indicators"][0] == {
        "indicator": "active_addresses",
        "title": "Daily interactive addresses",
        "metric": "fvm_active_addresses",
        "unit": "addresses",
        "state": "warning",
        "reason": None,
        "coverage": 1.0,
        "age_seconds": 60.0,
        "watched_window": "24h",
        "hold": "1h",
        "thresholds": [
            {"bound": "below", "severity": "critical", "value": 1},
            {"bound": "below", "severity": "warning", "value": 20},
        ],
        "article_goal": 50_000,
        "trend": None,
        "windows": {"24h": {"value": 5, "coverage": 1.0}},
    }


def test_a_share_is_compared_with_the_next_longer_window() -> None:
    """Both covered in full; counts, growth and the longest window have no trend."""
    shares = {"12e": 0.5, "20e": 0.4, "30e": 0.1}
    figures = {name: Figure(name, value, 1.0) for name, value in shares.items()}
    share = replace(standing("gas_share", snapshot()), window="12e", figures=figures)
    assert share.trend == Trend("20e", 0.5 / 0.4 - 1)
    assert replace(share, figures=figures | {"20e": Figure("20e", 0.4, 0.9)}).trend == Trend("30e", 0.5 / 0.1 - 1)
    assert replace(share, window="30e").trend is None
    assert replace(share, window="24h").trend is None
    assert replace(share, unit="addresses").trend is None
    assert replace(share, metric="fvm_project_growth_ratio").trend is None
    assert replace(share, figures=figures | {"12e": Figure("12e", 0.5, 0.9)}).trend is None


def test_unknown_contracts_are_named_and_never_label_anything() -> None:
    """The largest users of gas, over the window that is nearest to a day."""
    seen = snapshot()
    reading = replace(seen.streams["tipsets"], ranked=(("0x" + "01" * 20, 9),), ranked_epochs=2880)
    (network,) = as_json([replace(seen, streams=seen.streams | {"tipsets": reading})], WATCHES, NOW)["networks"]
    assert network["unknown_contracts"] == {"epochs": 2880, "contracts": [{"address": "0x" + "01" * 20, "gas": 9}]}
