"""The alerts on the pipeline itself: what keeps the figures from being current, kept, or exact.

Each is a condition that somebody can act on; its section of the runbook (`docs/operations.md`) bears its name, and its link
opens the dashboard that shows what it is about. Where two processes see the same thing, such as an endpoint that the standby
does not connect to, the best of them counts.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from streams.errors import UsageError

BoardName: TypeAlias = Literal["overview", "activity", "economy", "pipeline", "endpoints", "redis"]
"""Of a dashboard, and the end of its uid."""
CHOSEN = "{{ with $labels.network }}?var-network={{ . }}{{ with $labels.window }}&var-window={{ . }}{{ end }}{{ end }}"
"""The dashboard's variables by the alert's labels, where it has them; neither label needs quoting in a URL."""
FRESH_SECONDS = 600
LAG_RECORDS = 100
RECONNECTS = 5
DISAGREEMENTS = 2
PROBE_FAILURES = 3
NEARLY_FULL_RATIO = 0.85


@dataclass(frozen=True, slots=True)
class Links:
    """Where an alert's links lead.

    Attributes:
        grafana: the root of Grafana, as those who are told reach it; by default where the compose file publishes it.
        runbook: the page with a section for each alert; by default its path in the project, since where that is published is
            not ours to know.

    Raises:
        UsageError: `grafana` is no address of the web.
    """

    grafana: str = "http://127.0.0.1:3000"
    runbook: str = "docs/operations.md"

    def __post_init__(self) -> None:
        if not self.grafana.startswith(("http://", "https://")):
            raise UsageError(f"--grafana-url {self.grafana}: an address that begins with http:// or https:// is needed")

    def dashboard(self, board: BoardName) -> str:
        """A dashboard of ours, as a template of Prometheus."""
        return f"{self.grafana.rstrip('/')}/d/fvm-pulse-{board}{CHOSEN}"


LINKS = Links()


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert rule; `hold` is its `for`, `keep` its `keep_firing_for`, `board` the dashboard to look at."""

    name: str
    expr: str
    summary: str
    description: str
    board: BoardName
    hold: str = ""
    keep: str = ""
    severity: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """The anchor of its section in the runbook."""
        return self.name.lower()

    def plain(self, links: Links) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.hold:
            rule["for"] = self.hold
        if self.keep:
            rule["keep_firing_for"] = self.keep
        labels = {**({"severity": self.severity} if self.severity else {}), **self.labels}
        if labels:
            rule["labels"] = labels
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "dashboard_url": links.dashboard(self.board),
            "runbook_url": f"{links.runbook}#{self.anchor}",
        }
        return rule


_UP = "max by (job) (pulse_endpoint_up) == 1"
_NODE_AGE = "time() - max by (job, network) (pulse_head_timestamp_seconds)"

