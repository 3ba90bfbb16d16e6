"""The benchmarks run and measure what they say; how fast anything is, is not looked at."""

import json
import re
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from benchmarks.__main__ import arguments, measured
from benchmarks.backfill import BELOW_EPOCHS, backfill
from benchmarks.bare import TOTALS, BareLoop
from benchmarks.busy import BusyChain
from benchmarks.decoding import decoding
from benchmarks.flood import flood
from benchmarks.latency import latency
from benchmarks.measure import Report, Rounds, percentile, turned
from benchmarks.memory import process_memory, redis_memory
from benchmarks.soak import Pace, growth, soak
from benchmarks.synthetic import TINY, Traffic
from benchmarks.throughput import OURS, Plan, contenders, encoded, throughput
from processors.packing import joined
from processors.windows import Window, parse_all
from streams.records import COUNTED_STREAMS, Stream, decode, encode

WINDOWS = parse_all(["3e", "10e", "40e"])
HEIGHTS = {"processed", "null"}


def columns(report: Report) -> set[tuple[str, ...]]:
    return {tuple(row) for row in report.rows}


async def totals(redis: Redis, loop: BareLoop, stream: Stream, window: Window) -> dict[str, int]:
    found: dict[bytes, bytes] = await cast("Any", redis).hgetall(loop.key(stream, window, TOTALS))
    return joined({field.decode(): int(count) for field, count in found.items()})


async def test_bare_loops_do_the_same_writes(redis: Redis) -> None:
    """On the way and at the end, each bare loop holds the sums and the distinct members that the store holds."""
    made = await contenders(redis, WINDOWS)
    for place, record in enumerate(encoded(TINY, 60)):
        for feed in made.feeds.values():
            await feed(record)
        if place % 40 and place != 119:
            continue
        snapshot = await made.store.snapshot()
        for loop in made.bare.values():
            for stream in COUNTED_STREAMS if place else COUNTED_STREAMS[:1]:
                for window in WINDOWS:
                    reading = snapshot.streams[stream].windows[window.name]
                    bare = await totals(redis, loop, stream, window)
                    assert {name: bare.pop(name, 0) for name in HEIGHTS} == {"processed": reading.processed, "null": reading.null}
                    assert bare == reading.sums
                    for kind, count in reading.distinct.items():
                        assert await redis.hlen(loop.key(stream, window, kind)) == count


async def test_throughput() -> None:
    """Every contender gets the same rounds, and the fastest bare loop is the measure."""
    (report,) = await throughput(TINY, [Plan(WINDOWS, 12, 2, 3)])
    assert report.rows[0]["contender"] == OURS
    assert len(report.rows) == 3
    assert 1.0 in [row["ratio"] for row in report.rows[1:]]


def test_decoding() -> None:
    """Records and a node's answers, each against msgspec."""
    reports = decoding(TINY, rounds=2)
    assert [len(report.rows) for report in reports] == [4, 4]
    assert all(1.0 in [row["ratio"] for row in report.rows] for report in reports)


async def test_latency() -> None:
    """What the node needs and what we need add up, tipset by tipset; so their sum is not below the largest whole."""
    report = await latency(until=20.0)
    whole, theirs, ours = (float(row["max_milliseconds"] or 0) for row in report.rows)
    assert 0 < whole <= theirs + ours
    assert min(int(row["tipsets"] or 0) for row in report.rows) > 20


async def test_backfill() -> None:
    """All that is asked for is filled, every message of it counts, and all of the time was somewhere."""
    whole, places = await backfill(TINY, 30)
    chain = BusyChain(TINY, bodies=1)
    head = chain.parent(chain.at_or_below(30 + BELOW_EPOCHS))
    tipsets = sum(not chain.is_null(height) for height in range(head - 29, head + 1))
    assert whole.rows[0]["messages"] == tipsets * TINY.messages
    assert sum(float(row["share"] or 0) for row in places.rows) == pytest.approx(1, abs=0.1)


async def test_memory() -> None:
    """Looked at on the way and at the end."""
    redis_report, process_report = await redis_memory(TINY, 16), await process_memory(until=10.0)
    assert [row["tipsets"] for row in redis_report.rows] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert process_report.rows[-1]["replayed_percent"] == 100
    assert len(columns(redis_report)) == len(columns(process_report)) == 1


def test_synthetic_records_are_records() -> None:
    """The same seed makes the same chain, of the size asked for, and its records survive their encoding."""
    first, again = (next(Traffic(TINY, seed=7).tipsets()) for _ in range(2))
    assert first == again == decode(encode(first))
    receivers = {message.receiver for message in first.messages}
    contracts = {contract.address for contract in first.contracts}
    assert (len(first.messages), len(contracts)) == (TINY.messages, TINY.contracts)
    assert contracts < receivers
    assert len({message.sender for message in first.messages if message.receiver in contracts}) == TINY.senders


async def test_reports_are_json() -> None:
    """`tell` has each report, and each can be printed as JSON."""
    told: list[Report] = []
    reports = await measured(arguments(["decoding"]), TINY, told.append)
    assert told == reports
    assert json.dumps([report.rows for report in reports])


@pytest.mark.parametrize("flags", [["nothing"], ["--tipsets", "0"], ["--epochs", "0"]])
def test_wrong_flags_are_refused(flags: Sequence[str]) -> None:
    """With exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        arguments(flags)
    assert stopped.value.code == 2


def test_rounds() -> None:
    """Ratios are taken within a round; 2 is twice as fast."""
    rounds = Rounds()
    for slow, fast in ((4.0, 2.0), (9.0, 3.0), (2.0, 1.0)):
        rounds.add("slow", slow, slow)
        rounds.add("fast", fast, fast)
    assert rounds.ratio("fast", "slow") == 2
    assert rounds.spread("fast", "slow") == "2.00 to 3.00"
    assert rounds.cpu_ratio("fast", "slow") == 2.5
    assert rounds.fastest(["slow", "fast"]) == "fast"
    assert turned(["a", "b", "c"], 4) == ["b", "c", "a"]
    assert percentile([1.0, 2.0, 3.0], 50) == 2
    assert percentile([5.0], 99) == 5


async def test_a_soak() -> None:
    """A deployment that is killed on the way ends with what the chain says, and its memory is looked at in between."""
    (report,) = await soak(TINY, Pace(whole=6.0, epoch=0.1, look=2.0, lives=(3.0,)), kafka=False)
    assert len(report.rows) == 3
    assert any(name.endswith("_mib") for name in report.rows[0])
    assert re.fullmatch("in the end every window is what the chain says, after [1-9] kills", report.notes[-1])


async def test_a_flood() -> None:
    """Every sender counts as the one address that it is, and the tipset with many logs is one like any other."""
    (report,) = await flood(TINY, epochs=4, senders=50)
    assert report.rows[-1]["epochs"] == 4
    assert report.notes[0] == "50 new senders a tipset, 239 logs in the one in the middle"
    addresses = int(report.notes[1].split()[6])
    assert addresses >= 200
    assert addresses % 50 == 0
    assert report.notes[1].endswith("every window is what the chain says")


def test_growth_is_of_the_medians() -> None:
    """Of fewer than four looks nothing is said."""
    assert growth([1, 1, None, 3]) is None
    assert growth([1, 2, 3, 2, 2, 9]) == 1
