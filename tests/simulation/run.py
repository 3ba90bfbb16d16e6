"""One simulated history: a seed decides the chain, the nodes, the faults and every delay; the follower is the product's own.

Nothing waits: time is a number, and what happens next stands in a heap. The processes around the follower (connections, sink,
agents or topics and workers) are small models of `streams.connections`, `processors.sink`, `streams.publish` and
`processors.consume`, which have the same order of effects and can be killed between any two of them.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from streams.chain import FINALITY_EPOCHS, Published
from streams.clock import SteadyClock
from streams.events import Dropped, Policy, Position
from streams.follower import Follower
from streams.memory import Memory
from streams.records import COUNTED_STREAMS, LogsRecord, Record, Rewind, Stream, stream_of
from streams.tasks import Answered
from tests.simulation.chain import Chain, Tip
from tests.simulation.filling import Filling
from tests.simulation.node import Faults, Node
from tests.simulation.store import Held, ModelStore

EPOCH_SECONDS = 30.0
RESERVED_EPOCHS = 256
START_SECONDS = 1.7e9
PARTITIONS = 3
BROKEN = 0.25
"""In how many of the histories nodes refuse some tipsets again and again."""
SHALLOW = 0.15
"""In how many of the histories nodes look back less than finality."""
READ_AGAIN = 0.3
"""In how many of the histories tipsets are read again."""
NEAR_EPOCHS = 10
BACKLOG_EPOCHS = 50
"""How long it may take until what is to be read again has been."""
NO_PATIENCE_SECONDS = 6 * 3600.0
"""How long the world is calm before being behind counts as being stuck: two thousand epochs one by one from a slow node take hours."""

Waiting: TypeAlias = Generator[float | None, None, None]
"""A process: yields the seconds to sleep, None to sleep until it is stirred."""

Operation: TypeAlias = tuple[str, Any]
"""What happened to the store, in order: `("apply", record)`, or `("rollback", number of operations that are left)`."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a seed decides before anything happens."""

    distributed: bool
    natives: tuple[bool, ...]
    policy: Policy
    first_height: int
    grown: int
    weight: int
    steps: int
    calamities: tuple[str, ...]

    @classmethod
    def drawn(cls, rng: random.Random) -> "Options":
        """Mostly short histories with shallow forks; a few as deep as finality."""
        deep = rng.random() < 0.02
        kinds = (
            "fork",
            "lower",
            "kill",
            "rollback",
            "redeliver",
            "jump",
            "drop",
            "down",
            "silence",
            "mute",
            "lag",
            "split",
            "away",
            "resync",
        )
        policy = Policy(
            look_back_epochs=2000 if deep or rng.random() < 0.7 else rng.choice([30, 60, 200]),
            concurrency=rng.choice([1, 2, 8]),
            stale_after_seconds=rng.choice([60.0, 120.0]),
            request_timeout_seconds=rng.choice([5.0, 30.0]),
        )
        return cls(
            distributed=rng.random() < 0.4,
            natives=tuple(rng.random() < 0.6 for _ in range(rng.choice([1, 2, 2, 3]))),
            policy=policy,
            first_height=rng.choice([0, 0, 1, 5000]),
            grown=rng.randrange(950, 1100) if deep else rng.randrange(2, 40),
            weight=1 if deep else rng.choice([0, 2, 4]),
            steps=rng.randrange(5, 25 if deep else 45),
            calamities=tuple(kind for kind in kinds if rng.random() < 0.4) + (("deep",) if deep else ()),
        )


class Loop:
    """Virtual time, and what is due in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it in so many seconds."""
        self._number += 1
        heapq.heappush(self._heap, (self.now + seconds, self._number, act))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = until


