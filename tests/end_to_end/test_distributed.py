"""Followers, Kafka, workers and Redis as processes: whatever dies, the end is the naive recount, to the attoFIL."""

import asyncio
import itertools
import math
import random
import signal
import sys
import time
from functools import cache
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from processors.readings import Snapshot
from processors.store import Store
from streams import topics
from streams.recording import Recording, load
from streams.records import COUNTED_STREAMS, STREAMS
from streams.replay import ReplayNode
from tests.brokers import Broker
from tests.end_to_end.fleet import APPLYING_SECONDS, Cable, Fleet, Repeater, kept_redis
from tests.end_to_end.product import BUNDLED, caught_up, check, check_deployers, product
from tests.recount import Recount

PACE = 50.0
FIRST_HEAD_SECONDS = 0.03
LONG_PAUSE_SECONDS = 30.0
STAGE_SECONDS = 40.0
"""Of the recording: so much more is told before each thing that happens, so that records come whatever the machine's pace."""
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@cache
def recording() -> Recording:
    """The bundled recording, read once."""
    return load("devnet")


@cache
def recount() -> Recount:
    """Its recount, read once."""
    return Recount(BUNDLED, lambda _: "unknown", native=True)


async def started(node: ReplayNode, store: Store, processes: Fleet) -> None:
    """Hold the recording at its first head until that is processed, so that nothing is missed."""
    async with asyncio.timeout(60):
        while not (await store.snapshot()).latest.get("height"):
            processes.check()
            await asyncio.sleep(0.05)
    node.halt_at(math.inf)


async def ends_in_the_recount(store: Store, processes: Fleet, group: str = "fvm-pulse") -> None:
    """Everything is applied, and it is the recount."""
    await caught_up(store, recount().chain(math.inf), APPLYING_SECONDS)
    await processes.applied(group)
    await check(store, recount())
    await check_deployers(store, recount())
    assert (await store.snapshot()).state.latest.keys() >= SAMPLED


TRACED = {"traced", "deployments:internal", "deployer", "deployed_code", "f099_fevm_sent"}
"""What depends on how many tipsets were traced, so it is compared with the recount alone (`check_deployers`)."""

SAMPLED = {"power:raw_bytes", "power:quality_adjusted_bytes", "burnt:attofil", "network_version"}
"""Of the state, which travels by its own topic."""


async def published(kafka: Broker, redis: Redis, redis_socket: str, prefix: str, log: Path) -> None:
    """The whole recording is on Kafka, and applied once by one worker."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=4 * PACE) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", prefix, log) as processes:
            await processes.start("follow", "--node", node.url)
            await processes.start("worker")
            await started(node, store, processes)
            await node.finished.wait()
            await ends_in_the_recount(store, processes)


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_ends_in_the_recount(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path, workers: int) -> None:
    """One follower, so many workers, eight partitions: the recount."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", f"plain{workers}", tmp_path / "log") as processes:
            await processes.start("follow", "--node", node.url)
            for _ in range(workers):
                await processes.start("worker")
            await started(node, store, processes)
            await node.finished.wait()
            await ends_in_the_recount(store, processes)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.timeout(240)
async def test_everything_dies_once(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path, workers: int) -> None:
    """Five SIGKILLs of workers, a rebalance, a Redis, a broker and a follower that are killed, all records up to three times in any order:
    exactly the figures of one process, and the recount.
    """
    seed = random.randrange(2**32)
    sys.stderr.write(f"seed {seed}\n")
    rng = random.Random(seed)
    with kept_redis() as server:
        async with (
            Redis.from_url(server.url) as shared,
            ReplayNode(recording(), pace=PACE / 4) as node,
            Fleet(kafka, server.url, f"dying{workers}", tmp_path / "log") as processes,
        ):
            node.halt_at(FIRST_HEAD_SECONDS)
            store, stages = Store(shared, "testing"), itertools.count(STAGE_SECONDS, STAGE_SECONDS)
            follower = await processes.start("follow", "--node", node.url)
            running = [await processes.start("worker") for _ in range(workers)]
            await started(node, store, processes)
            async with Repeater(kafka, f"dying{workers}", rng).running() as repeater:
                for worker in running:
                    await processes.working(worker)
                for _ in range(5):
                    node.halt_at(next(stages))
                    await one_dies(processes, running, rng)
                node.halt_at(next(stages))
                extra = await processes.start("worker")
                await processes.working(extra)
                node.halt_at(next(stages))
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(1)
                await asyncio.to_thread(server.start)
                node.halt_at(next(stages))
                await asyncio.to_thread(kafka.stop, signal.SIGKILL)
                await asyncio.sleep(1)
                await asyncio.to_thread(kafka.start)
                node.halt_at(next(stages))
                await processes.kill(follower)
                await processes.start("follow", "--node", node.url)
                await processes.drain(extra)
                assert not node.finished.is_set()
                node.halt_at(math.inf)
                await node.finished.wait()
                await caught_up(store, recount().chain(math.inf), APPLYING_SECONDS)
            assert repeater.repeated > repeater.records / 2 > 0
            await ends_in_the_recount(store, processes)
            found = figures(await store.snapshot())
    assert found == await embedded_figures(Store(redis, "testing"), redis_socket)


