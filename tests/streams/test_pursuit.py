"""The pursuit: from what was published to a target, over what nodes told, and what they will never tell."""

from collections import deque

import pytest

from streams.chain import FINALITY_EPOCHS, Gap, Link, Published
from streams.endpoints import Target
from streams.errors import NodeFault
from streams.events import OutOfReach, Skipped
from streams.pursuit import PREFETCH_EPOCHS, ROUNDS, Pursuit
from streams.wire import BlockHeader, Cid, HeadChange, Tipset
from tests.node.world import Tip, World


def link(tip: Tip) -> Link:
    """The place of a tipset, as a Lotus tells it."""
    return Link.of_tipset(tipset(tip))


def tipset(tip: Tip) -> Tipset:
    parents = [Cid(one["/"]) for one in tip.parent.key] if tip.parent is not None else []
    return Tipset([Cid(one["/"]) for one in tip.key], [BlockHeader(parents, tip.height, 30 * tip.height)], tip.height)


def change(kind: str, tip: Tip) -> HeadChange:
    return HeadChange(kind, tipset(tip))


def published(*tips: Tip) -> tuple[Published, ...]:
    return tuple(Published(tip.height, tip.hash) for tip in tips)


def target(tip: Tip) -> Target:
    return Target(tip.hash, (), (), tip.height + 1)


def world(*nulls: int) -> tuple[World, list[Tip]]:
    """A chain, lowest first."""
    made = World()
    made.advance(*nulls)
    return made, list(made.head.ancestors())[::-1]


def pursuit(tips: list[Tip], look_back_epochs: int = 100) -> Pursuit:
    """A pursuit that knows the places of these tipsets."""
    one = Pursuit(look_back_epochs)
    for tip in tips:
        one.learn(link(tip))
    return one


def heights(one: Pursuit) -> list[int]:
    return [link.height for link in one.path]


def take(one: Pursuit) -> None:
    """Publish the whole path."""
    while one.path:
        one.published(one.path[0])


def test_the_first_target_is_where_it_starts() -> None:
    """Without anything published nothing below the first target is wanted, ever; nothing has to be undone."""
    _, tips = world(0, 0, 1, 0)
    one = pursuit(tips)
    one.resume((), None)
    one.replan(target(tips[2]))
    assert (heights(one), one.rewind_to, one.gap, one.stale) == ([2], None, None, False)
    take(one)
    one.replan(target(tips[4]))
    assert heights(one) == [4, 5]
    take(one)
    one.replan(target(tips[1]))
    assert heights(one) == [1]


def test_a_start_may_be_said() -> None:
    """Then all from there on is wanted, and nothing below."""
    _, tips = world(*[0] * 9)
    one = pursuit(tips)
    one.resume((), None, since=4)
    one.replan(target(tips[9]))
    assert heights(one) == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("reserved, top", [(None, 3), (2, 3), (7, 7)])
def test_what_an_earlier_run_may_have_left_is_undone_first(reserved: int | None, top: int) -> None:
    """Everything above the tip up to what was reserved, once; it is no reorg, since nothing known is undone."""
    _, tips = world(0, 0, 0, 0)
    one = pursuit(tips)
    one.resume(published(*tips[1:4]), reserved)
    one.replan(target(tips[4]))
    assert (one.rewind_to, heights(one)) == (3, [4])
    assert one.rewound(3) == (top, 0)
    take(one)
    one.replan(target(tips[4]))
    assert (one.rewind_to, heights(one)) == (None, [])


def test_a_run_that_only_reserved_is_undone_whole() -> None:
    """Nothing is known to be published, but something may be."""
    _, tips = world(0, 0)
    one = pursuit(tips)
    one.resume((), 6)
    one.replan(target(tips[2]))
    assert one.rewind_to == -1
    assert one.rewound(-1) == (6, 0)


def test_a_fork_tells_how_deep_it_was() -> None:
    """Back to the common tipset, over everything that was ever published above it."""
    made, tips = world(0, 0, 0, 0, 0)
    fork = made.grow(on=tips[3])
    one = pursuit([*tips, fork])
    one.resume(published(*tips[1:]), None)
    one.rewound(5)
    one.replan(target(fork))
    assert (one.rewind_to, list(one.path)) == (3, [link(fork)])
    assert one.rewound(3) == (5, 2)
    take(one)
    assert one.below_tip(tips[3].hash)
    assert not one.below_tip(fork.hash)
    assert not one.below_tip(tips[4].hash)


def test_a_gap_is_asked_for_from_above() -> None:
    """The next link by hash and key, and a stretch below it by height, not lower than what is published."""
    _, tips = world(*[0] * 200)
    for tip, lowest in ((119, 120), (9, 149 - PREFETCH_EPOCHS)):
        one = pursuit(tips[150:], look_back_epochs=1000)
        assert one.prefetch() == range(0)
        one.resume(published(*tips[1 : tip + 1]), None)
        one.replan(target(tips[200]))
        assert one.gap == Gap(tips[149].hash, link(tips[149]).key, 150)
        assert (one.path, one.rewind_to) == (deque(), None)
        assert list(one.prefetch()) == list(range(148, lowest - 1, -1))


