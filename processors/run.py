"""One process that does everything, and one that only exports: the parts put together."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog
from prometheus_client import CollectorRegistry

from processors.catalogue import INDICATORS
from processors.exporter import Exporter
from processors.parts import announce_head, connected_redis, group_of_tasks, node_addresses, serve_http
from processors.readings import Snapshot
from processors.registry import Registry
from processors.sink import LocalSink
from processors.store import Store, networks
from processors.thresholds import watches
from processors.windows import parse_all
from streams.connections import Connections
from streams.events import Policy
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.observe import Observer
from streams.replay import ReplayNode
from streams.settings import Settings

log = structlog.get_logger(__name__)


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
        redis = await stack.enter_async_context(connected_redis(settings))
        addresses, recordings = await node_addresses(settings, stack)
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

        await serve_http(settings, Exporter(read, registry=process_registry, watches=thresholds), stack)
        await stack.enter_async_context(sink.agents.running())
        connections = Connections(follower, addresses, sink, Observer(follower, metrics))
        async with group_of_tasks() as group:
            working = group.create_task(connections.run(), name="connections")
            announcing = group.create_task(announce_head(follower, lambda: sink.store), name="announce head")
            if until_end:
                await _end_of(recordings, follower, sink)
                working.cancel()
                announcing.cancel()
        return await read()


async def export(settings: Settings) -> None:
    """Serve what others store, until cancelled."""
    thresholds = watches(INDICATORS, settings.preset, settings.thresholds)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected_redis(settings))
        process_registry = CollectorRegistry()

        async def read() -> Sequence[Snapshot]:
            return [await Store(redis, network).snapshot() for network in await networks(redis)]

        await serve_http(settings, Exporter(read, registry=process_registry, watches=thresholds), stack)
        await asyncio.Event().wait()


async def _end_of(recordings: Sequence[ReplayNode], follower: Follower, sink: LocalSink) -> None:
    """Wait until the recordings are over and everything of them is in the store."""
    for recording in recordings:
        await recording.finished.wait()
    while not follower.caught_up:  # noqa: ASYNC110 (it has no event)
        await asyncio.sleep(0.05)
    await sink.agents.drained()
