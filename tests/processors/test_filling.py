"""A follower between a node on a real websocket and a real Redis fills what the ledger lacks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from processors import filling
from processors.filling import OUT_OF_REACH_SECONDS, Filler, Walks, depth_of, kept_epochs
from processors.ledger import missing
from processors.parts import group_of_tasks
from processors.registry import Registry
from processors.sink import LocalSink
from processors.store import Store
from processors.wanted import Wanted
from processors.windows import parse_all
from streams.connections import Address, Connections
from streams.errors import UsageError
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.settings import Settings, load
from tests.node.server import Server
from tests.node.world import Node, World
from tests.streams.test_history import Filled, Withholding

NETWORK = "testworld"


@asynccontextmanager
async def following(redis: Redis, settings: Settings, url: str) -> AsyncIterator[Follower]:
    """What `fvm-pulse run` does, as far as history needs it."""
    follower = Follower(["a"])
    sink = LocalSink(redis, parse_all(settings.windows), Registry.load(None), ProcessMetrics(CollectorRegistry()))
    connections = Connections(follower, {"a": Address(url)}, sink)
    async with sink.agents.running(), group_of_tasks() as group:
        filler = Filler(follower, redis, settings, lambda: sink.store, connections.stir)
        tasks = [group.create_task(one) for one in (connections.run(), filler.run())]
        yield follower
        for task in tasks:
            task.cancel()


async def filled(store: Store, floor: int, top: int) -> None:
    """Wait until nothing is missing there.

    Raises:
        TimeoutError: something stays missing.
    """
    async with asyncio.timeout(20):
        while await missing(store, floor, top):
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "POLL_SECONDS", 0.05)


async def test_a_start_fills_the_longest_window_and_a_wish_more(redis: Redis) -> None:
    """By itself down to the window's length, by a wish further; a height to be written again is, and its register gets a new number."""
    world = World()
    world.advance(*[0, 1, 0, 0, 2] * 40)
    tip = world.head.parent
    assert tip is not None
    store, wanted = Store(redis, NETWORK), Wanted(redis, NETWORK)
    await store.configure(parse_all(["60e"]))
    async with Server(Node(world)) as server, following(redis, load({"windows": "60e"}), server.url):
        await filled(store, tip.height - 59, tip.height)
        assert len(await missing(store, tip.height - 120, tip.height)) > 50
        await wanted.want(tip.height - 200)
        await filled(store, tip.height - 200, tip.height)
        async with asyncio.timeout(10):
            while await wanted.floor() is not None:
                await asyncio.sleep(0.05)
        height = next(height for height in world.canonical() if height < tip.height - 20)
        before = {one.height: one.sequence for one in await store.tail()}
        await wanted.want_again([height])
        async with asyncio.timeout(10):
            while await wanted.again():
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        after = {one.height: one.sequence for one in await store.tail()}
        assert after[height] > before[height]
        above = min(one for one in before if one > height)
        assert {one for one in before if after[one] != before[one]} == ({height} if above == height + 1 else {height, above})
    said = await wanted.progress()
    assert said is not None
    assert (said.tip, said.out_of_reach) == (tip.height, None)


@pytest.mark.parametrize("hope", [False, True])
def test_what_was_out_of_reach_is_tried_again(hope: bool) -> None:
    """A height that no node would tell of is left alone for ten minutes, or until somebody wishes for more; then it is as any other."""
    world = World()
    world.advance(*[0] * 100)
    node = Node(world)
    node.look_back_epochs = 30
    one = Filled({"a": node})
    walks = Walks(one.follower.history)
    one.settle(30)
    for now in (0.0, OUT_OF_REACH_SECONDS):
        walks.ended(now)
        assert walks.out_of_reach == 69
    walks.hope() if hope else walks.ended(OUT_OF_REACH_SECONDS + 1)
    assert walks.out_of_reach is None
    walks.ended(OUT_OF_REACH_SECONDS + 2)
    assert walks.out_of_reach is None


@pytest.mark.parametrize("hope", [False, True])
def test_what_was_passed_over_is_tried_again(hope: bool) -> None:
    """Not as long as there is another hole; after ten minutes, or when somebody wishes for more."""
    world = World()
    world.advance(*[0] * 40)
    node = Withholding(world)
    node.withheld = frozenset({world.canonical()[20]})
    one = Filled({"a": node})
    walks = Walks(one.follower.history)
    one.settle(20)
    walks.ended(0.0)
    walks.nothing_else(OUT_OF_REACH_SECONDS)
    walks.ended(OUT_OF_REACH_SECONDS + 1)
    assert (walks.passed_over, walks.out_of_reach) == (frozenset({20}), None)
    walks.hope() if hope else walks.nothing_else(OUT_OF_REACH_SECONDS + 1)
    assert walks.passed_over == frozenset()


async def test_one_tipset_that_is_refused_does_not_keep_others_missing(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the window but that one is filled, and a wish below it, however short the time that it is left alone."""
    monkeypatch.setattr(filling, "OUT_OF_REACH_SECONDS", 0.1)
    world = World()
    world.advance(*[0] * 100)
    node = Withholding(world)
    node.withheld = frozenset({world.canonical()[90]})
    store, wanted = Store(redis, NETWORK), Wanted(redis, NETWORK)
    await store.configure(parse_all(["30e"]))
    async with Server(node) as server, following(redis, load({"windows": "30e"}), server.url):
        await filled(store, 70, 89)
        await filled(store, 91, 99)
        await wanted.want(60)
        await filled(store, 60, 89)
    assert len(await missing(store, 60, 99)) == 1
    said = await wanted.progress()
    assert said is not None
    assert said.out_of_reach is None


def test_how_deep_is_bounded_by_windows_and_look_back() -> None:
    """`auto` is the smaller of both, a window is what it spells up to the longest, `off` is nothing; nonsense is refused."""
    assert depth_of(load({"windows": "1h,24h", "look_back_epochs": 500})) == 500
    assert depth_of(load({"windows": "1h"})) == 120
    assert depth_of(load({"windows": "24h", "backfill": "2h"})) == 240
    assert depth_of(load({"windows": "1h", "backfill": "7d"})) == 120
    assert depth_of(load({"backfill": "off"})) == 0
    assert kept_epochs(120) == 2 * 120 + 900 - 30
    with pytest.raises(UsageError, match="backfill"):
        load({"backfill": "yesterday"})
