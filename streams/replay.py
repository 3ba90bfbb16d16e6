"""A node made of a recording: it serves on a real websocket what the recorded node sent, at any pace, and misbehaves on demand.

The clock is the node's own: it runs from `start`, whoever is connected. A client that comes late is told the head of that moment,
as Lotus does, and may ask about everything in the recording.
"""

import asyncio
import contextlib
import http
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from msgspec import Raw
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streams.answers import Answers, Limits, Refused
from streams.recording import Frame, Recording, Topic
from streams.shift import Shift

PATH = "/rpc/v1"


@dataclass(slots=True)
class Faults:
    """How the node misbehaves; all of it may be changed while it runs.

    Attributes:
        drop_every_seconds: closes each connection so long after it was opened.
        refuse: refuses new connections with HTTP 503.
        mute: sends no frames by itself.
        silent: answers nothing.
        repeat: sends each frame of its own so many times.
        delay_seconds: waits so long before each answer.
        distort: is given method, parameters and answer frame, and gives what to send instead (None: nothing).
    """

    drop_every_seconds: float | None = None
    refuse: bool = False
    mute: bool = False
    silent: bool = False
    repeat: int = 1
    delay_seconds: float = 0.0
    distort: Callable[[str, list[Any], bytes], bytes | None] | None = None


class _Request(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: Any = None


@dataclass(slots=True, eq=False)
class _Client:
    socket: ServerConnection
    subscriptions: dict[Topic, list[str | int]] = field(default_factory=dict)
    outbox: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)


