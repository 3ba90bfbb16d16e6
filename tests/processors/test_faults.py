"""Errors of Redis, as ours."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ResponseError

from processors.faults import faults
from streams.errors import StoreFault, StoreRefusal, UsageError


@pytest.mark.parametrize(
    "error,kind,says",
    [
        (RedisConnectionError("refused"), StoreFault, "Redis is away: refused"),
        (OSError("no route"), StoreFault, "Redis is away"),
        (OutOfMemoryError("maxmemory"), StoreRefusal, "Redis refuses writes: it is out of memory"),
        (ResponseError("OOM command not allowed"), StoreRefusal, "Redis refuses writes: it is out of memory"),
        (ResponseError("MISCONF Errors writing"), StoreRefusal, "Redis refuses writes: it can not write to its disk: .*MISCONF"),
        (ResponseError("READONLY You can't write"), StoreRefusal, "Redis refuses writes: it is a replica"),
        (ResponseError("NOPERM"), StoreRefusal, "Redis refuses: NOPERM"),
        (ResponseError("SCHEMA 9"), UsageError, "schema 9, this release needs 1"),
    ],
)
async def test_each_error_is_one_of_ours(error: Exception, kind: type[Exception], says: str) -> None:
    """With what to do about it where that is known."""
    with pytest.raises(kind, match=says), faults(1):
        raise error
