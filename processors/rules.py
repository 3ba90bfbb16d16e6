"""The rules of Prometheus as data: recording rules, and the alert on indicators, made from the catalogue.

Values are recorded with `max` (`min` for coverage) over whatever else labels them, so that two exporters of one network
count once. An indicator may have labels beyond its window, such as `pool`: they stay, and each value is watched by itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from processors.alerts import FRESH_SECONDS, PIPELINE, STORE, TRUTH, WATCHDOG, Alert, Links
from processors.catalogue import watched
from processors.row import Row
from processors.state_samples import STRETCHES
from processors.thresholds import HOLDS, Indicator
from processors.windows import DAY_EPOCHS

THRESHOLD_ALERT = "FvmIndicatorBeyondThreshold"
BASELINE_SAMPLES = 1440
"""A baseline counts from a day of samples on, at the one a minute of its group."""
SIDES = (("below", "<"), ("above", ">"))
SEVERITIES = ("critical", "warning", "info")
MASKED = "fvm:window:upgrade > 0"
MASKED_BEYOND = "fvm:indicator:upgrade > 0"
"""An upgrade lies within what an indicator looks back over beyond its window: the past of a trend, the day of a yield."""


def _value(row: Row, indicator: Indicator) -> dict[str, Any]:
    """The rule that records an indicator's value."""
    open_labels = [label for label in row.labels if label not in indicator.labels]
    chosen = ",".join(f'{name}="{value}"' for name, value in indicator.labels.items())
    series = f"{row.metric}{{{chosen}}}" if chosen else row.metric
    if indicator.baseline_days:
        base = next(other.name for other in row.indicators if not other.baseline_days and other.labels == indicator.labels)
        covered = f'fvm:indicator:covered{{indicator="{base}"}}'
        past = f"{covered}[{indicator.baseline_days}d]"
        usual = f"(avg_over_time({past}) > 0 and count_over_time({past}) >= {BASELINE_SAMPLES})"
        series = f"\n  {covered}\n  / {usual}\n"
    expr = f"max by ({', '.join(['network', *open_labels])}) ({series})"
    return {"record": "fvm:indicator:value", "expr": expr, "labels": {"indicator": indicator.name}}


def _upgrade(row: Row, indicator: Indicator) -> Iterator[dict[str, Any]]:
    """The rule that records whether an upgrade lies within what an indicator looks back over, where its label `window` does not tell."""
    back = indicator.baseline_days * DAY_EPOCHS or row.stretch_epochs
    if back:
        window = next(name for name, epochs in STRETCHES.items() if epochs == back)
        expr = f'max by (network) (fvm_window_upgrade{{window="{window}"}})'
        yield {"record": "fvm:indicator:upgrade", "expr": expr, "labels": {"indicator": indicator.name}}


def _covered(state: str, sums: Mapping[str, str]) -> dict[str, Any]:
    """The rule that records the values which can be relied on.

    Those of the indicators `state` need no covered window; those of `sums`, by the metric of the share that is known, all of what they add.
    """
    apart = "|".join([state, *sums.values()])
    counted = f'fvm:indicator:value{{indicator!~"{apart}"}} and on (network, window) fvm:window:coverage_ratio >= 1'
    others = f'fvm:indicator:value{{indicator=~"{state}"}}'
    for share, names in sums.items():
        others += f'\n  or (fvm:indicator:value{{indicator=~"{names}"}} and on (network) min by (network) ({share}) >= 1)'
    fresh = f"and on (network) fvm:head:age_seconds < {FRESH_SECONDS}"
    masked = f"unless on (network, window) {MASKED}\n  unless on (network, indicator) {MASKED_BEYOND}"
    expr = f"(\n  {counted}\n  or {others}\n)\n  {fresh}\n  {masked}"
    return {"record": "fvm:indicator:covered", "expr": expr}


