"""Runs with other windows, and backfills that stop halfway far below: on a real Redis, with the real questions of the ledger."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from processors.ledger import missing, newest_hole
from processors.readings import StreamReading
from processors.store import Store
from processors.windows import Window, parse_all
from streams.records import COUNTED_STREAMS, Rewind, Stream, stream_of
from tests.processors.strategies import NETWORK, Held, contribution, recount, tipset
from tests.processors.test_sink import logs_of

SURVIVE_EPOCHS = 6
SETS = tuple(parse_all(one) for one in (["3e"], ["3e", "8e"], ["20e"], ["4e", "30e"], ["8e", "30e"]))


class Tip(NamedTuple):
    """A tipset of the chain, whether it is published or not."""

    height: int
    parent: int


class Run(NamedTuple):
    """One run: with which windows, how many tipsets were made before it while nobody followed, how many epochs are undone, the null
    rounds below each tipset that comes then, how deep a backfill is wanted, and after how many tipsets it is stopped, the last one
    `torn`: in one stream, not in the other.
    """

    windows: tuple[Window, ...]
    away: int
    undone: int
    nulls: list[int]
    depth: int
    most: int
    torn: bool


RUNS = st.lists(
    st.builds(
        Run,
        st.sampled_from(SETS),
        st.sampled_from((0, 0, 1, 4, 12)),
        st.sampled_from((0, 0, 1, 4)),
        st.lists(st.sampled_from((0, 0, 0, 1, 3)), min_size=1, max_size=12),
        st.integers(0, 70),
        st.integers(0, 25),
        st.booleans(),
    ),
    min_size=2,
    max_size=5,
)


@dataclass(slots=True)
class Register:
    """What a height of a stream holds; `whole` as long as its short part is kept."""

    sequence: int
    state: str
    whole: bool = False


@dataclass(slots=True)
class Registers:
    """One stream, by the words of the rule: what is kept depends on the head and on the longest window of the moment."""

    held: dict[int, Register] = field(default_factory=dict)
    lowest: int | None = None
    longest: int = 0

    @property
    def head(self) -> int:
        """The newest tipset."""
        return max(height for height, register in self.held.items() if register.state == "t")

    @property
    def kept(self) -> int:
        """How many epochs down from the head anything is kept."""
        return 2 * self.longest + SURVIVE_EPOCHS

    def write(self, low: int, top: int, sequence: int, *, empty: bool = False) -> None:
        """A tipset at `top` above null rounds, or nothing."""
        for height in range(low + 1, top + 1):
            self.held[height] = Register(sequence, "e" if empty else "t" if height == top else "n", whole=height == top and not empty)
        if not empty:
            self.lowest = min(low + 1, self.lowest or low + 1)
        self.forget()

    def forget(self) -> None:
        """What no window of now can ask for."""
        if not any(one.state == "t" for one in self.held.values()):
            return
        head = self.head
        self.held = {height: one for height, one in self.held.items() if height > head - self.kept}
        for height, one in self.held.items():
            one.whole = one.whole and height > head - self.longest - SURVIVE_EPOCHS

    def letter(self, height: int) -> str:
        """As the ledger tells it."""
        one = self.held.get(height)
        if one is None or one.state != "t" or one.whole:
            return one.state if one is not None else "e"
        return "e" if self.head - height < self.longest else "l"

    def known(self, *, lasting: bool) -> dict[int, Held]:
        """What a recount can be made of; with `lasting`, also where nothing but the lasting part is kept."""
        held = {height: one for height, one in self.held.items() if one.state == "n" or (one.state == "t" and (one.whole or lasting))}
        return {height: contribution(one.sequence) if one.state == "t" else None for height, one in held.items()}

    def reading(self, windows: Sequence[Window], *, lasting: bool) -> StreamReading:
        """The recount of it."""
        return recount(self.known(lasting=lasting), windows, max(self.lowest or 0, self.head - self.kept + 1))


class World:
    """A chain, what was published of it, and the store."""

    def __init__(self, redis: Redis) -> None:
        self.store = Store(redis, NETWORK, survive_reorg_epochs=SURVIVE_EPOCHS)
        self.chain: list[Tip] = []
        self.registers = {stream: Registers() for stream in COUNTED_STREAMS}
        self.windows: tuple[Window, ...] = ()
        self.sequence = 0
        for number in range(90):
            self.grow(2 if number % 7 == 0 else 0)

    @property
    def head(self) -> int:
        """The newest tipset that is published."""
        return self.registers["tipsets"].head

    def grow(self, nulls: int) -> Tip:
        """A tipset on the chain."""
        parent = self.chain[-1].height if self.chain else 999
        self.chain.append(Tip(parent + 1 + nulls, parent))
        return self.chain[-1]

    async def configure(self, windows: tuple[Window, ...]) -> None:
        """As at a start."""
        await self.store.configure(windows)
        self.windows = windows
        for registers in self.registers.values():
            registers.longest = max(window.epochs for window in windows)
            registers.forget()

    async def publish(self, tip: Tip, *, alone: bool = False, streams: Sequence[Stream] = COUNTED_STREAMS) -> None:
        """To these streams; `alone`: it is not known what is below."""
        self.sequence += 1
        record = tipset(tip.height, None if alone else tip.parent, self.sequence)
        for one in (record, logs_of(record)):
            if (stream := stream_of(one)) in streams:
                await self.store.apply(one, contribution(self.sequence))
                self.registers[stream].write(tip.height - 1 if alone else tip.parent, tip.height, self.sequence)

    async def undo(self, epochs: int) -> None:
        """A reorg, back to a tipset that both streams hold."""
        top = self.head
        below = [tip for tip in self.chain if top - SURVIVE_EPOCHS < tip.height <= top - epochs and self.is_held(tip.height)]
        if epochs == 0 or not below:
            return
        self.sequence += 1
        self.chain = self.chain[: self.chain.index(below[-1]) + 1]
        for stream, registers in self.registers.items():
            await self.store.apply(Rewind(network=NETWORK, sequence=self.sequence, stream=stream, height=below[-1].height, top=top))
            registers.write(below[-1].height, top, self.sequence, empty=True)

    def is_held(self, height: int) -> bool:
        """Whether both streams hold it whole."""
        return all(registers.letter(height) == "t" for registers in self.registers.values())

    async def fill(self, depth: int, most: int = 1_000, *, torn: bool = False) -> None:
        """Hole after hole down to `depth` epochs, the newest first, until all is known or so many tipsets are written."""
        longest = self.registers["tipsets"].longest
        floor = max(self.head - min(depth, 2 * longest + SURVIVE_EPOCHS) + 1, self.chain[0].height)
        while (hole := await newest_hole(self.store, floor, self.head)) is not None:
            walk = [tip for tip in reversed(self.chain) if hole.low < tip.height <= hole.above.height]
            assert walk[0].height == hole.above.height
            assert self.is_held(hole.above.height)
            for tip in walk[walk[0].parent == walk[0].height - 1 :]:
                if most == 0:
                    return
                most -= 1
                await self.publish(tip, streams=COUNTED_STREAMS[:1] if torn and most == 0 else COUNTED_STREAMS)
        assert await missing(self.store, floor, self.head) == []

    async def run(self, run: Run) -> None:
        """All of it."""
        await self.configure(run.windows)
        for _ in range(run.away):
            self.grow(0)
        if self.sequence == 0 or run.away:
            await self.publish(self.chain[-1], alone=True)
        await self.undo(run.undone)
        for nulls in run.nulls:
            await self.publish(self.grow(nulls))
        await self.fill(run.depth, run.most, torn=run.torn)
        await self.check()

    async def check(self) -> None:
        """The ledger tells what is kept, and each window is the recount over what the ledger knows."""
        snapshot, top = await self.store.snapshot(), self.head
        for number, (stream, registers) in enumerate(self.registers.items()):
            heights = range(registers.head - registers.kept + 1, top + 1)
            letters = (await self.store.states(heights[0], heights[-1]))[number]
            assert letters == "".join(registers.letter(height) for height in heights)
            shown, now = snapshot.streams[stream], registers.reading(self.windows, lasting=False)
            before = registers.reading(self.windows, lasting=True)
            assert shown.head == registers.head
            for name, window in shown.windows.items():
                of_before = before.windows[name]
                assert window == replace(
                    now.windows[name],
                    prior_sums=of_before.prior_sums,
                    prior_distinct=of_before.prior_distinct,
                    prior_processed=of_before.prior_processed,
                    prior_null=of_before.prior_null,
                    new_deployers=window.new_deployers,
                )

    async def check_filled(self) -> None:
        """With nothing missing any more in the longest window, all of it is the recount, who is new as well."""
        await self.check()
        snapshot = await self.store.snapshot()
        for stream, registers in self.registers.items():
            assert replace(snapshot.streams[stream], ranked=()) == replace(registers.reading(self.windows, lasting=True), ranked=())
            assert all(window.coverage == 1 for window in snapshot.streams[stream].windows.values())


@given(runs=RUNS)
def test_windows_change_between_runs(redis_socket: str, runs: list[Run]) -> None:
    """Longer, shorter, others, with holes far below: each is the recount over what is known, coverage tells the rest, history fills it."""

    async def test() -> None:
        async with Redis(unix_socket_path=redis_socket) as redis:
            await redis.flushall()
            world = World(redis)
            for run in runs:
                await world.run(run)
            await world.fill(max(window.epochs for window in world.windows))
            await world.check_filled()

    asyncio.run(test())
