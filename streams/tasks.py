"""Questions as generators: a fetch yields calls, is sent their answers, and returns what it made of them.

Nothing here waits or sends. `Tasks` turns the calls of many fetches into numbered frames, at most so many in flight on one
endpoint, and hands each fetch its answers when all of them are there.
"""

import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import msgspec

from streams.errors import NodeFault, Silence
from streams.rpc import Answer, Call, RpcError, Session

T = TypeVar("T")
Key: TypeAlias = tuple[str, object]
Fetch: TypeAlias = Generator[tuple[Call, ...], tuple[Answer, ...], T]


def gather(fetches: Sequence[Fetch[T]]) -> Fetch[list[T]]:
    """Run several fetches side by side, in lockstep; the results stand in their order."""
    results: dict[int, T] = {}
    waiting: dict[int, tuple[Call, ...]] = {}

    def step(index: int, answers: tuple[Answer, ...] | None) -> None:
        try:
            # A generator that has not started takes None and nothing else.
            waiting[index] = fetches[index].send(answers)  # type: ignore[arg-type]
        except StopIteration as stop:
            waiting.pop(index, None)
            results[index] = stop.value

    for index in range(len(fetches)):
        step(index, None)
    while waiting:
        asked = list(waiting.items())
        answers = yield tuple(call for _, calls in asked for call in calls)
        start = 0
        for index, calls in asked:
            step(index, answers[start : start + len(calls)])
            start += len(calls)
    return [results[index] for index in range(len(fetches))]


GREETING = "greet"
"""The kind of the task that a connection begins with."""
BACKGROUND_SHARE = 4
"""One in so many of the places in flight is for requests that nobody is in a hurry for."""
SUSPECTS_FACTOR = 4
"""How many requests are sent one by one, for each that was in flight when an answer was too long."""
MOST_OVERSIZE = 1000
"""How many calls are remembered whose answers are too long."""
OVERSIZE_TIMES = 3
"""How often it must have been alone when that happened, to be believed."""
OVERSIZE_SECONDS = 600.0
"""How long such a call is not sent again: a node that was only ill must not be without it for ever."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task ended, with what its fetch returned."""

    key: Key
    endpoint: str
    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A task ended, since the node is wrong."""

    key: Key
    endpoint: str
    fault: NodeFault


@dataclass(frozen=True, slots=True)
class Answered:
    """One call came back (`outcome` ok or error) or did not (timeout), after so many seconds."""

    endpoint: str
    method: str
    outcome: str
    seconds: float


Outcome: TypeAlias = Done | Failed | Answered


@dataclass(slots=True)
class _Task:
    key: Key
    fetch: Fetch[Any]
    background: bool = False
    slots: list[Answer | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Flight:
    task: _Task
    slot: int
    call: Call
    sent_at: float


@dataclass(slots=True)
class _Line:
    """One endpoint's connection: its session, what flies and what waits for a place."""

    session: Session = field(default_factory=Session)
    flying: dict[int, _Flight] = field(default_factory=dict)
    queued: deque[tuple[_Task, int, Call]] = field(default_factory=deque)
    background: deque[tuple[_Task, int, Call]] = field(default_factory=deque)
    tasks: dict[Key, _Task] = field(default_factory=dict)
    budget: float = 0.0
    budget_at: float | None = None
    one_by_one: int = 0
    """So many requests are still sent one at a time."""


