"""A soak: the product, embedded and over Kafka, at many times mainnet's pace and killed again and again, while its memory is looked at."""

import asyncio
import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from benchmarks.busy import BusyChain
from benchmarks.busy_node import Plan, busy_node
from benchmarks.measure import Report, Value
from benchmarks.servers import server
from benchmarks.synthetic import NETWORK, Size
from processors.embedded import socket_of
from processors.readings import StreamReading
from processors.store import SURVIVE_REORG_EPOCHS, Store
from streams.errors import StoreFault
from tests.brokers import NoKafkaError, running

COMMAND = str(Path(sys.executable).parent / "fvm-pulse")
WINDOWS = {"1h": 120, "6h": 720}
FULL_EPOCHS = 2 * max(WINDOWS.values()) + SURVIVE_REORG_EPOCHS
"""After so many, as much is forgotten as is added."""
FIRST_HEAD = 10
GROWTH = 1.05
"""What the second half may have more than the first and still be called flat."""
SETTLING_SECONDS = 120.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Pace:
    """How long, how fast, how often looked at, after how long killed, one of them after the other; all in seconds."""

    whole: float = 1_800.0
    epoch: float = 0.3
    look: float = 20.0
    lives: Sequence[float] = (60.0, 90.0, 300.0)
    """Short ones for many deaths, long ones for what only grows within a life."""


