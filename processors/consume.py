"""The agents over topics: the same as in one process, fed by Kafka.

An offset is committed only after its record is in Redis, or is a dead letter: an agent's event counts as done when its handler
returns, and a handler returns at no other time. So every record is applied at least once, and registers make once of it.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self, cast

import faust
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as kafka
from faust.types.auth import CredentialsT
from mode.threads import WorkerThread

from processors.app import add_agent
from processors.places import Partition, Places
from streams import topics
from streams.brokers import Brokers
from streams.cancellation import cancellable
from streams.records import STREAMS, Stream

log = structlog.get_logger(__name__)

SESSION_SECONDS = 6.0
"""After so long without a sign of life a worker's partitions go to the others."""
METADATA_SECONDS = 30.0
COMMIT_SECONDS = 1.0
FETCHED_BYTES = 2**20
"""Of a partition at once: what is fetched is unpacked between two signs of life. A broker sends a larger record all the same, alone."""
STARTING_SECONDS = 30.0
STOPPING_SECONDS = 7.0
"""How long a last commit and leaving the group may take together: some more than a session, after which we are out anyway."""
GIVING_UP_SECONDS = 1.0
LONGEST_CHAIN_ID = 18
"""In digits."""


class Delivery(NamedTuple):
    """A record as it came: `value` is encoded, `chain_id` what its header says."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    network: str
    stream: Stream
    chain_id: int | None


Handler = Callable[[Delivery], Awaitable[None]]


def delivery_of(message: Any, prefix: str) -> Delivery:
    """What Faust read, as it concerns us."""
    headers = dict(message.headers or ())
    stated = headers.get("chain_id", b"")
    return Delivery(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value or b"",
        topics.network_of(prefix, message.topic) or "",
        message.topic.rpartition(".")[2],
        int(stated) if isinstance(stated, bytes) and len(stated) <= LONGEST_CHAIN_ID and stated.isdigit() else None,
    )


def credentials(brokers: Brokers) -> CredentialsT | None:
    """What the brokers want, in Faust's words."""
    wanted = brokers.arguments()
    context = wanted.get("ssl_context")
    if "sasl_mechanism" in wanted:
        name, password = wanted["sasl_plain_username"], wanted["sasl_plain_password"]
        return SASLCredentials(username=name, password=password, ssl_context=context, mechanism=wanted["sasl_mechanism"])
    return SSLCredentials(context) if context is not None else None


async def _until(deadline: float, step: Coroutine[Any, Any, None]) -> None:
    """Do a step of leaving that needs answers of the brokers, and give it up then (`time.monotonic`).

    However it ends, the steps after it are done: where Faust misses one, a thread stays behind and the process with it.
    """
    task = asyncio.create_task(step)
    await asyncio.wait([task], timeout=max(deadline - time.monotonic(), 0))
    if task.cancel():
        await asyncio.wait([task], timeout=GIVING_UP_SECONDS)
    elif not task.cancelled() and (error := task.exception()) is not None:
        log.warning("Kafka did not let us leave well", reason=str(error) or type(error).__name__)


