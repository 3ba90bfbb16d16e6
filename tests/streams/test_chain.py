"""The tail and its four cases, against a definition that looks at sets of ancestors only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.chain import FINALITY_EPOCHS, MOST_NULL_ROUNDS, Case, Extends, Fork, Gap, Known, Link, Published, Tail, held_by_all, reconcile
from streams.errors import NodeFault
from streams.wire import BlockHeader, Cid, EthHeader, Tipset, tipset_hash

HERE = (Cid("bafy2bzacecefj5u6mnyocompswu57c4zsaqxbx3cfalydgpjk5z56ucchoehy"),)
BELOW = (Cid("bafy2bzacect4y4ovsuwrfkkz3ej7gr2jueme2cnkgdtw5sz32225ktorrglt2"),)
ANYWHERE = -1
"""A floor below all heights."""


def named(number: int) -> str:
    return f"0x{number:064x}"


def line(*heights: int, on: Link | None = None, salt: int = 0) -> list[Link]:
    """Tipsets on top of each other, lowest first."""
    links: list[Link] = []
    for height in heights:
        parent = links[-1] if links else on
        links.append(Link(height, named(salt * 10**6 + height + 1), parent.hash if parent is not None else named(0)))
    return links


def tail_of(links: list[Link]) -> Tail:
    return Tail(Published(link.height, link.hash) for link in links)


def known(*lines: list[Link]) -> dict[str, Link]:
    return {link.hash: link for one in lines for link in one}


def test_a_link_of_a_tipset_has_both_keys() -> None:
    """Height, time and parents are the blocks', and both hashes are those of the keys."""
    tipset = Tipset(list(HERE), [BlockHeader(list(BELOW), 7, 210)], 7)
    assert Link.of_tipset(tipset) == Link(7, tipset_hash(HERE), tipset_hash(BELOW), HERE, BELOW, 210)


def test_a_link_of_a_header_is_in_lower_case() -> None:
    """Hashes are compared as text, so they are written one way."""
    header = EthHeader("0x" + "AB" * 32, "0x" + "CD" * 32, "0x1F", "0x3a2")
    assert Link.of_header(header) == Link(31, "0x" + "ab" * 32, "0x" + "cd" * 32, timestamp_seconds=930)


def test_the_head_may_be_the_tip() -> None:
    """Nothing is to be done, even where the place of the head is not known."""
    chain = line(1, 2, 4)
    assert reconcile(tail_of(chain), chain[-1].hash, {}, ANYWHERE) == Known()


def test_a_head_above_the_tip_extends_it_over_null_rounds() -> None:
    """The path is what is not published yet, lowest first."""
    chain = line(1, 2, 4, 5, 9)
    assert reconcile(tail_of(chain[:3]), chain[-1].hash, known(chain), ANYWHERE) == Extends(tuple(chain[3:]))


def test_a_gap_names_what_is_wanted_next() -> None:
    """Its hash, its key where the tipset above tells it, and the height that it lies below; of the head only what was told of it."""
    chain = line(1, 2, 4, 5)
    chain[2] = Link(4, chain[2].hash, chain[2].parent_hash, HERE, BELOW)
    tail = tail_of(chain[:1])
    assert reconcile(tail, chain[-1].hash, {}, ANYWHERE, HERE) == Gap(chain[-1].hash, HERE, None)
    assert reconcile(tail, chain[-1].hash, known(chain[2:]), ANYWHERE, HERE) == Gap(chain[1].hash, BELOW, 4)


def test_a_fork_at_the_same_heights_is_a_fork() -> None:
    """Heights alone never decide: another tipset at the tip's height, or a head below it, undoes what is above the common one."""
    chain = line(1, 2, 3, 4)
    other = line(3, 4, on=chain[1], salt=1)
    links = known(chain, other)
    tail = tail_of(chain)
    assert reconcile(tail, other[-1].hash, links, ANYWHERE) == Fork(2, tuple(other))
    assert reconcile(tail, other[0].hash, links, ANYWHERE) == Fork(2, (other[0],))
    assert reconcile(tail, chain[1].hash, links, ANYWHERE) == Fork(2, ())


def test_genesis_ends_the_walk() -> None:
    """A walk that comes down to height 0 starts there: everything is published, or all that was is undone."""
    chain = line(0, 1, 3)
    assert reconcile(Tail(), chain[-1].hash, known(chain), ANYWHERE) == Extends(tuple(chain))
    strange = tail_of(line(0, 1, 2, salt=1))
    case = reconcile(strange, chain[-1].hash, known(chain), ANYWHERE)
    assert isinstance(case, Fork)
    assert case.path == tuple(chain)
    assert case.rewind_to < 0


