"""A Kafka that asks who comes: TLS, passwords and certificates, from the setting to the figure."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.admin import CreateAclsRequest
from redis.asyncio import Redis

from processors.consume import DeadLetters, Delivery, TopicAgents
from processors.doctor_kafka import check_kafka
from processors.store import Store
from streams import topics
from streams.recording import load as load_recording
from streams.records import STREAMS
from streams.replay import ReplayNode
from streams.settings import Settings, load
from tests.brokers import Broker
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.product import BUNDLED, COMMAND, check
from tests.end_to_end.test_distributed import FIRST_HEAD_SECONDS, PACE, started
from tests.recount import Recount
from tests.secured import LEAST

WRONG = "kafkapw-wrong-19e7"
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def written(folder: Path, settings: dict[str, Any]) -> Path:
    """The settings as their user writes them, with the password in a file of its own."""
    (folder / "password").write_text(settings.pop("kafka_password", "") + "\n", encoding="utf-8")
    if "kafka_username" in settings:
        settings["kafka_password_file"] = str(folder / "password")
    file = folder / "secured.toml"
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in settings.items()), encoding="utf-8")
    return file


async def test_figures_through_tls_and_a_password(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """Follower and worker with SASL_SSL and SCRAM, the password in a file: the recount."""
    store = Store(redis, "testing")
    secured = ("--config", str(written(tmp_path, kafka.named())), "--kafka-brokers", f"127.0.0.1:{kafka.named_port}")
    async with ReplayNode(load_recording("devnet"), pace=PACE) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", "secured", tmp_path / "log") as processes:
            await processes.start("follow", "--node", node.url, *secured)
            await processes.start("worker", *secured)
            await started(node, store, processes)
            await node.finished.wait()
            await processes.applied()
            await check(store, Recount(BUNDLED, lambda _: "unknown"))


@pytest.mark.parametrize(
    "listener,changes", [("named", {"mechanism": "PLAIN"}), ("named", {}), ("mutual", {})], ids=["plain", "scram", "mutual"]
)
async def test_every_client_of_ours(kafka: Broker, listener: str, changes: dict[str, Any]) -> None:
    """Admin client, producer, consumers and dead letters, in both libraries, by name or by certificate; the doctor is content."""
    prefix = f"clients-{listener}-{changes.get('mechanism', '')}"
    settings = load(getattr(kafka, listener)(topic_prefix=prefix, partitions=2, **changes))
    await every_client_works(settings)


async def every_client_works(settings: Settings) -> None:
    """A record goes from the producer through the agents to the dead letters; the doctor finds nothing wrong."""
    prefix = settings.topic_prefix
    names = [topics.topic_of(prefix, "here", stream) for stream in STREAMS]
    async with topics.admin(settings.brokers) as client:
        await topics.ensure(client, [*names, topics.dead_letters_of(prefix)], topics.Plan(prefix, 2, 3600))
    producer = await topics.running_producer(settings.brokers)
    await producer.send_and_wait(names[0], b"{}", headers=topics.headers("here", 1337))
    await producer.stop()
    await topics.check_origin(settings.brokers, names[0], "here", 1337)
    came: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()

    async def handle(delivery: Delivery) -> None:
        async with DeadLetters(settings.brokers, prefix) as dead_letters:
            await dead_letters.put(delivery, "it came")
        came.set_result(delivery)

    async with TopicAgents(settings.brokers, prefix, settings.consumer_group, ["here"], handle).running(), asyncio.timeout(30):
        assert (await came).value == b"{}"
    findings = await check_kafka(settings)
    assert {finding.outcome for finding in findings} == {"ok"}, findings


READ, WRITE, CREATE, DESCRIBE = 3, 4, 5, 8
TOPICS, GROUPS = 2, 3


async def allow(kafka: Broker, kind: int, name: str, *operations: int) -> None:
    """Let the least user do this with all whose name begins so; the numbers are those of Kafka's protocol."""
    async with topics.admin(kafka.brokers) as client:
        for operation in operations:
            answer = await client._send_request(CreateAclsRequest(kind, name, 4, f"User:{LEAST}", "*", operation, 3))
            assert not answer.creation_responses[0][0]


