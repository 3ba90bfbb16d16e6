"""How tipsets were told, in a real Redis."""

import msgspec
import pytest
from redis.asyncio import Redis

from processors.tellings import Tellings
from streams.contents import Content, Told
from streams.errors import StoreFault
from streams.rereads import TOLD_EPOCHS

PREFIX = "pulse:{mainnet}:"
CONTENT = Content(b"m" * 16, b"r" * 16, b"l" * 16, 5, whole=True)


def told(height: int, block: int, *, logs: int = 5) -> Told:
    """A telling."""
    content = msgspec.structs.replace(CONTENT, log_count=logs)
    return Told(height, f"0x{block:064x}", f"0x{block - 1:064x}", None if block == 1 else height - 1, "own", block % 2 == 0, content)


async def test_the_last_of_each_tipset_comes_back(redis: Redis) -> None:
    """By hash; of two tipsets at a height, both."""
    tellings = Tellings(redis, PREFIX)
    await tellings.save([])
    assert await tellings.load() == {}
    await tellings.save([told(5, 1), told(5, 2)])
    await tellings.save([told(5, 1, logs=9), told(6, 3)])
    assert await tellings.load() == {one.hash: one for one in (told(5, 1, logs=9), told(5, 2), told(6, 3))}


async def test_what_is_not_read_again_is_dropped(redis: Redis) -> None:
    """With its height, so that nothing grows for ever; history that is filled in drops nothing above it."""
    tellings = Tellings(redis, PREFIX)
    await tellings.save([told(5, 1), told(6, 2)])
    await tellings.save([told(6 + TOLD_EPOCHS, 3)])
    assert {one.height for one in (await tellings.load()).values()} == {6, 6 + TOLD_EPOCHS}
    await tellings.save([told(7, 4)])
    assert {one.height for one in (await tellings.load()).values()} == {6, 7, 6 + TOLD_EPOCHS}
    assert await redis.zcard(PREFIX + "told:heights") == 3


@pytest.mark.parametrize("value", [b"", b"\xc1", msgspec.msgpack.encode([1, 2]), msgspec.msgpack.encode("told")])
async def test_what_can_not_be_read_is_left_out(redis: Redis, value: bytes) -> None:
    """As of a later release."""
    tellings = Tellings(redis, PREFIX)
    await tellings.save([told(5, 1)])
    await redis.hset(PREFIX + "told", "0x22", value)
    assert list(await tellings.load()) == [told(5, 1).hash]


async def test_a_redis_that_refuses_is_a_fault(redis: Redis) -> None:
    """As everywhere."""
    await redis.set(PREFIX + "told", "text")
    for doing in (Tellings(redis, PREFIX).load(), Tellings(redis, PREFIX).save([told(5, 1)])):
        with pytest.raises(StoreFault):
            await doing
