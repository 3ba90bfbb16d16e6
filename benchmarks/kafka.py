"""The same records through the same broker into Redis: our workers, bare loops, and other stream processors."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import psutil
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from benchmarks.contestants import CONTESTANTS, WINDOWS
from benchmarks.measure import Report, Rounds, Value, turned
from benchmarks.servers import Server, cpu_seconds, server
from benchmarks.synthetic import CHAIN_ID, NETWORK, Size
from benchmarks.throughput import encoded
from streams import topics
from streams.records import COUNTED_STREAMS, STREAMS
from tests.brokers import Broker, NoKafkaError, running

OURS = "fvm-pulse"
BARE = "aiokafka"
PEERS = Path(".venv-peers/bin/python")
AIM = 0.85
LOOK_SECONDS = 0.02
LONGEST_SECONDS = 300.0
MIB = 2**20
ENDED = "a contestant ended too early: run `python -m benchmarks.contestants` by hand"


class Plan(NamedTuple):
    """How much is measured: tipsets before the first mark and until the last one, rounds."""

    before: int = 260
    tipsets: int = 900
    rounds: int = 3


class Feed(NamedTuple):
    """Topics that are filled."""

    broker: str
    prefix: str


@dataclass(slots=True)
class Race:
    """One contestant's run between its marks."""

    records: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    redis_cpu_seconds: float = 0.0
    peak_mib: float = 0.0


class Watch:
    """Looks at a process and its Redis from outside."""

    def __init__(self, process: asyncio.subprocess.Process, redis: Server) -> None:
        self._process = psutil.Process(process.pid)
        self._redis = redis
        self._peak = 0.0

    def look(self) -> None:
        """Note the memory."""
        self._peak = max(self._peak, self._process.memory_info().rss / MIB)

    def mark(self, records: int) -> Race:
        """Where everything stands now."""
        self.look()
        return Race(records, time.perf_counter(), cpu_seconds(self._process), self._redis.cpu_seconds, self._peak)


def between(first: Race, last: Race) -> Race:
    """What happened between two marks."""
    return Race(
        last.records - first.records,
        last.seconds - first.seconds,
        last.cpu_seconds - first.cpu_seconds,
        last.redis_cpu_seconds - first.redis_cpu_seconds,
        last.peak_mib,
    )


