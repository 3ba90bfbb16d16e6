"""Cancellations that libraries lose."""

import asyncio
import contextlib

import pytest

from streams.cancellation import cancellable


async def test_a_cancellation_stays_one() -> None:
    """Whatever a library makes of it; who cleans up after one that came before is let through."""
    entered = asyncio.Event()
    cleaned: list[str] = []

    async def swallow() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            entered.set()
            await asyncio.sleep(60)

    async def work() -> None:
        try:
            with cancellable():
                await swallow()
        finally:
            with cancellable():
                await asyncio.sleep(0)
            cleaned.append("up")

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["up"]