class _Thread(WorkerThread):
    """A thread that no process waits for at length."""

    def __init__(self, service: Any, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True

    def stop(self) -> None:
        """Wait until it has ended. It says so to the loop of our thread, which stands still meanwhile."""
        self.is_stopped.wait(GIVING_UP_SECONDS)


class _ConsumerThread(kafka.AIOKafkaConsumerThread):
    """Where aiokafka's consumer lives."""

    Worker = _Thread

    async def on_thread_stop(self) -> None:
        """Leave the group, unless that takes too long: an answer may wait for all other members, or for a broker that is away."""
        leave_by = cast("_TopicApp", self.app).leave_by
        await _until(leave_by, super().on_thread_stop())
        if self._consumer is not None and time.monotonic() > leave_by:
            self.thread_loop.set_exception_handler(lambda *_: None)  # requests that fail now have nobody to tell
            await self._consumer._client.close()  # noqa: SLF001 (what a consumer that was interrupted leaves open)


class _Consumer(kafka.Consumer):
    """Starts where the app's places say, instead of where Kafka says."""

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_stop(self) -> None:
        """Commit what is done, unless that takes too long: it is in Redis and so is its place, it would only be read again."""
        await _until(cast("_TopicApp", self.app).leave_by, super().on_stop())

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Seek all partitions that are ours, and answer where to."""
        app, committed = cast("_TopicApp", self.app), await super().seek_to_committed()
        if app.places is None:
            return cast("Mapping[Any, int]", committed)
        starts = await app.places.starts({(one.topic, one.partition): offset for one, offset in committed.items()})
        found = {one: starts[one.topic, one.partition] for one in committed}
        await self.seek_wait(found)
        return found


class _Transport(kafka.Transport):
    Consumer = _Consumer


class _TopicApp(faust.App):
    """A Faust app that keeps nothing on disk, and has places of its own."""

    places: Places | None = None
    leave_by = math.inf

    def _create_directories(self) -> None:
        pass

    def _on_rebalance_when_stopped(self) -> None:
        """Faust would close the consumer here, from the wrong thread; it is being closed."""

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)


class TopicAgents:
    """The agents of all streams over the topics of some networks.

    Args:
        brokers: to read from.
        prefix: of the topics.
        group: whose members share the partitions.
        networks: to be read.
        places: where to start; None: where Kafka says.
        handle: takes a record; if it raises, nothing of its partition is read any more, and `failed` raises the same.
        stopping_seconds: how long the brokers may take to let us go.
    """

    def __init__(
        self,
        brokers: Brokers,
        prefix: str,
        group: str,
        networks: Sequence[str],
        handle: Handler,
        places: Places | None = None,
        *,
        stopping_seconds: float = STOPPING_SECONDS,
    ) -> None:
        self.handled = 0
        self._stopping_seconds = stopping_seconds
        self._prefix = prefix
        self._handle = handle
        self._next: dict[Partition, int] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._up = asyncio.Event()
        self._app = _TopicApp(
            topics.group_of(prefix, group),
            broker=[f"kafka://{address}" for address in brokers.addresses],
            broker_credentials=credentials(brokers),
            web_enabled=False,
            stream_wait_empty=False,
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=SESSION_SECONDS / 4,
            broker_commit_interval=COMMIT_SECONDS,
            consumer_metadata_max_age_ms=int(METADATA_SECONDS * 1000),
            consumer_max_fetch_size=FETCHED_BYTES,
            consumer_auto_offset_reset="earliest",
            producer_max_request_size=topics.LARGEST_RECORD_BYTES,
            topic_disable_leader=True,
            topic_allow_declare=False,
        )
        self._app.places = places
        for stream in STREAMS:
            names = [topics.topic_of(prefix, network, stream) for network in networks]
            source = self._app.topic(*names, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes)
            add_agent(self._app, stream, source, self._take, self._taken)
        self._app.on_startup_finished = self._started

    async def _started(self) -> None:
        self._up.set()

    async def _take(self, event: Any) -> None:
        try:
            await self._handle(delivery_of(event.message, self._prefix))
        except Exception as error:  # noqa: BLE001 (whatever it is, the record must not count as done)
            if not self._failure.done():
                self._failure.set_exception(error)
            await asyncio.Event().wait()

    def _taken(self, event: Any) -> None:
        message = event.message
        self.handled += 1
        self._next[message.topic, message.partition] = message.offset + 1

    @property
    def done(self) -> Mapping[Partition, int]:
        """The offset before which everything is handled that was read, for each partition that anything was read of."""
        return self._next

    async def failed(self) -> None:
        """Wait until a handler raises, and raise that."""
        await asyncio.shield(self._failure)

    def lags(self) -> Mapping[tuple[str, str], int]:
        """Records not applied yet on the partitions that are ours, by network and stream."""
        consumer: Any = self._app.consumer
        found: dict[tuple[str, str], int] = {}
        for partition in consumer.assignment():
            network = topics.network_of(self._prefix, partition.topic)
            end = consumer.highwater(partition)
            if network is not None and end is not None:
                committed = consumer._committed_offset[partition] or 0  # noqa: SLF001 (Faust tells it nowhere else)
                done = max(self._next.get((partition.topic, partition.partition), 0), committed)
                key = network, partition.topic.rpartition(".")[2]
                found[key] = found.get(key, 0) + max(end - done, 0)
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TopicAgents"]:
        """Start the agents; at the end commit what is done and leave the group.

        Raises:
            TimeoutError: Kafka does not let us in.
        """
        try:
            async with asyncio.timeout(STARTING_SECONDS):
                with cancellable():
                    await self._app.start()
                    await self._up.wait()
            yield self
        finally:
            if not self._failure.done():
                self._failure.cancel()
            await self._stop()

    async def _stop(self) -> None:
        """Whatever the brokers do, this ends. Who is cancelled meanwhile waits for it: Faust would leave off halfway."""
        self._app.leave_by = time.monotonic() + self._stopping_seconds
        stopping, cancelled = asyncio.create_task(self._app.stop()), False
        while not stopping.done():
            try:
                await asyncio.wait([stopping])
            except asyncio.CancelledError:
                cancelled = True
        with contextlib.suppress(KafkaError, OSError):
            stopping.result()
        if cancelled:
            raise asyncio.CancelledError
        if time.monotonic() > self._app.leave_by:
            log.warning("Kafka does not answer, leaving its group all the same", waited_seconds=self._stopping_seconds)


class DeadLetters:
    """Puts records that can not be applied aside, in a topic of their own, with the reason in a header."""

    def __init__(self, brokers: Brokers, prefix: str) -> None:
        self._topic = topics.dead_letters_of(prefix)
        self._brokers = brokers
        self._producer: AIOKafkaProducer | None = None

    async def put(self, delivery: Delivery, reason: str) -> None:
        """Returns when Kafka has it, however long that takes."""
        headers = [
            ("reason", reason.encode()),
            ("topic", delivery.topic.encode()),
            ("partition", str(delivery.partition).encode()),
            ("offset", str(delivery.offset).encode()),
        ]
        if delivery.chain_id is not None:
            headers += topics.headers(delivery.network, delivery.chain_id)
        if self._producer is None:
            raise RuntimeError("the dead letters are not connected")
        value = delivery.value
        while True:
            try:
                await self._producer.send_and_wait(self._topic, value, delivery.key, headers=headers)
                return
            except MessageSizeTooLargeError:
                if not value:
                    raise
                value = b""  # where it lies, and why it was not applied, is what can be kept of it
            except KafkaError as error:
                log.warning("a dead letter can not be put aside, trying again", reason=str(error) or type(error).__name__)
                await asyncio.sleep(1)

    async def __aenter__(self) -> Self:
        """Connect; waits for the brokers."""
        self._producer = await topics.running_producer(self._brokers)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect; a letter that is still on its way is written again by whoever reads its record next."""
        if self._producer is not None:
            await _until(time.monotonic() + GIVING_UP_SECONDS, self._producer.stop())
