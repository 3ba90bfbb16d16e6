"""A store of plain dictionaries: for each stream and height the youngest word, and what it comes to by summing all of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from processors.classify import Classifier, Contracts
from processors.folds import Contribution, fold_logs, fold_tipset
from streams.chain import Published, held_by_all
from streams.contents import Told
from streams.records import COUNTED_STREAMS, Contract, LogsRecord, Record, Rewind, StateRecord, Stream, TipsetRecord, stream_of

NOTHING = Contribution()
State = Literal["processed", "null", "empty"]


@dataclass(frozen=True, slots=True)
class Word:
    """What a height holds."""

    sequence: int
    state: State
    hash: str = ""
    contribution: Contribution = NOTHING
    incomplete: bool = False


@dataclass(slots=True)
class Held:
    """All that a server keeps, copied when it is to come back older."""

    words: dict[tuple[Stream, int], Word] = field(default_factory=dict)
    reserved: int | None = None
    incarnation: int = 0
    contracts: dict[str, Contract] = field(default_factory=dict)
    ledger: dict[str, int] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)

    def copy(self) -> "Held":
        """As it is now."""
        return Held(dict(self.words), self.reserved, self.incarnation, dict(self.contracts), dict(self.ledger), dict(self.told))


@dataclass(slots=True)
class Figures:
    """One stream's window, as a snapshot shows it."""

    head: int
    processed: int = 0
    null: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    members: dict[str, set[str]] = field(default_factory=dict)


class ModelStore:
    """What the store promises, naively."""

    def __init__(self) -> None:
        self.held = Held()
        self._classifier = Classifier(Contracts())

    def apply(self, record: Record) -> None:
        """Take a record, in whatever order they come."""
        if isinstance(record, StateRecord):
            return
        stream, sequence = stream_of(record), record.sequence
        if isinstance(record, Rewind):
            self._write(stream, range(record.height + 1, record.top + 1), Word(sequence, "empty"))
            return
        first = record.height if record.parent_height is None else record.parent_height + 1
        self._write(stream, range(first, record.height), Word(sequence, "null"))
        self._write(stream, (record.height,), Word(sequence, "processed", record.hash, *self._folded(record)))

    def _folded(self, record: TipsetRecord | LogsRecord) -> tuple[Contribution, bool]:
        if isinstance(record, TipsetRecord):
            return fold_tipset(record, self._classifier), record.incomplete
        return fold_logs(record, self._classifier), False

    def _write(self, stream: Stream, heights: Iterable[int], word: Word) -> None:
        words = self.held.words
        for height in heights:
            known = words.get((stream, height))
            if known is None or known.sequence < word.sequence:
                words[stream, height] = word

    def known(self, stream: Stream, *states: State) -> dict[int, Word]:
        """The heights in these states."""
        return {height: word for (one, height), word in self.held.words.items() if one == stream and word.state in states}

    def tail(self) -> tuple[tuple[Published, ...], int | None]:
        """As `processors.sink.held` reads it."""
        tails = [
            [Published(height, word.hash) for height, word in sorted(self.known(stream, "processed").items())] for stream in COUNTED_STREAMS
        ]
        return tuple(held_by_all(tails)), min((one.height for tail in tails for one in tail), default=None)

    async def states(self, first: int, last: int) -> list[str]:
        """As `processors.store.Store.states`."""
        letters = {"processed": "t", "null": "n", "empty": "e"}
        words = self.held.words
        return [
            "".join(letters[word.state] if (word := words.get((stream, height))) is not None else "e" for height in range(first, last + 1))
            for stream in COUNTED_STREAMS
        ]

    async def hash_at(self, height: int) -> str | None:
        """As `processors.store.Store.hash_at`."""
        word = self.held.words.get(("tipsets", height))
        return word.hash if word is not None and word.state == "processed" else None

    def figures(self, stream: Stream, epochs: int) -> Figures:
        """The window of so many epochs."""
        found = Figures(max(self.known(stream, "processed")))
        for height in range(found.head - epochs + 1, found.head + 1):
            word = self.held.words.get((stream, height))
            if word is None or word.state == "empty":
                continue
            found.processed += word.state == "processed"
            found.null += word.state == "null"
            found.sums.update(word.contribution.sums)
            found.sums.update(word.contribution.lasting_sums)
            for kind, members in word.contribution.members.items():
                found.members.setdefault(kind, set()).update(members)
        return found
