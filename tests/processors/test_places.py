"""The places of a group in a real Redis that comes back as another one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from processors.places import Places
from streams.errors import StoreFault

ONE, TWO, THERE = ("fvm.here.tipsets", 0), ("fvm.here.logs", 3), ("fvm.there.logs", 1)


def places(redis: Redis, group: str = "tests") -> Places:
    return Places(redis, group, "fvm")


async def test_the_lower_of_the_two_counts(redis: Redis) -> None:
    """Of Kafka and Redis; where either knows nothing, everything is read."""
    first = places(redis)
    assert await first.starts({ONE: 7, TWO: None, THERE: 9}) == {ONE: 0, TWO: 0, THERE: 0}
    assert await first.keep({ONE: 5, TWO: 8, THERE: 9})
    assert await places(redis).starts({ONE: 7, TWO: 6, THERE: None}) == {ONE: 5, TWO: 6, THERE: 0}


async def test_groups_are_kept_apart(redis: Redis) -> None:
    """Another group has places of its own."""
    first = places(redis)
    await first.starts({ONE: 7})
    await first.keep({ONE: 7})
    assert await places(redis, "others").starts({ONE: 7}) == {ONE: 0}


async def test_a_place_in_an_emptied_redis_can_not_be_moved(redis: Redis) -> None:
    """Whether another member was faster to make it anew or not."""
    first, second = places(redis), places(redis)
    await first.starts({ONE: 7})
    await second.starts({ONE: 7})
    await first.keep({ONE: 7})
    await redis.flushall()
    assert not await first.keep({ONE: 8})
    again = places(redis)
    assert await again.starts({ONE: 8}) == {ONE: 0}
    assert await again.keep({ONE: 1})
    assert not await second.keep({ONE: 8})
    assert await places(redis).starts({ONE: 8}) == {ONE: 1}


async def test_a_rebalance_in_another_redis_does_not_hide_it(redis: Redis) -> None:
    """What was read from before stays doubtful, although the places were asked for again."""
    first = places(redis)
    await first.starts({ONE: 7})
    await redis.flushall()
    assert await first.starts({ONE: 7}) == {ONE: 0}
    assert not await first.keep({ONE: 7})


async def test_while_redis_is_away_kafka_decides(tmp_path: Path) -> None:
    """And the member starts again with Redis."""
    one = places(Redis(unix_socket_path=str(tmp_path / "nowhere")))
    assert await one.starts({ONE: 7, TWO: None}) == {ONE: 7, TWO: 0}
    assert not await one.keep({ONE: 8})


async def test_an_unreachable_redis_moves_nothing(tmp_path: Path, redis: Redis) -> None:
    """It is told as what it is."""
    one = places(redis)
    await one.starts({ONE: 7})
    one._redis = Redis(unix_socket_path=str(tmp_path / "nowhere"))
    with pytest.raises(StoreFault):
        await one.keep({ONE: 8})


# A model: a log of one partition, a set of what is applied, copies of both to come back to, and two members that take turns.


@given(
    st.lists(st.sampled_from(["apply", "apply", "apply", "keep", "commit", "copy", "older", "empty", "rebalance"]), max_size=60), st.data()
)
def test_everything_is_applied_in_the_end(moves: list[str], data: st.DataObject) -> None:
    """Whatever Redis comes back as, at any moment, and whoever reads: once all is read to its end, nothing is missing."""
    end, run, copies = 12, 0, [(set[int](), 0)]
    applied, place, committed, at, origin, done = set[int](), 0, 0, 0, 0, 0
    for move in [*moves, "keep"]:
        match move:
            case "apply" if at < end:
                applied.add(at)
                at = done = at + 1
            case "keep" if origin == run:
                place = done
            case "keep" | "rebalance":
                at, origin = min(place, committed), run
                done = at
            case "commit":
                committed = done
            case "copy":
                copies.append((set(applied), place))
            case "older":
                found, place = data.draw(st.sampled_from(copies))
                applied, run = set(found), run + 1
            case "empty":
                applied, place, run = set(), 0, run + 1
    applied |= set(range(at, end))
    assert applied == set(range(end))
