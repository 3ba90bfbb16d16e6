import json
from typing import Any

import pytest

pytest.importorskip("grafana_foundation_sdk", reason="dependency group `render`")

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from processors import panels as p
from processors.row import Row
from processors.thresholds import Indicator, Threshold

LEVELS = 'max by (bound, severity) (fvm_indicator_threshold{job=~"$job",network=~"$network",indicator="x"})'


def built(panel: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JSONEncoder().encode(panel.build()))
    return found


def row(**more: Any) -> Row:
    return Row(**{"metric": "fvm_x", "help": "Things in the window.", "unit": "gas", "group": "gas", "samples": None, **more})


def exprs(panel: Any) -> list[str]:
    return [target["expr"] for target in built(panel)["targets"]]


@pytest.mark.parametrize(
    "found,expr",
    [
        (row(), 'max by (network) (fvm_x{job=~"$job",network=~"$network"})'),
        (row(labels=("window",)), 'max by (network) (fvm_x{job=~"$job",network=~"$network",window=~"$window"})'),
        (
            row(labels=("class", "window")),
            'max by (network, class) (fvm_x{job=~"$job",network=~"$network",window=~"$window"}) > 0',
        ),
        (row(labels=("kind", "window"), counted=False), 'max by (network, kind, window) (fvm_x{job=~"$job",network=~"$network"})'),
        (row(metric="pulse_x_timestamp_seconds"), 'time() - max by (network) (pulse_x_timestamp_seconds{job=~"$job",network=~"$network"})'),
        (row(metric="pulse_redis_x_total", kind="counter"), 'max by (job) (rate(pulse_redis_x_total{job=~"$job"}[$__rate_interval]))'),
    ],
)
def test_the_query_of_a_row(found: Row, expr: str) -> None:
    """The largest over processes; one window at a time where windows are counted; a counter as its rate."""
    assert exprs(p.of_row(found)) == [expr]


def test_levels_are_lines() -> None:
    """From the series that the alert reads; a baseline has another unit, and so none here."""
    indicators = (Indicator(name="x", title="X", window="1h"), Indicator(name="x_trend", title="X", window="1h", baseline_days=7))
    assert exprs(p.of_row(row(labels=("window",), indicators=indicators)))[1:] == [LEVELS]


def test_classes_are_stacked() -> None:
    """Parts of a whole."""
    assert built(p.of_row(row(labels=("class",))))["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    assert "stacking" not in built(p.of_row(row(labels=("kind",))))["fieldConfig"]["defaults"]["custom"]


@pytest.mark.parametrize(
    "threshold,colours",
    [
        (None, [(None, "blue")]),
        (Threshold("below", warn=20, critical=1), [(None, "red"), (1, "yellow"), (20, "green")]),
        (Threshold("below", warn=20), [(None, "yellow"), (20, "green")]),
        (Threshold("above", warn=1, critical=2), [(None, "green"), (1, "yellow"), (2, "red")]),
    ],
)
def test_colours_of_an_indicator(threshold: Threshold | None, colours: list[tuple[float | None, str]]) -> None:
    """Green is on the good side of every level."""
    indicator = Indicator(name="x", title="X", window="1h", presets={"default": threshold} if threshold else {})
    steps = built(p.of_indicator(row(labels=("window",)), indicator))["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["value"], step["color"]) for step in steps] == colours


def test_what_is_not_known_has_no_colour_of_a_level() -> None:
    """Grey, whatever the first level's colour is."""
    (mapping,) = built(p.figure("X", "X.", "s", "x", p.steps((None, "red"))))["fieldConfig"]["defaults"]["mappings"]
    assert mapping["options"] == {"match": "null+nan", "result": {"text": "no data", "color": p.GREY}}


def test_metrics_of_a_process() -> None:
    """Rates of counters, quantiles of histograms, the largest of gauges; the network chooses only where it is a label."""
    assert exprs(p.of_counter("a_total", "A.", ["endpoint"])) == ['sum by (endpoint) (rate(a_total{job=~"$job"}[$__rate_interval]))']
    assert exprs(p.of_gauge("a", "A.", ["network"])) == ['max by (network) (a{job=~"$job",network=~"$network"})']
    assert exprs(p.of_histogram("a_seconds", "A.", ["network"])) == [
        f'histogram_quantile({share}, sum by (le) (rate(a_seconds_bucket{{job=~"$job",network=~"$network"}}[$__rate_interval])))'
        for share in (0.5, 0.99)
    ]
