"""The doctor against a real Kafka: what it finds, and what it advises."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from processors.doctor import Finding
from processors.doctor_kafka import check_kafka
from streams import topics
from streams.records import STREAMS
from streams.settings import Settings
from tests.brokers import Broker, free_port
from tests.end_to_end.product import COMMAND

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


def settings(kafka: Broker, prefix: str, **more: Any) -> Settings:
    return Settings(kafka_brokers=(kafka.address,), topic_prefix=prefix, partitions=4, **more)


async def filled(kafka: Broker, prefix: str, partitions: int = 4, network: str = "here") -> None:
    """The topics of network `here`, with a record that says it is of `network`."""
    names = [topics.topic_of(prefix, "here", stream) for stream in STREAMS]
    async with topics.admin(kafka.brokers) as client:
        await topics.ensure(client, names, topics.Plan(prefix, partitions, 3600))
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        await producer.send_and_wait(names[0], b"{}", headers=topics.headers(network, 1337))


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


async def test_nothing_answers() -> None:
    """Said within seconds, with what to look at."""
    (finding,) = await check_kafka(Settings(kafka_brokers=(f"127.0.0.1:{free_port()}",)))
    assert (finding.check, finding.outcome) == ("connection", "failed")
    assert "advertised.listeners" in finding.advice


async def test_all_is_well(kafka: Broker) -> None:
    """Topics, partitions, whose records they are, permissions: nothing to do."""
    await filled(kafka, "well")
    findings = await check_kafka(settings(kafka, "well", chain_id=1337))
    assert {finding.outcome for finding in findings} == {"ok"}
    assert by_check(findings)["well.here.tipsets"].detail == "records of here, chain id 1337"


async def test_before_the_first_follower(kafka: Broker) -> None:
    """No topics is no failure."""
    findings = by_check(await check_kafka(settings(kafka, "unborn")))
    assert findings["topics"].outcome == "note"
    assert {finding.outcome for finding in findings.values()} == {"ok", "note"}


async def test_too_few_partitions(kafka: Broker) -> None:
    """Each such topic, and the command that mends it."""
    await filled(kafka, "narrow", partitions=2)
    found = [finding for finding in await check_kafka(settings(kafka, "narrow")) if finding.check == "partitions"]
    assert [finding.outcome for finding in found] == ["failed"] * len(STREAMS)
    assert "--partitions 4" in found[0].advice


@pytest.mark.parametrize("network, chain_id", [("there", None), ("here", 314)])
async def test_records_of_another_chain(kafka: Broker, network: str, chain_id: int | None) -> None:
    """By name or by chain id: named, with what to choose instead."""
    prefix = f"foreign-{network}"
    await filled(kafka, prefix, network=network)
    finding = by_check(await check_kafka(settings(kafka, prefix, chain_id=chain_id)))[f"{prefix}.here.tipsets"]
    assert finding.outcome == "failed"
    assert "topic_prefix" in finding.advice


async def test_no_permissions(forbidding: Broker) -> None:
    """What has to be granted, on which topics and which group."""
    found = by_check(await check_kafka(settings(forbidding, "fvm")))
    assert {check: found[check].outcome for check in ("permission to make topics", "permission to join")} == {
        "permission to make topics": "failed",
        "permission to join": "failed",
    }
    assert "Create on topics fvm.*" in found["permission to make topics"].advice
    assert "group fvm-pulse.fvm" in found["permission to join"].advice


@pytest.mark.parametrize("command", ["doctor", "follow"])
async def test_no_permissions_as_a_user_sees_it(
    forbidding: Broker, redis_socket: str, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """The doctor ends with 1; a follower does not wait for what nobody may grant while it waits."""
    flags = ("--node", "replay:devnet", "--redis-url", f"unix://{redis_socket}", "--kafka-brokers", forbidding.address)
    more = ("--listen", "127.0.0.1:0") if command == "follow" else ()
    process = await asyncio.create_subprocess_exec(COMMAND, command, *flags, *more)
    assert await asyncio.wait_for(process.wait(), 90) == {"doctor": 1, "follow": 2}[command]
    said = " ".join(" ".join(capfd.readouterr()).split())
    assert {"doctor": "allow Create on topics fvm.*", "follow": "kafka_brokers: no permission to make topic fvm.testing"}[command] in said
