"""The second read, in a follower between nodes and registers: what was told late ends as it is, and nothing that was right is spoilt."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.chain import Published
from streams.contents import UNSURE
from streams.events import Incomplete, Policy, Position, Reread
from streams.memory import Memory
from streams.records import LogsRecord, Record, Rewind, TipsetRecord, stream_of
from streams.rereads import LATE_EPOCHS
from tests.node.world import CONTRACT, LOG, Node, World
from tests.streams.test_follower import Harness

CONFIRMED, FINAL = 3, 8
POLICY = Policy(reread_depth_epochs=CONFIRMED, reread_final_epochs=FINAL)
Event = tuple[str, str, tuple[str, ...]]


class Late(Node):
    """A node whose logs of some tipsets are not what they should be, as long as it is told so."""

    def __init__(self, world: World, *, native: bool = True) -> None:
        super().__init__(world, native=native)
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.mute = False
        self.codeless = False
        self.asked: list[str] = []
        self.honest: dict[str, bool] = {}
        """Whether the last word on a tipset was as it is."""

    def answer(self, frame: bytes) -> list[bytes]:
        """As any node, or not at all."""
        method = json.loads(frame)["method"]
        self.asked.append(method)
        return [] if self.mute and method == "eth_getBlockReceipts" else super().answer(frame)

    def _eth_getblockreceipts(self, block: str) -> list[dict[str, Any]]:
        first, *others = super()._eth_getblockreceipts(block)
        self.honest[block] = len(others) == 1 and block not in self.logs
        return [{**first, "logs": self.logs.get(block, first["logs"])}, *others]

    def _eth_getcode(self, address: str, tag: Any) -> str:
        if self.codeless and isinstance(tag, dict):
            raise KeyError("state not found")
        return "0x" if self.codeless else super()._eth_getcode(address, tag)

    def _eth_call(self, _call: object, _tag: object) -> str:
        return "0x"


class Read(Harness):
    """A harness that remembers whole records, naively, and lets the chain grow."""

    def grow(self, world: World, tipsets: int = 1) -> None:
        """The chain grows, and every node sees it."""
        for _ in range(tipsets):
            world.advance(0)
            for name, node in self.nodes.items():
                self.tell(name, node.see(world.head))
            self.settle(1)

    def held(self, stream: str) -> dict[int, Record]:
        """The record with the highest number of each height that is not rewound."""
        youngest: dict[int, tuple[int, Record | None]] = {}
        for record in self.taken:
            if stream_of(record) == stream:
                undone = isinstance(record, Rewind)
                heights = range(record.height + 1, record.top + 1) if isinstance(record, Rewind) else (record.height,)
                for height in heights:
                    if youngest.get(height, (-1, None))[0] < record.sequence:
                        youngest[height] = (record.sequence, None if undone else record)
        return {height: record for height, (_, record) in youngest.items() if record is not None}

    def wrong(self, world: World, since: int) -> set[int]:
        """The heights of the chain at which the registers do not hold what its tipset has."""
        tipsets, logs = self.held("tipsets"), self.held("logs")
        wrong = set()
        for height, block in world.canonical().items():
            tipset, grouped = tipsets.get(height), logs.get(height)
            if height < since or height == world.head.height:
                continue
            right = isinstance(tipset, TipsetRecord) and tipset.hash == block and len(tipset.messages) == 2
            right = right and isinstance(grouped, LogsRecord) and [log.data for log in grouped.logs] == [LOG["data"]]
            wrong |= set() if right else {height}
        return wrong

    def reads(self, height: int | None = None) -> list[Event]:
        """What came of the reads, of one height or of all."""
        found = [event for event in self.events if isinstance(event, Reread)]
        return [(event.depth, event.result, event.differs) for event in found if height in {None, event.height}]

    def published(self, height: int) -> int:
        """How often a height was published."""
        return sum(1 for record in self.taken if isinstance(record, TipsetRecord) and record.height == height)


def started(
    *, native: bool = True, policy: Policy = POLICY, names: str = "a", codeless: bool = False
) -> tuple[Read, World, dict[str, Late]]:
    """Nodes of one world at height 4, with the newest tipset published at height 3."""
    world = World()
    world.advance(0, 0, 0, 0)
    nodes = {name: Late(world, native=native) for name in names}
    for node in nodes.values():
        node.codeless = codeless
    one = Read(dict(nodes), policy)
    one.settle(10 if codeless else 1)
    return one, world, nodes


def block_at(world: World, height: int) -> str:
    return world.canonical()[height]


@pytest.mark.parametrize("native", [True, False])
def test_what_does_not_change_is_read_again_and_left(native: bool) -> None:
    """Every tipset is read again at both depths, and published once."""
    one, world, _ = started(native=native)
    one.grow(world, 20)
    assert set(one.reads()) == {("confirmed", "same", ()), ("final", "same", ())}
    for height in range(4, 24 - FINAL - 1):
        assert one.reads(height) == [("confirmed", "same", ()), ("final", "same", ())]
    assert all(one.published(height) == 1 for height in range(4, 23))
    one.check(world, 3)


@pytest.mark.parametrize("native", [True, False])
def test_logs_that_come_late_are_published(native: bool) -> None:
    """By themselves, once the tipset is as deep; with its parent's height, a higher number, and no word on when it was noticed."""
    one, world, nodes = started(native=native)
    world.advance(2)
    missing = world.head.hash
    height = world.head.height
    nodes["a"].logs[missing] = []
    one.tell("a", nodes["a"].see(world.head))
    one.grow(world)
    assert one.wrong(world, 4) == {height}
    nodes["a"].logs.clear()
    one.grow(world, CONFIRMED)
    assert one.wrong(world, 4) == set()
    assert one.reads(height) == [("confirmed", "different", ("logs",))]
    first, again = [record for record in one.taken if isinstance(record, TipsetRecord) and record.height == height]
    assert first.parent_height == again.parent_height == height - 3
    assert again.sequence > first.sequence
    assert again.noticed_at == 0.0
    assert again.traced == first.traced
    one.check(world, 3)
    one.grow(world, FINAL)
    assert one.reads(height)[1:] == [("final", "same", ())]


