"""Questions: what is asked on the way along a path, and that it is asked once."""

from streams.chain import Extends, Gap, Link, Published
from streams.endpoints import Endpoint, Target
from streams.enrich import Assembled
from streams.events import Policy
from streams.memory import Memory
from streams.pursuit import Pursuit
from streams.questions import Questions
from streams.wire import EthBlock


def block(height: int) -> str:
    return f"0x{height:064x}"


def link(height: int) -> Link:
    return Link(height, block(height), block(height - 1))


def assembled(height: int, complaint: str | None = None) -> Assembled:
    place = link(height)
    return Assembled(place, EthBlock(place.hash, place.parent_hash, hex(height), hex(30 * height), "0x64", []), {}, None, complaint)


def pursuit_of(top: int) -> Pursuit:
    """A pursuit whose path is 2 … top."""
    pursuit = Pursuit(100)
    pursuit.resume([Published(1, block(1))], 1)
    for height in range(2, top + 1):
        pursuit.learn(link(height))
    pursuit.replan(Target(block(top), (), (), top))
    assert Extends(tuple(pursuit.path)) == Extends(tuple(link(height) for height in range(2, top + 1)))
    return pursuit


def test_so_many_tipsets_are_asked_ahead() -> None:
    """The lowest of the path that are not there yet, no more than the policy allows."""
    questions, pursuit = Questions(Policy(concurrency=3)), pursuit_of(9)
    asked = [key for key, _ in questions.tipsets(Endpoint("one"), pursuit, Memory())]
    assert asked == [("tipset", block(height)) for height in (2, 3, 4)]
    questions.accept(asked[1], assembled(3), 0.0)
    assert block(3) in questions
    assert [key for key, _ in questions.tipsets(Endpoint("one"), pursuit, Memory())] == [asked[0], asked[2]]
    assert questions.take(block(3)).link == link(3)
    assert block(3) not in questions


def test_each_height_of_a_gap_is_asked_once() -> None:
    """Until the connection is another; a node that can not be asked by height is asked for the missing link alone."""
    questions, leader, target = Questions(Policy()), Endpoint("one"), Target(block(50), (), (), 50)
    gap = Gap(block(50), (), None)
    keys = [[key for key, _ in questions.links(leader, target, gap, range(48, 45, -1))] for _ in range(2)]
    assert keys == [[("link", block(50)), ("at", 48), ("at", 47), ("at", 46)], [("link", block(50))]]
    questions.clear()
    assert len(questions.links(leader, target, gap, range(48, 45, -1))) == 4
    leader.counts_heights = False
    questions.clear()
    assert len(questions.links(leader, target, gap, range(48, 45, -1))) == 1


def test_what_no_plan_needs_is_forgotten() -> None:
    """What lacks something is not there until it was asked for again; what is off the path goes."""
    questions, pursuit = Questions(Policy(incomplete_retries=1)), pursuit_of(5)
    key = ("tipset", block(5))
    questions.accept(key, assembled(5, "a receipt is missing"), 0.0)
    assert block(5) not in questions
    questions.accept(key, assembled(5, "a receipt is missing"), 9.0)
    questions.accept(("tipset", block(90)), assembled(90), 9.0)
    questions.forget(pursuit)
    assert [height for height in range(2, 100) if block(height) in questions] == [5]
