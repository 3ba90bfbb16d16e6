"""Witnesses of the logs: what `eth_subscribe logs` streamed of a tipset, or `eth_getLogs` tells of it, must be what its receipts hold.

The receipts are what is counted. On a node that serves nothing but eth, only such a witness tells that they were incomplete. The
stream witnesses what runs while we listen; what was missed meanwhile is asked for in ranges.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from streams.chain import Link
from streams.records import Hash, Log
from streams.wire import StreamedLog

CONFIRMED_EPOCHS = 5
"""How deep a tipset must lie before it is compared: by then its logs have come."""
WATCHED_TIPSETS = 2_000
WATCHED_LOGS = 20_000
LONGEST_RANGE_EPOCHS = 1_000
"""Bounds of what is kept; beyond them a tipset is not compared."""

PATIENCE_SECONDS = 2.0
"""How long the logs of a tipset may be on their way; what differs is looked at once more after as long."""

_Identity: TypeAlias = tuple[Hash, str, tuple[Hash, ...], str]


@dataclass(slots=True)
class _Witnessed:
    height: int
    expected: Counter[_Identity]
    due_at: float
    suspected: bool = False


@dataclass(slots=True)
class _Missed:
    """A published tipset that was not streamed."""

    height: int
    logs: int
    looked_at_tip: int = -1


class StreamedLogs:
    """The logs that one endpoint streamed, by tipset, against those that were published."""

    def __init__(self) -> None:
        self._source: str | None = None
        self._covered: dict[Hash, Counter[_Identity]] = {}
        self._published: dict[Hash, _Witnessed] = {}
        self._missed: dict[Hash, _Missed] = {}
        self._tip = -1
        """The tip at which the node was last to be asked of them."""
        self._unsure: set[Hash] = set()
        """Tipsets whose logs were first streamed before we listened, or that there was no room for."""

    def subscribed(self, endpoint: str) -> None:
        """This endpoint streams its logs from now on; the first one is listened to."""
        if self._source is None:
            self._source = endpoint

    def unsubscribed(self, endpoint: str) -> None:
        """The stream broke: what it told so far may lack something."""
        if self._source == endpoint:
            self._source = None
            self._covered.clear()
            self._unsure.clear()

    def covers(self, endpoint: str, block: Hash) -> None:
        """The node executes this tipset while we listen, so all its logs will be streamed."""
        if endpoint == self._source and block not in self._unsure and len(self._covered) < WATCHED_TIPSETS:
            self._covered.setdefault(block, Counter())

    def notice(self, endpoint: str, log: StreamedLog) -> None:
        """A log was streamed, or taken back."""
        block = log.block_hash.lower()
        if endpoint != self._source or block in self._unsure:
            return
        if block not in self._covered and len(self._covered) >= WATCHED_TIPSETS:
            self._unsure.add(block)  # nothing has been published for long: this one is not compared
            return
        seen = self._covered.setdefault(block, Counter())
        identity = (
            log.transaction_hash.lower(),
            log.address.lower(),
            tuple(topic.lower() for topic in log.topics),
            log.data,
        )
        seen[identity] += -1 if log.removed else 1
        if seen[identity] < 0 or len(seen) > WATCHED_LOGS:
            del self._covered[block]
            self._unsure.add(block)

    def published(self, link: Link, logs: Sequence[Log], transactions: Sequence[Hash], now: float) -> None:
        """These logs of a tipset were published."""
        if link.hash in self._covered:
            expected = Counter((transactions[log.transaction].lower(), log.emitter, log.topics, log.data) for log in logs)
            self._published[link.hash] = _Witnessed(link.height, expected, now + PATIENCE_SECONDS)
        elif len(self._missed) < WATCHED_TIPSETS:
            self._missed[link.hash] = _Missed(link.height, len(logs))

    def rewound(self, height: int) -> None:
        """Everything above `height` is undone."""
        self._published = {block: one for block, one in self._published.items() if one.height <= height}
        self._missed = {block: one for block, one in self._missed.items() if one.height <= height}

    def missed(self, tip: int) -> range:
        """Heights to ask the logs of, at this tip: of tipsets that were not streamed, and lie deep enough below it."""
        self._tip = tip
        due = (one for one in self._missed.values() if one.height <= tip - CONFIRMED_EPOCHS and one.looked_at_tip < tip)
        heights = sorted(one.height for one in due)
        return range(heights[0], min(heights[-1], heights[0] + LONGEST_RANGE_EPOCHS - 1) + 1) if heights else range(0)

    def forget_missed(self) -> None:
        """The node does not tell logs by height: there is no witness of what was missed."""
        self._missed.clear()

    def counted(self, heights: range, logs: Counter[Hash]) -> list[int]:
        """So many logs the node tells of each tipset at `heights`; those heights where that is not what was published.

        What differs is asked again at a higher tip before it is told: the node may have been on a fork that we had not heard of.
        """
        wrong = []
        for block, one in list(self._missed.items()):
            if one.height not in heights or one.looked_at_tip >= self._tip:
                continue
            differs, seen_before = logs[block] != one.logs, one.looked_at_tip >= 0
            if differs and not seen_before:
                one.looked_at_tip = self._tip
                continue
            if differs:
                wrong.append(one.height)
            del self._missed[block]
        return wrong

    def mismatches(self, tip: int, now: float) -> list[int]:
        """The heights that lie deep enough below `tip` by now and do not agree, also at a second look; each is told once."""
        wrong = []
        for block, one in list(self._published.items()):
            if one.height > tip - CONFIRMED_EPOCHS or one.due_at > now:
                continue
            streamed = self._covered.get(block)
            if streamed is not None and +streamed != one.expected and not one.suspected:
                one.suspected, one.due_at = True, now + PATIENCE_SECONDS
                continue
            if streamed is not None and +streamed != one.expected:
                wrong.append(one.height)
            del self._published[block]
            self._covered.pop(block, None)
        if len(self._covered) + len(self._unsure) >= WATCHED_TIPSETS:
            self._covered.clear()
            self._unsure.clear()
        return wrong
