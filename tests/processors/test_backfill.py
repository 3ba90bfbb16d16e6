"""What `backfill` refuses, and whom it finds; that it fills is shown end to end."""

import time

import pytest
from redis.asyncio import Redis

from processors.backfill import Span, backfill
from processors.store import Store
from processors.wanted import Progress, Wanted
from processors.windows import parse_all
from streams.errors import UsageError
from streams.settings import load
from tests.processors.strategies import NETWORK


async def followed(redis: Redis, redis_socket: str) -> dict[str, str]:
    """Flags for a Redis where somebody follows, 5,000 epochs far."""
    await Store(redis, NETWORK).configure(parse_all(["1h"]))
    await Wanted(redis, NETWORK).tell(Progress(time.time(), 5000, None))
    return {"redis_url": f"unix://{redis_socket}", "windows": "1h"}


async def test_leaves_a_wish_with_whoever_follows(redis: Redis, redis_socket: str) -> None:
    """The lowest height, given as it is or by a window."""
    settings = load(await followed(redis, redis_socket))
    await backfill(settings, Span(4990, None, None), wait=False)
    assert await Wanted(redis, NETWORK).floor() == 4990
    await backfill(settings, Span(None, None, 120), wait=False)
    assert await Wanted(redis, NETWORK).floor() == 4881


@pytest.mark.parametrize("first,reason", [(3000, "further back than anything is kept"), (6000, "above the newest tipset")])
async def test_refuses_what_can_not_be_held(redis: Redis, redis_socket: str, first: int, reason: str) -> None:
    """Heights that would be forgotten at once, or are not there yet."""
    settings = load(await followed(redis, redis_socket))
    with pytest.raises(UsageError, match=reason):
        await backfill(settings, Span(first, None, None), wait=False)


async def test_without_a_follower_there_is_nobody_to_wish_of(redis: Redis, redis_socket: str) -> None:
    """`--no-wait` needs somebody who follows; one that is silent does not."""
    settings = load(await followed(redis, redis_socket))
    await Wanted(redis, NETWORK).tell(Progress(time.time() - 60, 5000, None))
    with pytest.raises(UsageError, match="nobody follows"):
        await backfill(settings, Span(4990, None, None), wait=False)


async def test_two_networks_need_a_name(redis: Redis, redis_socket: str) -> None:
    """Of several that are followed, one has to be named."""
    flags = await followed(redis, redis_socket)
    await Store(redis, "other").configure(parse_all(["1h"]))
    await Wanted(redis, "other").tell(Progress(time.time(), 5000, None))
    with pytest.raises(UsageError, match="several are followed"):
        await backfill(load(flags), Span(4990, None, None), wait=False)
    await backfill(load({**flags, "network": "other"}), Span(4990, None, None), wait=False)
    assert await Wanted(redis, "other").floor() == 4990
