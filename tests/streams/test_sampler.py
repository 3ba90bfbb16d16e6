"""The sampler: each executed tipset has its samples, whatever happens to heads and nodes, and nothing waits for them."""

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streams.chain import Link
from streams.errors import NodeFault
from streams.events import NoSample
from streams.follower import Follower
from streams.metrics import ProcessMetrics
from streams.observe import Observer
from streams.pools import PoolQuestions, View, pool_probes
from streams.records import StateRecord
from streams.rpc import Answer, Call, RpcError
from streams.sampler import ASKED_AT_ONCE, LARGEST_ANSWER_BYTES, MOST_WAITING, NEAR_EPOCHS, Sampler
from streams.sampling import Moment, Probe
from streams.tasks import Fetch
from streams.wire import Actor, Cid, read
from tests.node.asking import ask, told
from tests.node.world import RISE, Node, World
from tests.streams.test_follower import Harness


def burnt(moment: Moment) -> Fetch[Mapping[str, int]]:
    """The balance of f099 after the tipset."""
    (answer,) = yield (Call("Filecoin.StateGetActor", ("f099", moment.child_key)),)
    return {"burnt": int(read(answer.required(), Actor, "StateGetActor").balance)}


def height(moment: Moment) -> Fetch[Mapping[str, int]]:
    """The height itself, after a question that any node answers."""
    (answer,) = yield (Call("eth_chainId"),)
    answer.required()
    return {"height": moment.height}


def wrong(_: Moment) -> Fetch[Mapping[str, int]]:
    """A question that no node knows."""
    (answer,) = yield (Call("eth_nothing"),)
    answer.required()
    return {}


BURNT = Probe("burnt", 1, native=True, ask=burnt)
HEIGHT = Probe("height", 3, native=False, ask=height)
WRONG = Probe("wrong", 1, native=False, ask=wrong)


def held(one: Harness) -> dict[int, StateRecord]:
    """The state records of which the registers hold the hash."""
    chain = one.registers.chain("state")
    return {record.height: record for record in one.taken if isinstance(record, StateRecord) and chain.get(record.height) == record.hash}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.lists(st.integers(0, 2), min_size=1, max_size=4)),
        st.tuples(st.just("fork"), st.tuples(st.integers(1, 5), st.lists(st.integers(0, 2), min_size=1, max_size=4))),
        st.tuples(st.just("drop"), st.sampled_from("ab")),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
    ),
    max_size=12,
)


def play(one: Harness, world: World, step: tuple[str, Any]) -> None:
    """One thing happens."""
    match step:
        case "grow", nulls:
            world.advance(*nulls)
        case "fork", (depth, nulls):
            tip = world.below(depth)
            for count in nulls:
                tip = world.grow(count, on=tip)
            world.head = tip
        case "drop", name:
            one.drop(name)
        case "restart", _:
            one.restart()
        case "wait", seconds:
            one.settle(seconds)
    for name, node in one.nodes.items():
        one.tell(name, node.see(world.head))
    one.step()
    for _ in range(5):
        if one.pending:
            one.deliver()
        one.step()


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**32))
def test_whatever_happens_every_tipset_has_the_samples_of_its_state(steps: list[tuple[str, Any]], seed: int) -> None:
    """After growth, reorgs, lost nodes and restarts: no sample of an orphan, none that is wrong; without a restart none that lacks."""
    world = World()
    world.advance(*[0] * 5)
    one = Harness({name: Node(world) for name in "ab"}, rng=random.Random(seed), probes=(BURNT, HEIGHT))
    one.settle(30)
    for step in steps:
        play(one, world, step)
    world.advance(0, 0)
    for name, node in one.nodes.items():
        one.tell(name, node.see(world.head))
    one.settle(200)
    canonical = world.canonical()
    tips = {tip.height: tip for tip in world.head.ancestors()}
    records = held(one)
    for at, record in records.items():
        assert canonical[at] == record.hash
        assert record.samples.get("burnt", tips[at].burnt + RISE) == tips[at].burnt + RISE
        assert record.samples.get("height", at) == at
        assert not record.failed
    if all(kind != "restart" for kind, _ in steps):
        published = set(one.registers.chain("tipsets"))
        assert {at for at, record in records.items() if "burnt" in record.samples} == published
    assert one.follower.sampled