def test_nothing_at_or_below_the_floor_is_wanted() -> None:
    """The path starts just above the floor, over a null round as well; a head at the floor is still followed."""
    chain = line(5, 6, 8, 9)
    links = known(chain)
    assert reconcile(Tail(), chain[-1].hash, links, 5) == Extends(tuple(chain[1:]))
    assert reconcile(Tail(), chain[-1].hash, links, 7) == Extends(tuple(chain[2:]))
    assert reconcile(Tail(), chain[-1].hash, {chain[-1].hash: chain[-1]}, 8) == Extends((chain[-1],))
    assert reconcile(Tail(), chain[0].hash, links, 5) == Extends((chain[0],))


def test_a_fork_deeper_than_the_tail_undoes_all_that_is_not_final() -> None:
    """A walk that meets nothing published can not tell how deep the fork is."""
    tail = tail_of(line(*range(100, 2000)))
    chain = line(*range(1990, 2010), salt=1)
    case = reconcile(tail, chain[-1].hash, known(chain), 1990)
    assert case == Fork(1999 - FINALITY_EPOCHS - 1, tuple(chain[1:]))
    deeper = line(*range(1000, 2010), salt=1)
    assert reconcile(tail, deeper[-1].hash, known(deeper), 1000) == Fork(1000, tuple(deeper[1:]))


@pytest.mark.parametrize("nulls, believed", [(MOST_NULL_ROUNDS - 1, True), (MOST_NULL_ROUNDS, False)])
def test_no_chain_stands_still_for_so_long(nulls: int, believed: bool) -> None:
    """A tipset far above all others would push everything that is kept out of the windows."""
    chain = line(5, 6 + nulls)
    if believed:
        assert reconcile(tail_of(chain[:1]), chain[1].hash, known(chain), ANYWHERE) == Extends((chain[1],))
    else:
        with pytest.raises(NodeFault, match="and its parent at 5"):
            reconcile(tail_of(chain[:1]), chain[1].hash, known(chain), ANYWHERE)


def test_a_parent_is_lower_than_its_child() -> None:
    """A parent as high as its child is a fault, be it known or published: the walk would never end."""
    a, b = Link(5, named(1), named(2)), Link(5, named(2), named(1))
    with pytest.raises(NodeFault, match="is said to lie at 5, and its parent at 5"):
        reconcile(Tail(), a.hash, known([a, b]), ANYWHERE)
    with pytest.raises(NodeFault, match="its parent at 7"):
        reconcile(Tail([Published(7, named(2))]), a.hash, known([a]), ANYWHERE)
    own = Link(5, named(1), named(1))
    with pytest.raises(NodeFault):
        reconcile(Tail(), own.hash, known([own]), ANYWHERE)


def test_the_tail_keeps_twice_the_finality() -> None:
    """Older tipsets are forgotten as new ones come, however far apart they lie."""
    tail = tail_of(line(*range(3 * FINALITY_EPOCHS)))
    assert tail.bottom == 3 * FINALITY_EPOCHS - 1 - 2 * FINALITY_EPOCHS
    assert len(tail) == 2 * FINALITY_EPOCHS + 1
    tail.append(Published(10**6, named(9)))
    assert len(tail) == 1
    assert tail.tip == Published(10**6, named(9))


def test_a_rewound_tail_forgets_what_is_above() -> None:
    """A rewind to a null round leaves the tipset below it; one below everything leaves nothing."""
    chain = line(1, 2, 5, 6)
    tail = tail_of(chain[::-1])
    tail.rewind(4)
    assert tail.tip == Published(2, chain[1].hash)
    assert tail.height_of(chain[2].hash) is None
    tail.rewind(-5)
    assert len(tail) == 0
    assert tail.bottom is None


def test_what_all_hold_ends_where_they_contradict_each_other() -> None:
    """Another tipset at a height ends it; one that is missing is left out; where one holds nothing, all hold nothing."""
    chain = [Published(height, named(height)) for height in (3, 4, 6, 7)]
    assert held_by_all([chain]) == chain
    assert held_by_all([chain, chain[::-1]]) == chain
    assert held_by_all([chain, chain[:2]]) == chain[:2]
    assert held_by_all([chain, [chain[0], *chain[2:]]]) == [chain[0], *chain[2:]]
    assert held_by_all([chain, [*chain[:2], Published(6, named(99)), chain[3]]]) == chain[:2]
    assert held_by_all([chain, [*chain[:2], Published(5, named(5)), *chain[2:]]]) == chain
    assert held_by_all([chain, chain[1:]]) == chain[1:]
    assert held_by_all([chain, []]) == []


