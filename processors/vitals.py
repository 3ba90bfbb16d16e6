"""How Redis itself is: its memory, its keys, whether it can save. From one `INFO`, which costs Redis next to nothing."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis

from processors.samples import Sample

Vitals = Callable[[], Awaitable[Mapping[str, list[Sample]]]]
"""Reads samples by metric; raises as redis-py does."""


def of(info: Mapping[str, Any]) -> dict[str, list[Sample]]:
    """Samples by metric from an answer to `INFO`; what this server does not tell is left out.

    Without `maxmemory` the limit is the memory of the machine.
    """
    failed = [name for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status") if info.get(name) == "err"]
    keys = sum(value["keys"] for name, value in info.items() if name.startswith("db") and isinstance(value, dict))
    limit = info.get("maxmemory") or info.get("total_system_memory")
    found: dict[str, list[tuple[dict[str, str], Any]]] = {
        "pulse_redis_memory_bytes": [({"kind": "used"}, info.get("used_memory")), ({"kind": "max"}, limit)],
        "pulse_redis_keys": [({}, keys)],
        "pulse_redis_clients": [({}, info.get("connected_clients"))],
        "pulse_redis_commands_total": [({}, info.get("total_commands_processed"))],
        "pulse_redis_evicted_keys_total": [({}, info.get("evicted_keys"))],
        "pulse_redis_persistence_up": [({}, float(not failed))],
    }
    known = {metric: [(labels, float(value)) for labels, value in samples if value is not None] for metric, samples in found.items()}
    return {metric: samples for metric, samples in known.items() if samples}


def vitals(redis: Redis) -> Vitals:
    """Reads this server."""

    async def read() -> Mapping[str, list[Sample]]:
        return of(await redis.info())

    return read
