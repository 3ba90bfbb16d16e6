"""What `backfill` refuses, and whom it finds; that it fills is shown end to end."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from processors import backfill as module
from processors.backfill import Span, backfill
from processors.filling import kept_epochs
from processors.store import Store
from processors.wanted import Progress, Wanted
from processors.windows import parse_all
from streams.errors import StoreFault, UsageError
from streams.settings import load
from tests.processors.strategies import NETWORK
from tests.processors.test_ledger import hold


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


@pytest.mark.parametrize(
    "reach,passed,reason",
    [
        (None, {4997, 4998}, "no node tells of epoch 4998 and others: 2 epochs stay missing"),
        (4997, {4998}, "no node tells of epoch 4997 and those below: 2 epochs stay missing"),
        (4998, set(), "no node tells of epoch 4998 and those below: 2 epochs stay missing"),
    ],
)
async def test_ends_where_no_node_tells_what_is_left(
    redis: Redis, redis_socket: str, monkeypatch: pytest.MonkeyPatch, reach: int | None, passed: set[int], reason: str
) -> None:
    """Be it out of reach, passed over, or some of both; while one height is neither, it waits."""
    monkeypatch.setattr(module, "HEARD_SECONDS", -10.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    settings = load(await followed(redis, redis_socket))
    store, wanted = Store(redis, NETWORK), Wanted(redis, NETWORK)
    await hold(store, 4996, None, 1)
    await hold(store, 5000, None, 2)
    await wanted.tell(Progress(time.time(), 5000, reach, frozenset(passed)))
    task = asyncio.create_task(backfill(settings, Span(4996, None, None), wait=True))
    await asyncio.sleep(0.5)
    assert not task.done()
    await hold(store, 5000, 4998, 3)
    with pytest.raises(StoreFault, match=reason):
        await asyncio.wait_for(task, 5)


async def test_what_is_kept_no_more_is_not_waited_for(redis: Redis, redis_socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest height that may be named is out of what is kept when the head goes on."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    settings = load(await followed(redis, redis_socket))
    store, wanted, lowest = Store(redis, NETWORK), Wanted(redis, NETWORK), 5000 - kept_epochs(120)
    await hold(store, lowest + 1, None, 1)
    await hold(store, 5000, lowest + 1, 2)
    task = asyncio.create_task(backfill(settings, Span(lowest, None, None), wait=True))
    await asyncio.sleep(0.5)
    assert not task.done()
    await wanted.tell(Progress(time.time(), 5001, None))
    await asyncio.wait_for(task, 5)
