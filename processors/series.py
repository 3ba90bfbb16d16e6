"""The series of samples of the state in Redis: reversible while it may change, thinned when it is final.

For the newest day and the deepest reorg survived, every sampled height is a register, and the younger word wins, as in the other
streams. What leaves that stretch is final: of each name the sample at the lowest height of each hour is kept for a quarter, and
that of each day for two years. So order, duplicates and redelivery within the stretch change nothing, and what comes later than
that (history that is filled in) takes its place among the points. One call of a script (`state.lua`) per record, atomic.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec
from redis.asyncio import Redis

from processors.faults import faults
from processors.readings import Sample, StateReading
from processors.script import Script
from processors.windows import DAY_EPOCHS, FRESH_EPOCHS, HOUR_EPOCHS
from streams.chain import FINALITY_EPOCHS
from streams.errors import RecordFault
from streams.records import Rewind, StateRecord

HOURS_EPOCHS = 95 * DAY_EPOCHS
DAYS_EPOCHS = 730 * DAY_EPOCHS
BACK_EPOCHS: Mapping[int, int] = {
    DAY_EPOCHS: 144,
    7 * DAY_EPOCHS: 7 * DAY_EPOCHS // 20,
    30 * DAY_EPOCHS: 30 * DAY_EPOCHS // 20,
    90 * DAY_EPOCHS: 90 * DAY_EPOCHS // 20,
}
"""How far back is looked, and how much further the sample there may lie."""
KEPT_EPOCHS = DAY_EPOCHS + BACK_EPOCHS[DAY_EPOCHS] + FINALITY_EPOCHS + 1
"""Whatever is looked for a day back from a head that the deepest reorg has left."""
MOST_SAMPLES = 1000
LONGEST_NAME = 200

_SCRIPT = Script("state.lua")
_LIMITS = {
    "kept": KEPT_EPOCHS,
    "hour": HOUR_EPOCHS,
    "hours": HOURS_EPOCHS,
    "day": DAY_EPOCHS,
    "days": DAYS_EPOCHS,
    "fresh": FRESH_EPOCHS,
}
_pack = msgspec.msgpack.Encoder().encode
_READ = _pack([_LIMITS, [list(BACK_EPOCHS.items())]])

Outcome = Literal["applied", "stale"]


class Points(NamedTuple):
    """All that is kept of one name, oldest first: what is not final yet, and the points of hours and days."""

    recent: list[Sample]
    hourly: list[Sample]
    daily: list[Sample]


class Series:
    """The samples of one network.

    Args:
        redis: a client that answers with bytes.
        prefix: of the names in Redis.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = cast("Any", redis)
        self._keys = [f"{prefix}state:{name}" for name in ("registers", "facts", "hours", "days")]

    async def apply(self, record: StateRecord | Rewind, sequence: str) -> Outcome:
        """Apply one record; `sequence` is its number as 16 hex digits.

        Raises:
            RecordFault: the record can never be applied.
            StoreFault: Redis is away or refuses.
        """
        match record:
            case StateRecord():
                answer = await self._call("put", [sequence, record.height, _texts(record)])
            case Rewind():
                answer = await self._call("clear", [sequence, max(record.height + 1, 0), record.top])
        return cast("Outcome", answer.decode())

    async def points(self, name: str) -> Points:
        """All that is kept of one name."""
        return Points(*(_in_order(flat) for flat in await self._call("points", [name])))

    def read(self, pipeline: Any) -> None:
        """Put the question for `reading` into a pipeline."""
        _SCRIPT.queue(pipeline, self._keys, "read", _READ)

    async def load(self) -> None:
        """Give Redis the script."""
        await _SCRIPT.load(self._redis)

    async def _call(self, command: str, argument: Sequence[Any]) -> Any:
        with faults():
            return await _SCRIPT.call(self._redis, self._keys, command, _pack([_LIMITS, argument]))


def reading(answer: Sequence[Any]) -> StateReading:
    """What the script's `read` answered."""
    head, latest, past, since = answer
    if head < 0:
        return StateReading()
    earlier = {back: _samples(flat) for back, flat in zip(BACK_EPOCHS, past, strict=True)}
    return StateReading(head, _samples(latest), earlier, since if since >= 0 else None)


def _texts(record: StateRecord) -> dict[str, str]:
    if len(record.samples) > MOST_SAMPLES or any(len(name) > LONGEST_NAME for name in record.samples):
        raise RecordFault(f"{len(record.samples)} samples at {record.height}: allowed are {MOST_SAMPLES} with names up to {LONGEST_NAME}")
    return {name: str(value) for name, value in record.samples.items()}


def _samples(flat: Sequence[Any]) -> dict[str, Sample]:
    return {name.decode(): Sample(int(text), height) for name, text, height in zip(flat[::3], flat[1::3], flat[2::3], strict=True)}


def _in_order(flat: Sequence[Any]) -> list[Sample]:
    found = [Sample(int(text), height) for height, text in zip(flat[::2], flat[1::2], strict=True)]
    return sorted(found, key=lambda sample: sample.height)
