"""Agents over a real Kafka: nothing is done before its handler returns."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from processors.consume import FETCHED_BYTES, DeadLetters, Delivery, TopicAgents, delivery_of
from streams import topics
from streams.records import STREAMS, Stream
from streams.topics import LARGEST_RECORD_BYTES
from tests.brokers import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


async def fill(kafka: Broker, prefix: str, values: list[bytes]) -> None:
    """Make the topics of two networks and put the values into one of them."""
    names = [topics.topic_of(prefix, network, stream) for network in ("here", "there") for stream in STREAMS]
    async with topics.admin(kafka.brokers) as client:
        await topics.ensure(client, names, topics.Plan(prefix, 4, 3600))
        await topics.ensure(client, [topics.dead_letters_of(prefix)], topics.Plan(prefix, 1, 3600))
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        for number, value in enumerate(values):
            await producer.send_and_wait(names[number % len(names)], value, str(number).encode(), headers=topics.headers("here", 1337))


async def until(seen: list[Delivery], count: int) -> None:
    async with asyncio.timeout(30):
        while len(seen) < count:
            await asyncio.sleep(0.05)


async def test_every_record_of_every_network_comes_once(kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its network, stream and chain id; after a clean stop nothing comes again; nothing is written to disk."""
    monkeypatch.chdir(tmp_path)
    await fill(kafka, "once", [b"%d" % number for number in range(40)])
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    async with TopicAgents(kafka.brokers, "once", "tests", ["here", "there"], handle).running() as agents:
        await until(seen, 40)
        await asyncio.sleep(0.1)
        assert not any(agents.lags().values())
        assert agents.handled == 40
    assert {delivery.value for delivery in seen} == {b"%d" % number for number in range(40)}
    assert {(delivery.network, delivery.stream) for delivery in seen} == {(one, two) for one in ("here", "there") for two in STREAMS}
    assert {delivery.chain_id for delivery in seen} == {1337}
    assert list(tmp_path.iterdir()) == []
    async with TopicAgents(kafka.brokers, "once", "tests", ["here", "there"], handle).running():
        await asyncio.sleep(3)
    assert len(seen) == 40


async def test_records_larger_than_a_fetch(kafka: Broker) -> None:
    """Several on one partition, among small ones on all: each comes, in the order of its partition."""
    await fill(kafka, "large", [b"%d" % number for number in range(40)])
    large = [random.randbytes(size) for size in (3 * FETCHED_BYTES, FETCHED_BYTES + 1, topics.LARGEST_RECORD_BYTES - 2000)]
    places: tuple[tuple[Stream, int], ...] = (("tipsets", 1), ("tipsets", 2), ("logs", 1))
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    async with AIOKafkaProducer(bootstrap_servers=kafka.address, max_request_size=topics.LARGEST_RECORD_BYTES) as producer:
        for stream, partition in places:
            for value in large:
                await producer.send_and_wait(topics.topic_of("large", "here", stream), value, partition=partition)
    await fill(kafka, "large", [b"%d" % number for number in range(40, 80)])
    async with TopicAgents(kafka.brokers, "large", "tests", ["here", "there"], handle).running():
        await until(seen, 89)
    assert {one.value for one in seen} == {*large, *(b"%d" % number for number in range(80))}
    for stream, partition in places:
        place = topics.topic_of("large", "here", stream), partition
        assert [one.value for one in seen if (one.topic, one.partition) == place and len(one.value) > 2] == large


async def test_a_record_whose_handler_raises_is_not_done(kafka: Broker) -> None:
    """`failed` raises the same; the next one to run gets the record again."""
    await fill(kafka, "failing", [b"0"])
    seen: list[Delivery] = []

    async def refuse(delivery: Delivery) -> None:
        seen.append(delivery)
        raise ValueError("our bug")

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    async with TopicAgents(kafka.brokers, "failing", "tests", ["here"], refuse).running() as agents:
        async with asyncio.timeout(30):
            with pytest.raises(ValueError, match="our bug"):
                await agents.failed()
        assert sum(agents.lags().values()) == 1
    async with TopicAgents(kafka.brokers, "failing", "tests", ["here"], handle).running():
        await until(seen, 2)


async def ignore(_: Delivery) -> None:
    """Nothing is to be done."""


