"""Redis goes away in the middle: the exporter says so and invents nothing, and nothing is lost once it is back."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from processors.store import Store
from streams.recording import load
from streams.replay import ReplayNode
from tests.conftest import servers
from tests.end_to_end.product import BUNDLED, check, free_port, metric, product
from tests.recount import Recount

PACE = 50.0
FIRST_HEAD_SECONDS = 0.03
pytestmark = pytest.mark.timeout(120)


class Server:
    """A server that writes all it does to a file, and can be killed and started again on it."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._options = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(folder), "--appendonly", "yes")
        self._process: asyncio.subprocess.Process | None = None

    async def kill(self) -> None:
        """As a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = await asyncio.create_subprocess_exec(servers()["valkey"], *self._options, stdout=subprocess.DEVNULL)
        async with asyncio.timeout(20), Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0)) as redis:
            while True:
                try:
                    await redis.ping()
                except RedisError:
                    await asyncio.sleep(0.02)
                else:
                    return


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    """A running server; the socket's folder has a short name."""
    server = Server(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


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


async def test_a_crash_of_redis_loses_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Killed twice under load: 200 and `pulse_redis_up 0` without a chain series meanwhile, the recount at the end."""
    port = free_port()
    async with (
        serving(tmp_path_factory.mktemp("r")) as server,
        ReplayNode(load("devnet"), pace=PACE, until=FIRST_HEAD_SECONDS) as node,
        Redis(unix_socket_path=str(server.socket)) as redis,
        product("--node", node.url, "--redis-url", f"unix://{server.socket}", port=port) as process,
    ):
        await metric(port, "pulse_processed_epoch", 1)
        node.halt_at(float("inf"))
        for _ in range(2):
            await asyncio.sleep(1.5)
            assert chain_series(await scraped(port))
            await server.kill()
            series = await scraped(port)
            assert series["pulse_redis_up"] == 0
            assert chain_series(series) == []
            assert any(name.startswith("pulse_endpoint_up") for name in series)
            await asyncio.sleep(1)
            await server.start()
            await metric(port, "pulse_redis_up", 1)
        await node.finished.wait()
        await check(Store(redis, "testing"), Recount(BUNDLED, lambda _: "unknown", native=True))
        assert process.returncode is None


async def test_told_to_stop_while_redis_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It does not wait for what may never come."""
    port = free_port()
    async with (
        serving(tmp_path_factory.mktemp("r")) as server,
        ReplayNode(load("devnet"), pace=PACE) as node,
        product("--node", node.url, "--redis-url", f"unix://{server.socket}", port=port) as process,
    ):
        await metric(port, "pulse_processed_epoch", 1)
        await server.kill()
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_redis_is_up_before_a_network_is_known(redis: Redis, redis_socket: str) -> None:
    """Without any node, `pulse_redis_up` tells of Redis."""
    port = free_port()
    async with product("--node", "ws://127.0.0.1:1/rpc/v1", "--redis-url", f"unix://{redis_socket}", port=port):
        await metric(port, "pulse_redis_up", 1)