PIPELINE = (
    Alert(
        name="FvmNodeSilent",
        board="endpoints",
        expr="max by (job) (pulse_endpoint_up) == 0",
        hold="3m",
        severity="critical",
        summary="No node talks to us.",
        description="Every endpoint of {{ $labels.job }} is down.",
    ),
    Alert(
        name="FvmChainHalted",
        board="pipeline",
        expr=f"{_NODE_AGE} > 300\n  and on (job) {_UP}",
        hold="5m",
        severity="warning",
        summary="The node is connected and its head stands still.",
        description="The newest tipset of {{ $labels.network }} that a node knows is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        name="FvmPipelineBehind",
        board="pipeline",
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
        board="pipeline",
        expr=f"fvm:head:age_seconds > {FRESH_SECONDS}",
        hold="5m",
        severity="critical",
        summary="The figures are old.",
        description="{{ $labels.network }}: the newest processed tipset is {{ $value | humanizeDuration }} old; indicators do not alert.",
    ),
    Alert(
        name="FvmConsumerLag",
        board="pipeline",
        expr=(
            f"sum by (job, network, stream) (pulse_consumer_lag_records) > {LAG_RECORDS}\n"
            "  and sum by (job, network, stream) (delta(pulse_consumer_lag_records[15m])) >= 0"
        ),
        hold="15m",
        keep="5m",
        severity="warning",
        summary="Workers do not keep up with Kafka.",
        description="{{ $labels.network }}, stream {{ $labels.stream }}: {{ $value }} records wait, and they do not become fewer.",
    ),
    Alert(
        name="FvmExporterGone",
        board="redis",
        expr='absent(pulse_build_info{role=~"run|export"})',
        hold="5m",
        severity="critical",
        summary="No exporter answers.",
        description="Prometheus reaches no process that shows indicators and thresholds.",
    ),
    Alert(
        name="FvmProcessDown",
        board="redis",
        expr='up{job=~"fvm-pulse.*"} == 0',
        hold="10m",
        severity="warning",
        summary="A process does not answer.",
        description="{{ $labels.instance }} of {{ $labels.job }} can not be scraped.",
    ),
    Alert(
        name="FvmEndpointDown",
        board="endpoints",
        expr=(
            "max by (job, endpoint) (pulse_endpoint_up) == 0\n"
            f"  and max by (job, endpoint) (pulse_endpoint_wanted) == 1\n  and on (job) {_UP}"
        ),
        hold="15m",
        severity="warning",
        summary="One of the endpoints is down.",
        description="{{ $labels.endpoint }} is down; another one serves.",
    ),
    Alert(
        name="FvmEndpointFlapping",
        board="endpoints",
        expr=f"sum by (job, endpoint) (increase(pulse_endpoint_reconnects_total[30m])) > {RECONNECTS}",
        keep="15m",
        severity="warning",
        summary="An endpoint comes and goes.",
        description='{{ $labels.endpoint }} was connected again about {{ $value | printf "%.0f" }} times in the last 30 minutes.',
    ),
    Alert(
        name="FvmEndpointsDisagree",
        board="endpoints",
        expr=(
            "sum by (job, endpoint, verdict)"
            f' (increase(pulse_endpoint_comparisons_total{{verdict=~"chain|receipts"}}[1h])) > {DISAGREEMENTS}'
        ),
        keep="30m",
        severity="warning",
        summary="Two endpoints hold different things deep in the chain.",
        description=(
            "{{ $labels.endpoint }} differs from the leader ({{ $labels.verdict }}):"
            ' about {{ $value | printf "%.0f" }} tipsets in the last hour.'
        ),
    ),
)
"""What keeps the figures from being current, in the order of the path."""

STORE = (
    Alert(
        name="FvmRedisDown",
        board="redis",
        expr="min by (job) (pulse_redis_up) == 0",
        hold="2m",
        severity="critical",
        summary="Redis can not be read.",
        description="A process of {{ $labels.job }} can not read Redis.",
    ),
    Alert(
        name="FvmRedisNearlyFull",
        board="redis",
        expr=(
            'max by (job) (pulse_redis_memory_bytes{kind="used"})\n'
            f'  / min by (job) (pulse_redis_memory_bytes{{kind="max"}})\n  > {NEARLY_FULL_RATIO}'
        ),
        hold="10m",
        severity="warning",
        summary="Redis is nearly full.",
        description="{{ $labels.job }}: {{ $value | humanizePercentage }} of Redis's memory is used; when it is full, nothing is applied.",
    ),
    Alert(
        name="FvmRedisEvicting",
        board="redis",
        expr="max by (job) (increase(pulse_redis_evicted_keys_total[15m])) > 0",
        keep="15m",
        severity="critical",
        summary="Redis throws figures away.",
        description='{{ $labels.job }}: about {{ $value | printf "%.0f" }} keys were evicted in the last 15 minutes.',
    ),
    Alert(
        name="FvmRedisNotSaving",
        board="redis",
        expr="min by (job) (pulse_redis_persistence_up) == 0",
        hold="10m",
        severity="warning",
        summary="Redis can not write its file.",
        description="{{ $labels.job }}: the last write of Redis to disk failed; a restart would lose figures.",
    ),
)
"""What keeps the figures from being kept."""


