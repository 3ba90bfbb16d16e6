"""Backfill: the history of a busy chain, asked of a node on the loopback and written into a real Redis."""

import asyncio
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio import Redis

from benchmarks.busy_node import BusyNode, Plan, busy_node
from benchmarks.measure import Report, Value
from benchmarks.servers import Server, server
from benchmarks.shares import Shares
from benchmarks.synthetic import NETWORK, Size
from processors.ledger import missing
from processors.run import run
from processors.store import Store
from streams.errors import StoreFault
from streams.settings import Settings
from streams.values import Listen, Node

EPOCHS = 2_880
AIM_SECONDS = 60
BELOW_EPOCHS = 20
"""How many epochs the chain has below those that are filled."""
POLL_SECONDS = 0.2


async def backfill(size: Size, epochs: int = EPOCHS, tell: Callable[[str], None] = lambda _: None) -> list[Report]:
    """What `fvm-pulse run` does at its first start, with its default windows: follow, and fill so many epochs below the head."""
    shares = Shares()
    with server(append_only=True) as redis_server:
        async with busy_node(Plan(size, head=epochs + BELOW_EPOCHS)) as node, Redis(unix_socket_path=redis_server.socket) as redis:
            before = _used(node, redis_server)
            started = time.perf_counter()
            with shares.watched():
                following = asyncio.create_task(run(_settings(node.url, redis_server.socket, epochs)))
                try:
                    await _filled(Store(redis, NETWORK), epochs, following, tell)
                finally:
                    seconds = time.perf_counter() - started
                    following.cancel()
                    with suppress(asyncio.CancelledError):
                        await following
            used = {name: now - before[name] for name, now in _used(node, redis_server).items()}
            windows = (await Store(redis, NETWORK).snapshot()).streams["tipsets"].windows.values()
    messages = max(window.sums.get("all_messages", 0) for window in windows)
    return [_whole(size, epochs, messages, seconds, used), _places(shares, seconds)]


def _settings(url: str, socket: str, epochs: int) -> Settings:
    return Settings(
        nodes=(Node("busy", url),),
        redis_url=f"unix://{socket}",
        listen=Listen("127.0.0.1", 0),
        backfill=f"{epochs}e",
        look_back_epochs=epochs,
    )


async def _filled(store: Store, epochs: int, following: asyncio.Task[None], tell: Callable[[str], None]) -> None:
    """Wait until as many epochs as that are known."""
    told_at, left = time.monotonic(), epochs
    while left:
        await asyncio.sleep(POLL_SECONDS)
        if following.done():
            following.result()
        with suppress(StoreFault):
            reading = (await store.snapshot()).streams.get("tipsets")
            head = reading.head if reading is not None else None
            left = len(await missing(store, head - epochs + 1, head)) if head is not None else epochs
        if time.monotonic() > told_at + 5:
            told_at = time.monotonic()
            tell(f"{epochs - left:,} of {epochs:,} epochs")


def _used(node: BusyNode, redis: Server) -> dict[str, float]:
    ours = resource.getrusage(resource.RUSAGE_SELF)
    return {"fvm-pulse": ours.ru_utime + ours.ru_stime, "Redis": redis.cpu_seconds, "the node": node.cpu_seconds}


def _whole(size: Size, epochs: int, messages: int, seconds: float, used: dict[str, float]) -> Report:
    row: dict[str, Value] = {
        "epochs": epochs,
        "seconds": seconds,
        "epochs_per_second": epochs / seconds,
        "messages": messages,
        "messages_per_second": messages / seconds,
        **{f"cpu_seconds_of_{name.replace(' ', '_')}": value for name, value in used.items()},
    }
    notes = (
        f"aim: {EPOCHS:,} epochs in at most {AIM_SECONDS} s on 2 processors, the node's not counted; load {os.getloadavg()[0]:.1f}",
        "from the start of the process's parts until the ledger of both streams has every epoch; an append-only Redis",
    )
    return Report("backfill", f"Backfill of tipsets of {size.messages} messages, {size.events} events", [row], notes)


def _places(shares: Shares, seconds: float) -> Report:
    ordered = sorted(shares.seconds.items(), key=lambda pair: -pair[1])
    rows: list[dict[str, Value]] = [
        {"place": place, "seconds": spent, "share": spent / seconds, "cpu_seconds": shares.cpu_seconds[place]} for place, spent in ordered
    ]
    return Report("backfill_places", "Where the time of fvm-pulse goes meanwhile, by its stack", rows)
