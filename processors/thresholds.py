"""Indicators and their thresholds: presets, and what an operator overrides.

An indicator is a metric over one window, with levels at which somebody wants to know. `default` are floors that ship for
everyone, and indicators relative to the network's own past; `article` adds the article's levels as goals (severity `info`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

from streams.errors import UsageError

Bound: TypeAlias = Literal["below", "above"]
Severity: TypeAlias = Literal["info", "warning", "critical"]
Preset: TypeAlias = Literal["default", "article"]

HOLDS = ("5m", "10m", "30m", "1h", "6h")
"""How long a threshold may have to be crossed before it alerts. One alert rule is rendered for each, so a change of
configuration needs no new rules."""


class Override(Protocol):
    """What the settings say about one indicator; None leaves the preset's value."""

    @property
    def warn(self) -> float | None:
        """Level of severity `warning`."""

    @property
    def critical(self) -> float | None:
        """Level of severity `critical`."""

    @property
    def hold(self) -> str | None:
        """One of `HOLDS`."""

    @property
    def bound(self) -> Bound | None:
        """Which side is bad."""

    @property
    def window(self) -> str | None:
        """The window to watch, one of those that the figure has."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Levels of one bound; crossing is strict. `goal` is a level to be told about, never to be woken for."""

    bound: Bound
    warn: float | None = None
    critical: float | None = None
    goal: float | None = None

    @property
    def levels(self) -> dict[Severity, float]:
        """The levels by severity, the most severe first."""
        pairs: tuple[tuple[Severity, float | None], ...] = (("critical", self.critical), ("warning", self.warn), ("info", self.goal))
        return {severity: level for severity, level in pairs if level is not None}

    def crossed(self, value: float) -> Severity | None:
        """The most severe level that `value` is beyond."""
        for severity, level in self.levels.items():
            if value < level if self.bound == "below" else value > level:
                return severity
        return None


@dataclass(frozen=True, slots=True)
class Indicator:
    """One metric over one window, watched; `window` is empty where the metric has none.

    `labels` choose the series where the metric has further labels; what they leave open, such as `pool`, is watched for
    each value by itself.

    `stretches` are the windows of a figure that looks back by itself, whatever windows are kept.

    With `baseline_days` the value is the metric over its own trailing average: 0.5 is half of the usual. That average is
    Prometheus's to know, so such an indicator has no value outside it.
    """

    name: str
    title: str
    window: str
    presets: Mapping[Preset, Threshold] = field(default_factory=dict)
    hold: str = "1h"
    baseline_days: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    stretches: tuple[str, ...] = ()

    def at(self, preset: Preset) -> Threshold | None:
        """The preset's threshold; `article` keeps what `default` has of the same bound."""
        chosen, default = self.presets.get(preset), self.presets.get("default")
        if chosen is None or default is None or chosen.bound != default.bound:
            return chosen or default
        return Threshold(
            bound=chosen.bound,
            warn=default.warn if chosen.warn is None else chosen.warn,
            critical=default.critical if chosen.critical is None else chosen.critical,
            goal=chosen.goal,
        )


@dataclass(frozen=True, slots=True)
class Watch:
    """An indicator with the threshold and the hold that are in force; without a threshold it is only shown."""

    indicator: Indicator
    threshold: Threshold | None
    hold: str


def watches(
    indicators: Iterable[Indicator],
    preset: Preset = "default",
    overrides: Mapping[str, Override] | None = None,
    windows: Sequence[str] = (),
) -> tuple[Watch, ...]:
    """What is watched, in the order of `indicators`, where these `windows` are kept.

    Raises:
        UsageError: an override names no indicator, or asks for what can not be.
    """
    indicators, overrides = tuple(indicators), overrides or {}
    names = [indicator.name for indicator in indicators]
    for name in overrides:
        if name not in names:
            raise UsageError(f"thresholds.{name}: no such indicator: allowed are {', '.join(names)}")
    return tuple(_watch(indicator, indicator.at(preset), overrides.get(indicator.name), windows) for indicator in indicators)


def _watch(indicator: Indicator, threshold: Threshold | None, override: Override | None, windows: Sequence[str]) -> Watch:
    if override is None:
        return Watch(indicator, threshold, indicator.hold)
    where, hold = f"thresholds.{indicator.name}", override.hold or indicator.hold
    if hold not in HOLDS:
        raise UsageError(f"{where}.for: {hold!r} is not allowed: allowed are {', '.join(HOLDS)}")
    if override.window and not indicator.window:
        raise UsageError(f"{where}.window: {override.window!r} is not allowed: {indicator.name} has no window")
    allowed = indicator.stretches or windows
    if override.window and override.window not in allowed:
        raise UsageError(f"{where}.window: {override.window!r} is not allowed: {indicator.name} has {', '.join(allowed)}")
    watched = replace(indicator, window=override.window or indicator.window)
    return Watch(watched, _levels(where, threshold, override), hold)


def _levels(where: str, threshold: Threshold | None, override: Override) -> Threshold | None:
    """The preset's levels with the override's; there may be none, and the indicator is only shown."""
    bound = override.bound or (threshold.bound if threshold else None)
    if bound is None:
        if override.warn is not None or override.critical is not None:
            raise UsageError(f'{where}: bound is needed, the preset has none: allowed are "below" and "above"')
        return None
    base = threshold if threshold and threshold.bound == bound else Threshold(bound)
    changed = replace(
        base,
        warn=base.warn if override.warn is None else override.warn,
        critical=base.critical if override.critical is None else override.critical,
    )
    if override.bound and not changed.levels:
        raise UsageError(f"{where}.bound: {bound!r} without a level: give warn or critical (what the preset has is for its own bound)")
    _check(where, changed)
    return changed


def _check(where: str, threshold: Threshold) -> None:
    """Refuses levels that are no numbers, and a critical level that is reached before the warning."""
    for key, level in (("warn", threshold.warn), ("critical", threshold.critical)):
        if level is not None and not math.isfinite(level):
            raise UsageError(f"{where}.{key}: {level} is not allowed: a number is")
    if threshold.warn is None or threshold.critical is None:
        return
    beyond = threshold.critical <= threshold.warn if threshold.bound == "below" else threshold.critical >= threshold.warn
    if not beyond:
        raise UsageError(
            f"{where}: critical ({threshold.critical:g}) must lie {threshold.bound} warn ({threshold.warn:g}), the preset's if not given"
        )
