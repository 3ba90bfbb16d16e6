"""A node of a busy chain in a process of its own: `busy_node` starts it, `python -m benchmarks.busy_node` is it.

It prints where it listens. From its first client on, with `--pace`, it has a new head every so many seconds; else its head stays.
"""

import argparse
import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import psutil
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.busy import BODIES, BusyChain
from benchmarks.servers import cpu_seconds
from benchmarks.synthetic import CHAIN_ID, NETWORK, Size

START_SECONDS = 120.0
_ACTOR = {"Code": {"/": "bafk2bzaceactor"}, "Head": {"/": "bafk2bzacehead"}, "Nonce": 0}
_UNSERVED = {"code": -32601, "message": "method not found"}
_REVERTED = {"code": 3, "message": "message execution failed: execution reverted"}
_NULL_ROUND = {"code": 12, "message": "requested epoch was a null round"}
_POWER = {
    "TotalRawBytePower": str(3 * 2**60),
    "TotalQualityAdjPower": str(20 * 2**60),
    "TotalPledgeCollateral": str(10**26),
    "ThisEpochQAPowerSmoothed": {"PositionEstimate": str(20 * 2**188), "VelocityEstimate": str(2**160)},
    "TotalStoragePowerReward": str(3 * 10**26),
}
_SUPPLY = {f"Fil{name}": str(10**26) for name in ("Vested", "Mined", "Burnt", "Locked", "Circulating", "ReserveDisbursed")}


class Plan(msgspec.Struct):
    """What the process serves; `head` is the height of its first head, `fresh`, `events_at` and `bodies` as for `BusyChain`."""

    size: Size = Size()
    head: int = 3000
    pace_seconds: float | None = None
    fresh: bool = False
    events_at: dict[int, int] = {}
    bodies: int = BODIES


@dataclass(frozen=True, slots=True)
class BusyNode:
    """The other end of a node's process."""

    url: str
    process: psutil.Process

    @property
    def cpu_seconds(self) -> float:
        """What it has used of a processor."""
        return cpu_seconds(self.process)


@asynccontextmanager
async def busy_node(plan: Plan) -> AsyncIterator[BusyNode]:
    """A process that serves this, once its tipsets are made."""
    said = msgspec.json.encode(plan).decode()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.busy_node", said, stdin=DEVNULL, stdout=PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            url = (await process.stdout.readline()).decode().strip()
        yield BusyNode(url, psutil.Process(process.pid))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class _Request(msgspec.Struct):
    id: int
    method: str
    params: msgspec.Raw = msgspec.Raw(b"[]")


class _Refused(Exception):
    """What an answer has for an error."""


