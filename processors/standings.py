"""How the indicators stand: value against threshold, with the coverage that says how far to trust it.

The page, `/api/indicators` and `fvm-pulse indicators` show these, in the same words; alerts come from Prometheus alone. Indicators
against their own baseline are left out, since the past is Prometheus's to know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from processors.absence import Absence, absence
from processors.alerts import FRESH_SECONDS
from processors.catalogue import row_of, watched
from processors.readings import Snapshot, StreamReading
from processors.row import Group, Row, Unit
from processors.samples import coverage, fact, known
from processors.thresholds import Severity, Threshold, Watch
from processors.windows import EPOCH_SECONDS, FRESH_EPOCHS

State: TypeAlias = Literal["ok", "filling", "unavailable", "stale"] | Severity


@dataclass(frozen=True, slots=True)
class Figure:
    """An indicator over one window; `value` is None where it is not known, `coverage` is 0 to 1."""

    window: str
    value: float | None
    coverage: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The relative change of a value `against` that of another window: 0.1 is a tenth more."""

    against: str
    change: float


def _whole(figure: Figure | None) -> bool:
    return figure is not None and figure.value is not None and figure.coverage >= 1


@dataclass(frozen=True, slots=True)
class Standing:
    """An indicator at this moment.

    `state` is about the watched window: a severity or `ok`; `filling` while the window is not covered in full, `stale` where the newest
    figure is too old to alert, `unavailable` where nothing will come. `absence` says why there is no value, `age_seconds` how old it is.
    """

    name: str
    title: str
    metric: str
    unit: Unit
    group: Group
    window: str
    hold: str
    threshold: Threshold | None
    goal: float | None
    claim: str
    figures: dict[str, Figure] = field(default_factory=dict)
    absence: Absence | None = None
    age_seconds: float | None = None

    @property
    def trend(self) -> Trend | None:
        """How a share of the watched window compares with the next longer window; None for what is no share, or is not known in full.

        Counts of distinct members do not compare over windows of different length, and growth is a trend itself.
        """
        figure = self.figure
        if self.unit != "ratio" or self.metric.endswith("growth_ratio") or not _whole(figure):
            return None
        names = list(self.figures)
        longer = next((one for name in names[names.index(self.window) + 1 :] if _whole(one := self.figures[name])), None)
        if figure is None or figure.value is None or longer is None or not longer.value:
            return None
        return Trend(longer.window, figure.value / longer.value - 1)

    @property
    def figure(self) -> Figure | None:
        """The watched window's figure, None where that window is not kept."""
        return self.figures.get(self.window)

    @property
    def state(self) -> State:
        """`ok`, a severity, or why nothing can be said."""
        figure = self.figure
        if self.absence is not None:
            return self.absence.state
        if self.age_seconds is not None and self.age_seconds > FRESH_SECONDS:
            return "stale"
        if figure is None or figure.value is None or figure.coverage < 1:
            return "filling"
        return (self.threshold.crossed(figure.value) if self.threshold else None) or "ok"

    @property
    def reason(self) -> str | None:
        """Why there is no value, None where there is one."""
        return self.absence.reason if self.absence is not None else None

    @property
    def coverage(self) -> float | None:
        """The share of what the watched window needs that is known; None where nothing is counted."""
        if self.absence is not None and self.absence.coverage is not None:
            return self.absence.coverage
        return self.figure.coverage if self.figure is not None else None


def standings(snapshot: Snapshot, watches: Iterable[Watch], now: float) -> list[Standing]:
    """The indicators of one network at the Unix time `now`, in the catalogue's order."""
    rows = {indicator.name: row for row, indicator in watched()}
    return [_standing(snapshot, rows[watch.indicator.name], watch, now) for watch in watches if not watch.indicator.baseline_days]


