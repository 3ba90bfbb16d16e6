"""The table of `alerts.yaml` as unit tests of promtool."""

import re
from pathlib import Path
from typing import Any

import yaml

from processors.rules import alerts

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules"
CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())
ALERTS = {alert.name: alert for alert in alerts()}
WINDOW = "24h"
NETWORK = "mainnet"
MINUTES = 400


def _with_job(series: str) -> str:
    if "job=" in series:
        return series
    name, _, labels = series.partition("{")
    return f'{name}{{job="fvm-pulse",{labels.removesuffix("}")}}}'.replace(",}", "}")


def _text(values: object) -> str:
    """What YAML read as a number was meant to be one value for ever, or was hexadecimal by accident."""
    if not isinstance(values, str):
        raise TypeError(f"quote these values: {values!r}")
    return values


def _stage(case: dict[str, Any]) -> dict[str, str]:
    """A covered window, fresh figures, and the levels of the case's indicator."""
    if "indicator" not in case:
        return {}
    minutes, indicator = case.get("minutes", MINUTES), case["indicator"]
    network = f'network="{NETWORK}"'
    levels = {
        f'fvm_indicator_threshold{{{network},indicator="{indicator["name"]}",bound="{bound}",severity="{severity}"}}': f"{value}x{minutes}"
        for (bound, severity), value in ((key.split(), value) for key, value in indicator["levels"].items())
    }
    watched = f'indicator="{indicator["name"]}",unit="any",window="{WINDOW}",hold="{indicator["hold"]}"'
    return {
        f'pulse_window_coverage_ratio{{{network},window="{WINDOW}"}}': f"1x{minutes}",
        f"pulse_processed_timestamp_seconds{{{network}}}": f"0+60x{minutes}",
        f"fvm_indicator_info{{{network},{watched}}}": f"1x{minutes}",
        **levels,
    }


def _expected(alert: str, found: dict[str, Any]) -> dict[str, Any]:
    labels = {name: value for name, value in found.items() if name != "says"}
    chosen = "&".join(f"var-{name}={labels[name]}" for name in ("network", "window") if name in labels)
    texts = {
        "summary": ALERTS[alert].summary,
        "description": found["says"],
        "dashboard_url": f"http://127.0.0.1:3000/d/fvm-pulse-{ALERTS[alert].board}" + (f"?{chosen}" if chosen else ""),
        "runbook_url": f"docs/operations.md#{alert.lower()}",
    }
    return {"exp_labels": labels, "exp_annotations": texts}


def _unit_test(case: dict[str, Any]) -> dict[str, Any]:
    series = {**_stage(case), **case["series"]}
    return {
        "name": case["name"],
        "interval": "1m",
        "input_series": [{"series": _with_job(name), "values": _text(values)} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [_expected(alert, one) for one in fired]}
            for alert, moments in case["expect"].items()
            for minute, fired in moments.items()
        ],
    }


def part_of(case: dict[str, Any]) -> str:
    """Cases are run in parts, of which the slow one is left to those who ask for it."""
    return "slow" if "slow" in case else "indicators" if "indicator" in case else "pipeline"


def written(folder: Path, part: str) -> Path:
    """The file of one part of the cases."""
    path = folder / f"{part}.test.yaml"
    tests = [_unit_test(case) for case in CASES if part_of(case) == part]
    groups = [
        group
        for file in sorted(RULES.glob("*.yaml"), reverse=True)
        for group in re.findall(r"^- name: (.+)$", file.read_text(), re.MULTILINE)
    ]
    whole = {"rule_files": [f"{RULES}/*.yaml"], "evaluation_interval": "1m", "group_eval_order": groups, "tests": tests}
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path