@asynccontextmanager
async def leaving(agents: TopicAgents, within: float) -> AsyncIterator[None]:
    """Agents that run as long as the block, and then end in time, with all of their threads."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agents.running())
        yield
        threads = threading.active_count()
        async with asyncio.timeout(within):
            await stack.aclose()
    assert threading.active_count() < threads


async def test_ends_although_a_commit_is_not_answered(kafka: Broker, capfd: pytest.CaptureFixture[str]) -> None:
    """A broker that hangs is left in time, with one line; the next one to run goes on."""
    await fill(kafka, "hung", [b"%d" % number for number in range(20)])
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)
        if len(seen) == 20:
            stack.enter_context(kafka.paused())

    with ExitStack() as stack:
        async with leaving(TopicAgents(kafka.brokers, "hung", "tests", ["here", "there"], handle, stopping_seconds=2), within=5):
            await until(seen, 20)
            await asyncio.sleep(1.5)  # a commit is on its way
    assert capfd.readouterr().out.count("leaving its group all the same") == 1
    await fill(kafka, "hung", [b"20"])
    async with TopicAgents(kafka.brokers, "hung", "tests", ["here", "there"], handle).running():
        await until(seen, 21)


async def test_ends_although_the_group_waits_for_another(kafka: Broker, capfd: pytest.CaptureFixture[str]) -> None:
    """One who lives but does not let go of its partitions holds up the whole group for a minute, but nobody who leaves it."""
    await fill(kafka, "held", [])
    holding, let_go = asyncio.Event(), asyncio.Event()

    async def hold(_: object, *revoked: object, **__: object) -> None:
        if any(revoked):
            holding.set()
            await let_go.wait()

    def member() -> TopicAgents:
        return TopicAgents(kafka.brokers, "held", "tests", ["here", "there"], ignore, stopping_seconds=2)

    async with AsyncExitStack() as stack:
        async with leaving(member(), within=5):
            holder = member()
            cast("Any", holder._app).on_partitions_revoked.connect(hold)
            await stack.enter_async_context(holder.running())
            stack.callback(let_go.set)
            third = asyncio.create_task(stack.enter_async_context(member().running()))
            async with asyncio.timeout(30):
                await holding.wait()
            await asyncio.sleep(1)  # we have let go, and wait for what is to be ours
        assert capfd.readouterr().out.count("leaving its group all the same") == 1
        let_go.set()
        await third


async def test_who_is_told_to_end_while_it_ends_leaves_nothing_behind(kafka: Broker) -> None:
    """As a worker that is stopped while it begins anew, since Redis is not what it was."""
    await fill(kafka, "twice", [])
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    working, leaving_off = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with TopicAgents(kafka.brokers, "twice", "tests", ["here", "there"], ignore).running():
            working.set()
            await leaving_off.wait()

    task = asyncio.create_task(work())
    await asyncio.wait_for(working.wait(), 30)
    leaving_off.set()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=15)
    assert task.cancelled()
    assert asyncio.all_tasks() <= tasks
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    "stated, chain_id", [(b"314", 314), (None, None), (b"", None), (b"-1", None), (b"9" * 5000, None), ("314", None), (b"\xb2", None)]
)
def test_a_header_may_say_anything(stated: object, chain_id: int | None) -> None:
    """What is no number says nothing, and keeps no record from being handled."""
    message = SimpleNamespace(topic="a.net.logs", partition=1, offset=2, key=None, value=None, headers=[("chain_id", stated)])
    assert delivery_of(message, "a") == Delivery("a.net.logs", 1, 2, None, b"", "net", "logs", chain_id)


async def test_a_dead_letter_that_is_too_large(kafka: Broker) -> None:
    """What is kept of it is where it lies; whoever waited for it goes on."""
    await fill(kafka, "large", [])
    async with DeadLetters(kafka.brokers, "large") as dead_letters, asyncio.timeout(20):
        huge = bytes(LARGEST_RECORD_BYTES + 2**20)
        await dead_letters.put(Delivery("large.here.logs", 3, 17, b"12", huge, "here", "logs", None), "not a record")
    async with AIOKafkaConsumer("large.dead-letters", bootstrap_servers=kafka.address, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(20):
            message = await consumer.getone()
    assert (message.key, message.value, dict(message.headers)["offset"]) == (b"12", b"", b"17")


async def test_dead_letters_say_why(kafka: Broker) -> None:
    """The record as it came, and where it came from, in a topic of their own."""
    await fill(kafka, "dead", [])
    async with DeadLetters(kafka.brokers, "dead") as dead_letters:
        await dead_letters.put(Delivery("dead.here.logs", 3, 17, b"12", b"{poison", "here", "logs", 1337), "not a record")
    async with AIOKafkaConsumer("dead.dead-letters", bootstrap_servers=kafka.address, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(20):
            message = await consumer.getone()
    assert (message.key, message.value) == (b"12", b"{poison")
    assert dict(message.headers) == {
        "reason": b"not a record",
        "topic": b"dead.here.logs",
        "partition": b"3",
        "offset": b"17",
        "network": b"here",
        "chain_id": b"1337",
    }
