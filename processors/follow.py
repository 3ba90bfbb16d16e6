"""The process that only follows and publishes, and its standby."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import structlog
from redis.asyncio import Redis

from processors.economy import Economy
from processors.exporter import Exporter
from processors.filling import Filler
from processors.lease import POLL_SECONDS, Granted, Lease
from processors.money import facts
from processors.parts import announce, connected_redis, group_of_tasks, node_addresses, policy, probes, serve_http
from processors.patience import patiently
from processors.readings import Snapshot
from processors.registry import Registry
from processors.sink import held, remembered
from processors.store import Store
from processors.windows import Window, parse_all
from streams.chain import FINALITY_EPOCHS, Published
from streams.connections import Address, Connections
from streams.contents import Learnt
from streams.errors import PulseError, StoreFault, Superseded
from streams.events import Position
from streams.follower import Follower
from streams.metrics import ProcessMetrics, process_registry
from streams.observe import Observer
from streams.publish import RESERVED_EPOCHS, Publisher
from streams.records import Contract
from streams.settings import Settings
from streams.topics import Plan, retention_seconds

log = structlog.get_logger(__name__)


class RedisLedger:
    """A publisher's ledger in Redis, under the lease; waits for Redis wherever it is away.

    Args:
        redis: the server.
        windows: to be kept.
        metrics: of this process.
        look_back_epochs: how far a node is asked back; never is more of a doubtful ledger given up.
        registry: of pools and bridges, which are told and sampled.
    """

    def __init__(
        self,
        redis: Redis,
        windows: Sequence[Window],
        metrics: ProcessMetrics,
        look_back_epochs: int = 2000,
        registry: Registry | None = None,
    ) -> None:
        self.store: Store | None = None
        self._lease: Lease | None = None
        self._leading = asyncio.Event()
        self._redis = redis
        self._windows = windows
        self._metrics = metrics
        self._registry = registry or Registry({}, {})
        self._doubted_epochs = min(FINALITY_EPOCHS, look_back_epochs // 2)
        self._contracts: dict[str, Contract] = {}
        self._facts: dict[str, str] = {}

    async def open(self, network: str, chain_id: int) -> Position:
        """Wait for the lease; where the ledger does not tell what was published, the store does."""
        self._metrics.announce_network(network)
        store, lease = Store(self._redis, network), Lease(self._redis, network, self._equip)
        granted = await self._granted(lease)
        self._lease = lease
        self._leading.set()
        economy = self._registry.economy(chain_id, network)
        self._facts = {"chain_id": str(chain_id), **facts(economy)}
        async for attempt in patiently():
            with attempt:
                position = await self._position(store, lease, granted, economy)
        self.store, self._contracts = store, dict(position.memory.contracts)
        log.info(
            "leading", network=network, incarnation=granted.token, published=len(position.published), declared_pools=len(economy.pools)
        )
        return position

    async def _position(self, store: Store, lease: Lease, granted: Granted, economy: Economy) -> Position:
        await store.configure(self._windows)
        await store.write_facts(self._facts)
        stored, since = ((), None) if granted.settled else await held(store)
        published = await lease.tips() if granted.known else stored
        reserved = await store.reserved()
        if reserved is not None and not granted.settled:
            # What Redis forgot of a reservation. Anything higher would be overwritten as the chain gets there.
            reserved += RESERVED_EPOCHS
        return Position(granted.token, published, reserved, await remembered(store), since, economy.probes(), await store.tellings.load())

    async def _granted(self, lease: Lease) -> Granted:
        standing_by = False
        while True:
            async for attempt in patiently():
                with attempt:
                    granted = await lease.acquire(int(time.time()), self._doubted_epochs, standing_by=standing_by)
            if granted is not None:
                return granted
            if not standing_by and not lease.doubtful:
                log.info("another follower leads: standing by")
                standing_by = True
            await asyncio.sleep(POLL_SECONDS)

    @property
    def lease(self) -> Lease:
        """The lease, once `open` has it."""
        if self._lease is None:
            raise RuntimeError("the ledger is not open")
        return self._lease

    async def reserve(self, top: int) -> None:
        """See `streams.publish.Ledger`."""
        async for attempt in patiently():
            with attempt:
                await self.lease.reserve(top)

    async def rewound(self, height: int) -> None:
        """See `streams.publish.Ledger`."""
        async for attempt in patiently():
            with attempt:
                await self.lease.rewound(height)

    async def published(self, tips: Sequence[Published]) -> None:
        """See `streams.publish.Ledger`."""
        async for attempt in patiently():
            with attempt:
                await self.lease.published(tips)

    async def keep(self, learnt: Learnt) -> None:
        """See `streams.publish.Ledger`."""
        # Ours first: a Redis that comes back without them gets them from there.
        self._contracts |= {contract.address: contract for contract in learnt.contracts}
        async for attempt in patiently():
            with attempt:
                if self.store is not None:
                    await self.store.save_contracts(learnt.contracts)
                    await self.store.tellings.save(learnt.told)

    async def hold(self) -> None:
        """Renew the lease, as soon as there is one, until cancelled."""
        await self._leading.wait()
        await self.lease.keep()

    async def _equip(self) -> None:
        """Redis may have lost everything: what it does not get from Kafka it gets from us."""
        if self.store is not None:
            await self.store.configure(self._windows)
            await self.store.write_facts(self._facts)
            await self.store.save_contracts(self._contracts.values())

    async def close(self) -> None:
        """Give the lease back."""
        if self._lease is not None:
            with suppress(StoreFault, Superseded):
                await self._lease.release()


async def follow(settings: Settings) -> None:
    """Follow and publish to Kafka until cancelled; stand by while another follower does.

    Raises:
        UsageError: a setting or a topic can not be used, or every node refuses us.
        BrokerFault: Kafka will never take a record.
    """
    windows, known = parse_all(settings.windows), Registry.load(settings.registry)
    registry = process_registry()
    metrics = ProcessMetrics(registry)
    metrics.announce_endpoints(node.name for node in settings.nodes)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected_redis(settings))
        addresses, _ = await node_addresses(settings, stack)
        leading: list[RedisLedger] = []

        async def read() -> Sequence[Snapshot]:
            return [await one.store.snapshot() for one in leading if one.store is not None]

        await serve_http(settings, Exporter(read, registry=registry, role="follow"), stack)
        while True:
            ledger = RedisLedger(redis, windows, metrics, settings.look_back_epochs, known)
            leading[:] = [ledger]
            try:
                await _lead(settings, redis, addresses, ledger, windows, metrics)
            except Superseded as reason:
                log.warning("no longer leading", reason=str(reason))


async def _lead(
    settings: Settings,
    redis: Redis,
    addresses: dict[str, Address],
    ledger: RedisLedger,
    windows: Sequence[Window],
    metrics: ProcessMetrics,
) -> None:
    follower = Follower(
        addresses,
        chain_id=settings.chain_id,
        network=settings.network,
        policy=policy(settings),
        jitter=random.random,
        probes=probes(settings),
    )
    longest = max(window.epochs for window in windows)
    publisher = Publisher(settings.brokers, Plan(settings.topic_prefix, settings.partitions, retention_seconds(longest)), ledger)
    observer = Observer(follower, metrics)
    connections = Connections(follower, addresses, publisher, observer)
    try:
        async with group_of_tasks() as group:
            group.create_task(connections.run(), name="connections")
            group.create_task(publisher.run(), name="acknowledgements")
            group.create_task(ledger.hold(), name="lease")
            group.create_task(announce(follower, observer, lambda: ledger.store), name="announce")
            filler = Filler(follower, redis, settings, lambda: ledger.store, connections.stir)
            group.create_task(filler.run(), name="fill history")
    finally:
        with suppress(PulseError):
            await publisher.stop()
        await ledger.close()
