"""History as its user has it filled: while the newer half of the recording is live, it ends in the naive recount."""

import asyncio
import math
import random
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from processors.ledger import missing
from processors.store import Store
from streams.recording import load
from streams.replay import ReplayNode
from tests.brokers import Broker
from tests.end_to_end.fleet import APPLYING_SECONDS, Fleet
from tests.end_to_end.product import BUNDLED, COMMAND, check, free_port, metric, product
from tests.recount import Recount

HALF_SECONDS = 150.0
FIRST_EPOCH = 833
pytestmark = pytest.mark.timeout(300)


async def backfill(redis_socket: str, *flags: str) -> asyncio.subprocess.Process:
    """`fvm-pulse backfill` beside a run, from the recording's first epoch on."""
    return await asyncio.create_subprocess_exec(
        *(COMMAND, "backfill", "--from", str(FIRST_EPOCH), "--redis-url", f"unix://{redis_socket}", "--log-level", "error", *flags),
        stderr=asyncio.subprocess.PIPE,
    )


async def followed(store: Store) -> None:
    """Wait until there is a tipset."""
    async with asyncio.timeout(30):
        while not (await store.snapshot()).latest.get("height"):
            await asyncio.sleep(0.05)


async def test_the_first_half_is_filled_while_the_second_is_live(redis: Redis, redis_socket: str) -> None:
    """The command ends well, and every figure is the recount."""
    store = Store(redis, "testing")
    async with ReplayNode(load("devnet"), pace=50.0) as node:
        await node.advance_to(HALF_SECONDS)
        async with product("--node", node.url, "--redis-url", f"unix://{redis_socket}", "--backfill", "off"):
            await followed(store)
            await asyncio.sleep(2)
            command = await backfill(redis_socket)
            node.halt_at(math.inf)
            _, said = await asyncio.wait_for(command.communicate(), 60)
            assert command.returncode == 0, said.decode()
            await node.finished.wait()
            await check(store, Recount(BUNDLED, lambda _: "unknown"))


@pytest.mark.slow
async def test_killed_ten_times_on_the_way(redis: Redis, redis_socket: str) -> None:
    """SIGKILL at random moments; the wish stays, each run goes on where the one before was, and the end is the recount."""
    rng = random.Random(7)
    store = Store(redis, "testing")
    flags = ("--redis-url", f"unix://{redis_socket}", "--backfill", "off")
    async with ReplayNode(load("devnet"), pace=20.0) as node:
        await node.advance_to(HALF_SECONDS)
        async with product("--node", node.url, *flags) as process:
            await followed(store)
            await asyncio.sleep(2)
            command = await backfill(redis_socket, "--no-wait")
            assert await asyncio.wait_for(command.wait(), 30) == 0
            node.halt_at(math.inf)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        for _ in range(9):
            async with product("--node", node.url, *flags) as process:
                await asyncio.sleep(rng.uniform(2, 4))
                process.send_signal(signal.SIGKILL)
                await process.wait()
        port = free_port()
        async with product("--node", node.url, *flags, port=port):
            await metric(port, 'pulse_endpoint_up{endpoint="node1"}', 1)
            await node.finished.wait()
            async with asyncio.timeout(60):
                while await redis.exists("pulse:{testing}:wanted"):
                    await asyncio.sleep(0.2)
            await check(store, Recount(BUNDLED, lambda _: "unknown"))


async def left_at_most(store: Store, top: int, most: int) -> int:
    """Wait until no more heights than that are to be filled below `top`, and answer how many are."""
    async with asyncio.timeout(60):
        while (left := len(await missing(store, FIRST_EPOCH, top))) > most:
            await asyncio.sleep(0.02)
    return left


@pytest.mark.kafka
@pytest.mark.slow
async def test_over_kafka_with_kills(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """The older half is filled by topics while the newer is live, follower and worker are killed amidst it: the recount."""
    store = Store(redis, "testing")
    async with (
        ReplayNode(load("devnet"), pace=20.0) as node,
        Fleet(kafka, f"unix://{redis_socket}", "history", tmp_path / "log") as processes,
    ):
        await node.advance_to(HALF_SECONDS)
        flags = ("follow", "--node", node.url, "--backfill", "off")
        follower, worker = await processes.start(*flags), await processes.start("worker")
        await followed(store)
        top = int((await store.snapshot()).latest["height"])
        command = await backfill(redis_socket, "--no-wait")
        assert await asyncio.wait_for(command.wait(), 30) == 0
        node.halt_at(math.inf)
        before = await left_at_most(store, top, 10**6)
        left = await left_at_most(store, top, before - 20)
        await processes.kill(follower)
        await processes.start(*flags)
        await left_at_most(store, top, left // 2)
        await processes.kill(worker)
        await processes.start("worker")
        await node.finished.wait()
        async with asyncio.timeout(APPLYING_SECONDS):
            while await redis.exists("pulse:{testing}:wanted"):
                processes.check()
                await asyncio.sleep(0.2)
        await processes.applied()
        await check(store, Recount(BUNDLED, lambda _: "unknown"))
