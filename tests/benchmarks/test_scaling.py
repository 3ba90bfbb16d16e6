"""The benchmark of several workers: who is held stays within its share, and the report says what is the limit."""

import asyncio
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.scaling import Look, Plan, Setup, held, measured, processor_seconds, scaling
from benchmarks.synthetic import TINY
from tests.brokers import Broker

COUNTED = (
    "messages_per_second",
    "times_one",
    "workers_s_per_million",
    "redis_s_per_million",
    "broker_s_per_million",
    "redis_share_of_a_core",
)


async def test_who_is_held_has_no_more_than_its_share() -> None:
    """A process that would take a whole core, with two threads, has its share of one, and goes on afterwards."""
    busy = "import threading\ndef turn():\n while True: sum(range(1000))\nthreading.Thread(target=turn, daemon=True).start()\nturn()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", busy)
    try:
        watched = psutil.Process(process.pid)
        await asyncio.sleep(0.3)
        with held(watched, 0.2):
            began, used = time.perf_counter(), processor_seconds(watched)
            await asyncio.sleep(1.5)
            share = (processor_seconds(watched) - used) / (time.perf_counter() - began)
        assert share < 0.25
        assert watched.status() != psutil.STATUS_STOPPED
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(180)
async def test_every_setup_is_measured(kafka: Broker) -> None:
    """Workers as they are, held, and before a Redis that is held: rates, ratios to one worker, and processor time of each part."""
    told: list[str] = []
    setups = (Setup(1), Setup(1, 0.5), Setup(2, 0.5), Setup(1, None, 0.5))
    report = await measured(kafka, TINY, Plan(before=4, tipsets=1200, filled=2000, rounds=1), setups, told.append)
    assert [row["setup"] for row in report.rows] == [str(setup) for setup in setups]
    for row in report.rows:
        assert all(float(row[name] or 0) > 0 for name in COUNTED), row
    assert [report.rows[place]["times_one"] for place in (0, 1, 3)] == [1.0, 1.0, 1.0]
    assert len(told) == len(setups)
    assert any("it is full at" in note for note in report.notes)


def test_what_happened_between_two_looks() -> None:
    """All are differences."""
    first, last = Look(10, 100.0, 5.0, 1.0, 2.0), Look(50, 104.0, 7.0, 1.5, 2.25)
    assert last.since(first) == Look(40, 4.0, 2.0, 0.5, 0.25)


async def test_without_kafka(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The report says what is missing, and tells no figure."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (report,) = await scaling(TINY)
    assert [row["messages_per_second"] for row in report.rows] == [None]
    assert "java and mvn not found" in report.notes[0]
