from processors.catalogue import watched
from processors.rules import alerting, alerts, recording
from processors.thresholds import HOLDS


def test_every_indicator_is_recorded() -> None:
    """A value for each, under its own name."""
    (group,) = recording()
    recorded = [rule["labels"]["indicator"] for rule in group["rules"] if rule["record"] == "fvm:indicator:value"]
    assert sorted(recorded) == sorted(indicator.name for _, indicator in watched())


def test_a_value_comes_before_what_needs_it() -> None:
    """Rules of a group run in order: values, facts, trends, then what is covered."""
    (group,) = recording()
    assert [rule["record"] for rule in group["rules"]][-1] == "fvm:indicator:covered"


def test_one_generic_alert_for_every_hold() -> None:
    """No indicator's name stands in an alert."""
    indicator_group, pipeline_group = alerting()
    assert [rule["for"] for rule in indicator_group["rules"]] == list(HOLDS)
    text = str(indicator_group) + str(pipeline_group)
    assert not [indicator.name for _, indicator in watched() if f'"{indicator.name}"' in text]


def test_alerts_keep_the_conventions() -> None:
    """A severity or the threshold's own, a sentence as summary, a runbook."""
    for alert in alerts():
        plain = alert.plain()
        assert plain["annotations"]["summary"][0].isupper()
        assert plain["annotations"]["summary"].endswith(".")
        assert plain["annotations"]["runbook_url"].endswith("#" + alert.name.lower())
        assert alert.severity in {"critical", "warning", "none"} or alert.name == "FvmIndicatorBeyondThreshold"
        assert alert.hold or alert.keep or alert.name == "Watchdog"