def _standing(snapshot: Snapshot, row: Row, watch: Watch, now: float) -> Standing:
    indicator = watch.indicator
    values = _values(snapshot, row, watch)
    counted = row.counted and "window" in row.labels
    covered = {labels["window"]: value for labels, value in coverage(snapshot)} if counted else {}
    if row.share and (share := row_of(row.share).samples) is not None:
        covered = {indicator.window: next((value for _, value in share(snapshot)), 0.0)}
    goal = indicator.at("article")
    return Standing(
        name=indicator.name,
        title=indicator.title,
        metric=row.metric,
        unit=row.unit,
        group=row.group,
        window=indicator.window,
        hold=watch.hold,
        threshold=watch.threshold,
        goal=goal.goal if goal else None,
        claim=row.claim,
        figures={window: Figure(window, values.get(window), covered.get(window, 1.0)) for window in {**covered, **values}},
        absence=absence(snapshot, row, indicator.window) if values.get(indicator.window) is None else None,
        age_seconds=_age_of(snapshot, row, now),
    )


def _age_of(snapshot: Snapshot, row: Row, now: float) -> float | None:
    """How old the row's figure is: what is read from the state may lag behind the newest tipset, by more than its sparsest cadence."""
    age, reading, sampled = age_seconds(snapshot, now), known(snapshot, "tipsets"), snapshot.state.head
    if age is None or row.counted or reading is None or reading.head is None or sampled is None:
        return age
    lag_epochs = reading.head - sampled
    return age + lag_epochs * EPOCH_SECONDS if lag_epochs > FRESH_EPOCHS else age


def _values(snapshot: Snapshot, row: Row, watch: Watch) -> dict[str, float]:
    """The indicator's value by window; of several series of a window the worst. One without windows stands for the watched one."""
    found: dict[str, list[float]] = {}
    for labels, value in row.samples(snapshot) if row.samples else ():
        if watch.indicator.labels.items() <= labels.items():
            found.setdefault(labels.get("window", watch.indicator.window), []).append(value)
    worst = max if watch.threshold and watch.threshold.bound == "above" else min
    return {window: worst(values) for window, values in found.items()}


def age_seconds(snapshot: Snapshot, now: float) -> float | None:
    """How old the newest processed tipset is, None before the first."""
    for _, timestamp in fact("timestamp_seconds")(snapshot):
        return max(0.0, now - timestamp)
    return None


def as_json(snapshots: Sequence[Snapshot], watches: Sequence[Watch], now: float) -> dict[str, Any]:
    """What `/api/indicators` answers: networks, and in each the indicators with every window."""
    return {
        "networks": [
            {
                "network": snapshot.network,
                "age_seconds": age_seconds(snapshot, now),
                "indicators": [_plain(standing) for standing in standings(snapshot, watches, now)],
                "unknown_contracts": _unknown_contracts(snapshot),
            }
            for snapshot in snapshots
        ]
    }


def _unknown_contracts(snapshot: Snapshot) -> dict[str, Any]:
    """The contracts of class `unknown` that messages used most gas for, the most first, over a day (the window nearest to it)."""
    reading = known(snapshot, "tipsets") or StreamReading()
    return {"epochs": reading.ranked_epochs, "contracts": [{"address": address, "gas": gas} for address, gas in reading.ranked]}


def _plain(standing: Standing) -> dict[str, Any]:
    threshold, trend = standing.threshold, standing.trend
    levels = threshold.levels.items() if threshold else ()
    return {
        "indicator": standing.name,
        "title": standing.title,
        "metric": standing.metric,
        "unit": standing.unit,
        "state": standing.state,
        "reason": standing.reason,
        "coverage": standing.coverage,
        "age_seconds": standing.age_seconds,
        "watched_window": standing.window,
        "hold": standing.hold,
        "thresholds": [{"bound": threshold.bound, "severity": severity, "value": level} for severity, level in levels] if threshold else [],
        "article_goal": standing.goal,
        "trend": {"against": trend.against, "change": trend.change} if trend is not None else None,
        "windows": {figure.window: {"value": figure.value, "coverage": figure.coverage} for figure in standing.figures.values()},
    }
