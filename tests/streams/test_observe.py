"""Events of the follower, as metrics and log lines."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streams.errors import NodeFault, Refusal, Silence
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
    doubts,
)
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.observe import Observer
from streams.tasks import Answered

EVENTS: list[tuple[Event, str, dict[str, str], float]] = [
    (Answered("own", "eth_chainId", "error", 0.5), "pulse_rpc_requests_total", {"method": "eth_chainId", "outcome": "error"}, 1),
    (Answered("own", "eth_chainId", "ok", 0.5), "pulse_rpc_seconds_sum", {"method": "eth_chainId"}, 0.5),
    (Nonsense("own", "a height above its child's"), "pulse_node_faults_total", {}, 1),
    (Live("own", native=True), "pulse_endpoint_up", {}, 1),
    (Sought(frozenset({"own"})), "pulse_endpoint_wanted", {}, 1),
    (Announced("own", 7), "pulse_endpoint_head_epoch", {}, 7),
    (WitnessSays("own", 7, "same"), "pulse_endpoint_comparisons_total", {"verdict": "same"}, 1),
    (WitnessSays("own", 7, "receipts"), "pulse_endpoint_comparisons_total", {"verdict": "receipts"}, 1),
    (Dropped("own", "closed", refused=False), "pulse_endpoint_up", {}, 0),
]
OF_THE_CHAIN: list[tuple[Event, str, float]] = [
    (Reorg(3), "pulse_reorgs_total", 1),
    (Reorg(3), "pulse_reorg_depth_epochs_sum", 3),
    (Incomplete(7, "1 of 2 receipts are missing"), "pulse_incomplete_receipts_total", 1),
    (LogMismatch(7), "pulse_log_mismatches_total", 1),
    (Skipped(7, "too long"), "pulse_skipped_tipsets_total", 1),
]


@pytest.fixture
def registry() -> CollectorRegistry:
    """Of one process."""
    return CollectorRegistry()


@pytest.fixture
def observe(registry: CollectorRegistry) -> Observer:
    """An observer of a follower whose network is known."""
    return Observer(Follower(["own"], network="testnet"), ProcessMetrics(registry))


@pytest.mark.parametrize("event,metric,labels,value", EVENTS)
def test_events_of_an_endpoint(
    event: Event, metric: str, labels: dict[str, str], value: float, observe: Observer, registry: CollectorRegistry
) -> None:
    """They count under its configured name."""
    observe(event)
    assert registry.get_sample_value(metric, {"endpoint": "own", **labels}) == value


@pytest.mark.parametrize("event,metric,value", OF_THE_CHAIN)
def test_events_of_the_chain(event: Event, metric: str, value: float, observe: Observer, registry: CollectorRegistry) -> None:
    """They count under the network."""
    observe(event)
    assert registry.get_sample_value(metric, {"network": "testnet"}) == value


def test_a_probe_without_a_sample_counts_under_its_name(observe: Observer, registry: CollectorRegistry) -> None:
    """So that one that always fails can be told from one that does now and then."""
    observe(NoSample("power", "no answer in 30 s"))
    assert registry.get_sample_value("pulse_probe_failures_total", {"network": "testnet", "probe": "power"}) == 1


def test_a_second_read_counts_by_depth_and_result(observe: Observer, registry: CollectorRegistry) -> None:
    """Only what differs is worth a line, which names the height and what differs."""
    with capture_logs() as lines:
        observe(Reread(7, "confirmed", "same", "own"))
        observe(Reread(8, "confirmed", "different", "own", ("receipts", "logs")))
        observe(Reread(9, "final", "different", "own", ("chain",)))
        observe(Reread(9, "final", "disputed", "own"))
        observe(Reread(9, "final", "failed", ""))
    counted = {
        (depth, result): registry.get_sample_value("pulse_rereads_total", {"network": "testnet", "depth": depth, "result": result})
        for depth, result in (("confirmed", "same"), ("confirmed", "different"), ("final", "different"), ("final", "failed"))
    }
    assert set(counted.values()) == {1}
    assert [(line["height"], line.get("differs")) for line in lines] == [(8, "receipts,logs"), (9, "chain"), (9, None)]


def test_a_reconnect_is_the_second_time_that_an_endpoint_is_live(observe: Observer, registry: CollectorRegistry) -> None:
    """The first connection is none."""
    for _ in range(3):
        observe(Live("own", native=False))
        observe(Dropped("own", "closed", refused=False))
    assert registry.get_sample_value("pulse_endpoint_reconnects_total", {"endpoint": "own"}) == 2


def test_what_an_operator_should_know_is_logged(observe: Observer) -> None:
    """One line each, with the reason; a single answer is not worth one."""
    with capture_logs() as lines:
        for event, *_ in EVENTS:
            observe(event)
        observe(Dropped("own", "the token was refused (401)", refused=True))
        observe(OutOfReach(7))
    assert [line["log_level"] for line in lines] == ["warning", "info", "warning", "warning", "warning", "warning"]
    reasons = [line.get("reason") for line in lines]
    assert reasons == [
        "a height above its child's",
        None,
        None,
        "closed",
        "the token was refused (401)",
        None,
    ]


def test_a_node_that_refuses_or_is_silent_says_nothing_untrue() -> None:
    """Only what can not be true is held against it."""
    assert doubts("own", NodeFault("two blocks at once")) == [Nonsense("own", "two blocks at once")]
    assert doubts("own", Refusal("rate limit")) == []
    assert doubts("own", Silence("no answer in 30 s")) == []
