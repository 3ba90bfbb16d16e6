"""Every error of Redis, as one of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from streams.cancellation import cancellable
from streams.errors import StoreFault, StoreRefusal, UsageError


def other_schema(found: object, needed: int) -> UsageError:
    """The data on this server are of another release."""
    return UsageError(
        f"redis_url: the data there have schema {found}, this release needs {needed}: use another server or database, or empty that one"
    )


def _refusal(error: ResponseError, text: str) -> str:
    """What Redis refuses, and what to do about it; where a script was refused, Redis' word stands inside of the text."""
    if isinstance(error, OutOfMemoryError) or "OOM" in text:
        return "Redis refuses writes: it is out of memory: raise its maxmemory, or configure shorter windows"
    if "MISCONF" in text:
        return f"Redis refuses writes: it can not write to its disk: see whether that is full, and what its log says ({text})"
    if isinstance(error, ReadOnlyError) or "READONLY" in text:
        return f"Redis refuses writes: it is a replica: name the server that it copies ({text})"
    return f"Redis refuses: {text}"


@contextmanager
def _redis_faults(schema: int) -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        text = str(error)
        if text.startswith("SCHEMA"):
            raise other_schema(text.removeprefix("SCHEMA").strip(), schema) from error
        raise StoreRefusal(_refusal(error, text)) from error
    except (RedisError, OSError) as error:
        raise StoreFault(f"Redis is away: {error}") from error


@contextmanager
def faults(schema: int = 0) -> Iterator[None]:
    """What Redis refuses as StoreFault; a cancellation stays one."""
    with cancellable(), _redis_faults(schema):
        yield
