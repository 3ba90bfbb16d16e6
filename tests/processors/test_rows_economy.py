"""The rows about the economy: what they are named after, and what they leave to be said."""

from processors.rows_economy import ECONOMY


def test_state_is_not_counted() -> None:
    """A hole in a window leaves samples of the state right; only where upgrades lie depends on the windows."""
    assert {row.group for row in ECONOMY} == {"economy"}
    assert not any(row.counted for row in ECONOMY if row.samples is not None and row.metric != "fvm_window_upgrade")


def test_each_row_says_what_it_does_not_say() -> None:
    """Figures about power and supply are misread easily."""
    assert all(row.definition and row.silent for row in ECONOMY if row.indicators)


def test_the_article_s_levels_are_goals() -> None:
    """Growth, capacity, what is locked and its yield are compared with what was claimed."""
    goals = {one.name: goal.goal for row in ECONOMY for one in row.indicators if (goal := one.presets.get("article"))}
    assert goals["power_growth"] == 0.62
    assert goals["stored_capacity"] == 1.8e18
    assert len(goals) == len([row for row in ECONOMY if any("article" in one.presets for one in row.indicators)])
