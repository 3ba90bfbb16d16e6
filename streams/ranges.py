"""Logs over a range of heights, asked for in pieces as small as the node wants them."""

from collections import Counter
from dataclasses import dataclass

from msgspec import Struct

from streams.records import Hash
from streams.rpc import RANGE_TOO_WIDE, Answer, Call
from streams.tasks import Fetch
from streams.wire import HexHash, read


class _Place(Struct, rename="camel"):
    block_hash: HexHash


@dataclass(frozen=True, slots=True)
class LogCounts:
    """How many logs `eth_getLogs` tells of each tipset at `heights`, by hash."""

    heights: range
    counts: Counter[Hash]


def count_logs(heights: range) -> Fetch[LogCounts]:
    """Count the logs of the canonical tipsets at `heights`; a range that the node finds too wide (-32005) is halved.

    Raises:
        NodeFault: the node will not answer, however narrow the range.
    """
    counts: Counter[Hash] = Counter()
    wanted = [heights]
    while wanted:
        answers = yield tuple(Call("eth_getLogs", ({"fromBlock": hex(part[0]), "toBlock": hex(part[-1])},)) for part in wanted)
        wanted = [half for part, answer in zip(wanted, answers, strict=True) for half in _take(counts, part, answer)]
    return LogCounts(heights, counts)


def _take(counts: Counter[Hash], part: range, answer: Answer) -> tuple[range, ...]:
    """Count an answer; what has to be asked again."""
    if answer.error is not None and answer.error.code == RANGE_TOO_WIDE and len(part) > 1:
        middle = len(part) // 2
        return part[:middle], part[middle:]
    counts.update(one.block_hash.lower() for one in read(answer.required(), list[_Place], "eth_getLogs"))
    return ()
