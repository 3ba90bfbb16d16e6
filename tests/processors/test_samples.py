from hypothesis import given
from hypothesis import strategies as st

from processors import samples
from processors.readings import Snapshot, StreamReading, WindowReading
from streams.records import Stream
from tests.processors.snapshots import FIL, snapshot, tipsets, window

EMPTY = Snapshot("devnet")
SILENT = Snapshot("devnet", {"tipsets": StreamReading(), "logs": StreamReading(windows={"20e": window(processed=0)})})


def test_nothing_is_known_without_a_head() -> None:
    """Before the first record there are no samples, not zeros."""
    for function in (samples.distinct("sender"), samples.summed("all_gas"), samples.by_class(("dex",), lambda *_: 0.0)):
        assert list(function(EMPTY)) == []
        assert list(function(SILENT)) == []
    for function in (samples.coverage, samples.epochs, samples.processed_epoch, samples.unreconciled, samples.fact("height")):
        assert list(function(EMPTY)) == []


def test_windows_come_shortest_first() -> None:
    """Whatever order the store has them in."""
    reading = StreamReading(head=9, windows={"b": window("b", 30), "a": window("a", 5)})
    assert [found.name for found in samples.windows(Snapshot("devnet", {"tipsets": reading}))] == ["a", "b"]


def test_classes_are_there_from_the_start() -> None:
    """A class without any traffic has 0 once the stream has a head."""
    function = samples.by_class(("dex", "nft"), lambda reading, name: reading.sums.get(f"gas:{name}", 0))
    assert list(function(snapshot())) == [({"class": "dex", "window": "20e"}, 300), ({"class": "nft", "window": "20e"}, 0)]


def test_ratios_without_a_whole_are_absent() -> None:
    """An empty window has no shares."""
    for figure in (samples.gas_share, samples.burn_share, samples.total_burn_share, samples.unclassified_share, samples.burnt_fil):
        assert figure(window()) is None
    assert samples.burnt_known(window(processed=0)) is None


def test_shares() -> None:
    """Each share is its part over its own whole."""
    reading = tipsets()
    assert samples.gas_share(reading) == 0.4
    assert samples.burn_share(reading) == 0.3
    assert samples.total_burn_share(reading) == 0.25
    assert samples.unclassified_share(reading) == 0.1
    assert samples.burnt_known(reading) == 1.0
    assert samples.burnt_fil(reading) == 12.0


@given(st.integers(min_value=1, max_value=10**40), st.integers(min_value=1, max_value=10**40))
def test_ratio_of_huge_amounts(part: int, whole: int) -> None:
    """AttoFIL beyond 2**64 make no difference to a share."""
    assert samples.ratio(part * FIL, whole * FIL) == part / whole


def test_growth_needs_both_windows_in_full() -> None:
    """A half-known past or present gives no growth."""
    assert samples.project_growth(tipsets()) == 0.4
    assert samples.project_growth(tipsets(processed=17)) is None
    assert samples.project_growth(tipsets(prior_processed=19)) is None
    assert samples.project_growth(tipsets(prior_distinct={})) is None


def test_coverage_is_the_least_of_the_streams() -> None:
    """A window is known as far as its worst stream, and not at all while a stream has nothing."""
    assert list(samples.coverage(snapshot())) == [({"window": "20e"}, 1.0)]
    assert list(samples.coverage(snapshot(logs=window(processed=5)))) == [({"window": "20e"}, 0.25)]
    only = Snapshot("devnet", {"tipsets": StreamReading(head=9, windows={"20e": window()})})
    assert list(samples.coverage(only)) == [({"window": "20e"}, 0.0)]


def test_a_stream_that_lags_behind_knows_nothing_of_what_is_newer() -> None:
    """Its own window may be full: of the one that ends at the newest head it lacks as much as it is behind."""
    full = {"120e": window("120e", 120, processed=120)}
    for lag, share in ((samples.LAG_EPOCHS, 1.0), (30, 0.75), (500, 0.0)):
        readings: dict[Stream, StreamReading] = {
            "tipsets": StreamReading(head=900, windows=full),
            "logs": StreamReading(head=900 - lag, windows=full),
        }
        lagging = Snapshot("devnet", readings)
        assert list(samples.coverage(lagging)) == [({"window": "120e"}, share)]
        missing = next(value for labels, value in samples.epochs(lagging) if labels["state"] == "missing")
        assert missing == (lag if lag > samples.LAG_EPOCHS else 0)


def test_the_ledger_of_the_worst_stream() -> None:
    """Missing epochs of any stream show."""
    shown = [(labels["state"], value) for labels, value in samples.epochs(snapshot())]
    assert shown == [("processed", 88), ("null", 8), ("missing", 3), ("incomplete", 0)]


def test_processed_epoch_waits_for_every_stream() -> None:
    """The least head; nothing while a stream has none."""
    assert list(samples.processed_epoch(snapshot())) == [({}, 99)]
    assert list(samples.processed_epoch(Snapshot("devnet", {"tipsets": StreamReading(head=9)}))) == []


def test_unreconciled_looks_at_the_shortest_window_only() -> None:
    """A longer window does not stand in for it."""
    assert list(samples.unreconciled(snapshot())) == [({}, 7)]
    reading = StreamReading(head=9, windows={"a": window("a", 5), "b": tipsets()})
    assert list(samples.unreconciled(Snapshot("devnet", {"tipsets": reading}))) == []


def test_projects_that_used_nothing_have_no_series() -> None:
    """Only projects with gas show."""
    assert list(samples.project_gas(snapshot())) == [({"project": "sushi", "window": "20e"}, 300)]


def test_total_adds_classes_only() -> None:
    """`gas:` does not match `all_gas` or `project_gas:`."""
    assert samples.total(WindowReading("a", 1, {"gas:x": 1, "gas:y": 2, "all_gas": 50, "project_gas:z": 9}), "gas") == 3
