from redis.asyncio import Redis

from processors.catalogue import ROWS
from processors.vitals import of, vitals

INFO = {
    "used_memory": 850,
    "maxmemory": 1000,
    "total_system_memory": 5000,
    "connected_clients": 3,
    "total_commands_processed": 7,
    "evicted_keys": 0,
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "db0": {"keys": 4, "expires": 0},
    "db1": {"keys": 1, "expires": 0},
}


def test_what_a_server_tells() -> None:
    """Memory with its limit, keys over databases, counters as they are."""
    assert of(INFO) == {
        "pulse_redis_memory_bytes": [({"kind": "used"}, 850), ({"kind": "max"}, 1000)],
        "pulse_redis_keys": [({}, 5)],
        "pulse_redis_clients": [({}, 3)],
        "pulse_redis_commands_total": [({}, 7)],
        "pulse_redis_evicted_keys_total": [({}, 0)],
        "pulse_redis_persistence_up": [({}, 1)],
    }


def test_without_a_limit_it_is_the_machine_s() -> None:
    """`maxmemory` 0 means none."""
    assert ({"kind": "max"}, 5000) in of({**INFO, "maxmemory": 0})["pulse_redis_memory_bytes"]


def test_a_disk_that_is_full() -> None:
    """Any failed write counts."""
    for name in ("aof_last_write_status", "rdb_last_bgsave_status"):
        assert of({**INFO, name: "err"})["pulse_redis_persistence_up"] == [({}, 0)]


def test_what_is_not_told_is_left_out() -> None:
    """A server behind a proxy may tell next to nothing."""
    assert set(of({})) == {"pulse_redis_keys", "pulse_redis_persistence_up"}


async def test_a_real_server(redis: Redis) -> None:
    """Tells all of it, and each is a metric of the catalogue."""
    await redis.set("a", 1)
    found = await vitals(redis)()
    assert found["pulse_redis_keys"] == [({}, 1)]
    assert found["pulse_redis_memory_bytes"][0][1] > 0
    assert set(found) == {row.metric for row in ROWS if row.group == "redis"}
    for row in ROWS:
        for labels, _ in found.get(row.metric, []):
            assert set(labels) == set(row.labels)
