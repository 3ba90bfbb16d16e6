"""The dashboards of Grafana, from the catalogue and the metrics of a process: what is new there has its panel by rendering.

One dashboard answers one question; Overview leads to the others. The builders number no panels and give them no data
source, and leave gaps; `_finished` does it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from processors import panels as p
from processors.catalogue import ROWS, row_of, watched
from processors.panels import CHAIN, GREEN, PROCESS, RED, SOURCE, YELLOW, Panel
from processors.row import GROUPS, Group, Row
from streams.metrics import ProcessMetrics

TAG = "fvm-pulse"
COLUMNS = 24
DEEP = (("count", ""), ("bucket", ',le="5.0"'))
UP_DOWN = {"0": ("down", RED), "1": ("up", GREEN)}
FIRING = 'ALERTS{alertstate="firing",alertname=~"Fvm.*"}'
BY_HAND = {"fvm_window_upgrade", "pulse_redis_up", "pulse_redis_persistence_up", "pulse_build_info"}
"""Rows with a panel of their own."""
ON_OTHERS: dict[Group, str] = {
    "activity": "activity",
    "gas": "activity",
    "truth": "pipeline",
    "pipeline": "pipeline",
    "redis": "redis",
    "thresholds": "overview",
}
"""Where a group of rows is shown; every other group is about the economy."""


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: its name in the address, the question that it answers, and its panels."""

    name: str
    title: str
    description: str
    panels: Callable[[], Iterable[Panel]]


def _rows(group: Group) -> Iterator[Row]:
    return (row for row in ROWS if row.group == group and row.metric not in BY_HAND)


def _groups(board: str) -> Iterator[Panel]:
    """The rows of every group that this board shows, under the group's title."""
    for group, title in GROUPS.items():
        rows = list(_rows(group))
        if rows and ON_OTHERS.get(group, "economy") == board:
            yield build.Row(title)
            yield from map(p.of_row, rows)


def _of_processes(*, endpoints: bool) -> Iterator[Panel]:
    """The metrics that each process counts for itself, about its endpoints or about the rest."""
    for metric in vars(ProcessMetrics(CollectorRegistry())).values():
        if not isinstance(metric, MetricWrapperBase):
            continue
        labels = list(metric._labelnames)  # noqa: SLF001 (the client tells a metric's labels nowhere else)
        family = next(iter(metric.describe()))
        if ("endpoint" in labels) != endpoints or family.name == "pulse_endpoint_up":
            continue
        if family.type == "counter":
            yield p.of_counter(f"{family.name}_total", family.documentation, labels)
        elif family.type == "histogram":
            yield p.of_histogram(family.name, family.documentation, labels)
        else:
            yield p.of_gauge(family.name, family.documentation, labels)


def _standing() -> Panel:
    """Indicators with their values and levels, joined by Grafana on the indicator's name."""
    value = (
        'max by (indicator, window) (fvm:indicator:value{network=~"$network"}'
        f" and on (network, indicator, window) fvm_indicator_info{{{CHAIN}}})"
    )
    levels = {
        ref: f'max by (indicator) (fvm_indicator_threshold{{{CHAIN},severity="{severity}"}})'
        for ref, severity in (("B", "warning"), ("C", "critical"), ("D", "info"))
    }
    names = {"indicator": "indicator", "window": "window", "Value #A": "value", "Value #B": "warning", "Value #C": "critical"}
    return p.listing(
        "Indicators against thresholds",
        "What is watched, and the levels in force. Choose one network: of several the largest value is shown.",
        {"A": value, **levels},
        "indicator",
        {**names, "Value #D": "goal"},
    )


def _firing() -> Panel:
    names = ["alertname", "severity", "network", "indicator", "window", "endpoint", "stream"]
    by = ", ".join(names)
    return p.listing(
        "Alerts that fire",
        "As Prometheus sees it, before Alertmanager groups, silences and inhibits.",
        {"A": f"max by ({by}) ({FIRING})"},
        "alertname",
        {name: name for name in names},
    )


