"""The Grafana dashboard, built with Grafana's own typed builders from the catalogue.

The builders number no panels and give them no data source; `_finished` does.
"""

from collections.abc import Iterable

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard, prometheus

from processors.catalogue import ROWS, unit_of, watched
from processors.row import Row, Unit
from processors.thresholds import Indicator

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
CHAIN = 'job=~"$job",network=~"$network"'
PROCESS = 'job=~"$job"'

UNITS: dict[Unit, str] = {
    "ratio": "percentunit",
    "seconds": "s",
    "gas": "short",
    "FIL": "suffix: FIL",
    "attoFIL": "suffix: aFIL",
    "epochs": "none",
    "state": "none",
}
"""Grafana's names of units; what is counted is `short`."""

GREEN, YELLOW, RED, BLUE, CLEAR = "green", "yellow", "red", "blue", "transparent"


def _row(metric: str) -> Row:
    return next(row for row in ROWS if row.metric == metric)


def _unit(unit: Unit) -> str:
    return UNITS.get(unit, "short")


def _query(expr: str, legend: str = "__auto", ref: str = "A", *, instant: bool = False) -> Dataquery:
    query = Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id(ref)
    return query.instant() if instant else query.range()


def _steps(*steps: tuple[float | None, str]) -> build.ThresholdsConfig:
    levels = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(levels)


def _levels(indicator: Indicator) -> build.ThresholdsConfig:
    """The default preset's levels as colours."""
    threshold = indicator.presets.get("default")
    if threshold is None:
        return _steps((None, BLUE))
    warn, critical = threshold.warn, threshold.critical
    if threshold.bound == "above":
        return _steps((None, GREEN), *((level, color) for level, color in ((warn, YELLOW), (critical, RED)) if level is not None))
    rising = [(level, color) for level, color in ((critical, YELLOW), (warn, GREEN)) if level is not None]
    return _steps((None, RED if critical is not None else YELLOW), *rising)


def _text(row: Row) -> str:
    return " ".join(part for part in (row.definition or row.help, row.silent and f"Not in it: {row.silent}") if part)


def _indicator_stat(row: Row, indicator: Indicator) -> stat.Panel:
    unit = unit_of(row, indicator)
    return (
        stat.Panel()
        .title(indicator.title)
        .description(f"Over {indicator.window}. {_text(row)}")
        .unit(_unit(unit))
        .height(5)
        .span(6)
        .no_value("not known")
        .thresholds(_levels(indicator))
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(
            _query(
                f'fvm:indicator:value{{network=~"$network",indicator="{indicator.name}",window="{indicator.window}"}}',
                "{{network}}",
            )
        )
    )


def _health_stat(title: str, description: str, unit: str, expr: str, steps: build.ThresholdsConfig) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .height(4)
        .span(6)
        .no_value("no data")
        .thresholds(steps)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(expr, "{{network}}"))
    )


def _graph(metric: str, title: str, expr: str, legend: str, *, stacked: bool = False, span: int = 12) -> timeseries.Panel:
    row = _row(metric)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(_text(row))
        .unit(_unit(row.unit))
        .height(9)
        .span(span)
        .min(0)
        .no_value("no data")
        .legend(
            VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .sort_by("Last *")
            .sort_desc(True)
            .show_legend(True)
        )
        .with_target(_query(expr, legend))
    )
    if stacked:
        panel = panel.fill_opacity(40).stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    return panel


def _with_levels(panel: timeseries.Panel, indicator: str) -> timeseries.Panel:
    """The same panel with the thresholds in force drawn as lines, from the series that the alert reads."""
    expr = f'max by (indicator, bound, severity) (fvm_indicator_threshold{{{CHAIN},indicator="{indicator}"}})'
    return panel.with_target(_query(expr, "{{severity}} {{bound}}", "B")).thresholds_style(
        GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.OFF)
    )