def test_a_node_without_filecoin_methods_is_asked_what_it_knows() -> None:
    """Native probes give neither sample nor failure there."""
    world = World()
    world.advance(*[0] * 5)
    one = Harness({"a": Node(world, native=False)}, probes=(BURNT, HEIGHT))
    one.settle(5)
    for _ in range(9):
        world.advance(0)
        one.tell("a", one.nodes["a"].see(world.head))
        one.settle(5)
    records = held(one)
    assert sorted(at for at in records if at > 4) == [6, 9, 12]
    assert all(record.samples == {"height": at} and not record.failed for at, record in records.items())
    assert not [event for event in one.events if isinstance(event, NoSample)]


def test_a_probe_that_fails_is_named_and_holds_up_nothing() -> None:
    """The record has the samples of the others, the endpoint is kept, and each failure is told."""
    world = World()
    world.advance(*[0] * 5)
    one = Harness({"a": Node(world)}, probes=(BURNT, WRONG))
    for _ in range(6):
        world.advance(0)
        one.tell("a", one.nodes["a"].see(world.head))
        one.settle(5)
    records = held(one)
    assert len(records) == 6
    assert all(record.failed == ("wrong",) and set(record.samples) == {"burnt"} for record in records.values())
    assert sum(isinstance(event, NoSample) and event.probe == "wrong" for event in one.events) == len(records)
    assert "a" in one.connected


def test_a_probe_that_is_never_answered_delays_no_tipset() -> None:
    """Tipsets are published at once; the record of the state comes when the time is up, without the sample."""
    world = World()
    world.advance(*[0] * 5)
    one = Harness({"a": Node(world)}, probes=(BURNT, HEIGHT))
    one.settle(5)
    answered = one.nodes["a"].answer
    one.nodes["a"].answer = lambda frame: [] if json.loads(frame)["method"] == "eth_chainId" else answered(frame)  # type: ignore[method-assign]
    world.advance(0)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(2)
    world.advance(0)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(2)
    assert max(one.registers.chain("tipsets")) == 6
    assert 6 not in held(one)
    one.settle(60)
    assert held(one)[6].failed == ("height",)
    assert set(held(one)[6].samples) == {"burnt"}


POOL = "0x" + "d0" * 20
BAD: dict[str, dict[str, Any] | None] = {
    "reverts": {"jsonrpc": "2.0", "error": {"code": 3, "message": "message execution failed (exit=[33])", "data": "0x08c379a0"}},
    "never answers": None,
    "garbage": {"jsonrpc": "2.0", "result": {"amount": "many"}},
    "ten megabytes": {"jsonrpc": "2.0", "result": "0x" + "0" * 10_000_000},
}


@pytest.mark.parametrize("kind", BAD)
def test_a_pool_that_does_not_tell_is_counted_and_skipped(kind: str) -> None:
    """It reverts, times out, says what is no amount, or does not stop: no sample, one failure, the rest goes on; then it is asked again."""
    pool = PoolQuestions("one", POOL, assets=(View(POOL, "totalAssets()"),), every_epochs=1)
    assets = next(probe for probe in pool_probes(pool) if probe.name == "pool:one")
    world = World()
    world.advance(*[0] * 5)
    one = Harness({"a": Node(world)}, probes=(BURNT, assets))
    one.settle(5)
    answered = one.nodes["a"].answer
    well, before = False, len(one.events)

    def answer(frame: bytes) -> list[bytes]:
        asked = json.loads(frame)
        if asked["method"] != "eth_call":
            return answered(frame)
        good = {"jsonrpc": "2.0", "result": "0x" + f"{5:064x}"}
        said: dict[str, Any] | None = good if well else BAD[kind]
        return [] if said is None else [json.dumps({**said, "id": asked["id"]}).encode()]

    one.nodes["a"].answer = answer  # type: ignore[method-assign]
    for at in (5, 6):
        world.advance(0)
        one.tell("a", one.nodes["a"].see(world.head))
        one.settle(60)
        assert max(one.registers.chain("tipsets")) == at
        well = True
    registry = CollectorRegistry()
    observe = Observer(Follower(["a"], network="testnet"), ProcessMetrics(registry))
    for event in one.events[before:]:
        if isinstance(event, NoSample):
            observe(event)
    first, second = held(one)[5], held(one)[6]
    assert (first.failed, set(first.samples)) == (("pool:one",), {"burnt"})
    assert (second.failed, second.samples["pool:one:assets_attofil"]) == ((), 5)
    assert registry.get_sample_value("pulse_probe_failures_total", {"network": "testnet", "probe": "pool:one"}) == 1
    assert "a" in one.connected


