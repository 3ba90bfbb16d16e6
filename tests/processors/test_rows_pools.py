from processors.rows_pools import FLOWS, POOLS


def test_state_is_not_counted_and_events_are() -> None:
    """A hole in a window makes sums of events wrong, and leaves samples of the state right."""
    assert not any(row.counted for row in POOLS)
    assert all(row.counted for row in FLOWS)
    assert all("window" in row.labels for row in FLOWS)


def test_each_row_says_what_it_does_not_say() -> None:
    """Figures about money are misread most easily."""
    assert all(row.silent and row.definition for row in (*POOLS, *FLOWS))


def test_the_article_s_levels_are_goals_and_nobody_is_woken_for_them() -> None:
    """They are shown beside the truth; what pages are falls, and assets that are not there."""
    levels = {one.name: one for row in (*POOLS, *FLOWS) for one in row.indicators}
    goals = {name: goal.goal for name, one in levels.items() if (goal := one.presets.get("article"))}
    assert goals == {"liquidity_lent": 1.6e9, "pool_apy": 0.18, "pool_growth": 0.40, "tvl": 300e6, "storage_revenue_growth": 0.59}
    critical = {name for name, one in levels.items() if (default := one.presets.get("default")) and default.critical is not None}
    assert critical == {"pool_unbacked", "pool_fall", "tvl_growth"}
    assert round((1 + 0.59) ** 3 - 1, 1) == 3.0
