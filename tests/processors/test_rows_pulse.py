import pytest

from processors.rows_pulse import PIPELINE, THRESHOLDS, TRUTH
from tests.processors.snapshots import NOW, snapshot

ROWS = {row.metric: row for row in (*TRUTH, *PIPELINE, *THRESHOLDS)}


@pytest.mark.parametrize(
    "metric,values",
    [
        ("pulse_window_coverage_ratio", [1]),
        ("pulse_epochs", [88, 8, 3, 0]),
        ("pulse_burn_unreconciled_attofil", [7]),
        ("pulse_burn_coverage_ratio", [1]),
        ("pulse_unclassified_gas_share_ratio", [0.1]),
        ("pulse_head_epoch", [101]),
        ("pulse_processed_epoch", [99]),
        ("pulse_head_timestamp_seconds", [NOW - 30]),
        ("pulse_processed_timestamp_seconds", [NOW - 60]),
    ],
)
def test_figures(metric: str, values: list[float]) -> None:
    """Each row reads its own field."""
    samples = ROWS[metric].samples
    assert samples is not None
    assert [value for _, value in samples(snapshot())] == values


def test_the_exporter_s_own_rows() -> None:
    """What no snapshot knows is left to the exporter."""
    own = {name for name, row in ROWS.items() if row.samples is None}
    assert own == {"pulse_redis_up", "pulse_build_info", "fvm_indicator_threshold", "fvm_indicator_info"}
