"""The parts that several commands are put together from: Redis, nodes, HTTP, the node's head as a fact."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from redis.asyncio import Redis

from processors.embedded import embedded_redis
from processors.exporter import Exporter
from processors.store import Store
from streams.connections import Address
from streams.errors import StoreFault, UsageError
from streams.follower import Follower
from streams.recording import load
from streams.replay import ReplayNode
from streams.settings import Settings

log = structlog.get_logger(__name__)

HEAD_SECONDS = 1.0
"""How often the head that the node announced is written beside the figures."""
REDIS_TIMEOUT_SECONDS = 5.0


@asynccontextmanager
async def group_of_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first error is raised as itself, out of however many groups."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from errors


@asynccontextmanager
async def connected_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client of the configured Redis, else of a private one that ends with the block."""
    async with AsyncExitStack() as stack:
        if settings.redis_url is None:
            url = (await stack.enter_async_context(embedded_redis(settings.data_dir))).url
        else:
            url = settings.redis_url.get_secret_value()
        redis = Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS)
        stack.push_async_callback(redis.aclose)
        yield redis


async def node_addresses(settings: Settings, stack: AsyncExitStack) -> tuple[dict[str, Address], list[ReplayNode]]:
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


async def serve_http(settings: Settings, exporter: Exporter, stack: AsyncExitStack) -> None:
    """Serve metrics and the page until `stack` ends.

    Raises:
        UsageError: the address can not be had.
    """
    host, port = settings.listen
    try:
        runner = await exporter.serve(host, port)
    except OSError as error:
        raise UsageError(f"listen: {settings.listen} can not be had ({error.strerror or error}): choose another HOST:PORT") from error
    stack.push_async_callback(runner.cleanup)
    for address in runner.addresses:
        log.info("serving", page=f"http://{address[0]}:{address[1]}/", metrics=f"http://{address[0]}:{address[1]}/metrics")


async def announce_head(follower: Follower, store: Callable[[], Store | None]) -> None:
    """Keep the node's head beside the figures: an exporter tells by it how far behind they are."""
    told: object = None
    while True:
        head = follower.head
        if head is not None and head != told and (into := store()) is not None:
            facts = {"node_head_epoch": str(head.height), "node_head_timestamp_seconds": str(head.timestamp_seconds)}
            with contextlib.suppress(StoreFault):
                await into.write_facts(facts)
                told = head
        await asyncio.sleep(HEAD_SECONDS)
