"""The follower against a world of tipsets: whatever happens to frames and connections, the registers end as the chain."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.chain import Published
from streams.contents import Told
from streams.endpoints import Phase
from streams.events import Dropped, Incomplete, LogMismatch, Policy, Position, Reorg, Skipped
from streams.follower import Follower
from streams.memory import Memory
from streams.records import LogsRecord, Record, Rewind, TipsetRecord, stream_of
from streams.rpc import MAX_FRAME_BYTES
from streams.sampling import Probe
from streams.tasks import OVERSIZE_TIMES, Answered
from tests.node.world import GAS_BURN, RISE, SENT, Node, World

NULL, EMPTY = "null", "empty"


@dataclass(slots=True)
class Registers:
    """What a store would hold: for each stream and height the youngest word, naively."""

    words: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """Take a record, in whatever order they come."""
        stream = stream_of(record)
        if isinstance(record, Rewind):
            heights = dict.fromkeys(range(record.height + 1, record.top + 1), EMPTY)
        else:
            first = record.height if record.parent_height is None else record.parent_height + 1
            heights = dict.fromkeys(range(first, record.height), NULL) | {record.height: record.hash}
        for height, word in heights.items():
            if self.words.get((stream, height), (-1, ""))[0] < record.sequence:
                self.words[stream, height] = (record.sequence, word)

    def chain(self, stream: str) -> dict[int, str]:
        """The tipsets that are held, by height."""
        return {height: word for (one, height), (_, word) in self.words.items() if one == stream and word not in {NULL, EMPTY}}

    def nulls(self, stream: str) -> set[int]:
        """The heights known to be null rounds."""
        return {height for (one, height), (_, word) in self.words.items() if one == stream and word == NULL}


class Harness:
    """A follower between nodes and registers, with time as a number."""

    def __init__(
        self, nodes: dict[str, Node], policy: Policy | None = None, rng: random.Random | None = None, probes: Sequence[Probe] = ()
    ) -> None:
        self.nodes = nodes
        self.policy = policy or Policy()
        self.rng = rng
        self.probes = probes
        self.now = 1000.0
        self.registers = Registers()
        self.told: dict[str, Told] = {}
        self.reserved: int | None = None
        self.lost: list[Record] = []
        self.taken: list[Record] = []
        self.events: list[object] = []
        self.incarnation = 0
        self.connected: dict[str, int] = {}
        self.pending: list[tuple[str, int, bytes]] = []
        self.down: set[str] = set()
        self.restart()

    def restart(self, *, lose: int = 0) -> None:
        """A new follower goes on from the registers; the last `lose` records come to the store only later."""
        self.incarnation += 1
        self.follower = Follower(self.nodes, policy=self.policy, probes=self.probes)
        self.connected, self.pending = {}, []
        published = tuple(Published(height, block) for height, block in sorted(self.registers.chain("tipsets").items()))
        self.follower.resume(Position(self.incarnation, published, self.reserved, Memory(), told=dict(self.told)))
        self._lose = lose

    def step(self) -> None:
        """Let the follower do what it wants once."""
        self.follower.tick(self.now)
        wanted = self.follower.wanted(self.now)
        self.connected = {name: number for name, number in self.connected.items() if wanted.get(name) == number}
        for name, number in wanted.items():
            if name in self.connected:
                continue
            if name in self.down:
                self.follower.disconnected(name, "connection refused", self.now)
            else:
                self.connected[name] = number
                self.follower.connected(name, self.now)
        self.send()
        while (record := self.follower.next_record()) is not None:
            for told in self.follower.take_learnt().told:
                self.told[told.hash] = told
            self.take(record)
        self.send()
        self.events += self.follower.events()

    def send(self) -> None:
        """What the follower asks reaches its node, and the answers are on their way."""
        for name, frame in self.follower.requests():
            if name in self.connected:
                self.pending += [(name, self.connected[name], answer) for answer in self.nodes[name].answer(frame)]

    def take(self, record: Record) -> None:
        """A record is published; some reach the registers late."""
        top = record.top if isinstance(record, Rewind) else record.height
        self.reserved = max(top, self.reserved or 0)
        self.taken.append(record)
        if self._lose > 0:
            self._lose -= 1
            self.lost.append(record)
        else:
            self.registers.apply(record)

    def deliver(self) -> None:
        """Deliver the next frame, a random one where order is not kept between answers."""
        place = self.rng.randrange(len(self.pending)) if self.rng else 0
        name, number, frame = self.pending.pop(place)
        if self.connected.get(name) == number:
            self.follower.receive(name, frame, self.now)

    def tell(self, name: str, frames: list[bytes]) -> None:
        """A node tells its subscribers."""
        if name in self.connected:
            for frame in frames:
                self.follower.receive(name, frame, self.now)

    def settle(self, seconds: float = 120.0) -> None:
        """Go on until nothing more happens for a while."""
        until = self.now + seconds
        while self.now < until:
            self.step()
            while self.pending:
                self.deliver()
                self.step()
            self.now = max(self.now + 0.05, min(self.follower.wake_at(), until))

    def hurry(self, steps: int) -> None:
        """Go on so many steps, and leave on its way what has not come by then."""
        for _ in range(steps):
            self.step()
            if self.pending:
                self.deliver()
            self.now += 0.01

    def drop(self, name: str) -> None:
        """The connection breaks."""
        if self.connected.pop(name, None) is not None:
            self.follower.disconnected(name, "dropped", self.now)

    def check(self, world: World, since: int) -> None:
        """The registers hold the canonical chain from `since` on, the heights between as null, and nothing above."""
        canonical = {height: block for height, block in world.canonical().items() if height >= since}
        top = max(canonical)
        for stream in ("tipsets", "logs"):
            chain = self.registers.chain(stream)
            assert {height: block for height, block in chain.items() if height >= since} == canonical
            known = set(chain) | self.registers.nulls(stream)
            assert set(range(since + 1, top)) - set(canonical) <= known


def harness(world: World, *, native: bool = True, policy: Policy | None = None) -> Harness:
    return Harness({"a": Node(world, native=native)}, policy)


@pytest.mark.parametrize("native", [True, False])
def test_follows_growth_null_rounds_and_a_fork(native: bool) -> None:
    """New heads, null rounds, a fork that ends lower than before: the registers are the chain."""
    world = World()
    world.advance(*[0] * 10)
    one = harness(world, native=native)
    one.settle(1)
    start = min(one.registers.chain("tipsets"))
    assert start == 9
    for nulls in (0, 2, 0, 3, 0):
        world.advance(nulls)
        one.tell("a", one.nodes["a"].see(world.head))
        one.settle(1)
    one.check(world, start)
    fork = world.grow(0, on=world.below(3))
    world.head = world.grow(1, on=fork)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(1)
    one.check(world, start)
    assert any(isinstance(event, Reorg) for event in one.events)


@pytest.mark.parametrize("native", [True, False])
def test_a_preferred_node_that_comes_back_behind_is_no_reorg(native: bool) -> None:
    """It leads again once it has heard of what is published, and nothing is undone for it."""
    world = World()
    world.advance(*[0] * 10)
    one = Harness({"a": Node(world, native=native), "b": Node(world)})
    one.down = {"a"}
    one.settle(5)
    behind = world.head
    world.advance(0)
    one.tell("b", one.nodes["b"].see(world.head))
    one.settle(5)
    one.nodes["a"].head, one.down = behind, set()
    one.settle(60)
    assert {"a", "b"} <= one.connected.keys()
    for _ in range(3):
        one.tell("a", one.nodes["a"].see(world.head))
        one.settle(5)
        one.check(world, 9)
        world.advance(0)
    assert "b" not in one.connected
    assert not [event for event in one.events if isinstance(event, Reorg)]


def test_a_record_tells_burn_and_code() -> None:
    """A record has the evidence of contracts, no evidence of plain accounts, and the rise of f099."""
    world = World()
    world.advance(0, 0, 0, 0)
    one = harness(world)
    one.settle(1)
    seen = one.taken
    tipsets = [record for record in seen if isinstance(record, TipsetRecord)]
    logs = [record for record in seen if isinstance(record, LogsRecord)]
    assert [contract.address for contract in tipsets[0].contracts] == ["0x" + "c0" * 20]
    assert tipsets[0].burnt_rise_attofil == RISE == 2 * GAS_BURN + SENT
    assert [log.emitter for log in logs[0].logs] == ["0x" + "c0" * 20]
    assert logs[0].sequence == tipsets[0].sequence + 1
    assert not tipsets[0].incomplete


def test_an_out_of_order_revert_is_not_trusted() -> None:
    """A revert of something that is not the head drops the endpoint, and the reconnect sets things right."""
    world = World()
    world.advance(*[0] * 5)
    one = harness(world)
    one.settle(1)
    stranger = world.grow(0, on=world.below(3))
    one.tell("a", [one.nodes["a"].notice([("revert", stranger)])])
    world.advance(0)
    one.nodes["a"].see(world.head)
    one.settle(5)
    assert any(isinstance(event, Dropped) and "out-of-order" in event.reason for event in one.events)
    one.check(world, 4)


def test_a_silent_node_is_left_for_the_next_and_returned_to() -> None:
    """A node that says nothing is dropped after the limit; the next one leads until the first is back."""
    world = World()
    world.advance(*[0] * 5)
    nodes = {"first": Node(world), "second": Node(world)}
    one = Harness(nodes, Policy(stale_after_seconds=60))
    one.settle(5)
    one.down.add("first")
    one.drop("first")
    world.advance(0, 0)
    for node in nodes.values():
        node.see(world.head)
    one.settle(5)
    assert one.follower._endpoints.leader is one.follower._endpoints.all["second"]
    one.check(world, 4)
    one.down.clear()
    one.settle(40)
    assert one.follower._endpoints.leader is one.follower._endpoints.all["first"]
    assert one.follower._endpoints.all["second"].phase is Phase.IDLE
    world.advance(0)
    one.tell("first", nodes["first"].see(world.head))
    one.settle(5)
    one.check(world, 4)


def test_incomplete_receipts_are_read_again() -> None:
    """Receipts that miss a message are read again; those that stay so are published and counted."""
    world = World()
    world.advance(*[0] * 3)
    one = harness(world)
    one.nodes["a"].incomplete_reads = 2
    one.settle(10)
    assert not [event for event in one.events if isinstance(event, Incomplete)]
    one.nodes["a"].incomplete_reads = 100
    world.advance(0)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(20)
    assert [event.height for event in one.events if isinstance(event, Incomplete)] == [3]


class Mute(Node):
    """Says nothing at all when it is asked for traces."""

    def answer(self, frame: bytes) -> list[bytes]:
        """What a node of the world answers, but for traces."""
        return [] if b"trace_block" in frame else super().answer(frame)


@pytest.mark.parametrize("kind", ["told", "refused", "mute", "off"])
def test_traces_never_stop_a_tipset(kind: str) -> None:
    """A node that refuses them, or says nothing, is followed all the same, and is not asked for long."""
    world = World()
    world.advance(*[0] * 12)
    node = Mute(world) if kind == "mute" else Node(world)
    node.traces = kind == "told"
    one = Harness({"a": node}, Policy(traces=kind != "off"))
    one.settle(15)
    start = min(one.registers.chain("tipsets"))
    for _ in range(6):
        world.advance(0)
        one.tell("a", node.see(world.head))
        one.settle(15)
    one.check(world, start)
    assert {record.traced for record in one.taken if isinstance(record, TipsetRecord)} == {kind == "told"}
    assert not [event for event in one.events if isinstance(event, Dropped)]
    asked = [event for event in one.events if isinstance(event, Answered) and event.method == "trace_block"]
    assert len(asked) == {"told": len(one.registers.chain("tipsets")), "refused": 3, "mute": 3, "off": 0}[kind]


class Talkative(Node):
    """Pads its answers about one tipset beyond what a frame may have."""

    padded = ""
    """The hash in question."""
    method = "eth_getBlockReceipts"

    def answer(self, frame: bytes) -> list[bytes]:
        """What a node of the world answers, and sometimes much more."""
        answers = super().answer(frame)
        if self.padded and self.padded.encode() in frame and self.method.encode() in frame:
            return [answers[0] + b" " * MAX_FRAME_BYTES]
        return answers


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("method", ["eth_getBlockReceipts", "eth_getBlockByHash"])
def test_a_tipset_that_is_too_large_stays_missing(native: bool, method: str) -> None:
    """It is told of once, by its height; what comes after it is published, and the connection is not lost again and again."""
    world = World()
    world.advance(*[0] * 5)
    node = Talkative(world, native=native)
    node.method = method
    one = Harness({"a": node})
    one.settle(1)
    start = min(one.registers.chain("tipsets"))
    world.advance(*[0] * 6)
    large = world.below(4)
    node.padded = large.hash
    one.tell("a", node.see(world.head))
    one.settle(30)
    assert [event.height for event in one.events if isinstance(event, Skipped)] == [large.height]
    drops = len([event for event in one.events if isinstance(event, Dropped)])
    assert drops <= 1 + OVERSIZE_TIMES
    world.advance(*[0] * 4)
    one.tell("a", node.see(world.head))
    one.settle(30)
    chain = one.registers.chain("tipsets")
    assert sorted(chain) == [height for height in range(start, max(chain) + 1) if height != large.height]
    assert max(chain) >= world.head.height - 1
    assert len([event for event in one.events if isinstance(event, Dropped)]) == drops
    for height, block in chain.items():
        assert world.by_hash[block].height == height


def test_a_reorg_over_a_tipset_that_is_too_large() -> None:
    """The other fork is followed from below it, and back."""
    world = World()
    world.advance(*[0] * 8)
    node = Talkative(world)
    one = Harness({"a": node})
    one.settle(1)
    start = min(one.registers.chain("tipsets"))
    world.advance(*[0] * 4)
    fork, large = world.below(3), world.below(2)
    node.padded = large.hash
    one.tell("a", node.see(world.head))
    one.settle(30)
    first = world.head
    tip = fork
    for _ in range(6):
        tip = world.grow(on=tip)
    for head in (tip, first, tip):
        world.head = head
        one.tell("a", node.see(world.head))
        one.settle(30)
    one.check(world, start)


def test_a_gap_beyond_the_look_back_is_left_missing() -> None:
    """After a long absence only the look-back is filled, and the unfinalised part from before is undone."""
    world = World()
    world.advance(*[0] * 10)
    one = harness(world, policy=Policy(look_back_epochs=50))
    one.settle(1)
    one.drop("a")
    world.advance(*[0] * 1500)
    one.nodes["a"].see(world.head)
    one.settle(20)
    chain = one.registers.chain("tipsets")
    assert min(chain) == max(chain) - 49
    one.check(world, min(chain))


@pytest.mark.parametrize("native", [True, False])
def test_a_gap_of_many_tipsets_is_filled_by_height(native: bool) -> None:
    """A gap within the look-back is filled whole, null rounds included."""
    world = World()
    world.advance(*[0] * 10)
    one = harness(world, native=native)
    one.settle(1)
    one.drop("a")
    world.advance(*[height % 5 == 0 for height in range(300)])
    one.nodes["a"].see(world.head)
    one.settle(20)
    one.check(world, 9)


def test_logs_missed_meanwhile_are_counted_in_ranges() -> None:
    """On an eth-only node the logs of a filled gap are counted again, in ranges that the node accepts; what differs is told."""
    world = World()
    world.advance(*[0] * 10)
    one = harness(world, native=False)
    one.settle(1)
    one.drop("a")
    world.advance(*[0] * 300)
    one.nodes["a"].see(world.head)
    incomplete = world.below(50)
    one.nodes["a"].lost_logs_of = incomplete.hash
    one.settle(20)
    assert not [event for event in one.events if isinstance(event, LogMismatch)]
    world.advance(0)
    show(one, world)
    one.settle(20)
    asked = [event.outcome for event in one.events if isinstance(event, Answered) and event.method == "eth_getLogs"]
    assert asked.count("error") >= 1
    assert asked.count("ok") >= 3
    assert [event.height for event in one.events if isinstance(event, LogMismatch)] == [incomplete.height]


@pytest.mark.parametrize("native", [True, False])
def test_what_the_node_will_not_tell_stays_missing(native: bool) -> None:
    """A node that refuses to look back far enough leaves a gap, and is followed on from there."""
    world = World()
    world.advance(*[0] * 10)
    one = harness(world, native=native)
    one.settle(1)
    one.drop("a")
    world.advance(*[0] * 1500)
    one.nodes["a"].look_back_epochs = 1000
    one.nodes["a"].see(world.head)
    one.settle(60)
    chain = one.registers.chain("tipsets")
    assert 500 < min(height for height in chain if height > 9) < 520
    one.check(world, min(height for height in chain if height > 9))


@pytest.mark.parametrize("frame", [b"", b"{", b"[1]", b"null", b'"x"', b"\xff\xfe", b'{"id":1,"result":' + b"[" * 5000])
def test_nonsense_never_raises(frame: bytes) -> None:
    """A frame that can not be read drops the connection, and the follower goes on."""
    world = World()
    world.advance(*[0] * 5)
    one = harness(world)
    one.settle(1)
    one.tell("a", [frame])
    world.advance(0)
    one.nodes["a"].see(world.head)
    one.settle(5)
    one.check(world, 4)


def test_a_wrong_chain_is_refused() -> None:
    """A node of another chain is refused, and with no other node left the reason is told."""
    world = World()
    world.advance(0, 0)
    one = harness(world)
    one.follower = Follower(["a"], chain_id=314159)
    one.settle(1)
    reason = one.follower.no_endpoint_left()
    assert reason is not None
    assert "wrong chain id 314, expected 314159" in reason


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(0, 3)),
        st.tuples(st.just("fork"), st.tuples(st.integers(1, 30), st.integers(1, 4), st.integers(0, 2))),
        st.tuples(st.just("silent growth"), st.integers(1, 12)),
        st.tuples(st.just("drop"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("down"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("up"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("restart"), st.integers(0, 6)),
        st.tuples(st.just("repeat"), st.integers(0, 0)),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 10])),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**32), native=st.booleans())
@example(steps=[("silent growth", 6), ("wait", 1), ("fork", (2, 1, 0)), ("fork", (7, 1, 0))], seed=0, native=False)
def test_any_history_ends_in_the_chain(steps: list[tuple[str, Any]], seed: int, native: bool) -> None:
    """Forks to depth 30, null rounds, lost, repeated and disordered frames, drops, failovers, restarts: the registers are the chain."""
    world = World()
    world.advance(*[0] * 40)
    nodes = {"a": Node(world, native=native), "b": Node(world, native=native)}
    one = Harness(nodes, rng=random.Random(seed))
    one.settle(2)
    since = min(one.registers.chain("tipsets"))
    for kind, value in steps:
        act(one, world, kind, value)
    one.down.clear()
    world.advance(*[0] * max(2, since + 2 - world.head.height), 1)
    for name, node in nodes.items():
        one.tell(name, node.see(world.head))
    one.settle(400)
    for record in one.lost:
        one.registers.apply(record)
    since = max(since, min(one.registers.chain("tipsets")))
    one.check(world, since)
    assert not [event for event in one.events if isinstance(event, LogMismatch)]


def act(one: Harness, world: World, kind: str, value: Any) -> None:
    """One step of a history."""
    match kind:
        case "grow":
            world.advance(value)
            show(one, world)
        case "fork":
            depth, length, nulls = value
            tip = world.below(min(depth, 35))
            for _ in range(length):
                tip = world.grow(nulls, on=tip)
            world.head = tip
            show(one, world)
        case "silent growth":
            world.advance(*[0] * value)
            for name, node in one.nodes.items():
                node.see(world.head)
                one.drop(name)
        case "restart":
            late, one.lost = one.lost, []
            one.restart(lose=value)
            for record in late:
                one.registers.apply(record)
        case "repeat":
            for name, node in one.nodes.items():
                if node.native:
                    one.tell(name, [node.notice([("current", node.head)])])
        case "wait":
            one.settle(value)
        case _:
            connect_or_not(one, kind, value)


def show(one: Harness, world: World) -> None:
    """Every node sees the head, and tells of it."""
    for name, node in one.nodes.items():
        one.tell(name, node.see(world.head))
    one.step()


def connect_or_not(one: Harness, kind: str, name: str) -> None:
    """A connection breaks, an endpoint goes down or comes back."""
    if kind == "up":
        one.down.discard(name)
        return
    if kind == "down":
        one.down.add(name)
    one.drop(name)


class Verbose(Node):
    """Answers the first question on a connection with more than a frame may have, as long as it is ill."""

    ill = True

    def answer(self, frame: bytes) -> list[bytes]:
        """What a node of the world answers, and sometimes much more."""
        return [b" " * (MAX_FRAME_BYTES + 1)] if self.ill and b'"eth_chainId"' in frame else super().answer(frame)


def test_a_node_that_greets_too_long_is_followed_once_it_is_well() -> None:
    """What a connection begins with is asked each time, however its answer was."""
    world = World()
    world.advance(*[0] * 6)
    node = Verbose(world)
    one = Harness({"a": node})
    one.settle(60)
    assert one.registers.chain("tipsets") == {}
    node.ill = False
    one.settle(600)
    assert one.registers.chain("tipsets")


def test_a_node_that_answers_too_long_does_not_spoil_another() -> None:
    """What one node could not tell is still asked of the next."""
    world = World()
    world.advance(*[0] * 6)
    one = Harness({"a": Verbose(world), "b": Node(world)})
    one.down = {"b"}
    one.settle(60)
    one.down = {"a"}
    one.settle(600)
    assert one.registers.chain("tipsets")
