"""Scripts: known by their digest, loaded where Redis has forgotten them, given up where it forgets them at once."""

import pytest
from msgspec import msgpack
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from processors.script import RUN_ID, Script
from streams.errors import StoreFault

SCRIPT = Script("apply.lua")
READ = ("read", msgpack.encode([]))
KEYS = [f"pulse:{{script}}:{number}" for number in range(10)]


async def test_a_script_is_loaded_where_it_is_not_known(redis: Redis) -> None:
    """At the first call, and again after the server has lost it; in a pipeline the caller is told."""
    for _ in range(2):
        await redis.script_flush()
        pipeline = redis.pipeline()
        SCRIPT.queue(pipeline, KEYS, *READ)
        assert [type(one) for one in await pipeline.execute(raise_on_error=False)] == [NoScriptError]
        assert await SCRIPT.call(redis, KEYS, *READ) == []
        pipeline = redis.pipeline()
        SCRIPT.queue(pipeline, KEYS, *READ)
        assert await pipeline.execute() == [[]]


async def test_a_server_that_keeps_no_script_is_a_fault(redis: Redis) -> None:
    """It is not asked for ever."""

    class Forgetful(Script):
        async def load(self, redis: Redis) -> None:
            """Nothing stays."""
            await redis.script_flush()

    await redis.script_flush()
    with pytest.raises(StoreFault, match="loses its scripts"):
        await Forgetful("apply.lua").call(redis, KEYS, *READ)


async def test_a_script_knows_its_server(redis: Redis) -> None:
    """The run is what INFO tells of it."""
    found: bytes = await redis.eval(RUN_ID + "return run", 0)
    assert found.decode() == (await redis.info("server"))["run_id"]
