import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from processors.folds import Contribution
from processors.readings import Snapshot, StreamReading
from processors.store import Applied, Outcome, Store, Tip, networks
from processors.windows import Window, parse_all
from streams.errors import RecordFault, StoreFault, UsageError
from streams.records import Contract, LogsRecord, Record, Rewind, stream_of
from tests.conftest import running, servers
from tests.processors.strategies import FIRST_HEIGHT, NETWORK, Naive, Step, Walker, contribution, recount, rewind, shuffled, steps, tipset
from tests.processors.writers import MOVES, Move, played

SMALL = parse_all(["3e", "7e", "12e"])
OTHER = parse_all(["5e", "12e", "30e"])


@pytest.fixture(scope="module", params=sorted(servers()))
def redis_socket(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test here runs on each server that this machine has."""
    with running(servers()[request.param]) as socket:
        yield socket


@pytest.fixture
async def store(redis: Redis) -> Store:
    """A store with small windows."""
    made = Store(redis, NETWORK)
    await made.configure(SMALL)
    return made


def on_empty_server(socket: str, test: Callable[[Redis], Awaitable[None]]) -> None:
    """Runs one example of a property on a server of its own."""

    async def run() -> None:
        async with Redis(unix_socket_path=socket) as client:
            await client.flushall()
            await test(client)

    asyncio.run(run())


async def put(store: Store, record: Record) -> Applied:
    """Applies the record with what `contribution` says of it."""
    return await store.apply(record, None if isinstance(record, Rewind) else contribution(record.sequence))


async def shown(store: Store) -> StreamReading:
    """Stream `tipsets` of the snapshot."""
    return (await store.snapshot()).streams["tipsets"]


async def chain(store: Store, first: int, last: int) -> dict[int, Contribution | None]:
    """Applies a tipset at every height from `first` to `last`; what they hold."""
    for height in range(first, last + 1):
        await put(store, tipset(height, height - 1, height))
    return {height: contribution(height) for height in range(first, last + 1)}


async def check_interning(redis: Redis, stream: str = "tipsets") -> None:
    """Each id that is named by a stored part has its member and the right count, and there is no other."""
    name = f"pulse:{{{NETWORK}}}:{stream}:"
    script = """
    local uses = {}
    local function count(part)
      for i = 2, #part[2], 2 do
        for _, id in ipairs(part[2][i]) do uses[id] = (uses[id] or 0) + 1 end
      end
    end
    for _, value in ipairs(redis.call('HVALS', KEYS[1])) do count(cmsgpack.unpack(value)) end
    for _, value in ipairs(redis.call('HVALS', KEYS[2])) do
      if #value > 17 then count(cmsgpack.unpack(value:sub(18))) end
    end
    local flat = {}
    for id, count in pairs(uses) do flat[#flat + 1] = id; flat[#flat + 1] = count end
    return flat
    """
    answer: Any = await redis.eval(script, 2, name + "parts", name + "registers")
    rows: Any = await redis.hgetall(name + "uses")
    ids: Any = await redis.hgetall(name + "ids")
    assert {int(id_): int(row.split(b":", 1)[0]) for id_, row in rows.items()} == dict(zip(answer[::2], answer[1::2], strict=True))
    assert {row.split(b":", 1)[1]: int(id_) for id_, row in rows.items()} == {member: int(id_) for member, id_ in ids.items()}


# Properties -----------------------------------------------------------------------------------------------------------------


@given(steps=steps(longest_fork=30, most=60), seed=st.integers(0, 2**32), reach=st.sampled_from((0, 3, 1000)))
def test_any_delivery_ends_in_the_recount(redis_socket: str, steps: list[Step], seed: int, reach: int) -> None:
    """Forks, null rounds, restarts from stale checkpoints, an old run that is late, any order, any number of copies."""
    walker = Walker()
    walker.walk(steps)

    async def test(redis: Redis) -> None:
        store, naive = Store(redis, NETWORK), Naive()
        await store.configure(SMALL)
        deliveries = shuffled(walker.records, seed, reach)
        for place, record in enumerate(deliveries):
            await put(store, record)
            naive.apply(record)
            if place % 16 == seed % 16:
                assert await shown(store) == recount(naive.held, SMALL, naive.lowest)
        held = walker.held()
        assert naive.held == held
        assert await shown(store) == recount(held, SMALL, naive.lowest)
        assert [(tip.height, tip.sequence) for tip in await store.tail()] == walker.chain[::-1]
        await check_interning(redis)

    on_empty_server(redis_socket, test)


@given(moves=MOVES, seed=st.integers(0, 2**32), reach=st.sampled_from((0, 3, 1000)))
def test_two_writers_end_in_what_the_leader_published(redis_socket: str, moves: list[Move], seed: int, reach: int) -> None:
    """Fenced ones go on sending, each takes over from the other, all arrives in any order, up to three times: the leader's holds."""
    model, leader = played(moves)
    records = [one.record() for one in model.sent]
    values = [one.value for one in model.sent]
    chain = [(FIRST_HEIGHT + height, records[values.index(value)].sequence) for height, value in leader.chain]
    held = dict.fromkeys(range(FIRST_HEIGHT, chain[0][0])) | Walker(chain=chain).held()

    async def test(redis: Redis) -> None:
        store, naive = Store(redis, NETWORK), Naive()
        await store.configure(SMALL)
        for record in shuffled(records, seed, reach):
            await put(store, record)
            naive.apply(record)
        assert await shown(store) == recount(held, SMALL, naive.lowest)
        assert [(tip.height, tip.sequence) for tip in await store.tail()] == chain[::-1]

    on_empty_server(redis_socket, test)


@given(steps=steps(longest_fork=30, most=150), seed=st.integers(0, 2**32))
def test_what_is_forgotten_is_not_missed(redis_socket: str, steps: list[Step], seed: int) -> None:
    """With retention for reorgs of 30 epochs, windows stay exact over forks of 30 epochs, and no more than that is kept."""
    windows = parse_all(["2e", "5e"])

    async def test(redis: Redis) -> None:
        store, walker, naive = Store(redis, NETWORK, survive_reorg_epochs=31), Walker(), Naive()
        await store.configure(windows)
        for step in steps:
            walker.records.clear()
            walker.walk([step])
            for record in walker.records:
                await put(store, record)
                naive.apply(record)
        seen = await shown(store)
        assert seen.windows == recount(walker.held(), windows, naive.lowest).windows
        above = sum(height > (seen.head or 0) for height in naive.sequences)
        assert await redis.hlen(f"pulse:{{{NETWORK}}}:tipsets:parts") <= 5 + 31
        assert await redis.hlen(f"pulse:{{{NETWORK}}}:tipsets:registers") <= 2 * 5 + 31 + above
        await check_interning(redis)

    on_empty_server(redis_socket, test)


@given(before=steps(10, 40), after=steps(10, 40), windows=st.lists(st.sampled_from((SMALL, OTHER, OTHER[:1])), min_size=1, max_size=3))
def test_windows_change_while_running(redis_socket: str, before: list[Step], after: list[Step], windows: list[tuple[Window, ...]]) -> None:
    """Configured anew, in the middle or at the end, the windows show what they would have shown from the start."""
    walker = Walker()
    walker.walk(before)
    middle = len(walker.records)
    walker.walk(after)

    async def test(redis: Redis) -> None:
        store, naive = Store(redis, NETWORK), Naive()
        await store.configure(SMALL)
        for place, record in enumerate(walker.records):
            if place == middle:
                for configured in windows:
                    await store.configure(configured)
            await put(store, record)
            naive.apply(record)
        assert await shown(store) == recount(walker.held(), windows[-1] if middle < len(walker.records) else SMALL, naive.lowest)
        await store.configure(OTHER)
        assert await shown(store) == recount(walker.held(), OTHER, naive.lowest)
        await check_interning(redis)

    on_empty_server(redis_socket, test)


@given(values=st.lists(st.integers(-(10**30), 10**30), min_size=1, max_size=20))
def test_sums_are_exact(redis_socket: str, values: list[int]) -> None:
    """Amounts of any size and sign add up as Python adds them, entering and leaving."""

    async def test(redis: Redis) -> None:
        store = Store(redis, NETWORK)
        await store.configure(SMALL)
        for height, value in enumerate(values):
            await store.apply(tipset(height, height - 1, height + 1), Contribution({"amount": value}))
        for window in SMALL:
            expected = sum(values[-window.epochs :])
            assert (await shown(store)).windows[window.name].sums == ({"amount": expected} if expected else {})

    on_empty_server(redis_socket, test)


# Records --------------------------------------------------------------------------------------------------------------------


async def test_outcomes(store: Store) -> None:
    """A record is applied once, stale when it comes again or late, too old far behind the head."""
    expected: list[tuple[Record, Outcome, int | None]] = [
        (tipset(1000, 999, 5), "applied", 1000),
        (tipset(1000, 999, 5), "stale", 1000),
        (tipset(1000, 990, 4), "applied", 1000),  # the heights below were not spoken for yet
        (tipset(1000, 999, 4), "stale", 1000),
        (tipset(1000 - 924, 75, 9), "too_old", 1000),
        (rewind(1000, 1000, 10), "stale", 1000),  # of no height at all
        (rewind(999, 1001, 10), "applied", None),
    ]
    for record, outcome, head in expected:
        assert await put(store, record) == Applied(outcome, head)


@pytest.mark.parametrize(
    "record",
    [
        tipset(5, 5, 1),
        tipset(5, 7, 1),
        tipset(5, 4, 2**63),
        tipset(5, 4, -1),
        LogsRecord(network="mainnet", sequence=1, height=5, parent_height=4, hash="0x" + "00" * 32, noticed_at=0.0),
        LogsRecord(network=NETWORK, sequence=1, height=5, parent_height=4, hash="0xhash", noticed_at=0.0),
    ],
)
async def test_poison_is_refused_before_redis_sees_it(store: Store, redis: Redis, record: Record) -> None:
    """A record that can never be applied raises RecordFault and leaves nothing."""
    keys = await redis.dbsize()
    with pytest.raises(RecordFault):
        await store.apply(record, Contribution())
    assert await redis.dbsize() == keys


async def test_a_sum_beyond_reason_is_a_fault_of_the_record(store: Store) -> None:
    """No amount on a chain has 160 bits."""
    await store.apply(tipset(1, 0, 1), Contribution({"amount": 2**160 - 1}))
    with pytest.raises(RecordFault, match="amount"):
        await store.apply(tipset(2, 1, 2), Contribution({"amount": 2**160}))


async def test_streams_are_apart(store: Store) -> None:
    """Tipsets and logs have heads, windows and registers of their own, and a rewind names its stream."""
    await put(store, tipset(1000, 999, 1))
    logs = LogsRecord(network=NETWORK, sequence=2, height=1001, parent_height=1000, hash="0x" + "01" * 32, noticed_at=0.0)
    assert stream_of(logs) == "logs"
    await store.apply(logs, Contribution({"events:dex": 3}))
    await put(store, rewind(999, 1001, 3))
    snapshot = await store.snapshot()
    assert snapshot.streams["tipsets"].head is None
    assert snapshot.streams["logs"].head == 1001
    assert snapshot.streams["logs"].windows["3e"].sums == {"events:dex": 3}


async def test_a_long_stand_still_is_null_rounds(store: Store) -> None:
    """A parent thousands of epochs below: all that is kept in between is null, whatever the number of calls that it takes."""
    await put(store, tipset(1000, 999, 1))
    await put(store, tipset(4000, 1000, 2))
    seen = await shown(store)
    assert (seen.head, seen.processed, seen.null, seen.missing) == (4000, 1, 2 * 12 + 900 - 1, 0)
    assert seen.windows["12e"].coverage == 1


async def test_a_deep_rewind_is_emptied_in_runs(store: Store) -> None:
    """Everything down to the named height is empty, also where that is more than one call writes."""
    await put(store, tipset(1000, 999, 1))
    await put(store, tipset(1900, 1000, 2))
    assert await put(store, rewind(1000, 2500, 3)) == ("applied", 1000)
    assert await put(store, rewind(-1, 10**9, 4)) == ("applied", None)
    assert (await store.snapshot()).latest == {}


async def test_a_head_far_ahead_starts_anew(store: Store, redis: Redis) -> None:
    """A jump beyond everything kept costs one call, and nothing of what was before stays."""
    await chain(store, 1000, 1020)
    await put(store, tipset(10**9, 10**9 - 1, 10**6))
    held = {10**9: contribution(10**6)}
    assert await shown(store) == recount(held, SMALL, 10**9)
    assert await redis.hlen(f"pulse:{{{NETWORK}}}:tipsets:registers") == 1
    await check_interning(redis)


async def test_history_may_be_filled_backwards(store: Store) -> None:
    """Records below the head fill their windows whenever they come, and the ledger counts what is still missing."""
    await put(store, tipset(1000, 999, 1))
    await put(store, tipset(990, 988, 2))
    assert (await shown(store)).missing == 9
    held: dict[int, Contribution | None] = {1000: contribution(1), 990: contribution(2), 989: None}
    assert await shown(store) == recount(held, SMALL, 989)


async def test_what_was_filled_in_late_is_forgotten_too(redis: Redis) -> None:
    """After a rewind the head is lower, and so is what may be filled in; it goes again as the head rises."""
    store = Store(redis, NETWORK, survive_reorg_epochs=20)
    await store.configure(SMALL[:1])
    held = await chain(store, 1000, 1040)
    await put(store, rewind(1030, 1040, 2000))
    await put(store, tipset(1010, 1009, 2001))
    assert (await shown(store)).windows == recount({height: held[height] for height in range(1000, 1031)}, SMALL[:1], 1000).windows
    for height in range(1031, 1041):
        await put(store, tipset(height, height - 1, 3000 + height))
    assert await redis.hlen(f"pulse:{{{NETWORK}}}:tipsets:parts") == 3 + 20
    await check_interning(redis)


async def test_facts_follow_the_head(store: Store) -> None:
    """`latest` tells of the newest tipset, back after a rewind too, beside what the follower writes; a tail goes back from it."""
    await chain(store, 1000, 1003)
    await store.write_facts({"node_head_epoch": "1009", "chain_id": "314"})
    await put(store, rewind(1002, 1003, 2000))
    assert (await store.snapshot()).latest == {
        "height": "1002",
        "hash": f"0x{1002:064x}",
        "timestamp_seconds": str(30 * 1002),
        "base_fee_attofil": "1102",
        "node_head_epoch": "1009",
        "chain_id": "314",
    }
    await put(store, tipset(1002, 1001, 3000))
    assert (await store.snapshot()).latest["hash"] == f"0x{3000:064x}"
    await put(store, tipset(1002, 1001, 3002))
    assert await store.tail(limit=2) == [Tip(1002, f"0x{3002:064x}", 3002), Tip(1001, f"0x{1001:064x}", 1001)]
    assert len(await store.tail()) == 3


# Windows --------------------------------------------------------------------------------------------------------------------


async def test_a_long_window_is_built_in_steps(redis: Redis) -> None:
    """A window configured over more history than one call accounts for is whole when `configure` returns."""
    store = Store(redis, NETWORK)
    await store.configure(SMALL)
    held = await chain(store, 1000, 1900)
    wider = (*SMALL, Window("800e", 800))
    await store.configure(wider)
    assert await shown(store) == recount(held, wider, 1000)
    await check_interning(redis)


async def test_a_window_beyond_what_is_kept_says_so(redis: Redis) -> None:
    """Heights whose contribution was dropped are missing in a new, longer window: never counted as processed with nothing in them."""
    store = Store(redis, NETWORK, survive_reorg_epochs=2)
    await store.configure(SMALL[:1])
    await chain(store, 1000, 1020)
    await store.configure(OTHER[1:2])
    window = (await shown(store)).windows["12e"]
    assert (window.processed, window.coverage) == (5, 5 / 12)
    assert window.sums == recount({height: contribution(height) for height in range(1016, 1021)}, OTHER[1:2], 1000).windows["12e"].sums


async def test_history_that_is_given_up_is_told(store: Store) -> None:
    """A longest window that becomes shorter forgets; one that becomes longer does not."""
    with structlog.testing.capture_logs() as said:
        await store.configure((*OTHER, *parse_all(["1h"])))
        assert said == []
        await store.configure(OTHER[:1])
    assert [(one["log_level"], one["was_epochs"], one["is_epochs"]) for one in said] == [("warning", 120, OTHER[0].epochs)]


async def test_windows_that_are_gone_leave_nothing(store: Store, redis: Redis) -> None:
    """Keys of a window live as long as it is configured."""
    await chain(store, 1000, 1030)
    await store.configure(OTHER[:1])
    ranges = {key.decode().split(":ranges:")[1].split(":")[0] async for key in redis.scan_iter(match="*:ranges:*")}
    assert ranges == {"window-5", "before-5", "ranked-5", "ledger", "ever-10"}


def made_by(*names: int) -> Contribution:
    """A contribution of deployments by these."""
    return Contribution(lasting_members={"deployer": frozenset(f"0x{name:040x}" for name in names)})


async def test_a_deployer_is_new_once(store: Store) -> None:
    """New in each window that the first deployment is in; not new where it was there before; new again after a reorg, and after ages."""

    async def new() -> list[int | None]:
        return [window.new_deployers for window in (await shown(store)).windows.values()]

    made = {1000: (1,), 1002: (1, 2), 1008: (1, 3)}
    for height in range(1000, 1009):
        await store.apply(tipset(height, height - 1, height), made_by(*made.get(height, ())))
    # 3e, 7e, 12e: (1005, 1008] has 1 and 3, (1001, 1008] has 1, 2 and 3, of which 1 was there before.
    assert await new() == [1, 2, 3]
    await put(store, rewind(999, 1000, 2000))
    assert await new() == [1, 3, 3]
    await put(store, rewind(1007, 1008, 2001))
    assert await new() == [0, 2, 2]  # (1004, 1007], (1000, 1007], (995, 1007]
    for height in range(1008, 1027):
        await store.apply(tipset(height, height - 1, 3000 + height), made_by(*((1,) if height == 1026 else ())))
    # Kept are 24 epochs, (1002, 1026]: that 1 was there in 1002 is not known any more.
    assert await new() == [1, 1, 1]


async def test_a_store_of_before_there_were_new_deployers_learns_them(store: Store, redis: Redis) -> None:
    """What an older release has kept tells them, once the windows are configured; until then they are not known."""
    held = await chain(store, 1000, 1030)
    name = f"pulse:{{{NETWORK}}}:tipsets:"
    old = [key async for key in redis.scan_iter(match="*:ranges:*") if b":ever-" in key or key.endswith(b":new")]
    assert len(old) == 4
    await redis.delete(*old)
    await cast("Any", redis).hdel(name + "state", "low ever-24", "high ever-24")
    assert {window.new_deployers for window in (await shown(store)).windows.values()} == {None}
    await store.configure(SMALL)
    assert await shown(store) == recount(held, SMALL, 1000)


async def test_two_names_for_one_length_are_two_windows(redis: Redis) -> None:
    """`24h` and `1d` both show, with the same totals."""
    store = Store(redis, NETWORK)
    await store.configure(parse_all(["24h", "1d"]))
    await put(store, tipset(5, 4, 1))
    windows = (await shown(store)).windows
    assert replace(windows["24h"], name="1d") == windows["1d"]


# Redis ----------------------------------------------------------------------------------------------------------------------


async def test_nothing_yet_shows_nothing(redis: Redis) -> None:
    """Before anything is configured: no streams, no tail, no reservation; after: windows without coverage."""
    store = Store(redis, NETWORK)
    assert await store.snapshot() == Snapshot(NETWORK)
    assert (await store.tail(), await store.reserved(), await networks(redis)) == ([], None, [])
    with pytest.raises(StoreFault, match="UNCONFIGURED"):
        await put(store, tipset(5, 4, 1))
    await store.configure(SMALL)
    assert (await shown(store)).windows["3e"].coverage == 0
    assert await networks(redis) == [NETWORK]


async def test_every_key_of_a_network_is_in_one_slot(store: Store, redis: Redis) -> None:
    """A cluster can hold it, and two networks never meet."""
    await chain(store, 1000, 1003)
    await store.reserve(5)
    await store.next_incarnation(1)
    keys = {key.decode() async for key in redis.scan_iter()} - {"pulse:networks"}
    assert keys
    assert all(key.startswith(f"pulse:{{{NETWORK}}}:") for key in keys)


async def test_incarnations_only_grow(store: Store, redis: Redis) -> None:
    """Each is larger than the one before, even when the clock went back; time keeps it so when Redis was emptied."""
    assert [await store.next_incarnation(now) for now in (100, 100, 50, 1000)] == [100, 101, 102, 1000]
    await redis.flushall()
    assert await store.next_incarnation(1030) == 1030


async def test_a_reservation_never_goes_down(store: Store) -> None:
    """An old run that is late can not hide what a new one may have published."""
    await store.reserve(70)
    await store.reserve(60)
    assert await store.reserved() == 70


async def test_evidence_is_kept(store: Store, redis: Redis) -> None:
    """Contracts come back as they were saved; what can not be read is left out."""
    contract = Contract(address="0x" + "ab" * 20, code_hash="0x" + "cd" * 32, selectors=("12345678",))
    await store.save_contracts([contract])
    await store.save_contracts([])
    await redis.hset(f"pulse:{{{NETWORK}}}:contracts", "0x00", b"{")
    assert await store.load_contracts() == {contract.address: contract}


async def test_a_server_that_lost_everything_is_set_up_again(store: Store, redis: Redis) -> None:
    """Scripts and configuration are written again on the way; the records that come then count."""
    await put(store, tipset(5, 4, 1))
    await redis.script_flush()
    assert (await shown(store)).head == 5
    await redis.script_flush()
    await put(store, tipset(6, 5, 2))
    await redis.flushall()
    await redis.script_flush()
    await put(store, tipset(7, 6, 3))
    assert await shown(store) == recount({7: contribution(3)}, SMALL, 7)
    assert await networks(redis) == [NETWORK]


async def test_other_schemas_are_refused(store: Store, redis: Redis) -> None:
    """Data of another release are neither read nor written over."""
    await redis.set(f"pulse:{{{NETWORK}}}:config", b"\x93\x63\x01\x90")
    for call in (store.configure(SMALL), put(store, tipset(5, 4, 1)), store.snapshot()):
        with pytest.raises(UsageError, match="schema 99, this release needs 1"):
            await call
    await redis.set(f"pulse:{{{NETWORK}}}:config", b"nonsense")
    with pytest.raises(UsageError, match="schema"):
        await store.configure(SMALL)


async def test_a_server_out_of_memory_refuses_whole_records(store: Store, redis: Redis) -> None:
    """The fault says what to do, nothing of the record is applied, and it can be applied later."""
    held = await chain(store, 1000, 1003)
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFault, match="out of memory"):
            await put(store, tipset(1004, 1003, 1004))
    finally:
        await redis.config_set("maxmemory", 0)
    assert await shown(store) == recount(held, SMALL, 1000)
    held |= await chain(store, 1004, 1004)
    assert await shown(store) == recount(held, SMALL, 1000)


async def test_a_server_that_is_away_is_a_fault_of_the_store() -> None:
    """Whatever is asked of it."""
    async with Redis(unix_socket_path="/nowhere/redis.sock", retry=Retry(NoBackoff(), 0)) as redis:
        store = Store(redis, NETWORK)
        calls: Sequence[Awaitable[object]] = (
            store.snapshot(),
            put(store, tipset(5, 4, 1)),
            store.reserved(),
            networks(redis),
            store.configure(SMALL),
        )
        for call in calls:
            with pytest.raises(StoreFault, match="Redis is away"):
                await call


async def test_a_client_that_answers_with_text_is_refused() -> None:
    """Hashes and addresses are bytes."""
    async with Redis(decode_responses=True) as redis:
        with pytest.raises(ValueError, match="bytes"):
            Store(redis, NETWORK)