def _beyond() -> Iterator[dict[str, Any]]:
    """The rules that join values and levels: one series for each level that a value is beyond."""
    for severity in SEVERITIES:
        for bound, sign in SIDES:
            level = f'max by (network, indicator) (fvm_indicator_threshold{{bound="{bound}",severity="{severity}"}})'
            yield {
                "record": "fvm:indicator:beyond",
                "expr": f"fvm:indicator:covered\n  {sign} on (network, indicator) group_left ()\n    {level}",
                "labels": {"bound": bound, "severity": severity},
            }


def recording() -> list[dict[str, Any]]:
    """The group of recording rules, in the order in which they need each other."""
    plain = [_value(row, indicator) for row, indicator in watched() if not indicator.baseline_days]
    trends = [_value(row, indicator) for row, indicator in watched() if indicator.baseline_days]
    facts = [
        {"record": "fvm:head:age_seconds", "expr": "time() - max by (network) (pulse_processed_timestamp_seconds)"},
        {"record": "fvm:window:coverage_ratio", "expr": "min by (network, window) (pulse_window_coverage_ratio)"},
        {"record": "fvm:window:upgrade", "expr": "max by (network, window) (fvm_window_upgrade)"},
    ]
    state = "|".join(indicator.name for row, indicator in watched() if not row.share and (not row.counted or "window" not in row.labels))
    shares = sorted({row.share for row, _ in watched() if row.share})
    sums = {share: "|".join(indicator.name for row, indicator in watched() if row.share == share) for share in shares}
    masked = [rule for row, indicator in watched() for rule in _upgrade(row, indicator)]
    return [{"name": "fvm-indicators", "interval": "1m", "rules": [*plain, *facts, *masked, *trends, _covered(state, sums), *_beyond()]}]


def _crossed(hold: str) -> str:
    """What is beyond a level, of the indicators that must be so for `hold`.

    It knows only windows that are covered in full. What fires already keeps firing, with the last value known, while its
    window is not: a hole must neither raise an alert nor end one. An upgrade within what it looks back over ends it.
    """
    firing = f'ALERTS{{alertname="{THRESHOLD_ALERT}",alertstate="firing",hold="{hold}"}}'
    return "\n".join(
        [
            f'(fvm:indicator:beyond and on (network, indicator, window) fvm_indicator_info{{hold="{hold}"}})',
            "or",
            "(",
            "  last_over_time(fvm:indicator:beyond[7d])",
            f"  and ignoring (alertname, alertstate, hold) {firing}",
            "  unless ignoring (bound, severity) fvm:indicator:covered",
            f"  unless on (network, window) {MASKED}",
            f"  unless on (network, indicator) {MASKED_BEYOND}",
            ")",
        ]
    )


def indicator_alerts() -> Iterator[Alert]:
    """One alert, once per hold; its severity is the threshold's."""
    for hold in HOLDS:
        yield Alert(
            name=THRESHOLD_ALERT,
            board="overview",
            expr=_crossed(hold),
            hold=hold,
            labels={"hold": hold},
            summary="An indicator is beyond its threshold.",
            description=(
                "{{ $labels.indicator }} of {{ $labels.network }}"
                "{{ with $labels.pool }}, {{ . }}{{ end }}{{ with $labels.window }} over {{ . }}{{ end }}"
                ' is {{ $value | printf "%.4g" }}, {{ $labels.bound }} its {{ $labels.severity }} level.'
            ),
        )


def alerts() -> list[Alert]:
    """Every alert, those on indicators first."""
    return [*indicator_alerts(), *PIPELINE, *STORE, *TRUTH, WATCHDOG]


def alerting(links: Links) -> list[dict[str, Any]]:
    """The groups of alert rules."""
    return [
        {"name": "fvm-indicator-alerts", "interval": "1m", "rules": [alert.plain(links) for alert in indicator_alerts()]},
        {"name": "fvm-pipeline-alerts", "rules": [alert.plain(links) for alert in [*PIPELINE, *STORE, *TRUTH, WATCHDOG]]},
    ]
