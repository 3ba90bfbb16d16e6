"""The rules of Prometheus as data: recording rules and alerts, made from the catalogue.

Values are recorded with `max` (`min` for coverage) over whatever else labels them, so that two exporters of one network
count once. The alert on indicators is one expression for all of them: values joined with the threshold series.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from processors.catalogue import watched
from processors.row import Row
from processors.thresholds import HOLDS, Indicator

JOB = "fvm-pulse"
THRESHOLD_ALERT = "FvmIndicatorBeyondThreshold"
RUNBOOK = "docs/operations.md#"
"""Where the runbook is: a path in the project, since where its pages are published is not ours to know."""
FRESH_SECONDS = 600
BASELINE_SAMPLES = 1440
"""A baseline counts from a day of samples on, at the one a minute of its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert rule; `hold` is its `for`, `keep` its `keep_firing_for`. Its section of the runbook bears its name."""

    name: str
    expr: str
    summary: str
    description: str
    hold: str = ""
    keep: str = ""
    severity: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """The anchor of its section in the runbook."""
        return self.name.lower()

    def plain(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.hold:
            rule["for"] = self.hold
        if self.keep:
            rule["keep_firing_for"] = self.keep
        labels = {**({"severity": self.severity} if self.severity else {}), **self.labels}
        if labels:
            rule["labels"] = labels
        rule["annotations"] = {"summary": self.summary, "description": self.description, "runbook_url": RUNBOOK + self.anchor}
        return rule


def _value(row: Row, indicator: Indicator) -> dict[str, Any]:
    """The rule that records an indicator's value."""
    expr = f"max by (network, window) ({row.metric})"
    if indicator.baseline_days:
        base = next(other.name for other in row.indicators if not other.baseline_days)
        covered = f'fvm:indicator:covered{{indicator="{base}"}}'
        past = f"{covered}[{indicator.baseline_days}d]"
        usual = f"(avg_over_time({past}) > 0 and count_over_time({past}) >= {BASELINE_SAMPLES})"
        expr = f"max by (network, window) (\n  {covered}\n  / {usual}\n)"
    return {"record": "fvm:indicator:value", "expr": expr, "labels": {"indicator": indicator.name}}


def recording() -> list[dict[str, Any]]:
    """The group of recording rules, in the order in which they need each other."""
    plain = [_value(row, indicator) for row, indicator in watched() if not indicator.baseline_days]
    trends = [_value(row, indicator) for row, indicator in watched() if indicator.baseline_days]
    facts = [
        {"record": "fvm:head:age_seconds", "expr": "time() - max by (network) (pulse_processed_timestamp_seconds)"},
        {"record": "fvm:window:coverage_ratio", "expr": "min by (network, window) (pulse_window_coverage_ratio)"},
    ]
    covered = {
        "record": "fvm:indicator:covered",
        "expr": (
            "fvm:indicator:value\n"
            "  and on (network, window) fvm:window:coverage_ratio >= 1\n"
            f"  and on (network) fvm:head:age_seconds < {FRESH_SECONDS}"
        ),
    }
    return [{"name": "fvm-indicators", "interval": "1m", "rules": [*plain, *facts, *trends, covered]}]


def _crossed(hold: str) -> str:
    """The generic comparison, for the indicators that must be beyond a level for `hold`.

    It knows only windows that are covered in full. What fires already keeps firing, with the last value known, while its
    window is not: a hole must neither raise an alert nor end one.
    """
    value = f'(fvm:indicator:covered and on (network, indicator, window) fvm_indicator_info{{hold="{hold}"}})'
    labels = "network, indicator, window, bound, severity"

    def side(sign: str, bound: str) -> str:
        level = f'max by (network, indicator, bound, severity) (fvm_indicator_threshold{{bound="{bound}"}})'
        return f"{value}\n  {sign} on (network, indicator) group_right (window)\n    {level}"

    firing = f'max by ({labels}) (ALERTS{{alertname="{THRESHOLD_ALERT}",alertstate="firing",hold="{hold}"}})'
    kept = (
        f"{firing}\n  * on (network, indicator, window) group_left () last_over_time(fvm:indicator:covered[7d])"
        "\nunless on (network, indicator, window) fvm:indicator:covered"
    )
    return f"{side('<', 'below')}\nor\n{side('>', 'above')}\nor\n(\n{kept}\n)"


def indicator_alerts() -> Iterator[Alert]:
    """One alert, once per hold; its severity is the threshold's."""
    for hold in HOLDS:
        yield Alert(
            name=THRESHOLD_ALERT,
            expr=_crossed(hold),
            hold=hold,
            labels={"hold": hold},
            summary="An indicator is beyond its threshold.",
            description=(
                '{{ $labels.indicator }} of {{ $labels.network }} over {{ $labels.window }} is {{ $value | printf "%.4g" }},'
                " {{ $labels.bound }} its {{ $labels.severity }} level."
            ),
        )


_UP = "max by (job) (pulse_endpoint_up) == 1"
_NODE_AGE = "time() - max by (job, network) (pulse_head_timestamp_seconds)"

