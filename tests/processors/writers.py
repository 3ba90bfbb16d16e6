"""Two followers that publish for one network, as a model of `streams.publish` and of the ledger between them.

What each sends may arrive anywhere in any order: whoever is paused, fenced or behind at any point.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st

from streams.records import Record
from tests.processors.strategies import FIRST_HEIGHT, rewind, tipset


class Sent(NamedTuple):
    """Writes into the heights in (low, top]: nothing, or `value` into the highest and null rounds into the others."""

    sequence: int
    low: int
    top: int
    value: int | None

    def record(self) -> Record:
        """The same as it travels, with heights from `FIRST_HEIGHT`."""
        low, top = FIRST_HEIGHT + self.low, FIRST_HEIGHT + self.top
        return rewind(low, top, self.sequence) if self.value is None else tipset(top, low, self.sequence)


@dataclass
class Model:
    """The ledger, and everything that was ever sent."""

    token: int = 0
    reserved: int = -1
    tips: list[tuple[int, int]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    values: int = 0


class Writer:
    """Follows the rules of `streams.publish`; acknowledgements may be taken down late or never."""

    def __init__(self, model: Model) -> None:
        self.model = model
        model.token += 1
        self.token, self.counter, self.fenced = model.token, 0, False
        self.reserved = model.reserved
        self.chain = list(model.tips)
        self.unsaved: list[tuple[int, int]] = []
        self.rewind(self.tip, max(self.reserved, self.tip))

    @property
    def tip(self) -> int:
        """The height of the newest tipset."""
        return self.chain[-1][0] if self.chain else -1

    def _send(self, low: int, top: int, value: int | None) -> None:
        self.model.sent.append(Sent(self.token << 32 | self.counter, low, top, value))
        self.counter += 1

    def _may(self) -> bool:
        self.fenced = self.fenced or self.model.token != self.token
        return not self.fenced

    def rewind(self, low: int, top: int) -> None:
        """Off the ledger first, then to Kafka."""
        if self._may():
            self.model.tips = [one for one in self.model.tips if one[0] <= low]
            self.unsaved = [one for one in self.unsaved if one[0] <= low]
            self.chain = [one for one in self.chain if one[0] <= low]
            self._send(low, top, None)

    def reorg(self, depth: int) -> None:
        """Back to a tipset so many epochs below the newest, or to nothing."""
        low = max((height for height, _ in self.chain if height <= self.tip - depth), default=-1)
        self.rewind(low, max(self.tip, self.reserved))

    def extend(self, by: int) -> None:
        """Without asking anybody, as long as the height is reserved: this is what a leader that was paused does."""
        height = self.tip + by
        if height > self.reserved:
            if not self._may():
                return
            self.reserved = self.model.reserved = max(self.model.reserved, height + 2)
        self.model.values += 1
        self._send(self.tip, height, self.model.values)
        self.chain.append((height, self.model.values))
        self.unsaved.append(self.chain[-1])

    def save(self) -> None:
        """What is acknowledged goes on the ledger."""
        if self._may():
            self.model.tips += self.unsaved
            self.unsaved = []


Move: TypeAlias = tuple[str, int, int]
"""What happens, to which writer, how far."""
MOVES: st.SearchStrategy[list[Move]] = st.lists(
    st.tuples(st.sampled_from(["extend", "extend", "extend", "reorg", "save", "take over"]), st.integers(0, 1), st.integers(1, 3)),
    max_size=40,
)


def played(moves: Sequence[Move]) -> tuple[Model, Writer]:
    """Everything that was sent, and whoever leads at the end, with a tipset of its own on top."""
    model = Model()
    writers = [Writer(model)] * 2
    for move, who, number in moves:
        match move:
            case "extend":
                writers[who].extend(number)
            case "reorg":
                writers[who].reorg(number)
            case "save":
                writers[who].save()
            case "take over":
                writers[who] = Writer(model)
    leader = max(writers, key=lambda one: one.token)
    leader.extend(1)
    return model, leader