class Process:
    """A follower's process: its connections and its sink, until it is killed."""

    def __init__(self, world: "Simulation") -> None:
        self.world = world
        self.rng = world.rng
        self.alive = True
        self.follower = Follower([f"n{number}" for number in range(len(world.nodes))], policy=world.options.policy, jitter=self.rng.random)
        self.clock = SteadyClock(lambda: world.wall, lambda: world.loop.now)
        self.lines: dict[str, tuple[int, bool]] = {}
        self.heard_at: dict[str, float] = {}
        self.to_resume = True
        self.reserved = -1
        self.incarnation = 0
        self.queues: dict[Stream, deque[Record]] = {stream: deque() for stream in COUNTED_STREAMS}
        self.unacknowledged: deque[tuple[Record, Published | None]] = deque()
        self._asleep: dict[str, Callable[[], None]] = {}
        self._driving = False
        self._nap = 0
        self._start("publishing", self._publishing())
        self._start("acknowledging", self._acknowledging())
        for stream in COUNTED_STREAMS:
            self._start(stream, self._applying(stream))
        filling = Filling(self.follower, world)
        self._start("filling", filling.run(self.clock, world.options.policy.look_back_epochs, self.stir))
        self.stir()

    def _start(self, name: str, waiting: Waiting) -> None:
        def step() -> None:
            if not self.alive:
                return
            seconds = next(waiting)
            if seconds is None:
                self._asleep[name] = step
            else:
                self.world.loop.later(seconds, step)

        self.world.loop.later(0.0, step)

    def _wake(self, name: str) -> None:
        if (step := self._asleep.pop(name, None)) is not None:
            self.world.loop.later(0.0, step)

    # streams.connections

    def stir(self) -> None:
        """Something happened: look what is to be done."""
        if not self._driving:
            self._driving = True
            self.world.loop.later(0.0, self._drive)

    def _drive(self) -> None:
        self._driving = False
        if not self.alive:
            return
        now = self.clock()
        self.follower.tick(now)
        self._connect(self.follower.wanted(now))
        self._send()
        for event in self.follower.events():
            self.world.observe(event)
        self._wake("publishing")
        self._nap += 1
        nap, seconds = self._nap, max(self.follower.wake_at() - self.clock(), 0.001)
        self.world.loop.later(seconds, lambda: self.stir() if nap == self._nap else None)

    def _connect(self, wanted: dict[str, int]) -> None:
        self.lines = {name: line for name, line in self.lines.items() if wanted.get(name) == line[0]}
        for name, number in wanted.items():
            if name not in self.lines:
                self.lines[name] = number, False
                self.world.loop.later(self.rng.choice([0.01, 0.1, 2.0]), lambda name=name, number=number: self._handshake(name, number))  # type: ignore[misc]

    def _handshake(self, name: str, number: int) -> None:
        if not self.alive or self.lines.get(name) != (number, False):
            return
        node = self.world.nodes[name]
        if node.down or self.rng.random() < node.faults.too_many:
            del self.lines[name]
            self.follower.disconnected(name, "HTTP 429", self.clock())
        else:
            self.lines[name] = number, True
            self.heard_at[name] = 0.0
            self.follower.connected(name, self.clock())
        self.stir()

    def _send(self) -> None:
        for name, frame in self.follower.requests():
            line = self.lines.get(name)
            if line is not None and line[1]:
                node = self.world.nodes[name]
                slow = self.rng.random() < node.faults.slow
                delay = self.rng.choice([10.0, 40.0]) if slow else self.rng.random() * self.world.latency
                self.world.loop.later(delay, lambda name=name, number=line[0], frame=frame: self._ask(name, number, frame))  # type: ignore[misc]

    def _ask(self, name: str, number: int, frame: bytes) -> None:
        node = self.world.nodes[name]
        node.now = self.world.loop.now
        if self.alive and self.lines.get(name) == (number, True):
            self.told(name, node.answer(frame))

    def told(self, name: str, frames: list[bytes]) -> None:
        """A node sends frames; they come in their order."""
        line = self.lines.get(name)
        if line is None or not line[1]:
            return
        at = max(self.heard_at[name], self.world.loop.now + self.rng.random() * self.world.latency)
        self.heard_at[name] = at
        self.world.loop.later(at - self.world.loop.now, lambda: self._receive(name, line[0], frames))

    def _receive(self, name: str, number: int, frames: list[bytes]) -> None:
        for frame in frames:
            if self.alive and self.lines.get(name) == (number, True):
                self.follower.receive(name, frame, self.clock())
        self.stir()

    def drop(self, name: str) -> None:
        """The connection breaks."""
        if self.lines.pop(name, (0, False))[1]:
            self.follower.disconnected(name, "dropped", self.clock())
            self.stir()

    def _publishing(self) -> Waiting:
        while self.follower.network is None or self.follower.chain_id is None:
            yield None
        while True:
            if self.to_resume:
                self.to_resume = False
                position = yield from (self._lead() if self.world.options.distributed else self._prepare())
                self.follower.resume(position)
                self.stir()
            record = self.follower.next_record()
            if learnt := self.follower.take_learnt():
                yield from self._redis()
                held = self.world.store.held
                held.contracts |= {one.address: one for one in learnt.contracts}
                held.told |= {one.hash: one for one in learnt.told}
            self._send()
            if record is None:
                yield None
            else:
                yield from self._put(record)
                self.stir()

    # processors.sink and processors.follow

    def _redis(self) -> Waiting:
        """One round trip, as long as it takes."""
        yield self.rng.random() * 0.01
        while self.world.redis_away:
            yield 0.5

    def _drained(self) -> Waiting:
        while any(self.queues.values()):
            yield 0.05

    def _prepare(self) -> Generator[float | None, None, Position]:
        yield from self._drained()
        yield from self._redis()
        held = self.world.store.held
        memory = _memory(held)
        self.reserved = held.reserved if held.reserved is not None else -1
        published, since = self.world.store.tail()
        yield from self._redis()
        held = self.world.store.held
        self.incarnation = held.incarnation = max(held.incarnation + 1, int(self.clock()), self.incarnation + 1)
        reserved = self.reserved if self.reserved >= 0 else None
        self.world.mixed = False
        self.world.note(f"resume {self.incarnation}: {len(published)} published, since {since}, reserved {reserved}")
        return Position(self.incarnation, published, reserved, memory, since, told=dict(held.told))

    def _lead(self) -> Generator[float | None, None, Position]:
        yield from self._redis()
        held = self.world.store.held
        self.incarnation = held.incarnation = max(held.incarnation + 1, int(self.clock()))
        yield from self._redis()
        held = self.world.store.held
        self.reserved = held.reserved if held.reserved is not None else -1
        published = tuple(sorted((Published(height, block) for block, height in held.ledger.items()), key=lambda one: one.height))
        self.world.mixed = False
        return Position(self.incarnation, published, held.reserved, _memory(held), told=dict(held.told))

    def _put(self, record: Record) -> Waiting:
        world = self.world
        height = record.top if isinstance(record, Rewind) else record.height
        if height > self.reserved:
            yield from self._redis()
            world.store.held.reserved = max(world.store.held.reserved or -1, height + RESERVED_EPOCHS)
            self.reserved = height + RESERVED_EPOCHS
        world.published(record)
        stream = stream_of(record)
        if not world.options.distributed:
            if stream in self.queues:
                self.queues[stream].append(record)
                self._wake(stream)
            yield self.rng.random() * 0.01
            return
        if isinstance(record, Rewind):
            yield from self._undo(record.height)
        tip = Published(record.height, record.hash) if isinstance(record, LogsRecord) else None
        self.unacknowledged.append((record, tip))
        self._wake("acknowledging")
        yield self.rng.random() * 0.01

    def _undo(self, height: int) -> Waiting:
        self.unacknowledged = deque((record, tip if tip is None or tip.height <= height else None) for record, tip in self.unacknowledged)
        yield from self._redis()
        held = self.world.store.held
        held.ledger = {block: at for block, at in held.ledger.items() if at <= height}

    # processors.app: the agents in process; streams.publish: the acknowledgements

    def _applying(self, stream: Stream) -> Waiting:
        while True:
            while not self.queues[stream]:
                yield None
            yield from self._redis()
            self.world.apply(self.queues[stream].popleft())
            yield self.rng.random() * self.world.latency

    def _acknowledging(self) -> Waiting:
        while True:
            while not self.unacknowledged:
                yield None
            yield self.rng.random() * 0.05
            batch = min(len(self.unacknowledged), self.rng.choice([1, 3, 64]))
            taken = [self.unacknowledged.popleft() for _ in range(batch)]
            for record, _ in taken:
                self.world.topics.arrive(record)
            tips = [tip for _, tip in taken if tip is not None]
            if tips:
                self.world.store.held.ledger |= {tip.hash: tip.height for tip in tips}

    def kill(self) -> None:
        """As a machine that lost its power; what was on its way to Kafka may have arrived."""
        self.alive = False
        for record, _ in list(self.unacknowledged)[: self.rng.randrange(len(self.unacknowledged) + 1)]:
            self.world.topics.arrive(record)


