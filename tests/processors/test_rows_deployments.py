"""Rows about deployments, on a snapshot whose figures can be checked by hand."""

from typing import Any

import pytest

from processors.readings import Snapshot, StreamReading, WindowReading
from processors.rows_deployments import DEPLOYMENTS, TRACES
from tests.processors.snapshots import window

ROWS = {row.metric: row for row in (*DEPLOYMENTS, *TRACES)}


def of(**more: Any) -> WindowReading:
    """A window of 20 epochs, traced in part, and the one before it."""
    values: dict[str, Any] = {
        "sums": {"deployments:direct": 6, "deployments:internal": 9, "traced": 15},
        "distinct": {"deployed_code": 5, "deployer": 3},
        "prior_sums": {"deployments:direct": 4},
        "prior_distinct": {"deployer": 2},
        "prior_processed": 20,
        "new_deployers": 2,
    }
    return window(**{**values, **more})


def values(metric: str, first: WindowReading, **labels: str) -> list[float]:
    """The row's values with these labels."""
    samples = ROWS[metric].samples
    assert samples is not None
    kept = {"deployments:direct": 60, "deployments:internal": 90, "lasts": 7}
    snapshot = Snapshot("devnet", {"tipsets": StreamReading(head=100, windows={first.name: first}, since=7, sums=kept)})
    found = list(samples(snapshot))
    assert all(set(told) == set(ROWS[metric].labels) for told, _ in found)
    return [value for told, value in found if labels.items() <= told.items()]


@pytest.mark.parametrize(
    "metric, labels, value",
    [
        ("fvm_rolling_contract_deployments", {"kind": "direct"}, 6),
        ("fvm_rolling_contract_deployments", {"kind": "internal"}, 9),
        ("fvm_contract_deployments", {}, 150),
        ("fvm_unique_contract_deployments", {}, 5),
        ("fvm_active_deployers", {}, 3),
        ("fvm_new_deployers", {}, 2),
        ("fvm_deployment_growth_ratio", {}, 0.5),
        ("fvm_deployer_growth_ratio", {}, 0.5),
        ("pulse_trace_coverage_ratio", {}, 0.75),
        ("pulse_first_epoch", {}, 7),
    ],
)
def test_figures(metric: str, labels: dict[str, str], value: float) -> None:
    """Each row reads its own field."""
    assert values(metric, of(), **labels) == [value]


def test_without_traces_internal_deployments_are_absent() -> None:
    """What is not known is not 0; that no tipset is traced is known."""
    untraced = of(sums={"deployments:direct": 6})
    assert values("fvm_rolling_contract_deployments", untraced, kind="internal") == []
    assert values("pulse_trace_coverage_ratio", untraced) == [0]
    assert values("fvm_rolling_contract_deployments", of(sums={"traced": 1}), kind="internal") == [0]


@pytest.mark.parametrize("less", [{"processed": 19}, {"prior_processed": 19}, {"prior_sums": {}, "prior_distinct": {}}])
@pytest.mark.parametrize("metric", ["fvm_deployment_growth_ratio", "fvm_deployer_growth_ratio"])
def test_growth_needs_both_windows(metric: str, less: dict[str, object]) -> None:
    """In full, and something to grow from."""
    assert values(metric, of(**less)) == []


@pytest.mark.parametrize("less", [{"new_deployers": None}, {"prior_processed": 19}])
def test_who_is_new_needs_to_know_who_was_there(less: dict[str, object]) -> None:
    """At least a window's length of what came before, and all that is kept looked at; that nobody is new is 0."""
    assert values("fvm_new_deployers", of(**less)) == []
    assert values("fvm_new_deployers", of(new_deployers=0)) == [0]


def test_nothing_is_said_before_the_first_tipset() -> None:
    """No sample of any row."""
    snapshot = Snapshot("devnet", {"tipsets": StreamReading(windows={"20e": window(processed=0)})})
    assert [list(row.samples(snapshot)) for row in ROWS.values() if row.samples] == [[]] * len(ROWS)
