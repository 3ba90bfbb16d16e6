import pytest

from processors.alerts import PIPELINE, STORE, TRUTH, WATCHDOG, Alert, Links
from streams.errors import UsageError

EVERY = (*PIPELINE, *STORE, *TRUTH, WATCHDOG)


@pytest.mark.parametrize("alert", EVERY, ids=lambda alert: alert.name)
def test_conventions(alert: Alert) -> None:
    """A name with our prefix, a severity, a fixed sentence, something to say, an anchor, and no nervousness."""
    plain = alert.plain(Links())
    assert alert.name.startswith("Fvm") or alert is WATCHDOG
    assert plain["labels"]["severity"] in {"critical", "warning", "none"}
    assert alert.summary[0].isupper()
    assert alert.summary.endswith(".")
    assert "{{" not in alert.summary
    assert alert.description
    assert plain["annotations"]["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"
    assert alert.hold or alert.keep or alert is WATCHDOG


def test_links_lead_where_they_are_told() -> None:
    """To that Grafana and that runbook; a slash at the end is not doubled."""
    links = Links("https://grafana.example.org/", "https://docs.example.org/operations.html")
    found = WATCHDOG.plain(links)["annotations"]
    assert found["dashboard_url"].startswith("https://grafana.example.org/d/fvm-pulse-overview{{ with $labels.network }}?var-network=")
    assert found["runbook_url"] == "https://docs.example.org/operations.html#watchdog"


@pytest.mark.parametrize("url", ["", "grafana.example.org", "/grafana", "javascript:alert(1)"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """With what is allowed."""
    with pytest.raises(UsageError, match=r"--grafana-url .*http:// or https://"):
        Links(grafana=url)


def test_names_are_unique() -> None:
    """An anchor leads to one section."""
    names = [alert.name for alert in EVERY]
    assert len(names) == len(set(names))