@given(st.lists(st.dictionaries(st.integers(0, 8), st.sampled_from("ab"), max_size=8), min_size=1, max_size=3))
def test_what_all_hold_is_held_by_each(tails: list[dict[int, str]]) -> None:
    """Whatever they hold: each has it, and nothing up to the top contradicts it."""
    held = {one.height: one.hash for one in held_by_all([[Published(height, block) for height, block in one.items()] for one in tails])}
    for heights in tails:
        assert held.items() <= heights.items()
        assert all(heights.get(height, block) == block for height, block in held.items())
    shared = set.intersection(*(set(heights) for heights in tails))
    assert {height for height in shared if held and height <= max(held)} == held.keys()


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Link], list[int | None]]:
    """Tipsets, each on an earlier one or on none that is told of, after up to two null rounds; and the number of each parent."""
    links: list[Link] = []
    parents: list[int | None] = []
    for number in range(draw(st.integers(1, 14))):
        parent = draw(st.none() | st.integers(0, number - 1)) if number else None
        base = links[parent].height if parent is not None else draw(st.integers(0, 3))
        height = base + draw(st.integers(1, 3)) if parent is not None else base
        links.append(Link(height, named(number + 1), links[parent].hash if parent is not None else named(1000 + number)))
        parents.append(parent)
    return links, parents


def ancestry(parents: list[int | None], number: int) -> list[int]:
    """A tipset and all below it, downwards."""
    found: list[int] = []
    at: int | None = number
    while at is not None:
        found.append(at)
        at = parents[at]
    return found


def defined(links: list[Link], parents: list[int | None], tip: int | None, head: int, hidden: set[int], floor: int) -> Case:
    """What the four cases are, said with whole ancestries."""
    published = ancestry(parents, tip) if tip is not None else []
    down = ancestry(parents, head)
    common = next((one for one in down if one in published), None)
    wanted = down[: down.index(common)] if common is not None else down
    above = [one for place, one in enumerate(wanted) if links[one].height > floor or place == 0]
    unknown = next((one for one in wanted if one in hidden), None)
    # The walk stops where nothing lower can be wanted any more.
    low = next((place for place, one in enumerate(above) if links[one].height in {0, floor + 1} or links[one].height <= floor), None)
    if low is not None:
        above, cut = above[: low + 1], True
    else:
        cut = len(above) < len(wanted)
    if unknown is not None and (unknown in above or (low is None and unknown == wanted[len(above)])):
        place = wanted.index(unknown)
        return Gap(links[unknown].hash, (), links[wanted[place - 1]].height if place else None)
    path = tuple(links[one] for one in reversed(above))
    if not cut and common is None:
        lowest = links[down[-1]]
        return Gap(lowest.parent_hash, (), lowest.height)
    if not cut and common is not None:
        if common == tip:
            return Extends(path) if path else Known()
        return Fork(links[common].height, path)
    if tip is None:
        return Extends(path)
    return Fork(max(min(path[0].height - 1, links[tip].height - FINALITY_EPOCHS - 1), -1), path)


@settings(deadline=None, max_examples=300)
@given(tree=trees(), data=st.data())
def test_any_tree_ends_as_defined(tree: tuple[list[Link], list[int | None]], data: st.DataObject) -> None:
    """Whatever is published, announced, hidden and wanted: the case is that of the ancestors' sets."""
    links, parents = tree
    numbers = st.integers(0, len(links) - 1)
    tip, head = data.draw(st.none() | numbers), data.draw(numbers)
    hidden, floor = data.draw(st.sets(numbers, max_size=2)), data.draw(st.integers(-1, 12))
    tail = tail_of([links[one] for one in ancestry(parents, tip)]) if tip is not None else Tail()
    seen = {link.hash: link for number, link in enumerate(links) if number not in hidden}
    assert reconcile(tail, links[head].hash, seen, floor) == defined(links, parents, tip, head, hidden, floor)


def test_pieces_of_several_chains_are_no_chain() -> None:
    """Of a store that came back older and was written to since, only what this run published up to the first difference counts."""
    ours = [Published(height, f"0x{height:064x}") for height in range(10, 21)]
    tail = Tail(ours)
    other = Published(15, "0x" + "ff" * 32)
    assert tail.agreed(ours) == ours
    assert tail.agreed([*ours[:5], other, *ours[6:]]) == ours[:5]
    assert tail.agreed([*ours[:5], *ours[7:]]) == ours[:5]
    assert tail.agreed([*ours, Published(21, "0x" + "ff" * 32)]) == ours
    assert tail.agreed(ours[3:]) == ours[3:]
    below = Published(4, "0x" + "04" * 32)
    assert tail.agreed([below, *ours]) == [below, *ours]
    assert Tail().agreed(ours) == ours