class ReplayNode:
    """Serves a recording; an async context manager.

    Args:
        recording: what to serve.
        pace: how many seconds of the recording pass in one second.
        limits: what the node does not do.
        token: what clients must send as bearer token.
        shift_to_now: make blocks look as if they were made when they are announced.
        host: where to listen.
        port: where to listen, 0 for a free one.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        pace: float = 1.0,
        limits: Limits | None = None,
        token: str | None = None,
        shift_to_now: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.recording = recording
        self.faults = Faults()
        self.finished = asyncio.Event()
        """Set when the last frame was sent."""
        self._pace = pace
        self._limits = limits or Limits()
        self._answers = Answers(recording, self._limits)
        self._token = token
        self._shift = Shift(recording, pace, time.time()) if shift_to_now else None
        self._address = (host, port)
        self._clients: set[_Client] = set()
        self._server: Server | None = None
        self._player: asyncio.Task[None] | None = None
        self._started = 0.0
        self._limit = math.inf
        self._moved = asyncio.Event()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{self._address[0]}:{self._address[1]}{PATH}"

    @property
    def now(self) -> float:
        """Seconds of the recording that have passed."""
        return min((time.monotonic() - self._started) * self._pace, self._limit) if self._started else 0.0

    def halt_at(self, seconds: float) -> None:
        """Let the recording run on to this time and stop there; `math.inf` lets it run to its end."""
        self._started = time.monotonic() - self.now / self._pace
        self._limit = seconds
        self._moved.set()

    async def __aenter__(self) -> Self:
        self._server = await serve(self._talk, *self._address, process_request=self._admit, compression=None, max_size=2**20)
        self._address = self._server.sockets[0].getsockname()[:2]
        self._started = time.monotonic()
        self._player = asyncio.create_task(self._play(), name="replay")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._player is not None:
            self._player.cancel()
            await asyncio.wait([self._player])
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def drop_all(self) -> None:
        """Cut every connection at once."""
        for client in self._clients:
            client.socket.transport.abort()

    async def _play(self) -> None:
        for frame in self.recording.frames:
            while frame.seconds > self._limit:
                self._moved.clear()
                await self._moved.wait()
            await asyncio.sleep(max((frame.seconds - self.now) / self._pace, 0))
            for client in self._clients:
                self._notify(client, frame)
        self.finished.set()

    def _notify(self, client: _Client, frame: Frame) -> None:
        for subscription in client.subscriptions.get(frame.topic, ()) if not self.faults.mute else ():
            for _ in range(self.faults.repeat):
                client.outbox.put_nowait(self._notice(frame.topic, subscription, frame.value))

    def _notice(self, topic: Topic, subscription: str | int, value: Raw) -> bytes:
        if self._shift is not None:
            value = self._shift.frame(topic, value)
        if topic == "heads":
            message: dict[str, Any] = {"jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [subscription, value]}
        else:
            params = {"subscription": subscription, "result": value}
            message = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
        return msgspec.json.encode(message)

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        if self.faults.refuse:
            return socket.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "not now\n")
        if self._token is not None and request.headers.get("Authorization") != f"Bearer {self._token}":
            return socket.respond(http.HTTPStatus.UNAUTHORIZED, "token needed\n")
        return None

    async def _talk(self, socket: ServerConnection) -> None:
        client = _Client(socket)
        self._clients.add(client)
        sending = asyncio.create_task(self._send(client), name="replay send")
        try:
            async with asyncio.timeout(self.faults.drop_every_seconds):
                async for frame in socket:
                    await self._heard(client, frame)
        except TimeoutError:
            socket.transport.abort()
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            sending.cancel()
            await asyncio.wait([sending])

    @staticmethod
    async def _send(client: _Client) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.socket.send(await client.outbox.get(), text=True)

    async def _heard(self, client: _Client, frame: str | bytes) -> None:
        try:
            asked = msgspec.json.decode(frame, type=_Request | list[_Request])
        except msgspec.MsgspecError as error:
            client.outbox.put_nowait(_error(None, -32700, str(error)))
            return
        if self.faults.delay_seconds:
            await asyncio.sleep(self.faults.delay_seconds)
        if self.faults.silent:
            return
        if isinstance(asked, list):
            client.outbox.put_nowait(b"[" + b",".join(self._answer(client, one) for one in asked) + b"]")
            return
        answer: bytes | None = self._answer(client, asked)
        if self.faults.distort is not None and answer is not None:
            answer = self.faults.distort(asked.method, asked.params or [], answer)
        if answer is not None:
            client.outbox.put_nowait(answer)
        if asked.method == "Filecoin.ChainNotify":
            self._tell_current(client)

    def _answer(self, client: _Client, asked: _Request) -> bytes:
        try:
            result = self._result(client, asked.method, asked.params if isinstance(asked.params, list) else [])
        except Refused as refused:
            return _error(asked.id, refused.error.code, refused.error.message)
        return msgspec.json.encode({"jsonrpc": "2.0", "id": asked.id, "result": result})

    def _result(self, client: _Client, method: str, params: list[Any]) -> Any:
        match method, params:
            case "Filecoin.ChainNotify", _ if self.recording.native and not self._limits.eth_only:
                return self._subscribe(client, "heads", secrets.randbelow(2**31))
            case "eth_subscribe", [("newHeads" | "logs") as topic, *_]:
                return self._subscribe(client, topic, "0x" + secrets.token_hex(16) + "0" * 32)
            case "eth_unsubscribe", [subscription]:
                held = [ids for ids in client.subscriptions.values() if subscription in ids]
                for ids in held:
                    ids.remove(subscription)
                return bool(held)
        result = self._answers.answer(method, params, self.now)
        return self._shift.answer(method, result) if self._shift is not None else result

    @staticmethod
    def _subscribe(client: _Client, topic: Topic, subscription: str | int) -> str | int:
        client.subscriptions.setdefault(topic, []).append(subscription)
        return subscription

    def _tell_current(self, client: _Client) -> None:
        head = self.recording.head_at(self.now)
        if head is None or head.native is None or not client.subscriptions.get("heads"):
            return
        current = Raw(msgspec.json.encode([{"Type": "current", "Val": self.recording.tipsets[head.native]}]))
        client.outbox.put_nowait(self._notice("heads", client.subscriptions["heads"][-1], current))


def _error(number: int | str | None, code: int, message: str) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}})
