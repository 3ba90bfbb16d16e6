"""The audit, against a node on a real websocket and a follower that fills: silent where all is right, and what it does where not."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import structs
from redis.asyncio import Redis

from processors import audit as module
from processors import filling
from processors.audit import audit, burnt
from processors.folds import Contribution
from processors.gas import burn
from processors.store import Store
from processors.wanted import Progress, Wanted
from processors.windows import parse_all
from streams.addresses import delegated
from streams.errors import NodeFault, StoreFault, UsageError
from streams.records import LogsRecord, TipsetRecord
from streams.settings import Settings, load
from streams.wire import MASK
from tests.node.server import Server
from tests.node.world import CONTRACT, Node, Tip, World
from tests.processors.strategies import tipset
from tests.processors.test_filling import NETWORK, filled, following


@asynccontextmanager
async def audited(redis: Redis, redis_socket: str, world: World, node: Node | None = None) -> AsyncIterator[Settings]:
    """A follower that has filled its window; the settings of an audit beside it."""
    tip = world.head.parent
    assert tip is not None
    await Store(redis, NETWORK).configure(parse_all(["20e", "60e"]))
    async with Server(node or Node(world)) as server:
        flags = {"windows": "20e,60e", "nodes": server.url, "redis_url": f"unix://{redis_socket}"}
        async with following(redis, load(flags), server.url):
            await filled(Store(redis, NETWORK), tip.height - 59, tip.height)
            await asyncio.sleep(0.5)
            yield load(flags)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "POLL_SECONDS", 0.05)


async def test_finds_a_wrong_register_and_repairs_it(redis: Redis, redis_socket: str) -> None:
    """No difference at first; a register that was overwritten shows in each window that holds it, and is written again."""
    world = World()
    world.advance(*[0, 1, 0, 0, 2] * 20)
    async with audited(redis, redis_socket, world) as settings:
        store = Store(redis, NETWORK)
        first = await audit(settings, 60, repair=False)
        assert (first.differences, first.wrong) == ((), ())
        assert first.compared > 20
        assert set(first.windows) == {"20e", "60e"}
        assert (await audit(settings, 59, repair=False)).windows == ("20e",)
        assert first.lowest <= first.head - 59
        with pytest.raises(UsageError, match="--window: 19 epochs are less than every window that is kept; the shortest is 20e"):
            await audit(settings, 19, repair=False)
        found = next(one for one in await store.tail() if first.head - 40 < one.height < first.head - 25)
        wrong: TipsetRecord = structs.replace(tipset(found.height, None, found.sequence + 1), network=NETWORK, hash=found.hash)
        await store.apply(wrong, Contribution({"all_gas": 5}))
        second = await audit(settings, 60, repair=False)
        assert second.wrong == (found.height,)
        assert {one.window for one in second.differences} == {"60e"}
        assert "all_gas" in {one.figure for one in second.differences}
        third = await audit(settings, 60, repair=True)
        assert (third.differences, third.wrong, third.repaired) == ((), (), (found.height,))


@pytest.mark.parametrize("answer", [b"[]", b"[" * 100_000, b'{"id":1,"result":{"number":"0xzz"}}', b'{"id":1,"result":5}', b"\xff"])
async def test_nonsense_is_the_nodes_fault(redis: Redis, redis_socket: str, answer: bytes) -> None:
    """One sentence that names the node, whatever it says."""

    class Mad(Node):
        def answer(self, frame: bytes) -> list[bytes]:
            return [answer]

    world = World()
    world.advance(*[0] * 5)
    store = Store(redis, NETWORK)
    await store.configure(parse_all(["20e"]))
    block = tipset(4, 3, 2)
    await store.apply(structs.replace(block, network=NETWORK), Contribution({}))
    logs = LogsRecord(network=NETWORK, sequence=3, height=4, parent_height=3, hash=block.hash, noticed_at=0.0)
    await store.apply(logs, Contribution({}))
    async with Server(Mad(world)) as server:
        with pytest.raises(NodeFault, match=r"audit: the node .* (says nonsense|can not be read): "):
            await audit(load({"windows": "20e", "nodes": server.url, "redis_url": f"unix://{redis_socket}"}), 20, repair=False)


async def test_parents_that_do_not_descend_are_the_nodes_fault(redis: Redis, redis_socket: str) -> None:
    """A node that names a tipset its own parent is not asked for ever."""

    class Round(Node):
        def _eth_getblockbyhash(self, block: str, full: bool) -> dict[str, Any]:
            return {**super()._eth_getblockbyhash(block, full), "parentHash": block}

    world = World()
    world.advance(*[0] * 100)
    async with audited(redis, redis_socket, world) as settings, Server(Round(world)) as server:
        there = load({"windows": settings.windows, "redis_url": f"unix://{redis_socket}", "nodes": server.url})
        with pytest.raises(NodeFault, match="says that the parent of 99 lies at 99"):
            await asyncio.wait_for(audit(there, 20, repair=False), 10)


async def test_messages_to_an_actors_id_count_as_to_its_address(redis: Redis, redis_socket: str) -> None:
    """A contract is one, and so is a sender, by whichever of its names a message goes."""
    masked = MASK + "00000000000003e9"

    class Mixed(Node):
        @staticmethod
        def _transaction(tip: Tip, place: int) -> dict[str, Any]:
            sent = Node._transaction(tip, place)
            by_id = {"to": masked, "from": masked[:-1] + "0"} if sent["to"] == CONTRACT and tip.height % 2 else {}
            return {**sent, **by_id}

        def _stategetactor(self, actor: str, key: list[dict[str, str]]) -> dict[str, Any]:
            known = {"f01001": delegated(CONTRACT), "f01000": delegated("0x" + "00" * 19 + "03")}
            return {**super()._stategetactor(actor, key or self.head.key), "DelegatedAddress": known.get(actor)}

        def _eth_getcode(self, address: str, tag: str) -> str:
            return super()._eth_getcode(CONTRACT if address == masked else address, tag)

    world = World()
    world.advance(*[0] * 100)
    async with audited(redis, redis_socket, world, Mixed(world)) as settings:
        snapshot = await Store(redis, NETWORK).snapshot()
        assert snapshot.streams["tipsets"].windows["60e"].distinct["contract"] == 1
        assert (await audit(settings, 60, repair=False)).differences == ()


async def test_needs_something_to_compare_and_a_node(redis: Redis, redis_socket: str) -> None:
    """An empty Redis, and a recording for a node, are refused."""
    url = f"unix://{redis_socket}"
    with pytest.raises(UsageError, match="this Redis holds nothing"):
        await audit(load({"redis_url": url}), 60, repair=False)
    with pytest.raises(UsageError, match="a node's websocket URL"):
        await audit(load({"redis_url": url, "nodes": "replay:devnet"}), 60, repair=False)
    await Store(redis, "mainnet").configure(parse_all(["60e"]))
    with pytest.raises(UsageError, match="'mainet' is not here: this Redis holds mainnet"):
        await audit(load({"redis_url": url, "network": "mainet"}), 60, repair=False)


async def test_a_repair_is_waited_for_as_long_as_it_goes_on(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many heights there are; where no more is written, that is told with how many are left."""
    monkeypatch.setattr(module, "REPAIR_SECONDS", 1.2)
    wanted = Wanted(redis, "mainnet")
    await wanted.tell(Progress(time.time(), 100, None))
    writing = asyncio.create_task(module._write_again(wanted, tuple(range(10, 14))))
    for height in range(10, 13):
        await asyncio.sleep(0.8)
        await wanted.written([height])
    with pytest.raises(StoreFault, match="writes no more heights again, 1 are left"):
        await writing


@pytest.mark.parametrize(
    "used,limit,base_fee,cap", [(0, 9, 5, 9), (1000, 1200, 100, 10**6), (1000, 1050, 100, 90), (10, 10**9, 7, 8), (7, 7, 1, 1)]
)
def test_its_arithmetic_is_the_folds(used: int, limit: int, base_fee: int, cap: int) -> None:
    """Two ways to write the burn of a message agree."""
    assert burnt(used, limit, base_fee, cap) == burn(used, limit, base_fee, cap)