@pytest.mark.parametrize("change", [{"data": "0x1234"}, {"topics": ["0x" + "33" * 32]}])
def test_a_node_that_corrects_itself_is_believed(change: dict[str, Any]) -> None:
    """Where as many logs are told as before, but others."""
    one, world, nodes = started()
    nodes["a"].logs[world.head.hash] = [{**LOG, **change}]
    height = world.head.height
    one.grow(world)
    nodes["a"].logs.clear()
    one.grow(world, CONFIRMED)
    assert one.reads(height) == [("confirmed", "different", ("logs",))]
    assert one.wrong(world, 4) == set()


def test_what_is_told_only_at_finality_is_published_then() -> None:
    """The read at the first depth finds nothing new, the next one does."""
    one, world, nodes = started()
    nodes["a"].logs[world.head.hash] = []
    height = world.head.height
    one.grow(world, CONFIRMED + 2)
    nodes["a"].logs.clear()
    one.grow(world, FINAL)
    assert one.reads(height) == [("confirmed", "same", ()), ("final", "different", ("logs",))]
    assert one.wrong(world, 4) == set()


def test_a_node_that_loses_logs_is_not_believed_at_once() -> None:
    """Only a second read that tells the same replaces what has more."""
    one, world, nodes = started()
    forgotten, lost = world.head, world.grow()
    world.head = lost
    one.tell("a", nodes["a"].see(lost))
    one.grow(world)
    nodes["a"].logs = {forgotten.hash: [], lost.hash: []}
    one.grow(world, CONFIRMED)
    assert one.reads(forgotten.height) == one.reads(lost.height) == [("confirmed", "disputed", ())]
    assert one.wrong(world, 4) == set()
    del nodes["a"].logs[forgotten.hash]
    one.grow(world, FINAL)
    assert one.reads(forgotten.height)[1:] == [("final", "same", ())]
    assert one.reads(lost.height)[1:] == [("final", "different", ("logs",))]
    assert one.wrong(world, 4) == {lost.height}


