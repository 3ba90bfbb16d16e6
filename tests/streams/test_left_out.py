"""What a walk leaves out, and when."""

import pytest

from streams.chain import Link
from streams.events import Skipped
from streams.left_out import IN_A_ROW, PATIENCE, LeftOut
from tests.node.world import World

WORLD = World()
WORLD.advance(*[0] * 20)
PATH = [Link(tip.height, tip.hash, tip.parent.hash if tip.parent else "") for tip in WORLD.head.ancestors()]
"""From the head down."""


def refusing(*places: int) -> LeftOut:
    """What leaves out these places of the path, once it is decided."""
    left = LeftOut()
    for place in places:
        left.refused(PATH[place].hash, "no")
    return left


def test_it_is_decided_by_what_is_told_below() -> None:
    """Nothing is left out before a tipset further down is told, and what is beside it unknown is not judged."""
    left = refusing(1, 2, 5)
    assert all(PATH[place].hash in left for place in (1, 2, 5))
    assert left.decide(PATH, {PATH[0].hash}, ended=False) == ([], None)
    assert left.decide(PATH, {PATH[3].hash}, ended=False) == ([Skipped(PATH[place].height, "no") for place in (1, 2)], None)
    assert [left.is_passed(PATH[place].hash) for place in (1, 2, 5)] == [True, True, False]
    assert left.decide(PATH[:6], (), ended=True) == ([Skipped(PATH[5].height, "no")], None)
    assert left.decide(PATH[:6], (), ended=True) == ([], None)


def test_many_in_a_row_are_the_end() -> None:
    """The first of the row is told, and none of it is left out; one that is told between them makes two rows."""
    places = range(2, 2 + IN_A_ROW)
    assert refusing(*places).decide(PATH, (), ended=True) == ([], PATH[2])
    assert refusing(*places[:-1]).decide(PATH[: places[-1]], (), ended=True)[1] is None
    assert refusing(*places, 9).decide(PATH[:3] + PATH[9:], {PATH[8].hash}, ended=False)[1] is None


def test_a_silence_counts_where_the_node_talks_otherwise() -> None:
    """However often it is silent altogether, that counts once."""
    left, block = LeftOut(), PATH[3].hash
    assert not left.is_alone(block)
    for _ in range(3 * PATIENCE):
        left.silent(block, "no answer")
        assert left.is_alone(block)
    for _ in range(PATIENCE - 1):
        assert block not in left
        left.heard()
        assert not left.is_alone(block)
        left.silent(block, "no answer")
    assert block in left


@pytest.mark.parametrize("place", [0, 4])
def test_what_is_too_long_is_left_out_at_once(place: int) -> None:
    """Nobody needs to tell what is below; another walk knows nothing of it."""
    left = LeftOut()
    assert left.too_long(PATH[place], "long") == Skipped(PATH[place].height, "long")
    assert left.is_passed(PATH[place].hash)
    left.clear()
    assert PATH[place].hash not in left
