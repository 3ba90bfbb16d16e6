"""How long Redis is waited for, and what is said of it meanwhile."""

import pytest
from structlog.testing import capture_logs

from processors.patience import REMIND_SECONDS, Told, patiently
from streams.errors import RecordFault, StoreFault, StoreRefusal

AWAY, FULL = StoreFault("Redis is away: nobody answers"), StoreRefusal("Redis refuses writes: it is out of memory")


async def test_only_redis_is_waited_for() -> None:
    """A StoreFault is tried again until it does not come; any other error ends it at once."""
    tries = []
    async for attempt in patiently(Told()):
        with attempt:
            tries.append(1)
            if len(tries) < 3:
                raise AWAY
    assert len(tries) == 3
    with pytest.raises(RecordFault):
        await never()


async def never() -> None:
    """Tries what will never do."""
    async for attempt in patiently(Told()):
        with attempt:
            raise RecordFault("never")


def test_the_same_is_said_once_and_again_after_a_while() -> None:
    """By kind, whoever meets it; a refusal is an error, an absence a warning; that it works again is said if it did not."""
    now = 0.0
    told = Told(lambda: now)
    with capture_logs() as said:
        told.succeeded()
        for fault in (AWAY, AWAY, FULL, FULL):
            told.failed(fault)
        now += REMIND_SECONDS
        told.failed(FULL)
        told.succeeded()
        told.succeeded()
        told.failed(AWAY)
    assert [(line["log_level"], line["event"].partition(":")[0]) for line in said] == [
        ("warning", "Redis is away"),
        ("error", "Redis refuses writes"),
        ("error", "Redis refuses writes"),
        ("info", "Redis takes what it is given again"),
        ("warning", "Redis is away"),
    ]
    assert said[3]["after_seconds"] == REMIND_SECONDS


def test_what_was_begun_before_the_last_success_is_not_told() -> None:
    """Many wait at once: when one got through, the others' failures are of the time before."""
    now = 0.0
    told = Told(lambda: now)
    with capture_logs() as said:
        told.failed(FULL, 0.0)
        now = 2.0
        told.succeeded()
        told.failed(FULL, 1.0)
        told.failed(FULL, 2.5)
    assert [line["log_level"] for line in said] == ["error", "info", "error"]
