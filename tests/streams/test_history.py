"""The walk down, in a follower between nodes and registers: whatever happens meanwhile, every height above the floor ends exact."""

import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.chain import Published, held_by_all
from streams.errors import NodeFault, Refusal, Silence
from streams.events import OutOfReach, Policy, Position, Skipped
from streams.history import History, Hole
from streams.left_out import IN_A_ROW
from streams.memory import Memory
from streams.records import LogsRecord, Rewind, TipsetRecord, stream_of
from streams.tasks import Answered
from tests.node.world import Node, World
from tests.streams.test_follower import EMPTY, Harness, Registers, Talkative


class Filled(Harness):
    """A harness whose shell gives the follower the newest hole of its registers above `floor`, as often as there is one."""

    floor = 1

    def hole(self) -> Hole | None:
        """The newest heights that either stream lacks, below a tipset that both hold."""
        held = [self.registers.chain(stream) for stream in ("tipsets", "logs")]
        both = sorted(height for height in held[0] if held[0][height] == held[1].get(height))
        tip = max(both, default=-1)
        newest = next((height for height in range(tip, self.floor - 1, -1) if not self.known(height)), None)
        if newest is None:
            return None
        low = next((height for height in range(newest, -1, -1) if height < self.floor or self.known(height)), -1)
        above = next(height for height in both if height > newest)
        return Hole(Published(above, held[0][above]), low)

    def known(self, height: int) -> bool:
        """Whether both streams hold a tipset or a null round at `height`."""
        return all(self.registers.words.get((stream, height), (0, EMPTY))[1] != EMPTY for stream in ("tipsets", "logs"))

    def kill(self, lost: dict[str, int]) -> None:
        """The process dies with so many records of each stream on their way, and starts again on what the registers hold."""
        for stream, count in lost.items():
            of_stream = [record for record in self.taken if stream_of(record) == stream]
            gone = {id(record) for record in of_stream[len(of_stream) - count :]}
            self.taken = [record for record in self.taken if id(record) not in gone]
        self.lost.clear()
        self.registers = Registers()
        for record in self.taken:
            self.registers.apply(record)
        self.restart()

    def restart(self, *, lose: int = 0) -> None:
        """A new follower goes on from what both streams hold alike."""
        super().restart(lose=lose)
        tails = [[Published(*one) for one in self.registers.chain(stream).items()] for stream in ("tipsets", "logs")]
        self.follower.resume(Position(self.incarnation, tuple(held_by_all(tails)), self.reserved, Memory()))

    def step(self) -> None:
        """Once more, with the newest hole to fill if nothing else is."""
        super().step()
        if self.follower.history.idle(self.now) and (hole := self.hole()) is not None:
            self.follower.history.fill(hole)
            super().step()


class Patient(Filled):
    """Its shell leaves alone what a walk passed over or found out of reach, as the product's does for ten minutes."""

    reached = -1

    def __init__(self, nodes: dict[str, Node], policy: Policy | None = None) -> None:
        self.passed_over: set[int] = set()
        super().__init__(nodes, policy)

    def known(self, height: int) -> bool:
        """Whether nothing is to be filled at `height`."""
        self.passed_over |= self.follower.history.take_passed_over()
        reached = self.follower.history.take_out_of_reach()
        self.reached = self.reached if reached is None else reached
        return super().known(height) or height in self.passed_over or height <= self.reached

    def missing(self) -> list[int]:
        """What is not held below the newest tipset."""
        held = [height for height in range(max(self.registers.chain("tipsets"))) if super(Patient, self).known(height)]
        return sorted({*range(1, max(held))} - {*held})

    def said(self, kind: type[Skipped | OutOfReach]) -> set[int]:
        """The heights of these events."""
        return {event.height for event in self.events if isinstance(event, kind)}


class Withholding(Node):
    """Does not tell the receipts of some tipsets: refuses, says nonsense, or says nothing at all."""

    fault: str = "refusal"
    withheld: frozenset[str] = frozenset()

    def answer(self, frame: bytes) -> list[bytes]:
        """What a node of the world answers, where it does."""
        asked = json.loads(frame)
        if asked["method"] != "eth_getBlockReceipts" or asked["params"][0] not in self.withheld:
            return super().answer(frame)
        error = {"code": 1, "message": "failed to load events"}
        answers: dict[str, dict[str, object]] = {"refusal": {"error": error}, "nonsense": {"result": 5}}
        said = answers.get(self.fault)
        return [] if said is None else [json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}).encode()]


