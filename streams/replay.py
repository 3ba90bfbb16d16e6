"""A node made of a recording: it serves on a real websocket what the recorded node sent, at any pace, and misbehaves on demand.

The clock is the node's own: it runs from the start, whoever is connected. A client that comes late is told the head of that moment,
as Lotus does, and may ask about everything in the recording. `python -m streams.replay --help` serves one by itself.
"""

import argparse
import asyncio
import contextlib
import http
import math
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Self

import msgspec
from msgspec import Raw
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streams.answers import Answers, Limits, Refused, matches
from streams.chain import Link
from streams.errors import RecordingError
from streams.recording import Frame, RecordedError, Recording, Topic, load
from streams.records import Hash
from streams.shift import Shift

PATH = "/rpc/v1"
NOT_JSON_RPC = -32700


@dataclass(slots=True)
class Faults:
    """How the node misbehaves; all of it may be changed while it runs.

    Attributes:
        drop_every_seconds: closes each connection so long after it was opened.
        refuse: refuses new connections with HTTP 503.
        mute: sends no frames by itself.
        silent: answers nothing.
        repeat: sends each frame of its own so many times.
        delay_seconds: all that it sends arrives so much later.
        distort: is given method, parameters and answer frame, and gives what to send instead (None: nothing).
        stage: is given each frame of the recording, and gives those to send instead: to lose, hold back or swap them.
    """

    drop_every_seconds: float | None = None
    refuse: bool = False
    mute: bool = False
    silent: bool = False
    repeat: int = 1
    delay_seconds: float = 0.0
    distort: Callable[[str, list[Any], bytes], bytes | None] | None = None
    stage: Callable[[Frame], Iterable[Frame]] | None = None


