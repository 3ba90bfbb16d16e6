from processors.alerts import Links
from processors.catalogue import watched
from processors.row import Row
from processors.rules import _covered, _value, alerting, alerts, recording
from processors.thresholds import HOLDS, Indicator


def test_every_indicator_is_recorded() -> None:
    """A value for each, under its own name."""
    (group,) = recording()
    recorded = [rule["labels"]["indicator"] for rule in group["rules"] if rule["record"] == "fvm:indicator:value"]
    assert sorted(recorded) == sorted(indicator.name for _, indicator in watched())


def test_a_value_comes_before_what_needs_it() -> None:
    """Rules of a group run in order: values, facts, trends, what is covered, what is beyond a level."""
    (group,) = recording()
    order = list(dict.fromkeys(rule["record"] for rule in group["rules"]))
    assert order == [
        "fvm:indicator:value",
        "fvm:head:age_seconds",
        "fvm:window:coverage_ratio",
        "fvm:window:upgrade",
        "fvm:indicator:upgrade",
        "fvm:indicator:covered",
        "fvm:indicator:beyond",
    ]


def test_what_looks_back_further_than_its_window_is_masked_by_that() -> None:
    """The past of a trend, the day of a yield; each by a stretch of which it is known whether it holds an upgrade."""
    (group,) = recording()
    masked = {rule["labels"]["indicator"]: rule["expr"] for rule in group["rules"] if rule["record"] == "fvm:indicator:upgrade"}
    assert set(masked) == {one.name for _, one in watched() if one.baseline_days} | {"staking_apy"}
    assert masked["staking_apy"] == 'max by (network) (fvm_window_upgrade{window="24h"})'
    assert masked["locked_trend"] == 'max by (network) (fvm_window_upgrade{window="7d"})'


def test_other_labels_stay() -> None:
    """What an indicator does not choose is watched for each value."""
    row = Row(metric="fvm_x", help="X.", unit="any", group="gas", labels=("pool", "kind", "window"), samples=None)
    rule = _value(row, Indicator(name="x", title="X", window="1h", labels={"kind": "k"}))
    assert rule["expr"] == 'max by (network, pool, window) (fvm_x{kind="k"})'


def test_a_figure_of_the_state_needs_no_covered_window() -> None:
    """Nor one without a window: a hole in the ledger says nothing about it."""
    counted, others = _covered("a|b", {})["expr"].split("\n  or ")
    assert 'indicator!~"a|b"' in counted
    assert "coverage" in counted
    assert 'indicator=~"a|b"' in others
    assert "coverage" not in others


def test_a_sum_counts_where_all_of_it_is_known() -> None:
    """What is left out of it would raise an alert, or hide one."""
    counted, others, whole = _covered("a", {"fvm_share": "b|c"})["expr"].split("\n  or ")
    assert 'indicator!~"a|b|c"' in counted
    assert 'indicator=~"a"' in others
    assert whole.startswith('(fvm:indicator:value{indicator=~"b|c"} and on (network) min by (network) (fvm_share) >= 1)')


def test_one_generic_alert_for_every_hold() -> None:
    """No indicator's name stands in an alert."""
    indicator_group, pipeline_group = alerting(Links())
    assert [rule["for"] for rule in indicator_group["rules"]] == list(HOLDS)
    text = str(indicator_group) + str(pipeline_group)
    assert not [indicator.name for _, indicator in watched() if f'"{indicator.name}"' in text]


def test_alerts_keep_the_conventions() -> None:
    """A severity or the threshold's own, a sentence as summary, a runbook."""
    for alert in alerts():
        plain = alert.plain(Links())
        assert plain["annotations"]["summary"][0].isupper()
        assert plain["annotations"]["summary"].endswith(".")
        assert plain["annotations"]["runbook_url"].endswith("#" + alert.name.lower())
        assert alert.severity in {"critical", "warning", "none"} or alert.name == "FvmIndicatorBeyondThreshold"
        assert alert.hold or alert.keep or alert.name == "Watchdog"
