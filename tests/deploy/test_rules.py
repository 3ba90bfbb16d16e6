"""The rendered rules and the configuration of Prometheus and Alertmanager, with their own tools."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from processors.catalogue import ROWS
from streams.metrics import ProcessMetrics, process_registry
from tests.deploy.promtool import CASES, written

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is missing: apt-get install prometheus-alertmanager")


def run(*command: object) -> str:
    """The output of a tool that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> Iterator[dict[str, Any]]:
    for path in (DEPLOY / "prometheus/rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"] for rule in rules() if "alert" in rule}
PROMETHEUS_OWN = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def exposed() -> set[str]:
    """Every series name that a process of ours may show."""
    registry = process_registry()
    ProcessMetrics(registry)
    names = {row.metric for row in ROWS}
    for family in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def selectors(expr: Any) -> Iterator[Any]:
    """The vector selectors of a parsed expression."""
    if isinstance(expr, promql_parser.VectorSelector):
        yield expr
        return
    for name in ("lhs", "rhs", "expr", "vs", "args", "vector_selector", "param"):
        part = getattr(expr, name, None)
        for one in part if isinstance(part, list) else [part]:
            if one is not None and not isinstance(one, str):
                yield from selectors(one)


@needs_promtool
def test_promtool_accepts_rules_and_configuration() -> None:
    """Both, with every lint deadly."""
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *(DEPLOY / "prometheus/rules").glob("*.yaml"))
    run("promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("part", ["pipeline", "indicators", pytest.param("slow", marks=pytest.mark.slow)])
def test_alerts_do_what_they_should(tmp_path: Path, part: str) -> None:
    """Each case of the table, with every label and annotation."""
    run("promtool", "test", "rules", written(tmp_path, part))


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_alert_is_tested_three_ways(alert: str) -> None:
    """It fires, it resolves in the same case, and in another it is named and stays quiet throughout."""
    runs = [[bool(fired) for _, fired in sorted(case["expect"][alert].items())] for case in CASES if alert in case["expect"]]
    assert any(any(moments) for moments in runs)
    if alert != "Watchdog":
        assert any(True in moments and not moments[-1] for moments in runs)
        assert any(True not in moments for moments in runs)


def test_every_series_exists() -> None:
    """Rules read what we expose, what they record, and what Prometheus itself adds."""
    known = exposed() | RECORDED | PROMETHEUS_OWN
    for rule in rules():
        names = {selector.name for selector in selectors(promql_parser.parse(rule["expr"]))}
        assert names <= known, rule
        assert names or rule["expr"] == "vector(1)"


def test_every_alert_has_its_runbook() -> None:
    """The anchor that an alert names exists, and no section is left over."""
    text = (ROOT / "docs/operations.md").read_text()
    runbook = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    assert runbook == ALERTS
    for rule in rules():
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"] == "docs/operations.md#" + rule["alert"].lower()


@needs_amtool
def test_amtool_accepts_the_configuration() -> None:
    """Routes, inhibition and receivers."""
    run("amtool", "check-config", DEPLOY / "alertmanager/alertmanager.yml")


@needs_amtool
@pytest.mark.parametrize(
    "receiver,labels",
    [
        ("heartbeat", ["alertname=Watchdog", "severity=none"]),
        ("pager", ["alertname=FvmHeadStale", "severity=critical", "network=mainnet"]),
        ("pager", ["alertname=FvmRedisDown", "severity=critical"]),
        ("tickets", ["alertname=FvmDeadLetters", "severity=warning"]),
        ("nobody", ["alertname=FvmIndicatorBeyondThreshold", "severity=info", "network=mainnet"]),
        ("tickets", ["alertname=Unknown"]),
    ],
)
def test_routes(receiver: str, labels: list[str]) -> None:
    """Each severity goes where it belongs."""
    config = DEPLOY / "alertmanager/alertmanager.yml"
    run("amtool", "config", "routes", "test", "--config.file", config, f"--verify.receivers={receiver}", *labels)


def test_inhibition_needs_what_it_compares() -> None:
    """A label that is missing on both sides counts as equal: both sides must ask for it, or neither compares it."""
    for rule in yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())["inhibit_rules"]:
        if "equal" not in rule:
            assert 'network = ""' in rule["source_matchers"]
        for label in set(rule.get("equal", ())) - {"pool"}:
            for side in ("source_matchers", "target_matchers"):
                assert f'{label} =~ ".+"' in rule[side]


def test_inhibition_names_alerts_that_exist() -> None:
    """A renamed alert would silently stop to inhibit."""
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    assert set(re.findall(r"Fvm\w+", text)) <= ALERTS
