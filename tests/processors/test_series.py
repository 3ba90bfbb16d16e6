"""The series of samples, against a naive model: whatever comes in whatever order, what is shown is what the youngest words say."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from processors.growth import annualised
from processors.readings import Sample, StateReading
from processors.series import BACK_EPOCHS, DAYS_EPOCHS, HOURS_EPOCHS, KEPT_EPOCHS, Points
from processors.store import Store
from processors.windows import DAY_EPOCHS, FRESH_EPOCHS, HOUR_EPOCHS, parse_all
from streams.errors import RecordFault
from streams.records import Rewind, StateRecord
from tests.conftest import running, servers
from tests.processors.strategies import NETWORK

NAMES = ("power:raw_bytes", "supply:locked_attofil", "pool:a:price_e18")
Word = StateRecord | Rewind


@pytest.fixture(scope="module", params=sorted(servers()))
def redis_socket(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test here runs on each server that this machine has."""
    with running(servers()[request.param]) as socket:
        yield socket


def sampled(height: int, sequence: int, samples: dict[str, int]) -> StateRecord:
    return StateRecord(
        network=NETWORK,
        sequence=sequence,
        height=height,
        parent_height=None,
        hash=f"0x{sequence:064x}",
        noticed_at=0.0,
        timestamp_seconds=30 * height,
        samples=samples,
    )


def rewind(height: int, top: int, sequence: int) -> Rewind:
    return Rewind(network=NETWORK, sequence=sequence, stream="state", height=height, top=top)


