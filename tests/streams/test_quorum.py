"""The quorum: a tipset waits until enough nodes tell the same of it, or none of them will."""

from streams.chain import Link
from streams.enrich import Assembled, assemble
from streams.memory import Memory
from streams.quorum import Quorum
from streams.witnesses import digest
from tests.node.asking import ask, by_node
from tests.node.world import Node, World


def tipset() -> Assembled:
    """All about a tipset."""
    world = World()
    world.advance(0, 0)
    tip = world.head.parent
    assert tip is not None
    link = Link(tip.height, tip.hash, tip.parent.hash if tip.parent is not None else "")
    return ask(assemble(link, None, Memory(), native=False), by_node(Node(world, native=False)))


def test_without_a_quorum_nobody_is_asked() -> None:
    """One node is enough: what it tells is settled at once."""
    quorum, one = Quorum(1), tipset()
    assert quorum.hold(one, ["b", "c"]) == []
    assert list(quorum.settled()) == [one]
    assert list(quorum.settled()) == []


def test_a_tipset_waits_for_its_vouchers() -> None:
    """As soon as enough tell the same it goes, whatever the others say."""
    quorum, one = Quorum(3), tipset()
    same = digest(one.receipts.values())
    assert quorum.hold(one, ["b", "c", "d"]) == ["b", "c", "d"]
    quorum.vouched("b", one.link.hash, same)
    quorum.vouched("b", one.link.hash, same)
    quorum.vouched("stranger", one.link.hash, same)
    quorum.vouched("c", one.link.hash, b"other")
    assert list(quorum.settled()) == []
    quorum.vouched("d", one.link.hash, same)
    assert list(quorum.settled()) == [one]


def test_without_enough_vouchers_it_complains() -> None:
    """When all have answered or are gone; a complaint of its own comes first."""
    quorum, one = Quorum(3), tipset()
    quorum.hold(one, ["b", "c"])
    quorum.vouched("b", one.link.hash, digest(one.receipts.values()))
    quorum.gone("c")
    assert [found.complaint for found in quorum.settled()] == ["2 of 3 nodes tell these receipts"]
    quorum.hold(one, [])
    assert [found.complaint for found in quorum.settled()] == ["1 of 3 nodes tell these receipts"]
    quorum.vouched("b", one.link.hash, None)
    assert list(quorum.settled()) == []
