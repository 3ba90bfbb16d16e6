"""Streamed logs as witnesses: what disagrees is told once, what can not be known is not told at all."""

from collections import Counter
from typing import Any

import pytest

from streams import streamed as module
from streams.chain import Link
from streams.records import Log
from streams.streamed import CONFIRMED_EPOCHS, LONGEST_RANGE_EPOCHS, PATIENCE_SECONDS, StreamedLogs
from streams.wire import StreamedLog

EMITTER, TOPIC = "0x" + "e1" * 20, "0x" + "70" * 32
LATER = 100.0
"""A time at which all logs have come."""


def link(height: int) -> Link:
    return Link(height, f"0x{height:064x}", f"0x{height - 1:064x}")


def message(height: int) -> str:
    return f"0x{height:062x}ab"


def notice(height: int, data: str = "0x", *, removed: bool = False) -> StreamedLog:
    """A log as the node writes it, with other digits' case than ours."""
    return StreamedLog(
        EMITTER.upper().replace("X", "x"),
        (TOPIC,),
        data,
        block_hash=link(height).hash,
        transaction_hash=message(height).upper().replace("X", "x"),
        removed=removed,
    )


def log(index: int, data: str = "0x") -> Log:
    return Log(index, 0, EMITTER, (TOPIC,), data)


class Witness:
    """A node `a` that streams, and what was published."""

    def __init__(self) -> None:
        self.logs = StreamedLogs()
        self.logs.subscribed("a")

    def covered(self, height: int, *notices: StreamedLog) -> None:
        """The tipset is executed, and these logs are streamed."""
        self.logs.covers("a", link(height).hash)
        for one in notices:
            self.logs.notice("a", one)

    def publish(self, height: int, *logs: Log, now: float = 0.0) -> None:
        """The tipset is published with these logs."""
        self.logs.published(link(height), logs, [message(height)], now)

    def wrong(self, tip: int, now: float = LATER) -> list[int]:
        """What disagrees by now, after the second look as well."""
        return self.logs.mismatches(tip, now) + self.logs.mismatches(tip, now + PATIENCE_SECONDS)


def test_what_agrees_is_not_told() -> None:
    """The same logs in any order and as often as they were emitted; a tipset without logs agrees with silence."""
    witness = Witness()
    witness.covered(10, notice(10, "0x02"), notice(10, "0x01"), notice(10, "0x01"))
    witness.publish(10, log(0, "0x01"), log(1, "0x01"), log(2, "0x02"))
    witness.covered(11)
    witness.publish(11)
    assert witness.wrong(20) == []
    assert witness.logs.missed(20) == range(0)


@pytest.mark.parametrize(
    "streamed, published",
    [
        ([notice(10)], []),
        ([], [log(0)]),
        ([notice(10), notice(10)], [log(0)]),
        ([notice(10, "0x01")], [log(0, "0x02")]),
    ],
)
def test_what_differs_is_told_once(streamed: list[StreamedLog], published: list[Log]) -> None:
    """One too many, one too few, or another: only at the second look, and never again."""
    witness = Witness()
    witness.covered(10, *streamed)
    witness.publish(10, *published)
    assert witness.logs.mismatches(20, LATER) == []
    assert witness.logs.mismatches(20, LATER + PATIENCE_SECONDS - 0.1) == []
    assert witness.logs.mismatches(20, LATER + PATIENCE_SECONDS) == [10]
    assert witness.wrong(30, 2 * LATER) == []


def test_nothing_is_compared_too_early() -> None:
    """Neither before the tipset lies deep enough, nor before its logs had time to come; what comes late still counts."""
    witness = Witness()
    witness.covered(10)
    witness.publish(10, log(0), now=50.0)
    assert witness.logs.mismatches(10 + CONFIRMED_EPOCHS - 1, LATER) == []
    assert witness.logs.mismatches(10 + CONFIRMED_EPOCHS, 50.0 + PATIENCE_SECONDS - 0.1) == []
    assert witness.logs.mismatches(10 + CONFIRMED_EPOCHS, 50.0 + PATIENCE_SECONDS) == []
    witness.logs.notice("a", notice(10))
    assert witness.wrong(10 + CONFIRMED_EPOCHS, LATER) == []


def test_what_was_taken_back_and_streamed_again_counts_once() -> None:
    """A fork that comes back removes a log and streams it again."""
    witness = Witness()
    witness.covered(10, notice(10), notice(10, removed=True), notice(10))
    witness.publish(10, log(0))
    witness.covered(11, notice(11), notice(11, removed=True))
    witness.publish(11)
    assert witness.wrong(20) == []


def test_what_was_streamed_before_we_listened_is_no_witness() -> None:
    """A log taken back that was never seen: the tipset is left out, however much is streamed of it from then on."""
    witness = Witness()
    witness.covered(10, notice(10, removed=True), notice(10), notice(10))
    witness.covered(10)
    witness.publish(10)
    assert witness.wrong(20) == []


