import pytest

from processors.classify import CLASSES
from processors.rows_chain import ACTIVITY, GAS
from tests.processors.snapshots import snapshot

ROWS = {row.metric: row for row in (*ACTIVITY, *GAS)}


def values(metric: str, **labels: str) -> list[float]:
    samples = ROWS[metric].samples
    assert samples is not None
    return [value for found, value in samples(snapshot()) if labels.items() <= found.items()]


@pytest.mark.parametrize(
    "metric,labels,value",
    [
        ("fvm_active_addresses", {}, 5),
        ("fvm_class_active_addresses", {"class": "dex"}, 4),
        ("fvm_class_active_addresses", {"class": "nft"}, 0),
        ("fvm_active_contracts", {}, 3),
        ("fvm_rolling_messages", {"class": "dex"}, 3),
        ("fvm_rolling_failed_messages", {"class": "dex"}, 1),
        ("fvm_rolling_events", {"class": "dex"}, 9),
        ("fvm_active_projects", {}, 7),
        ("fvm_rolling_gas_used", {"class": "dex"}, 300),
        ("filecoin_rolling_gas_used", {}, 1000),
        ("fvm_gas_share_ratio", {}, 0.4),
        ("fvm_rolling_burned_fil", {"class": "dex"}, 2),
        ("filecoin_rolling_gas_burned_fil", {"kind": "base_fee"}, 9),
        ("filecoin_rolling_gas_burned_fil", {"kind": "overestimation"}, 1),
        ("filecoin_rolling_burned_fil", {}, 12),
        ("fvm_burn_share_ratio", {}, 0.3),
        ("fvm_total_burn_share_ratio", {}, 0.25),
        ("filecoin_rolling_messages", {}, 50),
        ("filecoin_base_fee_attofil", {}, 101),
        ("fvm_project_rolling_gas_used", {"project": "sushi"}, 300),
    ],
)
def test_figures(metric: str, labels: dict[str, str], value: float) -> None:
    """Each row reads its own field, in its own unit."""
    assert values(metric, **labels) == [value]


def test_every_class_has_a_series() -> None:
    """Once per class and window, labels as declared."""
    for row in ROWS.values():
        assert row.samples is not None
        found = [labels for labels, _ in row.samples(snapshot())]
        assert all(tuple(labels) == row.labels or set(labels) == set(row.labels) for labels in found)
        if "class" in row.labels:
            assert [labels["class"] for labels in found] == list(CLASSES)