def test_incomplete_receipts_are_mended() -> None:
    """A tipset that was published with a complaint is published whole, once the node tells all."""
    one, world, nodes = started()
    nodes["a"].incomplete_reads = 4
    height = world.head.height
    one.grow(world)
    one.settle(20)
    assert nodes["a"].incomplete_reads == 0
    one.grow(world, CONFIRMED)
    assert one.reads(height) == [("confirmed", "different", ("receipts", "logs"))]
    assert one.wrong(world, 4) == set()
    record = one.held("tipsets")[height]
    assert isinstance(record, TipsetRecord)
    assert not record.incomplete


def test_a_contract_whose_code_was_not_told_is_mended() -> None:
    """Its tipset counts as incomplete, and is published again with the evidence once a node tells it."""
    one, world, nodes = started(codeless=True)
    height = world.head.height - 1
    told = one.held("logs")[height], one.held("tipsets")[height]
    assert [getattr(record, "contracts", None) for record in told] == [(), ()]
    assert [event.height for event in one.events if isinstance(event, Incomplete)] == [height]
    nodes["a"].codeless = False
    one.grow(world, CONFIRMED)
    assert one.reads(height) == [("confirmed", "different", ("completeness",))]
    mended = one.held("logs")[height], one.held("tipsets")[height]
    assert [[one.address for one in getattr(record, "contracts", ())] for record in mended] == [[CONTRACT], [CONTRACT]]
    assert not getattr(mended[1], "incomplete", True)


class Making(Late):
    """In whose traces a contract makes another, in every tipset."""

    def _trace_block(self, number: str) -> list[dict[str, Any]]:
        traces = super()._trace_block(number)
        made = {"type": "create", "traceAddress": [0], "result": {"address": f"0x{0xDD00000 + int(number, 16):040x}"}}
        return [*traces, {**traces[0], **made, "action": {"from": CONTRACT, "init": "0x60"}}]


def test_what_only_the_first_node_tells_is_kept() -> None:
    """A node without traces and native methods tells the logs that the first lacked: rise and creations stay as they were told."""
    world = World()
    world.advance(0, 0, 0, 0)
    leader, witness = Making(world), Late(world, native=False)
    witness.traces = False
    one = Read({"a": leader, "b": witness}, Policy(witnesses=1, reread_depth_epochs=CONFIRMED, reread_final_epochs=FINAL))
    one.settle(1)
    one.grow(world, 4)
    world.advance(0)
    late = world.head
    leader.logs[late.hash] = []
    for name, node in one.nodes.items():
        one.tell(name, node.see(late))
    one.grow(world, FINAL + 4)
    told = [record for record in one.taken if isinstance(record, TipsetRecord) and record.height == late.height]
    assert [event[1] for event in one.reads(late.height)][:1] == ["different"]
    assert len(told) > 1
    assert all(record.burnt_rise_attofil is not None and record.traced and len(record.creations or ()) == 1 for record in told)
    logs = one.held("logs")[late.height]
    assert isinstance(logs, LogsRecord)
    assert len(logs.logs) == 1


def test_another_node_is_asked_first() -> None:
    """The second read comes from another node than the first, where there is one; the leader's receipts are asked for once."""
    one, world, nodes = started(policy=Policy(witnesses=1, compare_depth_epochs=900, reread_depth_epochs=CONFIRMED), names="ab")
    one.grow(world, 10)
    leader, other = (nodes[name].asked.count("eth_getBlockReceipts") for name in "ab")
    assert (leader, other) == (11, 11 - CONFIRMED)
    assert set(one.reads()) == {("confirmed", "same", ())}


