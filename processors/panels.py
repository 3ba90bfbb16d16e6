"""Panels of Grafana, built with its own typed builders: one from each row of the catalogue and each metric of a process.

Queries choose by the dashboards' variables `job`, `network` and `window`, and take the `max` over processes, so that two
exporters of one network count once.
"""

from typing import TypeAlias

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTextDisplayOptions,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common, dashboard, prometheus

from processors.catalogue import unit_of
from processors.row import Row, Unit
from processors.thresholds import Indicator

Panel: TypeAlias = build.Row | stat.Panel | timeseries.Panel | table.Panel | heatmap.Panel | statetimeline.Panel

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
PROCESS = 'job=~"$job"'
CHAIN = f'{PROCESS},network=~"$network"'

UNITS: dict[Unit, str] = {
    "ratio": "percentunit",
    "seconds": "s",
    "bytes": "bytes",
    "FIL": "si:FIL",
    "USD": "currencyUSD",
    "attoFIL": "suffix: aFIL",
    "epochs": "none",
    "state": "none",
}
"""Grafana's names of units; what is counted is `short`."""

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#8e8e8e"
FIGURE_PIXELS = 36
PARTS = {"class", "project"}
"""Labels whose values are parts of a whole: stacked."""
QUANTILES = ((0.5, "p50"), (0.99, "p99"))


def unit_name(unit: Unit) -> str:
    """A unit as Grafana calls it."""
    return UNITS.get(unit, "short")


def query(expr: str, legend: str = "__auto", ref: str = "A", *, instant: bool = False) -> Dataquery:
    """A query of the chosen data source."""
    found = Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id(ref)
    return found.instant() if instant else found.range()


def steps(*levels: tuple[float | None, str]) -> build.ThresholdsConfig:
    """Colours from a level on; the first level is None."""
    found = [dashboard.Threshold(value=value, color=color) for value, color in levels]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def _colours(indicator: Indicator) -> build.ThresholdsConfig:
    """The default preset's levels as colours."""
    threshold = indicator.presets.get("default")
    if threshold is None:
        return steps((None, BLUE))
    warn, critical = threshold.warn, threshold.critical
    if threshold.bound == "above":
        return steps((None, GREEN), *((level, color) for level, color in ((warn, YELLOW), (critical, RED)) if level is not None))
    rising = [(level, color) for level, color in ((critical, YELLOW), (warn, GREEN)) if level is not None]
    return steps((None, RED if critical is not None else YELLOW), *rising)


def text(row: Row) -> str:
    """What a row counts, and what it does not."""
    return " ".join(part for part in (row.definition or row.help, row.silent and f"Not in it: {row.silent}") if part)


def title(row: Row) -> str:
    """A row's help as a title, with the chosen window where there is one."""
    found = row.help.removesuffix(".").removesuffix(", 0 to 1").replace(" in the window", "")
    if _timestamp(row):
        found = found.replace("Unix time of", "Age of")
    return f"{found}, $window" if _windowed(row) else found


def _windowed(row: Row) -> bool:
    return row.counted and "window" in row.labels


def _timestamp(row: Row) -> bool:
    """Whether it is a time and no span: as seconds since 1970 nobody could read it."""
    return row.metric.endswith("_timestamp_seconds")


def legend(labels: list[str]) -> str:
    """A name for each series of these labels."""
    return " ".join(f"{{{{{label}}}}}" for label in labels) or "value"


def _legend_table() -> VizLegendOptions:
    return (
        VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
        .sort_by("Last *")
        .sort_desc(True)
        .show_legend(True)
    )


def graph(name: str, description: str, unit: str, *targets: tuple[str, str], stacked: bool = False, span: int = 12) -> timeseries.Panel:
    """Lines over time; a target is an expression and a legend."""
    panel = (
        timeseries.Panel()
        .title(name)
        .description(description)
        .unit(unit)
        .height(9)
        .span(span)
        .no_value("no data")
        .legend(_legend_table())
        .thresholds_style(GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.OFF))
    )
    for ref, (expr, name_of_series) in zip("ABCDEFGH", targets, strict=False):
        panel = panel.with_target(query(expr, name_of_series, ref))
    if stacked:
        panel = panel.fill_opacity(40).min(0).stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    return panel


def of_row(row: Row) -> timeseries.Panel:
    """A row of the catalogue over time, with the levels in force of its indicators."""
    matchers = (CHAIN if row.chain else PROCESS) + (',window=~"$window"' if _windowed(row) else "")
    series = f"{row.metric}{{{matchers}}}"
    shown = [label for label in row.labels if label != "window" or not row.counted]
    parts = bool(shown) and set(shown) <= PARTS
    labels = ["network" if row.chain else "job", *shown]
    by = ", ".join(labels)
    if row.kind == "counter":
        expr = f"max by ({by}) (rate({series}[$__rate_interval]))"
    else:
        since = "time() - " if _timestamp(row) else ""
        expr = f"{since}max by ({by}) ({series})" + (" > 0" if parts else "")
    targets = [(expr, legend(labels))]
    for indicator in row.indicators:
        if not indicator.baseline_days:
            level = f'max by (bound, severity) (fvm_indicator_threshold{{{CHAIN},indicator="{indicator.name}"}})'
            targets.append((level, f"{indicator.name}: {legend(['severity', 'bound'])}"))
    per_second = row.kind == "counter"
    unit = "ops" if per_second else unit_name(row.unit)
    return graph(title(row) + (", a second" if per_second else ""), text(row), unit, *targets, stacked=parts)


