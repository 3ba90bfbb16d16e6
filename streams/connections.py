"""Websockets in and out: the only loop that touches the network on behalf of the follower.

Frames are always drained, whatever the consumers do: a node closes the channel of a slow reader. Records are pulled one at a
time, so a slow store holds back the publishing and nothing else.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import CloseCode

from streams.clock import SteadyClock
from streams.contents import Learnt
from streams.errors import UsageError
from streams.events import Event, Nonsense, Position
from streams.follower import Follower
from streams.records import Record
from streams.rpc import MAX_FRAME_BYTES, OVERSIZE

OPEN_TIMEOUT_SECONDS = 15.0
PING_SECONDS = 20.0
SHORTEST_NAP_SECONDS = 0.005
_UNREADABLE = {
    CloseCode.PROTOCOL_ERROR: "frames that are not a websocket's",
    CloseCode.INVALID_DATA: "text that is not UTF-8",
    CloseCode.MESSAGE_TOO_BIG: OVERSIZE,
}
"""Why we end a connection on our side."""
_REFUSALS = {401: "the token was refused (401)", 403: "access was refused (403)", 404: "no RPC at this path (404)"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node is: its websocket URL and the header that lets us in."""

    url: str
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The handshake headers."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


class Sink(Protocol):
    """Where records go: the seam between the streams and the processors."""

    async def prepare(self, network: str, chain_id: int) -> Position:
        """The network is known: get ready for its records, and say where to go on."""

    async def put(self, record: Record) -> None:
        """Take a record; returns when it is accepted, and waits while there is no room."""

    async def keep(self, learnt: Learnt) -> None:
        """Remember it for the next run, before anything that is `put` after it."""


class Connections:
    """Runs a follower: connects it to its nodes, and its records to a sink.

    Args:
        follower: the state machine.
        addresses: by the endpoint names that the follower knows.
        sink: takes the records.
        observe: is told each event of the follower.
        clock: Unix time in seconds that never goes back; a `SteadyClock` of its own by default.
    """

    def __init__(
        self,
        follower: Follower,
        addresses: Mapping[str, Address],
        sink: Sink,
        observe: Callable[[Event], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._follower = follower
        self._addresses = addresses
        self._sink = sink
        self._observe = observe
        self._clock = clock or SteadyClock()
        self._stirred = asyncio.Event()
        self._ready = asyncio.Event()
        self._to_resume = True
        self._sockets: dict[str, ClientConnection] = {}
        self._talks: dict[str, tuple[int, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            UsageError: every node refuses us, so waiting would not help.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drive(group), name="drive")
                group.create_task(self._publish(), name="publish")
        except* UsageError as errors:
            raise errors.exceptions[0] from None

    def resync(self) -> None:
        """The sink may have lost what it took: ask it again where to go on."""
        self._to_resume = True
        self._ready.set()

    def stir(self) -> None:
        """The follower was given something to do."""
        self._stirred.set()

    async def _drive(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._stirred.clear()
            now = self._clock()
            self._follower.tick(now)
            self._connect(group, self._follower.wanted(now))
            await self._send()
            self._tell()
            if (reason := self._follower.no_endpoint_left()) is not None:
                raise UsageError(f"no node can be used: {reason}")
            self._ready.set()
            nap = max(self._follower.wake_at() - self._clock(), SHORTEST_NAP_SECONDS)
            # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._stirred.wait()

    def _connect(self, group: asyncio.TaskGroup, wanted: Mapping[str, int]) -> None:
        for name, (number, task) in list(self._talks.items()):
            if task.done():
                del self._talks[name]
            elif wanted.get(name) != number:
                task.cancel()
        for name in wanted.keys() - self._talks.keys():
            task = group.create_task(self._talk(name), name=f"talk to {name}")
            task.add_done_callback(lambda _: self._stirred.set())
            self._talks[name] = wanted[name], task

    async def _send(self) -> None:
        for name, frame in self._follower.requests():
            socket = self._sockets.get(name)
            if socket is not None:
                with contextlib.suppress(ConnectionClosed):
                    await socket.send(frame, text=True)

    def _tell(self) -> None:
        for event in self._follower.events():
            self._observe(event)

    async def _talk(self, name: str) -> None:
        """One connection, from its handshake to its end."""
        address = self._addresses[name]
        refused = oversize = met = False
        try:
            async with connect(
                address.url,
                additional_headers=address.headers,
                max_size=MAX_FRAME_BYTES,
                open_timeout=OPEN_TIMEOUT_SECONDS,
                close_timeout=1,
                ping_interval=PING_SECONDS,
                compression=None,
            ) as socket:
                met = True
                await self._drain(name, socket)
            reason = "closed by the node"
        except InvalidStatus as error:
            status = error.response.status_code
            reason, refused = _REFUSALS.get(status, f"HTTP {status}"), status in _REFUSALS
        except InvalidURI as error:
            # Our own address will not become one; where the node sends us (a page of its provider's, say) may.
            reason, refused = str(error), error.uri == address.url
        except ConnectionClosed as error:
            reason = str(error)
            if error.sent is not None and error.sent.code in _UNREADABLE:
                reason = f"the node sent {_UNREADABLE[CloseCode(error.sent.code)]}"
                self._observe(Nonsense(name, reason))
                oversize = error.sent.code == CloseCode.MESSAGE_TOO_BIG
        except (OSError, WebSocketException, TimeoutError) as error:
            reason = str(error) or type(error).__name__
        except ValueError as error:
            if met:
                raise
            # Where the node sends us is no address.
            reason = str(error)
        self._follower.disconnected(name, reason, self._clock(), refused=refused, oversize=oversize)

    async def _drain(self, name: str, socket: ClientConnection) -> None:
        self._sockets[name] = socket
        try:
            self._follower.connected(name, self._clock())
            self._stirred.set()
            async for frame in socket:
                self._follower.receive(name, frame, self._clock())
                self._stirred.set()
        finally:
            del self._sockets[name]

    async def _publish(self) -> None:
        while self._follower.network is None or self._follower.chain_id is None:
            self._ready.clear()
            await self._ready.wait()
        while True:
            if self._to_resume:
                self._to_resume = False
                self._follower.resume(await self._sink.prepare(self._follower.network, self._follower.chain_id))
                self._stirred.set()
            # Before the look, not after: what becomes ready while the sink keeps us waiting must not be slept over.
            self._ready.clear()
            record = self._follower.next_record()
            if learnt := self._follower.take_learnt():
                await self._sink.keep(learnt)
            await self._send()
            if record is None:
                await self._ready.wait()
            else:
                await self._sink.put(record)
                self._stirred.set()