@pytest.mark.parametrize("liar, result", [("b", "disputed"), ("a", "different")])
def test_of_two_nodes_the_one_that_tells_more_is_believed(liar: str, result: str) -> None:
    """Whichever it is; a witness that lacks logs spoils nothing, a leader that lacks them is corrected by a witness."""
    one, world, nodes = started(policy=Policy(witnesses=1, compare_depth_epochs=900, reread_depth_epochs=CONFIRMED), names="ab")
    height = world.head.height
    nodes[liar].logs[world.head.hash] = []
    one.grow(world, CONFIRMED + 1)
    assert [event[1] for event in one.reads(height)] == [result]
    assert one.wrong(world, 4) == set()


def test_with_a_quorum_two_nodes_have_to_agree() -> None:
    """One node's second read is not enough to replace what a quorum was wanted for."""
    policy = Policy(witnesses=1, compare_depth_epochs=900, reread_depth_epochs=CONFIRMED, receipts_quorum=2)
    one, world, nodes = started(policy=policy, names="ab")
    height = world.head.height
    for node in nodes.values():
        node.logs[world.head.hash] = []
    one.grow(world)
    nodes["b"].logs.clear()
    one.grow(world, CONFIRMED)
    assert [event[1] for event in one.reads(height)] == ["disputed"]
    height = world.head.height
    for node in nodes.values():
        node.logs[world.head.hash] = []
    one.grow(world)
    for node in nodes.values():
        node.logs.clear()
    one.grow(world, CONFIRMED)
    assert [event[1] for event in one.reads(height)] == ["different"]
    assert height not in one.wrong(world, 4)


def test_a_node_that_does_not_look_back_fails_quietly() -> None:
    """The read counts as failed, is not asked for again, and nothing else comes of it."""
    one, world, nodes = started()
    nodes["a"].look_back_epochs = FINAL - 1
    one.grow(world, 20)
    assert set(one.reads()) == {("confirmed", "same", ()), ("final", "failed", ())}
    assert {type(event).__name__ for event in one.events} <= {"Reread", "Answered", "Live", "Sought", "Announced"}
    one.check(world, 3)


def test_a_silent_node_is_asked_some_times_and_then_left() -> None:
    """Live work goes on meanwhile, and the tipsets behind it get their turn."""
    one, world, nodes = started(policy=Policy(reread_depth_epochs=CONFIRMED, request_timeout_seconds=2.0))
    one.grow(world, CONFIRMED - 1)
    nodes["a"].mute = True
    world.advance(0)
    one.tell("a", nodes["a"].see(world.head))
    one.settle(0.5)
    nodes["a"].mute = False
    one.settle(5)
    one.check(world, 3)
    assert len(one.reads()) == 1


def test_one_tipset_at_a_time() -> None:
    """After an outage many are due: never is more than one of them asked about."""
    one, world, nodes = started(policy=Policy(reread_depth_epochs=30))
    one.grow(world, 25)
    world.advance(*[0] * 20)
    one.tell("a", nodes["a"].see(world.head))
    most = 0
    for _ in range(4000):
        one.step()
        most = max(most, sum(1 for key in one.follower._tasks._lines["a"].tasks if key[0] == "reread"))
        if one.pending:
            one.deliver()
    assert most == 1
    one.settle(5)
    assert len(one.reads()) == 16


def test_what_an_outage_held_up_too_long_is_skipped() -> None:
    """Counted, and nothing of it is kept any more."""
    one, world, nodes = started(policy=Policy(reread_depth_epochs=CONFIRMED))
    one.grow(world, 2)
    world.advance(LATE_EPOCHS + CONFIRMED + 1, 0)
    one.tell("a", nodes["a"].see(world.head))
    one.settle(5)
    assert one.reads() == [("confirmed", "skipped", ())] * 4
    one.grow(world, 10)
    assert len(one.follower._others.rereads._kept) == CONFIRMED


