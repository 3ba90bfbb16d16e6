"""A cancellation stays one, whatever a library makes of it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellable() -> Iterator[None]:
    """A cancellation in here stays one: a library may turn it into a broken connection, or into nothing."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0  # who cleans up after a cancellation goes on
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