class Mute(Node):
    """Says nothing about one tipset, whatever is asked."""

    silent: tuple[object, ...] = ()

    def answer(self, frame: bytes) -> list[bytes]:
        """What a node of the world answers, where it does."""
        asked = json.loads(frame)
        return [] if asked["params"] and asked["params"][0] in self.silent else super().answer(frame)


def filled(world: World, *, native: bool = True, floor: int = 1, policy: Policy | None = None) -> Filled:
    """A harness of one node."""
    one = Filled({"a": Node(world, native=native)}, policy)
    one.floor = floor
    return one


@pytest.mark.parametrize("native", [True, False])
def test_a_first_start_fills_backwards(native: bool) -> None:
    """What lies below the first head comes newest first, null rounds included, down to the floor."""
    world = World()
    world.advance(*[0, 0, 2, 0, 0, 5] * 6)
    one = filled(world, native=native, floor=3)
    one.settle(60)
    one.check(world, since=3)
    heights = [record.height for record in one.taken if isinstance(record, TipsetRecord)]
    assert heights[1:] == sorted(heights[1:], reverse=True)
    assert all(one.known(height) for height in range(3, heights[0]))


@pytest.mark.parametrize("of_history", [False, True])
def test_what_is_published_again_keeps_its_traces(of_history: bool) -> None:
    """The tipset on top of a hole is traced as before; those below it where traces of history are wanted, and else not."""
    world = World()
    world.advance(*[0] * 30)
    one = filled(world, policy=Policy(traces_of_history=of_history))
    one.settle(60)
    one.check(world, since=1)
    last = {record.height: record.traced for record in one.taken if isinstance(record, TipsetRecord)}
    assert last.pop(max(last))
    assert set(last.values()) == {of_history}


@pytest.mark.parametrize("of_history", [False, True])
def test_a_node_without_traces_of_the_past_is_not_asked_for_long(of_history: bool) -> None:
    """Nor does that keep it from being asked about new tipsets."""
    world = World()
    world.advance(*[0] * 30)
    one = filled(world, policy=Policy(traces_of_history=of_history))
    one.nodes["a"].traces = False
    one.settle(60)
    assert len([event for event in one.events if isinstance(event, Answered) and event.method == "trace_block"]) < 2 * Policy().concurrency
    one.nodes["a"].traces = True
    world.advance(0)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(20)
    assert max((record.height, record.traced) for record in one.taken if isinstance(record, TipsetRecord))[1]


@pytest.mark.parametrize("native", [True, False])
def test_a_walk_passes_a_tipset_that_is_too_large(native: bool) -> None:
    """Its height stays missing, is told of by its number and left alone; all below it is filled."""
    world = World()
    world.advance(*[0] * 30)
    large = world.below(14)
    node = Talkative(world, native=native)
    node.padded = large.hash
    one = Patient({"a": node})
    one.settle(40)
    assert one.missing() == [large.height]
    assert one.said(Skipped) == one.passed_over == {large.height}
    assert (one.reached, one.said(OutOfReach)) == (-1, set())


@pytest.mark.parametrize("fault,seconds", [("refusal", 60), ("nonsense", 60), ("silence", 300)])
@pytest.mark.parametrize("many", [1, IN_A_ROW - 1])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_walk_passes_what_the_node_does_not_tell(fault: str, seconds: float, many: int, concurrency: int) -> None:
    """Such tipsets stay missing with the null rounds below them, are told of, and left alone; everything else is filled."""
    world = World()
    world.advance(*[0] * 20, 2, *[0] * 20)
    node = Withholding(world)
    node.fault = fault
    left = sorted(height for height in world.canonical() if height > 20)[:many]
    node.withheld = frozenset(world.canonical()[height] for height in left)
    one = Patient({"a": node}, Policy(concurrency=concurrency))
    one.settle(seconds)
    assert one.missing() == [left[0] - 2, left[0] - 1, *left]
    assert one.passed_over == set(one.missing())
    assert one.said(Skipped) == set(left)
    assert (one.reached, one.said(OutOfReach)) == (-1, set())


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("native", [True, False])
def test_a_walk_ends_at_what_is_not_even_placed(native: bool, concurrency: int) -> None:
    """Where a tipset lies is never answered, so that nobody knows what is below: that is out of reach, and all above is filled."""
    world = World()
    world.advance(*[0] * 40)
    node = Mute(world, native=native)
    lost = world.below(20)
    node.silent = (hex(lost.height), lost.height, lost.hash, lost.key)
    one = Patient({"a": node}, Policy(concurrency=concurrency))
    one.settle(600)
    assert one.reached == lost.height
    assert one.missing() == [*range(1, lost.height + 1)]
    assert one.said(Skipped) == set()