class _Request(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: Any = None


@dataclass(frozen=True, slots=True)
class _Subscription:
    """`wanted` filters logs; `request` is the id by which `xrpc.cancel` names a channel."""

    topic: Topic
    request: int | str | None
    wanted: dict[str, Any]


@dataclass(slots=True, eq=False)
class _Client:
    """A connection; `outbox` holds what is to be sent, and not before which time."""

    socket: ServerConnection
    subscriptions: dict[str | int, _Subscription] = field(default_factory=dict)
    outbox: asyncio.Queue[tuple[float, bytes]] = field(default_factory=asyncio.Queue)


class ReplayNode:
    """Serves a recording; an async context manager.

    Args:
        recording: what to serve.
        pace: how many seconds of the recording pass in one second; `math.inf` for as fast as can be.
        until: where the recording stops until `halt_at` or `advance_to` lets it go on.
        limits: what the node does not do.
        token: what clients must send as bearer token.
        shift_to_now: make blocks look as if they were made when they are announced.
        max_unsent: a subscription with more frames than this to send is closed, as a node does to a slow reader.
        host: where to listen.
        port: where to listen, 0 for a free one.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        pace: float = 1.0,
        until: float = math.inf,
        limits: Limits | None = None,
        token: str | None = None,
        shift_to_now: bool = False,
        max_unsent: int | None = None,
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
        self._max_unsent = max_unsent
        self._clients: set[_Client] = set()
        self._server: Server | None = None
        self._player: asyncio.Task[None] | None = None
        self._started: float | None = None
        self._limit = until
        self._next = recording.frames[0].seconds
        self._moved = asyncio.Event()
        self._played = asyncio.Event()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{self._address[0]}:{self._address[1]}{PATH}"

    @property
    def now(self) -> float:
        """Seconds of the recording that have passed; a frame that was not sent yet lies in the future."""
        return min(self._clock(), math.nextafter(self._next, 0))

    @property
    def head(self) -> Link | None:
        """The newest executed tipset; None before the first head."""
        return next(reversed(self._answers.canonical(self.now)), None)

    def canonical(self) -> list[tuple[int, Hash]]:
        """Height and hash of the executed tipsets of the canonical chain, lowest first."""
        return [(link.height, link.hash) for link in self._answers.canonical(self.now)]

    def halt_at(self, seconds: float) -> None:
        """Let the recording run on to this time and stop there; `math.inf` lets it run to its end."""
        if self._started is not None and math.isfinite(self._pace):
            self._started = time.monotonic() - self._clock() / self._pace
        self._limit = seconds
        self._moved.set()

    async def advance_to(self, seconds: float) -> None:
        """Let the recording run on to this time, stop there, and return when it is reached."""
        self.halt_at(seconds)
        while self._next <= seconds and math.isfinite(self._next):
            self._played.clear()
            await self._played.wait()

    async def __aenter__(self) -> Self:
        self._server = await serve(self._talk, *self._address, process_request=self._admit, compression=None, max_size=2**20)
        self._address = self._server.sockets[0].getsockname()[:2]
        self._started = time.monotonic()
        self._player = asyncio.create_task(self._play(), name="replay")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._player is not None:
            self._player.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._player
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def drop_all(self) -> None:
        """Cut every connection at once."""
        for client in self._clients:
            client.socket.transport.abort()

    def _clock(self) -> float:
        if self._started is None:
            return 0.0
        return min((time.monotonic() - self._started) * self._pace, self._limit) if math.isfinite(self._pace) else self._limit

    async def _play(self) -> None:
        """Send the frames as they fall due; those of one time together, so that answers never know half of them."""
        groups = [(seconds, list(frames)) for seconds, frames in groupby(self.recording.frames, key=lambda frame: frame.seconds)]
        for (seconds, frames), (following, _) in zip(groups, [*groups[1:], (math.inf, [])], strict=True):
            await self._due(seconds)
            for frame in frames:
                self._notify(frame)
            self._next = following
            self._played.set()
            await asyncio.sleep(0)
        self.finished.set()

    async def _due(self, seconds: float) -> None:
        while self._clock() < seconds:
            self._moved.clear()
            pause = (seconds - self._clock()) / self._pace if self._limit >= seconds else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), pause)

    def _notify(self, frame: Frame) -> None:
        staged = (frame,) if self.faults.stage is None else tuple(self.faults.stage(frame))
        for client in self._clients if not self.faults.mute else ():
            for one in staged * self.faults.repeat:
                self._tell(client, one)

    def _tell(self, client: _Client, frame: Frame) -> None:
        for subscription, held in list(client.subscriptions.items()):
            if held.topic != frame.topic or (held.wanted and not matches(msgspec.json.decode(frame.value), held.wanted)):
                continue
            if self._max_unsent is not None and client.outbox.qsize() >= self._max_unsent:
                self._close(client, subscription)
            else:
                self._post(client, self._notice(frame.topic, subscription, frame.value))

    def _close(self, client: _Client, subscription: str | int) -> None:
        """A channel says that it ends; a subscription by `eth_subscribe` just does."""
        if client.subscriptions.pop(subscription).topic == "heads":
            self._post(client, msgspec.json.encode({"jsonrpc": "2.0", "method": "xrpc.ch.close", "params": [subscription]}))

    def _post(self, client: _Client, data: bytes) -> None:
        client.outbox.put_nowait((time.monotonic() + self.faults.delay_seconds, data))

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
                    self._heard(client, frame)
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
                due, data = await client.outbox.get()
                await asyncio.sleep(max(due - time.monotonic(), 0))
                await client.socket.send(data, text=True)

    def _heard(self, client: _Client, frame: str | bytes) -> None:
        if self.faults.silent:
            return
        try:
            asked = msgspec.json.decode(frame, type=_Request | list[_Request])
        except msgspec.MsgspecError as error:
            self._post(client, _error(None, RecordedError(NOT_JSON_RPC, str(error))))
            return
        requests = asked if isinstance(asked, list) else [asked]
        answers = [answer for one in requests if (answer := self._answer(client, one)) is not None]
        if isinstance(asked, list):
            answers = [b"[" + b",".join(answers) + b"]"]
        for answer in answers:
            self._post(client, answer)
        for one in requests:
            if one.method == "Filecoin.ChainNotify":
                self._tell_current(client, one.id)

    def _answer(self, client: _Client, asked: _Request) -> bytes | None:
        params = asked.params if isinstance(asked.params, list) else []
        if asked.method == "xrpc.cancel":
            self._cancel(client, params)
            return None
        try:
            result = self._result(client, asked, params)
            answer = msgspec.json.encode({"jsonrpc": "2.0", "id": asked.id, "result": result})
        except Refused as refused:
            answer = _error(asked.id, refused.error)
        return answer if self.faults.distort is None else self.faults.distort(asked.method, params, answer)

    def _result(self, client: _Client, asked: _Request, params: list[Any]) -> Any:
        match asked.method, params:
            case "Filecoin.ChainNotify", _ if self.recording.native and not self._limits.eth_only:
                return self._subscribe(client, secrets.randbelow(2**31), _Subscription("heads", asked.id, {}))
            case "eth_subscribe", [("newHeads" | "logs") as topic, *rest]:
                wanted = rest[0] if topic == "logs" and rest and isinstance(rest[0], dict) else {}
                return self._subscribe(client, "0x" + secrets.token_hex(16) + "0" * 32, _Subscription(topic, asked.id, wanted))
            case "eth_unsubscribe", [str(subscription)]:
                return client.subscriptions.pop(subscription, None) is not None
        result = self._answers.answer(asked.method, params, self.now)
        return self._shift.answer(asked.method, result) if self._shift is not None else result

    @staticmethod
    def _subscribe(client: _Client, identifier: str | int, subscription: _Subscription) -> str | int:
        client.subscriptions[identifier] = subscription
        return identifier

    def _cancel(self, client: _Client, requests: list[Any]) -> None:
        for identifier, held in list(client.subscriptions.items()):
            if held.topic == "heads" and held.request in requests:
                self._close(client, identifier)

    def _tell_current(self, client: _Client, request: int | str | None) -> None:
        head = self.recording.head_at(self.now)
        opened = [one for one, held in client.subscriptions.items() if held.topic == "heads" and held.request == request]
        if head is not None and head.native is not None and opened:
            current = Raw(msgspec.json.encode([{"Type": "current", "Val": self.recording.tipsets[head.native]}]))
            self._post(client, self._notice("heads", opened[-1], current))


def _error(identifier: int | str | None, error: RecordedError) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": identifier, "error": error})


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streams.replay", description="Serve a recording as the node that it was made of.")
    parser.add_argument("recording", metavar="FILE", help="a recording, or devnet for the bundled one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds of the recording in one second")
    parser.add_argument("--eth-only", action="store_true", help="serve no Filecoin.* methods")
    parser.add_argument("--token", help="what clients must send as bearer token")
    parser.add_argument("--shift-to-now", action="store_true", help="block times as if it happened now")
    parser.add_argument("--drop-every", type=float, metavar="SECONDS", help="close each connection so long after it was opened")
    return parser.parse_args(given)


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    node = ReplayNode(
        load(arguments.recording),
        pace=arguments.pace,
        limits=Limits(eth_only=arguments.eth_only),
        token=arguments.token,
        shift_to_now=arguments.shift_to_now,
        host=arguments.host,
        port=arguments.port,
    )
    node.faults.drop_every_seconds = arguments.drop_every
    async with node:
        sys.stdout.write(f"{node.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main(given: Sequence[str] | None = None) -> int:
    """Serve a recording until told to stop; prints the URL first."""
    try:
        asyncio.run(_main(_arguments(given)))
    except (RecordingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