def test_a_target_that_nobody_knows_is_the_gap() -> None:
    """With the key that the node told."""
    _, tips = world(0, 0)
    one = pursuit([])
    one.replan(Target(tips[2].hash, link(tips[2]).key, (), 3))
    assert one.gap == Gap(tips[2].hash, link(tips[2]).key, None)
    assert one.prefetch() == range(0)


def test_links_with_keys_are_preferred() -> None:
    """An eth header is replaced by the tipset, never the other way round; only news make the plan stale."""
    _, tips = world(0)
    native = link(tips[1])
    plain = Link(native.height, native.hash, native.parent_hash)
    one = pursuit([])
    one.learn(plain)
    one.replan(target(tips[1]))
    stale = []
    for told in (plain, native, plain):
        one.learn(told)
        stale.append(one.stale)
        one.stale = False
    assert stale == [False, True, False]
    assert one.links[native.hash] == native
    assert one.height_of(native.hash) == 1
    assert one.height_of("0x" + "99" * 32) is None


def test_what_is_doubted_is_forgotten() -> None:
    """One tipset, one that is not known, or all; nothing is published of the path until it is planned anew."""
    _, tips = world(0, 0, 0)
    one = pursuit(tips)
    one.resume(published(tips[1]), None)
    one.replan(target(tips[3]))
    assert heights(one) == [2, 3]
    one.doubt(tips[2].hash)
    assert (heights(one), one.stale) == ([], True)
    one.replan(target(tips[3]))
    assert one.gap is not None
    assert one.gap.wanted == tips[2].hash
    one.doubt("0x" + "99" * 32)
    one.doubt()
    assert one.links == {}


def test_links_that_contradict_each_other_are_all_forgotten() -> None:
    """Which of them is wrong nobody can say."""
    a, b = Link(5, "0xa", "0xb"), Link(5, "0xb", "0xa")
    one = Pursuit(100)
    one.resume((), None, since=1)
    one.learn(a)
    one.learn(b)
    with pytest.raises(NodeFault):
        one.replan(Target("0xa", (), (), 6))
    assert (one.links, one.path) == ({}, deque())


def test_changes_are_followed_step_by_step() -> None:
    """To the head that they end in, lower than before as well; executed is what something was laid on."""
    made, tips = world(0, 0, 0, 0)
    fork = made.grow(on=tips[2])
    one = pursuit([])
    head, executed = one.walk(None, [change("current", tips[2])])
    assert (head, executed) == (link(tips[2]), [])
    head, executed = one.walk(head, [change("apply", tips[3]), change("apply", tips[4])])
    assert (head, executed) == (link(tips[4]), [tips[2].hash, tips[3].hash])
    head, executed = one.walk(head, [change("revert", tips[4]), change("revert", tips[3])])
    assert (head, executed) == (link(tips[2]), [])
    head, executed = one.walk(link(tips[4]), [change("revert", tips[4]), change("revert", tips[3]), change("apply", fork)])
    assert (head, executed) == (link(fork), [tips[2].hash])
    assert one.walk(head, []) == (head, [])


@pytest.mark.parametrize(
    "kinds, reason",
    [
        (["revert"], "out-of-order notice: reverts height 4, which is not the head"),
        (["current", "revert"], "reverted below what was announced"),
        (["current", "revert", "revert"], "out-of-order"),
        (["sideways"], "unknown change 'sideways'"),
        ([], "reverted below what was announced"),
    ],
)
def test_changes_that_lead_nowhere_are_faults(kinds: list[str], reason: str) -> None:
    """A revert of something else than the head, or below all that is known, and steps of a kind that does not exist."""
    _, tips = world(0, 0, 0, 0)
    with pytest.raises(NodeFault, match=reason):
        pursuit([]).walk(None, [change(kind, tips[4]) for kind in kinds])


def test_a_resume_forgets_the_plan() -> None:
    """What was next on the way from one tail is not taken for next on the way from another."""
    _, tips = world(0, 0, 0, 0, 0)
    one = pursuit(tips)
    one.replan(target(tips[0]))
    take(one)
    one.replan(target(tips[-1]))
    assert one.path
    one.resume(published(tips[-1]), tips[-1].height)
    assert not one.path
    assert one.stale


def test_what_is_final_is_given_up_when_it_is_refused() -> None:
    """A height that nobody tells stays missing with all below it; what may still change is asked for again."""
    _, tips = world(*[0] * 1200)
    one = pursuit(tips[101:], look_back_epochs=5000)
    one.resume(published(*tips[1:50]), None)
    one.replan(target(tips[1200]))
    head = 1201
    final, recent = tips[head - FINALITY_EPOCHS - 1], tips[head - FINALITY_EPOCHS]
    assert one.refused(("link", tips[100].hash), "no", often=False, told_above=False) == []
    assert one.refused(("link", tips[100].hash), "no", often=True, told_above=False) == [OutOfReach(100)]
    assert one.refused(("link", tips[100].hash), "no", often=True, told_above=False) == []
    one.replan(target(tips[1200]))
    assert heights(one)[0] == 101
    assert one.refused(("tipset", recent.hash), "no", often=True, told_above=False) == []
    assert one.refused(("tipset", "0x" + "99" * 32), "no", often=True, told_above=False) == []
    assert one.refused(("tipset", final.hash), "no", often=False, told_above=False) == [OutOfReach(final.height)]
    one.replan(target(tips[1200]))
    assert heights(one)[0] == recent.height
    assert one.refused(("latest", 0), "no", often=True, told_above=False) == []


