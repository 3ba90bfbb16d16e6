import pytest

from processors.alerts import PIPELINE, STORE, TRUTH, WATCHDOG, Alert

EVERY = (*PIPELINE, *STORE, *TRUTH, WATCHDOG)


@pytest.mark.parametrize("alert", EVERY, ids=lambda alert: alert.name)
def test_conventions(alert: Alert) -> None:
    """A name with our prefix, a severity, a fixed sentence, something to say, an anchor, and no nervousness."""
    plain = alert.plain()
    assert alert.name.startswith("Fvm") or alert is WATCHDOG
    assert plain["labels"]["severity"] in {"critical", "warning", "none"}
    assert alert.summary[0].isupper()
    assert alert.summary.endswith(".")
    assert "{{" not in alert.summary
    assert alert.description
    assert plain["annotations"]["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"
    assert alert.hold or alert.keep or alert is WATCHDOG


def test_names_are_unique() -> None:
    """An anchor leads to one section."""
    names = [alert.name for alert in EVERY]
    assert len(names) == len(set(names))
