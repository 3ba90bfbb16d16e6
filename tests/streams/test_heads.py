"""Heads: what an endpoint announces becomes its target, whichever way it tells."""

import pytest

from streams.chain import Link, Published
from streams.endpoints import Endpoint, Phase
from streams.errors import Refusal
from streams.events import Announced
from streams.heads import Heads
from streams.publication import Publication
from streams.pursuit import Pursuit
from streams.rpc import ChannelClosed, Notice, Session
from streams.streamed import StreamedLogs
from tests.node.world import Node, World


def heads() -> tuple[Heads, Pursuit]:
    """Nothing is known yet."""
    pursuit = Pursuit(100)
    return Heads(pursuit, Publication(), StreamedLogs()), pursuit


def notices(frames: list[bytes]) -> list[Notice]:
    """What frames tell."""
    session = Session()
    return [said for frame in frames for said in session.receive(frame) if not isinstance(said, tuple)]


@pytest.mark.parametrize("native", [True, False])
def test_a_head_is_a_target(native: bool) -> None:
    """The newest executed tipset: the parent of the native head, or what newHeads tells; the same one is announced once."""
    world = World()
    node = Node(world, native=native)
    some, pursuit = heads()
    endpoint = Endpoint("a", Phase.LIVE, native=native)
    if native:
        (current,) = notices([node.notice([("current", node.head)])])
        some.notice(endpoint, current, 1.0)
    world.advance(0, 0)
    pursuit.stale = False
    told = notices(node.see(world.head))
    for notice in told if native else [*told, told[-2]]:
        assert not some.notice(endpoint, notice, 2.0)
    executed = world.head.parent
    assert executed is not None
    assert endpoint.target is not None
    assert endpoint.target.hash == executed.hash
    assert endpoint.heard_at == 2.0
    assert pursuit.stale
    announced = some.take()
    assert announced[-1] == Announced("a", endpoint.target.head_height)
    assert len(announced) == len(set(announced))
    assert some.take() == []


def test_a_native_node_is_led_by_its_channel() -> None:
    """What newHeads says beside it moves nothing."""
    world = World()
    node = Node(world)
    some, _ = heads()
    endpoint = Endpoint("a", Phase.LIVE, native=True)
    (notice,) = notices([node.notice([("current", node.head)])])
    some.notice(endpoint, notice, 1.0)
    target = endpoint.target
    world.advance(0, 0, 0)
    for beside in notices(node.see(world.head)[:-1]):
        assert not some.notice(endpoint, beside, 2.0)
    assert endpoint.target == target


def test_a_head_below_the_tip_has_to_be_asked_about() -> None:
    """It went down, or the notice came late; the answer is believed."""
    some, pursuit = heads()
    endpoint = Endpoint("a", Phase.LIVE)
    lower, higher = Link(5, "0x5", "0x4"), Link(6, "0x6", "0x5")
    pursuit.resume([Published(link.height, link.hash) for link in (lower, higher)], None)
    assert not some.new_head(endpoint, higher, 1.0)
    assert some.new_head(endpoint, lower, 2.0)
    assert endpoint.target is not None
    assert endpoint.target.hash == higher.hash
    some.latest(endpoint, lower, 3.0)
    assert endpoint.target.hash == lower.hash


def test_a_closed_channel_is_a_refusal() -> None:
    """The node tells no more: the connection is of no use."""
    some, _ = heads()
    with pytest.raises(Refusal, match="closed"):
        some.notice(Endpoint("a", Phase.LIVE), ChannelClosed(), 1.0)
