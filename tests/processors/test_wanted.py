"""Wishes about the past, in a real Redis."""

import pytest
from redis.asyncio import Redis

from processors.wanted import Progress, Wanted
from streams.errors import StoreFault
from tests.processors.strategies import NETWORK


async def test_the_lowest_floor_counts_until_it_is_reached(redis: Redis) -> None:
    """A higher one changes nothing; a lower one that came meanwhile is not lost when the old one is reached."""
    wanted = Wanted(redis, NETWORK)
    assert await wanted.floor() is None
    await wanted.want(500)
    await wanted.want(700)
    assert await wanted.floor() == 500
    await wanted.want(300)
    await wanted.reached(500)
    assert await wanted.floor() == 300
    await wanted.reached(300)
    assert await wanted.floor() is None


async def test_heights_to_write_again_stay_until_they_are_written(redis: Redis) -> None:
    """What is written leaves the set, and nothing else."""
    wanted = Wanted(redis, NETWORK)
    await wanted.want_again([5, 6, 9])
    await wanted.written([6])
    await wanted.written([])
    assert await wanted.again() == {5, 9}


async def test_progress_is_told_and_read(redis: Redis) -> None:
    """What the follower says last is what a command reads."""
    wanted = Wanted(redis, NETWORK)
    assert await wanted.progress() is None
    for said in (Progress(1.5, 900, None), Progress(2.5, 901, 700), Progress(3.5, 902, None, frozenset({5, 800}))):
        await wanted.tell(said)
        assert await wanted.progress() == said


async def test_a_redis_that_is_away_is_a_fault_of_ours() -> None:
    """Every method raises StoreFault."""
    async with Redis(unix_socket_path="/nowhere") as away:
        with pytest.raises(StoreFault, match="Redis is away"):
            await Wanted(away, NETWORK).floor()
