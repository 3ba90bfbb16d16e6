"""Records into Redis: the worker against bare loops that do the same writes."""

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from benchmarks.bare import BareLoop
from benchmarks.measure import Report, Rounds, Value, turned
from benchmarks.servers import Server, server
from benchmarks.synthetic import NETWORK, Size, Traffic, registered
from processors.classify import Classifier
from processors.store import Store
from processors.windows import Window, parse_all
from processors.worker import Worker
from streams.metrics import ProcessMetrics
from streams.records import Contract, encode

OURS = "fvm-pulse"
SCRIPTED = "bare, one script"
PIPELINED = "bare, one pipeline"
BARE = (SCRIPTED, PIPELINED)
AIM = 0.85

Feed = Callable[[bytes], Awaitable[None]]


class Plan(NamedTuple):
    """How much is measured: windows, tipsets before the first round, rounds, tipsets in each.

    Rounds are short and many: what else the machine does then hits all contenders alike.
    """

    windows: Sequence[Window]
    before: int
    rounds: int
    tipsets: int


STEADY = Plan(parse_all(["30e", "60e", "120e", "240e"]), 260, 30, 8)
DEFAULTS = Plan(parse_all(["1h", "24h", "7d", "30d"]), 140, 30, 8)


class Contenders(NamedTuple):
    """Who takes part, on one server."""

    store: Store
    bare: dict[str, BareLoop]
    feeds: dict[str, Feed]


async def contenders(redis: Redis, windows: Sequence[Window]) -> Contenders:
    """All of them, on an empty server."""
    classifier = Classifier(registered())

    def class_of(contract: Contract) -> tuple[str, str | None]:
        verdict = classifier.classify(contract)
        return verdict.contract_class, verdict.project

    store = Store(redis, NETWORK)
    await store.configure(windows)
    bare = {name: BareLoop(redis, f"bare:{place}", windows, class_of, scripted=name == SCRIPTED) for place, name in enumerate(BARE)}
    worker = Worker(store, classifier, ProcessMetrics(CollectorRegistry()))
    return Contenders(store, bare, {OURS: worker.process, **{name: one.process for name, one in bare.items()}})


async def measure(plan: Plan, records: Sequence[bytes], *, append_only: bool = False) -> Rounds:
    """Give every contender the same records, round by round."""
    rounds = Rounds()
    with server(append_only=append_only) as running:
        async with Redis(unix_socket_path=running.socket) as redis:
            feeds = (await contenders(redis, plan.windows)).feeds
            for feed in feeds.values():
                await _timed(feed, records[: 2 * plan.before], running)
            for turn in range(plan.rounds):
                start = 2 * (plan.before + turn * plan.tipsets)
                for name in turned(list(feeds), turn):
                    rounds.add(name, *await _timed(feeds[name], records[start : start + 2 * plan.tipsets], running))
    return rounds


async def _timed(feed: Feed, records: Sequence[bytes], running: Server) -> tuple[float, float]:
    start, cpu_start = time.perf_counter(), time.process_time() + running.cpu_seconds
    for record in records:
        await feed(record)
    return time.perf_counter() - start, time.process_time() + running.cpu_seconds - cpu_start


def encoded(size: Size, tipsets: int) -> list[bytes]:
    """So many tipsets, two records each."""
    traffic = Traffic(size)
    return [encode(record) for tipset in islice(traffic.tipsets(), tipsets) for record in (tipset, traffic.logs(tipset))]


async def throughput(size: Size, plans: Sequence[Plan] = (STEADY, DEFAULTS)) -> list[Report]:
    """One report per plan."""
    records = encoded(size, max(plan.before + plan.rounds * plan.tipsets for plan in plans))
    return [_report(plan, size, await measure(plan, records)) for plan in plans]


def _report(plan: Plan, size: Size, rounds: Rounds) -> Report:
    fastest = rounds.fastest(BARE)
    rows: list[dict[str, Value]] = []
    for name in (OURS, *BARE):
        per_second = plan.tipsets / rounds.median_seconds(name)
        messages = plan.rounds * plan.tipsets * size.messages
        rows.append(
            {
                "contender": name,
                "records_per_second": 2 * per_second,
                "messages_per_second": per_second * size.messages,
                "cpu_seconds_per_million_messages": sum(rounds.cpu_seconds[name]) / messages * 1e6,
                "ratio": rounds.ratio(name, fastest),
                "ratio_by_round": rounds.spread(name, fastest),
                "cpu_ratio": rounds.cpu_ratio(name, fastest),
            }
        )
    names = ",".join(window.name for window in plan.windows)
    notes = (
        f"ratio: to the faster bare loop ({fastest}), median of {plan.rounds} interleaved rounds of {plan.tipsets} tipsets; aim {AIM}",
        f"{plan.before} tipsets before the first round; two records a tipset (messages, events); processor time: this process and Redis",
    )
    title = f"Records into Redis, {size.messages} messages a tipset ({size.fevm_messages} FEVM, {size.senders} senders), windows {names}"
    return Report("throughput", title, rows, notes)