async def test_the_permissions_that_we_ask_for_suffice(kafka: Broker) -> None:
    """Those of docs/operations.md, for every client."""
    await allow(kafka, TOPICS, "permitted.", CREATE, DESCRIBE, READ, WRITE)
    await allow(kafka, GROUPS, "fvm-pulse.permitted", DESCRIBE, READ)
    await every_client_works(load(kafka.named(mechanism="PLAIN", kafka_username=LEAST, topic_prefix="permitted", partitions=2)))


async def test_a_group_that_we_may_not_be_in(kafka: Broker, redis_socket: str, tmp_path: Path) -> None:
    """A worker says so and ends, instead of waiting for ever."""
    await allow(kafka, TOPICS, "outside.", CREATE, DESCRIBE, READ, WRITE)
    names = [topics.topic_of("outside", "here", stream) for stream in STREAMS]
    async with topics.admin(kafka.brokers) as client:
        await topics.ensure(client, names, topics.Plan("outside", 8, 3600))
    file = written(tmp_path, kafka.named(mechanism="PLAIN", kafka_username=LEAST, topic_prefix="outside"))
    code, said = await ended("worker", "--config", str(file), "--redis-url", f"unix://{redis_socket}", "--listen", "127.0.0.1:0")
    assert code == 2, said
    assert "kafka_brokers: no permission to be in group fvm-pulse.outside (GroupAuthorizationFailedError)" in said


async def ended(*command: str) -> tuple[int, str]:
    """The exit code of our command, and all that it said."""
    process = await asyncio.create_subprocess_exec(COMMAND, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, limit=2**24)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, " ".join(output.decode().replace("│", "").split())


@pytest.mark.parametrize("command,mechanism,code", [("follow", "PLAIN", 2), ("worker", "SCRAM-SHA-512", 2), ("doctor", "PLAIN", 1)])
async def test_a_wrong_password(kafka: Broker, redis_socket: str, tmp_path: Path, command: str, mechanism: str, code: int) -> None:
    """Said at once, with broker, user and mechanism; at their most talkative they do not tell the password."""
    file = written(tmp_path, kafka.named(mechanism=mechanism, kafka_password=WRONG))
    loud = ("--listen", "127.0.0.1:0", "--log-level", "debug") if command != "doctor" else ()
    node = ("--node", "replay:devnet") if command != "worker" else ()
    found, said = await ended(command, "--config", str(file), "--redis-url", f"unix://{redis_socket}", *node, *loud)
    assert found == code, said
    assert f"does not let 'pulse' in with this password ({mechanism})" in said
    assert WRONG not in said


@pytest.mark.parametrize("command,code", [("follow", 2), ("worker", 2), ("doctor", 1)])
@pytest.mark.parametrize("tls", [True, False], ids=["tls-to-plain", "plain-to-tls"])
async def test_another_protocol_than_the_listeners(
    kafka: Broker, redis_socket: str, tmp_path: Path, command: str, code: int, tls: bool
) -> None:
    """What is set, and what is spoken there, instead of waiting for ever."""
    port = kafka.port if tls else kafka.named_port
    settings = kafka.named(kafka_brokers=f"127.0.0.1:{port}") if tls else {"kafka_brokers": f"127.0.0.1:{port}"}
    flags = ("--config", str(written(tmp_path, settings)), "--redis-url", f"unix://{redis_socket}")
    node = ("--node", "replay:devnet") if command != "worker" else ()
    found, said = await ended(command, *flags, *node, *(("--listen", "127.0.0.1:0") if command != "doctor" else ()))
    assert found == code, said
    told = "does not speak SASL_SSL: it speaks PLAINTEXT" if tls else "does not speak PLAINTEXT: it speaks SASL_SSL (PLAIN, SCRAM-SHA-512)"
    assert f"kafka_security_protocol: 127.0.0.1:{port} {told}" in said
