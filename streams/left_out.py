"""What a walk through history leaves out: tipsets that the node does not tell, whatever else it tells.

One that is too long to be read is left out at once. One that is refused again and again, or stays without an answer while others are
answered, is left out when a tipset below it is told, or nothing below it is wanted: so many of them in a row are the end of what the
node tells at all.
"""

from collections.abc import Container, Iterable

from streams.chain import Link
from streams.events import Skipped
from streams.records import Hash

PATIENCE = 3
"""How many times the node may refuse a question, or leave it without an answer."""
IN_A_ROW = 5
"""So many tipsets, one the parent of the other, that are all refused: it is no longer the tipsets."""


class LeftOut:
    """The tipsets that one walk leaves out, or will."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another walk begins."""
        self._passed: set[Hash] = set()
        self._refused: dict[Hash, str] = {}
        """Not decided yet, and why they are not told."""
        self._silences: dict[Hash, tuple[int, int]] = {}
        """How often a tipset stayed without an answer, and how much the node had answered by the last time."""
        self._answers = 0

    def __contains__(self, block: Hash) -> bool:
        """Whether it is not to be asked for any more."""
        return block in self._passed or block in self._refused

    def is_passed(self, block: Hash) -> bool:
        """Whether it is left out for good."""
        return block in self._passed

    def heard(self) -> None:
        """The node answered something."""
        self._answers += 1

    def is_alone(self, block: Hash) -> bool:
        """Whether nothing was answered since `block` was not: the node may be silent altogether."""
        return block in self._silences and self._silences[block][1] == self._answers

    def silent(self, block: Hash, reason: str) -> None:
        """The node gave no answer about `block`; what is the node's silence altogether counts once."""
        times, answers = self._silences.get(block, (0, -1))
        self._silences[block] = (times + (answers != self._answers), self._answers)
        if self._silences[block][0] >= PATIENCE:
            self._refused[block] = reason

    def refused(self, block: Hash, reason: str) -> None:
        """The node will not tell `block`."""
        self._refused[block] = reason

    def too_long(self, link: Link, reason: str) -> Skipped:
        """Nobody can read the node's answer about `link`."""
        self._passed.add(link.hash)
        return Skipped(link.height, reason)

    def decide(self, path: Iterable[Link], told: Container[Hash], *, ended: bool) -> tuple[list[Skipped], Link | None]:
        """What is left out for good now, and the first of so many in a row that the way down (`path`, to the end where it `ended`) ends."""
        skipped: list[Skipped] = []
        row: list[Link] = []
        for link in path if self._refused else ():
            if link.hash in self._refused:
                row.append(link)
                if len(row) == IN_A_ROW:
                    return skipped, row[0]
            else:
                skipped += self._pass(row) if link.hash in told or link.hash in self._passed else []
                row = []
        return skipped + (self._pass(row) if ended else []), None

    def _pass(self, row: list[Link]) -> list[Skipped]:
        self._passed.update(link.hash for link in row)
        return [Skipped(link.height, self._refused.pop(link.hash)) for link in row]
