"""The parts that several commands are put together from: Redis, nodes, HTTP, what a follower tells of itself."""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import structlog
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from processors.embedded import embedded_redis, socket_of
from processors.exporter import Exporter
from processors.store import Store
from streams.account import Account
from streams.cancellation import cancellable
from streams.connections import Address
from streams.errors import StoreFault, UsageError
from streams.events import Policy
from streams.follower import Follower
from streams.network_probes import network_probes
from streams.observe import Observer
from streams.recording import load
from streams.replay import ReplayNode
from streams.sampling import Probe
from streams.settings import Settings
from streams.values import Listen, Node, shown_url

log = structlog.get_logger(__name__)

HEAD_SECONDS = 0.25
"""How often the head that the node announced is written beside the figures, where it moved."""
ACCOUNT_SECONDS = 15.0
"""How often a follower tells of itself although nothing changed."""
REDIS_TIMEOUT_SECONDS = 5.0
REDIS_START_SECONDS = 3.0
"""How long a configured Redis may be away at the start; later it may be away for any time."""


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


def policy(settings: Settings) -> Policy:
    """The follower's numbers, as they are set."""
    return Policy(
        look_back_epochs=settings.look_back_epochs,
        concurrency=settings.concurrency,
        stale_after_seconds=settings.stale_after_seconds,
        traces=settings.traces != "off",
        traces_of_history=settings.traces == "all",
        requests_per_second=settings.requests_per_second,
        # A quorum needs whom to ask.
        witnesses=max(settings.witnesses, settings.receipts_quorum - 1),
        compare_depth_epochs=settings.compare_depth_epochs,
        receipts_quorum=settings.receipts_quorum,
        hedge_after_seconds=settings.hedge_after_seconds,
        reread_depth_epochs=settings.reread_depth_epochs,
        reread_final_epochs=settings.reread_final_epochs,
    )


def probes(settings: Settings) -> tuple[Probe, ...]:
    """What the follower samples of the state."""
    return network_probes(supply_every_epochs=settings.supply_every_epochs)


@asynccontextmanager
async def connected_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client of the configured Redis, else of a private one that ends with the block.

    Raises:
        UsageError: the configured one does not answer, or `data_dir` can not be used.
        StoreFault: the private one does not start.
    """
    async with AsyncExitStack() as stack:
        if settings.redis_url is None:
            url = (await stack.enter_async_context(embedded_redis(settings.data_dir))).url
        else:
            url = settings.redis_url.get_secret_value()
        redis = redis_at(url, REDIS_TIMEOUT_SECONDS)
        stack.push_async_callback(redis.aclose)
        if settings.redis_url is not None:
            await _reached(redis, shown_url(url))
        yield redis


def redis_at(url: str, answer_seconds: float | None = None) -> Redis:
    """A client of the Redis at `url`, not connected yet; it waits for an answer so long, or as long as it takes.

    Raises:
        UsageError: the URL has an option that can not be used.
    """
    try:
        redis = Redis.from_url(url, socket_timeout=answer_seconds, socket_connect_timeout=answer_seconds)
        redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, RedisError) as error:
        options = ", ".join(sorted(dict(parse_qsl(urlsplit(url).query))))  # not their values, which may be secret
        raise UsageError(
            f"redis_url: {shown_url(url)}: {options} can not be used so: allowed are options of redis-py, such as db=1"
        ) from error
    return redis


def url_of(settings: Settings) -> str | None:
    """Where the figures are: the configured Redis, or the private one of a run on the same `data_dir`."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    socket = socket_of(settings.data_dir)
    return f"unix://{socket}" if socket is not None else None


async def _reached(redis: Redis, url: str) -> None:
    """See that there is a Redis that lets us in; one that still reads its file is there."""
    deadline = time.monotonic() + REDIS_START_SECONDS
    while True:
        try:
            with cancellable():
                await redis.ping()
        except (RedisError, OSError) as error:
            told = error.__cause__ or error  # redis-py wraps what it is told while it connects
            if isinstance(told, BusyLoadingError):
                return
            if isinstance(told, ResponseError | AuthenticationError):
                advice = "give the user and the password that it wants, as in redis://USER:PASSWORD@HOST"
                raise UsageError(f"redis_url: {url} refuses us ({error}): {advice}") from error
            if time.monotonic() > deadline:
                advice = "start a Redis there, or name another"
                raise UsageError(f"redis_url: no Redis answers at {url} ({error}): {advice}") from error
        else:
            return
        await asyncio.sleep(0.25)


def address_of(node: Node) -> Address:
    """Where a real node is, and what lets us in."""
    return Address(node.url, node.token.get_secret_value() if node.token is not None else None)


async def node_addresses(settings: Settings, stack: AsyncExitStack, *, hold: bool = False) -> tuple[dict[str, Address], list[ReplayNode]]:
    """Where the nodes are; a recording gets a node of its own on the loopback, and with `hold` stops at its first head."""
    addresses: dict[str, Address] = {}
    recordings: list[ReplayNode] = []
    for node in settings.nodes:
        if node.recording is None:
            addresses[node.name] = address_of(node)
            continue
        recording = await asyncio.to_thread(load, node.recording)
        until = recording.heads[0].seconds if hold else math.inf
        server = ReplayNode(recording, pace=settings.replay_pace, until=until, shift_to_now=True)
        await stack.enter_async_context(server)
        recordings.append(server)
        addresses[node.name] = Address(server.url)
    return addresses, recordings


async def serve_http(settings: Settings, exporter: Exporter, stack: AsyncExitStack) -> None:
    """Serve metrics and the page until `stack` ends.

    Raises:
        UsageError: the address can not be had, or the certificate not be used.
    """
    host, port = settings.listen
    if (warning := settings.door.exposed(host)) is not None:
        log.warning("listening beyond this machine", address=str(settings.listen), advice=warning)
    try:
        runner = await exporter.serve(host, port, settings.door)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        raise UsageError(f"listen: {settings.listen} can not be had ({reason}): choose another HOST:PORT") from error
    stack.push_async_callback(runner.cleanup)
    for address in runner.addresses:
        root = f"{settings.door.scheme}://{Listen(*address[:2])}"
        log.info("serving", page=f"{root}/", metrics=f"{root}/metrics")


async def announce(follower: Follower, observer: Observer, store: Callable[[], Store | None]) -> None:
    """Keep beside the figures the node's head, by which an exporter tells how far behind they are, and the follower's account."""
    head_told: object = None
    account_told, told_at = Account(), 0.0
    while True:
        head, account, now, facts = follower.head, observer.account, time.time(), dict[str, str]()
        if head is not None and head != head_told:
            facts |= {"node_head_epoch": str(head.height), "node_head_timestamp_seconds": str(head.timestamp_seconds)}
        if account != account_told or now - told_at >= ACCOUNT_SECONDS:
            facts["follower"] = account.fact(int(now))
        if facts and (into := store()) is not None:
            with contextlib.suppress(StoreFault):
                await into.write_facts(facts)
                head_told = head
                if "follower" in facts:
                    account_told, told_at = account, now
        await asyncio.sleep(HEAD_SECONDS)
