"""The ledger of a real Redis: what is missing, and which hole comes next."""

import pytest
from redis.asyncio import Redis

from processors import ledger
from processors.folds import Contribution
from processors.ledger import missing, newest_hole
from processors.store import Store
from processors.windows import parse_all
from streams.chain import Published
from streams.history import Hole
from tests.processors.strategies import NETWORK, rewind, tipset
from tests.processors.test_sink import logs_of


@pytest.fixture
async def store(redis: Redis) -> Store:
    """A store that keeps a good deal."""
    made = Store(redis, NETWORK)
    await made.configure(parse_all(["1h"]))
    return made


async def hold(store: Store, height: int, parent: int | None, sequence: int, *, logs: bool = True) -> None:
    """Write a tipset, into both streams or into one."""
    record = tipset(height, parent, sequence)
    await store.apply(record, Contribution())
    if logs:
        await store.apply(logs_of(record), Contribution())


async def test_a_store_with_one_tipset_lacks_all_below_it(store: Store) -> None:
    """The hole reaches from the tipset down to the floor."""
    await hold(store, 1000, None, 7)
    assert len(await missing(store, 990, 1000)) == 10
    assert await newest_hole(store, 990, 1000) == Hole(Published(1000, tipset(1000, None, 7).hash), 989)
    assert await newest_hole(store, 1000, 1000) is None


async def test_null_rounds_are_known_and_what_one_stream_lacks_is_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest hole comes first, however small the pieces that are read; what is emptied is missing again."""
    monkeypatch.setattr(ledger, "HEIGHTS_AT_ONCE", 3)
    await hold(store, 1000, 996, 1)
    await hold(store, 1003, 1000, 2, logs=False)
    await hold(store, 1005, None, 3)
    assert len(await missing(store, 997, 1005)) == 4
    assert await newest_hole(store, 990, 1005) == Hole(Published(1005, tipset(1005, None, 3).hash), 1000)
    await hold(store, 1005, 1004, 4)
    await hold(store, 1004, 1000, 5)
    assert await newest_hole(store, 997, 1005) is None
    assert await newest_hole(store, 995, 1005) == Hole(Published(1000, tipset(1000, 996, 1).hash), 994)
    await store.apply(rewind(1003, 1005, 6))
    assert await newest_hole(store, 997, 1005) is None  # above every tipset: the head's
    assert len(await missing(store, 997, 1005)) == 2


async def test_a_hole_below_what_no_window_wants_is_reached_from_above(store: Store) -> None:
    """So deep the hash of a tipset is not kept: the walk begins at the lowest one whose hash is, whatever was filled below it."""
    for height, parent in ((5000, 3990), (3990, 3985), (3985, 3979), (3979, 3970)):
        await hold(store, height, parent, height)
    assert await missing(store, 3960, 5000) == [*range(3970, 3959, -1)]
    assert await newest_hole(store, 3960, 5000) == Hole(Published(3985, tipset(3985, 3979, 3985).hash), 3959)
    found = await newest_hole(store, 3970, 5000, again={3979})
    assert found == Hole(Published(3985, tipset(3985, 3979, 3985).hash), 3978)


async def test_a_longer_window_misses_what_was_left_out_for_the_shorter(store: Store) -> None:
    """Its tipsets were too deep to be kept whole: they are filled again, and the window has them then."""
    for height, parent in ((5000, 3990), (3990, 3979), (3979, 3970)):
        await hold(store, height, parent, height)
    assert await missing(store, 3971, 5000) == []
    await store.configure(parse_all(["1h", "24h"]))
    assert await missing(store, 3971, 5000) == [3979]
    assert await newest_hole(store, 3971, 5000) == Hole(Published(3990, tipset(3990, 3979, 3990).hash), 3978)
    await hold(store, 3979, 3970, 6000)
    assert await missing(store, 3971, 5000) == []
    window = (await store.snapshot()).streams["tipsets"].windows["24h"]
    assert (window.processed, window.null) == (3, 5000 - 3970 - 3)


async def test_heights_are_filled_again_where_that_is_wanted(store: Store) -> None:
    """A height that is held counts as a hole when it is named, below the next tipset that is not."""
    for height in range(1000, 1006):
        await hold(store, height, height - 1, height)
    found = await newest_hole(store, 1000, 1005, again={1002, 1003})
    assert found == Hole(Published(1004, tipset(1004, 1003, 1004).hash), 1001)


async def test_what_was_passed_over_is_no_hole(store: Store) -> None:
    """The next hole below it is; but what is to be filled again is one, whatever was said of it."""
    await hold(store, 1000, None, 1)
    await hold(store, 1005, None, 2)
    await hold(store, 1006, None, 3)
    above = Published(1005, tipset(1005, None, 2).hash)
    assert await newest_hole(store, 996, 1006, but={1004}) == Hole(above, 1000)
    assert await newest_hole(store, 996, 1006, but={1002, 1001}) == Hole(above, 1002)
    low = Published(1000, tipset(1000, None, 1).hash)
    assert await newest_hole(store, 996, 1006, but=range(1001, 1005)) == Hole(low, 995)
    assert await newest_hole(store, 996, 1006, again={1003}, but=range(996, 1005)) == Hole(above, 1002)
    assert await newest_hole(store, 996, 1006, but=range(996, 1005)) is None
