"""The catalogue: the only place with a metric's name, help, unit, labels, meaning and thresholds.

The exporter, the alert rules, the dashboards, the docs, the page and `fvm-pulse indicators` all read these rows. A row's
function never knows its own name. Every series of a row about the chain also carries the label `network`.
"""

from collections.abc import Iterator

from processors.row import Row, Unit
from processors.rows_chain import ACTIVITY, GAS
from processors.rows_deployments import DEPLOYMENTS, TRACES
from processors.rows_economy import ECONOMY
from processors.rows_pools import FLOWS, POOLS
from processors.rows_pulse import PIPELINE, REDIS, THRESHOLDS, TRUTH
from processors.thresholds import Indicator

ROWS: tuple[Row, ...] = (*ACTIVITY, *DEPLOYMENTS, *GAS, *ECONOMY, *POOLS, *FLOWS, *TRUTH, *TRACES, *PIPELINE, *REDIS, *THRESHOLDS)

INDICATORS: tuple[Indicator, ...] = tuple(indicator for row in ROWS for indicator in row.indicators)


def watched() -> Iterator[tuple[Row, Indicator]]:
    """Every indicator with the row of its metric."""
    for row in ROWS:
        for indicator in row.indicators:
            yield row, indicator


def row_of(metric: str) -> Row:
    """The row of this metric."""
    return next(row for row in ROWS if row.metric == metric)


def unit_of(row: Row, indicator: Indicator) -> Unit:
    """The unit of an indicator's value: a baseline makes it a ratio."""
    return "ratio" if indicator.baseline_days else row.unit