def _memory(held: Held) -> Memory:
    children = {one.address: one.child_of for one in held.contracts.values() if one.child_of is not None}
    return Memory(contracts=dict(held.contracts), children=children)


class Topics:
    """Kafka and the workers: each partition is applied in its order, at its own pace, at least once."""

    def __init__(self, world: "Simulation") -> None:
        self._world = world
        self.logs: dict[tuple[Stream, int], list[Record]] = {(stream, one): [] for stream in COUNTED_STREAMS for one in range(PARTITIONS)}
        self.done = dict.fromkeys(self.logs, 0)
        self._reading: set[tuple[Stream, int]] = set()

    def arrive(self, record: Record) -> None:
        """A record is on its topic."""
        partition = stream_of(record), record.height * 7919 % PARTITIONS
        if partition in self.logs:
            self.logs[partition].append(record)
            self._read(partition)

    def redeliver(self) -> None:
        """A worker died before its last offsets were committed, and another takes its partition."""
        partition = self._world.rng.choice(list(self.logs))
        self.done[partition] = max(0, self.done[partition] - self._world.rng.randrange(20))
        self._read(partition)

    @property
    def applied(self) -> bool:
        """Whether every record is applied."""
        return all(self.done[one] == len(log) for one, log in self.logs.items())

    def _read(self, partition: tuple[Stream, int]) -> None:
        if partition not in self._reading and self.done[partition] < len(self.logs[partition]):
            self._reading.add(partition)
            self._later(partition)

    def _later(self, partition: tuple[Stream, int]) -> None:
        seconds = 0.02 if self._world.calm else self._world.rng.choice([0.01, 0.1, 3.0])
        self._world.loop.later(seconds, lambda: self._next(partition))

    def _next(self, partition: tuple[Stream, int]) -> None:
        world, log = self._world, self.logs[partition]
        if not world.redis_away:
            world.apply(log[self.done[partition]])
            self.done[partition] += 1
        if self.done[partition] < len(log):
            self._later(partition)
        else:
            self._reading.remove(partition)