def _standing_table() -> table.Panel:
    """Indicators with their values and levels, joined by Grafana on the indicator's name."""
    value = (
        'sum by (indicator, window) (fvm:indicator:value{network=~"$network"}'
        f" and on (network, indicator, window) fvm_indicator_info{{{CHAIN}}})"
    )
    columns = {"A": value} | {
        ref: f'max by (indicator) (fvm_indicator_threshold{{{CHAIN},severity="{severity}"}})'
        for ref, severity in (("B", "warning"), ("C", "critical"), ("D", "info"))
    }
    panel = (
        table.Panel()
        .title("Indicators against thresholds")
        .description("What is watched, and the levels in force. Choose one network: several are added up here.")
        .unit("short")
        .height(8)
        .span(24)
        .no_value("not known")
    )
    for ref, expr in columns.items():
        panel = panel.with_target(_query(expr, ref=ref, instant=True).format(prometheus.PromQueryFormat.TABLE))
    names = {"Value #A": "value", "Value #B": "warning", "Value #C": "critical", "Value #D": "goal"}
    order = {name: place for place, name in enumerate(["indicator", "window", *names])}
    return panel.with_transformation(
        dashboard.DataTransformerConfig(id_val="joinByField", options={"byField": "indicator", "mode": "outer"})
    ).with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True, **{f"Time {n}": True for n in range(1, 5)}},
                "indexByName": order,
                "renameByName": names,
            },
        )
    )


def _endpoint_table() -> table.Panel:
    states = {"0": {"text": "down", "color": RED}, "1": {"text": "up", "color": GREEN}}
    return (
        table.Panel()
        .title("Endpoints")
        .description("Whether each endpoint is connected and talking.")
        .unit("none")
        .height(9)
        .span(12)
        .no_value("no data")
        .with_target(_query(f"max by (endpoint) (pulse_endpoint_up{{{PROCESS}}})", instant=True).format(prometheus.PromQueryFormat.TABLE))
        .override_by_name("Value", [dashboard.DynamicConfigValue("mappings", [{"type": "value", "options": states}])])
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {"Time": True}, "renameByName": {"Value": "state"}}
            )
        )
    )


def _latency() -> timeseries.Panel:
    buckets = f"sum by (le) (rate(pulse_tipset_latency_seconds_bucket{{{CHAIN}}}[$__rate_interval]))"
    return (
        timeseries.Panel()
        .title("Latency of tipsets")
        .description("From a node's notice of a tipset to its figures in Redis.")
        .unit("s")
        .height(9)
        .span(12)
        .min(0)
        .no_value("no data")
        .with_target(_query(f"histogram_quantile(0.5, {buckets})", "p50"))
        .with_target(_query(f"histogram_quantile(0.99, {buckets})", "p99", "B"))
    )


