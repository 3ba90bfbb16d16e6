"""Topics: named, made, refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NodeNotReadyError, TopicAuthorizationFailedError

from streams import topics
from streams.brokers import Brokers
from streams.errors import UsageError
from streams.records import STREAMS
from tests.brokers import Broker, free_port

DAY_SECONDS = 86400


@pytest.fixture
async def client(kafka: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    async with topics.admin(kafka.brokers) as one:
        yield one


def test_names_go_there_and_back() -> None:
    """The network can be read off a topic of ours, and off no other."""
    for stream in STREAMS:
        for network in ("calibrationnet", "my.net-2"):
            assert topics.network_of("fvm", topics.topic_of("fvm", network, stream)) == network
    for other in ("fvm.dead-letters", "other.mainnet.tipsets", "fvm.mainnet.blocks", "fvm..logs", "fvm.logs", "__consumer_offsets"):
        assert topics.network_of("fvm", other) is None
    assert topics.network_of("fvm", topics.dead_letters_of("fvm")) is None


def test_retention_covers_the_longest_window_twice() -> None:
    """What is replayed fills a window and the one before it."""
    assert topics.retention_seconds(30 * 2880) > 60 * DAY_SECONDS


@pytest.mark.kafka
async def test_topics_are_made_once(client: AIOKafkaAdminClient) -> None:
    """Making them again changes nothing; with more partitions than configured they are accepted."""
    plan = topics.Plan("made", 4, 3600)
    names = [topics.topic_of("made", "testing", stream) for stream in STREAMS]
    await topics.ensure(client, names, plan)
    await topics.ensure(client, names, topics.Plan("made", 2, 3600))
    assert {name: (await topics.partitions_of(client))[name] for name in names} == dict.fromkeys(names, 4)
    assert await topics.networks(client, "made") == {"testing": sorted(names)}


@pytest.mark.kafka
async def test_too_few_partitions_are_refused(client: AIOKafkaAdminClient) -> None:
    """One line names the topic, what it has and what is configured."""
    await topics.ensure(client, ["few.testing.logs"], topics.Plan("few", 2, 3600))
    with pytest.raises(UsageError, match=r"topic few\.testing\.logs has 2, configured are 8"):
        await topics.ensure(client, ["few.testing.logs"], topics.Plan("few", 8, 3600))


@pytest.mark.kafka
async def test_a_topic_of_another_chain_is_refused(kafka: Broker, client: AIOKafkaAdminClient) -> None:
    """The headers of a record tell the chain; an empty topic is anybody's."""
    topic = "origin.testing.tipsets"
    await topics.ensure(client, [topic], topics.Plan("origin", 4, 3600))
    await topics.check_origin(kafka.brokers, topic, "testing", 314)
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        await producer.send_and_wait(topic, b"{}", b"1", headers=topics.headers("testing", 1337))
    await topics.check_origin(kafka.brokers, topic, "testing", 1337)
    with pytest.raises(UsageError, match=r"holds records of network 'testing' \(chain id 1337\), not of 'testing' \(chain id 314\)"):
        await topics.check_origin(kafka.brokers, topic, "testing", 314)


@pytest.mark.kafka
async def test_what_a_broker_did_not_answer_is_asked_again(kafka: Broker) -> None:
    """A broker that goes away amidst a question, or takes too long, is asked the same; one that forbids it is not."""
    ends: list[Exception] = [NodeNotReadyError(), TimeoutError(), TopicAuthorizationFailedError()]

    async def question(client: AIOKafkaAdminClient) -> None:
        await topics.partitions_of(client)
        raise ends.pop(0)

    with pytest.raises(UsageError, match="no permission to see the topics"):
        await topics.asked(kafka.brokers, question)
    assert ends == []


@pytest.mark.kafka
@pytest.mark.parametrize("amid", ["start", "close"])
async def test_who_is_told_to_stop_amid_a_question_stops(kafka: Broker, monkeypatch: pytest.MonkeyPatch, amid: str) -> None:
    """The client of Kafka loses a cancellation that comes while it closes; it is ours to keep."""
    reached = asyncio.Event()
    whole = getattr(AIOKafkaAdminClient, amid)

    async def losing(client: AIOKafkaAdminClient) -> None:
        await whole(client)
        with contextlib.suppress(asyncio.CancelledError):
            reached.set()
            await asyncio.sleep(60)

    monkeypatch.setattr(AIOKafkaAdminClient, amid, losing)
    asking = asyncio.create_task(topics.asked(kafka.brokers, topics.partitions_of))
    await reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("amid", ["start", "close"])
async def test_who_waits_for_brokers_can_be_stopped(monkeypatch: pytest.MonkeyPatch, amid: str) -> None:
    """Also where the client loses the cancellation while it is away."""
    reached = asyncio.Event()
    whole = getattr(AIOKafkaAdminClient, amid)

    async def losing(client: AIOKafkaAdminClient) -> None:
        try:
            await whole(client)
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                reached.set()
                await asyncio.sleep(60)

    monkeypatch.setattr(AIOKafkaAdminClient, amid, losing)
    asking = asyncio.create_task(topics.asked(Brokers((f"127.0.0.1:{free_port()}",)), topics.partitions_of))
    await reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
