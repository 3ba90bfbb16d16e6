"""Where the follower's records go in one process: the store of the network, by way of the agents."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog
from redis.asyncio import Redis

from processors.app import LocalAgents
from processors.classify import Classifier
from processors.economy import Economy
from processors.money import facts
from processors.patience import patiently
from processors.registry import Registry
from processors.store import Origin, Store
from processors.windows import Window
from processors.worker import Worker
from streams.chain import Published, held_by_all
from streams.contents import Learnt
from streams.errors import StoreFault
from streams.events import Position
from streams.memory import Memory
from streams.metrics import ProcessMetrics
from streams.records import COUNTED_STREAMS, Record, Rewind

log = structlog.get_logger(__name__)

WATCH_SECONDS = 1.0
"""How often Redis is asked whether it is still the one that it was."""
COMPARED_TIPSETS = 3_000
"""How many tipsets of each stream are compared at a start: more than a follower fills by default."""
RESERVED_EPOCHS = 256
"""How many heights are reserved at once, so that Redis is not asked before every record."""


async def remembered(store: Store) -> Memory:
    """What earlier runs learnt of contracts."""
    contracts = await store.load_contracts()
    children = {one.address: one.child_of for one in contracts.values() if one.child_of is not None}
    return Memory(contracts=contracts, children=children)


async def held(store: Store) -> tuple[tuple[Published, ...], int | None]:
    """The tipsets that every counted stream holds alike, and the lowest height that any of them has: a killed run may leave them apart."""
    tails = [[Published(height, block) for height, block, _ in await store.tail(stream, COMPARED_TIPSETS)] for stream in COUNTED_STREAMS]
    return tuple(held_by_all(tails)), min((one.height for tail in tails for one in tail), default=None)


class LocalSink:
    """Feeds the agents of this process; they apply the records to `redis`.

    Args:
        redis: the server.
        windows: to be kept.
        registry: of known contracts.
        metrics: of this process.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        windows: Sequence[Window],
        registry: Registry,
        metrics: ProcessMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.agents = LocalAgents(self._process)
        self.store: Store | None = None
        self.taken = 0
        """How many records were put."""
        self._redis = redis
        self._windows = windows
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._incarnation = 0
        self._worker: Worker | None = None
        self._origin: Origin | None = None
        self._reserved = -1

    async def prepare(self, network: str, chain_id: int) -> Position:
        """Open the network's store, and say where to go on."""
        self._metrics.announce_network(network)
        # What was put before is still on its way: a rewind among it would undo what the store seems to hold.
        await self.agents.drained()
        store, economy = Store(self._redis, network), self._registry.economy(chain_id, network)
        async for attempt in patiently():
            with attempt:
                position = await self._open(store, economy)
        self._worker = Worker(store, Classifier(self._registry.for_chain(chain_id, network)), self._metrics)
        self.store = store
        log.info(
            "following",
            network=network,
            incarnation=position.incarnation,
            tipsets_held=len(position.published),
            newest=max((one.height for one in position.published), default=None),
            declared_pools=len(economy.pools),
        )
        return position

    async def _open(self, store: Store, economy: Economy) -> Position:
        await store.configure(self._windows)
        await store.write_facts(facts(economy))
        memory = await remembered(store)
        reserved = await store.reserved()
        self._reserved = reserved if reserved is not None else -1
        published, since = await held(store)
        # An emptied Redis knows no number that was given before; ours must be larger all the same.
        self._incarnation = await store.next_incarnation(max(int(self._clock()), self._incarnation + 1))
        position = Position(self._incarnation, published, reserved, memory, since, economy.probes(), await store.tellings.load())
        self._origin = await store.origin()
        return position

    async def watch(self, resync: Callable[[], None]) -> None:
        """Call `resync` whenever Redis may have lost what it had: an older copy came back, or it was emptied."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.store is None or self._origin is None:
                continue
            with contextlib.suppress(StoreFault):
                found = await self.store.origin()
                # After a mere restart, too: its append-only file may lack the last second.
                if found != self._origin:
                    log.warning("Redis is not what it was, comparing with the chain again", was=self._origin, found=found)
                    self._origin = None
                    resync()

    async def put(self, record: Record) -> None:
        """Hand the record to its agent, after its height is reserved."""
        height = record.top if isinstance(record, Rewind) else record.height
        if height > self._reserved and self.store is not None:
            async for attempt in patiently():
                with attempt:
                    await self.store.reserve(height + RESERVED_EPOCHS)
            self._reserved = height + RESERVED_EPOCHS
        await self.agents.put(record)
        self.taken += 1

    async def keep(self, learnt: Learnt) -> None:
        """Store what was learnt, before a record relies on it."""
        async for attempt in patiently():
            with attempt:
                if self.store is not None:
                    await self.store.save_contracts(learnt.contracts)
                    await self.store.tellings.save(learnt.told)

    async def _process(self, value: bytes | Record) -> None:
        if self._worker is None:
            raise RuntimeError("a record came before its store was open")
        await self._worker.process(value)
