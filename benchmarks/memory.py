"""Memory: of Redis after a month of traffic, of the process during a replay."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import psutil
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from benchmarks.measure import Report, Value
from benchmarks.node import PACE, node
from benchmarks.servers import server
from benchmarks.synthetic import NETWORK, Size, Traffic, registered
from processors.classify import Classifier
from processors.store import Store
from processors.windows import parse_all
from processors.worker import Worker
from streams.metrics import ProcessMetrics

MIB = 2**20
MONTH_TIPSETS = 86_400
WINDOWS = ("1h", "24h", "7d", "30d")
POINTS = 8
"""How often memory is looked at on the way."""
SAMPLED_FIELDS = 1000
REDIS_AIM_MIB = 256
PROCESS_AIM_MIB = 250


async def redis_memory(size: Size, tipsets: int, progress: Callable[[int], None] = lambda _: None) -> Report:
    """Apply so many tipsets and their logs to an empty server.

    Other messages than FEVM's are left out: they only make sums larger, and take longest to make.
    """
    traffic = Traffic(replace(size, messages=size.fevm_messages, events=min(size.events, size.contracts)))
    rows: list[dict[str, Value]] = []
    with server() as running:
        async with Redis(unix_socket_path=running.socket) as redis:
            store = Store(redis, NETWORK)
            await store.configure(parse_all(WINDOWS))
            worker = Worker(store, Classifier(registered()), ProcessMetrics(CollectorRegistry()))
            start = time.perf_counter()
            for done, tipset in enumerate(islice(traffic.tipsets(), tipsets), 1):
                await worker.process(tipset)
                await worker.process(traffic.logs(tipset))
                if done % -(-tipsets // POINTS) == 0 or done == tipsets:
                    rows.append(await _looked_at(redis, running.process, done, time.perf_counter() - start))
                    progress(done)
            notes = [
                f"aim: used_memory of at most {REDIS_AIM_MIB} MiB after {MONTH_TIPSETS:,} tipsets (30 d)",
                "this process makes the records and applies them: that it does not grow is what counts",
                "largest keys, MiB: " + ", ".join([f"{name} {mib:.1f}" for name, mib in await _largest(redis)]),
            ]
            distinct = (await store.snapshot()).streams["tipsets"].windows[WINDOWS[-1]].distinct
            notes.append(f"distinct in {WINDOWS[-1]}: {distinct.get('sender', 0):,} senders, {distinct.get('contract', 0):,} contracts")
    title = (
        f"Memory of Redis by tipsets applied ({size.fevm_messages} FEVM messages, {size.senders} senders, {size.contracts} contracts each)"
    )
    return Report("redis_memory", title, rows, notes)


async def _looked_at(redis: Redis, process: psutil.Process, done: int, seconds: float) -> dict[str, Value]:
    info = await cast("Any", redis).info("memory")
    return {
        "tipsets": done,
        "redis_used_mib": info["used_memory"] / MIB,
        "redis_peak_mib": info["used_memory_peak"] / MIB,
        "redis_resident_mib": process.memory_info().rss / MIB,
        "this_process_mib": psutil.Process().memory_info().rss / MIB,
        "seconds": seconds,
    }


async def _largest(redis: Redis) -> list[tuple[str, float]]:
    client = cast("Any", redis)
    sizes = {key.decode(): await client.memory_usage(key, samples=SAMPLED_FIELDS) / MIB async for key in client.scan_iter()}
    largest = sorted(sizes.items(), key=lambda pair: -pair[1])[:7]
    return [(name.partition("}:")[2], mib) for name, mib in largest]


async def process_memory(pace: float = PACE, until: float | None = None) -> Report:
    """`fvm-pulse run` on the bundled recording, the node in a process of its own."""
    rows: list[dict[str, Value]] = []
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        async with node(pace, until) as recorded, _product(recorded.url, Path(folder)) as process:
            await recorded.followed()
            recorded.go_on()
            start = time.perf_counter()
            for share in range(POINTS + 1):
                if share:
                    await asyncio.sleep(max(start + share * recorded.seconds / POINTS - time.perf_counter(), 0))
                rows.append(
                    {
                        "replayed_percent": 100 * share // POINTS,
                        "process_mib": process.memory_info().rss / MIB,
                        "seconds": time.perf_counter() - start,
                    }
                )
    notes = (f"aim: at most {PROCESS_AIM_MIB} MiB and flat; without the embedded Redis, which is a process of its own",)
    return Report("process_memory", f"Memory of fvm-pulse run, {pace:g} times the recording's pace", rows, notes)


@asynccontextmanager
async def _product(url: str, folder: Path) -> AsyncIterator[psutil.Process]:
    command = str(Path(sys.executable).parent / "fvm-pulse")
    flags = ("--node", url, "--data-dir", str(folder), "--listen", "127.0.0.1:0", "--log-level", "warning")
    process = await asyncio.create_subprocess_exec(command, "run", *flags)
    try:
        yield psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
