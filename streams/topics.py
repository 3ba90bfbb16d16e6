"""Topics: their names, what they are made with, and which ones are refused.

A topic is `<prefix>.<network>.<stream>`. Every record carries its network and chain id in the headers as well, so a topic can be
told from one of another chain with the same name, and be read years later by somebody who was not there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streams.brokers import Brokers
from streams.cancellation import cancellable
from streams.errors import UsageError
from streams.records import STREAMS, Stream

log = structlog.get_logger(__name__)

EPOCH_SECONDS = 30
KEPT_BEYOND_EPOCHS = 900 + 2880
"""Kept beyond the windows: the deepest reorg, and a day in which somebody notices that a replay is needed."""
LARGEST_RECORD_BYTES = 16 * 2**20
PROBE_SECONDS = 5.0
VISIBLE_SECONDS = 20.0
FORBIDDEN = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
LONGEST_PAUSE_SECONDS = 5.0
AGAIN_SECONDS = 1.0

T = TypeVar("T")


def topic_of(prefix: str, network: str, stream: Stream) -> str:
    """The topic of a network's stream."""
    return f"{prefix}.{network}.{stream}"


def network_of(prefix: str, topic: str) -> str | None:
    """The network of a topic of ours, None for any other topic."""
    first, _, rest = topic.partition(".")
    network, _, stream = rest.rpartition(".")  # a network's name may have dots, a prefix has none
    return network if first == prefix and network and stream in STREAMS else None


def dead_letters_of(prefix: str) -> str:
    """The topic of records that could not be applied."""
    return f"{prefix}.dead-letters"


def group_of(prefix: str, group: str) -> str:
    """The consumer group of workers: those of another prefix are others."""
    return f"{group}.{prefix}"


def retention_seconds(longest_window_epochs: int) -> int:
    """How long a record is kept: so that replaying a topic fills the longest window and the one before it."""
    return (2 * longest_window_epochs + KEPT_BEYOND_EPOCHS) * EPOCH_SECONDS


@dataclass(frozen=True, slots=True)
class Plan:
    """What topics are made with.

    Attributes:
        prefix: the first part of every name.
        partitions: of each topic; a topic that has fewer is refused.
        retention_seconds: how long records are kept.
    """

    prefix: str
    partitions: int
    retention_seconds: int