async def race(name: str, python: str, feed: Feed, plan: Plan, turn: int = 0) -> Race:
    """One of the contestants that apply to Redis what a bare loop applies."""
    with server() as redis:
        process = await asyncio.create_subprocess_exec(
            *(python, "-m", "benchmarks.contestants", name, "--broker", feed.broker, "--prefix", f"{feed.prefix}.{NETWORK}"),
            *("--group", f"{name}-{turn}"),
            *("--redis", redis.socket, "--first", str(2 * plan.before), "--last", str(2 * plan.tipsets)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        marks = []
        try:
            watch = Watch(process, redis)
            async with asyncio.timeout(LONGEST_SECONDS):
                for mark, records in (("first", 2 * plan.before), ("last", 2 * plan.tipsets)):
                    await _said(process, mark, watch)
                    marks.append(watch.mark(records))
        except psutil.NoSuchProcess as gone:
            raise RuntimeError(ENDED) from gone
        finally:
            await _end(process)
    return between(*marks)


async def _said(process: asyncio.subprocess.Process, mark: str, watch: Watch) -> None:
    stdout = cast("asyncio.StreamReader", process.stdout)
    saying = asyncio.ensure_future(stdout.readline())
    while not saying.done():
        await asyncio.wait([saying], timeout=LOOK_SECONDS)
        watch.look() if not saying.done() else None
    if saying.result().decode().strip() != mark:
        raise RuntimeError(ENDED)


async def race_ours(feed: Feed, plan: Plan, group: str) -> Race:
    """A worker of the product, as its operator starts it. What it has applied is what the ledger of heights says."""
    with server() as redis:
        async with Redis(unix_socket_path=redis.socket) as client:
            command = str(Path(sys.executable).parent / "fvm-pulse")
            flags = ("--kafka-brokers", feed.broker, "--topic-prefix", feed.prefix, "--redis-url", f"unix://{redis.socket}")
            more = ("--consumer-group", group, "--windows", ",".join(WINDOWS), "--listen", "127.0.0.1:0", "--log-level", "warning")
            process = await asyncio.create_subprocess_exec(
                command, "worker", *flags, *more, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            watch = Watch(process, redis)
            try:
                async with asyncio.timeout(LONGEST_SECONDS):
                    first = watch.mark(await _reached(client, 2 * plan.before, watch))
                    return between(first, watch.mark(await _reached(client, 2 * plan.tipsets, watch)))
            finally:
                await _end(process)


async def _reached(redis: Redis, records: int, watch: Watch) -> int:
    client = cast("Any", redis)
    keys = [f"pulse:{{{NETWORK}}}:{stream}:ranges:ledger:totals" for stream in COUNTED_STREAMS]
    while True:
        applied = sum([int(await client.hget(key, "processed") or 0) for key in keys])
        if applied >= records:
            return applied
        watch.look()
        await asyncio.sleep(LOOK_SECONDS)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def fill(broker: Broker, prefix: str, partitions: int, records: Sequence[bytes]) -> Feed:
    """Put the records into topics as a follower would, keyed by height."""
    names = {stream: topics.topic_of(prefix, NETWORK, stream) for stream in STREAMS}
    async with topics.admin(broker.brokers) as client:
        await topics.ensure(client, list(names.values()), topics.Plan(prefix, partitions, 24 * 3600))
    headers = topics.headers(NETWORK, CHAIN_ID)
    async with AIOKafkaProducer(
        bootstrap_servers=broker.address, compression_type="gzip", max_batch_size=2**20, max_request_size=topics.LARGEST_RECORD_BYTES
    ) as producer:
        for place, value in enumerate(records):
            topic = names[COUNTED_STREAMS[place % 2]]
            await producer.send(topic, value, str(place // 2).encode(), headers=headers)
        await producer.flush()
    return Feed(broker.address, prefix)


def contenders() -> dict[str, str]:
    """The Python that runs each of the others; those of other libraries only where they are installed."""
    return {name: sys.executable if name == BARE else str(PEERS) for name in CONTESTANTS if name == BARE or PEERS.exists()}


async def kafka(size: Size, plan: Plan | None = None, tell: Callable[[str], None] = lambda _: None) -> list[Report]:
    """The same on a broker of its own; nothing where there is no Kafka."""
    try:
        with running() as broker:
            return await measured(broker, size, plan or Plan(), tell)
    except NoKafkaError as reason:
        return [Report("kafka", "Over Kafka: not measured", [{"contender": OURS, "messages_per_second": None}], (str(reason),))]


async def measured(broker: Broker, size: Size, plan: Plan, tell: Callable[[str], None] = lambda _: None) -> list[Report]:
    """The contest on topics of one partition; `benchmarks.scaling` has that of several workers."""
    feed = await fill(broker, "ordered", 1, encoded(size, plan.tipsets))
    contest, races = await _contest(feed, plan, tell)
    return [_report(size, plan, contest, races)]


async def _contest(feed: Feed, plan: Plan, tell: Callable[[str], None]) -> tuple[Rounds, dict[str, list[Race]]]:
    rounds, races, others = Rounds(), cast("dict[str, list[Race]]", {}), contenders()
    for turn in range(plan.rounds):
        for name in turned([OURS, *others], turn):
            tell(f"round {turn + 1} of {plan.rounds}: {name}")
            done = await (race_ours(feed, plan, f"ours{turn}") if name == OURS else race(name, others[name], feed, plan, turn))
            tell(f"  {done.records / done.seconds:,.0f} records/s")
            rounds.add(name, done.seconds / done.records, (done.cpu_seconds + done.redis_cpu_seconds) / done.records)
            races.setdefault(name, []).append(done)
    return rounds, races


def _row(name: str, races: Sequence[Race], size: Size) -> dict[str, Value]:
    messages = sum(one.records for one in races) / 2 * size.messages
    seconds = sum(one.seconds for one in races)
    redis = sum(one.redis_cpu_seconds for one in races)
    return {
        "contender": name,
        "messages_per_second": messages / seconds,
        "cpu_seconds_per_million_messages": (sum(one.cpu_seconds for one in races) + redis) / messages * 1e6,
        "redis_share_of_a_core": redis / seconds,
        "peak_mib": max(one.peak_mib for one in races),
    }


def _report(size: Size, plan: Plan, rounds: Rounds, races: dict[str, list[Race]]) -> Report:
    rows = [
        {**_row(name, races[name], size), "ratio": rounds.ratio(name, BARE), "ratio_by_round": rounds.spread(name, BARE)} for name in races
    ]
    notes = [
        f"ratio: to the bare loop of {BARE}, median of {plan.rounds} interleaved rounds of {plan.tipsets - plan.before} tipsets; aim {AIM}",
        f"all others do the writes of benchmarks/bare.py, one script a record; windows {','.join(WINDOWS)}; one process each",
        "processor time: the consumer and Redis, without the broker; memory: the consumer",
    ]
    if not PEERS.exists():
        notes.append("confluent-kafka, Quix Streams and Bytewax were left out: `make peers` installs them")
    return Report("kafka", f"Kafka to Redis, {size.messages} messages a tipset, topics of one partition", rows, notes)