@pytest.mark.parametrize("native", [True, False])
def test_what_was_told_before_a_restart_is_compared_after_it(native: bool) -> None:
    """With its parent's height, after null rounds, too; what was corrected before it is published once more, in any case."""
    one, world, nodes = started(native=native)
    world.advance(2)
    nodes["a"].logs[world.head.hash] = []
    height = world.head.height
    one.tell("a", nodes["a"].see(world.head))
    one.grow(world)
    one.restart()
    nodes["a"].logs.clear()
    one.settle(1)
    one.grow(world, CONFIRMED)
    assert one.reads(height) == [("confirmed", "different", ("logs",))]
    assert one.wrong(world, 4) == set()
    one.check(world, 3)
    one.restart()
    one.settle(1)
    one.grow(world, FINAL)
    assert one.reads(height)[1:] == [("final", "repeated", ("messages", "receipts", "logs"))]
    assert one.reads(height + 1) == [("confirmed", "same", ()), ("final", "same", ())]
    assert one.wrong(world, 4) == set()
    one.check(world, 3)


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_tipset_that_comes_back_in_another_way_is_read_in_any_case(restarts: int) -> None:
    """After a fork it is told without its logs, which it had before: what was kept of the first time does not speak for what is stored."""
    one, world, nodes = started()
    lost, height = world.head.hash, world.head.height
    one.grow(world)
    old, world.head = world.head, world.grow(on=world.below(3))
    one.tell("a", nodes["a"].see(world.head))
    one.settle(1)
    nodes["a"].logs[lost] = []
    world.head = old
    one.tell("a", nodes["a"].see(world.head))
    one.settle(1)
    assert one.told[lost].content == UNSURE
    assert one.wrong(world, 4) == {height}
    for _ in range(restarts):
        one.restart()
        one.settle(1)
    nodes["a"].logs.clear()
    one.grow(world, FINAL + 1)
    assert one.wrong(world, 4) == set()
    one.check(world, 3)


def test_what_nobody_kept_is_skipped_after_a_restart() -> None:
    """As where an older release published it; what is published from then on is read again."""
    one, world, nodes = started()
    nodes["a"].logs[world.head.hash] = []
    lost = world.head.height
    one.grow(world)
    one.told.clear()
    one.restart()
    nodes["a"].logs.clear()
    one.settle(1)
    one.grow(world, FINAL + CONFIRMED)
    assert one.reads(lost) == [("confirmed", "skipped", ()), ("final", "skipped", ())]
    assert one.reads(lost + 2) == [("confirmed", "same", ()), ("final", "same", ())]
    assert one.wrong(world, 4) == {lost}


def test_a_reorg_takes_back_what_was_read() -> None:
    """A tipset that is undone is not published again, although it was read, and differs; its successor is read by itself."""
    one, world, nodes = started()
    nodes["a"].logs[world.head.hash] = []
    one.grow(world, CONFIRMED)
    fork = world.below(CONFIRMED + 1)
    nodes["a"].logs.clear()
    for _ in range(CONFIRMED + 3):
        fork = world.grow(on=fork)
    old, world.head = world.head, fork
    rereads = one.follower._others.rereads
    one.tell("a", nodes["a"].see(world.head))
    one.settle(5)
    assert rereads.next() is None
    one.check(world, 3)
    assert one.wrong(world, 4) == set()
    world.head = old
    one.tell("a", nodes["a"].see(world.head))
    one.grow(world, 12)
    one.check(world, 3)
    assert one.wrong(world, 4) == set()


def test_a_correction_that_waits_is_taken_back() -> None:
    """A tipset was read again and waits for its number as the reorg comes: it never gets one."""
    one, world, nodes = started()
    nodes["a"].logs[world.head.hash] = []
    one.grow(world)
    nodes["a"].logs.clear()
    rereads = one.follower._others.rereads
    one.grow(world, CONFIRMED - 1)
    world.advance(0)
    one.tell("a", nodes["a"].see(world.head))
    for _ in range(100):
        one.follower.tick(one.now)
        one.send()
        if one.pending:
            one.deliver()
        elif not rereads._ready:
            one.follower.next_record()
    rereads.rewound(rereads._ready[0].assembled.link.height - 1)
    assert rereads.next() is None