PIPELINE = (
    Alert(
        name="FvmNodeSilent",
        expr="max by (job) (pulse_endpoint_up) == 0",
        hold="3m",
        severity="critical",
        summary="No node talks to us.",
        description="Every endpoint of {{ $labels.job }} is down.",
    ),
    Alert(
        name="FvmChainHalted",
        expr=f"{_NODE_AGE} > 300\n  and on (job) {_UP}",
        hold="5m",
        severity="warning",
        summary="The node is connected and its head stands still.",
        description="The newest tipset of {{ $labels.network }} that a node knows is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        name="FvmPipelineBehind",
        expr=(
            "max by (job, network) (pulse_head_timestamp_seconds)\n  - max by (job, network) (pulse_processed_timestamp_seconds)\n  > 300"
        ),
        hold="5m",
        keep="5m",
        severity="critical",
        summary="The figures are behind the node.",
        description="{{ $labels.network }}: the newest processed tipset is {{ $value | humanizeDuration }} behind the node's head.",
    ),
    Alert(
        name="FvmHeadStale",
        expr=f"fvm:head:age_seconds > {FRESH_SECONDS}",
        hold="5m",
        severity="critical",
        summary="The figures are old.",
        description="{{ $labels.network }}: the newest processed tipset is {{ $value | humanizeDuration }} old; indicators do not alert.",
    ),
    Alert(
        name="FvmRedisDown",
        expr="min by (job) (pulse_redis_up) == 0",
        hold="2m",
        severity="critical",
        summary="Redis can not be read.",
        description="The exporter of {{ $labels.job }} has no figures to show.",
    ),
    Alert(
        name="FvmExporterGone",
        expr=f'absent(up{{job="{JOB}"}} == 1)',
        hold="5m",
        severity="critical",
        labels={"job": JOB},
        summary="No exporter answers.",
        description=f"Prometheus reaches no target of the job {JOB}.",
    ),
    Alert(
        name="FvmEndpointDown",
        expr=f"min by (job, endpoint) (pulse_endpoint_up) == 0\n  and on (job) {_UP}",
        hold="15m",
        severity="warning",
        summary="One of the endpoints is down.",
        description="{{ $labels.endpoint }} is down; another one serves.",
    ),
)
"""What keeps the figures from being current, in the order of the path."""


def _counted(name: str, metric: str, by: str, summary: str, subject: str) -> Alert:
    """An alert on any increase of a counter that should stand still."""
    return Alert(
        name=name,
        expr=f"sum by ({by}) (increase({metric}[15m])) > 0",
        keep="15m",
        severity="warning",
        summary=summary,
        description=f"{subject}: about {{{{ $value | humanize }}}} in the last 15 minutes.",
    )


TRUTH = (
    Alert(
        name="FvmCoverageMissing",
        expr=(
            "(fvm:window:coverage_ratio < 1 and delta(fvm:window:coverage_ratio[30m]) <= 0)\n"
            f"  and on (network) fvm:head:age_seconds < {FRESH_SECONDS}"
        ),
        hold="30m",
        severity="warning",
        summary="A window has holes that do not fill.",
        description="{{ $labels.network }}: {{ $value | humanizePercentage }} of {{ $labels.window }} is known, and that does not grow.",
    ),
    Alert(
        name="FvmBurnUnreconciled",
        expr=(
            "max by (network) (pulse_burn_unreconciled_attofil) > 0\n"
            "  and min by (network) (min_over_time(pulse_burn_unreconciled_attofil[1d])) == 0"
        ),
        hold="10m",
        severity="warning",
        summary="Computed burn and f099 disagree where they used to agree.",
        description="{{ $labels.network }}: {{ $value | humanize }} attoFIL are not explained over the shortest window.",
    ),
    _counted("FvmDeadLetters", "pulse_dead_letters_total", "job, stream", "Records could not be applied.", "stream {{ $labels.stream }}"),
    _counted(
        "FvmIncompleteReceipts",
        "pulse_incomplete_receipts_total",
        "network",
        "Receipts of tipsets are incomplete.",
        "{{ $labels.network }}",
    ),
    _counted(
        "FvmLogMismatches", "pulse_log_mismatches_total", "network", "Streamed logs differ from the receipts.", "{{ $labels.network }}"
    ),
    Alert(
        name="FvmDeepReorg",
        expr=(
            "sum by (network) (increase(pulse_reorg_depth_epochs_count[30m]))\n"
            '  - sum by (network) (increase(pulse_reorg_depth_epochs_bucket{le="10.0"}[30m]))\n  > 0'
        ),
        keep="15m",
        severity="warning",
        summary="A reorg was deeper than 10 epochs.",
        description="{{ $labels.network }}: about {{ $value | humanize }} such reorgs in the last 30 minutes.",
    ),
)
"""What keeps the figures from being exact."""

WATCHDOG = Alert(
    name="Watchdog",
    expr="vector(1)",
    severity="none",
    summary="Alerting works.",
    description="This alert always fires; its silence means that alerts do not arrive.",
)


def alerts() -> list[Alert]:
    """Every alert, those on indicators first."""
    return [*indicator_alerts(), *PIPELINE, *TRUTH, WATCHDOG]


def alerting() -> list[dict[str, Any]]:
    """The groups of alert rules."""
    return [
        {"name": "fvm-indicator-alerts", "interval": "1m", "rules": [alert.plain() for alert in indicator_alerts()]},
        {"name": "fvm-pipeline-alerts", "rules": [alert.plain() for alert in [*PIPELINE, *TRUTH, WATCHDOG]]},
    ]
