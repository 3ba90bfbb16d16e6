"""The replay node, over real websockets."""

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streams.answers import Limits
from streams.recording import Frame, Recording
from streams.replay import ReplayNode, main
from tests.node.lines import EMITTER, OTHER_EMITTER, block, body, log, notice, read, subscribed, text, tipset
from tests.node.world import Tip, World

pytestmark = pytest.mark.timeout(20)

WORLD = World()
TIPS = [WORLD.head]
for _ in range(8):
    TIPS.append(WORLD.grow(nulls=len(TIPS) % 2, on=TIPS[-1]))
FORK = WORLD.grow(on=TIPS[7])
"""One more head on `TIPS[7]`, which replaces `TIPS[8]`."""


def lines() -> list[dict[str, Any]]:
    """Each second a head, from the second tipset on; its parent's header and logs come with it."""
    made: list[dict[str, Any]] = [line for tip in (*TIPS, FORK) for line in body(0.5, tip)]
    for seconds, tip in enumerate(TIPS[1:], 1):
        made.append(notice(seconds, ("current" if seconds == 1 else "apply", tip)))
        assert tip.parent is not None
        made += [
            subscribed(seconds, log(tip.parent)),
            subscribed(seconds, log(tip.parent, OTHER_EMITTER)),
            subscribed(seconds, block(tip.parent)),
        ]
    return [*made, notice(9, ("revert", TIPS[8]), ("apply", FORK))]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Nine heads, one a second; the last one replaces the one before."""
    return read(tmp_path, *lines())


class Client:
    """Asks, and keeps what comes unasked."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.notices: list[dict[str, Any]] = []
        self.asked = 0

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        """The whole answer to a question."""
        self.asked += 1
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params}))
        while True:
            answer = json.loads(await self.socket.recv())
            if answer.get("id") == self.asked:
                return dict(answer)
            self.notices.append(answer)

    async def result(self, method: str, *params: Any) -> Any:
        """The result of a question."""
        return (await self.call(method, *params))["result"]

    async def settle(self) -> list[dict[str, Any]]:
        """What came unasked until the node has answered a last question."""
        await self.call("eth_blockNumber")
        notices, self.notices = self.notices, []
        return notices


@asynccontextmanager
async def client(node: ReplayNode, path: str | None = None, **headers: str) -> AsyncIterator[Client]:
    """A connected client."""
    async with connect(path or node.url, additional_headers=headers, compression=None, max_size=2**26) as socket:
        yield Client(socket)


def still(recording: Recording, **options: Any) -> ReplayNode:
    """A node that goes on only when told to."""
    return ReplayNode(recording, pace=math.inf, until=0.0, **options)


def changes(notices: Iterable[dict[str, Any]], channel: int) -> list[list[tuple[str, int]]]:
    """What ChainNotify told: types and heights, a list a frame."""
    told = [one["params"][1] for one in notices if one["method"] == "xrpc.ch.val" and one["params"][0] == channel]
    return [[(change["Type"], change["Val"]["Height"]) for change in one] for one in told]


def results(notices: Iterable[dict[str, Any]], subscription: str) -> list[dict[str, Any]]:
    """What a subscription told."""
    found = [one["params"] for one in notices if one["method"] == "eth_subscription"]
    return [one["result"] for one in found if one["subscription"] == subscription]


async def test_tells_the_head_and_then_each_change(recording: Recording) -> None:
    """A client that comes in the middle gets `current`, and then the frames of the recording on its own channel."""
    async with still(recording) as node:
        await node.advance_to(3)
        async with client(node) as one:
            channel = await one.result("Filecoin.ChainNotify")
            await node.advance_to(4)
            await node.advance_to(9)
            notices = await one.settle()
    heights = [tip.height for tip in TIPS]
    assert changes(notices, channel) == [
        [("current", heights[3])],
        *([("apply", height)] for height in heights[4:]),
        [("revert", TIPS[8].height), ("apply", FORK.height)],
    ]
    assert notices[0]["params"][1][0]["Val"] == tipset(TIPS[3])
    assert node.finished.is_set()


async def test_each_client_has_ids_of_its_own(recording: Recording) -> None:
    """Subscription ids are 32 bytes of hex; headers and logs go to whoever asked for them."""
    async with still(recording) as node, client(node) as one, client(node) as other:
        heads, logs = await one.result("eth_subscribe", "newHeads"), await one.result("eth_subscribe", "logs", {})
        some = await other.result("eth_subscribe", "logs", {"address": EMITTER})
        assert len({heads, logs, some}) == 3
        assert all(len(bytes.fromhex(identifier[2:])) == 32 for identifier in (heads, logs, some))
        await node.advance_to(2)
        told = await one.settle()
        assert results(told, heads) == [block(TIPS[0]), block(TIPS[1])]
        assert [log["address"] for log in results(told, logs)] == [EMITTER, OTHER_EMITTER] * 2
        assert results(await other.settle(), some) == [log(TIPS[0]), log(TIPS[1])]


