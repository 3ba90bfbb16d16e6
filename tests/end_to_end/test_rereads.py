"""A node that tells logs late, and a product that nobody tells anything: the figures end in the naive recount by themselves."""

import asyncio
import json
import math
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from processors.store import Store
from streams.answers import Limits
from streams.recording import load
from streams.replay import ReplayNode
from tests.end_to_end.product import BUNDLED, check, free_port, metric, processed, product
from tests.end_to_end.test_embedded import network, started
from tests.recount import Recount

PACE = 200.0
FIRST_HEAD_SECONDS = 0.2
STEPS_SECONDS = (100.0, 200.0)
LATE_EPOCHS, DEPTH_EPOCHS = 280, 300
"""A step of the recording is shorter than these, so that every tipset is read before its logs are told, and again after that."""
SETTLING_SECONDS = 30.0
pytestmark = pytest.mark.timeout(150)


class Late:
    """Makes a node tell the receipts at some heights without their logs until they lie `LATE_EPOCHS` deep."""

    def __init__(self, node: ReplayNode, heights: range) -> None:
        self._node = node
        self._heights = heights
        self.told: set[int] = set()

    def __call__(self, method: str, _: list[Any], frame: bytes) -> bytes:
        """One answer."""
        said, head = json.loads(frame), self._node.head
        receipts = said.get("result")
        if method != "eth_getBlockReceipts" or not receipts or head is None:
            return frame
        height = int(receipts[0]["blockNumber"], 16)
        if height in self._heights and head.height - height < LATE_EPOCHS and any(receipt["logs"] for receipt in receipts):
            self.told.add(height)
            said["result"] = [{**receipt, "logs": []} for receipt in receipts]
        return json.dumps(said).encode()


@pytest.mark.parametrize("killed", [False, True])
async def test_logs_that_are_told_late_are_counted(redis: Redis, redis_socket: str, tmp_path: Path, killed: bool) -> None:
    """Without any command; of a node with eth methods alone, since nothing else tells that its logs are not all there yet.

    By another process, too, than the one that was told: that was killed before any tipset lay deep enough.
    """
    store = Store(redis, network(native=False))
    recount = Recount(BUNDLED, lambda _: "unknown", native=False)
    end = int(recount.chain()[0]["number"], 16)
    (tmp_path / "fvm-pulse.toml").write_text(f"reread_depth_epochs = {DEPTH_EPOCHS}\n")
    flags = ("--redis-url", f"unix://{redis_socket}", "--config", str(tmp_path / "fvm-pulse.toml"))
    port = free_port()
    async with ReplayNode(load("devnet"), pace=PACE, limits=Limits(eth_only=True)) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        node.faults.distort = late = Late(node, range(end - DEPTH_EPOCHS))
        async with AsyncExitStack() as stack:
            process = await stack.enter_async_context(product("--node", node.url, *flags, port=port))
            await started(node, store)
            for seconds in STEPS_SECONDS:
                await node.advance_to(seconds)
                assert node.head is not None
                await processed(port, node.head.height)
            assert late.told
            if killed:
                process.kill()
                await process.wait()
                await stack.enter_async_context(product("--node", node.url, *flags, port=port))
            node.halt_at(math.inf)
            await node.finished.wait()
            await metric(port, f'pulse_rereads_total{{depth="confirmed",network="{network(native=False)}",result="different"}}', 1)
            await settled(store, recount)


async def settled(store: Store, recount: Recount) -> None:
    """Wait until every figure is the recount's."""
    deadline = asyncio.get_running_loop().time() + SETTLING_SECONDS
    while True:
        try:
            await check(store, recount)
        except AssertionError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return
