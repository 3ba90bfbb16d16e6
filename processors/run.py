"""One process that does everything, and one that only exports: the parts put together."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import structlog
from redis.asyncio import Redis

from processors.catalogue import INDICATORS
from processors.exporter import Exporter
from processors.filling import Filler
from processors.parts import announce, connected_redis, group_of_tasks, node_addresses, policy, probes, serve_http
from processors.readings import Snapshot
from processors.registry import Registry
from processors.sink import LocalSink
from processors.store import Store, networks
from processors.thresholds import watches
from processors.vitals import vitals
from processors.windows import parse_all
from streams.connections import Connections
from streams.errors import RecordingError, UsageError
from streams.follower import Follower
from streams.metrics import ProcessMetrics, process_registry
from streams.observe import Observer
from streams.replay import ReplayNode
from streams.settings import Settings

log = structlog.get_logger(__name__)

ENDING_SECONDS = 30.0
"""How long a recording that is over may bring nothing new and not be at its end."""


async def run(settings: Settings) -> None:
    """Follow, process, store and export until cancelled.

    Raises:
        UsageError: a setting can not be used, every node refuses us, or the given Redis does not answer at the start.
        StoreFault: the private Redis does not start.
    """
    await _follow(settings, until_end=False)


async def replay(settings: Settings) -> Sequence[Snapshot]:
    """Follow a recording to its end; what the store holds then.

    Raises:
        UsageError: as for `run`, or the recording lacks what its own end needs.
        StoreFault: the private Redis does not start.
    """
    return await _follow(settings, until_end=True)


async def _follow(settings: Settings, *, until_end: bool) -> Sequence[Snapshot]:
    windows, registry = parse_all(settings.windows), Registry.load(settings.registry)
    thresholds = watches(INDICATORS, settings.preset, settings.thresholds, settings.windows)
    own = process_registry()
    metrics = ProcessMetrics(own)
    metrics.announce_endpoints(node.name for node in settings.nodes)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected_redis(settings))
        addresses, recordings = await node_addresses(settings, stack, hold=True)
        follower = Follower(
            addresses,
            chain_id=settings.chain_id,
            network=settings.network,
            policy=policy(settings),
            jitter=random.random,
            probes=probes(settings),
        )
        sink = LocalSink(redis, windows, registry, metrics)

        async def read() -> Sequence[Snapshot]:
            if sink.store is not None:
                return [await sink.store.snapshot()]
            await redis.ping()
            return []

        exporter = Exporter(read, registry=own, role="replay" if until_end else "run", watches=thresholds, vitals=vitals(redis))
        await serve_http(settings, exporter, stack)
        await stack.enter_async_context(sink.agents.running())
        observer = Observer(follower, metrics)
        connections = Connections(follower, addresses, sink, observer)
        async with group_of_tasks() as group:
            working = group.create_task(connections.run(), name="connections")
            announcing = group.create_task(announce(follower, observer, lambda: sink.store), name="announce")
            watching = group.create_task(sink.agents.failed(), name="watch the agents")
            comparing = group.create_task(sink.watch(connections.resync), name="watch Redis")
            filler = Filler(follower, redis, settings, lambda: sink.store, connections.stir)
            filling = group.create_task(filler.run(), name="fill history")
            remembering = group.create_task(exporter.remember(), name="remember the indicators")
            await _let_go(recordings, follower)
            if until_end:
                await _end_of(recordings, follower, sink, filler)
                for task in (working, announcing, watching, comparing, filling, remembering):
                    task.cancel()
        return await read()


async def export(settings: Settings) -> None:
    """Serve what others store, until cancelled."""
    thresholds = watches(INDICATORS, settings.preset, settings.thresholds, settings.windows)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected_redis(settings))
        own = process_registry()

        async def read() -> Sequence[Snapshot]:
            return await _stored(redis, settings.network)

        exporter = Exporter(read, registry=own, role="export", watches=thresholds, vitals=vitals(redis))
        await serve_http(settings, exporter, stack)
        await exporter.remember()


async def stored(settings: Settings) -> Sequence[Snapshot]:
    """What the Redis of `redis_url` holds of every network.

    Raises:
        UsageError: it does not answer.
        StoreFault: it can not be read.
    """
    async with connected_redis(settings) as redis:
        return await _stored(redis, settings.network)


async def _stored(redis: Redis, only: str | None) -> Sequence[Snapshot]:
    """What it holds of every network, or of one; a network that another version wrote keeps nobody from the others.

    Raises:
        UsageError: there is no other.
    """
    found, refused = [], []
    for network in await networks(redis):
        if only in {None, network}:
            try:
                found.append(await Store(redis, network).snapshot())
            except UsageError as error:
                refused.append(error)
    if refused and not found:
        raise refused[0]
    return found


async def _let_go(recordings: Sequence[ReplayNode], follower: Follower) -> None:
    """Hold the recordings at their first head until it is followed, so that nothing of them is missed."""
    while recordings and follower.head is None:  # noqa: ASYNC110 (the follower has no events to wait for)
        await asyncio.sleep(0.01)
    for node in recordings:
        node.halt_at(math.inf)


async def _end_of(recordings: Sequence[ReplayNode], follower: Follower, sink: LocalSink, filler: Filler) -> None:
    """Wait until the recordings are over and everything of them is in the store, what lies below their first heads as well.

    Raises:
        RecordingError: they are over, but what is needed for their end is not in them.
    """
    for node in recordings:
        await node.finished.wait()
    ends = {node.recording.heads[-1].native or node.recording.heads[-1].tip for node in recordings}

    def over() -> bool:
        return follower.caught_up and follower.sampled and follower.head is not None and follower.head.hash in ends

    if not await _comes_about(sink, over):
        at = f"at height {follower.head.height}" if follower.head is not None else "not known"
        raise RecordingError(f"the recording lacks answers that its end needs: its head is {at}, and no more can be processed")
    looking = asyncio.create_task(filler.exhausted())
    await _comes_about(sink, looking.done)
    looking.cancel()
    await sink.agents.drained()


async def _comes_about(sink: LocalSink, done: Callable[[], bool]) -> bool:
    """Wait until it is done; False where before that nothing was published for too long."""
    taken, deadline = sink.taken, time.monotonic() + ENDING_SECONDS
    while not done():
        await asyncio.sleep(0.05)
        if sink.taken != taken:
            taken, deadline = sink.taken, time.monotonic() + ENDING_SECONDS
        elif time.monotonic() > deadline:
            return False
    return True