class _Server:
    """Answers about `chain`, and tells of its heads."""

    def __init__(self, plan: Plan) -> None:
        self.chain = BusyChain(plan.size, fresh=plan.fresh, events_at=plan.events_at, bodies=plan.bodies)
        self.head = self.chain.at_or_below(plan.head)
        self.followed = asyncio.Event()
        self._clients: set[ServerConnection] = set()
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "Filecoin.StateNetworkName": lambda: NETWORK,
            "eth_subscribe": lambda kind, *_: "0x" + kind.encode().hex().ljust(64, "0"),
            "eth_getBlockByHash": lambda block, _: msgspec.Raw(self.chain.block(self._height(block))),
            "eth_getBlockReceipts": lambda block: msgspec.Raw(self.chain.receipts(self._height(block))),
            "eth_getBlockByNumber": self._by_number,
            "eth_getCode": lambda address, _: self.chain.code(address),
            "eth_getStorageAt": lambda *_: "0x" + "00" * 32,
            "eth_call": self._reverts,
            "Filecoin.ChainGetTipSet": lambda key: self.chain.native(self._height(key[0]["/"])),
            "Filecoin.ChainGetTipSetAfterHeight": lambda height, _: self.chain.native(self._existing(self.chain.at_or_above(height))),
            "Filecoin.ChainGetParentReceipts": lambda cid: msgspec.Raw(self.chain.natives(self.chain.parent(self._height(cid["/"])))),
            "Filecoin.StateGetActor": self._actor,
            "Filecoin.StateReadState": lambda *_: {"Balance": "0", "State": _POWER},
            "Filecoin.StateVMCirculatingSupplyInternal": lambda _: _SUPPLY,
            "Filecoin.StateNetworkVersion": lambda _: 27,
        }

    async def talk(self, client: ServerConnection) -> None:
        """One connection."""
        with suppress(ConnectionClosed):
            async for frame in client:
                request = msgspec.json.decode(frame, type=_Request)
                if request.method == "Filecoin.ChainNotify":
                    await client.send(_answer(request.id, 1), text=True)
                    await client.send(self._heads("current", self.head), text=True)
                    self._clients.add(client)
                    self.followed.set()
                else:
                    await client.send(self._answered(request), text=True)
        self._clients.discard(client)

    async def advance(self) -> None:
        """A new head, at the next height that has one."""
        self.head = self.chain.at_or_above(self.head + 1)
        executed = self.chain.parent(self.head)
        frames = [self._heads("apply", self.head), _notice("newHeads", self.chain.block(executed))]
        for client in list(self._clients):
            with suppress(ConnectionClosed):
                for frame in (*frames, *self._streamed(executed)):
                    await client.send(frame, text=True)

    def _streamed(self, height: int) -> list[bytes]:
        logs = [log for receipt in msgspec.json.decode(self.chain.receipts(height)) for log in receipt["logs"]]
        return [_notice("logs", msgspec.json.encode(log)) for log in logs]

    def _answered(self, request: _Request) -> bytes:
        method = self._methods.get(request.method)
        try:
            if method is None:
                raise _Refused(_UNSERVED)
            return _answer(request.id, method(*msgspec.json.decode(request.params)))
        except _Refused as refused:
            return msgspec.json.encode({"jsonrpc": "2.0", "id": request.id, "error": refused.args[0]})

    def _heads(self, kind: str, height: int) -> bytes:
        change = {"Type": kind, "Val": self.chain.native(height)}
        return msgspec.json.encode({"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [1, [change]]})

    def _height(self, name: str) -> int:
        try:
            return self._existing(self.chain.height_of(name))
        except KeyError:
            raise _Refused({"code": 1, "message": f"{name} not found"}) from None

    def _existing(self, height: int) -> int:
        if height > self.head:
            raise _Refused({"code": 1, "message": f"height {height} is above the head"})
        return height

    def _by_number(self, number: str, _: bool) -> msgspec.Raw:
        height = self.chain.parent(self.head) if number == "latest" else self._existing(int(number, 16))
        if self.chain.is_null(height):
            raise _Refused(_NULL_ROUND)
        return msgspec.Raw(self.chain.block(height))

    def _actor(self, name: str, key: Sequence[Any]) -> dict[str, Any]:
        height = self._height(key[0]["/"]) if key else self.head
        return {**_ACTOR, "Balance": str(10**25 + height * 10**19) if name == "f099" else "0"}

    @staticmethod
    def _reverts(*_: Any) -> None:
        raise _Refused(_REVERTED)


def _answer(number: int, result: Any) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "result": result})


def _notice(kind: str, value: bytes) -> bytes:
    subscription = "0x" + kind.encode().hex().ljust(64, "0")
    params = {"subscription": subscription, "result": msgspec.Raw(value)}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})


async def _serve(plan: Plan) -> None:
    server = _Server(plan)
    async with serve(server.talk, "127.0.0.1", 0, compression=None, ping_interval=None) as listening:
        print(f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/rpc/v1", flush=True)
        await server.followed.wait()
        due = asyncio.get_running_loop().time()
        while plan.pace_seconds is not None:
            due += plan.pace_seconds
            await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))
            await server.advance()
        await asyncio.Event().wait()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=lambda text: msgspec.json.decode(text, type=Plan))
    asyncio.run(_serve(parser.parse_args().plan))


if __name__ == "__main__":
    main()