@pytest.mark.parametrize("native", [True, False])
def test_a_reorg_that_was_missed_is_found(native: bool) -> None:
    """The node moved to another fork and did not say so: a tipset that does not stand at its height makes us ask for its head."""
    one, world, nodes = started(native=native)
    one.grow(world, CONFIRMED)
    fork = world.below(CONFIRMED + 1)
    for _ in range(CONFIRMED + 2):
        fork = world.grow(on=fork)
    told, world.head = world.grow(), fork
    one.tell("a", nodes["a"].see(told))
    nodes["a"].head = fork
    one.settle(5)
    assert ("confirmed", "different", ("chain",)) in one.reads()
    one.check(world, 3)


def late(one: Read, world: World, data: st.DataObject) -> None:
    """The head's logs are not told, or not as they are."""
    told = data.draw(st.sampled_from([[], [{**LOG, "data": "0x77"}]]))
    one.nodes["a"].logs[world.head.hash] = told  # type: ignore[attr-defined]


def fork(one: Read, world: World, data: st.DataObject) -> None:
    """Another fork wins."""
    tip = world.below(data.draw(st.integers(1, 6)))
    tip = tip if tip.height > 4 else world.head
    for nulls in data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=8)):
        tip = world.grow(nulls, on=tip)
    world.head = tip


ACTIONS: dict[str, Callable[[Read, World, st.DataObject], object]] = {
    "grow": lambda one, world, data: world.advance(data.draw(st.integers(0, 2))),
    "late": late,
    "told": lambda one, world, data: one.nodes["a"].logs.clear(),  # type: ignore[attr-defined]
    "fork": fork,
    "drop": lambda one, world, data: one.drop("a"),
    "restart": lambda one, world, data: one.restart(),
    "incomplete": lambda one, world, data: setattr(one.nodes["a"], "incomplete_reads", data.draw(st.integers(0, 6))),
    "look back": lambda one, world, data: setattr(one.nodes["a"], "look_back_epochs", data.draw(st.sampled_from([None, 6]))),
}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_schedule_ends_exact(data: st.DataObject) -> None:
    """Whatever was told late, between forks, drops and restarts, ends right, unless it was told after the last read, or that failed."""
    world = World()
    world.advance(0, 0, 0, 0)
    one = Read({"a": Late(world, native=data.draw(st.booleans()))}, POLICY)
    one.rng = random.Random(data.draw(st.integers(0, 2**16)))
    one.settle(1)
    for action in data.draw(st.lists(st.sampled_from(sorted(ACTIONS)), max_size=25)):
        ACTIONS[action](one, world, data)
        one.tell("a", one.nodes["a"].see(world.head))
        one.hurry(data.draw(st.integers(0, 60)))
    for name in ("told", "grow"):
        ACTIONS[name](one, world, data)
    one.nodes["a"].look_back_epochs, one.nodes["a"].incomplete_reads = None, 0
    one.settle(30)
    one.grow(world, FINAL + 2)
    one.settle(60)
    one.check(world, 4)
    last = {event.height: event.result for event in one.events if isinstance(event, Reread)}
    assert not [event for event in one.events if isinstance(event, Reread) and event.result == "skipped"]
    honest, chain = one.nodes["a"].honest, world.canonical()  # type: ignore[attr-defined]
    assert {height for height in one.wrong(world, 4) if last.get(height) in {"same", "different"} and honest[chain[height]]} == set()
    assert len(one.follower._others.rereads._kept) <= FINAL + 1


def test_a_store_that_comes_back_older_is_not_taken_for_corrected() -> None:
    """Where to go on is told anew: nothing that was known before counts."""
    one, world, _ = started()
    one.grow(world, 2)
    tips = tuple(Published(height, block) for height, block in sorted(one.registers.chain("tipsets").items()))
    one.follower.resume(Position(2, tips, one.reserved, Memory()))
    assert all(kept.told is None for kept in one.follower._others.rereads._kept.values())
