"""Counting logs in ranges: however narrow the node wants them, every tipset is counted once."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from streams.errors import NodeFault, Refusal
from streams.ranges import LogCounts, count_logs
from streams.rpc import RANGE_TOO_WIDE, Answer, Call, RpcError
from streams.tasks import Fetch


def block(height: int) -> str:
    """The hash of the tipset at a height."""
    return f"0x{height:064x}"


def answered(call: Call, logs: dict[int, int], widest: int) -> Answer:
    """What a node with these logs by height says, that accepts ranges up to `widest`."""
    low, high = (int(call.params[0][edge], 16) for edge in ("fromBlock", "toBlock"))
    if high - low + 1 > widest:
        return Answer(call, error=RpcError(RANGE_TOO_WIDE, "too wide"))
    found = [{"blockHash": block(height)} for height, count in logs.items() if low <= height <= high for _ in range(count)]
    return Answer(call, Raw(msgspec.json.encode(found)))


def driven(fetch: Fetch[LogCounts], logs: dict[int, int], widest: int) -> LogCounts:
    """The fetch, run against that node to its end."""
    calls = next(fetch)
    while True:
        try:
            calls = fetch.send(tuple(answered(call, logs, widest) for call in calls))
        except StopIteration as stop:
            counted: LogCounts = stop.value
            return counted


@given(st.dictionaries(st.integers(0, 60), st.integers(1, 4)), st.integers(0, 30), st.integers(1, 31), st.integers(1, 40))
def test_every_tipset_is_counted_once(logs: dict[int, int], low: int, length: int, widest: int) -> None:
    """Ranges are halved until the node accepts them, and nothing is lost or counted twice."""
    heights = range(low, low + length)
    counted = driven(count_logs(heights), logs, widest)
    assert counted == LogCounts(heights, Counter({block(height): count for height, count in logs.items() if height in heights}))


@pytest.mark.parametrize("error", [RpcError(-32000, "not yet available"), RpcError(RANGE_TOO_WIDE, "too wide")])
def test_a_node_that_will_not_tell(error: RpcError) -> None:
    """Any other error, or one height being too many, is the node's refusal."""
    fetch = count_logs(range(5, 6))
    (call,) = next(fetch)
    with pytest.raises(Refusal):
        fetch.send((Answer(call, error=error),))


def test_nonsense_is_a_fault() -> None:
    """Logs without a block are no answer."""
    fetch = count_logs(range(5, 6))
    (call,) = next(fetch)
    with pytest.raises(NodeFault):
        fetch.send((Answer(call, Raw(b'[{"address":"0x"}]')),))
