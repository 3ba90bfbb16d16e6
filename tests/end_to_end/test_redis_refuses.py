"""Redis is there and takes no writes: it is said once and as what it is, reads go on, and nothing is lost once it is mended."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from processors.store import Store
from streams.recording import load
from streams.replay import ReplayNode
from tests.end_to_end.fleet import KeptRedis, kept_redis
from tests.end_to_end.product import BUNDLED, check, free_port, metric, product
from tests.end_to_end.test_redis_away import chain_series, scraped
from tests.recount import Recount

PACE = 100.0
FIRST_HEAD_SECONDS = 0.03
REFUSED_SECONDS = 3.0
"""Time for some ten tries of each record that waits."""
pytestmark = pytest.mark.timeout(120)


def lines(log: Path) -> list[dict[str, Any]]:
    """What it said, but for lines that are not finished."""
    return [json.loads(line) for line in log.read_text().split("\n")[:-1] if line.startswith("{")]


def about_redis(log: Path) -> list[tuple[str, str]]:
    """How loud it spoke of Redis, and what it said."""
    return [(line["level"], line["event"]) for line in lines(log) if line["event"].startswith("Redis ")]


@asynccontextmanager
async def half_followed(server: KeptRedis, log: Path, port: int) -> AsyncIterator[tuple[ReplayNode, Redis]]:
    """The product in the middle of the recording; at the end of the block everything must be as the recount says."""
    async with (
        ReplayNode(load("devnet"), pace=PACE, until=FIRST_HEAD_SECONDS) as node,
        Redis.from_url(server.url) as redis,
        product("--node", node.url, "--redis-url", server.url, "--log-format", "json", port=port, log=log) as process,
    ):
        await metric(port, "pulse_processed_epoch", 1)
        node.halt_at(200.0)
        await metric(port, "pulse_processed_epoch", 1150)
        yield node, redis
        await node.finished.wait()
        await check(Store(redis, "testing"), Recount(BUNDLED, lambda _: "unknown", native=True))
        assert process.returncode is None


async def refused(node: ReplayNode, log: Path, port: int) -> dict[str, float]:
    """Let the chain go on while nothing can be written; the series meanwhile."""
    node.halt_at(float("inf"))
    async with asyncio.timeout(30):
        while not about_redis(log):
            await asyncio.sleep(0.05)
    await asyncio.sleep(REFUSED_SECONDS)
    series = await scraped(port)
    assert series["pulse_redis_up"] == 1
    assert chain_series(series), "what can be read is shown"
    return series


async def works_again(log: Path, reason: str) -> None:
    """It was said once, as an error, and that it is over."""
    async with asyncio.timeout(30):
        while len(about_redis(log)) < 2:
            await asyncio.sleep(0.05)
    assert about_redis(log) == [("error", reason), ("info", "Redis takes what it is given again")]


async def test_a_full_redis(tmp_path: Path) -> None:
    """At `maxmemory`: one error that says what to do, every figure right once there is room again."""
    log, port = tmp_path / "said.log", free_port()
    with kept_redis() as server:
        async with half_followed(server, log, port) as (node, redis):
            await redis.config_set("maxmemory", "1mb")
            series = await refused(node, log, port)
            assert series['pulse_redis_memory_bytes{kind="used"}'] > series['pulse_redis_memory_bytes{kind="max"}']
            await redis.config_set("maxmemory", "0")
            await works_again(log, "Redis refuses writes: it is out of memory: raise its maxmemory, or configure shorter windows")


async def test_a_redis_that_can_not_save(tmp_path: Path) -> None:
    """Its disk does not take the dump: one error that points there, every figure right once it does."""
    log, port = tmp_path / "said.log", free_port()
    with kept_redis() as server:
        async with half_followed(server, log, port) as (node, redis):
            await redis.config_set("save", "3600 1")
            in_its_way = server.folder / "dump.rdb"
            in_its_way.mkdir()
            await saved(redis, "err")
            series = await refused(node, log, port)
            assert series["pulse_redis_persistence_up"] == 0
            in_its_way.rmdir()
            await saved(redis, "ok")
            await metric(port, "pulse_redis_persistence_up", 1)
            await works_again(log, about_redis(log)[0][1])
            assert about_redis(log)[0][1].startswith("Redis refuses writes: it can not write to its disk: see whether that is full")


async def saved(redis: Redis, status: str) -> None:
    """Have it write its dump, and wait until that ended like this."""
    await redis.bgsave()
    async with asyncio.timeout(10):
        while (await redis.info("persistence"))["rdb_last_bgsave_status"] != status:
            await asyncio.sleep(0.05)
