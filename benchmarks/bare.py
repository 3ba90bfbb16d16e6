"""The bare loop: what a worker would do that trusts its input, never looks back and never stops.

Each record is decoded into the same type and folded by the plain loop below into the same counters and sets of members. The loop
keeps what it folded in a list of its own; for each window it takes what leaves at the old edge from what enters at the new one
and sends the net changes of all windows to Redis at once: the same counters in the same limbs, and one count per member and kind,
gone when it comes to 0. Both ends of the benchmark hold the same numbers, and a test compares them.

What it does not do: registers and sequences, records out of order, rewinds, stored contributions (a restart loses the windows),
members by number, windows before the windows, the ledger of heights, facts of the head, faults.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec
from redis.asyncio import Redis

from processors.gas import burn
from processors.packing import LIMB
from processors.windows import Window
from streams.records import COUNTED_STREAMS, Contract, LogsRecord, Stream, TipsetRecord

Changes: TypeAlias = dict[str, Counter[str]]
"""By kind (`totals` for the counters): what to add to which field."""

ClassOf: TypeAlias = Callable[[Contract], tuple[str, str | None]]
"""Class and project of a contract."""

TOTALS = "totals"
_decode: Callable[[bytes], TipsetRecord | LogsRecord] = msgspec.json.Decoder(TipsetRecord | LogsRecord).decode
_pack = msgspec.msgpack.Encoder().encode

SCRIPT = """
local changes = cmsgpack.unpack(ARGV[1])
for i, key in ipairs(KEYS) do
  local fields = changes[i]
  for j = 1, #fields, 2 do
    if redis.call('HINCRBY', key, fields[j], fields[j + 1]) == 0 then redis.call('HDEL', key, fields[j]) end
  end