class Tasks:
    """The fetches that are under way, by endpoint and key.

    Args:
        in_flight: requests without an answer on one endpoint.
        timeout_seconds: how long an answer may take.
        per_second: requests a second to one endpoint, averaged over a second (at least one at a time); None for any.
        background: how many of `in_flight` may be for tasks in the background; None for one in `BACKGROUND_SHARE`.
    """

    def __init__(self, in_flight: int, timeout_seconds: float, per_second: float | None = None, *, background: int | None = None) -> None:
        self._in_flight = in_flight
        self._background = max(in_flight // BACKGROUND_SHARE, 1) if background is None else background
        self._timeout_seconds = timeout_seconds
        self._per_second = per_second
        self._lines: dict[str, _Line] = {}
        self._frames: list[tuple[str, bytes]] = []
        self._suspects: dict[str, int] = {}
        self._oversize: dict[tuple[str, bytes], tuple[int, float]] = {}

    def open(self, endpoint: str) -> Session:
        """A new connection to `endpoint`: its session."""
        line = self._lines[endpoint] = _Line(one_by_one=self._suspects.pop(endpoint, 0))
        return line.session

    def overflowed(self, endpoint: str, now: float) -> None:
        """The connection ends since an answer was too long.

        If there was but one call in flight, several times, this node is not asked it again for a while. Where there were more, they
        are sent one at a time the next time, so that it is found out. What a connection begins with is always asked.
        """
        line = self._lines.get(endpoint)
        flying = list(line.flying.values()) if line is not None else []
        if len(flying) != 1:
            self._suspects[endpoint] = SUSPECTS_FACTOR * len(flying)
        elif flying[0].task.key[0] != GREETING:
            if len(self._oversize) >= MOST_OVERSIZE:
                self._oversize.pop(next(iter(self._oversize)))
            name = endpoint, _name(flying[0].call)
            self._oversize[name] = self._oversize.get(name, (0, 0.0))[0] + 1, now + OVERSIZE_SECONDS
            self._suspects[endpoint] = SUSPECTS_FACTOR * self._in_flight

    def _known(self, endpoint: str, call: Call, now: float) -> Answer | None:
        """What needs not be asked again."""
        if not self._oversize:
            return None
        times, until = self._oversize.get((endpoint, _name(call)), (0, now))
        if times < OVERSIZE_TIMES or until <= now:
            return None
        return Answer(call, error=RpcError(message="the answer is too long"), oversize=True)

    def close(self, endpoint: str) -> None:
        """The connection is gone, and all that was asked on it."""
        self._lines.pop(endpoint, None)
        self._frames = [(name, frame) for name, frame in self._frames if name != endpoint]

    def running(self, endpoint: str, key: Key) -> bool:
        """Whether this task is under way."""
        return endpoint in self._lines and key in self._lines[endpoint].tasks

    def waiting_seconds(self, endpoint: str, key: Key, now: float) -> float:
        """How long the oldest request of this task has been on its way; 0 where none is."""
        line = self._lines.get(endpoint)
        sent = [flight.sent_at for flight in line.flying.values() if flight.task.key == key] if line is not None else []
        return now - min(sent, default=now)

    def frames(self) -> list[tuple[str, bytes]]:
        """What to send since the last time, with the endpoint to send it to."""
        frames, self._frames = self._frames, []
        return frames

    def start(self, endpoint: str, key: Key, fetch: Fetch[Any], now: float, *, background: bool = False) -> list[Outcome]:
        """Begin a task; one that needs no answer is done at once. In the background it takes a share of what others leave over."""
        line = self._lines[endpoint]
        task = line.tasks[key] = _Task(key, fetch, background)
        return self._step(endpoint, line, task, None, now)

    def answer(self, endpoint: str, number: int, answer: Answer, now: float) -> list[Outcome]:
        """An answer came; what ended with it."""
        line = self._lines.get(endpoint)
        flight = line.flying.pop(number, None) if line is not None else None
        if line is None or flight is None:
            return []
        line.one_by_one = max(line.one_by_one - 1, 0)
        outcome = "ok" if answer.error is None else "error"
        outcomes: list[Outcome] = [Answered(endpoint, flight.call.method, outcome, now - flight.sent_at)]
        outcomes += self._take(endpoint, line, flight, answer, now)
        self._fill(endpoint, line, now)
        return outcomes

    def expire(self, now: float) -> list[Outcome]:
        """Give up what was not answered in time."""
        outcomes: list[Outcome] = []
        for endpoint, line in self._lines.items():
            late = [number for number, flight in line.flying.items() if now >= self._late_at(flight)]
            for number in late:
                flight = line.flying.pop(number)
                line.session.forget(number)
                outcomes.append(Answered(endpoint, flight.call.method, "timeout", now - flight.sent_at))
                if flight.call.patience_seconds is not None:
                    outcomes += self._take(endpoint, line, flight, Answer(flight.call, error=RpcError(message="no answer in time")), now)
                elif line.tasks.get(flight.task.key) is flight.task:
                    fault = Silence(f"{flight.call.method}: no answer in {self._timeout_seconds:g} s")
                    outcomes.append(self._end(endpoint, line, flight.task, fault))
            self._fill(endpoint, line, now)
        return outcomes

    def deadline(self) -> float | None:
        """When the oldest request in flight will have taken too long, or one that waits for the budget may go."""
        times = [self._late_at(flight) for line in self._lines.values() for flight in line.flying.values()]
        if self._per_second is not None:
            held = [line for line in self._lines.values() if self._next(line) is not None]
            times += [(line.budget_at or 0.0) + max(1 - line.budget, 0) / self._per_second for line in held]
        return min(times, default=None)

    def _late_at(self, flight: _Flight) -> float:
        patience = flight.call.patience_seconds
        return flight.sent_at + (self._timeout_seconds if patience is None else min(patience, self._timeout_seconds))

    def _take(self, endpoint: str, line: _Line, flight: _Flight, answer: Answer, now: float) -> list[Outcome]:
        """Put an answer into its place; with the last one of a batch the task goes on."""
        task = flight.task
        task.slots[flight.slot] = answer
        if line.tasks.get(task.key) is not task or any(slot is None for slot in task.slots):
            return []
        return self._step(endpoint, line, task, tuple(slot for slot in task.slots if slot is not None), now)

    def _step(self, endpoint: str, line: _Line, task: _Task, answers: tuple[Answer, ...] | None, now: float) -> list[Outcome]:
        try:
            calls = task.fetch.send(answers)  # type: ignore[arg-type]
            while all(known := [self._known(endpoint, call, now) for call in calls]):
                calls = task.fetch.send(tuple(answer for answer in known if answer is not None))
        except StopIteration as stop:
            del line.tasks[task.key]
            return [Done(task.key, endpoint, stop.value)]
        except NodeFault as fault:
            return [self._end(endpoint, line, task, fault)]
        task.slots = known
        queue = line.background if task.background else line.queued
        queue.extend((task, slot, call) for slot, call in enumerate(calls) if known[slot] is None)
        self._fill(endpoint, line, now)
        return []

    @staticmethod
    def _end(endpoint: str, line: _Line, task: _Task, fault: NodeFault) -> Failed:
        del line.tasks[task.key]
        task.fetch.close()
        return Failed(task.key, endpoint, fault)

    def _fill(self, endpoint: str, line: _Line, now: float) -> None:
        self._refill(line, now)
        while line.budget >= 1 and (queue := self._next(line)) is not None:
            task, slot, call = queue.popleft()
            if line.tasks.get(task.key) is not task:
                continue
            line.budget -= 1
            number, frame = line.session.request(call)
            line.flying[number] = _Flight(task, slot, call, now)
            self._frames.append((endpoint, frame))

    def _next(self, line: _Line) -> deque[tuple[_Task, int, Call]] | None:
        """The queue whose first request has a place: the background's, if nothing else waits and it has not got its share."""
        in_flight = 1 if line.one_by_one else self._in_flight
        if len(line.flying) >= in_flight or line.queued:
            return line.queued if len(line.flying) < in_flight else None
        busy = sum(1 for flight in line.flying.values() if flight.task.background)
        return line.background if line.background and busy < self._background else None

    def _refill(self, line: _Line, now: float) -> None:
        if self._per_second is None:
            line.budget = math.inf
            return
        most = max(self._per_second, 1.0)
        gained = (now - line.budget_at) * self._per_second if line.budget_at is not None else most
        # A clock that was set back gives nothing, and takes nothing.
        line.budget, line.budget_at = min(line.budget + max(gained, 0.0), most), now


def _name(call: Call) -> bytes:
    return msgspec.json.encode((call.method, call.params))
