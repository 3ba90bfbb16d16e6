"""What a worker process does with deliveries, with a real Redis and a real Kafka."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from processors.consume import DeadLetters, Delivery
from processors.registry import Registry
from processors.store import Store
from processors.windows import parse_all
from processors.work import Workshop
from streams import topics
from streams.errors import UsageError
from streams.metrics import ProcessMetrics
from streams.records import Rewind, encode
from tests.brokers import Broker
from tests.processors import strategies

pytestmark = pytest.mark.kafka


def tipset(network: str = "testing", height: int = 5) -> bytes:
    """A tipset without messages."""
    return encode(strategies.tipset(height, height - 1, height, network))


def delivery(value: bytes, network: str = "testing") -> Delivery:
    return Delivery(f"shop.{network}.tipsets", 0, 0, b"5", value, network, "tipsets", 1337)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def workshop(kafka: Broker, redis: Redis, registry: CollectorRegistry) -> AsyncIterator[Workshop]:
    async with topics.admin(kafka.brokers) as client:
        await topics.ensure(client, ["shop.dead-letters"], topics.Plan("shop", 1, 3600))
    async with DeadLetters(kafka.brokers, "shop") as dead_letters:
        yield Workshop(redis, parse_all(["20e"]), Registry.load(None), ProcessMetrics(registry), dead_letters)


async def last_reason(kafka: Broker) -> str:
    """The reason of the newest dead letter."""
    async with AIOKafkaConsumer("shop.dead-letters", bootstrap_servers=kafka.address, auto_offset_reset="earliest") as consumer:
        (partition,) = consumer.assignment()
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, end - 1)
        reason: bytes = dict((await consumer.getone()).headers)["reason"]
        return reason.decode()


async def test_several_networks_are_kept_apart(workshop: Workshop, redis: Redis) -> None:
    """Each has a store of its own, configured by the first record where no follower did it."""
    await workshop.handle(delivery(tipset("here", 5), "here"))
    await workshop.handle(delivery(tipset("there", 9), "there"))
    await workshop.handle(delivery(encode(Rewind(network="there", sequence=99, stream="logs", height=1, top=2)), "there"))
    assert (await Store(redis, "here").snapshot()).streams["tipsets"].head == 5
    assert (await Store(redis, "there").snapshot()).streams["tipsets"].head == 9


@pytest.mark.parametrize(
    "value, reason",
    [
        (b"{poison", "not a record"),
        (tipset().replace(b'"version":1', b'"version":99'), "record of version 99"),
        (tipset("elsewhere"), "elsewhere"),
    ],
)
async def test_poison_is_put_aside(
    workshop: Workshop, kafka: Broker, redis: Redis, registry: CollectorRegistry, value: bytes, reason: str
) -> None:
    """With the reason and counted by stream; what comes after it is applied."""
    await workshop.handle(delivery(value))
    await workshop.handle(delivery(tipset()))
    assert reason in await last_reason(kafka)
    counted = sum(registry.get_sample_value("pulse_dead_letters_total", {"stream": stream}) or 0 for stream in ("tipsets", "unknown"))
    assert counted == 1
    assert (await Store(redis, "testing").snapshot()).streams["tipsets"].processed == 1


async def test_other_windows_are_refused(workshop: Workshop, redis: Redis) -> None:
    """Two configurations would take turns in dropping each other's totals."""
    await Store(redis, "testing").configure(parse_all(["1h"]))
    with pytest.raises(UsageError, match="windows: Redis keeps 1h for testing, this worker has 20e"):
        await workshop.handle(delivery(tipset()))
