"""Two nodes at once: the second is compared with the first, and what differs is told."""

import json
from typing import Any

import pytest

from streams.recording import load
from streams.replay import ReplayNode
from tests.end_to_end.product import free_port, metric, product

PACE = 20.0
pytestmark = pytest.mark.timeout(120)


def without_receipts(method: str, _: list[Any], frame: bytes) -> bytes:
    """Receipts as a node tells them whose index is empty: one is missing."""
    said = json.loads(frame)
    if method == "eth_getBlockReceipts" and said.get("result"):
        said["result"] = said["result"][1:]
    return json.dumps(said).encode()


@pytest.mark.parametrize("lies, verdict", [(False, "same"), (True, "receipts")])
async def test_a_second_node_is_compared(redis_socket: str, lies: bool, verdict: str) -> None:
    """At the depth that is set, beside the live stream."""
    port = free_port()
    async with (
        ReplayNode(load("devnet"), pace=PACE) as node,
        ReplayNode(load("devnet"), pace=PACE) as other,
        product("--node", node.url, "--node", other.url, "--redis-url", f"unix://{redis_socket}", port=port),
    ):
        other.faults.distort = without_receipts if lies else None
        await metric(port, f'pulse_endpoint_comparisons_total{{endpoint="node2",verdict="{verdict}"}}', 3)
        await metric(port, 'pulse_endpoint_head_epoch{endpoint="node2"}', 1)