async def test_subscriptions_end_when_told_to(recording: Recording) -> None:
    """`eth_unsubscribe` is answered; `xrpc.cancel` closes the channel of the request that it names."""
    async with still(recording) as node, client(node) as one:
        heads = await one.result("eth_subscribe", "newHeads")
        channel = await one.result("Filecoin.ChainNotify")
        request = one.asked
        assert await one.result("eth_unsubscribe", heads) is True
        assert await one.result("eth_unsubscribe", heads) is False
        await one.socket.send(json.dumps({"jsonrpc": "2.0", "method": "xrpc.cancel", "params": [request]}))
        await one.settle()
        await node.advance_to(3)
        assert [notice["method"] for notice in await one.settle()] == []
        again = await one.result("Filecoin.ChainNotify")
        assert again != channel


async def test_answers_agree_with_the_frames(recording: Recording) -> None:
    """What was not announced yet lies in the future; what was is there."""
    async with still(recording) as node, client(node) as one:
        assert (await one.call("eth_blockNumber"))["error"]["message"] == "the node has no head yet"
        assert node.canonical() == []
        for seconds in range(1, 9):
            await node.advance_to(seconds)
            newest = TIPS[seconds - 1]
            assert await one.result("eth_blockNumber") == hex(newest.height)
            assert node.canonical() == [(tip.height, tip.hash) for tip in TIPS[:seconds]]
            assert node.head is not None
            assert node.head.hash == newest.hash