async def one_dies(processes: Fleet, running: list[asyncio.subprocess.Process], rng: random.Random) -> None:
    """One of the workers ends as if by a loss of power, at work, and another one is started."""
    await asyncio.sleep(rng.uniform(0, 2))
    await processes.kill(running.pop(rng.randrange(len(running))))
    running.append(await processes.start("worker"))
    await processes.working(running[-1])


async def embedded_figures(store: Store, redis_socket: str) -> object:
    """What one process makes of the recording."""
    async with ReplayNode(recording(), pace=4 * PACE) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with product("--node", node.url, "--redis-url", f"unix://{redis_socket}"):
            async with asyncio.timeout(60):
                while not (await store.snapshot()).latest.get("height"):
                    await asyncio.sleep(0.05)
            node.halt_at(math.inf)
            await node.finished.wait()
            await check(store, recount())
            return figures(await store.snapshot())


def figures(snapshot: Snapshot) -> object:
    """All that windows of the counted streams hold; a sum that came to 0 and one that never was are the same.

    Without what traces tell: what a follower fetches after a fork has gone on, or fills in as history, is published without them.
    """
    windows = [(stream, window) for stream in COUNTED_STREAMS for window in snapshot.streams[stream].windows.values()]
    return {
        (stream, window.name): (
            {field: total for field, total in window.sums.items() if total and field not in TRACED},
            {kind: count for kind, count in window.distinct.items() if count and kind not in TRACED},
            (window.processed, window.null),
        )
        for stream, window in windows
    }


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_emptied_redis(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path, workers: int) -> None:
    """Everything in Redis is gone in the middle: workers read again what is on Kafka, the leader goes on, and the end is the recount."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE / 2) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", f"emptied{workers}", tmp_path / "log") as processes:
            await processes.start("follow", "--node", node.url)
            for _ in range(workers):
                await processes.start("worker")
            await started(node, store, processes)
            await processed(store, 1150, processes)
            await redis.flushall()
            await node.finished.wait()
            await ends_in_the_recount(store, processes)


async def test_an_older_copy_of_redis(kafka: Broker, tmp_path: Path) -> None:
    """Redis comes back as what it was a while ago, once with the leader alive and once without: the recount."""
    with kept_redis() as server:
        async with (
            Redis.from_url(server.url) as redis,
            ReplayNode(recording(), pace=PACE / 2) as node,
            Fleet(kafka, server.url, "older", tmp_path / "log") as processes,
        ):
            node.halt_at(FIRST_HEAD_SECONDS)
            store = Store(redis, "testing")
            follower = await processes.start("follow", "--node", node.url)
            for _ in range(2):
                await processes.start("worker")
            await started(node, store, processes)
            for height in (1100, 1160):
                await processed(store, height, processes)
                await asyncio.to_thread(server.copy, tmp_path / str(height))
                await processed(store, height + 25, processes)
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.become, tmp_path / str(height))
                await asyncio.to_thread(server.start)
                await processes.kill(follower) if height == 1160 else None
            await processes.start("follow", "--node", node.url)
            await node.finished.wait()
            await ends_in_the_recount(store, processes)


async def processed(store: Store, height: int, processes: Fleet) -> None:
    """Wait until the store has come so far."""
    async with asyncio.timeout(60):
        while int((await store.snapshot()).latest.get("height", -1)) < height:
            processes.check()
            await asyncio.sleep(0.02)


async def test_a_topic_replayed_into_an_empty_redis(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """A worker of a new group fills an empty Redis with the same figures; no node and no follower is there any more."""
    await published(kafka, redis, redis_socket, "again", tmp_path / "log")
    with kept_redis() as server:
        async with Redis.from_url(server.url) as empty, Fleet(kafka, server.url, "again", tmp_path / "log") as processes:
            await processes.start("worker", "--consumer-group", "rebuild")
            contracts = await Store(redis, "testing").load_contracts()
            store = Store(empty, "testing")
            await store.save_contracts(contracts.values())  # what the recount asks for classes
            await ends_in_the_recount(store, processes, "rebuild")


@pytest.mark.slow
async def test_every_record_three_times_in_any_order(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """What one follower published is delivered again, each record up to three times, shuffled, on other partitions: the recount."""
    await published(kafka, redis, redis_socket, "straight", tmp_path / "log")
    contracts = await Store(redis, "testing").load_contracts()
    await redis.flushall()
    await shuffled(kafka, "straight", "shuffled")
    store = Store(redis, "testing")
    async with Fleet(kafka, f"unix://{redis_socket}", "shuffled", tmp_path / "log") as processes:
        await processes.start("worker")
        await processes.start("worker")
        await store.save_contracts(contracts.values())
        await ends_in_the_recount(store, processes)


async def shuffled(kafka: Broker, prefix: str, other: str) -> None:
    """Copy the topics of a prefix to another one: each record one to three times, in any order."""
    names = [topics.topic_of(prefix, "testing", stream) for stream in STREAMS]
    async with topics.admin(kafka.brokers) as client:
        copies = [topics.topic_of(other, "testing", stream) for stream in STREAMS]
        await topics.ensure(client, copies, topics.Plan(other, 8, 3600))
    found = []
    async with AIOKafkaConsumer(*names, bootstrap_servers=kafka.address, auto_offset_reset="earliest") as consumer:
        while batch := await consumer.getmany(timeout_ms=3000):
            found += [message for messages in batch.values() for message in messages]
    many = [message for message in found for _ in range(random.randint(1, 3))]
    random.shuffle(many)
    async with AIOKafkaProducer(bootstrap_servers=kafka.address, max_request_size=topics.LARGEST_RECORD_BYTES) as producer:
        for message in many:
            topic = message.topic.replace(prefix, other)
            await producer.send(topic, message.value, partition=random.randrange(8), headers=list(message.headers))


async def test_the_standby_takes_over(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """Within 10 s of a leader's SIGKILL the standby publishes; one that was paused comes back as a standby: the recount."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE / 4) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", "pair", tmp_path / "log") as processes:
            first = await processes.start("follow", "--node", node.url)
            await processes.start("worker")
            await started(node, store, processes)
            second = await processes.start("follow", "--node", node.url)
            await processes.said(second, "standing by")
            await processes.kill(first)
            assert await another_leads(redis) < 10
            third = await processes.start("follow", "--node", node.url)
            await processes.said(third, "standing by")
            second.send_signal(signal.SIGSTOP)
            assert await another_leads(redis) < 10
            second.send_signal(signal.SIGCONT)
            await processes.said(second, "standing by", 2)
            await node.finished.wait()
            await ends_in_the_recount(store, processes)
            await processes.drain(third)
            await processes.drain(second)


