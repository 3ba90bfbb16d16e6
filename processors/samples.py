"""From a snapshot to the samples of a metric: small functions, none of which knows a metric's name.

A sample is its labels and its value. What is not known gives no sample, never 0: a stream without a head gives nothing,
a ratio with a denominator of 0 gives nothing. Amounts turn from attoFIL into FIL here and nowhere earlier.
"""

from collections.abc import Callable, Iterable, Iterator

from processors.readings import Snapshot, StreamReading, WindowReading
from streams.records import COUNTED_STREAMS, Stream

Sample = tuple[dict[str, str], float]
Samples = Callable[[Snapshot], Iterable[Sample]]
Figure = Callable[[WindowReading], float | None]

ATTOFIL_PER_FIL = 10**18
LAG_EPOCHS = 10
"""How far one stream may be behind another without that being told: five minutes, as old as a head may be."""


def known(snapshot: Snapshot, stream: Stream) -> StreamReading | None:
    """The stream's reading, once anything of it was processed."""
    reading = snapshot.streams.get(stream)
    return reading if reading is not None and reading.head is not None else None


def windows(snapshot: Snapshot, stream: Stream = "tipsets") -> Iterator[WindowReading]:
    """The stream's windows, the shortest first."""
    if reading := known(snapshot, stream):
        yield from sorted(reading.windows.values(), key=lambda window: window.epochs)


def ratio(part: int, whole: int) -> float | None:
    """`part / whole` of integers of any size, None where there is no whole."""
    return part / whole if whole else None


def total(window: WindowReading | StreamReading, field: str) -> int:
    """The sum of `field:<class>` over the classes."""
    prefix = field + ":"
    return sum(value for name, value in window.sums.items() if name.startswith(prefix))


def gas_burn(window: WindowReading) -> int:
    """What all messages burnt for gas, in attoFIL."""
    return window.sums.get("all_base_fee_burn", 0) + window.sums.get("all_over_estimation_burn", 0)


# Shapes of metrics: each takes what is counted and answers with a function of the snapshot.


def per_window(figure: Figure, stream: Stream = "tipsets", **fixed: str) -> Samples:
    """One sample per window where `figure` knows the value; `fixed` are further labels."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for window in windows(snapshot, stream):
            value = figure(window)
            if value is not None:
                yield {**fixed, "window": window.name}, value

    return samples


def summed(field: str, stream: Stream = "tipsets", **fixed: str) -> Samples:
    """The window's sum of one field."""
    return per_window(lambda window: window.sums.get(field, 0), stream, **fixed)


def distinct(kind: str) -> Samples:
    """The window's number of distinct members of one kind."""
    return per_window(lambda window: window.distinct.get(kind, 0))


def by_class(classes: Iterable[str], figure: Callable[[WindowReading, str], float], stream: Stream = "tipsets") -> Samples:
    """One sample per class and window; every class is there from the start, with 0."""
    names = tuple(classes)

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for window in windows(snapshot, stream):
            for name in names:
                yield {"class": name, "window": window.name}, figure(window, name)

    return samples


def joined(*parts: Samples) -> Samples:
    """The samples of several functions, one after the other."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for part in parts:
            yield from part(snapshot)

    return samples


def fact(name: str) -> Samples:
    """A number of `latest`, as it stands there."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        if text := snapshot.latest.get(name):
            yield {}, float(text)

    return samples


# Figures of one window.


def gas_share(window: WindowReading) -> float | None:
    """FEVM gas of all gas."""
    return ratio(total(window, "gas"), window.sums.get("all_gas", 0))


def burn_share(window: WindowReading) -> float | None:
    """FEVM gas burn of all gas burn."""
    return ratio(total(window, "burn"), gas_burn(window))


def total_burn_share(window: WindowReading) -> float | None:
    """What FEVM messages burnt, for gas and by calls, of the rise of f099, both over the tipsets whose rise is known."""
    burnt = window.sums.get("f099_fevm_burn", 0) + window.sums.get("f099_fevm_sent", 0)
    return ratio(burnt, window.sums.get("f099_rise", 0))


def burnt_fil(window: WindowReading) -> float | None:
    """The rise of f099, where known."""
    return window.sums.get("f099_rise", 0) / ATTOFIL_PER_FIL if window.sums.get("f099_known", 0) else None


def burnt_known(window: WindowReading) -> float | None:
    """The share of processed tipsets whose rise of f099 is known."""
    return ratio(window.sums.get("f099_known", 0), window.processed)


def unclassified_share(window: WindowReading) -> float | None:
    """Gas under `unknown` of all FEVM gas."""
    return ratio(window.sums.get("gas:unknown", 0), total(window, "gas"))


