"""One process that does everything, and one that only exports: the parts put together."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from processors.catalogue import INDICATORS
from processors.embedded import embedded_redis
from processors.exporter import Exporter
from processors.readings import Snapshot
from processors.registry import Registry
from processors.sink import LocalSink
from processors.store import Store
from processors.thresholds import Watch, watches
from processors.windows import parse_all
from streams.connections import Address, Connections
from streams.errors import StoreFault, UsageError
from streams.events import Policy
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.observe import Observer
from streams.recording import load
from streams.replay import ReplayNode
from streams.settings import Settings

log = structlog.get_logger(__name__)

HEAD_SECONDS = 1.0
"""How often the head that the node announced is written beside the figures."""
REDIS_TIMEOUT_SECONDS = 5.0


async def run(settings: Settings) -> None:
    """Follow, process, store and export until cancelled.

    Raises:
        UsageError: a setting can not be used, or every node refuses us.
        StoreFault: the given Redis can not be reached at the start.
    """
    await _follow(settings, until_end=False)


async def replay(settings: Settings) -> Sequence[Snapshot]:
    """Follow a recording to its end; what the store holds then."""
    return await _follow(settings, until_end=True)


async def _follow(settings: Settings, *, until_end: bool) -> Sequence[Snapshot]:
    windows, registry = parse_all(settings.windows), Registry.load(settings.registry)
    thresholds = watches(INDICATORS, settings.preset, settings.thresholds)
    process_registry = CollectorRegistry()
    metrics = ProcessMetrics(process_registry)
    metrics.announce_endpoints(node.name for node in settings.nodes)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(_redis(settings))
        addresses, recordings = await _addresses(settings, stack)
        follower = Follower(
            addresses,
            chain_id=settings.chain_id,
            network=settings.network,
            policy=Policy(settings.look_back_epochs, settings.concurrency, settings.stale_after_seconds),
            jitter=random.random,
        )
        sink = LocalSink(redis, windows, registry, metrics, now_seconds=int(time.time()))

        async def read() -> Sequence[Snapshot]:
            return [await sink.store.snapshot()] if sink.store is not None else []

        await _serve(settings, Exporter(read, registry=process_registry, watches=thresholds), stack)
        await stack.enter_async_context(sink.agents.running())
        connections = Connections(follower, addresses, sink, Observer(follower, metrics))
        async with _group() as group:
            working = group.create_task(connections.run(), name="connections")
            announcing = group.create_task(_announce_head(follower, sink), name="announce head")
            if until_end:
                await _end_of(recordings, follower, sink)
                working.cancel()
                announcing.cancel()
        return await read()


async def export(settings: Settings) -> None:
    """Serve what others store, until cancelled."""
    thresholds = watches(INDICATORS, settings.preset, settings.thresholds)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(_redis(settings))
        process_registry = CollectorRegistry()

        async def read() -> Sequence[Snapshot]:
            return [await Store(redis, network).snapshot() for network in await Store.networks(redis)]

        await _serve(settings, Exporter(read, registry=process_registry, watches=thresholds), stack)
        await asyncio.Event().wait()


@asynccontextmanager
async def _group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first error is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[Redis]:
    async with AsyncExitStack() as stack:
        if settings.redis_url is None:
            url = (await stack.enter_async_context(embedded_redis(settings.data_dir))).url
        else:
            url = settings.redis_url.get_secret_value()
        redis = Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS)
        stack.push_async_callback(redis.aclose)
        yield redis


async def _addresses(settings: Settings, stack: AsyncExitStack) -> tuple[dict[str, Address], list[ReplayNode]]:
    """Where the nodes are; a recording gets a node of its own on the loopback."""
    addresses: dict[str, Address] = {}
    recordings: list[ReplayNode] = []
    for node in settings.nodes:
        if node.recording is None:
            addresses[node.name] = Address(node.url, node.token.get_secret_value() if node.token is not None else None)
            continue
        recording = await asyncio.to_thread(load, node.recording)
        server = ReplayNode(recording, pace=settings.replay_pace, shift_to_now=True)
        await stack.enter_async_context(server)
        recordings.append(server)
        addresses[node.name] = Address(server.url)
    return addresses, recordings


async def _serve(settings: Settings, exporter: Exporter, stack: AsyncExitStack) -> None:
    host, port = settings.listen
    try:
        runner = await exporter.serve(host, port)
    except OSError as error:
        raise UsageError(f"listen: {settings.listen} can not be had ({error.strerror or error}): choose another HOST:PORT") from error
    stack.push_async_callback(runner.cleanup)
    for address in runner.addresses:
        log.info("serving", page=f"http://{address[0]}:{address[1]}/", metrics=f"http://{address[0]}:{address[1]}/metrics")


async def _announce_head(follower: Follower, sink: LocalSink) -> None:
    """Keep the node's head beside the figures: an exporter tells by it how far behind they are."""
    told: object = None
    while True:
        head = follower.head
        if head is not None and head != told and sink.store is not None:
            facts = {"node_head_epoch": str(head.height), "node_head_timestamp_seconds": str(head.timestamp_seconds)}
            with contextlib.suppress(StoreFault):
                await sink.store.write_facts(facts)
                told = head
        await asyncio.sleep(HEAD_SECONDS)


async def _end_of(recordings: Sequence[ReplayNode], follower: Follower, sink: LocalSink) -> None:
    """Wait until the recordings are over and everything of them is in the store."""
    for recording in recordings:
        await recording.finished.wait()
    while not follower.caught_up:
        await asyncio.sleep(0.05)
    await sink.agents.drained()
