"""The same chains and faulty nodes before the product itself: its processes, a Redis on its file, and Kafka, in real time.

A history is shorter here and its faults are rarer, since patience is real: what waits a minute in the product waits a minute here.
"""

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from redis.asyncio import Redis

from processors.readings import Snapshot
from processors.store import Store
from streams.chain import FINALITY_EPOCHS
from streams.records import COUNTED_STREAMS
from tests.brokers import Broker
from tests.end_to_end.fleet import KeptRedis, Processes, kept_redis
from tests.node.server import Server
from tests.node.world import Node as WorldNode
from tests.simulation.chain import Chain, Tip
from tests.simulation.node import Faults, Node
from tests.simulation.verdict import RISES, recount

NETWORK = "mainnet"
WINDOWS = (20, 120)
ENDING_SECONDS = 90.0
"""How long the figures may take to be the recount in a calm world."""
FAULTS = ("twice", "other_tipset", "stale", "garbage", "lost_notice", "repeated_notice")
CALAMITIES = ("grow", "grow", "grow", "fork", "lower", "split", "drop", "down", "kill", "redis", "worker", "kafka")
CONFIG = """
nodes = [{nodes}]
windows = [{windows}]
redis_url = "{redis_url}"
kafka_brokers = ["{broker}"]
topic_prefix = "{prefix}"
partitions = 4
stale_after_seconds = 10
hedge_after_seconds = 1
log_level = "warning"
"""


class Nodes:
    """The nodes of one history on their websockets, all of one chain."""

    def __init__(self, chain: Chain, rng: random.Random) -> None:
        self.chain = chain
        self._rng = rng
        self.nodes: list[Node] = []
        self.servers: list[Server] = []

    async def open(self, stack: AsyncExitStack) -> None:
        """Start one or two of them; the first has the native view where there is one only."""
        for number in range(self._rng.choice([1, 2])):
            often = self._rng.choice([0.0, 0.01, 0.03])
            faults = Faults(**{name: often * self._rng.random() for name in FAULTS})
            node = Node(self.chain, self._rng, number == 0 or self._rng.random() < 0.5, faults, self._rng.random() < 0.2)
            self.nodes.append(node)
            self.servers.append(await stack.enter_async_context(Server(cast("WorldNode", node))))

    async def show(self, head: Tip, *numbers: int) -> None:
        """Their head is another, of all of them or of some."""
        for number in numbers or range(len(self.nodes)):
            await self.servers[number].tell(self.nodes[number].see(head))

    async def drop(self) -> None:
        """The connections to one of them break."""
        for client in list(self._rng.choice(self.servers).clients):
            await client.close()

    async def down(self) -> None:
        """One lets nobody in any more, or lets everybody in again."""
        server = self._rng.choice(self.servers)
        server.status = None if server.status is not None else HTTPStatus.SERVICE_UNAVAILABLE
        for client in list(server.clients):
            await client.close()

    def calm(self) -> None:
        """Nothing is wrong with them any more."""
        for node, server in zip(self.nodes, self.servers, strict=True):
            node.faults, server.status = Faults(), None


