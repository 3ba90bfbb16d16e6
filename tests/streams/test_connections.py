"""Connections, over real websockets: whatever happens on the wire is told to the follower, and the records go on."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest

from streams import connections as module
from streams.connections import Address, Connections
from streams.contents import Learnt
from streams.errors import UsageError
from streams.events import Dropped, Event, Live, Nonsense, Position, Skipped, Sought
from streams.follower import Follower
from streams.memory import Memory
from streams.records import Contract, Record, TipsetRecord
from streams.rpc import MAX_FRAME_BYTES
from tests.node.server import Server
from tests.node.world import CONTRACT, Node, World
from tests.streams.test_follower import Talkative

pytestmark = pytest.mark.timeout(20)


class Shelf:
    """A sink that keeps everything, and lets others wait while it is closed."""

    def __init__(self, position: Position | None = None) -> None:
        self.position = position or Position(1, (), None, Memory())
        self.network: tuple[str, int] | None = None
        self.records: list[Record] = []
        self.learnt: list[Contract] = []
        self.open, self.attentive = asyncio.Event(), asyncio.Event()
        """Whether there is room for records, and time for contracts."""
        self.open.set()
        self.attentive.set()
        self.waiting = 0

    async def prepare(self, network: str, chain_id: int) -> Position:
        """Begin."""
        self.network = (network, chain_id)
        return self.position

    async def put(self, record: Record) -> None:
        """Take a record."""
        await self._wait(self.open)
        self.records.append(record)

    async def keep(self, learnt: Learnt) -> None:
        """Take what was learnt."""
        await self._wait(self.attentive)
        self.learnt += learnt.contracts

    async def _wait(self, gate: asyncio.Event) -> None:
        self.waiting += 1
        await gate.wait()
        self.waiting -= 1

    @property
    def heights(self) -> list[int]:
        """The tipsets that came, in their order."""
        return [record.height for record in self.records if isinstance(record, TipsetRecord)]


class Run:
    """A follower that is connected to nodes in the background."""

    def __init__(self, addresses: Mapping[str, Address], shelf: Shelf) -> None:
        self.follower = Follower(addresses)
        self.events: list[Event] = []
        self.shelf = shelf
        self.connections = Connections(self.follower, addresses, shelf, self.events.append)

    def reasons(self) -> list[str]:
        """Why endpoints were left."""
        return [event.reason for event in self.events if isinstance(event, Dropped)]

    def lives(self) -> list[str]:
        """The endpoints that greeted, in their order."""
        return [event.endpoint for event in self.events if isinstance(event, Live)]


@asynccontextmanager
async def running(addresses: Mapping[str, Address], shelf: Shelf | None = None) -> AsyncIterator[Run]:
    """Follow, and leave no task behind."""
    before = asyncio.all_tasks()
    run = Run(addresses, shelf or Shelf())
    task = asyncio.create_task(run.connections.run())
    try:
        yield run
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        left = {one.get_name() for one in asyncio.all_tasks() - before}
        assert not [name for name in left if name in {"drive", "publish"} or name.startswith("talk to")]


async def until(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def world() -> World:
    made = World()
    made.advance(*[0] * 5)
    return made


def at(server: Server, token: str | None = None) -> dict[str, Address]:
    """The server as the only endpoint."""
    return {"a": Address(server.url, token)}


async def grow(server: Server) -> None:
    """One more tipset, which the node announces."""
    server.node.world.advance(0)
    await server.tell(server.node.see(server.node.world.head))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_records_flow_from_a_node_to_the_sink() -> None:
    """The sink learns the network first, then gets each tipset once and what was learnt of contracts."""
    async with Server(Node(world())) as server, running(at(server)) as run:
        await until(lambda: run.shelf.heights == [4])
        assert run.shelf.network == ("testworld", 314)
        for _ in range(3):
            await grow(server)
        await until(lambda: run.shelf.heights == [4, 5, 6, 7])
        await until(lambda: len(run.shelf.records) == 8)
        assert {contract.address for contract in run.shelf.learnt} == {CONTRACT}
        assert server.tokens == [None]
        assert run.lives() == ["a"]


async def test_the_token_goes_along_in_the_handshake() -> None:
    """As a bearer token."""
    async with Server(Node(world())) as server, running(at(server, "secret")) as run:
        await until(lambda: run.shelf.heights)
        assert server.tokens == ["Bearer secret"]


@pytest.mark.parametrize(
    "status, reason",
    [
        (HTTPStatus.UNAUTHORIZED, r"a: the token was refused \(401\)"),
        (HTTPStatus.FORBIDDEN, r"a: access was refused \(403\)"),
        (HTTPStatus.NOT_FOUND, r"a: no RPC at this path \(404\)"),
    ],
)
async def test_a_refused_handshake_ends_the_run_if_there_is_no_other_node(status: HTTPStatus, reason: str) -> None:
    """Waiting would not help: the person is told which endpoint refused us, and why. It is not asked again."""
    async with Server(Node(world())) as server:
        server.status = status
        run = Run(at(server), Shelf())
        with pytest.raises(UsageError, match=f"^no node can be used: {reason}$"):
            await run.connections.run()
        assert len(server.tokens) == 1
        assert run.events == [Sought(frozenset("a")), Dropped("a", run.reasons()[0], refused=True)]


async def test_a_url_that_is_none_is_refused() -> None:
    """It will not become one."""
    with pytest.raises(UsageError, match=r"^no node can be used: a: http://127\.0\.0\.1/ isn't a valid URI"):
        await Run({"a": Address("http://127.0.0.1/")}, Shelf()).connections.run()


@pytest.mark.parametrize("place", ["ws://[::bad", "ws://x:99999999/", f"ws://{'a' * 70}.org/", "http://b/"])
async def test_a_node_that_sends_us_nowhere_is_one_that_is_not_reached(place: str) -> None:
    """What it calls an address is no fault of ours, and the next node is followed."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as nowhere, Server(Node(world())) as server:
        port = nowhere.sockets[0].getsockname()[1]
        async with running({"a": Address(f"ws://127.0.0.1:{port}/"), "b": Address(server.url)}) as run:
            await until(lambda: run.shelf.heights)
            assert (run.lives(), bool(run.reasons())) == (["b"], True)


