"""A flood: a million senders within an hour that never sent before, and one tipset full of logs; what that takes of memory."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from redis.asyncio import Redis

from benchmarks.busy import BusyChain
from benchmarks.busy_node import Plan, busy_node
from benchmarks.measure import Report
from benchmarks.soak import FIRST_HEAD, Deployment, comes_right, embedded
from benchmarks.synthetic import NETWORK, Size
from processors.store import Store

EPOCHS = 120
SENDERS = 8_334
"""A tipset: a million in an hour."""
LOGS = 40_000
"""Of the tipset in the middle; their receipts are some 20 MB of JSON, a frame may have 32."""
PACE_SECONDS = 2.0
WINDOWS = {"1h": 120, "24h": 2_880}
LOOK_EPOCHS = 20
PATIENCE = 5
"""How many times slower than the chain it may be."""


async def flood(size: Size, epochs: int = EPOCHS, senders: int = SENDERS, tell: Callable[[str], None] = lambda _: None) -> list[Report]:
    """One process with its private Redis at a node whose every sender is a new one; right in the end, or the report says not."""
    size = replace(size, messages=senders, fevm_messages=senders, senders=senders, population=4 * senders, null_rounds=0.0)
    events_at = {FIRST_HEAD + epochs // 2: LOGS * senders // SENDERS}
    plan = Plan(size, head=FIRST_HEAD, pace_seconds=PACE_SECONDS, fresh=True, events_at=events_at, bodies=2)
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        async with busy_node(plan) as node:
            deployment = embedded(node.url, Path(folder), WINDOWS)
            try:
                await deployment.start("run")
                await _flooded(deployment, epochs, tell)
                right = await comes_right(deployment, BusyChain(size, bodies=1), senders)
                known = await _addresses(deployment)
            finally:
                await deployment.end()
    notes = [
        f"{senders:,} new senders a tipset, {events_at.popitem()[1]:,} logs in the one in the middle",
        f"in the end the hour has {known:,} addresses, and every window is {'' if right else 'NOT '}what the chain says",
    ]
    return [Report("flood", "Flood: the memory of fvm-pulse run and of its Redis", deployment.rows, notes)]


async def _flooded(deployment: Deployment, epochs: int, tell: Callable[[str], None]) -> None:
    """Look now and then until so many epochs are processed."""
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE * epochs * PACE_SECONDS):
        for wanted in range(min(LOOK_EPOCHS, epochs), epochs + 1, LOOK_EPOCHS):
            while await deployment.epochs() < wanted:  # noqa: ASYNC110 (another process sets no event here)
                await asyncio.sleep(PACE_SECONDS / 4)
            await deployment.look((time.monotonic() - started) / 60)
            tell(", ".join(f"{name} {value:,.1f}" for name, value in deployment.rows[-1].items() if value is not None))


async def _addresses(deployment: Deployment) -> int:
    """How many addresses the hour has."""
    async with Redis(unix_socket_path=str(deployment.socket())) as redis:
        return (await Store(redis, NETWORK).snapshot()).streams["tipsets"].windows["1h"].distinct["sender"]
