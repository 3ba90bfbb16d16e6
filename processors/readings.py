"""What one read of the store shows: plain values, no Redis.

A `Snapshot` is taken in one round trip; the catalogue, the exporter, the page and the commands read nothing else.
Amounts are integers in attoFIL, windows are `(H-W, H]` in epochs, with `H` the newest processed height of the stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.records import Stream


@dataclass(frozen=True, slots=True)
class WindowReading:
    """One stream's totals over one window, and the distinct members of the window of the same length just before.

    `sums` are by field, `distinct` are counts by kind of member; `prior_sums` has the fields that are kept for twice a window.
    `processed` and `null` count heights of the window. `new_deployers` are those deployers of the window that made nothing before it,
    as far back as twice the longest window; None while that is being looked at.
    """

    name: str
    epochs: int
    sums: dict[str, int] = field(default_factory=dict)
    distinct: dict[str, int] = field(default_factory=dict)
    processed: int = 0
    null: int = 0
    prior_distinct: dict[str, int] = field(default_factory=dict)
    prior_processed: int = 0
    prior_null: int = 0
    prior_sums: dict[str, int] = field(default_factory=dict)
    new_deployers: int | None = None

    @property
    def coverage(self) -> float:
        """The share of the window's heights that are known: processed or null."""
        return (self.processed + self.null) / self.epochs

    @property
    def prior_coverage(self) -> float:
        """The same for the window just before."""
        return (self.prior_processed + self.prior_null) / self.epochs


@dataclass(frozen=True, slots=True)
class StreamReading:
    """One stream: its newest processed height, the ledger over every height kept, and its windows by name.

    `since` is the oldest height kept and `sums` what lasts, over all of them. `ranked` are the largest ranked members, the largest
    first, over the last `ranked_epochs`.
    """

    head: int | None = None
    processed: int = 0
    null: int = 0
    missing: int = 0
    windows: dict[str, WindowReading] = field(default_factory=dict)
    since: int | None = None
    sums: dict[str, int] = field(default_factory=dict)
    ranked: tuple[tuple[str, int], ...] = ()
    ranked_epochs: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """An integer that was read of the state after the tipset at `height`."""

    value: int
    height: int


@dataclass(frozen=True, slots=True)
class StateReading:
    """What was sampled of the state, now and before.

    Attributes:
        head: the newest height with a sample, None if there is none.
        latest: the newest sample of each name, not older than 120 epochs.
        past: by epochs back (2880, 20160, 86400, 259200), the nearest sample of each name at or before that height, if one is near.
        since: the lowest height that was ever sampled, None if there is none.
    """

    head: int | None = None
    latest: Mapping[str, Sample] = field(default_factory=dict)
    past: Mapping[int, Mapping[str, Sample]] = field(default_factory=dict)
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known about one network; `latest` holds facts of the newest tipset and of the node's head."""

    network: str
    streams: dict[Stream, StreamReading] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    state: StateReading = field(default_factory=StateReading)
