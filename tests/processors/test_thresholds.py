from dataclasses import dataclass, replace
from typing import Literal

import pytest

from processors.thresholds import HOLDS, Indicator, Threshold, watches
from streams.errors import UsageError

FLOOR = Indicator(
    name="floor",
    title="Floor",
    window="24h",
    presets={"default": Threshold("below", warn=20, critical=1), "article": Threshold("below", goal=50_000)},
)
BARE = Indicator(name="bare", title="Bare", window="24h")


@dataclass(frozen=True)
class Change:
    """What an operator wrote."""

    warn: float | None = None
    critical: float | None = None
    hold: str | None = None
    bound: Literal["below", "above"] | None = None
    window: str | None = None


def test_the_most_severe_level_counts() -> None:
    """Crossing is strict, and the worst level crossed is told."""
    floor = Threshold("below", warn=20, critical=1, goal=100)
    assert [floor.crossed(value) for value in (0, 1, 19, 20, 99, 100)] == ["critical", "warning", "warning", "info", "info", None]
    assert Threshold("above", warn=0.9).crossed(0.9) is None
    assert Threshold("above", warn=0.9).crossed(0.91) == "warning"


def test_the_article_adds_goals() -> None:
    """The preset `article` keeps the default floors and adds a level of severity info."""
    assert FLOOR.at("default") == Threshold("below", warn=20, critical=1)
    assert FLOOR.at("article") == Threshold("below", warn=20, critical=1, goal=50_000)
    assert BARE.at("article") is None


def test_overrides_replace_what_they_name() -> None:
    """What is not named stays the preset's."""
    (watch,) = watches([FLOOR], overrides={"floor": Change(warn=40, hold="6h")})
    assert watch.threshold == Threshold("below", warn=40, critical=1)
    assert watch.hold == "6h"


def test_another_window() -> None:
    """An operator who keeps other windows watches one of those."""
    (watch,) = watches([FLOOR], overrides={"floor": Change(window="1h")}, windows=["1h", "2h"])
    assert (watch.indicator.window, watch.threshold) == ("1h", Threshold("below", warn=20, critical=1))
    (shown,) = watches([BARE], overrides={"bare": Change(window="1h")}, windows=["1h"])
    assert (shown.indicator.window, shown.threshold) == ("1h", None)
    with pytest.raises(UsageError, match=r"thresholds\.floor\.window: '3h' is not allowed: floor has 1h, 2h"):
        watches([FLOOR], overrides={"floor": Change(window="3h")}, windows=["1h", "2h"])
    looks_back = replace(FLOOR, stretches=("7d", "90d"))
    (watch,) = watches([looks_back], overrides={"floor": Change(window="90d")}, windows=["1h"])
    assert watch.indicator.window == "90d"
    with pytest.raises(UsageError, match=r"thresholds\.floor\.window: '1h' is not allowed: floor has 7d, 90d"):
        watches([looks_back], overrides={"floor": Change(window="1h")}, windows=["1h"])
    still = Indicator(name="still", title="Still", window="", presets={"default": Threshold("below", warn=1)})
    with pytest.raises(UsageError, match=r"thresholds\.still\.window: '1h' is not allowed"):
        watches([still], overrides={"still": Change(window="1h")})


def test_another_bound_forgets_the_preset() -> None:
    """Levels of a floor make no sense as a ceiling."""
    (watch,) = watches([FLOOR], overrides={"floor": Change(warn=40, bound="above")})
    assert watch.threshold == Threshold("above", warn=40)


@pytest.mark.parametrize(
    "name,change,says",
    [
        ("flor", Change(warn=1), "thresholds.flor: no such indicator: allowed are floor, bare"),
        ("floor", Change(hold="7m"), f"thresholds.floor.for: '7m' is not allowed: allowed are {', '.join(HOLDS)}"),
        ("floor", Change(critical=30), r"critical \(30\) must lie below warn \(20\)"),
        ("floor", Change(warn=5, critical=4, bound="above"), r"critical \(4\) must lie above warn \(5\)"),
        ("floor", Change(warn=float("nan")), "thresholds.floor.warn: nan is not allowed"),
        ("floor", Change(bound="above"), "thresholds.floor.bound: 'above' without a level: give warn or critical"),
        ("bare", Change(warn=1), "thresholds.bare: bound is needed"),
    ],
)
def test_what_can_not_be_is_refused(name: str, change: Change, says: str) -> None:
    """One line that names the key, the value and what is allowed."""
    with pytest.raises(UsageError, match=says):
        watches([FLOOR, BARE], overrides={name: change})
