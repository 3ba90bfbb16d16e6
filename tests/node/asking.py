"""Runs a fetch against whoever answers its calls, without any tasks or frames."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from msgspec import Raw

from streams.answers import Answers, Refused
from streams.rpc import Answer, Call, RpcError, Session
from streams.tasks import Fetch
from tests.node.world import Node

T = TypeVar("T")
Answerer = Callable[[Call], Answer]


def ask(fetch: Fetch[T], answer: Answerer, asked: list[Call] | None = None) -> T:
    """What a fetch returns, and (in `asked`) what it asked."""
    calls: tuple[Call, ...] = ()
    try:
        calls = next(fetch)
        while True:
            if asked is not None:
                asked += calls
            calls = fetch.send(tuple(answer(call) for call in calls))
    except StopIteration as stop:
        result: T = stop.value
        return result


REVERT = RpcError(3, "message execution failed (exit=[33])")


def asked(fetch: Fetch[T], node: Callable[[Call], Any]) -> T:
    """What a fetch returns, where `node` answers each call with a result, or with an RpcError."""

    def answer(call: Call) -> Answer:
        said = node(call)
        return Answer(call, None, said) if isinstance(said, RpcError) else Answer(call, Raw(json.dumps(said).encode()))

    return ask(fetch, answer)


def words(*values: int) -> str:
    """An answer of so many words."""
    return "0x" + "".join((value % 2**256).to_bytes(32).hex() for value in values)


def told(call: Call, result: Any) -> Answer:
    """An answer with this result, None for no result."""
    return Answer(call, Raw(json.dumps(result).encode()) if result is not None else None)


def refused(call: Call, code: int = -32000, message: str = "no") -> Answer:
    """An error instead of an answer."""
    return Answer(call, None, RpcError(code, message))


def by_node(node: Node) -> Answerer:
    """The answers of a node of the world."""

    def answer(call: Call) -> Answer:
        session = Session()
        _, frame = session.request(call)
        return next(_answers(session, node.answer(frame)))

    return answer


def by_recording(answers: Answers, now: float) -> Answerer:
    """The answers of a recorded node at a time."""

    def answer(call: Call) -> Answer:
        try:
            params = json.loads(Session().request(call)[1])["params"]
            return Answer(call, answers.answer(call.method, params, now))
        except Refused as refusal:
            return refused(call, refusal.error.code, refusal.error.message)

    return answer


def but(answer: Answerer, **instead: Callable[[Any], Any]) -> Answerer:
    """Other results for some methods (by the name without its prefix): a function of what was answered, None for an error."""

    def distorted(call: Call) -> Answer:
        said = answer(call)
        change = instead.get(call.method.split("_")[-1].split(".")[-1])
        if change is None:
            return said
        result = change(json.loads(bytes(said.result)) if said.result is not None else None)
        return told(call, result) if result is not None else refused(call)

    return distorted


def _answers(session: Session, frames: list[bytes]) -> Iterator[Answer]:
    for frame in frames:
        yield from (one[1] for one in session.receive(frame) if isinstance(one, tuple))
