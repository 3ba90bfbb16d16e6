"""Several processes as their operator starts them: followers, workers, a Redis that keeps what it has, and what may happen to them."""

import asyncio
import contextlib
import heapq
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from redis import Redis as BlockingRedis
from redis.exceptions import RedisError

from streams import topics
from streams.records import STREAMS
from tests.brokers import Broker
from tests.conftest import servers
from tests.end_to_end.product import COMMAND, WINDOWS

STOPPING_SECONDS = 20.0
APPLYING_SECONDS = 90.0
PARTITIONS = 8
REPEATED = "repeated"
REPEATED_WITHIN_SECONDS = 15.0


class KeptRedis:
    """A server with an append-only file, that can be killed and started again on it."""

    def __init__(self, folder: str) -> None:
        self.url = f"unix://{folder}/redis.sock"
        self.folder = Path(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it has read its file."""
        options = ("--port", "0", "--unixsocket", f"{self.folder}/redis.sock", "--dir", self.folder, "--appendonly", "yes", "--save", "")
        self._process = subprocess.Popen([servers()["valkey"], *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        with BlockingRedis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.02)
                else:
                    return
        raise RuntimeError("Redis did not start")

    def copy(self, to: Path) -> None:
        """What is on its disk now."""
        shutil.copytree(self.folder, to, ignore=shutil.ignore_patterns("*.sock"))

    def become(self, copy: Path) -> None:
        """Come back as an older copy, while it is stopped."""
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, hard."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@contextmanager
def kept_redis() -> Iterator[KeptRedis]:
    """A running server in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        server = KeptRedis(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Cable:
    """A way to a Redis that can be cut: connections end, new ones are refused, until it is mended."""

    def __init__(self, to: str, folder: Path) -> None:
        self.url = f"unix://{folder}/cable.sock"
        self._to = to
        self._path = folder / "cable.sock"
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    async def cut(self) -> None:
        """Let nothing through any more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for writer in self._open:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_unix_connection(self._to)
        self._open |= {writer, other_writer}
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))
        self._open -= {writer, other_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(2**16):
                writer.write(part)
                await writer.drain()
        writer.close()


class Processes:
    """Some processes of the product; what is still running at the end is told to stop, and expected to do so well.

    Args:
        flags: that all are started with.
        log: what they say goes to files beside it, one for each process.
    """

    def __init__(self, flags: Sequence[str], log: Path) -> None:
        self._flags = flags
        self._log = log
        self._said: dict[asyncio.subprocess.Process, Path] = {}
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self, command: str, *flags: str) -> asyncio.subprocess.Process:
        """Start a process."""
        log = self._log.with_name(f"{self._log.name}-{len(self._said)}-{command}")
        with log.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *(COMMAND, command, "--listen", "127.0.0.1:0", *self._flags, *flags),
                stdout=said,
                stderr=said,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            )
        self._running.append(process)
        self._said[process] = log
        return process

    def check(self) -> None:
        """Nothing has ended that nobody ended."""
        ended = {self._said[one].name: one.returncode for one in self._running if one.returncode is not None}
        assert not ended, f"ended by themselves, with exit codes: {ended}"

    async def said(self, process: asyncio.subprocess.Process, text: str, times: int = 1) -> None:
        """Wait until a process has said it so many times."""
        async with asyncio.timeout(60):
            while self._said[process].read_text(errors="replace").count(text) < times:
                self.check()
                await asyncio.sleep(0.1)

    async def working(self, process: asyncio.subprocess.Process) -> None:
        """Wait until a worker has its share of the partitions."""
        await self.said(process, "working  ")

    def tell(self) -> None:
        """Show the last of what every process said."""
        for log in self._said.values():
            sys.stderr.write(f"--- {log.name}\n{log.read_text(errors='replace')[-5000:]}")

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """As a machine that lost its power."""
        process.send_signal(signal.SIGKILL)
        await process.wait()
        self._running.remove(process)

    def forget(self, process: asyncio.subprocess.Process) -> None:
        """It has ended, and was meant to."""
        self._running.remove(process)

    async def drain(self, process: asyncio.subprocess.Process) -> None:
        """As an operator ends it; one that only begins knows nothing better than to die of the signal."""
        begun = self._said[process].stat().st_size > 0
        process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(process.wait(), STOPPING_SECONDS)
        except TimeoutError:
            process.send_signal(signal.SIGABRT)  # it says where it hangs
            await process.wait()
            raise AssertionError(f"{self._said[process].name} did not stop within {STOPPING_SECONDS:.0f} s") from None
        self._running.remove(process)
        assert code == 0 or (code == -signal.SIGTERM and not begun), f"stopped with exit code {code}: see {self._said[process]}"

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop what runs; when something failed, what they said is shown."""
        try:
            for process in list(self._running) if kind is None else ():
                await self.drain(process)
        except BaseException:
            self.tell()
            raise
        finally:
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if kind is not None:
            self.tell()


class Fleet(Processes):
    """The processes of one deployment over Kafka.

    Args:
        kafka: the broker.
        redis_url: of the Redis that all share.
        prefix: of the topics; a test has its own.
        log: what they say goes to files beside it, one for each process.
    """

    def __init__(self, kafka: Broker, redis_url: str, prefix: str, log: Path) -> None:
        windows = ",".join(f"{one}e" for one in WINDOWS)
        where = ("--kafka-brokers", kafka.address, "--redis-url", redis_url, "--topic-prefix", prefix)
        super().__init__(("--windows", windows, *where), log)
        self._kafka = kafka
        self._prefix = prefix

    async def applied(self, group: str = "fvm-pulse") -> None:
        """Wait until the group has applied all that is published: the head may be there before what is below it."""
        async with asyncio.timeout(APPLYING_SECONDS), AIOKafkaConsumer(bootstrap_servers=self._kafka.address) as consumer:
            client = AIOKafkaAdminClient(bootstrap_servers=self._kafka.address)
            await client.start()
            try:
                while await self._lag(consumer, client, f"{group}.{self._prefix}"):
                    self.check()
                    await asyncio.sleep(0.2)
            finally:
                await client.close()

    async def _lag(self, consumer: AIOKafkaConsumer, client: AIOKafkaAdminClient, group: str) -> int:
        found = await topics.partitions_of(client)
        partitions = [
            TopicPartition(name, number) for name in found if topics.network_of(self._prefix, name) for number in range(found[name])
        ]
        done = await client.list_consumer_group_offsets(group)
        ends = await consumer.end_offsets(partitions)
        return sum(max(end - (done[one].offset if one in done else 0), 0) for one, end in ends.items())


class Repeater:
    """Delivers every record of a prefix up to twice more, some time later and on any partition, so in any order.

    Args:
        kafka: the broker; it may go away and come back.
        prefix: of the topics.
        rng: which, when and where.
    """

    def __init__(self, kafka: Broker, prefix: str, rng: random.Random) -> None:
        self.records = self.repeated = 0
        self._kafka = kafka
        self._topics = [topics.topic_of(prefix, "testing", stream) for stream in STREAMS]
        self._rng = rng
        self._due: list[tuple[float, int, ConsumerRecord]] = []
        self._last = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Repeater"]:
        """Repeat as long as the block, and then what is left at once."""
        async with (
            AIOKafkaConsumer(*self._topics, bootstrap_servers=self._kafka.address, auto_offset_reset="earliest") as consumer,
            AIOKafkaProducer(bootstrap_servers=self._kafka.address, max_request_size=topics.LARGEST_RECORD_BYTES) as producer,
            asyncio.TaskGroup() as group,
        ):
            repeating = group.create_task(self._repeat(consumer, producer))
            try:
                yield self
            except BaseException:
                repeating.cancel()
                raise
            self._last = True

    async def _repeat(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        while not (self._last and not self._due and await self._at_the_end(consumer)):
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                for message in messages:
                    self._note(message)
            while self._due and (self._last or self._due[0][0] <= time.monotonic()):
                message = heapq.heappop(self._due)[-1]
                partition = self._rng.randrange(PARTITIONS)
                headers = [*message.headers, (REPEATED, b"")]
                await producer.send_and_wait(message.topic, message.value, message.key, partition=partition, headers=headers)
                self.repeated += 1

    def _note(self, message: ConsumerRecord) -> None:
        if REPEATED in dict(message.headers):
            return
        self.records += 1
        for copy in range(self._rng.randint(0, 2)):
            due = time.monotonic() + self._rng.uniform(0, REPEATED_WITHIN_SECONDS)
            heapq.heappush(self._due, (due, 2 * self.records + copy, message))

    async def _at_the_end(self, consumer: AIOKafkaConsumer) -> bool:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        return all([await consumer.position(one) >= end for one, end in ends.items()])
