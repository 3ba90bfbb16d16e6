"""Records into a real Redis: applied, repeated until it is there, or set aside."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from processors.classify import Classifier
from processors.registry import Registry
from processors.store import Store
from processors.windows import parse_all
from processors.worker import Worker
from streams.metrics import ProcessMetrics
from streams.records import LogsRecord, encode
from tests.conftest import running, servers
from tests.processors.strategies import NETWORK, rewind, tipset

WINDOWS = parse_all(["3e"])
LOGS = LogsRecord(network=NETWORK, sequence=4, height=5, parent_height=4, hash="0x" + "00" * 32, noticed_at=0.0)


@dataclass
class Bench:
    """A worker and what it works on."""

    store: Store
    worker: Worker
    registry: CollectorRegistry

    def counted(self, name: str, **labels: str) -> float | None:
        """A sample of the process's metrics."""
        return self.registry.get_sample_value(name, labels)


def bench(redis: Redis) -> Bench:
    """A worker of the network of the strategies."""
    store, registry = Store(redis, NETWORK), CollectorRegistry()
    return Bench(store, Worker(store, Classifier(Registry.load(None).for_chain(314)), ProcessMetrics(registry)), registry)


@pytest.fixture
async def made(redis: Redis) -> Bench:
    """On an empty server."""
    one = bench(redis)
    await one.store.configure(WINDOWS)
    return one


async def test_every_kind_of_record_is_applied(made: Bench) -> None:
    """Tipsets, logs and rewinds, as objects and as they travel."""
    await made.worker.process(tipset(4, 3, 1))
    await made.worker.process(encode(tipset(5, 4, 2)))
    await made.worker.process(LOGS)
    streams = (await made.store.snapshot()).streams
    assert (streams["tipsets"].head, streams["tipsets"].processed, streams["logs"].head) == (5, 2, 5)
    await made.worker.process(encode(rewind(4, 5, 5)))
    assert (await made.store.snapshot()).streams["tipsets"].head == 4


async def test_latency_is_from_notice_to_redis(made: Bench) -> None:
    """One observation per tipset that was noticed, under the record's network; one that was filled in has no latency."""
    before = time.time()
    await made.worker.process(tipset(3, 2, 1))
    await made.worker.process(structs.replace(tipset(4, 3, 1), noticed_at=1.0))
    assert made.counted("pulse_tipset_latency_seconds_count", network=NETWORK) == 1
    latency = made.counted("pulse_tipset_latency_seconds_sum", network=NETWORK)
    assert latency is not None
    assert before - 1 <= latency <= time.time()  # it was noticed in 1970


@pytest.mark.parametrize(
    "poison,stream,reason",
    [
        (b"hello", "logs", "not a record"),
        (b'{"version":99}', "logs", "record of version 99"),
        (tipset(4, 7, 1), "tipsets", "the parent at 7 is not below the tipset at 4"),
        (tipset(4, 3, 2**63), "tipsets", "not a number of 63 bits"),
    ],
)
async def test_poison_is_counted_told_and_passed_over(made: Bench, poison: object, stream: str, reason: str) -> None:
    """What can never be applied goes to the dead letters with its reason, and the next record is applied."""
    told: list[str] = []

    async def dead_letter(why: str) -> None:
        told.append(why)

    await made.worker.process(poison, dead_letter, stream="logs")  # type: ignore[arg-type]
    assert len(told) == 1
    assert reason in told[0]
    assert made.counted("pulse_dead_letters_total", stream=stream) == 1
    await made.worker.process(tipset(5, 4, 2))
    assert (await made.store.snapshot()).streams["tipsets"].head == 5


async def test_a_record_waits_for_redis() -> None:
    """While Redis is away the record is tried again, and is applied once it is there."""
    socket = Path(mkdtemp(prefix="pulse-")) / "redis.sock"
    async with Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0)) as redis:
        one = bench(redis)
        applying = asyncio.create_task(one.worker.process(tipset(4, 3, 1)))
        await asyncio.sleep(0.2)
        assert not applying.done()
        with running(servers()["valkey"]) as there:
            socket.symlink_to(there)
            await one.store.configure(WINDOWS)
            await asyncio.wait_for(applying, 10)
            assert (await one.store.snapshot()).streams["tipsets"].head == 4