def _counted(name: str, metric: str, by: str, summary: str, subject: str) -> Alert:
    """An alert on any increase of a counter that should stand still."""
    return Alert(
        name=name,
        board="pipeline",
        expr=f"sum by ({by}) (increase({metric}[15m])) > 0",
        keep="15m",
        severity="warning",
        summary=summary,
        description=f"{subject}: about {{{{ $value | humanize }}}} in the last 15 minutes.",
    )


def _deeper_than(epochs: int) -> str:
    """Reorgs of the last half hour that took back more than one of the histogram's bounds."""
    return (
        "sum by (network) (increase(pulse_reorg_depth_epochs_count[30m]))\n"
        f'  - sum by (network) (increase(pulse_reorg_depth_epochs_bucket{{le="{epochs}.0"}}[30m]))\n  > 0'
    )


TRUTH = (
    Alert(
        name="FvmCoverageMissing",
        board="pipeline",
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
        board="pipeline",
        expr=(
            "max by (network) (pulse_burn_unreconciled_attofil) > 0\n"
            "  and min by (network) (min_over_time(pulse_burn_unreconciled_attofil[1d])) == 0"
        ),
        hold="10m",
        severity="warning",
        summary="Computed burn and f099 disagree where they used to agree.",
        description="{{ $labels.network }}: {{ $value | humanize }} attoFIL are not explained over the shortest window.",
    ),
    _counted(
        "FvmTipsetsSkipped", "pulse_skipped_tipsets_total", "network", "Tipsets are left out: no node tells them.", "{{ $labels.network }}"
    ),
    _counted("FvmDeadLetters", "pulse_dead_letters_total", "job, stream", "Records could not be applied.", "stream {{ $labels.stream }}"),
    _counted(
        "FvmIncompleteReceipts",
        "pulse_incomplete_receipts_total",
        "network",
        "Receipts, logs or code of contracts are incomplete.",
        "{{ $labels.network }}",
    ),
    _counted(
        "FvmLogMismatches", "pulse_log_mismatches_total", "network", "Streamed logs differ from the receipts.", "{{ $labels.network }}"
    ),
    Alert(
        name="FvmRereadsDiffer",
        board="pipeline",
        expr=(f'sum by (network, depth, result) (increase(pulse_rereads_total{{result=~"different|disputed"}}[1h])) > {DISAGREEMENTS}'),
        keep="30m",
        severity="warning",
        summary="Tipsets read again are not what was published.",
        description=(
            "{{ $labels.network }}, read again at {{ $labels.depth }} depth: {{ $labels.result }},"
            ' about {{ $value | printf "%.0f" }} tipsets in the last hour.'
        ),
    ),
    Alert(
        name="FvmProbesFailing",
        board="pipeline",
        expr=f"sum by (network, probe) (increase(pulse_probe_failures_total[1h])) > {PROBE_FAILURES}",
        hold="10m",
        keep="15m",
        severity="warning",
        summary="A reading of the state keeps failing.",
        description='{{ $labels.network }}: probe {{ $labels.probe }} failed about {{ $value | printf "%.0f" }} times in the last hour.',
    ),
    Alert(
        name="FvmDeepReorg",
        board="pipeline",
        expr=_deeper_than(10),
        keep="15m",
        severity="warning",
        summary="A reorg was deeper than 10 epochs.",
        description="{{ $labels.network }}: about {{ $value | humanize }} such reorgs in the last 30 minutes.",
    ),
    Alert(
        name="FvmReorgBeyondFinality",
        board="pipeline",
        expr=_deeper_than(900),
        keep="1h",
        severity="critical",
        summary="A reorg was deeper than 900 epochs.",
        description="{{ $labels.network }}: the chain, or the node, took back what counts as final; long windows may lack epochs.",
    ),
)
"""What keeps the figures from being exact."""

WATCHDOG = Alert(
    name="Watchdog",
    board="overview",
    expr="vector(1)",
    severity="none",
    summary="Alerting works.",
    description="This alert always fires; its silence means that alerts do not arrive.",
)
