"""From the follower's records to the store, in one process and over several runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from processors.registry import Registry
from processors.sink import RESERVED_EPOCHS, LocalSink
from processors.windows import parse_all
from streams.chain import Published
from streams.contents import Content, Learnt, Told
from streams.metrics import ProcessMetrics
from streams.records import Child, Contract, LogsRecord, TipsetRecord
from tests.processors.strategies import NETWORK, rewind, tipset

WINDOWS = parse_all(["3e"])
NOW_SECONDS = 1_700_000_000
TOLD = Told(6, f"0x{2:064x}", f"0x{1:064x}", 4, "own", True, Content(b"a" * 16, b"b" * 16, b"c" * 16, 3, whole=True))
CHILD = Contract(address="0x" + "11" * 20, code_hash="0x" + "22" * 32, child_of=Child("0x" + "33" * 20, "0x" + "44" * 32))


def logs_of(record: TipsetRecord) -> LogsRecord:
    """The other record of the same tipset."""
    return LogsRecord(
        network=NETWORK,
        sequence=record.sequence,
        height=record.height,
        parent_height=record.parent_height,
        hash=record.hash,
        noticed_at=0.0,
    )


@asynccontextmanager
async def opened(redis: Redis) -> AsyncIterator[LocalSink]:
    """A sink whose agents run."""
    registry = CollectorRegistry()
    sink = LocalSink(redis, WINDOWS, Registry.load(None), ProcessMetrics(registry), clock=lambda: NOW_SECONDS)
    async with sink.agents.running():
        yield sink


async def test_a_first_run_starts_from_nothing(redis: Redis) -> None:
    """No tail, no reservation; the incarnation is at least the time."""
    async with opened(redis) as sink:
        position = await sink.prepare(NETWORK, 314)
        assert (position.published, position.reserved) == ((), None)
        assert position.incarnation >= NOW_SECONDS


async def test_an_emptied_store_gets_larger_numbers(redis: Redis) -> None:
    """What was numbered before loses against what comes after, although Redis knows of no number."""
    async with opened(redis) as sink:
        first = await sink.prepare(NETWORK, 314)
        await redis.flushall()
        assert (await sink.prepare(NETWORK, 314)).incarnation > first.incarnation


async def test_what_is_on_its_way_counts_before_a_run_goes_on(redis: Redis) -> None:
    """A resume reads the store after the records that were put before it: a rewind among them would undo what the store seems to hold."""
    async with opened(redis) as sink:
        await sink.prepare(NETWORK, 314)
        record = tipset(1000, 999, 1)
        await sink.put(record)
        await sink.put(logs_of(record))
        assert [one.height for one in (await sink.prepare(NETWORK, 314)).published] == [1000]


async def test_the_next_run_goes_on_where_this_one_ended(redis: Redis) -> None:
    """What both streams hold, the reservation and what was learnt of contracts come back; the incarnation is larger."""
    async with opened(redis) as sink:
        first = await sink.prepare(NETWORK, 314)
        for record in (tipset(4, 3, 1), tipset(6, 4, 2)):
            await sink.put(record)
            await sink.put(logs_of(record))
        await sink.put(tipset(7, 6, 3))
        await sink.keep(Learnt([CHILD], [TOLD]))
        await sink.agents.drained()
        assert sink.taken == 5
    async with opened(redis) as sink:
        second = await sink.prepare(NETWORK, 314)
    assert second.incarnation > first.incarnation
    assert set(second.published) == {Published(4, f"0x{1:064x}"), Published(6, f"0x{2:064x}")}
    assert second.reserved == 4 + RESERVED_EPOCHS
    assert second.memory.contracts == {CHILD.address: CHILD}
    assert second.memory.children == {CHILD.address: CHILD.child_of}
    assert second.told == {TOLD.hash: TOLD}


@pytest.mark.parametrize("record", [tipset(7, 6, 1), rewind(3, 7, 1)])
async def test_a_height_is_reserved_before_its_record_counts(redis: Redis, record: object) -> None:
    """Redis knows of the reservation as soon as the record is taken, whatever becomes of the record."""
    async with opened(redis) as sink:
        await sink.prepare(NETWORK, 314)
        assert sink.store is not None
        await sink.put(record)  # type: ignore[arg-type]
        assert await sink.store.reserved() == 7 + RESERVED_EPOCHS


async def test_a_record_before_its_store_is_a_bug(redis: Redis) -> None:
    """It can not be lost in silence."""
    async with opened(redis) as sink:
        await sink.put(tipset(4, 3, 1))
        with pytest.raises(RuntimeError, match="before its store"):
            await sink.agents.failed()
