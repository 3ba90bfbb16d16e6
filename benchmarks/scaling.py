"""How far workers scale: as they are, and each held to a share of a core, so that the cores of this machine are not the limit.

A process that is held is stopped while it has had more of a processor than its share, and goes on as soon as it has not. So many
workers together need no more than their shares, and what they do not reach then is kept from them by something else.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple, cast

import psutil
from redis.asyncio import Redis

from benchmarks.contestants import WINDOWS
from benchmarks.kafka import Feed, fill
from benchmarks.measure import Report, Value
from benchmarks.servers import server
from benchmarks.synthetic import NETWORK, Size
from benchmarks.throughput import encoded
from streams.records import COUNTED_STREAMS
from tests.brokers import Broker, NoKafkaError, running

AIM = 1.6
LOOK_SECONDS = 0.002
BURST_SECONDS = 0.005
WAIT_SECONDS = 0.05
LONGEST_SECONDS = 300.0
PARTITIONS = 8
TOO_FEW = "the workers had applied most before all of them were there: give them more tipsets"


class Plan(NamedTuple):
    """How much is measured: tipsets before the first mark, until the last one, and in the topics; rounds.

    There are more tipsets than are applied: at the last mark no partition has run dry, so all workers still have something to do.
    """

    before: int = 260
    tipsets: int = 900
    filled: int = 1200
    rounds: int = 3


class Setup(NamedTuple):
    """So many workers; the share of a core that each is held to, and the one that Redis is held to."""

    workers: int
    share: float | None = None
    redis_share: float | None = None

    def __str__(self) -> str:
        held = f", each held to {self.share:g} of a core" if self.share else ""
        return f"{self.workers} of our workers{held}" + (f", Redis held to {self.redis_share:g}" if self.redis_share else "")


SETUPS = (
    *(Setup(1), Setup(2)),
    *(Setup(workers, 0.125) for workers in (1, 2, 4)),
    *(Setup(workers, None, 0.25) for workers in (1, 2)),
)


@dataclass(frozen=True, slots=True)
class Look:
    """Where everything stands at a moment, or what happened between two."""

    records: int
    seconds: float
    workers_cpu: float
    redis_cpu: float
    broker_cpu: float

    def since(self, other: "Look") -> "Look":
        """What happened after another look."""
        return Look(
            self.records - other.records,
            self.seconds - other.seconds,
            self.workers_cpu - other.workers_cpu,
            self.redis_cpu - other.redis_cpu,
            self.broker_cpu - other.broker_cpu,
        )


def processor_seconds(process: psutil.Process) -> float:
    """What a process has used of a processor, by the clock that the kernel keeps for it: in nanoseconds, where psutil has hundredths."""
    return time.clock_gettime((~process.pid << 3) | 2)


@contextmanager
def held(process: psutil.Process, share: float | None) -> Iterator[None]:
    """Let a process have no more than this share of a core for as long as the block."""
    if share is None:
        yield
        return
    task = asyncio.get_running_loop().create_task(_hold(process, share))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


async def _hold(process: psutil.Process, share: float) -> None:
    began, before, left, stopped = time.perf_counter(), processor_seconds(process), 0.0, False
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now, used = time.perf_counter(), processor_seconds(process)
        # What was not used is not saved up, but for a moment.
        left = min(left + share * (now - began) - (used - before), BURST_SECONDS)
        began, before = now, used
        if stopped and left >= BURST_SECONDS:
            process.send_signal(signal.SIGCONT)
            stopped = False
        elif not stopped and left < 0:
            process.send_signal(signal.SIGSTOP)
            stopped = True


async def _at_work(log: IO[bytes]) -> None:
    while b"working  " not in os.pread(log.fileno(), 2**20, 0):  # noqa: ASYNC110 (another process is waited for)
        await asyncio.sleep(WAIT_SECONDS)


@asynccontextmanager
async def working(feed: Feed, group: str, setup: Setup, socket: str) -> AsyncIterator[list[psutil.Process]]:
    """Workers as their operator starts them, each held as soon as all have their partitions."""
    command = str(Path(sys.executable).parent / "fvm-pulse")
    flags = ("--kafka-brokers", feed.broker, "--topic-prefix", feed.prefix, "--redis-url", f"unix://{socket}", "--consumer-group", group)
    more = ("--windows", ",".join(WINDOWS), "--listen", "127.0.0.1:0")
    started: list[asyncio.subprocess.Process] = []
    logs: list[IO[bytes]] = []
    with contextlib.ExitStack() as files, contextlib.ExitStack() as holding:
        try:
            for _ in range(setup.workers):
                said = files.enter_context(tempfile.TemporaryFile())
                started.append(await asyncio.create_subprocess_exec(command, "worker", *flags, *more, stdout=said, stderr=said))
                logs.append(said)
            processes = [psutil.Process(one.pid) for one in started]
            await asyncio.gather(*(_at_work(log) for log in logs))
            for process in processes:
                holding.enter_context(held(process, setup.share))
            yield processes
        finally:
            holding.close()
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()


async def race(broker: Broker, feed: Feed, plan: Plan, setup: Setup, group: str) -> Look:
    """What happens between the marks."""
    with server() as redis, held(redis.process, setup.redis_share):
        async with (
            asyncio.timeout(LONGEST_SECONDS),
            Redis(unix_socket_path=redis.socket) as client,
            working(feed, group, setup, redis.socket) as workers,
        ):

            def look(records: int) -> Look:
                used = sum(map(processor_seconds, workers))
                return Look(records, time.perf_counter(), used, processor_seconds(redis.process), processor_seconds(broker.process))

            first = look(await _reached(client, 2 * plan.before))
            if first.records > plan.before + plan.tipsets:
                raise RuntimeError(TOO_FEW)
            return look(await _reached(client, 2 * plan.tipsets)).since(first)


async def _reached(redis: Redis, records: int) -> int:
    keys = [f"pulse:{{{NETWORK}}}:{stream}:ranges:ledger:totals" for stream in COUNTED_STREAMS]
    while True:
        applied = sum([int(await cast("Any", redis).hget(key, "processed") or 0) for key in keys])
        if applied >= records:
            return applied
        await asyncio.sleep(WAIT_SECONDS)


async def scaling(
    size: Size, plan: Plan | None = None, setups: Sequence[Setup] = SETUPS, tell: Callable[[str], None] = lambda _: None
) -> list[Report]:
    """All setups on a broker of their own; nothing where there is no Kafka."""
    try:
        with running() as broker:
            return [await measured(broker, size, plan or Plan(), setups, tell)]
    except NoKafkaError as reason:
        return [Report("scaling", "Workers: not measured", [{"setup": "", "messages_per_second": None}], (str(reason),))]


async def measured(
    broker: Broker, size: Size, plan: Plan, setups: Sequence[Setup] = SETUPS, tell: Callable[[str], None] = lambda _: None
) -> Report:
    """All setups in turns on the same records."""
    feed = await fill(broker, "scaling", PARTITIONS, encoded(size, plan.filled))
    races: dict[Setup, list[Look]] = {setup: [] for setup in setups}
    for turn in range(plan.rounds):
        for number, setup in enumerate(setups):
            done = await race(broker, feed, plan, setup, f"scaling{turn}-{number}")
            races[setup].append(done)
            tell(f"round {turn + 1} of {plan.rounds}: {setup}: {done.records / 2 * size.messages / done.seconds:,.0f} messages/s")
    rows = [_row(setup, races, size) for setup in setups]
    return Report("scaling", f"Workers on topics of {PARTITIONS} partitions, {size.messages} messages a tipset", rows, _notes(rows, plan))


def _row(setup: Setup, races: dict[Setup, list[Look]], size: Size) -> dict[str, Value]:
    looks, one = races[setup], races.get(setup._replace(workers=1))
    rates, messages = [_rate(look, size) for look in looks], sum(look.records for look in looks) / 2 * size.messages
    found: dict[str, Value] = {"setup": str(setup), "messages_per_second": median(rates), "by_round": _spread(rates)}
    found["times_one"] = median(rates) / median(_rate(look, size) for look in one) if one else None
    for name in ("workers", "redis", "broker"):
        found[f"{name}_s_per_million"] = sum(getattr(look, f"{name}_cpu") for look in looks) / messages * 1e6
    found["redis_share_of_a_core"] = cast("float", found["redis_s_per_million"]) * median(rates) / 1e6
    return found


def _rate(look: Look, size: Size) -> float:
    return look.records / 2 * size.messages / look.seconds


def _spread(rates: Sequence[float]) -> str:
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


def _notes(rows: Sequence[dict[str, Value]], plan: Plan) -> list[str]:
    """What is the limit: which of them needs a whole core first."""
    redis, worker = (max(cast("float", row[f"{name}_s_per_million"]) for row in rows) for name in ("redis", "workers"))
    cores, load = psutil.cpu_count(), os.getloadavg()[0]
    return [
        f"{plan.rounds} rounds of {plan.tipsets - plan.before} tipsets, medians; {cores} cores for all, load {load:.1f} at the end",
        f"aim: two are {AIM} times as fast as one, where neither Redis nor the machine is the limit",
        "s per million: seconds of a core for a million messages",
        f"Redis applies on one thread: at {redis:.1f} s a million it is full at {1e6 / redis:,.0f} messages/s, whatever the workers",
        f"a worker uses up to {worker:.1f} s a million: with a core for each, {worker / redis:.1f} of them fill it",
    ]