def test_once_something_is_published_every_refusal_may_pass_again() -> None:
    """A limit that was met once says nothing of the next outage."""
    _, tips = world(*[0] * 1200)
    one = pursuit(tips[1:], look_back_epochs=5000)
    one.resume(published(tips[1]), None)
    one.replan(target(tips[1200]))
    assert one.refused(("tipset", tips[2].hash), "no", often=True, told_above=False) == [OutOfReach(2)]
    one.replan(target(tips[1200]))
    one.published(one.links[tips[3].hash])
    assert one.refused(("tipset", tips[4].hash), "no", often=False, told_above=False) == []


@pytest.mark.parametrize("kind", ["link", "tipset"])
def test_what_is_refused_in_round_after_round_is_left_missing(kind: str) -> None:
    """Though it is not final: a tipset alone, a link with all below it, since what is there can not be known."""
    _, tips = world(*[0] * 140)
    one = pursuit(tips[21:] if kind == "link" else tips[1:], look_back_epochs=5000)
    one.resume(published(*tips[1:11]), None)
    one.replan(target(tips[140]))
    key = (kind, tips[20 if kind == "link" else 11].hash)
    said = [one.refused(key, "no", often=True, told_above=False) for _ in range(ROUNDS)]
    assert said == [[]] * (ROUNDS - 1) + [[OutOfReach(20) if kind == "link" else Skipped(11, "no")]]
    one.replan(target(tips[140]))
    assert heights(one)[0] == (21 if kind == "link" else 12)


@pytest.mark.parametrize("told_above", [True, False])
def test_near_the_head_only_one_that_is_passed_by_is_left_out(told_above: bool) -> None:
    """A node that tells nothing newer either is in trouble: what it refuses is waited for."""
    _, tips = world(*[0] * 40)
    one = pursuit(tips[1:], look_back_epochs=5000)
    one.resume(published(*tips[1:11]), None)
    one.replan(target(tips[40]))
    for _ in range(ROUNDS - 1):
        assert one.refused(("tipset", tips[11].hash), "no", often=True, told_above=told_above) == []
    said = one.refused(("tipset", tips[11].hash), "no", often=True, told_above=told_above)
    assert said == ([Skipped(11, "no")] if told_above else [])


def test_links_are_bounded() -> None:
    """Those deeper than the look-back and the finality go when there are many."""
    one = Pursuit(10)
    kept = FINALITY_EPOCHS + 10
    for height in range(2 * kept):
        one.learn(Link(height, hex(height), ""))
    assert not one.trim()
    one.learn(Link(2 * kept, "0xtop", ""))
    assert one.trim()
    assert sorted(link.height for link in one.links.values()) == list(range(kept + 1, 2 * kept + 1))


def test_a_store_that_lost_its_beginning_is_filled_again() -> None:
    """Resumed on a store that lacks what this run had published, everything since its start is wanted again."""
    pursuit = Pursuit(2000)
    pursuit.resume((), None)
    links = [Link(height, f"0x{height:064x}", f"0x{height - 1:064x}") for height in range(50, 60)]
    for link in links:
        pursuit.learn(link)
    pursuit.replan(Target(links[0].hash, (), (), 50))
    pursuit.published(links[0])
    pursuit.replan(Target(links[-1].hash, (), (), 59))
    for link in links[1:]:
        pursuit.published(link)
    pursuit.resume([Published(59, links[-1].hash)], None, 59)
    pursuit.replan(Target(links[-1].hash, (), (), 59))
    assert [link.height for link in pursuit.path] == list(range(50, 60))
    assert pursuit.rewind_to == -1
    pursuit.resume([Published(link.height, link.hash) for link in links], 300, 50)
    pursuit.replan(Target(links[-1].hash, (), (), 59))
    assert not pursuit.path
    assert pursuit.rewound(59) == (300, 0)


def test_a_lost_beginning_told_twice_is_still_lost() -> None:
    """A second resume before anything is published anew does not take the store's rest for the whole."""
    pursuit = Pursuit(2000)
    pursuit.resume((), None)
    links = [Link(height, f"0x{height:064x}", f"0x{height - 1:064x}") for height in range(50, 60)]
    for link in links:
        pursuit.learn(link)
    pursuit.replan(Target(links[0].hash, (), (), 50))
    pursuit.published(links[0])
    pursuit.replan(Target(links[-1].hash, (), (), 59))
    for link in links[1:]:
        pursuit.published(link)
    for _ in range(2):
        pursuit.resume([Published(59, links[-1].hash)], None, 59)
    pursuit.replan(Target(links[-1].hash, (), (), 59))
    assert [link.height for link in pursuit.path] == list(range(50, 60))