class Simulation:
    """One history from its seed to its end; `run` it, then `tests.simulation.verdict.check` it."""

    def __init__(self, seed: int, *, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        # Of its own, so that the other half of the seeds' histories stays what it was before anything was read again.
        apart = random.Random(f"{seed} reads again")
        self.reads_again = apart.random() < READ_AGAIN
        self.late_logs = 0.0
        self.options = options = Options.drawn(rng)
        if self.reads_again:
            self.late_logs = apart.choice([0.05, 0.2, 0.6])
            depth = apart.choice([0, 2, 5, 10])
            policy = replace(options.policy, reread_depth_epochs=depth, reread_final_epochs=depth + apart.choice([3, 15, 30]))
            self.options = options = replace(options, policy=policy)
        of_broken = random.Random(f"{seed} broken")
        self.broken = of_broken.choice([0.01, 0.05, 0.3]) if of_broken.random() < BROKEN else 0.0
        of_shallow = random.Random(f"{seed} shallow")
        shallow = of_shallow.random() < SHALLOW and "deep" not in options.calamities
        self.shallowest = of_shallow.choice([70, 120, 300]) if shallow else None
        self.excused_below = 0
        """Heights whose last read was before the world was calm."""
        self.loop = Loop()
        self.offset = START_SECONDS
        self.calm = False
        self.redis_away = False
        self.fills = seed % 4 == 3
        """Whether holes are filled from the start on; else when the world is calm, so that what the follower leaves can be seen."""
        self.latency = rng.choice([0.05, 0.5, 3.0])
        self.trace = trace
        self.chain = Chain(seed, options.first_height, options.weight, FINALITY_EPOCHS)
        for _ in range(options.grown):
            self.chain.advance(self._nulls())
        self.nodes = {f"n{number}": self._node(native) for number, native in enumerate(options.natives)}
        self.store = ModelStore()
        self.operations: list[Operation] = []
        self.copies: list[tuple[int, Held]] = []
        self.mixed = False
        """Whether an older Redis may have been written to, and nobody has compared it yet."""
        self.topics = Topics(self)
        self.process: Process | None = None
        self.note(str(options))

    def _node(self, native: bool) -> Node:
        look_back = 901 + self.rng.randrange(600) if self.rng.random() < 0.1 else None
        look_back = self.shallowest or look_back
        node = Node(self.chain, self.rng, native, Faults.drawn(self.rng), self.rng.random() < 0.2, look_back)
        node.near_epochs = NEAR_EPOCHS if self.reads_again else -1
        if self.reads_again and not native:
            node.faults.late_logs = self.late_logs
        node.broken = self.broken
        return node

    def _nulls(self) -> int:
        return self.rng.choice([0, 0, 0, 0, 1, 3])

    @property
    def wall(self) -> float:
        """What the machine's clock says."""
        return self.loop.now + self.offset

    def note(self, text: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace(f"{self.loop.now:9.2f} {text}")

    # What the process tells

    def observe(self, event: object) -> None:
        """The follower told something."""
        if not isinstance(event, Answered):
            self.note(repr(event))
        assert not (isinstance(event, Dropped) and event.refused), f"an endpoint was refused for good: {event.reason}"

    def published(self, record: Record) -> None:
        """A record was put."""
        self.note(_shown(record))

    def apply(self, record: Record) -> None:
        """A record reaches the store."""
        self.store.apply(record)
        self.operations.append(("apply", record))

    # What must be

    def excused(self, height: int, block: str) -> bool:
        """Whether a tipset may hold less than it has: it was told without its logs as it was read for the last time."""
        return height <= self.excused_below and any(block in node.told_late for node in self.nodes.values() if not node.native)

    def lowest(self) -> int:
        """The lowest height that must be known in the end: as far down as is wanted, and as every node looks back."""
        chain = self.chain.canonical()
        limits = [node.look_back_epochs for node in self.nodes.values() if node.look_back_epochs is not None]
        return max(min(chain), max(chain) - min([self.options.policy.look_back_epochs, *limits]) + 1)

    def missing(self, stream: Stream) -> list[int]:
        """The heights that must be known and are not."""
        known = self.store.known(stream, "processed", "null").keys()
        return sorted(set(range(self.lowest(), max(self.chain.canonical()) + 1)) - known)

    # What happens

    def run(self) -> None:
        """Everything from the start of the process to a calm world."""
        self.process = Process(self)
        self.loop.run(self.rng.choice([0.0, 1.0, 60.0]))
        for _ in range(self.options.steps):
            self._happen(self.rng.choice(["grow", "grow", "grow", *self.options.calamities]))
            self.loop.run(self.rng.choice([0.05, 0.3, 2.0, 30.0, 30.0]))
        self._calm_down()

    def _happen(self, kind: str) -> None:
        self.note(f"-- {kind}")
        getattr(self, f"_{kind}")()

    def _show(self, head: Tip, *names: str) -> None:
        for name in names or self.nodes:
            frames = self.nodes[name].see(head)
            if self.process is not None:
                self.process.told(name, frames)

    def _grow(self) -> None:
        for _ in range(self.rng.choice([1, 1, 1, 2, 5])):
            self.chain.advance(self._nulls())
        self._show(self.chain.head)

    def _branch(self, depth: int, length: int) -> Tip:
        tip = self.chain.below(depth)
        for _ in range(length):
            tip = self.chain.grow(tip, self._nulls())
        return tip

    def _fork(self) -> None:
        depth = self.rng.choice([1, 2, 5, 20])
        self.chain.move(self._branch(depth, max(1, depth + self.rng.randrange(-1, 3))))
        self._show(self.chain.head)

    def _lower(self) -> None:
        self.chain.move(self._branch(self.rng.choice([2, 6, 12]), 1))
        self._show(self.chain.head)

    def _deep(self) -> None:
        self.chain.move(self._branch(self.rng.choice([400, 880, 900]), self.rng.choice([2, 30, 300])))
        self._show(self.chain.head)

    def _split(self) -> None:
        """One node follows a fork of its own for a while."""
        name = self.rng.choice(list(self.nodes))
        self._show(self._branch(self.rng.choice([1, 3, 8]), self.rng.randrange(1, 10)), name)

    def _lag(self) -> None:
        name = self.rng.choice(list(self.nodes))
        self._show(self.chain.head.at(self.chain.head.height - self.rng.randrange(6)), name)

    def _drop(self) -> None:
        if self.process is not None:
            self.process.drop(self.rng.choice(list(self.nodes)))

    def _down(self) -> None:
        name = self.rng.choice(list(self.nodes))
        self.nodes[name].down = not self.nodes[name].down
        if self.process is not None:
            self.process.drop(name)

    def _silence(self) -> None:
        node = self.nodes[self.rng.choice(list(self.nodes))]
        node.silent = not node.silent

    def _mute(self) -> None:
        node = self.nodes[self.rng.choice(list(self.nodes))]
        node.mute = not node.mute

    def _jump(self) -> None:
        self.offset += self.rng.choice([-86400, -3600, -60, 5, 60, 3600, 86400])

    def _away(self) -> None:
        self.redis_away = not self.redis_away

    def _resync(self) -> None:
        """Redis was started again, and lost nothing."""
        if self.process is not None and not self.options.distributed:
            self.process.to_resume = True
            self.process.stir()

    def _redeliver(self) -> None:
        for _ in range(self.rng.randrange(1, 4)):
            self.topics.redeliver()

    def _kill(self) -> None:
        if self.mixed:
            # A Redis that came back older, was written to, and whose follower is killed within the second: nobody can tell it apart.
            return
        if self.process is not None:
            self.process.kill()
            self.process = None
            self.loop.run(self.rng.choice([0.0, 5.0, 200.0]))
        self.process = Process(self)

    def _rollback(self) -> None:
        """Redis comes back as it was some time ago, or empty; a second later somebody notices."""
        if self.options.distributed:
            return
        if not self.copies or self.rng.random() < 0.5:
            self.copies.append((len(self.operations), self.store.held.copy()))
            return
        length, held = self.rng.choice([*self.copies, (0, Held())])
        self.copies = [one for one in self.copies if one[0] <= length]
        self.store.held = held.copy()
        self.operations.append(("rollback", length))
        self.note(f"rolled back to {length} operations")
        if self.rng.random() < 0.3:
            self._kill()
            return
        self.mixed = True
        self.loop.run(self.rng.choice([0.0, 0.5, 2.0]))
        self._resync()

    def _calm_down(self) -> None:
        self.note("-- calm")
        self.calm = self.fills = True
        self.redis_away = False
        for node in self.nodes.values():
            node.faults, node.down, node.mute, node.silent, node.late, node.broken = Faults(), False, False, False, {}, 0.0
        self.process = self.process or Process(self)
        self.excused_below = self.chain.head.height - self.options.policy.reread_final_epochs
        self._go_on(8)
        self._settle_down()
        if self.reads_again:
            self._go_on(self.options.policy.reread_final_epochs + BACKLOG_EPOCHS)
            self._settle_down()
        self.loop.run(5.0)

    def _go_on(self, epochs: int) -> None:
        for _ in range(epochs):
            self.chain.advance()
            self._show(self.chain.head)
            self.loop.run(EPOCH_SECONDS)

    def _settle_down(self) -> None:
        waited = 0.0
        while not self._settled() and waited < NO_PATIENCE_SECONDS:
            # The chain goes on: a node that says nothing for minutes is a dead one.
            self._go_on(1)
            waited += EPOCH_SECONDS

    def _settled(self) -> bool:
        process = self.process
        assert process is not None
        queued = any(process.queues.values()) or process.unacknowledged
        head = max(self.store.known("tipsets", "processed"), default=-1)
        caught_up = process.follower.caught_up and process.follower.history.hole is None and head == max(self.chain.canonical())
        return caught_up and not queued and self.topics.applied and not any(self.missing(stream) for stream in COUNTED_STREAMS)


def _shown(record: Record) -> str:
    where = f"({record.height}, {record.top}] empty" if isinstance(record, Rewind) else f"{record.height} on {record.parent_height}"
    return f"put {record.sequence & 0xFFFFFFFF} {stream_of(record)} {where} {getattr(record, 'hash', '')[:10]}"
