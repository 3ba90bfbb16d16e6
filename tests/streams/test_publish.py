"""The publisher over a real Kafka, with a ledger in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer

from streams import topics
from streams.chain import Published
from streams.contents import Learnt
from streams.errors import Superseded
from streams.events import Position
from streams.memory import Memory
from streams.publish import IN_FLIGHT_RECORDS, Publisher
from streams.records import STREAMS, LogsRecord, Record, Rewind, TipsetRecord, decode
from tests.brokers import Broker

pytestmark = pytest.mark.kafka


class MemoryLedger:
    """Keeps what a ledger keeps; `fenced` as if another one were open."""

    def __init__(self) -> None:
        self.tips: list[Published] = []
        self.reserved = -1
        self.fenced = False

    async def open(self, network: str, chain_id: int) -> Position:
        """Nobody else is there."""
        return Position(7, (), None, Memory())

    async def reserve(self, top: int) -> None:
        """Keep it."""
        self._check()
        self.reserved = top

    async def rewound(self, height: int) -> None:
        """Forget what is above."""
        self._check()
        self.tips = [tip for tip in self.tips if tip.height <= height]

    async def published(self, tips: Sequence[Published]) -> None:
        """Keep them."""
        self._check()
        self.tips += tips

    async def keep(self, learnt: Learnt) -> None:
        """Nothing is learnt here."""

    def _check(self) -> None:
        if self.fenced:
            raise Superseded("another one is open")


def block(height: int) -> str:
    return f"0x{height:064x}"


def records(height: int) -> list[Record]:
    """The records of a tipset."""
    parent = height - 1 if height else None
    tipset = TipsetRecord(
        network="testing",
        sequence=2 * height,
        height=height,
        parent_height=parent,
        hash=block(height),
        parent_hash=block(max(height - 1, 0)),
        timestamp_seconds=30 * height,
        noticed_at=0.0,
        base_fee_attofil=100,
    )
    logs = LogsRecord(network="testing", sequence=2 * height + 1, height=height, parent_height=parent, hash=block(height), noticed_at=0.0)
    return [tipset, logs]


@asynccontextmanager
async def publishing(kafka: Broker, prefix: str, ledger: MemoryLedger) -> AsyncIterator[Publisher]:
    """A publisher that runs."""
    publisher = Publisher(kafka.brokers, topics.Plan(prefix, 4, 3600), ledger)
    await publisher.prepare("testing", 1337)
    running = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Superseded):
            await running
        await publisher.stop()


async def read(kafka: Broker, prefix: str, least: int) -> list[Record]:
    """Everything in the topics, once at least so many records are there."""
    names = [topics.topic_of(prefix, "testing", stream) for stream in STREAMS]
    found: list[Record] = []
    async with AIOKafkaConsumer(*names, bootstrap_servers=kafka.address, auto_offset_reset="earliest") as consumer:
        while len(found) < least:
            async with asyncio.timeout(20):
                message = await consumer.getone()
            assert dict(message.headers) == {"network": b"testing", "chain_id": b"1337"}
            found.append(decode(message.value))
            assert message.key == str(found[-1].height).encode()
    return found


async def test_what_is_put_is_on_kafka_and_on_the_ledger(kafka: Broker) -> None:
    """Every record once, keyed by height; tipsets on the ledger in order; reserved before they were published."""
    ledger = MemoryLedger()
    async with publishing(kafka, "put", ledger) as publisher:
        for height in range(300):
            for record in records(height):
                await publisher.put(record)
                assert height <= ledger.reserved
    assert ledger.tips == [Published(height, block(height)) for height in range(300)]
    found = await read(kafka, "put", 600)
    assert sorted(record.sequence for record in found) == list(range(600))


async def test_a_rewind_takes_tipsets_off_the_ledger(kafka: Broker) -> None:
    """Also those that were put just before and are not acknowledged yet."""
    ledger = MemoryLedger()
    async with publishing(kafka, "rewound", ledger) as publisher:
        for height in range(10):
            for record in records(height):
                await publisher.put(record)
        for stream in STREAMS:
            await publisher.put(Rewind(network="testing", sequence=99, stream=stream, height=4, top=9))
    assert [tip.height for tip in ledger.tips] == list(range(5))


async def test_who_is_fenced_publishes_no_rewind(kafka: Broker) -> None:
    """The ledger refuses before Kafka is told."""
    ledger = MemoryLedger()
    async with publishing(kafka, "fenced", ledger) as publisher:
        for record in records(0):
            await publisher.put(record)
        ledger.fenced = True
        with pytest.raises(Superseded):
            await publisher.put(Rewind(network="testing", sequence=99, stream="tipsets", height=-1, top=0))
    assert len(await read(kafka, "fenced", 2)) == 2


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_brokers_that_are_away_stall_and_lose_nothing(kafka: Broker) -> None:
    """`put` waits once so much is in flight; when they are back everything arrives."""
    ledger = MemoryLedger()
    async with publishing(kafka, "away", ledger) as publisher:
        for record in records(0):
            await publisher.put(record)
        await asyncio.to_thread(kafka.stop)
        putting = asyncio.create_task(put_all(publisher, range(1, IN_FLIGHT_RECORDS)))
        await asyncio.sleep(5)
        stalled = not putting.done()
        await asyncio.to_thread(kafka.start)
        assert stalled
        async with asyncio.timeout(60):
            await putting
            while len(ledger.tips) < IN_FLIGHT_RECORDS:
                await asyncio.sleep(0.1)
    found = await read(kafka, "away", 2 * IN_FLIGHT_RECORDS)
    assert {record.sequence for record in found} == set(range(2 * IN_FLIGHT_RECORDS))


async def put_all(publisher: Publisher, heights: range) -> None:
    for height in heights:
        for record in records(height):
            await publisher.put(record)
