"""Lets in whom the settings let in, and keeps the certificate of what we serve a current one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from streams.errors import UsageError
from streams.listening import Door

log = structlog.get_logger(__name__)

CHALLENGE = {"WWW-Authenticate": 'Basic realm="fvm-pulse", charset="UTF-8"'}
RENEWAL_SECONDS = 60.0
"""How often somebody looks for a renewed certificate."""
OPEN = "/healthz"
"""Who asks whether we live knows no password, and is told nothing else."""


def guard(door: Door) -> Middleware:
    """The middleware that answers 401 to whom `door` does not let in."""

    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == OPEN or door.lets_in(request.headers.get("Authorization")):
            return await handler(request)
        return web.json_response({"error": "a name and a password are needed"}, status=401, headers=CHALLENGE)

    return let_in


def renewal(
    door: Door, context: ssl.SSLContext, every_seconds: float = RENEWAL_SECONDS
) -> Callable[[web.Application], AsyncIterator[None]]:
    """What serves with a renewed certificate soon after there is one, as long as the application runs."""

    async def renewing(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_renew(door, context, every_seconds), name="renew the certificate")
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return renewing


async def _renew(door: Door, context: ssl.SSLContext, every_seconds: float) -> None:
    used = _written_at(door)
    while True:
        await asyncio.sleep(every_seconds)
        if (now := _written_at(door)) == used:
            continue
        used = now
        try:
            door.load(context)
            log.info("serving with a renewed certificate")
        except UsageError as error:
            log.warning("still serving with the certificate from before", reason=str(error))


def _written_at(door: Door) -> list[int | None]:
    """When each file was written last; None where it is not there."""
    return [path.stat().st_mtime_ns if path.exists() else None for path in door.files]
