"""The benchmark over Kafka runs, with few records, and tells what it says it measures; how fast anything is, is not looked at."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import kafka as bench
from benchmarks.kafka import BARE, OURS, Feed, Plan, Race, between, contenders, fill, kafka, measured, race
from benchmarks.measure import Report
from benchmarks.synthetic import TINY
from benchmarks.throughput import encoded
from tests.brokers import Broker

FEW = Plan(before=4, tipsets=400, rounds=1)
MEASURED = {"messages_per_second", "cpu_seconds_per_million_messages", "redis_share_of_a_core", "peak_mib"}


@pytest.fixture(autouse=True)
def _without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other libraries take part where they are installed; here they are not."""
    monkeypatch.setattr(bench, "PEERS", Path("nowhere/bin/python"))


@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_a_bare_loop_over_kafka(kafka: Broker) -> None:
    """What is in the topics is applied, and looked at between the marks."""
    feed = await fill(kafka, "bare", 1, encoded(TINY, 20))
    done = await race(BARE, sys.executable, feed, Plan(before=4, tipsets=20))
    assert done.records == 32
    assert done.seconds > 0
    assert min(done.cpu_seconds, done.redis_cpu_seconds) >= 0
    assert done.peak_mib > 10


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(180)
async def test_everybody_gets_the_same_records(kafka: Broker) -> None:
    """Ours and the bare loop: messages/s, processor time and memory of each, a ratio to the bare loop, as JSON."""
    told: list[str] = []
    (contest,) = await measured(kafka, TINY, FEW, told.append)
    assert [row["contender"] for row in contest.rows] == [OURS, BARE]
    for row in contest.rows:
        assert row.keys() >= MEASURED
        assert float(row["messages_per_second"] or 0) > 0
        assert float(row["peak_mib"] or 0) > 10
    assert [row["ratio"] for row in contest.rows if row["contender"] == BARE] == [1.0]
    assert any("make peers" in note for note in contest.notes)
    assert json.dumps(contest.rows)
    assert len([line for line in told if line.startswith("round 1 of 1")]) == 2


def test_what_lies_between_two_marks() -> None:
    """Records, seconds and processor time are differences, memory is the highest of all that was seen."""
    first, last = Race(10, 100.0, 5.0, 1.0, 60.0), Race(50, 104.0, 7.0, 1.5, 70.0)
    assert between(first, last) == Race(40, 4.0, 2.0, 0.5, 70.0)


def test_a_row_counts_messages() -> None:
    """Two records make a tipset; the processor time is that of the consumer and of Redis, for a million messages."""
    races = [Race(40, 4.0, 2.0, 0.5, 70.0), Race(40, 4.0, 2.0, 0.5, 80.0)]
    messages = 40 * TINY.messages
    assert bench._row("one", races, TINY) == {
        "contender": "one",
        "messages_per_second": messages / 8,
        "cpu_seconds_per_million_messages": pytest.approx(5 / messages * 1e6),
        "redis_share_of_a_core": 1 / 8,
        "peak_mib": 80.0,
    }


def test_who_takes_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other libraries only where they are installed."""
    assert set(contenders()) == {BARE}
    monkeypatch.setattr(bench, "PEERS", tmp_path)
    assert set(contenders()) == {BARE, "confluent-kafka", "quixstreams", "bytewax"}


async def test_a_contestant_that_ends_too_early() -> None:
    """An error, not a result."""
    with pytest.raises(RuntimeError, match="a contestant ended too early"):
        await race(BARE, "/bin/false", Feed("127.0.0.1:1", "none"), FEW)


async def test_without_kafka(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The report says what is missing, and tells no figure."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (report,) = await kafka(TINY, FEW)
    assert isinstance(report, Report)
    assert report.rows == [{"contender": OURS, "messages_per_second": None}]
    assert "java and mvn not found" in report.notes[0]
