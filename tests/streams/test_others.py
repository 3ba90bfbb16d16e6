"""Other endpoints beside the leader: compared with it, asked to vouch, asked where it is slow."""

import json

import pytest

from streams.events import Announced, Incomplete, Policy, WitnessSays
from tests.node.world import Node, World
from tests.streams.test_follower import Harness

POLICY = Policy(witnesses=2, compare_depth_epochs=2)


class Mute(Node):
    """Does not answer about blocks while it is told not to."""

    mute = False

    def answer(self, frame: bytes) -> list[bytes]:
        """As any node, or not at all."""
        if self.mute and json.loads(frame)["method"] == "eth_getBlockByHash":
            return []
        return super().answer(frame)


def grow(one: Harness, world: World, tipsets: int = 1) -> None:
    """The chain grows, and every node sees it."""
    for _ in range(tipsets):
        world.advance(0)
        for name, node in one.nodes.items():
            one.tell(name, node.see(world.head))
        one.settle(3)


def started(policy: Policy, *, native: bool = True) -> tuple[Harness, World]:
    """Three nodes of a world that agree."""
    world = World()
    world.advance(0, 0, 0)
    one = Harness({name: Mute(world, native=native) for name in "abc"}, policy)
    one.settle(3)
    return one, world


def verdicts(one: Harness) -> set[tuple[str, str]]:
    return {(event.endpoint, event.verdict) for event in one.events if isinstance(event, WitnessSays)}


@pytest.mark.parametrize("native", [True, False])
def test_witnesses_that_agree_say_so(native: bool) -> None:
    """Each tipset is compared with each witness once it is deep enough; heads are told of all."""
    one, world = started(POLICY, native=native)
    grow(one, world, 6)
    assert verdicts(one) == {("b", "same"), ("c", "same")}
    heights = [event.height for event in one.events if isinstance(event, WitnessSays) and event.endpoint == "b"]
    assert heights == list(range(min(heights), max(heights) + 1))
    assert {event.endpoint for event in one.events if isinstance(event, Announced)} == {"a", "b", "c"}


def test_without_witnesses_nobody_else_is_asked() -> None:
    """The others are not even connected to."""
    one, world = started(Policy())
    grow(one, world, 6)
    assert verdicts(one) == set()
    assert set(one.connected) == {"a"}


def test_a_witness_with_other_receipts_is_told() -> None:
    """What is counted stays the leader's."""
    one, world = started(POLICY)
    one.nodes["b"].incomplete_reads = 10**6
    grow(one, world, 6)
    assert verdicts(one) == {("b", "receipts"), ("c", "same")}
    one.check(world, 4)


def test_a_witness_on_another_fork_is_told() -> None:
    """Once what differs lies deep."""
    one, world = started(POLICY)
    fork = world.head
    for _ in range(6):
        fork = world.grow(on=fork)
        one.tell("c", one.nodes["c"].see(fork))
    for _ in range(6):
        world.advance(0)
        for name in "ab":
            one.tell(name, one.nodes[name].see(world.head))
        one.settle(3)
    assert ("c", "chain") in verdicts(one)
    assert ("b", "same") in verdicts(one)


def test_a_quorum_waits_for_another_node() -> None:
    """With one that agrees a tipset is whole; with none it is published with a complaint, after trying again."""
    one, world = started(Policy(witnesses=2, receipts_quorum=2))
    one.nodes["b"].incomplete_reads = 10**6
    grow(one, world, 3)
    one.settle(30)
    assert not [event for event in one.events if isinstance(event, Incomplete)]
    one.nodes["c"].incomplete_reads = 10**6
    grow(one, world)
    one.settle(60)
    assert [event.complaint for event in one.events if isinstance(event, Incomplete)] == ["1 of 2 nodes tell these receipts"]
    one.check(world, 4)


def test_a_slow_leader_is_helped_out() -> None:
    """What it does not answer in a while another one is asked, long before the answer counts as lost."""
    one, world = started(Policy(witnesses=1, hedge_after_seconds=2.0))
    leader = one.nodes["a"]
    assert isinstance(leader, Mute)
    leader.mute = True
    began = one.now
    grow(one, world, 2)
    assert one.now - began < 10
    assert one.follower.head is not None
    one.check(world, 4)