def project_growth(window: WindowReading) -> float | None:
    """Active projects against the window just before."""
    return against_before(window, window.distinct.get("project", 0), window.prior_distinct.get("project", 0))


def deployer_growth(window: WindowReading) -> float | None:
    """Deployers against the window just before."""
    return against_before(window, window.distinct.get("deployer", 0), window.prior_distinct.get("deployer", 0))


def new_deployers(window: WindowReading) -> float | None:
    """Deployers that made nothing before the window; what came before must be known over a window's length at least."""
    return window.new_deployers if window.prior_coverage >= 1 else None


def deployment_growth(window: WindowReading) -> float | None:
    """Contracts that messages created against the window just before."""
    return against_before(window, window.sums.get("deployments:direct", 0), window.prior_sums.get("deployments:direct", 0))


def against_before(window: WindowReading, now: int, before: int) -> float | None:
    """Growth against the window just before; both must be known in full."""
    return ratio(now - before, before) if window.coverage >= 1 and window.prior_coverage >= 1 else None


def internal_deployments(window: WindowReading) -> float | None:
    """Contracts that contracts created, where any traces are known."""
    return window.sums.get("deployments:internal", 0) if window.sums.get("traced", 0) else None


def traced(window: WindowReading) -> float | None:
    """The share of processed tipsets whose traces are known."""
    return ratio(window.sums.get("traced", 0), window.processed)


def kept_deployments(snapshot: Snapshot) -> Iterator[Sample]:
    """Contracts created over everything kept, of both kinds."""
    if reading := known(snapshot, "tipsets"):
        yield {}, total(reading, "deployments")


def first_epoch(snapshot: Snapshot) -> Iterator[Sample]:
    """The oldest epoch kept."""
    reading = known(snapshot, "tipsets")
    if reading is not None and reading.since is not None:
        yield {}, reading.since


def project_gas(snapshot: Snapshot) -> Iterator[Sample]:
    """Gas by project and window, for the projects that used any."""
    prefix = "project_gas:"
    for window in windows(snapshot):
        for field, value in sorted(window.sums.items()):
            if field.startswith(prefix) and value:
                yield {"project": field.removeprefix(prefix), "window": window.name}, value


# Facts about the pipeline.


def _heads(snapshot: Snapshot) -> dict[Stream, int]:
    """The head of each stream that has one."""
    return {one: reading.head for one in COUNTED_STREAMS if (reading := known(snapshot, one)) and reading.head is not None}


def _lag_epochs(snapshot: Snapshot, stream: Stream) -> int:
    """How far a stream is behind the one that is furthest, 0 where it only takes a moment longer."""
    heads = _heads(snapshot)
    lag = max(heads.values()) - heads[stream] if stream in heads else 0
    return lag if lag > LAG_EPOCHS else 0


def coverage(snapshot: Snapshot) -> Iterator[Sample]:
    """The share of each window's heights that is known in every stream; what one that lags behind has not seen is not known."""
    least: dict[str, float] = {}
    for stream in COUNTED_STREAMS:
        lag = _lag_epochs(snapshot, stream)
        for window in windows(snapshot, stream):
            share = max(window.coverage - lag / window.epochs, 0.0)
            least[window.name] = min(least.get(window.name, 1.0), share)
    whole = all(known(snapshot, stream) for stream in COUNTED_STREAMS)
    for name, value in least.items():
        yield {"window": name}, value if whole else 0.0


def unreconciled(snapshot: Snapshot) -> Iterator[Sample]:
    """What computed and chain burn differ by over the shortest window, in attoFIL."""
    for window in windows(snapshot):
        if window.sums.get("f099_known", 0):
            yield {}, window.sums.get("unreconciled", 0)
        return


def epochs(snapshot: Snapshot) -> Iterator[Sample]:
    """The ledger of the stream that misses most."""
    readings = [(reading, _lag_epochs(snapshot, stream)) for stream in COUNTED_STREAMS if (reading := known(snapshot, stream))]
    if readings:
        worst, lag = max(readings, key=lambda one: one[0].missing + one[1])
        yield {"state": "processed"}, worst.processed
        yield {"state": "null"}, worst.null
        yield {"state": "missing"}, worst.missing + lag
    for window in [*windows(snapshot)][-1:]:
        yield {"state": "incomplete"}, window.sums.get("incomplete", 0)


def processed_epoch(snapshot: Snapshot) -> Iterator[Sample]:
    """The height up to which every stream is processed."""
    heads = _heads(snapshot)
    if len(heads) == len(COUNTED_STREAMS):
        yield {}, min(heads.values())
