"""Redis goes away in the middle: the exporter says so and invents nothing, and nothing is lost once it is back."""

import asyncio
import signal

import aiohttp
import pytest
from redis.asyncio import Redis

from processors.store import Store
from streams.recording import load
from streams.replay import ReplayNode
from tests.end_to_end.fleet import kept_redis
from tests.end_to_end.product import BUNDLED, check, free_port, metric, product
from tests.recount import Recount

PACE = 50.0
FIRST_HEAD_SECONDS = 0.03
pytestmark = pytest.mark.timeout(120)


async def scraped(port: int) -> dict[str, float]:
    """What `/metrics` answers, which it does with 200 whatever happens."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        lines = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def chain_series(series: dict[str, float]) -> list[str]:
    """Those that only Redis can tell."""
    return [name for name in series if name.startswith(("fvm_", "filecoin_", "pulse_window_", "pulse_epochs", "pulse_processed_"))]


async def test_an_emptied_redis_is_filled_again(redis: Redis, redis_socket: str) -> None:
    """All data is gone in the middle: everything since the start is asked for again, and the end is the recount."""
    port = free_port()
    async with (
        ReplayNode(load("devnet"), pace=PACE, until=FIRST_HEAD_SECONDS) as node,
        product("--node", node.url, "--redis-url", f"unix://{redis_socket}", port=port),
    ):
        await metric(port, "pulse_processed_epoch", 1)
        node.halt_at(200.0)
        await metric(port, "pulse_processed_epoch", 1150)
        await redis.flushall()
        node.halt_at(float("inf"))
        await node.finished.wait()
        await check(Store(redis, "testing"), Recount(BUNDLED, lambda _: "unknown"))


async def test_a_crash_of_redis_loses_nothing() -> None:
    """Killed twice under load: 200 and `pulse_redis_up 0` without a chain series meanwhile, the recount at the end."""
    port = free_port()
    with kept_redis() as server:
        async with (
            ReplayNode(load("devnet"), pace=PACE, until=FIRST_HEAD_SECONDS) as node,
            Redis.from_url(server.url) as redis,
            product("--node", node.url, "--redis-url", server.url, port=port) as process,
        ):
            await metric(port, "pulse_processed_epoch", 1)
            node.halt_at(float("inf"))
            for _ in range(2):
                await asyncio.sleep(1.5)
                assert chain_series(await scraped(port))
                await asyncio.to_thread(server.stop)
                series = await scraped(port)
                assert series["pulse_redis_up"] == 0
                assert chain_series(series) == []
                assert any(name.startswith("pulse_endpoint_up") for name in series)
                await asyncio.sleep(1)
                await asyncio.to_thread(server.start)
                await metric(port, "pulse_redis_up", 1)
            await node.finished.wait()
            await check(Store(redis, "testing"), Recount(BUNDLED, lambda _: "unknown", native=True))
            assert process.returncode is None


async def test_told_to_stop_while_redis_is_away() -> None:
    """It does not wait for what may never come."""
    port = free_port()
    with kept_redis() as server:
        async with (
            ReplayNode(load("devnet"), pace=PACE) as node,
            product("--node", node.url, "--redis-url", server.url, port=port) as process,
        ):
            await metric(port, "pulse_processed_epoch", 1)
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(1)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_redis_is_up_before_a_network_is_known(redis: Redis, redis_socket: str) -> None:
    """Without any node, `pulse_redis_up` tells of Redis."""
    port = free_port()
    async with product("--node", "ws://127.0.0.1:1/rpc/v1", "--redis-url", f"unix://{redis_socket}", port=port):
        await metric(port, "pulse_redis_up", 1)
