"""The pursuit of a target: what is published, what is known of the chain, and so what has to be asked and published next."""

from collections import deque
from collections.abc import Iterable, Sequence

from streams.chain import FINALITY_EPOCHS, Case, Extends, Fork, Gap, Known, Link, Published, Tail, reconcile
from streams.endpoints import Target
from streams.errors import NodeFault
from streams.events import OutOfReach, Skipped
from streams.records import Hash
from streams.tasks import Key
from streams.wire import HeadChange

ROUNDS = 8
"""How often the nodes are tried one after the other, before a refusal of theirs that stops everything is believed: about a minute."""
DEEP_EPOCHS = 60
"""How far below the head a node is expected to tell everything, unless it is in trouble, which passes."""
PREFETCH_EPOCHS = 64
"""How far below the known part of a gap tipsets are asked for by height, so that its links need not come one by one."""


class Pursuit:
    """Where we are and where we want to get to.

    Attributes:
        links: the tipsets whose place is known, by hash.
        path: what to publish, lowest first; empty while there is a gap.
        rewind_to: the height above which everything published is to be undone first, None if nothing is.
        gap: what is not known of the way, None if it is.
        stale: whether the target or the links have changed since the last `replan`.
    """

    def __init__(self, look_back_epochs: int) -> None:
        self.links: dict[Hash, Link] = {}
        self.path: deque[Link] = deque()
        self.rewind_to: int | None = None
        self.gap: Gap | None = None
        self.stale = True
        self._look_back_epochs = look_back_epochs
        self._tail = Tail()
        self._top = -1
        self._since: int | None = None
        self._out_of_reach = -1
        self._skipped: set[Hash] = set()
        self._head_height = -1
        self._rounds = 0
        self._gave_up = False
        self._must_rewind = False

    def resume(self, published: Iterable[Published], reserved: int | None, since: int | None = None) -> None:
        """Go on from what earlier runs published, maybe up to the height `reserved`; nothing below `since` is wanted.

        Where this run wanted more than there is (the store lost its beginning), all of it is published anew.
        """
        held = tuple(published)
        self._tail = Tail(() if self._is_lost(held, since) else self._tail.agreed(held))
        self._since = min((one for one in (since, self._since) if one is not None), default=None)
        tip = self._tail.tip
        self._top = max(self._top, reserved if reserved is not None else -1, tip.height if tip is not None else -1)
        # Whatever an earlier run may have published above the tip is undone before anything else.
        self._must_rewind = self._top >= 0
        # The plan was made for another tail: followed one step further, it would leave out what that step takes for published.
        self.path.clear()
        self.rewind_to, self.gap, self.stale = None, None, True

    def _is_lost(self, held: Sequence[Published], since: int | None) -> bool:
        """Whether a store whose lowest height is `since` lacks something that this run has published and could publish again."""
        tip = self._tail.tip
        if self._since is None or (tip is None and since is None):
            return False
        # Told twice of the same loss, the second time the tail is empty already: what the store holds then tells how far to look back.
        newest = tip.height if tip is not None else max((one.height for one in held), default=self._since)
        return since is None or since > max(self._since, newest - self._look_back_epochs)

    def learn(self, link: Link) -> None:
        """The place of a tipset is known; one that tells its keys is preferred."""
        known = self.links.get(link.hash)
        if known is None or (link.key and not known.key):
            self.links[link.hash] = link
            self.stale = True

    def doubt(self, block: Hash | None = None) -> None:
        """Forget what is known of this tipset's place, or of all: the node that told it said what can not be true."""
        if block is None:
            self.links.clear()
        else:
            self.links.pop(block, None)
        self.path.clear()
        self.stale = True

    def below_tip(self, block: Hash) -> bool:
        """Whether this tipset is published and others are on top of it."""
        tip = self._tail.tip
        height = self._tail.height_of(block)
        return height is not None and tip is not None and height < tip.height

    @property
    def settled(self) -> bool:
        """Whether nothing is left to ask or to publish."""
        return not self.stale and self.gap is None and not self.path and self.rewind_to is None

    @property
    def tip(self) -> Published | None:
        """The highest published tipset."""
        return self._tail.tip

    def height_of(self, block: Hash) -> int | None:
        """The height of a tipset, None if it is not known."""
        link = self.links.get(block)
        return link.height if link is not None else self._tail.height_of(block)

    def published(self, link: Link) -> None:
        """The first of the path is published."""
        self.path.popleft()
        self._rounds, self._gave_up = 0, False
        self._top = max(self._top, link.height)
        self._skipped = {block for block in self._skipped if (height := self.height_of(block)) is not None and height > link.height}
        self._since = min(link.height, self._since if self._since is not None else link.height)
        self._tail.append(Published(link.height, link.hash))

    def rewound(self, height: int) -> tuple[int, int]:
        """Everything above `height` is undone: up to which height there may be something, and how many epochs were undone."""
        tip = self._tail.tip
        self._tail.rewind(height)
        self.rewind_to = None
        self._must_rewind = False
        return max(self._top, height), max(tip.height - height, 0) if tip is not None else 0

    def walk(self, head: Link | None, changes: Iterable[HeadChange]) -> tuple[Link, list[Hash]]:
        """Follow a node's changes of its head, step by step: where they end, and the tipsets that were executed on the way.

        Raises:
            NodeFault: a step does not start where the one before ended.
        """
        executed: list[Hash] = []
        for change in changes:
            link = Link.of_tipset(change.val)
            self.learn(link)
            match change.type:
                case "current":
                    head = link
                case "apply":
                    head = link
                    executed.append(link.parent_hash)
                case "revert":
                    if head is None or link.hash != head.hash:
                        raise NodeFault(f"out-of-order notice: reverts height {link.height}, which is not the head")
                    head = self.links.get(link.parent_hash)
                case _:
                    raise NodeFault(f"ChainNotify: unknown change {change.type!r}")
        if head is None:
            raise NodeFault("ChainNotify: reverted below what was announced")
        return head, executed

    def replan(self, target: Target) -> None:
        """Decide anew how to get to `target`.

        Raises:
            NodeFault: the links contradict each other; all are forgotten.
        """
        self.stale = False
        self._head_height = target.head_height
        try:
            plan = self._reconcile(target)
        except NodeFault:
            self.doubt()
            raise
        tip = self._tail.tip
        self.gap = plan if isinstance(plan, Gap) else None
        self.path = deque(link for link in plan.path if link.hash not in self._skipped) if isinstance(plan, Extends | Fork) else deque()
        match plan:
            case Fork(height):
                self.rewind_to = height
            case Known() | Extends() if self._must_rewind:
                self.rewind_to = tip.height if tip is not None else -1
            case _:
                self.rewind_to = None

    def _reconcile(self, target: Target) -> Case:
        height = self.height_of(target.hash)
        if height is None:
            return Gap(target.hash, target.key, None)
        if self._since is None:
            self._since = height if self._tail.bottom is None else self._tail.bottom
        floor = max(height - self._look_back_epochs, min(self._since, height) - 1, min(self._out_of_reach, height - 1))
        return reconcile(self._tail, target.hash, self.links, floor, target.key)

    def refused(self, key: Key, reason: str, *, often: bool, told_above: bool) -> list[OutOfReach | Skipped]:
        """The node refused what the task `key` asked, `often` if it does so again and again: what is left missing for it, if anything.

        What is final may lie beyond the nodes' look-back and can not change any more: it is left, with all below it. Of anything
        else a refusal may pass. It is believed where nothing could be published for it in many rounds, and the node tells what is
        newer (`told_above`, or it lies deep): a tipset is left out alone then. What is left missing is history's, which asks for it
        again later.
        """
        self._rounds += often
        insisted = self._rounds >= ROUNDS
        kind, block = key
        height = self.gap.below - 1 if kind == "link" and self.gap is not None and self.gap.below is not None else None
        if kind == "tipset":
            height = self.height_of(str(block))
        # After the first, what lies just above is not begged for again and again.
        if height is None or height <= self._out_of_reach or not (often or insisted or self._gave_up):
            return []
        depth = self._head_height - height
        if depth > FINALITY_EPOCHS or (insisted and depth > DEEP_EPOCHS and kind == "link"):
            self._out_of_reach, self._gave_up, self.stale = height, True, True
            return [OutOfReach(height)]
        return [*self.skip(str(block), reason)] if kind == "tipset" and insisted and (told_above or depth > DEEP_EPOCHS) else []

    def skip(self, block: Hash, reason: str) -> list[Skipped]:
        """Go on without this tipset, which nobody can tell: its height stays missing."""
        self._skipped.add(block)
        self.path = deque(link for link in self.path if link.hash != block)
        height = self.height_of(block)
        return [Skipped(height, reason)] if height is not None else []

    def prefetch(self) -> range:
        """The heights inside the gap that are worth asking for by height."""
        tip = self._tail.tip
        if self.gap is None or self.gap.below is None or tip is None:
            return range(0)
        below = self.gap.below - 2
        return range(below, max(tip.height, below - PREFETCH_EPOCHS, below - self._look_back_epochs), -1)

    def trim(self) -> bool:
        """Forget the links that are too deep to matter, if there are many; whether any went."""
        kept_epochs = FINALITY_EPOCHS + self._look_back_epochs
        if len(self.links) <= 2 * kept_epochs:
            return False
        lowest = max(link.height for link in self.links.values()) - kept_epochs
        self.links = {block: link for block, link in self.links.items() if link.height > lowest}
        return True