@pytest.mark.parametrize("pace", [30.0, math.inf])
async def test_runs_at_its_pace(recording: Recording, pace: float) -> None:
    """The clock runs whoever is connected: nine seconds at thirty times the pace take a third of one."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with ReplayNode(recording, pace=pace) as node:
        await node.finished.wait()
        taken = loop.time() - started
        assert 9 / pace <= taken < 9 / pace + 2
        assert node.head is not None
        assert node.head.hash == TIPS[7].hash


async def test_halts_and_goes_on(recording: Recording) -> None:
    """Time stands while it is halted, and does not jump when it goes on."""
    async with ReplayNode(recording, pace=100, until=2.5) as node:
        await asyncio.sleep(0.1)
        assert node.now == 2.5
        assert not node.finished.is_set()
        node.halt_at(math.inf)
        assert node.now < 6
        await node.finished.wait()


async def test_speaks_json_rpc(recording: Recording) -> None:
    """Single and batch requests, on any path; what is no request is an error, and the connection lives on."""
    async with ReplayNode(recording, pace=math.inf) as node, client(node, node.url.replace("/rpc/v1", "/")) as one:
        batch = [{"jsonrpc": "2.0", "id": 7, "method": "eth_syncing", "params": []}, {"jsonrpc": "2.0", "id": "x", "method": "eth_mining"}]
        await one.socket.send(json.dumps(batch))
        first, second = json.loads(await one.socket.recv())
        assert first == {"jsonrpc": "2.0", "id": 7, "result": False}
        assert (second["id"], second["error"]["code"]) == ("x", -32601)
        for nonsense in ("{", "7", '{"id":1}', b"\xff"):
            await one.socket.send(nonsense)
            assert json.loads(await one.socket.recv())["error"]["code"] == -32700
        assert (await one.call("eth_getBlockByHash", {}, 1))["error"]["code"] == -32602


async def test_eth_only_nodes_know_no_channels(recording: Recording) -> None:
    """Every `Filecoin.*` is an unknown method; newHeads goes on."""
    async with still(recording, limits=Limits(eth_only=True)) as node, client(node) as one:
        assert (await one.call("Filecoin.ChainNotify"))["error"]["code"] == -32601
        heads = await one.result("eth_subscribe", "newHeads")
        await node.advance_to(1)
        assert results(await one.settle(), heads) == [block(TIPS[0])]


async def test_asks_for_its_token(recording: Recording) -> None:
    """A handshake without it is refused with 401."""
    async with ReplayNode(recording, token="sesame") as node:
        for headers in ({}, {"Authorization": "Bearer open"}):
            with pytest.raises(InvalidStatus) as caught:
                async with client(node, **headers):
                    pass
            assert caught.value.response.status_code == 401
        async with client(node, Authorization="Bearer sesame") as one:
            assert await one.result("eth_syncing") is False


async def test_a_slow_reader_loses_its_channel(recording: Recording) -> None:
    """A channel with too much to send is closed, and says so; a subscription just ends."""
    async with still(recording, max_unsent=3) as node, client(node) as one:
        channel = await one.result("Filecoin.ChainNotify")
        await one.result("eth_subscribe", "newHeads")
        node.faults.delay_seconds = 0.2
        await node.advance_to(9)
        notices = await one.settle()
    assert len(notices) <= 3 + 1 + 1, "what was on its way, what waited, and the end"
    assert notices[-1] == {"jsonrpc": "2.0", "method": "xrpc.ch.close", "params": [channel]}


async def test_shifts_times_to_now(recording: Recording) -> None:
    """The head was made when it was announced, in frames and in answers."""
    async with still(recording, shift_to_now=True) as node, client(node) as one:
        heads = await one.result("eth_subscribe", "newHeads")
        await node.advance_to(1)
        (told,) = results(await one.settle(), heads)
        assert told["timestamp"] == (await one.result("eth_getBlockByNumber", "latest", False))["timestamp"]
        assert int(told["timestamp"], 16) > 1_700_000_000


async def test_drops_and_refuses_connections(recording: Recording) -> None:
    """After so many seconds, all at once, and at the door."""
    async with ReplayNode(recording) as node:
        node.faults.drop_every_seconds = 0.1
        async with client(node) as one:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(one.socket.recv(), 2)
        node.faults.drop_every_seconds = None
        async with client(node) as one:
            await one.result("eth_syncing")
            node.drop_all()
            with pytest.raises(ConnectionClosed):
                await one.socket.recv()
        node.faults.refuse = True
        with pytest.raises(InvalidStatus, match="503"):
            async with client(node):
                pass


async def test_mutes_repeats_and_stages_frames(recording: Recording) -> None:
    """Frames can be lost, doubled, and told in another order."""
    kept: list[Frame] = []

    def swap(frame: Frame) -> list[Frame]:
        kept.append(frame)
        return [kept.pop(), kept.pop()] if len(kept) == 2 else []

    async with still(recording) as node, client(node) as one:
        channel = await one.result("Filecoin.ChainNotify")
        node.faults.mute = True
        await node.advance_to(2)
        assert await one.settle() == []
        node.faults.mute, node.faults.repeat = False, 2
        await node.advance_to(3)
        assert changes(await one.settle(), channel) == [[("apply", TIPS[3].height)]] * 2
        node.faults.repeat, node.faults.stage = 1, lambda frame: swap(frame) if frame.topic == "heads" else [frame]
        await node.advance_to(5)
        assert changes(await one.settle(), channel) == [[("apply", TIPS[5].height)], [("apply", TIPS[4].height)]]


@pytest.mark.parametrize("sent", [b"{", b"\xc3(", b'"x"', b"0" * 2**24])
async def test_distorts_answers(recording: Recording, sent: bytes) -> None:
    """Anything can be sent in the place of an answer, or nothing."""
    async with ReplayNode(recording) as node, client(node) as one:
        node.faults.distort = lambda method, params, answer: sent if (method, params) == ("eth_syncing", [1]) else answer
        assert await one.result("eth_syncing") is False
        await one.socket.send('{"id":9,"method":"eth_syncing","params":[1]}')
        if sent == b"\xc3(":
            with pytest.raises(ConnectionClosed):
                await one.socket.recv()
        else:
            assert await one.socket.recv() == sent.decode()
        node.faults.distort = lambda *_: None


async def test_keeps_silent_and_comes_late(recording: Recording) -> None:
    """A silent node answers nothing; a slow one later, in order."""
    async with ReplayNode(recording) as node, client(node) as one:
        node.faults.silent = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.call("eth_syncing"), 0.1)
        node.faults.silent, node.faults.delay_seconds = False, 0.1
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number in range(10):
            await one.socket.send(json.dumps({"id": number, "method": "eth_syncing"}))
        assert [json.loads(await one.socket.recv())["id"] for _ in range(10)] == list(range(10))
        assert 0.1 <= loop.time() - started < 0.5


async def test_the_bundled_recording_is_told_whole(devnet: Recording) -> None:
    """A client that was there from the start has been told every frame, and ends at the recorded head."""
    async with still(devnet) as node, client(node) as one:
        channel = await one.result("Filecoin.ChainNotify")
        logs, heads = await one.result("eth_subscribe", "logs", {}), await one.result("eth_subscribe", "newHeads")
        await node.advance_to(devnet.seconds)
        notices = await one.settle()
        by_topic = (len(changes(notices, channel)), len(results(notices, heads)), len(results(notices, logs)))
        assert by_topic == tuple(sum(frame.topic == topic for frame in devnet.frames) for topic in ("heads", "newHeads", "logs"))
        assert len(node.canonical()) > 400


async def test_serves_as_a_process_of_its_own(tmp_path: Path) -> None:
    """`python -m streams.replay` prints its URL and stops when told to."""
    path = tmp_path / "made.jsonl"
    path.write_bytes(text(*lines()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.replay", str(path), "--pace", "inf", "--eth-only", "--token", "sesame"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with connect(url, additional_headers={"Authorization": "Bearer sesame"}) as socket:
        assert (await Client(socket).call("Filecoin.ChainHead"))["error"]["code"] == -32601
    process.terminate()
    assert await process.wait() == 0


def test_a_recording_that_can_not_be_read_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, no traceback."""
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def parents(tip: Tip) -> list[str]:
    """The hashes below a tipset."""
    return [one.hash for one in tip.ancestors()][1:]


async def test_a_fork_of_equal_height_changes_the_canonical_chain(recording: Recording) -> None:
    """After the last frame the head is the fork, on the same executed tipsets."""
    async with still(recording) as node:
        await node.advance_to(9)
        assert [block for _, block in reversed(node.canonical())] == parents(FORK)
