"""Decoding: of records, and of what a node answers, against what msgspec can do at best."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from benchmarks.answers import block, receipts
from benchmarks.measure import Report, Rounds, Value, turned
from benchmarks.synthetic import Size, Traffic
from streams.records import LogsRecord, TipsetRecord, decode, encode
from streams.wire import EthBlock, Receipt, read

OURS = "fvm-pulse"
TYPED = "msgspec, same type"
GENERIC = "msgspec, generic"
RAW = "msgspec, only scanned"
TIPSETS = 10
ROUNDS = 15

Decoder = Callable[[bytes], Any]


def decoding(size: Size, rounds: int = ROUNDS) -> list[Report]:
    """Records, then a node's blocks with their receipts."""
    traffic = Traffic(size)
    tipsets = list(islice(traffic.tipsets(), TIPSETS))
    logs = [traffic.logs(tipset) for tipset in tipsets]
    return [_records(size, tipsets, logs, rounds), _answers(size, tipsets, logs, rounds)]


def _records(size: Size, tipsets: Sequence[TipsetRecord], logs: Sequence[LogsRecord], rounds: int) -> Report:
    typed = msgspec.json.Decoder(TipsetRecord | LogsRecord)
    contenders: dict[str, Decoder] = {OURS: decode, TYPED: typed.decode, GENERIC: msgspec.json.decode, RAW: _scan}
    data = [encode(record) for pair in zip(tipsets, logs, strict=True) for record in pair]
    title = f"Decoding records, {size.messages} messages and {size.events} events a tipset (two records)"
    notes = (f"ratio: to {TYPED}; ours looks at the version first, in a scan of its own",)
    return _report("decode_records", title, contenders, data, rounds, TYPED, notes)


def _answers(size: Size, tipsets: Sequence[TipsetRecord], logs: Sequence[LogsRecord], rounds: int) -> Report:
    data = [msgspec.json.encode(block(tipset)) for tipset in tipsets]
    data += [msgspec.json.encode(receipts(tipset, log)) for tipset, log in zip(tipsets, logs, strict=True)]
    typed_block, typed_receipts = msgspec.json.Decoder(EthBlock), msgspec.json.Decoder(list[Receipt])

    def both(of_block: Decoder, of_receipts: Decoder, data: bytes) -> None:
        (of_block if data[:1] == b"{" else of_receipts)(data)

    contenders: dict[str, Decoder] = {
        OURS: partial(both, lambda data: read(data, EthBlock, "block"), lambda data: read(data, list[Receipt], "receipts")),
        TYPED: partial(both, typed_block.decode, typed_receipts.decode),
        GENERIC: msgspec.json.decode,
        RAW: _scan,
    }
    title = f"Decoding a node's block and receipts, {size.messages} messages"
    notes = (f"ratio: to {GENERIC}, which checks nothing; ours checks every hash, address and quantity by its pattern",)
    return _report("decode_answers", title, contenders, data, rounds, GENERIC, notes)


def _scan(data: bytes) -> msgspec.Raw:
    return msgspec.json.decode(data, type=msgspec.Raw)


def _report(
    name: str, title: str, contenders: Mapping[str, Decoder], data: Sequence[bytes], rounds: int, other: str, notes: tuple[str, ...]
) -> Report:
    """Each decodes all of `data` in each round; the second of two passes counts."""
    measured = Rounds()
    for turn in range(rounds):
        for contender in turned(list(contenders), turn):
            measured.add(contender, min(_timed(contenders[contender], data) for _ in range(2)))
    mebibytes, pairs = sum(map(len, data)) / 2**20, len(data) // 2
    rows: list[dict[str, Value]] = [
        {
            "contender": contender,
            "milliseconds_per_tipset": 1000 * measured.median_seconds(contender) / pairs,
            "mib_per_second": mebibytes / measured.median_seconds(contender),
            "ratio": measured.ratio(contender, other),
            "ratio_by_round": measured.spread(contender, other),
        }
        for contender in contenders
    ]
    return Report(name, title, rows, (*notes, f"{1024 * mebibytes / pairs:,.0f} KiB a tipset, median of {rounds} interleaved rounds"))


def _timed(decoder: Decoder, data: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for one in data:
        decoder(one)
    return time.perf_counter() - start