def _health() -> Iterator[Panel]:
    yield p.figure(
        "Coverage, least of the windows",
        "Share of the epochs of the windows that are known; indicators alert at 100 % only.",
        "percentunit",
        f"min by (network) (pulse_window_coverage_ratio{{{CHAIN}}})",
        p.steps((None, RED), (0.9, YELLOW), (1, GREEN)),
    )
    yield p.figure(
        "Age of the figures",
        "Age of the newest processed tipset.",
        "s",
        f"time() - max by (network) (pulse_processed_timestamp_seconds{{{CHAIN}}})",
        p.steps((None, GREEN), (120, YELLOW), (300, RED)),
    )
    yield p.figure(
        "Behind the node",
        "Epochs between the node's head and what is processed; 1 or 2 is normal.",
        "none",
        f"max by (network) (pulse_head_epoch{{{CHAIN}}}) - max by (network) (pulse_processed_epoch{{{CHAIN}}})",
        p.steps((None, GREEN), (4, YELLOW), (10, RED)),
    )
    yield p.figure(
        "Unreconciled burn",
        p.text(row_of("pulse_burn_unreconciled_attofil")),
        p.unit_name("attoFIL"),
        f"max by (network) (pulse_burn_unreconciled_attofil{{{CHAIN}}})",
        p.steps((None, GREEN), (1, YELLOW)),
    )


def _overview() -> Iterator[Panel]:
    yield build.Row("How far to trust the figures")
    yield from _health()
    yield build.Row("Indicators")
    yield from (p.of_indicator(row, indicator) for row, indicator in watched())
    yield _standing()
    yield _firing()


def _activity() -> Iterator[Panel]:
    yield from _groups("activity")


def _economy() -> Iterator[Panel]:
    yield from _groups("economy")
    yield build.Row("Burn and fees")
    for metric in ("filecoin_rolling_burned_fil", "fvm_total_burn_share_ratio", "filecoin_base_fee_attofil"):
        yield p.of_row(row_of(metric))


def _lags() -> Panel:
    """The node's age and ours side by side: has the chain halted, or are we slow?"""
    return p.graph(
        "Age of the node's head and of ours",
        "Both rise: the chain halted, or the node is cut off. Only ours: we are slow.",
        "s",
        (f"time() - max by (network) (pulse_head_timestamp_seconds{{{CHAIN}}})", "{{network}} node"),
        (f"time() - max by (network) (pulse_processed_timestamp_seconds{{{CHAIN}}})", "{{network}} processed"),
        span=24,
    )


def _pipeline() -> Iterator[Panel]:
    yield build.Row("From the node to the figures")
    yield _lags()
    yield p.spread("Latency of tipsets", "From a node's notice of a tipset to its figures in Redis.", "pulse_tipset_latency_seconds")
    upgrade = f"max by (network, window) (fvm_window_upgrade{{{CHAIN}}})"
    words = {"0": ("no", GREEN), "1": ("upgrade inside", YELLOW)}
    yield p.timeline("Upgrades", p.text(row_of("fvm_window_upgrade")), upgrade, "{{network}} {{window}}", words).span(12).height(9)
    yield from _groups("pipeline")
    yield build.Row("What processes count")
    yield from _of_processes(endpoints=False)


def _endpoints() -> Iterator[Panel]:
    yield build.Row("Endpoints")
    up = f"max by (endpoint) (pulse_endpoint_up{{{PROCESS}}})"
    yield p.timeline("Endpoints", "Whether each endpoint is connected and talking.", up, "{{endpoint}}", UP_DOWN)
    requests = f"sum by (endpoint, method) (rate(pulse_rpc_requests_total{{{PROCESS}}}[$__rate_interval]))"
    failed = f'sum by (endpoint, method) (rate(pulse_rpc_requests_total{{{PROCESS},outcome!="ok"}}[$__rate_interval]))'
    name, says = "Share of requests that failed", "Refused or not answered in time, of all; a null round is a refusal too."
    yield p.graph(name, says, "percentunit", (f"{failed} / {requests}", "{{endpoint}} {{method}}"))
    yield from _of_processes(endpoints=True)


def _runtime() -> Iterator[Panel]:
    each, second = "{{job}} {{instance}}", "[$__rate_interval]"
    yield p.graph(
        "Memory of the processes", "Resident set.", "bytes", (f"max by (job, instance) (process_resident_memory_bytes{{{PROCESS}}})", each)
    )
    cpu = f"max by (job, instance) (rate(process_cpu_seconds_total{{{PROCESS}}}{second}))"
    yield p.graph("CPU of the processes", "Seconds a second: 1 is a core.", "percentunit", (cpu, each))
    files = f"max by (job, instance) (process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}})"
    yield p.graph("File descriptors in use", "Open of allowed.", "percentunit", (files, each))
    garbage = f"sum by (job, instance) (rate(python_gc_collections_total{{{PROCESS}}}{second}))"
    yield p.graph("Garbage collections", "Of all generations, a second.", "ops", (garbage, each))
    scrape = f"max by (job, instance) (scrape_duration_seconds{{{PROCESS}}})"
    yield p.graph("Duration of scrapes", "Each reads Redis once.", "s", (scrape, each))
    count = f"max by (job, instance) (scrape_samples_scraped{{{PROCESS}}})"
    yield p.graph("Series of each process", "Samples in the last scrape.", "short", (count, each))


