"""The unfinalised tail of what was published, and its four ways to meet a new head.

Tipsets are compared by hash and by parent, never by height alone: null rounds make heights skip, and a fork may be higher or
lower than what it replaces.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from streams.errors import NodeFault
from streams.records import Hash
from streams.wire import Cid, EthHeader, Tipset, tipset_hash

MOST_NULL_ROUNDS = 1_000_000
"""Between two tipsets: nearly a year of mainnet, weeks of a devnet that stood still. Who tells of more is broken, or lies."""
FINALITY_EPOCHS = 900
"""Expected Consensus gives up no tipset deeper than this."""


@dataclass(frozen=True, slots=True)
class Link:
    """A tipset's place in the chain. `key` is known where the node is a Lotus, and `parent_key` with it."""

    height: int
    hash: Hash
    parent_hash: Hash
    key: tuple[Cid, ...] = ()
    parent_key: tuple[Cid, ...] = ()
    timestamp_seconds: int = 0

    @classmethod
    def of_tipset(cls, tipset: Tipset) -> "Link":
        """The link of a native tipset, whose parents are those of any of its blocks."""
        first = tipset.blocks[0]
        parents = tuple(first.parents)
        return cls(tipset.height, tipset_hash(tipset.cids), tipset_hash(parents), tuple(tipset.cids), parents, first.timestamp)

    @classmethod
    def of_header(cls, header: EthHeader) -> "Link":
        """The link of an eth block."""
        return cls(
            int(header.number, 16),
            header.hash.lower(),
            header.parent_hash.lower(),
            timestamp_seconds=int(header.timestamp, 16),
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A tipset that was published."""

    height: int
    hash: Hash


def held_by_all(tails: Sequence[Sequence[Published]]) -> list[Published]:
    """The published tipsets up to which several consumers hold the same, lowest first.

    A consumer that died may lack records that others have. What comes after the highest tipset that all hold, or after the first
    height at which they hold different ones, has to be published again; what one of them lacks below is a hole in the ledger.
    """
    by_height = [{one.height: one.hash for one in tail} for tail in tails]
    held = []
    for height in sorted({height for heights in by_height for height in heights}):
        blocks = {heights.get(height) for heights in by_height}
        if len(blocks - {None}) > 1:
            break
        if None not in blocks:
            held.append(Published(height, by_height[0][height]))
    return held


class Tail:
    """The newest published tipsets, in order of height, at least `FINALITY_EPOCHS` deep."""

    def __init__(self, published: Iterable[Published] = ()) -> None:
        self._heights: dict[Hash, int] = {}
        for one in sorted(published, key=lambda one: one.height):
            self.append(one)

    def __len__(self) -> int:
        return len(self._heights)

    def height_of(self, block: Hash) -> int | None:
        """The height at which `block` was published, None if it was not, or is undone, or is long final."""
        return self._heights.get(block)

    @property
    def tip(self) -> Published | None:
        """The highest published tipset."""
        if not self._heights:
            return None
        block = next(reversed(self._heights))
        return Published(self._heights[block], block)

    @property
    def bottom(self) -> int | None:
        """The lowest height that is remembered."""
        return next(iter(self._heights.values()), None)

    def agreed(self, held: Iterable[Published]) -> list[Published]:
        """What a store holds, up to the first height at which it is not what was published here; lowest first.

        A server that came back older and was written to since holds pieces of several chains, with holes in between. Their heights
        look like one chain; only who published it can tell.
        """
        ours = {height: block for block, height in self._heights.items()}
        theirs = {one.height: one.hash for one in held}
        bottom = max(min(ours, default=0), min(theirs, default=0))
        agreed = []
        for height in sorted(theirs.keys() | ours.keys()):
            if height >= bottom and ours and ours.get(height) != theirs.get(height):
                break
            if height in theirs:
                agreed.append(Published(height, theirs[height]))
        return agreed

    def append(self, one: Published) -> None:
        """`one` is the new tip."""
        self._heights[one.hash] = one.height
        while self._heights:
            oldest = next(iter(self._heights))
            if self._heights[oldest] >= one.height - 2 * FINALITY_EPOCHS:
                break
            del self._heights[oldest]

    def rewind(self, height: int) -> None:
        """Forget everything above `height`."""
        while (tip := self.tip) is not None and tip.height > height:
            del self._heights[tip.hash]


@dataclass(frozen=True, slots=True)
class Known:
    """The head is the tip: nothing to do."""


@dataclass(frozen=True, slots=True)
class Extends:
    """The head descends from the tip: publish `path`, lowest first."""

    path: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """The way down from the head is not known yet: `wanted` comes next, and lies below `below`."""

    wanted: Hash
    key: tuple[Cid, ...]
    below: int | None


@dataclass(frozen=True, slots=True)
class Fork:
    """Undo everything above `rewind_to`, then publish `path`, lowest first."""

    rewind_to: int
    path: tuple[Link, ...]


Case: TypeAlias = Known | Extends | Gap | Fork


def reconcile(tail: Tail, head: Hash, links: Mapping[Hash, Link], floor: int, key: tuple[Cid, ...] = ()) -> Case:
    """How to get from what was published to `head`: `Known`, `Extends`, `Gap` or `Fork`.

    Walks down from `head` over the known `links` until it meets a published tipset. Nothing at or below `floor` is
    wanted: a walk that gets there without meeting one starts anew above it, and whatever was published in the unfinalised
    part can then not be trusted, so it is undone.

    Args:
        tail: what was published.
        head: the tipset to get to.
        links: the tipsets whose place is known, by hash.
        floor: the height above which tipsets are wanted.
        key: the tipset key of `head`, where it is known.

    Raises:
        NodeFault: a tipset is said to lie no higher than its parent.
    """
    tip = tail.tip
    path: list[Link] = []
    block = head
    while (met := tail.height_of(block)) is None:
        link = links.get(block)
        if link is None:
            return Gap(block, path[-1].parent_key if path else key, path[-1].height if path else None)
        if path:
            check_order(path[-1], link.height)
        if link.height <= floor and path:
            return _start_above(tail, path)
        path.append(link)
        if link.height <= floor + 1 or link.height == 0:
            return _start_above(tail, path)
        block = link.parent_hash
    if path:
        check_order(path[-1], met)
    path.reverse()
    if tip is not None and met == tip.height:
        return Extends(tuple(path)) if path else Known()
    return Fork(met, tuple(path))


def check_order(link: Link, below: int) -> None:
    """Whether the tipset can lie where it is said to, with its parent at the height `below`.

    Raises:
        NodeFault: no higher than that, or further above it than any chain stood still.
    """
    if not 0 < link.height - below <= MOST_NULL_ROUNDS:
        raise NodeFault(f"the tipset {link.hash} is said to lie at {link.height}, and its parent at {below}")


def _start_above(tail: Tail, path: list[Link]) -> Case:
    path.reverse()
    tip = tail.tip
    if tip is None:
        return Extends(tuple(path))
    return Fork(max(min(path[0].height - 1, tip.height - FINALITY_EPOCHS - 1), -1), tuple(path))
