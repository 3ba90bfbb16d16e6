"""The store: totals of one network in Redis, exact whatever happens to the records on their way.

Each stream has a register per height, and the last writer wins: a record is applied where its sequence is larger than what a
height holds, so order, duplicates and redelivery change nothing. The totals of every window follow the registers: a script
(`apply.lua`, one call per record, atomic) takes away what a height held, adds what it holds now, and moves the windows' edges
with the head, back as well as forward. What is taken away is what was stored, never a recount, since the classifier may have
learnt something since.

Redis 6.2 or later, or Valkey, also as a cluster: every key of a network lives in one slot.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from processors import packing, series
from processors.faults import faults, other_schema
from processors.folds import Contribution
from processors.packing import Config
from processors.readings import Snapshot
from processors.script import Script
from processors.series import Series
from processors.tellings import Tellings
from processors.windows import Window
from streams.errors import RecordFault, StoreFault
from streams.records import COUNTED_STREAMS, Contract, LogsRecord, Record, Rewind, StateRecord, Stream, TipsetRecord, stream_of

log = structlog.get_logger(__name__)

SCHEMA = 1
SURVIVE_REORG_EPOCHS = 900
NETWORKS = "pulse:networks"

LONGEST_RUN = 500
"""Heights that one call of the script writes."""

Outcome: TypeAlias = Literal["applied", "stale", "too_old"]

_SCRIPT = Script("apply.lua")
_TRIES = 3
_pack = msgspec.msgpack.Encoder().encode
_LARGER = """
local number = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) + tonumber(ARGV[2]), tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', number))
return number
"""


class Origin(NamedTuple):
    """Where answers come from: a server that was started again, or a store that was emptied, has another origin than before."""

    run_id: str
    incarnation: int | None


class Applied(NamedTuple):
    """What became of a record, and the stream's head after it.

    `stale`: each of its heights holds something younger, or the same record already. `too_old`: its heights are so far behind
    the head that nothing is kept of them any more.
    """

    outcome: Outcome
    head: int | None


class Tip(NamedTuple):
    """A processed tipset that the store still knows, and the sequence of the record that it came by."""

    height: int
    hash: str
    sequence: int


class _Answer(NamedTuple):
    outcome: bytes
    head: int
    pending: int
    forgotten: int
    kept_epochs: int


class _Keys:
    """Every name in Redis. The braces keep a network's keys in one slot of a cluster.

    The last of a stream's names is a prefix: under it, the script keeps for each range of heights `<range>:totals` (number of
    the field: counter) and `<range>:<number of the kind>` (id of the member: count).
    """

    def __init__(self, network: str) -> None:
        self.prefix = prefix = f"pulse:{{{network}}}:"
        self.config = prefix + "config"
        self.latest = prefix + "latest"
        self.contracts = prefix + "contracts"
        self.incarnation = prefix + "incarnation"
        self.reserved = prefix + "reserved"
        names = ("state", "head", "registers", "parts", "ids", "uses", "fields", "kinds", "ranges:")
        self.script = {stream: [self.config, *(f"{prefix}{stream}:{name}" for name in names)] for stream in COUNTED_STREAMS}


async def networks(redis: Redis) -> list[str]:
    """The networks that anything was ever configured for on this Redis.

    Raises:
        StoreFault: Redis is away or refuses.
    """
    with faults(SCHEMA):
        return sorted(name.decode() for name in await cast("Any", redis).smembers(NETWORKS))


class Store:
    """The totals of one network.

    Args:
        redis: a client that answers with bytes (`decode_responses` off).
        network: name of the network, such as `mainnet`; records of another one are refused.
        survive_reorg_epochs: how deep a rewind may be without losing what had left the longest window.

    Every method that talks to Redis raises StoreFault where Redis is away or refuses, and UsageError where its data are of
    another schema.
    """

    def __init__(self, redis: Redis, network: str, *, survive_reorg_epochs: int = SURVIVE_REORG_EPOCHS) -> None:
        self._redis = cast("Any", redis)  # its types leave open whether an answer is bytes or text
        if self._redis.get_encoder().decode_responses:
            raise ValueError("the store needs a client that answers with bytes")
        self._network = network
        self._survive_reorg_epochs = survive_reorg_epochs
        self._keys = _Keys(network)
        self._config: bytes | None = None
        self.series = Series(redis, self._keys.prefix)
        """The samples of the state."""
        self.tellings = Tellings(redis, self._keys.prefix)
        """How tipsets were told."""

    async def configure(self, windows: Sequence[Window]) -> None:
        """Make these the windows, for every process. Totals of new ones are built from what is kept, others are dropped.

        A window that reaches back further than what is kept starts with a coverage below 1 and fills as time passes.
        """
        config = Config(SCHEMA, self._survive_reorg_epochs, tuple((window.name, window.epochs) for window in windows))
        packed = _pack(config)
        with faults(SCHEMA):
            found = await self._redis.get(self._keys.config)
            had = _configured(found).longest if found is not None else 0
            if config.longest < had:
                log.warning(
                    "the longest window is shorter than it was: older history is forgotten", was_epochs=had, is_epochs=config.longest
                )
            await self._write_config(packed)
        self._config = packed
        for stream in COUNTED_STREAMS:
            await self._settle(stream)

    async def apply(self, record: Record, contribution: Contribution | None = None) -> Applied:
        """Apply one record; `contribution` is what it folds to, None for a rewind.

        Returns when the windows are where the head wants them; each step on the way is atomic and shows a true coverage.

        Raises:
            RecordFault: the record can never be applied.
        """
        sequence = self._checked(record)
        stream = stream_of(record)
        match record:
            case StateRecord() | Rewind(stream="state"):
                return Applied(await self.series.apply(record, sequence), None)
            case Rewind():
                answer = await self._run_of(stream, sequence, record.height, record.top, "e")
            case TipsetRecord() | LogsRecord():
                if contribution is None:
                    raise TypeError("a record of a tipset comes with its contribution")
                answer = await self._apply_tipset(record, sequence, contribution)
        if answer is None:
            answer = (await self._settle(stream))._replace(outcome=b"stale")
        elif answer.pending:
            await self._settle(stream)
        return Applied(cast("Outcome", answer.outcome.decode()), answer.head if answer.head >= 0 else None)

    async def _apply_tipset(self, record: TipsetRecord | LogsRecord, sequence: str, contribution: Contribution) -> _Answer:
        stream, height = stream_of(record), record.height
        short, lasting = packing.parts(record, contribution)
        parent = height - 1 if record.parent_height is None else record.parent_height
        first = max(parent + 1, height - LONGEST_RUN + 1)
        await self._run_of(stream, sequence, parent, first - 1, "n")
        return _Answer(*await self._call("apply", stream, [sequence, first, height, "n", short, lasting]))

    async def _run_of(self, stream: Stream, sequence: str, low: int, top: int, state: str) -> _Answer | None:
        """Writes `state` into the heights in `(low, top]`, a run at a time and from the top.

        Below the length of what is kept, only where something is stored: nothing older can come there any more.
        """
        last, outcome, answer = top, b"stale", None
        while last > low and outcome != b"too_old":
            first = max(low + 1, last - LONGEST_RUN + 1)
            answer = _Answer(*await self._call("apply", stream, [sequence, first, last, state, None, None]))
            outcome = answer.outcome if outcome == b"stale" else outcome
            last = first - 1
            if last <= top - answer.kept_epochs:
                last, low = min(last, answer.head), max(low, answer.forgotten)
        return answer._replace(outcome=outcome) if answer else None

    def _checked(self, record: Record) -> str:
        """The record's sequence as the script compares it."""
        if record.network != self._network:
            raise RecordFault(f"a record of network {record.network!r} came to the store of {self._network!r}")
        if not 0 <= record.sequence < 2**63:
            raise RecordFault(f"sequence {record.sequence} is not a number of 63 bits")
        if not isinstance(record, Rewind) and record.parent_height is not None and not -1 <= record.parent_height < record.height:
            raise RecordFault(f"the parent at {record.parent_height} is not below the tipset at {record.height}")
        return f"{record.sequence:016x}"

    async def _settle(self, stream: Stream) -> _Answer:
        while True:
            answer = _Answer(*await self._call("settle", stream, []))
            if not answer.pending:
                return answer

    async def snapshot(self) -> Snapshot:
        """Everything accounted for, of one moment and in one round trip; it costs the same however much history is kept."""
        with faults(SCHEMA):
            answers = await self._read()
            if any(isinstance(answer, NoScriptError) for answer in answers):
                await _SCRIPT.load(self._redis)
                await self.series.load()
                answers = await self._read()
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        packed, latest, *by_stream, sampled = answers
        shown = {name.decode(): value.decode() for name, value in latest.items()}
        if packed is None:
            return Snapshot(self._network, {}, shown, series.reading(sampled))
        config = _configured(packed)
        shown |= packing.facts(by_stream[COUNTED_STREAMS.index("tipsets")][2])
        readings = {stream: packing.reading(config, answer) for stream, answer in zip(COUNTED_STREAMS, by_stream, strict=True)}
        return Snapshot(self._network, readings, shown, series.reading(sampled))

    async def _read(self) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(self._keys.config)
        pipeline.hgetall(self._keys.latest)
        for keys in self._keys.script.values():
            _SCRIPT.queue(pipeline, keys, "read", _pack([]))
        self.series.read(pipeline)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def tail(self, stream: Stream = "tipsets", limit: int = 1000) -> list[Tip]:
        """The newest processed tipsets of a stream, newest first."""
        found = await self._call("tail", stream, limit)
        return [Tip(height, "0x" + digest.hex(), int(sequence, 16)) for height, digest, sequence in found]

    async def states(self, first: int, last: int) -> list[str]:
        """What each height from `first` to `last` holds, upwards, a text for each counted stream: `t`ipset, one of which only the
        `l`asting part is kept, `n`ull or `e`mpty.
        """
        found = [await self._call("states", stream, [first, last]) for stream in COUNTED_STREAMS]
        return [cast("Any", letters).decode() for letters in found]

    async def sums_at(self, height: int, stream: Stream) -> dict[str, int] | None:
        """What the tipset at `height` adds to the sums of every window, None where none is kept."""
        found = cast("Any", await self._call("counters", stream, height))
        if not found:
            return None
        names = {int(number): name.decode() for name, number in zip(found[1][::2], found[1][1::2], strict=True)}
        return packing.joined({names[int(field)]: int(count) for field, count in zip(found[0][::2], found[0][1::2], strict=True)})

    async def longest(self) -> int:
        """The longest window of all processes, in epochs.

        Raises:
            StoreFault: nobody has set any.
        """
        with faults(SCHEMA):
            packed = await self._redis.get(self._keys.config)
        if packed is None:
            raise StoreFault("no windows are configured: start the follower first, over Kafka a worker")
        return _configured(packed).longest

    async def hash_at(self, height: int) -> str | None:
        """The hash of the tipset at `height`, None where none is kept."""
        found = cast("bytes | None", await self._call("hash", "tipsets", height))
        return "0x" + found.hex() if found else None

    async def origin(self) -> Origin:
        """Which run of the server answers, and the incarnation that it knows of."""
        with faults(SCHEMA):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.info("server")
            pipeline.get(self._keys.incarnation)
            server, incarnation = await pipeline.execute()
        return Origin(str(server["run_id"]), None if incarnation is None else int(incarnation))

    async def next_incarnation(self, now_seconds: int) -> int:
        """A number larger than any given before; the Unix time `now_seconds` keeps it so where Redis was emptied in between."""
        return await self._larger(self._keys.incarnation, now_seconds, 1)

    async def reserve(self, top: int) -> None:
        """Remember that heights up to `top` may have been published; it never goes down."""
        await self._larger(self._keys.reserved, top, 0)

    async def reserved(self) -> int | None:
        """The height up to which anything may have been published, None if there was no `reserve` yet."""
        with faults(SCHEMA):
            found = await self._redis.get(self._keys.reserved)
        return None if found is None else int(found)

    async def _larger(self, key: str, least: int, step: int) -> int:
        with faults(SCHEMA):
            return int(await self._redis.eval(_LARGER, 1, key, least, step))

    async def write_facts(self, facts: Mapping[str, str]) -> None:
        """Show these in `Snapshot.latest`, beside the facts of the newest tipset."""
        if facts:
            with faults(SCHEMA):
                await self._redis.hset(self._keys.latest, mapping=dict(facts))

    async def save_contracts(self, contracts: Iterable[Contract]) -> None:
        """Keep the evidence of contracts, so that it needs no asking again."""
        if mapping := {contract.address: msgspec.json.encode(contract) for contract in contracts}:
            with faults(SCHEMA):
                await self._redis.hset(self._keys.contracts, mapping=mapping)

    async def load_contracts(self) -> dict[str, Contract]:
        """The evidence kept, by address; what this release can not read is left out and so asked for again."""
        with faults(SCHEMA):
            found = await self._redis.hgetall(self._keys.contracts)
        contracts: dict[str, Contract] = {}
        for address, value in found.items():
            try:
                contracts[address.decode()] = msgspec.json.decode(value, type=Contract)
            except msgspec.MsgspecError:
                continue
        return contracts

    async def load_contract(self, address: str) -> Contract | None:
        """The evidence kept about one contract, None where there is none that can be read."""
        with faults(SCHEMA):
            value = await cast("Any", self._redis).hget(self._keys.contracts, address)
        try:
            return msgspec.json.decode(value, type=Contract) if value is not None else None
        except msgspec.MsgspecError:
            return None

    async def _call(self, command: str, stream: Stream, argument: object) -> list[Any]:
        """The script's answer. A Redis that lost its scripts or its configuration gets them again."""
        keys = self._keys.script[stream]
        with faults(SCHEMA):
            for _ in range(_TRIES):
                try:
                    answer: list[Any] = await _SCRIPT.call(self._redis, keys, command, _pack(argument))
                    return answer
                except ResponseError as error:
                    if self._config is None or not str(error).startswith("UNCONFIGURED"):
                        raise
                    await self._write_config(self._config)
        raise StoreFault("Redis loses its configuration as fast as it gets it")

    async def _write_config(self, packed: bytes) -> None:
        await self._redis.sadd(NETWORKS, self._network)
        await self._redis.set(self._keys.config, packed)


def _configured(packed: bytes) -> Config:
    try:
        schema = msgspec.msgpack.decode(packed, type=list[Any])[0]
        if schema != SCHEMA:
            raise other_schema(schema, SCHEMA)
        return msgspec.msgpack.decode(packed, type=Config)
    except (msgspec.MsgspecError, IndexError) as error:
        raise other_schema("unknown", SCHEMA) from error