@dataclass(slots=True)
class Naive:
    """Every word about every height, for ever."""

    words: dict[int, tuple[int, dict[str, int]]] = field(default_factory=dict)
    top: int = 0
    since: int | None = None

    def take(self, word: Word) -> None:
        """One more, in whatever order they come."""
        if isinstance(word, Rewind):
            said: dict[int, dict[str, int]] = {height: {} for height in range(max(word.height + 1, 0), word.top + 1)}
        else:
            said = {word.height: word.samples}
            self.top = max(self.top, word.height)
            self.since = word.height if self.since is None else min(self.since, word.height)
        for height, samples in said.items():
            if self.words.get(height, (-1, {}))[0] < word.sequence:
                self.words[height] = (word.sequence, samples)

    def samples(self, name: str) -> list[Sample]:
        """All of one name, oldest first."""
        return [Sample(self.words[height][1][name], height) for height in sorted(self.words) if name in self.words[height][1]]

    def thinned(self, name: str, epochs: int, kept: int) -> list[Sample]:
        """Of what is final, the lowest of each span."""
        found: dict[int, Sample] = {}
        for sample in self.samples(name):
            if sample.height <= self.top - KEPT_EPOCHS and sample.height // epochs >= (self.top - kept) // epochs:
                found.setdefault(sample.height // epochs, sample)
        return list(found.values())

    def points(self, name: str) -> Points:
        """All that is to be kept of one name."""
        recent = [one for one in self.samples(name) if one.height > self.top - KEPT_EPOCHS]
        return Points(recent, self.thinned(name, HOUR_EPOCHS, HOURS_EPOCHS), self.thinned(name, DAY_EPOCHS, DAYS_EPOCHS))

    def reading(self) -> StateReading:
        """What a snapshot shows."""
        head = max((height for height, (_, samples) in self.words.items() if samples), default=None)
        if head is None or head <= self.top - KEPT_EPOCHS:
            return StateReading()
        newest = {name: newest_of(self.samples(name), head, FRESH_EPOCHS - 1) for name in NAMES}
        latest = {name: sample for name, sample in newest.items() if sample is not None}
        past: dict[int, dict[str, Sample]] = {}
        for back, tolerance in BACK_EPOCHS.items():
            fine = back + tolerance < KEPT_EPOCHS
            near = {name: self.thinned(name, HOUR_EPOCHS, HOURS_EPOCHS) + (self.points(name).recent if fine else []) for name in latest}
            found = {name: newest_of(samples, head - back, tolerance) for name, samples in near.items()}
            past[back] = {name: sample for name, sample in found.items() if sample is not None}
        return StateReading(head, latest, past, self.since)


def newest_of(samples: Iterable[Sample], target: int, tolerance: int) -> Sample | None:
    near = [one for one in samples if target - tolerance <= one.height <= target]
    return near[-1] if near else None


def some(rng: random.Random, height: int) -> dict[str, int]:
    """Samples of some names; large, small, negative, and of the height."""
    return {name: rng.choice((height, -(10**30) - height, 2**200 + height)) for name in rng.sample(NAMES, rng.randint(1, len(NAMES)))}


def history(rng: random.Random, count: int, longest_step: int) -> list[list[Word]]:
    """A follower's words: growth with null rounds and gaps, reorgs, a restart that takes back what may be left; in batches."""
    batches: list[list[Word]] = [[]]
    height, sequence = rng.randint(0, 500), 1
    for _ in range(count):
        sequence += rng.choice((1, 1, 3, 2**32))
        match rng.randrange(8):
            case 0:
                low = max(height - rng.choice((1, 3, 30, 400)), 0)
                batches[-1].append(rewind(low, height + rng.choice((0, 2, 256)), sequence))
                height = low
            case 1:
                batches.append([])
                height += rng.randint(1, longest_step)
            case _:
                height += rng.choice((1, 1, 2, 40, 130))
                batches[-1].append(sampled(height, sequence, some(rng, height)))
    return batches


def on_store(socket: str, words: list[Word], names: Iterable[str] = NAMES) -> tuple[StateReading, dict[str, Points]]:
    """What a store shows after these."""

    async def run() -> tuple[StateReading, dict[str, Points]]:
        async with Redis(unix_socket_path=socket) as client:
            await client.flushall()
            store = Store(client, NETWORK)
            await store.configure(parse_all(["3e"]))
            for word in words:
                await store.apply(word)
            return (await store.snapshot()).state, {name: await store.series.points(name) for name in names}

    return asyncio.run(run())


def expected(words: Iterable[Word]) -> tuple[StateReading, dict[str, Points]]:
    naive = Naive()
    for word in words:
        naive.take(word)
    return naive.reading(), {name: naive.points(name) for name in NAMES}


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_within_a_day_any_order_and_any_repetition_show_the_same(redis_socket: str, seed: int) -> None:
    """Two writers whose words come mixed, some twice: the registers end as the youngest words say."""
    rng = random.Random(seed)
    words = [word for batch in history(rng, 30, 200) for word in batch]
    top = max((word.height for word in words if isinstance(word, StateRecord)), default=0)
    words = [word for word in words if word.height > top - KEPT_EPOCHS or isinstance(word, Rewind)]
    other = [
        sampled(word.height, word.sequence + 2**40, some(rng, word.height)) for word in words if rng.random() < 0.2 and word.height >= 0
    ]
    mixed: list[Word] = [*words, *other, *rng.sample(words, len(words) // 3)]
    rng.shuffle(mixed)
    assert on_store(redis_socket, mixed) == expected(mixed)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_months_are_thinned_to_the_same_points_whatever_the_order_within_a_day(redis_socket: str, seed: int) -> None:
    """Of what is final the lowest of each hour and each day is kept for each name, and readings find the nearest of them."""
    rng = random.Random(seed)
    words: list[Word] = []
    for batch in history(rng, 120, rng.choice((500, 9000, 40_000))):
        mixed = batch + rng.sample(batch, len(batch) // 3)
        rng.shuffle(mixed)
        words += mixed
    reading, points = on_store(redis_socket, words)
    wanted, wanted_points = expected(words)
    assert reading == wanted
    for name, found in points.items():
        top = wanted_points[name]
        assert found.recent == top.recent
        for kept, right in ((found.hourly, top.hourly), (found.daily, top.daily)):
            assert kept[len(kept) - len(right) :] == right


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_history_that_is_filled_in_later_takes_its_place(redis_socket: str, seed: int) -> None:
    """Newest first or oldest first, far below the head or at it: the same points, and the head stays."""
    rng = random.Random(seed)
    heights = rng.sample(range(80 * DAY_EPOCHS), 60)
    words = [sampled(height, place + 1, some(rng, height)) for place, height in enumerate(heights)]
    words.append(sampled(80 * DAY_EPOCHS, 1000, dict.fromkeys(NAMES, 5)))
    shown = [on_store(redis_socket, sorted(words, key=lambda word: word.height, reverse=down)) for down in (False, True)]
    assert shown[0] == shown[1] == expected(words)


async def test_a_sample_of_ninety_days_ago_is_found(redis: Redis) -> None:
    """Each distance has the nearest sample at or before it, in one round trip; what is too far from it is absent."""
    store = Store(redis, NETWORK)
    await store.configure(parse_all(["3e"]))
    head = 100 * DAY_EPOCHS
    for place, height in enumerate([*range(head - 92 * DAY_EPOCHS, head - 5000, 1000), *range(head - 4000, head + 1, 50)]):
        await store.apply(sampled(height, place + 1, {"power:raw_bytes": height}))
    state = (await store.snapshot()).state
    assert state.head == head
    assert state.latest == {"power:raw_bytes": Sample(head, head)}
    for back, tolerance in BACK_EPOCHS.items():
        sample = state.past[back]["power:raw_bytes"]
        assert head - back - tolerance <= sample.height <= head - back
    assert state.past[DAY_EPOCHS]["power:raw_bytes"].height == head - DAY_EPOCHS - 20


async def test_what_no_reader_could_take_is_refused(redis: Redis) -> None:
    """Names without end, and samples without number."""
    store = Store(redis, NETWORK)
    await store.configure(parse_all(["3e"]))
    for samples in ({"n" * 300: 1}, {str(number): number for number in range(2000)}):
        with pytest.raises(RecordFault, match="samples at 7"):
            await store.apply(sampled(7, 1, samples))


async def test_a_server_without_scripts_gets_them(redis: Redis) -> None:
    """It was started again, or somebody flushed them."""
    store = Store(redis, NETWORK)
    await store.configure(parse_all(["3e"]))
    await store.apply(sampled(7, 1, {"base_fee_attofil": 100}))
    await redis.script_flush()
    assert (await store.snapshot()).state.latest == {"base_fee_attofil": Sample(100, 7)}
    await redis.script_flush()
    assert (await store.apply(sampled(8, 2, {}))).outcome == "applied"
    assert (await store.apply(sampled(8, 2, {}))).outcome == "stale"


def without_since(reading: StateReading) -> StateReading:
    return replace(reading, since=None)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
@example(seed=4648)  # its head comes to lie a whole reorg lower
def test_a_rewind_leaves_what_never_having_had_the_samples_leaves(redis_socket: str, seed: int) -> None:
    """What a reorg takes back is gone from the newest samples, from the past and from all growth, whatever came instead."""
    rng = random.Random(seed)
    steps = [rng.choice((1, 1, 2, 40, 130)) for _ in range(rng.randint(5, 80))]
    heights = [500 + sum(steps[:place]) for place in range(len(steps))]
    chain: list[Word] = [sampled(height, place + 1, some(rng, height)) for place, height in enumerate(heights)]
    fork = max(heights[-1] - rng.choice((0, 1, 5, 60, 900)), heights[0])
    orphans = [sampled(fork + step, 1000 + step, dict.fromkeys(NAMES, 7)) for step in sorted(rng.sample(range(1, 901), rng.randint(1, 9)))]
    kept = [word for word in chain if word.height <= fork]
    branch: list[Word] = [
        sampled(fork + step, 3000 + step, some(rng, step)) for step in sorted(rng.sample(range(1, 901), rng.randint(0, 9)))
    ]
    undone = rewind(fork, max(heights[-1], *(one.height for one in orphans)), 2000)
    with_them, _ = on_store(redis_socket, [*chain, *orphans, undone, *branch])
    never, _ = on_store(redis_socket, [*kept, *branch])
    assert without_since(with_them) == without_since(never)
    for now, then in ((with_them, never),):
        for back, past in now.past.items():
            for name, sample in past.items():
                assert annualised(now.latest[name], sample) == annualised(then.latest[name], then.past[back][name])
