"""Nodes that refuse: what may pass is asked for again, what does not is left missing, and neither costs anything else."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from streams.chain import FINALITY_EPOCHS
from streams.events import OutOfReach, Policy, Reorg, Skipped
from tests.node.world import Node, World, cid
from tests.streams.test_follower import Harness


class Refusing(Node):
    """A node that answers some questions with an error, as long as it is told so."""

    refuses: Callable[[str, list[Any]], tuple[int, str] | None] = staticmethod(lambda *_: None)

    def answer(self, frame: bytes) -> list[bytes]:
        """As any node, or with the error."""
        asked = json.loads(frame)
        error = self.refuses(asked["method"], asked["params"])
        return [self._error(asked["id"], *error)] if error is not None else super().answer(frame)


def started(*, policy: Policy | None = None, names: str = "a") -> tuple[Harness, World, dict[str, Refusing]]:
    """Nodes of one world at height 60, followed from its newest tipset on for a while."""
    world = World()
    world.advance(*[0] * 20)
    nodes = {name: Refusing(world) for name in names}
    one = Harness(dict(nodes), policy)
    one.settle(1)
    for _ in range(40):
        grow(one, world)
    return one, world, nodes


def grow(one: Harness, world: World, seconds: float = 1.0) -> None:
    """One more tipset, which the nodes that are not down see."""
    world.advance(0)
    for name, node in one.nodes.items():
        if name not in one.down:
            one.tell(name, node.see(world.head))
    one.settle(seconds)


def away(one: Harness, world: World, epochs: int) -> None:
    """The chain goes on, and nobody is there to tell."""
    one.drop("a")
    one.down.add("a")
    one.settle(1)
    world.advance(*[0] * epochs)
    one.nodes["a"].head = world.head
    one.down.clear()


def missing(one: Harness, world: World) -> list[int]:
    """Heights of the chain, from the first that was followed, that are not held."""
    held = one.registers.chain("tipsets")
    return [height for height in range(20, world.head.height) if height not in held]


def test_a_limit_of_questions_costs_no_height() -> None:
    """A gateway that has had enough for ten seconds, after an outage longer than finality."""
    one, world, nodes = started()
    away(one, world, 1500)
    asked = 0
    until = 0.0

    def limited(method: str, _: list[Any]) -> tuple[int, str] | None:
        nonlocal asked, until
        if method != "eth_getBlockReceipts":
            return None
        asked += 1
        until = one.now + 10 if asked == 100 else until
        return (429, "too many requests") if asked >= 100 and one.now < until else None

    nodes["a"].refuses = limited
    one.settle(120)
    assert missing(one, world) == []
    assert not [event for event in one.events if isinstance(event, OutOfReach | Skipped | Reorg)]


def test_a_tipset_that_is_refused_for_good_is_left_out_alone() -> None:
    """The node of a chain that goes on holds everybody up for a minute, and costs its height."""
    one, world, nodes = started()
    world.advance(0)
    broken = world.head
    nodes["a"].refuses = lambda method, said: (
        (-32000, "failed to load events") if method == "eth_getBlockReceipts" and said[0] == broken.hash else None
    )
    one.tell("a", nodes["a"].see(broken))
    for _ in range(6):
        grow(one, world, 30)
    assert missing(one, world) == [broken.height]
    assert [event.height for event in one.events if isinstance(event, Skipped)] == [broken.height]
    assert not [event for event in one.events if isinstance(event, OutOfReach | Reorg)]


@pytest.mark.parametrize("trouble", ["eth_getBlockReceipts", "eth_getBlockByHash"])
def test_a_node_in_trouble_for_ten_minutes_costs_nothing(trouble: str) -> None:
    """It announces heads and tells nothing of them: what it tells afterwards is published, nothing is undone."""
    one, world, nodes = started()
    nodes["a"].refuses = lambda method, _: (-32000, "internal error") if method == trouble else None
    for _ in range(20):
        grow(one, world, 30)
    tip = one.follower.tip
    assert tip is not None
    assert tip.height == 59
    nodes["a"].refuses = lambda *_: None
    grow(one, world, 90)
    assert missing(one, world) == []
    assert not [event for event in one.events if isinstance(event, OutOfReach | Skipped | Reorg)]


@pytest.mark.parametrize("gap", [600, 1500])
def test_a_node_that_looks_back_less_than_finality(gap: int) -> None:
    """What it does not have is left missing, and the chain is followed on from there; what was known long before is not trusted then."""
    one, world, nodes = started()
    away(one, world, gap)
    nodes["a"].look_back_epochs = 500
    one.settle(60)
    for _ in range(8):
        grow(one, world, 30)
    lost = missing(one, world)
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert lost[0] > 59 or gap > FINALITY_EPOCHS
    assert 60 + gap - 500 - 20 < lost[-1] < 60 + gap - 500 + 20
    grow(one, world)
    assert world.head.parent is not None
    assert one.registers.chain("tipsets")[world.head.parent.height] == world.head.parent.hash


def test_a_head_that_nobody_has_does_not_make_others_final() -> None:
    """A witness that lied and went away leaves nothing behind: the newest tipset is asked for until the node tells it."""
    one, world, nodes = started(policy=Policy(witnesses=1), names="ab")
    block = {"Parents": [cid("nobody")], "Height": 2**47, "Timestamp": 30}
    tipset = {"Cids": [cid("liar")], "Blocks": [block], "Height": 2**47}
    one.tell("b", [json.dumps({"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [1, [{"Type": "current", "Val": tipset}]]}).encode()])
    one.drop("b")
    one.down.add("b")
    late = one.now + 15
    nodes["a"].refuses = lambda method, _: (1, "failed to get receipts") if method == "eth_getBlockReceipts" and one.now < late else None
    grow(one, world, 60)
    grow(one, world, 60)
    assert missing(one, world) == []
    assert not [event for event in one.events if isinstance(event, OutOfReach | Reorg)]


def test_who_vouches_slowly_makes_nobody_else_busy() -> None:
    """A tipset that waits for its quorum is not asked for again meanwhile."""
    one, world, nodes = started(policy=Policy(witnesses=1, receipts_quorum=2), names="ab")
    asked = 0

    def counting(method: str, _: list[Any]) -> None:
        nonlocal asked
        asked += method == "eth_getBlockReceipts"

    nodes["a"].refuses = counting
    world.advance(0)
    for name, node in nodes.items():
        one.tell(name, node.see(world.head))
    held_up: list[tuple[str, int, bytes]] = []
    for _ in range(60):
        one.step()
        answers, one.pending = one.pending, []
        one.now += 0.05
        for name, number, frame in answers:
            if name == "b":
                held_up.append((name, number, frame))
            else:
                one.follower.receive(name, frame, one.now)
    assert held_up
    assert asked == 1
    for name, _, frame in held_up:
        one.follower.receive(name, frame, one.now)
    one.settle(1)
    assert missing(one, world) == []
