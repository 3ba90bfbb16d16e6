"""The parts of which commands are put together."""

import asyncio

import pytest
from redis.asyncio import Redis

from processors.parts import connected_redis, group_of_tasks
from streams.errors import StoreFault
from streams.settings import load


async def _fail(error: Exception) -> None:
    raise error


async def _nested() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail(StoreFault("deep down")))


async def _in_a_group() -> None:
    async with group_of_tasks() as group:
        group.create_task(_nested())
        group.create_task(asyncio.sleep(60))


async def test_the_first_error_is_raised_as_itself() -> None:
    """However many groups of tasks are around it, so that it reaches the command as one line; the other tasks end."""
    with pytest.raises(StoreFault, match="deep down"):
        await _in_a_group()


async def test_a_given_redis_is_used(redis: Redis, redis_socket: str) -> None:
    """What others wrote there is seen."""
    await redis.set("key", "value")
    async with connected_redis(load({"redis_url": f"unix://{redis_socket}"})) as client:
        assert await client.get("key") == b"value"
