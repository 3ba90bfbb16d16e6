"""The metrics of one process: what only it saw. State of the chain is Redis's to tell, see the catalogue.

Nothing here touches the client's global registry; every attribute is a plain `prometheus_client` object, to be used
where the event happens: `metrics.reorgs.labels(network).inc()`.
"""

from collections.abc import Iterable
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector, disable_created_metrics

from streams.events import DEPTHS, REREAD_RESULTS
from streams.records import STREAMS
from streams.witnesses import VERDICTS

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
REORG_EPOCHS = (1, 2, 3, 5, 10, 30, 120, 900)


def process_registry() -> CollectorRegistry:
    """A registry that tells of the process already: CPU, memory, file descriptors, garbage collection."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class ProcessMetrics:
    """Counters, gauges and histograms of this process, in `registry`.

    Labels: `network` as everywhere; `endpoint` is a node's configured name, never its URL; `method` is a JSON-RPC method
    that we call; `outcome` is `ok`, `error` (the node said no) or `timeout`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._of_the_chain(registry, ("network",))
        self._of_records(registry)
        self._of_endpoints(registry, ("endpoint",))

    def _of_the_chain(self, registry: CollectorRegistry, network: tuple[str]) -> None:
        self.reorgs = Counter("pulse_reorgs_total", "Reorgs followed.", network, registry=registry)
        self.reorg_depth_epochs = Histogram(
            "pulse_reorg_depth_epochs", "Epochs that a reorg took back.", network, buckets=REORG_EPOCHS, registry=registry
        )
        self.tipset_latency_seconds = Histogram(
            "pulse_tipset_latency_seconds",
            "From a node's notice of a tipset to its figures in Redis.",
            network,
            buckets=SECONDS,
            registry=registry,
        )
        self.incomplete_receipts = Counter(
            "pulse_incomplete_receipts_total",
            "Tipsets that stayed incomplete (receipts, logs, code) after reading again.",
            network,
            registry=registry,
        )
        self.log_mismatches = Counter(
            "pulse_log_mismatches_total", "Tipsets whose streamed logs differ from their receipts.", network, registry=registry
        )
        self.skipped_tipsets = Counter(
            "pulse_skipped_tipsets_total",
            "Tipsets that are left out, since the answer about them is too long or refused again and again.",
            network,
            registry=registry,
        )
        self.rereads = Counter(
            "pulse_rereads_total",
            "Published tipsets that were read again once they lay deep, by what came of it: same, different (and so published again), "
            "disputed (another node tells something else, and is not believed), repeated (an earlier run was told it in several ways), "
            "failed, skipped.",
            (*network, "depth", "result"),
            registry=registry,
        )
        self.probe_failures = Counter(
            "pulse_probe_failures_total", "Probes of the state that gave no sample.", ("network", "probe"), registry=registry
        )

    def _of_records(self, registry: CollectorRegistry) -> None:
        self.dead_letters = Counter("pulse_dead_letters_total", "Records that could not be applied.", ("stream",), registry=registry)
        self.consumer_lag_records = Gauge(
            "pulse_consumer_lag_records",
            "Records on this worker's partitions that are not applied yet.",
            ("network", "stream"),
            registry=registry,
        )

    def _of_endpoints(self, registry: CollectorRegistry, endpoint: tuple[str]) -> None:
        self.endpoint_up = Gauge("pulse_endpoint_up", "Whether the endpoint is connected and talking.", endpoint, registry=registry)
        self.endpoint_wanted = Gauge(
            "pulse_endpoint_wanted",
            "Whether the endpoint should be connected: the leader, those before it on the list, and the witnesses.",
            endpoint,
            registry=registry,
        )
        self.endpoint_reconnects = Counter(
            "pulse_endpoint_reconnects_total", "Connections that were opened again.", endpoint, registry=registry
        )
        self.node_faults = Counter(
            "pulse_node_faults_total", "Frames and answers of a node that could not be true.", endpoint, registry=registry
        )
        self.endpoint_head_epoch = Gauge(
            "pulse_endpoint_head_epoch", "Height of the head that the endpoint announced last.", endpoint, registry=registry
        )
        self.endpoint_comparisons = Counter(
            "pulse_endpoint_comparisons_total",
            "Published tipsets that another endpoint was asked about, by what it holds: same, chain, receipts, unanswered.",
            ("endpoint", "verdict"),
            registry=registry,
        )
        self.rpc_requests = Counter(
            "pulse_rpc_requests_total", "Requests to nodes, by outcome.", ("endpoint", "method", "outcome"), registry=registry
        )
        self.rpc_seconds = Histogram(
            "pulse_rpc_seconds", "Time until a node answered.", ("endpoint", "method"), buckets=SECONDS, registry=registry
        )

    def announce_network(self, network: str) -> None:
        """Shows the network's series from the start, at 0."""
        told_of = (self.incomplete_receipts, self.log_mismatches, self.skipped_tipsets)
        for metric in (self.reorgs, self.reorg_depth_epochs, self.tipset_latency_seconds, *told_of):
            metric.labels(network)
        for depth, result in product(DEPTHS, REREAD_RESULTS):
            self.rereads.labels(network, depth, result)
        for stream in STREAMS:
            self.dead_letters.labels(stream)

    def announce_endpoints(self, endpoints: Iterable[str]) -> None:
        """Shows the endpoints' series from the start: down, nothing counted."""
        for endpoint in endpoints:
            self.endpoint_up.labels(endpoint).set(0)
            self.endpoint_wanted.labels(endpoint).set(0)
            self.endpoint_reconnects.labels(endpoint)
            self.node_faults.labels(endpoint)
            for verdict in VERDICTS:
                self.endpoint_comparisons.labels(endpoint, verdict)
