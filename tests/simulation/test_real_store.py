"""The same histories on a real Redis: what happened to the model of the store happens to the store, and both show the same."""

from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from processors.classify import Classifier, Contracts
from processors.folds import fold_logs, fold_tipset
from processors.store import Store
from processors.windows import parse_all
from streams.records import COUNTED_STREAMS, LogsRecord, Record, TipsetRecord
from tests.simulation.run import Operation, Simulation
from tests.simulation.verdict import check

WINDOWS = parse_all(["20e", "120e"])
SEEDS = range(9000, 9060)
NOBODY = Classifier(Contracts())


async def replay(redis: Redis, operations: Sequence[Operation]) -> Store:
    """A store to which all of this happened; a rollback empties it and applies again what was there then."""
    targets = {argument for kind, argument in operations if kind == "rollback"}
    copies: dict[int, list[Record]] = {0: []}
    live: list[Record] = []
    network = next(argument.network for kind, argument in operations if kind == "apply")
    store = await _emptied(redis, network)
    for number, (kind, argument) in enumerate(operations, start=1):
        if kind == "apply":
            live.append(argument)
            await _apply(store, argument)
        else:
            live = list(copies[argument])
            store = await _emptied(redis, network)
            for record in live:
                await _apply(store, record)
        if number in targets:
            copies[number] = list(live)
    return store


async def _emptied(redis: Redis, network: str) -> Store:
    await redis.flushall()
    store = Store(redis, network)
    await store.configure(WINDOWS)
    return store


async def _apply(store: Store, record: Record) -> None:
    match record:
        case TipsetRecord():
            await store.apply(record, fold_tipset(record, NOBODY))
        case LogsRecord():
            await store.apply(record, fold_logs(record, NOBODY))
        case _:
            await store.apply(record)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_store_shows_what_the_model_shows(redis: Redis, seed: int) -> None:
    """Head, ledger, sums and distinct counts of every window, after forks, rollbacks, redelivery and disorder."""
    world = Simulation(seed)
    world.run()
    check(world)
    store = await replay(redis, world.operations)
    snapshot = await store.snapshot()
    for stream in COUNTED_STREAMS:
        shown = snapshot.streams[stream]
        for window in WINDOWS:
            wanted, found = world.store.figures(stream, window.epochs), shown.windows[window.name]
            assert (shown.head, found.processed, found.null) == (wanted.head, wanted.processed, wanted.null)
            assert found.sums == {name: value for name, value in wanted.sums.items() if value}
            assert {kind: found.distinct[kind] for kind in wanted.members} == {kind: len(of) for kind, of in wanted.members.items()}
