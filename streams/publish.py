"""The publisher: a follower's records on Kafka, none lost and none out of date.

Each record goes to the topic of its stream, keyed by height, from an idempotent producer that waits for all replicas. What is
not acknowledged is kept, within bounds, and sent again by a new producer where the old one gave up: registers make the
repetition harmless. Brokers that are away thus make `put` wait, and lose nothing.

Where to go on after a restart is not what the workers have applied so far: they may be behind, and a rewind that is still on
its way would then undo what the next run takes for published. It is what *was published*, kept in a `Ledger`:

- before a height is first published, it is reserved (`reserve`);
- before a rewind is sent, what it undoes is taken off the ledger (`rewound`);
- after both records of a tipset are acknowledged, and all records before them, it is put on the ledger (`published`).

The ledger holds what a new head may hang from, so only tipsets that came on top of those before; what is filled in further down
(`streams.history`) hangs from one of these, and Redis tells whether it is there.

So at any moment a tipset on the ledger is on Kafka for good, and whatever else is there lies above the ledger's tip and at or
below the reserved height. The first thing that a follower publishes is a rewind of exactly that range, with a higher sequence.
The same holds for a leader that was taken for dead: it can neither reserve nor rewind any more, since the ledger refuses it,
so all that it may still say is older than the rewind of its successor.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams import topics
from streams.brokers import Brokers
from streams.cancellation import cancellable
from streams.chain import Published
from streams.contents import Learnt
from streams.errors import BrokerFault
from streams.events import Position
from streams.records import STREAMS, LogsRecord, Record, Rewind, encode, stream_of

log = structlog.get_logger(__name__)

IN_FLIGHT_RECORDS = 256
IN_FLIGHT_BYTES = 32 * 2**20
RESERVED_EPOCHS = 256
"""How many heights are reserved at once, so that the ledger is not asked before every record."""
SAVED_AT_ONCE = 64
LINGER_MS = 5
STOPPING_SECONDS = 8.0


class Ledger(Protocol):
    """What outlives a publisher besides Kafka. Every method but `open` and `keep` raises Superseded once another one is open."""

    async def open(self, network: str, chain_id: int) -> Position:
        """Wait until nobody else publishes, and say where to go on."""

    async def reserve(self, top: int) -> None:
        """Heights up to `top` may be published from now on."""

    async def rewound(self, height: int) -> None:
        """Nothing above `height` counts as published any more."""

    async def published(self, tips: Sequence[Published]) -> None:
        """These are on Kafka, lowest first, on top of what was there."""

    async def keep(self, learnt: Learnt) -> None:
        """Remember it for the next run."""


@dataclass(slots=True, eq=False)
class _Sent:
    """A record that is not acknowledged yet; `tip` is what its acknowledgement makes published."""

    topic: str
    key: bytes
    value: bytes
    tip: Published | None
    delivery: asyncio.Future[Any]


class Publisher:
    """A sink that publishes; `run` it beside the connections.

    Args:
        brokers: to publish to.
        plan: what topics are made with.
        ledger: what is kept besides Kafka.
    """

    def __init__(self, brokers: Brokers, plan: topics.Plan, ledger: Ledger) -> None:
        self._brokers = brokers
        self._plan = plan
        self._ledger = ledger
        self._headers: list[tuple[str, bytes]] = []
        self._producer: AIOKafkaProducer | None = None
        self._sent: deque[_Sent] = deque()
        self._bytes = 0
        self._tips: list[Published] = []
        self._reserved = -1
        self._top = -1
        self._sending = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._changed = asyncio.Condition()

    async def prepare(self, network: str, chain_id: int) -> Position:
        """Have the topics, wait for the lead, and say where to go on."""
        names = [topics.topic_of(self._plan.prefix, network, stream) for stream in STREAMS]

        async def look(client: AIOKafkaAdminClient) -> None:
            await topics.ensure(client, names, self._plan)
            for name in names:
                await topics.check_origin(self._brokers, name, network, chain_id)

        await topics.asked(self._brokers, look)
        self._headers = topics.headers(network, chain_id)
        position = await self._ledger.open(network, chain_id)
        self._reserved = position.reserved if position.reserved is not None else -1
        self._top = max((one.height for one in position.published), default=-1)
        await self._connect()
        return position

    async def put(self, record: Record) -> None:
        """Send a record; waits while too much is not acknowledged."""
        height = record.top if isinstance(record, Rewind) else record.height
        value = encode(record)
        async with self._changed:
            await self._changed.wait_for(lambda: self._room_for(len(value)))
        if height > self._reserved:
            await self._ledger.reserve(height + RESERVED_EPOCHS)
            self._reserved = height + RESERVED_EPOCHS
        if isinstance(record, Rewind):
            await self._undo(record.height)
        topic = topics.topic_of(self._plan.prefix, record.network, stream_of(record))
        tip = self._tip(record)
        async with self._sending:
            sent = _Sent(topic, str(record.height).encode(), value, tip, await self._send(topic, str(record.height).encode(), value))
            self._sent.append(sent)
        self._bytes += len(value)
        async with self._changed:
            self._changed.notify_all()

    async def keep(self, learnt: Learnt) -> None:
        """See `streams.connections.Sink`."""
        await self._ledger.keep(learnt)

    async def run(self) -> None:
        """Take acknowledgements until cancelled.

        Raises:
            BrokerFault: Kafka will never take a record.
            Superseded: another follower publishes now.
        """
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._sent))
            await self._acknowledge(self._sent[0])

    async def stop(self) -> None:
        """Let what is on its way arrive, within seconds, and write down what did."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOPPING_SECONDS):
                while self._sent:
                    await self._acknowledge(self._sent[0])
                await self._save()
        await self._disconnect()

    def _tip(self, record: Record) -> Published | None:
        """The tipset that is published with this record, if it comes on top of those before."""
        if isinstance(record, Rewind):
            self._top = min(self._top, record.height)
        # The logs of a tipset come after its messages: with them it is published.
        if not isinstance(record, LogsRecord) or record.height <= self._top:
            return None
        self._top = record.height
        return Published(record.height, record.hash)

    def _room_for(self, size: int) -> bool:
        return not self._sent or (len(self._sent) < IN_FLIGHT_RECORDS and self._bytes + size <= IN_FLIGHT_BYTES)

    async def _undo(self, height: int) -> None:
        """What is above `height` does not count as published, whether it is acknowledged or not."""
        async with self._saving:
            for sent in self._sent:
                if sent.tip is not None and sent.tip.height > height:
                    sent.tip = None
            self._tips = [tip for tip in self._tips if tip.height <= height]
            await self._ledger.rewound(height)

    async def _acknowledge(self, sent: _Sent) -> None:
        try:
            await asyncio.shield(sent.delivery)
        except KafkaError as error:
            await self._again(error)
            return
        async with self._changed:
            self._sent.popleft()
            self._bytes -= len(sent.value)
            if sent.tip is not None:
                self._tips.append(sent.tip)
            self._changed.notify_all()
        if not self._sent or len(self._tips) >= SAVED_AT_ONCE:
            await self._save()

    async def _save(self) -> None:
        async with self._saving:
            if self._tips:
                await self._ledger.published(tuple(self._tips))
                self._tips.clear()

    async def _send(self, topic: str, key: bytes, value: bytes) -> asyncio.Future[Any]:
        """The future of a delivery; what fails at once fails in it."""
        try:
            if self._producer is None:
                raise KafkaError("not connected")
            delivery: asyncio.Future[Any] = await self._producer.send(topic, value, key, headers=self._headers)
            return delivery
        except KafkaError as error:
            failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    async def _again(self, error: KafkaError) -> None:
        """A producer gave up: send what is not acknowledged with a new one, in the same order."""
        if isinstance(error, MessageSizeTooLargeError):
            raise BrokerFault(f"a record is too large for Kafka ({error}): raise max.message.bytes of the topics") from error
        if (reason := topics.refusal(error, "write to the topics")) is not None:
            raise reason from error
        log.warning("Kafka did not take records, sending them again", records=len(self._sent), reason=str(error) or type(error).__name__)
        async with self._sending:
            await self._disconnect()
            await asyncio.sleep(1)
            await self._connect()
            for sent in self._sent:
                sent.delivery.cancel()
                sent.delivery = await self._send(sent.topic, sent.key, sent.value)

    async def _connect(self) -> None:
        """A new producer; waits for the brokers."""
        self._producer = await topics.running_producer(self._brokers, acks="all", linger_ms=LINGER_MS, max_batch_size=2**20)

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with cancellable(), contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(STOPPING_SECONDS):
                    await producer.stop()
