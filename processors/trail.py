"""The recent past of the indicators, for the sparklines of the page: a short ring of values per indicator.

It lives in the process that shows the page and is lost with it; Prometheus keeps the past for everything else.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from processors.standings import Standing

EVERY_SECONDS = 60.0
KEPT = 1440
"""A day of minutes."""
EARLY = 0.9
"""A sample may come this share of the interval after the last: timers are not exact."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a Unix time; None where it was not known."""

    at_seconds: float
    value: float | None


class Trail:
    """Values of the watched windows, at most one per `every_seconds`, the newest `kept` of each indicator."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS, kept: int = KEPT) -> None:
        self.every_seconds = every_seconds
        self._kept = kept
        self._points: dict[tuple[str, str], deque[Point]] = {}

    def note(self, network: str, standings: Iterable[Standing], now: float) -> None:
        """Remember how the indicators stand, unless that was done just before."""
        for standing in standings:
            points = self._points.setdefault((network, standing.name), deque(maxlen=self._kept))
            if not points or now - points[-1].at_seconds >= self.every_seconds * EARLY:
                points.append(Point(now, standing.figure.value if standing.figure else None))

    def points(self, network: str, indicator: str) -> Sequence[Point]:
        """What is remembered, oldest first."""
        return tuple(self._points.get((network, indicator), ()))