@asynccontextmanager
async def admin(brokers: Brokers) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client of the brokers. Waits for them for as long as it takes, and says so.

    Raises:
        UsageError: they will never let us in.
    """
    with cancellable():
        client = await _admin(brokers)
        try:
            yield client
        finally:
            await client.close()


async def _admin(brokers: Brokers) -> AIOKafkaAdminClient:
    pause = 0.5
    while True:
        client = AIOKafkaAdminClient(request_timeout_ms=10_000, **brokers.arguments())
        try:
            await _begin(client.start, client.close)
        except (KafkaError, OSError, TimeoutError) as error:
            if (refused := await brokers.refusal()) is not None:
                raise refused from error
            log.warning("Kafka is away, trying again", brokers=str(brokers), reason=str(error) or type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            return client


async def _begin(start: Callable[[], Awaitable[None]], close: Callable[[], Awaitable[None]]) -> None:
    """Start a client; one that does not start is closed, and a cancellation that it loses at either is kept."""
    try:
        with cancellable():
            await start()
    except BaseException:
        with cancellable():
            await close()
        raise


async def asked(brokers: Brokers, question: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    """What a question about topics brings; asked again where the brokers go away amidst it, and that is said.

    Raises:
        UsageError: they will never let us in, or we may not ask.
    """
    while True:
        async with admin(brokers) as client:
            try:
                return await question(client)
            except (KafkaError, TimeoutError) as error:
                if (refused := refusal(error, "see the topics")) is not None:
                    raise refused from error
                log.warning("Kafka does not tell of its topics, trying again", reason=str(error) or type(error).__name__)
        await asyncio.sleep(AGAIN_SECONDS)


async def running_producer(brokers: Brokers, **options: Any) -> AIOKafkaProducer:
    """An idempotent producer that runs; waits for the brokers like `admin`.

    Raises:
        UsageError: they will never let us in, or we may not write.
    """
    while True:
        async with admin(brokers):
            pass
        producer = AIOKafkaProducer(
            enable_idempotence=True,
            compression_type="gzip",
            max_request_size=LARGEST_RECORD_BYTES,
            **brokers.arguments(),
            **options,
        )
        try:
            await _begin(producer.start, producer.stop)
        except (KafkaError, OSError, TimeoutError) as error:
            if (reason := refusal(error, "write to the topics")) is not None:
                raise reason from error
            log.warning("Kafka went away again, trying again", brokers=str(brokers), reason=str(error) or type(error).__name__)
        else:
            return producer


def refusal(error: Exception, what: str) -> UsageError | None:
    """An error of permissions as a sentence; None for any other, which may pass."""
    if isinstance(error, FORBIDDEN):
        return UsageError(f"kafka_brokers: no permission to {what} ({type(error).__name__}): grant it to this client")
    return None


async def ensure(client: AIOKafkaAdminClient, names: Sequence[str], plan: Plan) -> None:
    """Make the topics that are missing, and wait until all can be seen.

    Raises:
        UsageError: a topic has too few partitions, or we may not make one.
        TimeoutError: a topic can not be seen.
    """
    made = False
    async with asyncio.timeout(VISIBLE_SECONDS):
        while True:
            found = await partitions_of(client)
            for name in names:
                if name in found and found[name] < plan.partitions:
                    raise UsageError(too_few(name, found[name], plan.partitions))
            missing = [name for name in names if name not in found]
            if not missing:
                return
            if not made:
                await _create(client, missing, plan)
            made = True
            await asyncio.sleep(0.1)


def too_few(name: str, found: int, configured: int) -> str:
    """What to do about a topic with less partitions than configured."""
    return (
        f"partitions: topic {name} has {found}, configured are {configured}:"
        f" add some (kafka-topics.sh --alter --topic {name} --partitions {configured}) or set partitions = {found}"
    )


async def _create(client: AIOKafkaAdminClient, names: Sequence[str], plan: Plan) -> None:
    configs = {
        "retention.ms": str(plan.retention_seconds * 1000),
        "max.message.bytes": str(LARGEST_RECORD_BYTES),
        "cleanup.policy": "delete",
    }
    # Replicas: -1 is the brokers' own default.
    answer = await client.create_topics([NewTopic(name, plan.partitions, -1, {}, configs) for name in names])
    for name, code, *message in cast("Any", answer).topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            reason = refusal(error(), f"make topic {name}")
            raise reason or UsageError(f"kafka_brokers: topic {name} can not be made: {(message or [''])[0] or error.__name__}")
    log.info("topics made", topics=", ".join(names), partitions=plan.partitions, retention_seconds=plan.retention_seconds)


async def partitions_of(client: AIOKafkaAdminClient) -> dict[str, int]:
    """How many partitions each topic has that we may see."""
    return {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics() if not topic["error_code"]}


async def check_group(client: AIOKafkaAdminClient, group: str) -> None:
    """See that we may be in a group. Whatever else is wrong with it may pass.

    Raises:
        UsageError: we may not.
    """
    try:
        await client.list_consumer_group_offsets(group)
    except (KafkaError, TimeoutError) as error:
        if (reason := refusal(error, f"be in group {group}")) is not None:
            raise reason from error


async def networks(client: AIOKafkaAdminClient, prefix: str) -> dict[str, list[str]]:
    """The topics of ours on the brokers, by network."""
    found: dict[str, list[str]] = {}
    for topic in sorted(await partitions_of(client)):
        if (network := network_of(prefix, topic)) is not None:
            found.setdefault(network, []).append(topic)
    return found


def headers(network: str, chain_id: int) -> list[tuple[str, bytes]]:
    """What every record says of where it is from."""
    return [("network", network.encode()), ("chain_id", str(chain_id).encode())]


async def check_origin(brokers: Brokers, topic: str, network: str, chain_id: int) -> None:
    """Look at a newest record of the topic, if it has any.

    Raises:
        UsageError: it is of another chain.
    """
    found = await newest_headers(brokers, topic)
    if found and (found.get("network"), found.get("chain_id")) != (network.encode(), str(chain_id).encode()):
        of, chain = ((found.get(key) or b"?").decode(errors="replace") for key in ("network", "chain_id"))
        said = f"{of!r} (chain id {chain})"
        raise UsageError(
            f"topic_prefix: topic {topic} holds records of network {said}, not of {network!r} (chain id {chain_id}):"
            " choose another topic_prefix or network"
        )


async def newest_headers(brokers: Brokers, topic: str) -> Mapping[str, bytes]:
    """The headers of a newest record of the topic; none where it has none."""
    consumer = AIOKafkaConsumer(enable_auto_commit=False, max_partition_fetch_bytes=LARGEST_RECORD_BYTES, **brokers.arguments())
    await _begin(consumer.start, consumer.stop)
    try:
        numbers = consumer.partitions_for_topic(topic) or await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 (no public way waits)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        for partition in partitions:
            if ends[partition] > begins[partition]:
                consumer.assign([partition])
                consumer.seek(partition, ends[partition] - 1)
                async with asyncio.timeout(PROBE_SECONDS):
                    record = await consumer.getone()
                return dict(record.headers)
        return {}
    except TimeoutError:
        return {}
    finally:
        await consumer.stop()