def test_a_long_gap_is_sampled_about_hourly() -> None:
    """Far below the head there is a point an hour, near it every probe keeps its cadence."""
    world = World()
    world.advance(*[0] * 3)
    one = Harness({"a": Node(world)}, probes=(BURNT,))
    one.settle(5)
    world.advance(*[0] * 700)
    one.tell("a", one.nodes["a"].see(world.head))
    one.settle(120)
    heights = sorted(held(one))
    assert heights[1:5] == [120, 240, 360, 480]
    assert heights[5:] == list(range(703 - NEAR_EPOCHS, 703))


def link(at: int) -> Link:
    key = (Cid(f"b{'a' * (at % 100)}{at // 100 * 'b'}"),)
    return Link(at, f"0x{at:064x}", f"0x{at - 1:064x}", key, (), 30 * at)


def test_what_waits_is_bounded() -> None:
    """The newest are asked about first, and no more are kept than can be caught up with."""
    sampler = Sampler((Probe("one", 1, native=True, ask=burnt),))
    for at in range(1, 2 * MOST_WAITING):
        sampler.published(link(at), at - 1, at, 0.0)
    asked = [key for key, _ in sampler.questions(native=True)]
    assert len(asked) == ASKED_AT_ONCE - 1  # the newest one's child is not known yet
    assert asked[0] == ("probe", (link(2 * MOST_WAITING - 2).hash, "one"))
    sampler.rewound(-1)
    assert sampler.idle
    sampler.answered(asked[0], {"late": 1})
    assert sampler.take() is None


@pytest.mark.parametrize("result, gives", [("0x10", True), ("0x" + "1" * 65, False), ("0x" + "1" * LARGEST_ANSWER_BYTES, False)])
def test_an_answer_is_taken_within_reason(result: str, gives: bool) -> None:
    """Ten megabytes, or a number that no contract can hold, are no sample."""

    def number(_: Moment) -> Fetch[Mapping[str, int]]:
        (answer,) = yield (Call("eth_call"),)
        return {"number": int(json.loads(bytes(answer.required())), 16)}

    sampler = Sampler((Probe("number", 1, native=False, ask=number),))
    sampler.published(link(5), None, 5, 0.0)
    ((key, fetch),) = sampler.questions(native=True)
    try:
        sampler.answered(key, ask(fetch(), lambda call: told(call, result)))
    except NodeFault:
        assert sampler.failed(key) == ["number"]
    sampled = sampler.take()
    assert sampled is not None
    assert (sampled.samples, sampled.failed) == (({"number": 16}, []) if gives else ({}, ["number"]))


def test_an_error_is_no_sample() -> None:
    """A refusal reaches the probe as it is."""
    seen: list[Answer] = []

    def refused(_: Moment) -> Fetch[Mapping[str, int]]:
        seen.extend((yield (Call("eth_call"),)))
        return {}

    sampler = Sampler((Probe("one", 1, native=False, ask=refused),))
    sampler.published(link(5), None, 5, 0.0)
    ((_, fetch),) = sampler.questions(native=False)
    error = RpcError(3, "execution reverted")
    assert ask(fetch(), lambda call: Answer(call, None, error)) == {}
    assert seen[0].error == error
