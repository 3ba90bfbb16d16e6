"""Several processes as their operator starts them: followers, workers, a Redis that keeps what it has, and what may happen to them."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from redis import Redis as BlockingRedis
from redis.exceptions import RedisError

from streams import topics
from tests.brokers import Broker
from tests.conftest import servers
from tests.end_to_end.product import COMMAND, WINDOWS

STOPPING_SECONDS = 20.0
APPLYING_SECONDS = 90.0


class KeptRedis:
    """A server with an append-only file, that can be killed and started again on it."""

    def __init__(self, folder: str) -> None:
        self.url = f"unix://{folder}/redis.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it has read its file."""
        options = ("--port", "0", "--unixsocket", f"{self._folder}/redis.sock", "--dir", self._folder, "--appendonly", "yes", "--save", "")
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
        shutil.copytree(self._folder, to, ignore=shutil.ignore_patterns("*.sock"))

    def become(self, copy: Path) -> None:
        """Come back as an older copy, while it is stopped."""
        shutil.rmtree(self._folder)
        shutil.copytree(copy, self._folder)

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


class Fleet:
    """The processes of one deployment; what is still running at the end is told to stop, and expected to do so well.

    Args:
        kafka: the broker.
        redis_url: of the Redis that all share.
        prefix: of the topics; a test has its own.
        log: a file for what they say.
    """

    def __init__(self, kafka: Broker, redis_url: str, prefix: str, log: Path) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._flags = ("--kafka-brokers", kafka.address, "--redis-url", redis_url, "--topic-prefix", prefix)
        self._log = log
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self, command: str, *flags: str) -> asyncio.subprocess.Process:
        """Start a process."""
        windows = ",".join(f"{one}e" for one in WINDOWS)
        with self._log.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *(COMMAND, command, "--listen", "127.0.0.1:0", "--windows", windows, *self._flags, *flags), stdout=said, stderr=said
            )
        self._running.append(process)
        return process

    def check(self) -> None:
        """Nothing has ended that nobody ended."""
        assert [process.returncode for process in self._running if process.returncode is not None] == []

    async def said(self, text: str, times: int) -> None:
        """Wait until it stands so many times in what the processes said."""
        async with asyncio.timeout(60):
            while self._log.read_text(errors="replace").count(text) < times:
                self.check()
                await asyncio.sleep(0.1)

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

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """As a machine that lost its power."""
        process.send_signal(signal.SIGKILL)
        await process.wait()
        self._running.remove(process)

    async def drain(self, process: asyncio.subprocess.Process) -> None:
        """As an operator ends it."""
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), STOPPING_SECONDS)
        self._running.remove(process)
        assert code == 0, f"stopped with exit code {code}: see {self._log}"

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop what runs."""
        if kind is None:
            for process in list(self._running):
                await self.drain(process)
        for process in self._running:
            process.kill()
            await process.wait()


@asynccontextmanager
async def fleet(kafka: Broker, redis_url: str, prefix: str, log: Path) -> AsyncIterator[Fleet]:
    """A fleet; when something fails, what it said is shown."""
    try:
        async with Fleet(kafka, redis_url, prefix, log) as one:
            yield one
    except BaseException:
        if log.exists():
            sys.stderr.write(log.read_text(errors="replace")[-20_000:])
        raise