end
"""


class Held(NamedTuple):
    """What the loop remembers of a height."""

    height: int
    changes: Mapping[str, Iterable[str] | Mapping[str, int]]


def fold(record: TipsetRecord, class_of: ClassOf) -> dict[str, Any]:
    """One pass over the messages: `{"totals": counters, kind: members}`."""
    verdicts = {contract.address: class_of(contract) for contract in record.contracts}
    sums: Counter[str] = Counter()
    members: dict[str, set[str]] = {"sender": set(), "contract": set(), "project": set()}
    base_fee = record.base_fee_attofil
    gas = base_fee_burn = over_estimation_burn = fevm_burn = 0
    for message in record.messages:
        of_base_fee, of_over_estimation = burn(message.gas_used, message.gas_limit, base_fee, message.gas_fee_cap)
        gas += message.gas_used
        base_fee_burn += of_base_fee
        over_estimation_burn += of_over_estimation
        if message.receiver not in verdicts:
            continue
        name, project = verdicts[message.receiver]
        sums["messages:" + name] += 1
        sums["failed:" + name] += not message.succeeded
        sums["gas:" + name] += message.gas_used
        sums["burn:" + name] += of_base_fee + of_over_estimation
        fevm_burn += of_base_fee + of_over_estimation
        if project is not None:
            sums["project_gas:" + project] += message.gas_used
            members["project"].add(project)
        members["contract"].add(message.receiver)
        members["sender"].add(message.sender)
        members.setdefault("sender:" + name, set()).add(message.sender)
    sums |= _of_all(record, gas, base_fee_burn, over_estimation_burn, fevm_burn)
    return {TOTALS: _limbs(sums), **members}


def _of_all(record: TipsetRecord, gas: int, base_fee_burn: int, over_estimation_burn: int, fevm_burn: int) -> Counter[str]:
    sums = {
        "processed": 1,
        "all_messages": len(record.messages),
        "all_gas": gas,
        "all_base_fee_burn": base_fee_burn,
        "all_over_estimation_burn": over_estimation_burn,
    }
    rise = record.burnt_rise_attofil
    if rise is not None:
        gas_burn = base_fee_burn + over_estimation_burn
        sums |= {"f099_rise": rise, "f099_known": 1, "f099_gas_burn": gas_burn, "f099_fevm_burn": fevm_burn}
        sums["unreconciled"] = abs(rise - gas_burn)
    return Counter(sums)


def fold_logs(record: LogsRecord, class_of: ClassOf) -> dict[str, Any]:
    """The same for events."""
    classes = {contract.address: class_of(contract)[0] for contract in record.contracts}
    sums = Counter("events:" + classes[log.emitter] for log in record.logs)
    sums["processed"] = 1
    return {TOTALS: _limbs(sums)}


def _limbs(sums: Mapping[str, int]) -> dict[str, int]:
    counters = {}
    for field, value in sums.items():
        place, rest = 0, value
        while rest:
            rest, limb = divmod(rest, LIMB)
            if limb:
                counters[f"{place}{field}"] = limb
            place += 1
    return counters


class BareLoop:
    """One network, its records in order.

    Args:
        redis: the server.
        prefix: of its keys.
        windows: to be kept.
        class_of: names the class of a contract.
        scripted: send the changes as one argument of a script; else as a pipeline of single commands.
    """

    def __init__(self, redis: Redis, prefix: str, windows: Sequence[Window], class_of: ClassOf, *, scripted: bool) -> None:
        self._redis = cast("Any", redis)
        self._prefix = prefix
        self._windows = windows
        self._class_of = class_of
        self._inside: dict[tuple[Stream, int], deque[Held]] = {
            (stream, place): deque() for stream in COUNTED_STREAMS for place in range(len(windows))
        }
        self._counts: dict[str, Counter[str]] = {}
        self._send = self._by_script if scripted else self._by_pipeline
        self._script = self._redis.register_script(SCRIPT)

    async def process(self, value: bytes) -> None:
        """Take one record."""
        record = _decode(value)
        stream: Stream = "tipsets" if isinstance(record, TipsetRecord) else "logs"
        folded = fold(record, self._class_of) if isinstance(record, TipsetRecord) else fold_logs(record, self._class_of)
        parent = record.height - 1 if record.parent_height is None else record.parent_height
        entering = [Held(height, {TOTALS: {"0null": 1}}) for height in range(parent + 1, record.height)]
        entering.append(Held(record.height, folded))
        await self._send(stream, [self._moved(stream, place, entering) for place in range(len(self._windows))])

    def key(self, stream: Stream, window: Window, kind: str) -> str:
        """Where the counts of a window are."""
        return f"{self._prefix}:{stream}:{window.name}:{kind}"

    def _moved(self, stream: Stream, place: int, entering: Sequence[Held]) -> Changes:
        """The net changes of one window."""
        inside, low = self._inside[stream, place], entering[-1].height - self._windows[place].epochs
        changes: Changes = {}
        for held in entering:
            inside.append(held)
            for kind, fields in held.changes.items():
                changes.setdefault(kind, Counter()).update(fields)
        while inside[0].height <= low:
            for kind, fields in inside.popleft().changes.items():
                changes.setdefault(kind, Counter()).subtract(fields)
        return changes

    async def _by_script(self, stream: Stream, moved: Sequence[Changes]) -> None:
        keys, packed = [], []
        for window, changes in zip(self._windows, moved, strict=True):
            for kind, fields in changes.items():
                keys.append(self.key(stream, window, kind))
                packed.append([one for field, change in fields.items() if change for one in (field, change)])
        await self._script(keys, [_pack(packed)])

    async def _by_pipeline(self, stream: Stream, moved: Sequence[Changes]) -> None:
        """Counts are known here, so the fields that came to 0 need no question."""
        pipeline = self._redis.pipeline(transaction=True)
        for window, changes in zip(self._windows, moved, strict=True):
            for kind, fields in changes.items():
                key = self.key(stream, window, kind)
                counts = self._counts.setdefault(key, Counter())
                kept, gone = {}, []
                for field, change in fields.items():
                    if change:
                        counts[field] += change
                        if counts[field]:
                            kept[field] = counts[field]
                        else:
                            gone.append(field)
                            del counts[field]
                if kept:
                    pipeline.hset(key, mapping=kept)
                if gone:
                    pipeline.hdel(key, *gone)
        await pipeline.execute()