@dataclass(slots=True)
class Deployment:
    """Processes that are started again when they are killed, and their Redis.

    Attributes:
        name: of the mode.
        commands: what to start, by name.
        log: where they say what they say.
        socket: where Redis listens, None while it does not.
        windows: their names and epochs.
    """

    name: str
    commands: Mapping[str, Sequence[str]]
    log: Path
    socket: Callable[[], Path | None]
    windows: Mapping[str, int]
    kills: int = 0
    rows: list[dict[str, Value]] = field(default_factory=list)
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _whole: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while one of them is killed and not started yet."""

    async def start(self, name: str) -> None:
        """Start one of them."""
        with self.log.open("ab") as said:
            self._running[name] = await asyncio.create_subprocess_exec(COMMAND, *self.commands[name], stdout=said, stderr=said)

    async def kill_in_turn(self, lives: Sequence[float], over: asyncio.Event) -> None:
        """SIGKILL one of them after so many seconds, and start it again, until it is over."""
        for name, seconds in zip(itertools.cycle(self.commands), itertools.cycle(lives), strict=False):
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), seconds)
                return
            async with self._whole:
                self._running[name].kill()
                await self._running[name].wait()
                self.kills += 1
                await self.start(name)

    async def look(self, minutes: float) -> None:
        """A row of how much memory everybody has.

        Raises:
            RuntimeError: one of them ended by itself.
        """
        row: dict[str, Value] = {"minutes": minutes, "epochs": None, "kills": self.kills}
        async with self._whole:
            for name, process in self._running.items():
                if process.returncode is not None:
                    said = self.log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name}: {name} ended with {process.returncode}: {said}")
                row[f"{name}_mib"] = psutil.Process(process.pid).memory_info().rss / MIB
        row |= dict.fromkeys(("redis_used_mib", "redis_resident_mib"))
        with suppress(RedisError, OSError, StoreFault):
            if (socket := self.socket()) is not None:
                async with Redis(unix_socket_path=str(socket)) as redis:
                    info = await cast("Any", redis).info()
                row["redis_used_mib"] = info["used_memory"] / MIB
                row["redis_resident_mib"] = psutil.Process(info["process_id"]).memory_info().rss / MIB
                row["epochs"] = await self.epochs()
        self.rows.append(row)

    async def epochs(self) -> int:
        """How far the chain has come that is processed; 0 while nobody can say."""
        with suppress(RedisError, OSError, StoreFault):
            return ((await self._tipsets()).head or FIRST_HEAD) - FIRST_HEAD
        return 0

    async def _tipsets(self) -> StreamReading:
        socket = self.socket()
        if socket is None:
            return StreamReading()
        async with Redis(unix_socket_path=str(socket)) as redis:
            return (await Store(redis, NETWORK).snapshot()).streams.get("tipsets", StreamReading())

    async def is_right(self, chain: BusyChain, messages: int) -> bool:
        """Whether every window knows all of its epochs and has counted each of their messages."""
        reading = await self._tipsets()
        if reading.head is None:
            return False
        for name, epochs in self.windows.items():
            first, head = max(reading.head - epochs + 1, reading.since or 0), reading.head
            tipsets = sum(not chain.is_null(height) for height in range(first, head + 1))
            window = reading.windows[name]
            if window.processed != tipsets or window.sums.get("all_messages", 0) != tipsets * messages:
                return False
        return True

    async def end(self) -> None:
        """Tell all to stop."""
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


def _flags(windows: Iterable[str], url: str | None = None) -> list[str]:
    flags = ("--windows", ",".join(windows), "--listen", "127.0.0.1:0", "--log-level", "warning")
    return [*flags, *(("--node", url, "--backfill", "off") if url is not None else ())]


def embedded(url: str, folder: Path, windows: Mapping[str, int]) -> Deployment:
    """One process with its private Redis."""
    flags = (*_flags(windows, url), "--data-dir", str(folder))
    return Deployment("embedded", {"run": ("run", *flags)}, folder / "said.log", lambda: socket_of(folder), windows)


@contextmanager
def over_kafka(url: str, folder: Path, windows: Mapping[str, int]) -> Iterator[Deployment]:
    """A follower and a worker between a broker and a Redis; those two are not killed.

    The Redis is what an operator installs, where it is there: with the allocator that it is shipped with.

    Raises:
        NoKafkaError: there is none to be had.
    """
    installed = shutil.which("redis-server")
    with running() as broker, server(Path(installed) if installed else None, append_only=True) as redis:
        shared = ("--kafka-brokers", broker.address, "--redis-url", f"unix://{redis.socket}")
        commands = {"follow": ("follow", *_flags(windows, url), *shared), "worker": ("worker", *_flags(windows), *shared)}
        yield Deployment("kafka", commands, folder / "said.log", lambda: Path(redis.socket), windows)


async def soak(size: Size, pace: Pace, tell: Callable[[str], None] = lambda _: None, *, kafka: bool = True) -> list[Report]:
    """Both modes at once, at the same node."""
    async with AsyncExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pulse-"))) for _ in range(2)]
        node = await stack.enter_async_context(busy_node(Plan(size, head=FIRST_HEAD, pace_seconds=pace.epoch)))
        deployments = [embedded(node.url, folders[0], WINDOWS)]
        if kafka:
            with suppress(NoKafkaError):
                deployments.append(stack.enter_context(over_kafka(node.url, folders[1], WINDOWS)))
        for one in deployments:
            stack.push_async_callback(one.end)
            for name in one.commands:
                await one.start(name)
        await _soaked(deployments, pace, tell)
        right = [await comes_right(one, BusyChain(size, bodies=1), size.messages) for one in deployments]
    return [_report(one, pace, size, right=fine) for one, fine in zip(deployments, right, strict=True)]


async def _soaked(deployments: Sequence[Deployment], pace: Pace, tell: Callable[[str], None]) -> None:
    over = asyncio.Event()
    killing = [asyncio.create_task(one.kill_in_turn(pace.lives, over)) for one in deployments]
    start = time.monotonic()
    try:
        for number in itertools.count(1):
            if number * pace.look > pace.whole:
                return
            await asyncio.sleep(max(start + number * pace.look - time.monotonic(), 0))
            for task in killing:
                if task.done():
                    task.result()
            for one in deployments:
                await one.look(number * pace.look / 60)
                tell(f"{one.name}: " + ", ".join(f"{name} {value:,.1f}" for name, value in one.rows[-1].items() if value is not None))
    finally:
        over.set()
        await asyncio.gather(*killing)


async def comes_right(deployment: Deployment, chain: BusyChain, messages: int) -> bool:
    """Whether its figures come to what the chain says."""
    deadline = time.monotonic() + SETTLING_SECONDS
    while time.monotonic() < deadline:
        with suppress(StoreFault, RedisError, OSError):
            if await deployment.is_right(chain, messages):
                return True
        await asyncio.sleep(0.2)
    return False


def growth(values: Sequence[Value]) -> float | None:
    """The median of the second half by that of the first, None of fewer than four."""
    known = [float(value) for value in values if value is not None]
    half = len(known) // 2
    return median(known[half:]) / median(known[:half]) if half >= 2 else None


def _report(deployment: Deployment, pace: Pace, size: Size, *, right: bool) -> Report:
    full = [row for row in deployment.rows if int(row["epochs"] or 0) >= FULL_EPOCHS]
    notes = [
        f"as much is forgotten as is added from epoch {FULL_EPOCHS:,} on ({FULL_EPOCHS * pace.epoch / 60:.1f} minutes)",
        f"flat: after that, the median of the second half is at most {GROWTH:g} times that of the first",
    ]
    for column in [name for name in deployment.rows[0] if name.endswith("_mib")]:
        grown = growth([row[column] for row in full])
        verdict = "not judged: too few looks" if grown is None else f"{grown:.3f}, {'flat' if grown <= GROWTH else 'NOT flat'}"
        notes.append(f"{column.replace('_', ' ')}: {verdict}")
    notes.append(f"in the end every window is {'' if right else 'NOT '}what the chain says, after {deployment.kills} kills")
    title = f"Soak, {deployment.name}: {size.messages} messages a tipset, an epoch every {pace.epoch:g} s"
    return Report(f"soak_{deployment.name}", title, deployment.rows, notes)