async def test_a_leader_without_redis(kafka: Broker, redis: Redis, redis_socket: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A leader that is cut off from Redis alone is followed by the standby within 10 s, and stands by once it is back: the recount."""
    store, folder = Store(redis, "testing"), tmp_path_factory.mktemp("c")
    cable = Cable(redis_socket, folder)
    await cable.mend()
    async with ReplayNode(recording(), pace=PACE / 4) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", "cut", folder / "log") as processes:
            first = await processes.start("follow", "--node", node.url, "--redis-url", cable.url)
            await processes.start("worker")
            await started(node, store, processes)
            second = await processes.start("follow", "--node", node.url)
            await processes.said(second, "standing by")
            await cable.cut()
            assert await another_leads(redis) < 10
            await cable.mend()
            await processes.said(first, "standing by")
            await node.finished.wait()
            await ends_in_the_recount(store, processes)
    await cable.cut()


@pytest.mark.slow
async def test_a_leader_that_is_paused_for_long(kafka: Broker, redis: Redis, redis_socket: str, tmp_path: Path) -> None:
    """After 30 s without a standby it goes on; after 30 s with one it has been superseded, and overwrites nothing: the recount."""
    store = Store(redis, "testing")
    async with ReplayNode(recording(), pace=PACE / 12) as node:
        node.halt_at(FIRST_HEAD_SECONDS)
        async with Fleet(kafka, f"unix://{redis_socket}", "paused", tmp_path / "log") as processes:
            first = await processes.start("follow", "--node", node.url)
            await processes.start("worker")
            await started(node, store, processes)
            first.send_signal(signal.SIGSTOP)
            await asyncio.sleep(LONG_PAUSE_SECONDS)
            first.send_signal(signal.SIGCONT)
            second = await processes.start("follow", "--node", node.url)
            await processes.said(second, "standing by")
            first.send_signal(signal.SIGSTOP)
            took = await another_leads(redis)
            assert took < 10
            await asyncio.sleep(LONG_PAUSE_SECONDS - took)
            assert not node.finished.is_set(), "it comes back while records come"
            first.send_signal(signal.SIGCONT)
            await processes.said(first, "no longer leading")
            await processes.said(first, "standing by")
            await node.finished.wait()
            await ends_in_the_recount(store, processes)


async def another_leads(redis: Redis) -> float:
    """Seconds until the lease has another token than now."""
    began, before = time.monotonic(), await redis.get("pulse:{testing}:incarnation")
    while await redis.get("pulse:{testing}:incarnation") == before:
        assert time.monotonic() - began < 30
        await asyncio.sleep(0.05)
    return time.monotonic() - began
