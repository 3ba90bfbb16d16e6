"""A node of the world on a real websocket, which misbehaves when told to."""

import contextlib
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Self

from websockets.asyncio.server import Server as WebsocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.node.world import Node


class Server:
    """Serves a node; an async context manager.

    Attributes:
        status: refuses handshakes with this status, None lets everybody in.
        tokens: the `Authorization` headers of all handshakes.
        holds: questions that are answered only after `release`.
    """

    def __init__(self, node: Node, *, port: int = 0) -> None:
        self.node = node
        self.port = port
        self.status: HTTPStatus | None = None
        self.tokens: list[str | None] = []
        self.holds: Callable[[dict[str, Any]], bool] = lambda _: False
        self.clients: list[ServerConnection] = []
        self.held: list[tuple[ServerConnection, bytes]] = []
        self._server: WebsocketServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}/rpc/v1"

    async def __aenter__(self) -> Self:
        self._server = await serve(self._talk, "127.0.0.1", self.port, process_request=self._admit, compression=None, close_timeout=0.1)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def tell(self, frames: list[bytes]) -> None:
        """Send these to everybody."""
        for client in list(self.clients):
            with contextlib.suppress(ConnectionClosed):
                for frame in frames:
                    await client.send(frame, text=True)

    async def release(self) -> None:
        """Answer what was held back, and hold back nothing more."""
        self.holds = lambda _: False
        held, self.held = self.held, []
        for client, frame in held:
            await self._answer(client, frame)

    def _admit(self, client: ServerConnection, request: Request) -> Response | None:
        self.tokens.append(request.headers.get("Authorization"))
        return client.respond(self.status, "no\n") if self.status is not None else None

    async def _talk(self, client: ServerConnection) -> None:
        self.clients.append(client)
        try:
            with contextlib.suppress(ConnectionClosed):
                async for said in client:
                    await self._heard(client, said.encode() if isinstance(said, str) else said)
        finally:
            self.clients.remove(client)

    async def _heard(self, client: ServerConnection, frame: bytes) -> None:
        if self.holds(json.loads(frame)):
            self.held.append((client, frame))
        else:
            await self._answer(client, frame)

    async def _answer(self, client: ServerConnection, frame: bytes) -> None:
        for answer in self.node.answer(frame):
            await client.send(answer, text=True)
