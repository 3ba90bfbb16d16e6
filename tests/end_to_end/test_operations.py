"""What docs/operations.md says of Kafka, done as it is written there: its commands, draining, more partitions, brokers that are silent."""

import asyncio
import math
import re
import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from aiokafka.admin import NewPartitions
from redis.asyncio import Redis

from processors.store import Store
from streams import topics
from streams.records import STREAMS
from streams.replay import ReplayNode
from tests.brokers import Broker
from tests.end_to_end.fleet import Fleet, Processes, kept_redis
from tests.end_to_end.product import WINDOWS, free_port
from tests.end_to_end.test_distributed import FIRST_HEAD_SECONDS, PACE, another_leads, ends_in_the_recount, recording, started

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
FOLLOWER_SECONDS, WORKER_SECONDS = 20.0, 10.0
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


def documented(section: str) -> list[list[str]]:
    """The commands of ours in a section of the page, without their comments."""
    text = OPERATIONS.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fvm-pulse ")]


def here(command: list[str], places: Mapping[str, str]) -> list[str]:
    """The same on this machine."""
    return [places.get(part, part) for part in command]


async def shown(port: int) -> dict[str, float]:
    """Every series of the chain that the exporter on this port shows."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        lines = [line.rpartition(" ") for line in (await response.text()).splitlines() if line.startswith(("fvm_", "filecoin_"))]
    return {series: float(value) for series, _, value in lines}


def test_there_are_commands() -> None:
    """Those that start a deployment, and those that fill an empty Redis."""
    assert [command[0] for command in documented("With Kafka")] == ["follow", "worker", "export", "worker", "export"]


async def test_the_commands_of_the_page(kafka: Broker, tmp_path: Path) -> None:
    """Two followers, a worker and an exporter end in the recount; a new group fills an empty Redis with it, from the topics alone."""
    follow, worker, export, again, compared = documented("With Kafka")
    with kept_redis() as old, kept_redis() as new:
        async with (
            Redis.from_url(old.url) as redis,
            Redis.from_url(new.url) as empty,
            ReplayNode(recording(), pace=PACE) as node,
            Fleet(kafka, old.url, "documented", tmp_path / "log") as processes,
            Processes(("--windows", ",".join(f"{one}e" for one in WINDOWS)), tmp_path / "exporters") as exporters,
        ):
            ports = free_port(), free_port()
            places = {"redis://r:6379": old.url, "redis://new:6379": new.url, "k:9092": kafka.address, "wss://…": node.url}
            places["127.0.0.1:9465"] = f"127.0.0.1:{ports[1]}"
            node.halt_at(FIRST_HEAD_SECONDS)
            store = Store(redis, "testing")
            first = await processes.start(*here(follow, places))
            await processes.start(*here(worker, places))
            await exporters.start(*here(export, places), "--listen", f"127.0.0.1:{ports[0]}")
            await started(node, store, processes)
            second = await processes.start(*here(follow, places))
            await processes.said(second, "standing by")
            taking_over = asyncio.create_task(another_leads(redis))
            drained = time.monotonic()
            await processes.drain(first)
            assert await taking_over < time.monotonic() - drained + 1, "within a second of the end of the first"
            await node.finished.wait()
            await ends_in_the_recount(store, processes)
            await processes.start(*here(again, places))
            await exporters.start(*here(compared, places))
            filled = Store(empty, "testing")
            await filled.save_contracts((await store.load_contracts()).values())  # what the recount asks for classes
            await ends_in_the_recount(filled, processes, "rebuild-1")
            before, after = await shown(ports[0]), await shown(ports[1])
            assert {name for name in before if name.startswith("fvm_rolling")}
            assert {name: after.get(name) for name in before if "rolling" in name} == {
                name: value for name, value in before.items() if "rolling" in name
            }


@pytest.mark.slow
async def test_more_partitions(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """Four are added while a worker runs; a follower that is started then publishes to all twelve: the recount."""
    names = [topics.topic_of("grown", "testing", stream) for stream in STREAMS]
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE) as node, Fleet(kafka, f"unix://{redis_socket}", "grown", tmp_path / "log") as processes:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with topics.admin(kafka.brokers) as client:
            await topics.ensure(client, names, topics.Plan("grown", 8, 3600))
            await processes.working(await processes.start("worker"))
            await client.create_partitions({name: NewPartitions(12, None) for name in names})
        await processes.start("follow", "--node", node.url)
        await asyncio.sleep(1)
        node.halt_at(math.inf)
        await node.finished.wait()
        await ends_in_the_recount(store, processes)
        assert {len(await topics_of(kafka, name)) for name in names} == {12}


async def topics_of(kafka: Broker, name: str) -> range:
    """The partitions of a topic."""
    async with topics.admin(kafka.brokers) as client:
        return range((await topics.partitions_of(client))[name])


@pytest.mark.slow
@pytest.mark.parametrize("silent", [True, False], ids=["silent", "gone"])
@pytest.mark.parametrize("command,seconds", [("follow", FOLLOWER_SECONDS), ("worker", WORKER_SECONDS)])
async def test_told_to_end_without_brokers(kafka: Broker, tmp_path: Path, command: str, seconds: float, silent: bool) -> None:
    """At work, with brokers that answer no more or are no more: it ends well, within what the page says."""
    prefix = f"left-{command}-{silent}"
    with kept_redis() as server:
        async with (
            Redis.from_url(server.url) as redis,
            ReplayNode(recording(), pace=PACE / 5) as node,
            Fleet(kafka, server.url, prefix, tmp_path / "log") as processes,
        ):
            node.halt_at(FIRST_HEAD_SECONDS)
            running = {"follow": await processes.start("follow", "--node", node.url), "worker": await processes.start("worker")}
            await started(node, Store(redis, "testing"), processes)
            await asyncio.sleep(2)
            took = await ended_without(kafka, running[command], silent=silent)
            processes.forget(running[command])
        assert took < seconds


async def ended_without(kafka: Broker, process: asyncio.subprocess.Process, *, silent: bool) -> float:
    """Seconds until the process has ended, told so while brokers are away; they are back afterwards."""
    if silent:
        kafka.process.suspend()
    else:
        await asyncio.to_thread(kafka.stop, signal.SIGKILL)
    try:
        await asyncio.sleep(2)
        began = time.monotonic()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
        return time.monotonic() - began
    finally:
        if silent:
            kafka.process.resume()
        else:
            await asyncio.to_thread(kafka.start)