def test_only_the_first_endpoint_is_listened_to() -> None:
    """Two nodes that stream the same do not count twice; when the first one breaks, all that it told is forgotten."""
    witness = Witness()
    witness.logs.subscribed("b")
    witness.covered(10, notice(10))
    witness.logs.covers("b", link(11).hash)
    witness.logs.notice("b", notice(10))
    witness.publish(10, log(0))
    witness.logs.unsubscribed("b")
    assert witness.wrong(20) == []
    witness.covered(12)
    witness.logs.unsubscribed("a")
    witness.publish(12, log(0))
    witness.publish(13, log(0))
    assert witness.wrong(30) == []
    assert witness.logs.missed(30) == range(12, 14)
    witness.logs.subscribed("b")
    witness.logs.covers("b", link(14).hash)
    witness.publish(14, log(0))
    assert witness.wrong(40) == [14]


def test_a_stream_that_broke_before_the_look_is_no_witness() -> None:
    """What was published while covered can not be compared any more."""
    witness = Witness()
    witness.covered(10)
    witness.publish(10, log(0))
    witness.logs.unsubscribed("a")
    assert witness.wrong(20) == []


def test_what_was_undone_is_not_compared() -> None:
    """Tipsets above a rewind are neither wrong nor missed; published again, they are compared again."""
    witness = Witness()
    for height in (10, 11):
        witness.covered(height)
        witness.publish(height, log(0))
    witness.publish(12)
    witness.publish(13)
    witness.logs.rewound(10)
    assert witness.logs.missed(30) == range(0)
    assert witness.wrong(30) == [10]
    witness.publish(11, log(0), now=LATER)
    assert witness.wrong(30, 2 * LATER) == [11]


def test_what_was_missed_is_counted_in_ranges() -> None:
    """From the lowest to the highest that lies deep enough, at most so many epochs at once; what differs only at a higher tip again."""
    witness = Witness()
    for height in (10, 12, 13 + LONGEST_RANGE_EPOCHS, 5000):
        witness.publish(height, log(0))
    assert witness.logs.missed(9 + CONFIRMED_EPOCHS) == range(0)
    assert witness.logs.missed(12 + CONFIRMED_EPOCHS) == range(10, 13)
    heights = witness.logs.missed(6000)
    assert heights == range(10, 10 + LONGEST_RANGE_EPOCHS)
    for _ in range(2):
        assert witness.logs.counted(heights, Counter({link(10).hash: 1, link(11).hash: 7})) == []
        assert witness.logs.missed(6000) == range(13 + LONGEST_RANGE_EPOCHS, 13 + 2 * LONGEST_RANGE_EPOCHS)
    assert witness.logs.missed(6001) == range(12, 12 + LONGEST_RANGE_EPOCHS)
    assert witness.logs.counted(heights, Counter({link(11).hash: 7})) == [12]
    assert witness.logs.missed(6001) == range(13 + LONGEST_RANGE_EPOCHS, 13 + 2 * LONGEST_RANGE_EPOCHS)
    assert witness.logs.counted(heights, Counter()) == []
    witness.logs.forget_missed()
    assert witness.logs.missed(6000) == range(0)


def test_what_a_node_tells_of_another_fork_is_not_told() -> None:
    """It tells no logs of a tipset that it has left; when we hear of that, the tipset is undone."""
    witness = Witness()
    witness.publish(10, log(0))
    assert witness.logs.counted(witness.logs.missed(20), Counter()) == []
    witness.logs.rewound(9)
    assert witness.logs.missed(21) == range(0)


def bounded(monkeypatch: pytest.MonkeyPatch, **bounds: Any) -> Witness:
    for name, value in bounds.items():
        monkeypatch.setattr(module, name, value)
    return Witness()


def test_a_tipset_with_too_many_logs_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory for witnesses is bounded."""
    witness = bounded(monkeypatch, WATCHED_LOGS=3)
    witness.covered(10, *(notice(10, f"0x0{place}") for place in range(5)))
    witness.publish(10)
    witness.covered(11, *(notice(11, f"0x0{place}") for place in range(3)))
    witness.publish(11)
    assert witness.wrong(20) == [11]


def test_too_many_tipsets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tipsets that were never published do not pile up, nor do those that were missed."""
    witness = bounded(monkeypatch, WATCHED_TIPSETS=4)
    for height in range(10, 17):
        witness.covered(height)
    for height in range(20, 27):
        witness.logs.notice("a", notice(height, "0x00"))
    assert len(witness.logs._covered) == 4
    witness.publish(10, log(0))
    assert witness.wrong(10) == []
    assert witness.logs._covered == {}
    assert witness.wrong(30) == []
    for height in range(30, 40):
        witness.publish(height)
    assert witness.logs.missed(100) == range(30, 34)
