"""What is wrong with topics or with what they hold, for real: one clear line and exit code 2, or a dead letter that tells why."""

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from processors.store import Store
from streams import topics
from streams.records import STREAMS, encode
from tests.brokers import Broker
from tests.end_to_end.product import COMMAND, free_port, metric
from tests.processors import strategies

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
NETWORK, CHAIN_ID = "testing", 314


async def filled(kafka: Broker, prefix: str, *, partitions: int = 8, chain_id: int = CHAIN_ID, values: Sequence[bytes] = ()) -> None:
    """The topics of a network, with these values in the one for tipsets."""
    names = [topics.topic_of(prefix, NETWORK, stream) for stream in STREAMS]
    async with topics.admin(kafka.brokers) as client:
        await topics.ensure(client, names, topics.Plan(prefix, partitions, 3600))
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        for value in values:
            await producer.send_and_wait(names[0], value, b"1", partition=0, headers=topics.headers(NETWORK, chain_id))


async def complaint(kafka: Broker, prefix: str, redis_socket: str) -> str:
    """The one line with which a follower of the bundled recording ends, at exit code 2."""
    flags = ("--redis-url", f"unix://{redis_socket}", "--kafka-brokers", kafka.address, "--topic-prefix", prefix, "--log-level", "error")
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "follow", "--node", "replay:devnet", "--listen", "127.0.0.1:0", *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, said = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output) == (2, b""), said
    assert said.count(b"\n") == 1, said
    return said.decode().removeprefix("fvm-pulse: ").strip()


@pytest.mark.parametrize("command", ["worker", "follow"])
async def test_brokers_that_do_not_answer(redis: Redis, redis_socket: str, command: str) -> None:
    """They are waited for, with one line a try that names them and why; told to end, the process does so well."""
    address = f"127.0.0.1:{free_port()}"
    node = ("--node", "replay:devnet") if command == "follow" else ()
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, command, "--listen", "127.0.0.1:0", "--redis-url", f"unix://{redis_socket}", "--kafka-brokers", address, *node),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    tries: list[bytes] = []
    async with asyncio.timeout(60):
        while len(tries) < 2:
            line = await process.stderr.readline()
            assert line, "it ended"
            assert b"Traceback" not in line
            tries += [line] if b"Kafka is away, trying again" in line else []
        process.terminate()
        await process.stderr.read()
        assert await process.wait() == 0
    assert all(address.encode() in line and b"KafkaConnectionError" in line for line in tries)


async def test_too_few_partitions(kafka: Broker, redis: Redis, redis_socket: str) -> None:
    """The topic, what it has, what is configured, and the command that mends it."""
    await filled(kafka, "narrow-follow", partitions=2)
    said = await complaint(kafka, "narrow-follow", redis_socket)
    assert said.startswith("partitions: topic narrow-follow.testing.tipsets has 2, configured are 8: add some (kafka-topics.sh --alter")


async def test_topics_of_another_chain(kafka: Broker, redis: Redis, redis_socket: str) -> None:
    """Whose records they hold, whose would come, and what to choose instead."""
    await filled(kafka, "foreign-follow", chain_id=1337, values=[b"{}"])
    said = await complaint(kafka, "foreign-follow", redis_socket)
    assert said.startswith(
        "topic_prefix: topic foreign-follow.testing.tipsets holds records of network 'testing' (chain id 1337), not of 'testing'"
    )
    assert said.endswith("(chain id 314): choose another topic_prefix or network")


def tipset(height: int, network: str = NETWORK) -> bytes:
    """A tipset without messages."""
    return encode(strategies.tipset(height, height - 1, height, network))


REASONS = (
    "record of version 99: this release reads up to 1, upgrade the workers first",
    "not a record: ",
    "a record of network 'elsewhere' came",
)


async def test_records_that_can_not_be_applied(kafka: Broker, redis: Redis, redis_socket: str) -> None:
    """Newer, mutilated, of another network: each is put aside with its reason and place, and counted; what lies between is applied."""
    bad = [tipset(2).replace(b'"version":1', b'"version":99'), tipset(3)[:-9], tipset(4, "elsewhere")]
    await filled(kafka, "poisoned", values=[tipset(1), bad[0], tipset(5), bad[1], bad[2], tipset(6)])
    port, store = free_port(), Store(redis, NETWORK)
    flags = ("--redis-url", f"unix://{redis_socket}", "--kafka-brokers", kafka.address, "--topic-prefix", "poisoned", "--windows", "20e")
    process = await asyncio.create_subprocess_exec(COMMAND, "worker", "--listen", f"127.0.0.1:{port}", *flags)
    try:
        assert await metric(port, 'pulse_dead_letters_total{stream="tipsets"}', 3) == 3
        async with asyncio.timeout(30):
            while (await store.snapshot()).streams["tipsets"].processed < 3:
                await asyncio.sleep(0.05)
        letters = sorted(await dead_letters(kafka, "poisoned", 3), key=lambda letter: letter["offset"])
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert [letter["value"] for letter in letters] == bad
    for letter, reason, offset in zip(letters, REASONS, ("1", "3", "4"), strict=True):
        assert letter["reason"].startswith(reason), letter["reason"]
        told = {key: letter[key] for key in ("topic", "partition", "offset", "network", "chain_id")}
        assert told == {
            "topic": "poisoned.testing.tipsets",
            "partition": "0",
            "offset": offset,
            "network": NETWORK,
            "chain_id": str(CHAIN_ID),
        }


async def dead_letters(kafka: Broker, prefix: str, count: int) -> list[Mapping[str, Any]]:
    """So many dead letters, in order: the value, and what the headers say."""
    async with AIOKafkaConsumer(topics.dead_letters_of(prefix), bootstrap_servers=kafka.address, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(30):
            found = [await consumer.getone() for _ in range(count)]
    return [{"value": one.value, **{key: value.decode() for key, value in one.headers}} for one in found]
