from processors.catalogue import INDICATORS
from processors.standings import standings
from processors.thresholds import watches
from processors.trail import Point, Trail
from tests.processors.snapshots import NOW, snapshot, tipsets

WATCHES = watches(INDICATORS)
DAY = standings(snapshot(first=tipsets(name="24h"), logs=tipsets(name="24h")), WATCHES, NOW)


def test_at_most_one_value_an_interval() -> None:
    """A value that comes too early is not kept, one that a timer brings a little early is."""
    trail = Trail(every_seconds=60)
    for now in (0, 10, 59, 61, 121):
        trail.note("devnet", DAY, now)
    assert trail.points("devnet", "active_addresses") == (Point(0, 5), Point(59, 5), Point(121, 5))


def test_it_is_bounded() -> None:
    """The oldest go first; networks do not mix."""
    trail = Trail(every_seconds=1, kept=3)
    for now in range(10):
        trail.note("devnet", DAY, now)
    assert [point.at_seconds for point in trail.points("devnet", "active_addresses")] == [7, 8, 9]
    assert trail.points("mainnet", "active_addresses") == ()


def test_what_is_not_known_stays_so() -> None:
    """A window that is not kept has no value, and none is made up."""
    trail = Trail()
    trail.note("devnet", standings(snapshot(), WATCHES, NOW), 0)
    assert trail.points("devnet", "active_addresses") == (Point(0, None),)