@pytest.mark.parametrize("concurrency", [1, 8])
def test_many_in_a_row_that_are_refused_are_the_end(concurrency: int) -> None:
    """A node that tells no receipts from some height down is not asked for each: all of it is out of reach, and nothing is left out."""
    world = World()
    world.advance(*[0] * 60)
    node = Withholding(world)
    node.withheld = frozenset(block for height, block in world.canonical().items() if height <= 40)
    one = Patient({"a": node}, Policy(concurrency=concurrency))
    one.settle(120)
    assert one.missing() == [*range(1, 41)]
    assert one.said(OutOfReach) == {40}
    assert (one.reached, one.passed_over, one.said(Skipped)) == (40, set(), set())


def test_more_null_rounds_than_are_asked_for_at_once() -> None:
    """A walk crosses any run of null rounds by the hash of the parent."""
    world = World()
    world.advance(0, 0, 300, 0, 0)
    one = filled(world)
    one.settle(60)
    one.check(world, since=1)


def test_live_work_goes_first() -> None:
    """A head that comes while a walk is under way is published before the rest of the walk."""
    world = World()
    world.advance(*[0] * 200)
    one = filled(world)
    while len(one.taken) < 40:
        one.step()
        if one.pending:
            one.deliver()
    world.advance(0)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(60)
    after = [record.height for record in one.taken if isinstance(record, TipsetRecord)]
    place = after.index(world.head.parent.height)  # type: ignore[union-attr]
    assert place < len(after) - 50
    one.check(world, since=1)


def test_a_reorg_below_the_top_of_the_hole_starts_the_walk_anew() -> None:
    """What hung from a tipset that is undone is undone too, and fetched again on the other fork."""
    world = World()
    world.advance(*[0] * 40)
    one = filled(world)
    one.settle(1)
    fork = world.below(20)
    for _ in range(25):
        fork = world.grow(on=fork)
    world.head = fork
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(120)
    one.check(world, since=1)
    assert any(isinstance(record, Rewind) for record in one.taken)


@pytest.mark.parametrize("native", [True, False])
def test_a_ledger_that_lags_behind_is_not_believed(native: bool) -> None:
    """A hole below a tipset that is undone, which the node still knows by its hash, is left alone for some seconds."""
    world = World()
    world.advance(*[0] * 40)
    one = filled(world, native=native)
    one.settle(120)
    undone, fork = world.below(10), world.below(20)
    for _ in range(25):
        fork = world.grow(on=fork)
    world.head = fork
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(120)
    before = len(one.taken)
    one.follower.history.fill(Hole(Published(undone.height, undone.hash), 1))
    one.settle(10)
    assert len(one.taken) == before
    assert one.follower.history.hole is None
    assert one.follower.history.take_out_of_reach() is None
    one.check(world, since=1)


def test_ends_where_the_node_will_not_go() -> None:
    """A node's look-back ends the walk with one event, and live work goes on."""
    world = World()
    world.advance(*[0] * 100)
    node = Node(world)
    node.look_back_epochs = 30
    one = Filled({"a": node})
    one.settle(30)
    assert one.follower.history.take_out_of_reach() == 69
    assert [event for event in one.events if isinstance(event, OutOfReach)] == [OutOfReach(69)]
    one.check(world, since=71)
    world.advance(0, 0)
    one.tell("a", node.see(world.head))
    one.settle(10)
    one.check(world, since=71)


def test_the_top_of_the_hole_keeps_what_it_said() -> None:
    """The tipset that is published again, since null rounds are below it, tells the rise of f099 as before, and its parent's height."""
    world = World()
    world.advance(*[0] * 10, 2, 0)
    one = filled(world)
    one.settle(20)
    first, again = [record for record in one.taken if isinstance(record, TipsetRecord) and record.height == 13]
    assert (first.parent_height, again.parent_height) == (None, 10)
    assert again.burnt_rise_attofil == first.burnt_rise_attofil is not None
    assert again.noticed_at == 0.0
    one.check(world, since=1)