def _redis() -> Iterator[Panel]:
    yield build.Row("Whether Redis can be relied on")
    for metric, name in (("pulse_redis_up", "Redis"), ("pulse_redis_persistence_up", "Writes of Redis to disk")):
        expr = f"min by (job, instance) ({metric}{{{PROCESS}}})"
        yield p.timeline(name, p.text(row_of(metric)), expr, "{{job}} {{instance}}", UP_DOWN).span(12)
    yield from _groups("redis")
    yield build.Row("Processes")
    running = f"max by (job, instance, role, version, python) (pulse_build_info{{{PROCESS}}})"
    names = ["instance", "role", "version", "python", "job"]
    yield p.listing("What runs", p.text(row_of("pulse_build_info")), {"A": running}, "instance", {name: name for name in names})
    yield from _runtime()


BOARDS = (
    Board("overview", "Overview", "The FVM economy against its thresholds, and how far to trust the figures.", _overview),
    Board("activity", "Activity and gas", "Who uses contracts, and what gas and FIL they consume, by class.", _activity),
    Board("economy", "Economy", "Power, supply, pools and bridges.", _economy),
    Board("pipeline", "Pipeline", "Whether the figures are current and exact; if not, whether the chain or we are to blame.", _pipeline),
    Board("endpoints", "Endpoints", "How each node behaves.", _endpoints),
    Board("redis", "Redis and runtime", "Memory, disk and processes.", _redis),
)


def _choice(name: str, query: str, *, several: bool) -> build.QueryVariable:
    found = build.QueryVariable(name).label(name.capitalize()).datasource(SOURCE).query(query).multi(several).include_all(several)
    day = dashboard.VariableOption(text="24h", value="24h", selected=True)
    found = found.all_value(".+") if several else found.current(day)
    return found.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)


def _annotation(name: str, color: str, expr: str) -> build.AnnotationQuery:
    return build.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)


def _framed(board: Board) -> build.Dashboard:
    """Title, variables, links and annotations: the same on every board."""
    deep = [f"increase(pulse_reorg_depth_epochs_{part}{{{CHAIN}{more}}}[$__rate_interval])" for part, more in DEEP]
    versions = f"count by (version) (pulse_build_info{{{PROCESS}}})"
    return (
        build.Dashboard(f"FVM Pulse / {board.title}")
        .uid(f"fvm-pulse-{board.name}")
        .description(board.description)
        .tags([TAG, "filecoin"])
        .readonly()
        .refresh("30s")
        .time("now-24h", "now")
        .timezone("utc")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            build.DashboardLink("FVM Pulse")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_choice("job", "label_values(pulse_build_info, job)", several=True))
        .with_variable(_choice("network", f"label_values(pulse_processed_epoch{{{PROCESS}}}, network)", several=True))
        .with_variable(_choice("window", f"label_values(pulse_window_coverage_ratio{{{CHAIN}}}, window)", several=False))
        .annotation(_annotation("Reorgs deeper than 5 epochs", "orange", " - ".join(f"sum by (network) ({one})" for one in deep) + " > 0"))
        .annotation(_annotation("Upgrades of the network", "purple", 'fvm:window:upgrade{network=~"$network",window="$window"} > 0'))
        .annotation(_annotation("New versions", "blue", f"{versions} unless {versions.replace('})', '} offset 5m)')}"))
    )


def rendered(board: Board) -> str:
    """The JSON that Grafana provisions."""
    found = _framed(board)
    for panel in board.panels():
        found = found.with_row(panel) if isinstance(panel, build.Row) else found.with_panel(panel)
    encoded: str = JSONEncoder(sort_keys=True, indent=2).encode(_finished(found.build()))
    return encoded + "\n"


def _finished(board: dashboard.Dashboard) -> dashboard.Dashboard:
    """With numbers, sources and places: from left to right, a new line where a panel does not fit or a row begins."""
    x = y = tallest = 0
    for number, panel in enumerate(board.panels or [], 1):
        panel.id_val = number
        place = panel.grid_pos or dashboard.GridPos()
        if isinstance(panel, dashboard.Panel):
            panel.datasource = SOURCE
        if x + place.w > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        panel.grid_pos = dashboard.GridPos(h=place.h, w=place.w, x=x, y=y)
        x, tallest = x + place.w, max(tallest, place.h)
    return board
