"""The process that applies what followers publish: start as many as there are partitions."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from processors.classify import Classifier
from processors.consume import DeadLetters, Delivery, TopicAgents
from processors.exporter import Exporter
from processors.parts import connected_redis, group_of_tasks, serve_http
from processors.patience import patiently
from processors.places import Places
from processors.readings import Snapshot
from processors.registry import Registry
from processors.store import Store
from processors.windows import Window, parse_all
from processors.worker import Worker
from streams import topics
from streams.cancellation import cancellable
from streams.errors import BrokerFault, PulseError, StoreFault, UsageError
from streams.metrics import ProcessMetrics, process_registry
from streams.records import STREAMS
from streams.settings import Settings

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often lag and progress are looked at."""
NETWORKS_SECONDS = 20.0
"""How often somebody looks for the topics of another network."""
STUCK_SECONDS = 180.0
"""A worker that has records to apply, a Redis to apply them to, and applies none for so long, ends."""
CHAIN_IDS = {"mainnet": 314, "calibrationnet": 314159}
"""For records whose header does not tell."""


class Workshop:
    """The workers of one process, one per network, made when the first record of a network comes."""

    def __init__(
        self, redis: Redis, windows: Sequence[Window], registry: Registry, metrics: ProcessMetrics, dead_letters: DeadLetters
    ) -> None:
        self._redis = redis
        self._windows = windows
        self._registry = registry
        self._metrics = metrics
        self._dead_letters = dead_letters
        self._workers: dict[str, Worker] = {}
        self._opening = asyncio.Lock()

    async def handle(self, delivery: Delivery) -> None:
        """Apply a record for sure, or put it aside for good.

        Raises:
            UsageError: Redis holds something that this release or this configuration can not be used with.
        """
        set_aside = partial(self._dead_letters.put, delivery)
        worker = self._workers.get(delivery.network) or await self._open(delivery)
        try:
            await worker.process(delivery.value, set_aside, stream=delivery.stream)
        except PulseError:
            raise
        except Exception as error:
            # A bug of ours that this record meets: the partition goes on, the record waits for the release that mends it.
            log.exception("record set aside", topic=delivery.topic, partition=delivery.partition, offset=delivery.offset)
            self._metrics.dead_letters.labels(delivery.stream).inc()
            await set_aside(f"{type(error).__name__}: {error}")

    async def _open(self, delivery: Delivery) -> Worker:
        async with self._opening:
            if delivery.network in self._workers:
                return self._workers[delivery.network]
            store = Store(self._redis, delivery.network)
            async for attempt in patiently():
                with attempt:
                    await self._configure(store, delivery.network)
            chain_id = delivery.chain_id or CHAIN_IDS.get(delivery.network, 0)
            worker = Worker(store, Classifier(self._registry.for_chain(chain_id, delivery.network)), self._metrics)
            self._metrics.announce_network(delivery.network)
            self._workers[delivery.network] = worker
            return worker

    async def _configure(self, store: Store, network: str) -> None:
        configured = {window.name: window.epochs for window in self._windows}
        for reading in (await store.snapshot()).streams.values():
            kept = {name: window.epochs for name, window in reading.windows.items()}
            if kept != configured:
                raise UsageError(
                    f"windows: Redis keeps {','.join(kept)} for {network}, this worker has {','.join(configured)}:"
                    " give every process the same, the followers first"
                )
        await store.configure(self._windows)


async def work(settings: Settings) -> None:
    """Apply the records of every network on the brokers until cancelled.

    Raises:
        UsageError: a setting, or what Redis or Kafka hold, can not be used.
        BrokerFault: nothing moves although there is work: another start may help.
    """
    windows, contracts = parse_all(settings.windows), Registry.load(settings.registry)
    registry = process_registry()
    metrics = ProcessMetrics(registry)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected_redis(settings))

        async def read() -> Sequence[Snapshot]:
            await redis.ping()
            return []

        await serve_http(settings, Exporter(read, registry=registry, role="worker"), stack)
        await _found(settings)
        async with DeadLetters(settings.brokers, settings.topic_prefix) as dead_letters:
            workshop = Workshop(redis, windows, contracts, metrics, dead_letters)
            while True:
                await _work_on(settings, workshop, metrics, redis, await _found(settings))


async def _found(settings: Settings) -> list[str]:
    """The networks that have topics; waits for the first."""
    prefix = settings.topic_prefix

    async def look(client: AIOKafkaAdminClient) -> list[str]:
        found = await topics.networks(client, prefix)
        complete = [network for network, names in found.items() if len(names) == len(STREAMS) and settings.network in {None, network}]
        if complete:
            await topics.ensure(client, [topics.dead_letters_of(prefix)], topics.Plan(prefix, 1, topics.retention_seconds(0)))
            await topics.check_group(client, topics.group_of(prefix, settings.consumer_group))
        return complete

    waiting = False
    while not (networks := await topics.asked(settings.brokers, look)):
        if not waiting:
            log.info("no topics yet, or none that we may see: waiting for a follower", topics=f"{prefix}.*")
        waiting = True
        await asyncio.sleep(LOOK_SECONDS)
    return networks


async def _work_on(settings: Settings, workshop: Workshop, metrics: ProcessMetrics, redis: Redis, networks: list[str]) -> None:
    """Work until there is another network, or Redis is not what it was, or for ever."""
    places = Places(redis, settings.consumer_group, settings.topic_prefix)
    agents = TopicAgents(settings.brokers, settings.topic_prefix, settings.consumer_group, networks, workshop.handle, places)
    try:
        async with agents.running():
            log.info("working", networks=", ".join(networks), group=settings.consumer_group)
            async with group_of_tasks() as group:
                failing = group.create_task(agents.failed(), name="failure")
                watching = group.create_task(_watch(agents, metrics, redis), name="watch")
                ends = [
                    group.create_task(_other_networks(settings, networks), name="networks"),
                    group.create_task(_other_redis(agents, places), name="places"),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in (failing, watching, *ends):
                    task.cancel()
    except (KafkaError, TimeoutError) as error:
        log.warning("Kafka lets us not in, trying again", reason=str(error) or type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


async def _other_networks(settings: Settings, networks: list[str]) -> None:
    while await _found(settings) == networks:  # noqa: ASYNC110 (Kafka tells nobody of new topics)
        await asyncio.sleep(NETWORKS_SECONDS)


async def _other_redis(agents: TopicAgents, places: Places) -> None:
    """Keep the places, until they are of a Redis that is no more."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(StoreFault):
            if not await places.keep(agents.done):
                log.warning("Redis is not what it was, reading again from where it was")
                return


async def _watch(agents: TopicAgents, metrics: ProcessMetrics, redis: Redis) -> None:
    """Tell the lag; end a worker that is stuck."""
    handled, since = -1, time.monotonic()
    while True:
        lags = agents.lags()
        for (network, stream), records in lags.items():
            metrics.consumer_lag_records.labels(network, stream).set(records)
        if agents.handled != handled or not any(lags.values()) or not await _answers(redis):
            handled, since = agents.handled, time.monotonic()
        elif time.monotonic() - since > STUCK_SECONDS:
            raise BrokerFault(f"no record was applied for {STUCK_SECONDS:.0f} s although {sum(lags.values())} wait: to be started again")
        await asyncio.sleep(LOOK_SECONDS)


async def _answers(redis: Redis) -> bool:
    try:
        with cancellable():
            await redis.ping()
    except Exception:  # noqa: BLE001 (whatever is wrong with Redis, it is not Kafka)
        return False
    return True
