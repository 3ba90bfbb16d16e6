import ast
import re
from pathlib import Path

import pytest

from processors.catalogue import INDICATORS, ROWS, unit_of, watched
from processors.row import GROUPS
from processors.thresholds import HOLDS

ROOT = Path(__file__).parents[2]


def test_names_are_unique() -> None:
    """A metric and an indicator stand in the catalogue once."""
    metrics = [row.metric for row in ROWS]
    names = [indicator.name for indicator in INDICATORS]
    assert len(metrics) == len(set(metrics))
    assert len(names) == len(set(names))


def test_names_keep_the_conventions() -> None:
    """Prefix, snake case, unit as suffix; `_total` on counters only."""
    suffixes = {"ratio": "_ratio", "seconds": "_seconds", "FIL": "_fil", "attoFIL": "_attofil", "USD": "_usd"}
    for row in ROWS:
        assert re.fullmatch(r"(fvm|filecoin|pulse)(_[a-z0-9]+)+", row.metric)
        assert row.metric.endswith(suffixes.get(row.unit, ""))
        assert row.metric.endswith("_total") == (row.kind == "counter")
        assert row.help.endswith(".")
        assert row.group in GROUPS


def test_labels_are_bounded() -> None:
    """No label holds an address, a hash, a height or a URL."""
    allowed = {"window", "class", "kind", "project", "state", "indicator", "bound", "severity", "unit", "hold", "role", "version", "python"}
    allowed |= {"pool", "source", "bridge", "token", "direction"}
    for row in ROWS:
        assert set(row.labels) <= allowed


def test_every_row_says_what_it_is() -> None:
    """The docs are written from the definitions."""
    assert all(row.definition for row in ROWS)


def test_indicators_can_be_watched() -> None:
    """Each has a hold for which there is a rule, a title, a window where its metric has one, and labels of its metric."""
    for row, indicator in watched():
        assert indicator.hold in HOLDS
        assert indicator.title
        assert indicator.window or "window" not in row.labels
        assert set(indicator.labels) <= set(row.labels) - {"window"}
        assert indicator.name.endswith("_trend") == bool(indicator.baseline_days)


def test_the_article_s_core_indicators_are_there() -> None:
    """Addresses, consumption share, gas share and deployments bear the article's levels as goals."""
    goals = {indicator.name: article.goal for indicator in INDICATORS if (article := indicator.presets.get("article"))}
    core = {"active_addresses": 50_000, "project_growth": 0.40, "gas_share": 0.34, "burn_share": 0.30, "deployments": 270_000}
    assert core.items() <= goals.items()
    money = {"liquidity_lent": 1.6e9, "pool_apy": 0.18, "pool_growth": 0.40, "tvl": 300e6, "storage_revenue_growth": 0.59}
    assert money.items() <= goals.items()


def test_a_baseline_makes_a_ratio() -> None:
    """The unit of a trend is not its metric's."""
    units = {indicator.name: unit_of(row, indicator) for row, indicator in watched()}
    assert units["active_addresses"] == "addresses"
    assert units["active_addresses_trend"] == "ratio"


RECOUNT = "tests/processors/test_run.py::test_a_replay_ends_in_the_recount"
STATE = "tests/test_state_recount.py::test_power_supply_and_f099_are_reproduced_at_every_tipset"
WORKED = "tests/processors/test_worked.py::test_"
ARTICLE: dict[str, tuple[list[str], list[str]]] = {
    "growth of effective power": (["filecoin_power_growth_annualized_ratio"], [STATE, WORKED + "power_before_solstice"]),
    "interactive addresses": (["fvm_active_addresses"], [RECOUNT, WORKED + "projects_and_addresses"]),
    "share of FIL consumed": (["fvm_burn_share_ratio"], [RECOUNT, WORKED + "a_year_of_burn"]),
    "share of gas": (["fvm_gas_share_ratio"], [RECOUNT, WORKED + "gas_and_deployments_of_a_day"]),
    "deployments": (
        ["fvm_rolling_contract_deployments", "fvm_contract_deployments"],
        [
            RECOUNT,
            "tests/processors/test_deployments.py::test_a_recorded_chain_ends_in_the_recount",
            WORKED + "gas_and_deployments_of_a_day",
        ],
    ),
    "growth of projects": (["fvm_project_growth_ratio"], [WORKED + "projects_and_addresses"]),
    "locked share": (["filecoin_locked_to_circulating_ratio", "filecoin_locked_fil"], [STATE, WORKED + "locked_share"]),
    "staking yield": (["filecoin_staking_apy_ratio"], [STATE, WORKED + "staking_yield"]),
    "liquidity lent": (["fvm_pool_assets_fil", "fvm_lent_usd"], [WORKED + "liquidity_lent", WORKED + "accounting_is_not_money"]),
    "value locked": (["fvm_tvl_usd"], [WORKED + "value_locked", "tests/processors/test_overlay.py::test_a_line_is_enough"]),
    "DeFi yield and growth of pools": (["fvm_pool_apy_ratio", "fvm_pool_growth_ratio"], [WORKED + "pools_of_the_article"]),
    "stored capacity and its growth": (
        ["filecoin_power_bytes", "filecoin_power_growth_ratio"],
        [STATE, WORKED + "a_quarter_of_58_per_cent", WORKED + "stored_bytes"],
    ),
    "storage revenue": (["fvm_storage_payments_growth_ratio"], [WORKED + "storage_revenue"]),
    "bridges and classes": (
        ["fvm_rolling_bridge_transfers"],
        [
            "tests/processors/test_overlay.py::test_a_line_is_enough",
            "tests/processors/test_inquire.py::test_the_contracts_of_a_followed_recording",
        ],
    ),
}
"""The article's fourteen: the metrics of each, and the tests that hold them against a recount or against worked numbers."""


@pytest.mark.parametrize("indicator", ARTICLE)
def test_every_indicator_of_the_article_has_a_row(indicator: str) -> None:
    """Each stands in the catalogue with what the article claims, what is counted and what that does not say."""
    rows = {row.metric: row for row in ROWS}
    for metric in ARTICLE[indicator][0]:
        row = rows[metric]
        assert row.claim, f"{indicator}: {metric} does not tell what the article says"
        assert row.definition, f"{indicator}: {metric}"
        assert row.silent, f"{indicator}: {metric} does not tell what it does not say"


@pytest.mark.parametrize("indicator", ARTICLE)
def test_every_indicator_of_the_article_is_checked_from_outside(indicator: str) -> None:
    """By a recount of a recording that shares no code, or by numbers that somebody else published."""
    for place in ARTICLE[indicator][1]:
        path, _, name = place.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}, place


def test_figures_that_look_back_by_themselves_say_how_far() -> None:
    """Who watches one may choose of just these; a count over a window may be watched over every window that is kept."""
    for row, indicator in watched():
        looks_back = "window" in row.labels and not row.counted
        assert bool(indicator.stretches) == looks_back, indicator.name
        assert not looks_back or indicator.window in indicator.stretches