def _variable(name: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def _panels() -> Iterable[build.Row | stat.Panel | timeseries.Panel | table.Panel]:
    window = 'window="24h"'
    yield build.Row("Indicators")
    for row, indicator in watched():
        yield _indicator_stat(row, indicator)
    yield _standing_table()
    yield build.Row("How far to trust them")
    yield _health_stat(
        "Coverage of 24 h",
        "Share of the epochs of the last 24 h that are known; indicators alert at 100 % only.",
        "percentunit",
        f"min by (network) (pulse_window_coverage_ratio{{{CHAIN},{window}}})",
        _steps((None, RED), (0.9, YELLOW), (1, GREEN)),
    )
    yield _health_stat(
        "Age of the figures",
        "Age of the newest processed tipset.",
        "s",
        f"time() - max by (network) (pulse_processed_timestamp_seconds{{{CHAIN}}})",
        _steps((None, GREEN), (120, YELLOW), (300, RED)),
    )
    yield _health_stat(
        "Behind the node",
        "Epochs between the node's head and what is processed; 1 or 2 is normal.",
        "none",
        f"max by (network) (pulse_head_epoch{{{CHAIN}}}) - max by (network) (pulse_processed_epoch{{{CHAIN}}})",
        _steps((None, GREEN), (4, YELLOW), (10, RED)),
    )
    yield _health_stat(
        "Unreconciled burn",
        _text(_row("pulse_burn_unreconciled_attofil")),
        _unit("attoFIL"),
        f"max by (network) (pulse_burn_unreconciled_attofil{{{CHAIN}}})",
        _steps((None, GREEN), (1, YELLOW)),
    )
    yield from _activity(window)
    yield from _gas(window)
    yield build.Row("Pipeline")
    yield _latency()
    yield _endpoint_table()


def _activity(window: str) -> Iterable[build.Row | timeseries.Panel]:
    yield build.Row("Activity")
    yield _with_levels(
        _graph(
            "fvm_active_addresses",
            "Interactive addresses, 24 h",
            f"max by (network) (fvm_active_addresses{{{CHAIN},{window}}})",
            "{{network}}",
        ),
        "active_addresses",
    )
    yield _graph(
        "fvm_rolling_messages",
        "FEVM messages by class, 24 h",
        f"max by (class) (fvm_rolling_messages{{{CHAIN},{window}}}) > 0",
        "{{class}}",
        stacked=True,
    )


def _gas(window: str) -> Iterable[build.Row | timeseries.Panel]:
    yield build.Row("Gas and burn")
    yield _graph(
        "fvm_rolling_gas_used",
        "Gas by class, 24 h",
        f"max by (class) (fvm_rolling_gas_used{{{CHAIN},{window}}}) > 0",
        "{{class}}",
        stacked=True,
    )
    yield _graph(
        "fvm_rolling_burned_fil",
        "FIL burnt by class, 24 h",
        f"max by (class) (fvm_rolling_burned_fil{{{CHAIN},{window}}}) > 0",
        "{{class}}",
        stacked=True,
    )
    yield _with_levels(
        _graph(
            "fvm_gas_share_ratio",
            "FEVM share of gas, 24 h",
            f"max by (network) (fvm_gas_share_ratio{{{CHAIN},{window}}})",
            "{{network}}",
            span=8,
        ),
        "gas_share",
    )
    yield _with_levels(
        _graph(
            "fvm_burn_share_ratio",
            "FEVM share of gas burn, 24 h",
            f"max by (network) (fvm_burn_share_ratio{{{CHAIN},{window}}})",
            "{{network}}",
            span=8,
        ),
        "burn_share",
    )
    yield _graph("filecoin_base_fee_attofil", "Base fee", f"max by (network) (filecoin_base_fee_attofil{{{CHAIN}}})", "{{network}}", span=8)


def overview() -> str:
    """`grafana/dashboards/overview.json`."""
    board = (
        build.Dashboard("FVM Pulse / Overview")
        .uid("fvm-pulse-overview")
        .description("The FVM economy against its thresholds, and how far to trust the figures.")
        .tags(["fvm-pulse", "filecoin"])
        .readonly()
        .refresh("30s")
        .time("now-24h", "now")
        .timezone("utc")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("job", "label_values(pulse_build_info, job)"))
        .with_variable(_variable("network", 'label_values(pulse_window_coverage_ratio{job=~"$job"}, network)'))
        .annotation(
            build.AnnotationQuery()
            .name("Reorgs deeper than 5 epochs")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("orange")
            .expr(
                f"sum by (network) (increase(pulse_reorg_depth_epochs_count{{{CHAIN}}}[$__rate_interval]))"
                f' - sum by (network) (increase(pulse_reorg_depth_epochs_bucket{{{CHAIN},le="5.0"}}[$__rate_interval])) > 0'
            )
        )
    )
    for panel in _panels():
        board = board.with_row(panel) if isinstance(panel, build.Row) else board.with_panel(panel)
    text: str = JSONEncoder(sort_keys=True, indent=2).encode(_finished(board.build()))
    return text + "\n"


def _finished(board: dashboard.Dashboard) -> dashboard.Dashboard:
    for number, panel in enumerate(board.panels or [], 1):
        panel.id_val = number
        if isinstance(panel, dashboard.Panel):
            panel.datasource = SOURCE
    return board