def test_a_top_with_nothing_new_to_say_is_left_as_it_was_told() -> None:
    """Right above its parent, it is not asked for again: the node may have lost its logs since."""
    world = World()
    world.advance(*[0] * 10)
    one = filled(world)
    while not one.taken:
        one.step()
        one.deliver()
    top = one.taken[0].height
    one.nodes["a"].lost_logs_of = world.canonical()[top]
    one.settle(20)
    assert len([record for record in one.taken if isinstance(record, LogsRecord) and record.height == top]) == 1
    one.check(world, since=1)


def test_a_tipset_that_is_no_ancestor_is_left() -> None:
    """A hole below a tipset that the node does not know is given up, and nothing is published for it."""
    world = World()
    world.advance(*[0] * 20)
    one = filled(world, floor=19)
    one.settle(5)
    before = len(one.taken)
    one.follower.history.fill(Hole(Published(12, "0x" + "ab" * 32), 5))
    one.settle(50)
    assert one.follower.history.hole is None
    assert len(one.taken) == before


@pytest.mark.parametrize("fault", [Silence("no answer"), Refusal("no", busy=True)])
def test_a_busy_node_is_not_out_of_reach(fault: NodeFault) -> None:
    """A node that asks for patience gets it, however often."""
    world = World()
    world.advance(*[0] * 5)
    one = filled(world)
    one.settle(0.2)
    history = History(Policy())
    history.fill(Hole(Published(4, world.canonical()[4]), 0))
    leader = one.follower._endpoints.leader
    assert leader is not None
    now = 0.0
    for _ in range(20):
        asked = list(history.questions(leader, one.follower._memory, now))
        assert [key for key, _ in asked] == [("past anchor", world.canonical()[4])]
        assert history.failed(asked[0][0], fault, now) == []
        assert list(history.questions(leader, one.follower._memory, now)) == []
        now = history.wake_at(now) or 0.0
    assert history.hole is not None


LOWEST_FLOOR = 8


def grow(one: Filled, world: World, data: st.DataObject) -> None:
    """The head grows."""
    world.advance(data.draw(st.integers(0, 2)))


def fork(one: Filled, world: World, data: st.DataObject) -> None:
    """Another fork wins, higher or lower than the one before; nobody forks at the genesis."""
    tip = world.below(data.draw(st.integers(1, 12)))
    tip = tip if tip.height > LOWEST_FLOOR else world.head
    for nulls in data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=14)):
        tip = world.grow(nulls, on=tip)
    world.head = tip


def kill(one: Filled, world: World, data: st.DataObject) -> None:
    """The process dies, with records on their way to either stream."""
    one.kill({stream: data.draw(st.integers(0, 5)) for stream in ("tipsets", "logs")})


def wipe(one: Filled, world: World, data: st.DataObject) -> None:
    """A register is gone."""
    height = data.draw(st.integers(0, max(world.canonical())))
    one.registers.words.pop((data.draw(st.sampled_from(["tipsets", "logs"])), height), None)


ACTIONS: dict[str, Callable[[Filled, World, st.DataObject], object]] = {
    "grow": grow,
    "fork": fork,
    "kill": kill,
    "wipe": wipe,
    "drop": lambda one, world, data: one.drop("a"),
    "late": lambda one, world, data: one.restart(lose=data.draw(st.integers(1, 3))),
    "incomplete": lambda one, world, data: setattr(one.nodes["a"], "incomplete_reads", data.draw(st.integers(0, 4))),
}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_schedule_ends_exact(data: st.DataObject) -> None:
    """Growth, forks, drops, kills, lost and late records in any order: every height above the floor ends as the chain."""
    world = World()
    world.advance(*data.draw(st.lists(st.integers(0, 3), min_size=12, max_size=30)))
    one = Filled({"a": Node(world, native=data.draw(st.booleans()))}, Policy(concurrency=data.draw(st.integers(1, 8))))
    one.rng = random.Random(data.draw(st.integers(0, 2**16)))
    one.floor = data.draw(st.integers(1, LOWEST_FLOOR))
    one.settle(0.2)
    for action in data.draw(st.lists(st.sampled_from(sorted(ACTIONS)), max_size=8)):
        ACTIONS[action](one, world, data)
        one.tell("a", one.nodes["a"].see(world.head))
        one.hurry(data.draw(st.integers(0, 60)))
    world.advance(0, 0)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(120)
    for record in one.lost:
        one.registers.apply(record)
    one.settle(120)
    if max(world.canonical()) > one.floor:
        one.check(world, since=one.floor)
        assert all(one.known(height) for height in range(one.floor, max(world.canonical()) + 1))
