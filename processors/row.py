"""A row of the catalogue: one metric, with its meaning and what is watched about it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from processors.samples import Samples
from processors.thresholds import Indicator

Group: TypeAlias = Literal["activity", "gas", "economy", "pools", "flows", "truth", "pipeline", "redis", "thresholds"]
Unit: TypeAlias = Literal[
    "addresses",
    "contracts",
    "messages",
    "events",
    "projects",
    "gas",
    "FIL",
    "attoFIL",
    "ratio",
    "epochs",
    "seconds",
    "state",
    "any",
    "bytes",
    "USD",
    "tokens",
    "rails",
    "keys",
    "connections",
    "commands",
]

Need: TypeAlias = Literal["power", "reward", "supply", "circulating", "pools", "price", "loans", "bridges", "payments", "before"]
"""What a figure rests on beside the tipsets; `before` is the window of the same length just before."""

GROUPS: dict[Group, str] = {
    "activity": "Activity",
    "gas": "Gas and burn",
    "economy": "Economy",
    "pools": "Pools and value locked",
    "flows": "Bridges and payments for storage",
    "truth": "Truth",
    "pipeline": "Pipeline",
    "redis": "Redis",
    "thresholds": "Thresholds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric.

    `help` is one line for Prometheus, `definition` what is counted, `silent` what the figure does not say, `claim` what the
    article says about it (in other words than its own). Without `samples` the exporter itself knows the value. `counted`
    figures are counts over the epochs of a window, so holes in it make them wrong; the others are read from the state. `needs` is what
    must be there for a value, `stretch_epochs` how far back a figure without a window looks. `share` is the metric that says how much is
    known of what a figure is the sum of: below 1 nobody judges it.
    """

    metric: str
    help: str
    unit: Unit
    group: Group
    samples: Samples | None
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"
    definition: str = ""
    silent: str = ""
    claim: str = ""
    indicators: tuple[Indicator, ...] = ()
    counted: bool = True
    needs: tuple[Need, ...] = ()
    stretch_epochs: int = 0
    share: str = ""

    @property
    def chain(self) -> bool:
        """Whether the series belong to a network, and so carry its label."""
        return self.metric != "pulse_build_info" and not self.metric.startswith("pulse_redis_")

    @property
    def all_labels(self) -> tuple[str, ...]:
        """The labels with `network`, in the order of the exposition."""
        return (("network",) if self.chain else ()) + self.labels