class FullHistory:
    """One history from its seed to its end.

    Args:
        seed: decides chain, nodes, faults and what happens when; how long anything takes is up to the machine.
        kafka: where it runs distributed, None for one process.
        redis: to be killed now and then.
    """

    def __init__(self, seed: int, kafka: Broker | None, redis: KeptRedis) -> None:
        self.rng = rng = random.Random(f"full {seed}")
        self._kafka = kafka
        self._redis = redis
        self.chain = Chain(seed, rng.choice([0, 1, 5000]), rng.choice([0, 2, 4]), FINALITY_EPOCHS)
        for _ in range(rng.randrange(2, 60)):
            self.chain.advance(self._nulls())
        self.nodes = Nodes(self.chain, rng)
        self._commands = ["follow", "worker", "worker"] if kafka is not None else ["run"]
        self._running: list[asyncio.subprocess.Process] = []
        self._steps = rng.randrange(5, 15)

    def _nulls(self) -> int:
        return self.rng.choice([0, 0, 0, 0, 1, 3])

    async def run(self, processes: Processes) -> None:
        """Everything from the start of the processes to a calm world.

        Raises:
            AssertionError: a figure is not the recount.
        """
        self._running = [await processes.start(command) for command in self._commands]
        await asyncio.sleep(self.rng.choice([0.5, 2.0, 4.0]))
        for _ in range(self._steps):
            await self._happen(self.rng.choice(CALAMITIES), processes)
            await asyncio.sleep(self.rng.choice([0.0, 0.05, 0.3, 1.0]))
        self.nodes.calm()
        await self._ends_in_the_recount()

    async def _happen(self, kind: str, processes: Processes) -> None:
        match kind:
            case "drop":
                await self.nodes.drop()
            case "down":
                await self.nodes.down()
            case "kill":
                await self._restart(0, processes)
            case "worker" if self._kafka is not None:
                await self._restart(self.rng.choice([1, 2]), processes)
            case "redis":
                await asyncio.to_thread(self._redis.stop)
                await asyncio.sleep(self.rng.choice([0.0, 0.5]))
                await asyncio.to_thread(self._redis.start)
            case "kafka" if self._kafka is not None:
                await asyncio.to_thread(self._kafka.stop, signal.SIGKILL)
                await asyncio.to_thread(self._kafka.start)
            case "split":
                tip = self._branch(self.rng.choice([1, 3, 8]), self.rng.randrange(1, 10))
                await self.nodes.show(tip, self.rng.randrange(len(self.nodes.nodes)))
            case _:
                self._move(kind)
                await self.nodes.show(self.chain.head)

    async def _restart(self, place: int, processes: Processes) -> None:
        processes.check()
        await processes.kill(self._running[place])
        await asyncio.sleep(self.rng.choice([0.0, 0.5]))
        self._running[place] = await processes.start(self._commands[place])

    def _move(self, kind: str) -> None:
        if kind == "fork":
            depth = self.rng.choice([1, 2, 5, 20])
            self.chain.move(self._branch(depth, max(1, depth + self.rng.randrange(-1, 3))))
        elif kind == "lower":
            self.chain.move(self._branch(self.rng.choice([2, 6, 12]), 1))
        else:
            for _ in range(self.rng.choice([1, 1, 2, 5])):
                self.chain.advance(self._nulls())

    def _branch(self, depth: int, length: int) -> Tip:
        tip = self.chain.below(depth)
        for _ in range(length):
            tip = self.chain.grow(tip, self._nulls())
        return tip

    async def _ends_in_the_recount(self) -> None:
        deadline = asyncio.get_running_loop().time() + ENDING_SECONDS
        async with Redis.from_url(self._redis.url) as client:
            store = Store(client, NETWORK)
            while True:
                # The chain goes on: what was said while nobody listened is heard of by what comes next.
                self.chain.advance()
                await self.nodes.show(self.chain.head)
                for _ in range(20):
                    await asyncio.sleep(0.25)
                    difference = compare(await store.snapshot(), self.chain)
                    if difference is None:
                        return
                assert asyncio.get_running_loop().time() < deadline, difference


def compare(snapshot: Snapshot, chain: Chain) -> str | None:
    """The first difference from the recount of the chain, None where there is none."""
    tips = chain.canonical()
    for stream in COUNTED_STREAMS:
        reading = snapshot.streams.get(stream)
        if reading is None or reading.head != max(tips):
            return f"{stream}: head {reading.head if reading is not None else None}, the chain's is {max(tips)}"
        for epochs in WINDOWS:
            found, wanted = reading.windows[f"{epochs}e"], recount(tips, stream, epochs)
            place = f"{stream}, {epochs} epochs"
            if (found.processed, found.null) != (wanted.processed, wanted.null):
                return f"{place}: {found.processed} tipsets and {found.null} null, not {wanted.processed} and {wanted.null}"
            sums = {name: value for name, value in found.sums.items() if value and name not in RISES}
            if sums != wanted.sums:
                return f"{place}: {sums} instead of {dict(wanted.sums)}"
            members = {kind: len(of) for kind, of in wanted.members.items()}
            if {kind: found.distinct.get(kind, 0) for kind in members} != members:
                return f"{place}: {found.distinct} instead of {members}"
    return None


async def play(seed: int, kafka: Broker | None) -> None:
    """One history on real servers.

    Raises:
        AssertionError: a figure is not the recount, or a process ended that nobody ended.
    """
    with TemporaryDirectory(prefix="history-") as name, kept_redis() as redis:
        folder = Path(name)
        history = FullHistory(seed, kafka, redis)
        async with AsyncExitStack() as stack:
            await history.nodes.open(stack)
            config = folder / "fvm-pulse.toml"
            values = {
                "nodes": ", ".join(f'"n{number}={server.url}"' for number, server in enumerate(history.nodes.servers)),
                "windows": ", ".join(f'"{epochs}e"' for epochs in WINDOWS),
                "redis_url": redis.url,
                "broker": kafka.address if kafka is not None else "127.0.0.1:9092",
                "prefix": f"history{seed}",
            }
            config.write_text(CONFIG.format(**values))
            await history.run(await stack.enter_async_context(Processes(("--config", str(config)), folder / "said")))
