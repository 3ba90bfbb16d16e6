from prometheus_client import CollectorRegistry, generate_latest

from streams.metrics import ProcessMetrics


def test_known_series_are_there_from_the_start() -> None:
    """Counters of a known network and endpoint show 0 before anything happened."""
    registry = CollectorRegistry()
    metrics = ProcessMetrics(registry)
    metrics.announce_network("devnet")
    metrics.announce_endpoints(["node1"])
    text = generate_latest(registry).decode()
    for series in (
        'pulse_reorgs_total{network="devnet"} 0.0',
        'pulse_reorg_depth_epochs_bucket{le="900.0",network="devnet"} 0.0',
        'pulse_incomplete_receipts_total{network="devnet"} 0.0',
        'pulse_skipped_tipsets_total{network="devnet"} 0.0',
        'pulse_dead_letters_total{stream="logs"} 0.0',
        'pulse_endpoint_up{endpoint="node1"} 0.0',
        'pulse_endpoint_reconnects_total{endpoint="node1"} 0.0',
    ):
        assert series in text
    assert "_created" not in text


def test_two_processes_of_one_test_share_nothing() -> None:
    """No global registry: the same names can be made twice."""
    first, second = CollectorRegistry(), CollectorRegistry()
    ProcessMetrics(first).dead_letters.labels("logs").inc()
    ProcessMetrics(second)
    assert first.get_sample_value("pulse_dead_letters_total", {"stream": "logs"}) == 1
    assert second.get_sample_value("pulse_dead_letters_total", {"stream": "logs"}) is None