async def test_a_refused_node_is_left_for_the_next() -> None:
    """The run goes on with the other one."""
    async with Server(Node(world())) as first, Server(Node(world())) as second:
        first.status = HTTPStatus.UNAUTHORIZED
        async with running({"a": Address(first.url), "b": Address(second.url)}) as run:
            await until(lambda: run.shelf.heights)
            assert run.lives() == ["b"]


async def test_a_node_that_is_away_is_tried_again() -> None:
    """Refused connections and temporary refusals are retried until the node is there."""
    port = free_port()
    async with running({"a": Address(f"ws://127.0.0.1:{port}/rpc/v1")}) as run:
        await until(lambda: len(run.reasons()) >= 2)
        async with Server(Node(world()), port=port) as server:
            server.status = HTTPStatus.SERVICE_UNAVAILABLE
            await until(lambda: "HTTP 503" in run.reasons())
            server.status = None
            await until(lambda: run.shelf.heights)


async def test_a_node_that_does_not_shake_hands_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that accepts and says nothing takes no longer than the time allowed."""
    monkeypatch.setattr(module, "OPEN_TIMEOUT_SECONDS", 0.05)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with mute, running({"a": Address(f"ws://127.0.0.1:{mute.sockets[0].getsockname()[1]}/")}) as run:
        await until(run.reasons)
        assert "timed out" in run.reasons()[0]


@pytest.mark.parametrize("politely", [True, False])
async def test_a_connection_that_ends_is_made_again(politely: bool) -> None:
    """With a close frame or without, and nothing of the time between is lost."""
    async with Server(Node(world())) as server, running(at(server)) as run:
        await until(lambda: run.shelf.heights == [4])
        if politely:
            await server.clients[0].close(1001)
        else:
            server.clients[0].transport.abort()
        server.node.world.advance(0, 0, 0)
        server.node.see(server.node.world.head)
        await until(lambda: run.shelf.heights == [4, 5, 6, 7])
        assert len(run.reasons()) == 1
        assert (run.reasons()[0] == "closed by the node") is politely
        assert run.lives() == ["a", "a"]


@pytest.mark.parametrize(
    "frame, reason",
    [
        (b" " * (MAX_FRAME_BYTES + 1), f"the node sent a frame of more than {MAX_FRAME_BYTES} bytes"),
        (b'"\xff"', "the node sent text that is not UTF-8"),
    ],
    ids=["too long", "not UTF-8"],
)
async def test_a_frame_that_can_not_be_taken_ends_the_connection(frame: bytes, reason: str) -> None:
    """It is held against the node, which is connected to again."""
    async with Server(Node(world())) as server, running(at(server)) as run:
        await until(lambda: run.shelf.heights == [4])
        await server.tell([frame])
        await until(lambda: run.lives() == ["a", "a"])
        assert Nonsense("a", reason) in run.events
        assert run.reasons() == [reason]
        await grow(server)
        await until(lambda: run.shelf.heights == [4, 5])


async def test_an_answer_that_is_too_long_costs_its_tipset_alone() -> None:
    """Over a real websocket: the connection ends while it is found out which it is, and then no more."""
    node = Talkative(world())
    async with Server(node) as server, running(at(server)) as run:
        await until(lambda: run.shelf.heights == [4])
        node.padded = node.world.head.hash
        for _ in range(3):
            await grow(server)
        await until(lambda: run.shelf.heights == [4, 6, 7])
        left = run.reasons()
        assert set(left) == {f"the node sent a frame of more than {MAX_FRAME_BYTES} bytes"}
        assert [event.height for event in run.events if isinstance(event, Skipped)] == [5]
        await grow(server)
        await until(lambda: run.shelf.heights == [4, 6, 7, 8])
        assert run.reasons() == left


async def test_what_the_follower_can_not_believe_ends_the_connection_as_well() -> None:
    """The follower leaves the endpoint, the socket is closed, and another one opened."""
    async with Server(Node(world())) as server, running(at(server)) as run:
        await until(lambda: run.shelf.heights == [4])
        first = server.clients[0]
        await server.tell([b"[1]"])
        await until(lambda: run.lives() == ["a", "a"])
        await until(lambda: first not in server.clients)
        await grow(server)
        await until(lambda: run.shelf.heights == [4, 5])


async def test_the_preferred_node_is_returned_to() -> None:
    """As soon as it is there; the other connection is closed then."""
    port, shared = free_port(), world()
    async with Server(Node(shared)) as second:
        addresses = {"a": Address(f"ws://127.0.0.1:{port}/rpc/v1"), "b": Address(second.url)}
        async with running(addresses) as run:
            await until(lambda: run.shelf.heights == [4])
            assert run.lives() == ["b"]
            async with Server(Node(shared), port=port) as first:
                await until(lambda: run.lives() == ["b", "a"])
                await until(lambda: not second.clients)
                await grow(first)
                await until(lambda: run.shelf.heights == [4, 5])


async def test_a_slow_sink_does_not_stop_the_draining() -> None:
    """Frames are read while a record waits for room, and the connection lives; with room again nothing is lost."""
    shelf = Shelf()
    shelf.open.clear()
    async with Server(Node(world())) as server, running(at(server), shelf) as run:
        await until(lambda: shelf.waiting)
        for _ in range(40):
            await grow(server)
        await until(lambda: run.follower.head is not None and run.follower.head.height == 45)
        assert shelf.records == []
        shelf.open.set()
        await until(lambda: shelf.heights == list(range(4, 45)))
        assert run.reasons() == []


async def test_what_becomes_ready_while_the_sink_keeps_contracts_is_published() -> None:
    """The last answer comes while the sink is busy with something else, and after it the node is quiet: nobody waits for the next frame."""
    lowest = (made := world()).below(3)
    shelf = Shelf(Position(1, (), None, Memory(), since=lowest.height))
    shelf.attentive.clear()
    async with Server(Node(made)) as server:
        server.holds = lambda asked: asked["method"] == "eth_getBlockReceipts" and asked["params"] == [lowest.hash]
        async with running(at(server), shelf) as run:
            # The tipsets above bring contracts, while the lowest one can not be published yet.
            await until(lambda: shelf.waiting and server.held)
            await server.release()
            await until(lambda: lowest.hash in run.follower._questions)
            await asyncio.sleep(0.1)
            shelf.attentive.set()
            await until(lambda: shelf.heights == [2, 3, 4])


async def test_a_cancelled_run_leaves_no_tasks() -> None:
    """Whatever it was at: connecting, following, or waiting for the sink."""
    shelf = Shelf()
    shelf.open.clear()
    async with running({"a": Address("ws://127.0.0.1:1/")}):
        await asyncio.sleep(0.02)
    async with Server(Node(world())) as server:
        async with running(at(server)) as run:
            await until(lambda: run.shelf.heights)
        async with running(at(server), shelf):
            await until(lambda: shelf.waiting)
        await until(lambda: not server.clients)


def test_a_token_is_no_part_of_the_url() -> None:
    """It goes into a header, or there is none."""
    assert Address("ws://x/").headers == {}
    assert Address("ws://x/", "t").headers == {"Authorization": "Bearer t"}