def of_counter(metric: str, documentation: str, labels: list[str]) -> timeseries.Panel:
    """A counter of a process as its rate."""
    series = f"{metric}{{{_matchers(labels)}}}"
    expr = f"sum by ({', '.join(labels or ['job'])}) (rate({series}[$__rate_interval]))"
    return graph(f"{documentation.removesuffix('.')}, a second", documentation, "ops", (expr, legend(labels or ["job"])))


def of_gauge(metric: str, documentation: str, labels: list[str]) -> timeseries.Panel:
    """A gauge of a process, the largest over processes."""
    expr = f"max by ({', '.join(labels or ['job'])}) ({metric}{{{_matchers(labels)}}})"
    return graph(documentation.removesuffix("."), documentation, "short", (expr, legend(labels or ["job"])))


def of_histogram(metric: str, documentation: str, labels: list[str]) -> timeseries.Panel:
    """The median and the 99th percentile of a histogram."""
    by = [label for label in labels if label != "network"]
    buckets = f"sum by ({', '.join(['le', *by])}) (rate({metric}_bucket{{{_matchers(labels)}}}[$__rate_interval]))"
    name = f"{documentation.removesuffix('.')}, p50 and p99"
    quantiles = [(f"histogram_quantile({share}, {buckets})", f"{legend(by) if by else ''} {word}".strip()) for share, word in QUANTILES]
    return graph(name, documentation, "s" if metric.endswith("_seconds") else "short", *quantiles)


def _matchers(labels: list[str]) -> str:
    return CHAIN if "network" in labels else PROCESS


def spread(name: str, description: str, metric: str) -> heatmap.Panel:
    """A histogram of seconds over time as a heat map."""
    expr = f"sum by (le) (increase({metric}_bucket{{{CHAIN}}}[$__rate_interval]))"
    return (
        heatmap.Panel()
        .title(name)
        .description(description)
        .unit("s")
        .height(9)
        .span(12)
        .no_value("no data")
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .with_target(query(expr, "{{le}}").format(prometheus.PromQueryFormat.HEATMAP))
    )


def _unknown(text_of_none: str) -> dashboard.SpecialValueMap:
    """What is not known is grey: the first level's colour would pass a judgement on it."""
    result = dashboard.ValueMappingResult(text=text_of_none, color=GREY)
    return dashboard.SpecialValueMap(dashboard.DashboardSpecialValueMapOptions(dashboard.SpecialValueMatch.NULL_AND_NAN, result))


def figure(
    name: str,
    description: str,
    unit: str,
    expr: str,
    levels: build.ThresholdsConfig,
    series: str = "{{network}}",
    unknown: str = "no data",
) -> stat.Panel:
    """One number with a colour."""
    return (
        stat.Panel()
        .title(name)
        .description(description)
        .unit(unit)
        .height(4)
        .span(6)
        .no_value(unknown)
        .mappings([_unknown(unknown)])
        .text(VizTextDisplayOptions().value_size(FIGURE_PIXELS))
        .thresholds(levels)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query(expr, series))
    )


def of_indicator(row: Row, indicator: Indicator) -> stat.Panel:
    """An indicator over the window that is watched, in the colours of the default preset."""
    name = f'{{network=~"$network",indicator="{indicator.name}"}}'
    watched = f'fvm_indicator_info{{{CHAIN},indicator="{indicator.name}"}}'
    over = f"Over {indicator.window} unless configured otherwise. " if indicator.window else ""
    further = [label for label in row.labels if label != "window" and label not in indicator.labels]
    panel = figure(
        indicator.title,
        over + text(row),
        unit_name(unit_of(row, indicator)),
        f"fvm:indicator:value{name} and on (network, indicator, window) {watched}",
        _colours(indicator),
        legend(["network", *further]),
        "not known",
    )
    return panel.height(5).color_mode(common.BigValueColorMode.VALUE)


def timeline(name: str, description: str, expr: str, series: str, words: dict[str, tuple[str, str]]) -> statetimeline.Panel:
    """States over time; `words` are a text and a colour by value."""
    options = {value: {"text": word, "color": color} for value, (word, color) in words.items()}
    return (
        statetimeline.Panel()
        .title(name)
        .description(description)
        .unit("none")
        .height(8)
        .span(24)
        .no_value("no data")
        .mappings([dashboard.ValueMap(options={key: dashboard.ValueMappingResult(**value) for key, value in options.items()})])
        .with_target(query(expr, series))
    )


def listing(name: str, description: str, columns: dict[str, str], join: str, names: dict[str, str], *, span: int = 24) -> table.Panel:
    """A table of instant queries, joined on a label; `names` rename the columns, in their order."""
    panel = table.Panel().title(name).description(description).unit("short").height(10).span(span).no_value("none")
    for ref, expr in columns.items():
        panel = panel.with_target(query(expr, ref=ref, instant=True).format(prometheus.PromQueryFormat.TABLE))
    hidden = {"Time": True, "__name__": True, **{f"Time {n}": True for n in range(1, len(columns) + 1)}}
    hidden |= {"Value": True} if len(columns) == 1 and "Value" not in names else {}
    options = {
        "excludeByName": hidden,
        "indexByName": {column: place for place, column in enumerate(names)},
        "renameByName": {column: word for column, word in names.items() if column != word},
    }
    if len(columns) > 1:
        joined = {"byField": join, "mode": "outer"}
        panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="joinByField", options=joined))
    return panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))
