"""Driving a fetch by hand: what it asks, and what becomes of the answers."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from streams.rpc import Answer, Call, RpcError
from streams.tasks import Fetch

T = TypeVar("T")

REVERT = RpcError(3, "message execution failed (exit=[33])")


def asked(fetch: Fetch[T], node: Callable[[Call], Any]) -> T:
    """What the fetch returns, where `node` answers each call with a result, or with an RpcError."""
    answers: tuple[Answer, ...] | None = None
    while True:
        try:
            calls = fetch.send(answers)  # type: ignore[arg-type]
        except StopIteration as stop:
            result: T = stop.value
            return result
        answers = tuple(_answer(call, node(call)) for call in calls)


def _answer(call: Call, said: Any) -> Answer:
    return Answer(call, None, said) if isinstance(said, RpcError) else Answer(call, msgspec.Raw(msgspec.json.encode(said)))


def words(*values: int) -> str:
    """An answer of so many words."""
    return "0x" + "".join((value % 2**256).to_bytes(32).hex() for value in values)
