"""The follower's events as metrics, log lines, and its account of itself."""

import time

import structlog

from streams.account import Account
from streams.events import (
    Announced,
    Dropped,
    Event,
    Incomplete,
    Live,
    LogMismatch,
    Nonsense,
    NoSample,
    OutOfReach,
    Reorg,
    Reread,
    Skipped,
    Sought,
    WitnessSays,
)
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.tasks import Answered

log = structlog.get_logger(__name__)


class Observer:
    """Counts what `follower` tells in `metrics`, logs what an operator wants to know, keeps `account` up to date."""

    def __init__(self, follower: Follower, metrics: ProcessMetrics) -> None:
        self._follower = follower
        self._metrics = metrics
        self._seen: set[str] = set()
        self._known_endpoints: frozenset[str] = frozenset()
        self._silent: set[str] = set()
        self.account = Account()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.account = self.account.after(event, int(time.time()))
        match event:
            case Answered() | Live() | Sought() | Announced() | WitnessSays() | Dropped() | Nonsense():
                self._of_an_endpoint(event)
            case _:
                self._of_the_chain(event, self._follower.network or "unknown")

    def _of_an_endpoint(self, event: Answered | Live | Sought | Announced | WitnessSays | Dropped | Nonsense) -> None:
        metrics = self._metrics
        match event:
            case Answered(endpoint, method, outcome, seconds):
                metrics.rpc_requests.labels(endpoint, method, outcome).inc()
                metrics.rpc_seconds.labels(endpoint, method).observe(seconds)
            case Live(endpoint, native):
                self._live(endpoint, native=native)
            case Sought(endpoints):
                for endpoint in self._known_endpoints | endpoints:
                    metrics.endpoint_wanted.labels(endpoint).set(endpoint in endpoints)
                self._known_endpoints |= endpoints
            case Announced(endpoint, height):
                metrics.endpoint_head_epoch.labels(endpoint).set(height)
            case WitnessSays(endpoint, height, verdict):
                metrics.endpoint_comparisons.labels(endpoint, verdict).inc()
                if verdict in {"chain", "receipts"}:
                    log.warning("another endpoint holds something else", endpoint=endpoint, height=height, differs=verdict)
            case Dropped(endpoint, reason, refused):
                metrics.endpoint_up.labels(endpoint).set(0)
                told = "endpoint refused" if refused else "endpoint lost" if endpoint in self._seen else "endpoint not reached"
                log.warning(told, endpoint=endpoint, reason=reason)
            case Nonsense(endpoint, reason):
                metrics.node_faults.labels(endpoint).inc()
                log.warning("endpoint said what can not be true", endpoint=endpoint, reason=reason)

    def _of_the_chain(self, event: Event, network: str) -> None:
        metrics = self._metrics
        match event:
            case Reorg(depth):
                metrics.reorgs.labels(network).inc()
                metrics.reorg_depth_epochs.labels(network).observe(depth)
            case Incomplete(height, complaint):
                metrics.incomplete_receipts.labels(network).inc()
                log.warning("a tipset stays incomplete", height=height, reason=complaint)
            case LogMismatch(height):
                metrics.log_mismatches.labels(network).inc()
                log.warning("streamed logs and receipts differ", height=height)
            case Reread():
                self._reread(event, network)
            case NoSample(probe, reason):
                metrics.probe_failures.labels(network, probe).inc()
                # A pool that answers nothing does so every few minutes: the metric counts, one line says why.
                (log.debug if probe in self._silent else log.info)("a probe gave no sample", probe=probe, reason=reason)
                self._silent.add(probe)
            case Skipped(height, reason):
                metrics.skipped_tipsets.labels(network).inc()
                log.error("a tipset can not be read, its height stays missing", height=height, reason=reason)
            case OutOfReach(height):
                log.warning("beyond the node's look-back: this height and those below stay missing", height=height)

    def _live(self, endpoint: str, *, native: bool) -> None:
        self._metrics.endpoint_up.labels(endpoint).set(1)
        if endpoint in self._seen:
            self._metrics.endpoint_reconnects.labels(endpoint).inc()
        self._seen.add(endpoint)
        log.info("endpoint live", endpoint=endpoint, kind="lotus" if native else "eth only")

    def _reread(self, event: Reread, network: str) -> None:
        self._metrics.rereads.labels(network, event.depth, event.result).inc()
        match event.result:
            case "different":
                told = "another tipset stands there" if "chain" in event.differs else "a second read differs, published again"
                log.warning(told, height=event.height, depth=event.depth, differs=",".join(event.differs), endpoint=event.endpoint)
            case "disputed":
                log.warning("a second read differs, and is not believed", height=event.height, depth=event.depth)
