"""Rounds, medians and how they are shown."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

Value = float | int | str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found.

    Attributes:
        name: of the benchmark, for `--json`.
        title: what was measured, in a sentence.
        rows: one per contender or figure, all with the same columns; units stand in their names.
        notes: what has to be known to read them, and what was aimed at.
    """

    name: str
    title: str
    rows: Sequence[Mapping[str, Value]]
    notes: Sequence[str] = ()


@dataclass(slots=True)
class Rounds:
    """What the contenders of one benchmark needed, round by round; each round gives all of them the same work.

    Attributes:
        seconds: by contender, one figure per round.
        cpu_seconds: the same for the processor time of all processes that took part.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, seconds: float, cpu_seconds: float = 0.0) -> None:
        """One round of one contender."""
        self.seconds.setdefault(contender, []).append(seconds)
        self.cpu_seconds.setdefault(contender, []).append(cpu_seconds)

    def median_seconds(self, contender: str) -> float:
        """Of all rounds."""
        return median(self.seconds[contender])

    def ratio(self, contender: str, other: str) -> float:
        """How fast `contender` is compared with `other`: the median of the rounds' ratios, 2 if it needs half the time."""
        return median(theirs / ours for ours, theirs in zip(self.seconds[contender], self.seconds[other], strict=True))

    def cpu_ratio(self, contender: str, other: str) -> float:
        """The same by processor time, of all rounds together: single ones are too short for the kernel's clock."""
        return sum(self.cpu_seconds[other]) / (sum(self.cpu_seconds[contender]) or float("nan"))

    def spread(self, contender: str, other: str) -> str:
        """The lowest and the highest ratio of a round."""
        ratios = [theirs / ours for ours, theirs in zip(self.seconds[contender], self.seconds[other], strict=True)]
        return f"{min(ratios):.2f} to {max(ratios):.2f}"

    def fastest(self, contenders: Iterable[str]) -> str:
        """The one with the lowest median."""
        return min(contenders, key=self.median_seconds)


def turned(contenders: Sequence[str], turn: int) -> list[str]:
    """The order of a round: each goes first in turn, so that none has the warmer cache."""
    start = turn % len(contenders)
    return [*contenders[start:], *contenders[:start]]


def percentile(values: Sequence[float], percent: int) -> float:
    """Inclusive, so that the highest is never exceeded."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def machine() -> dict[str, Any]:
    """Where this runs."""
    return {"python": platform.python_version(), "system": platform.platform(), "processors": os.cpu_count(), "load": os.getloadavg()[0]}


def show(report: Report, console: Console) -> None:
    """The report as a table."""
    table = Table(title=report.title, title_justify="left", title_style="bold")
    columns = list(report.rows[0])
    for column in columns:
        table.add_column(column.replace("_", " "), justify="left" if column == columns[0] else "right", overflow="fold")
    for row in report.rows:
        table.add_row(*(_shown(row[column]) for column in columns))
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", style="dim", highlight=False)
    console.print()


def _shown(value: Value) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"
        case int():
            return f"{value:,}"
        case str():
            return value
