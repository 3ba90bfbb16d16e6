"""Followers, Kafka, workers and Redis as processes: whatever dies, the end is the naive recount, to the attoFIL."""

import asyncio
import math
from functools import cache
from pathlib import Path

import pytest
from redis.asyncio import Redis

from processors.store import Store
from streams.recording import Recording, load
from streams.replay import ReplayNode
from tests.brokers import Broker
from tests.end_to_end.fleet import Fleet, fleet
from tests.end_to_end.product import BUNDLED, check
from tests.recount import Recount

PACE = 50.0
FIRST_HEAD_SECONDS = 0.03
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@cache
def recording() -> Recording:
    """The bundled recording, read once."""
    return load("devnet")


@cache
def recount() -> Recount:
    """Its recount, read once."""
    return Recount(BUNDLED, lambda _: "unknown", native=True)


async def started(node: ReplayNode, store: Store, processes: Fleet) -> None:
    """Hold the recording at its first head until that is processed, so that nothing is missed."""
    async with asyncio.timeout(60):
        while not (await store.snapshot()).latest.get("height"):
            processes.check()
            await asyncio.sleep(0.05)
    node.halt_at(math.inf)


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_ends_in_the_recount(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path, workers: int) -> None:
    """One follower, so many workers, eight partitions: the recount."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with fleet(kafka, f"unix://{redis_socket}", f"plain{workers}", tmp_path / "log") as processes:
            await processes.start("follow", "--node", node.url)
            for _ in range(workers):
                await processes.start("worker")
            await started(node, store, processes)
            await node.finished.wait()
            await check(store, recount())
