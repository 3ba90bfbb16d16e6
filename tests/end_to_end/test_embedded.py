"""One process, started as its user does, against a node that misbehaves: it ends in the naive recount, to the attoFIL."""

import asyncio
import logging
import math
import random
import signal
from functools import cache
from pathlib import Path

import pytest
from redis.asyncio import Redis

from processors.store import Store
from streams.answers import Limits
from streams.recording import Recording, load
from streams.replay import ReplayNode
from tests.end_to_end.product import BUNDLED, check, check_deployers, embedded_store, free_port, processed, product
from tests.recount import Recount

PACE = 50.0
FIRST_HEAD_SECONDS = 0.03
pytestmark = pytest.mark.timeout(120)


@cache
def recording() -> Recording:
    """The bundled recording, read once."""
    return load("devnet")


@cache
def recount(*, native: bool) -> Recount:
    """Its recount, read once."""
    return Recount(BUNDLED, lambda _: "unknown", native=native)


def network(*, native: bool) -> str:
    """What the node calls its network; one that serves eth only can not say more than a chain id."""
    return "testing" if native else "mainnet"


async def started(node: ReplayNode, store: Store) -> None:
    """Hold the recording at its first head until the product follows, so that nothing is missed."""
    async with asyncio.timeout(30):
        while not (await store.snapshot()).latest.get("height"):
            await asyncio.sleep(0.05)
    node.halt_at(math.inf)


@pytest.mark.parametrize("native", [True, False], ids=["lotus", "eth-only"])
async def test_ends_in_the_recount_at_five_points(redis: Redis, redis_socket: str, native: bool) -> None:
    """Windows of 20, 120 and 400 epochs equal the recount at four points on the way and at the end."""
    store = Store(redis, network(native=native))
    async with ReplayNode(recording(), pace=PACE, limits=Limits(eth_only=not native)) as node:
        node.halt_at(FIRST_HEAD_SECONDS if native else 0.2)
        async with product("--node", node.url, "--redis-url", f"unix://{redis_socket}"):
            await started(node, store)
            deployers = []
            for seconds in (36.0, 120.0, 245.0, 309.0, math.inf):
                node.halt_at(seconds)
                await check(store, recount(native=native), seconds)
                deployers.append(await check_deployers(store, recount(native=native), seconds))
            assert any(deployers) or not native


@pytest.mark.parametrize("native", [True, False], ids=["lotus", "eth-only"])
async def test_survives_dropped_connections(redis: Redis, redis_socket: str, native: bool) -> None:
    """The connection is cut every 2 s, and the end is the recount."""
    store = Store(redis, network(native=native))
    async with ReplayNode(recording(), pace=PACE, limits=Limits(eth_only=not native)) as node:
        node.faults.drop_every_seconds = 2
        node.halt_at(FIRST_HEAD_SECONDS if native else 0.2)
        async with product("--node", node.url, "--redis-url", f"unix://{redis_socket}"):
            await started(node, store)
            await node.finished.wait()
            await check(store, recount(native=native))


async def test_a_second_node_takes_over(redis: Redis, redis_socket: str) -> None:
    """The preferred node goes away in the middle and comes back; the second one fills in."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE) as first, ReplayNode(recording(), pace=PACE) as second:
        first.halt_at(FIRST_HEAD_SECONDS)
        second.halt_at(FIRST_HEAD_SECONDS)
        async with product("--node", f"a={first.url}", "--node", f"b={second.url}", "--redis-url", f"unix://{redis_socket}"):
            await started(first, store)
            second.halt_at(math.inf)
            await asyncio.sleep(2)
            first.faults.refuse = True
            first.drop_all()
            await asyncio.sleep(2)
            first.faults.refuse = False
            await asyncio.gather(first.finished.wait(), second.finished.wait())
            await check(store, recount(native=True))


@pytest.mark.parametrize("native", [True, False], ids=["lotus", "eth-only"])
async def test_killed_and_started_again(tmp_path: Path, native: bool) -> None:
    """SIGKILL at random points, started again on the same folder each time: the end is the recount."""
    seed = random.randrange(2**32)
    logging.getLogger(__name__).warning("seed %d", seed)
    rng = random.Random(seed)
    name = network(native=native)
    async with ReplayNode(recording(), pace=PACE, limits=Limits(eth_only=not native)) as node:
        node.halt_at(FIRST_HEAD_SECONDS if native else 0.2)
        flags = ("--node", node.url, "--data-dir", str(tmp_path))
        port = free_port()
        for _ in range(5):
            async with product(*flags, port=port) as process:
                await processed(port, 833)
                node.halt_at(math.inf)
                await asyncio.sleep(rng.uniform(0, 1.5))
                process.send_signal(signal.SIGKILL)
                await process.wait()
        async with product(*flags, port=port):
            await node.finished.wait()
            await processed(port, int(recount(native=native).chain()[0]["number"], 16))
        async with embedded_store(tmp_path, name) as store:
            await check(store, recount(native=native))
