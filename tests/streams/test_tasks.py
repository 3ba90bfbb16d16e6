"""Tasks: many fetches over few requests in flight, each told only its own answers, and nothing left behind."""

import json
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from streams.errors import NodeFault, Oversize, Silence
from streams.rpc import Answer, Call, RpcError
from streams.tasks import MOST_OVERSIZE, OVERSIZE_TIMES, Answered, Done, Failed, Fetch, Outcome, Tasks, gather

KEY = ("tipset", "0x1")


def counting(name: str, *sizes: int) -> Fetch[list[str]]:
    """Asks so many calls each round; returns what was answered."""
    told: list[str] = []
    for turn, size in enumerate(sizes):
        answers = yield tuple(Call(f"{name}{turn}.{place}") for place in range(size))
        told += [bytes(answer.required()).decode() for answer in answers]
    return told


def expected(name: str, *sizes: int) -> list[str]:
    return [f"<{name}{turn}.{place}>" for turn, size in enumerate(sizes) for place in range(size)]


def answer(call: Call) -> Answer:
    return Answer(call, Raw(f"<{call.method}>".encode()))


def play(fetch: Fetch[list[list[str]]]) -> tuple[list[list[str]], list[int]]:
    """Run a fetch to its end; also how many calls each of its rounds had."""
    rounds: list[int] = []
    try:
        calls = next(fetch)
        while True:
            rounds.append(len(calls))
            calls = fetch.send(tuple(answer(call) for call in calls))
    except StopIteration as stop:
        return stop.value, rounds


class Line:
    """Tasks with one endpoint; answers what is sent, when told to."""

    def __init__(self, in_flight: int = 10, timeout_seconds: float = 30.0, per_second: float | None = None) -> None:
        self.tasks = Tasks(in_flight=in_flight, timeout_seconds=timeout_seconds, per_second=per_second)
        self.session = self.tasks.open("a")
        self.sent: dict[str, int] = {}

    def send(self) -> list[str]:
        """The methods that go out now."""
        asked = [json.loads(frame) for _, frame in self.tasks.frames()]
        self.sent |= {one["method"]: one["id"] for one in asked}
        return [one["method"] for one in asked]

    def reply(self, method: str, now: float = 0.0, **said: object) -> list[Outcome]:
        """The endpoint answers a call."""
        frame = json.dumps({"id": self.sent[method], **(said or {"result": f"{method}"})})
        answers = [one for one in self.session.receive(frame) if isinstance(one, tuple)]
        return [one for number, found in answers for one in self.tasks.answer("a", number, found, now)]


def ends(outcomes: list[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if not isinstance(one, Answered)]


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=5))
def test_gather_is_the_same_as_one_by_one(sizes: list[list[int]]) -> None:
    """Fetches of any lengths, with rounds of no calls as well, each get their own answers; the rounds go in lockstep."""
    results, rounds = play(gather([counting(f"f{place}-", *one) for place, one in enumerate(sizes)]))
    assert results == [expected(f"f{place}-", *one) for place, one in enumerate(sizes)]
    longest = max(map(len, sizes), default=0)
    assert rounds == [sum(one[turn] for one in sizes if turn < len(one)) for turn in range(longest)]


def test_a_fault_in_one_of_several_is_the_fault_of_all() -> None:
    """What was gathered is worth nothing without the one that failed, and it is not asked on."""

    def failing() -> Fetch[list[str]]:
        yield (Call("x"),)
        raise NodeFault("wrong")

    fetch = gather([counting("a", 1, 1), failing()])
    calls = next(fetch)
    with pytest.raises(NodeFault, match="wrong"):
        fetch.send(tuple(answer(call) for call in calls))


def test_a_task_ends_when_all_its_answers_are_there() -> None:
    """Answers may come in any order; the fetch gets them in the order of its calls, and each call is accounted for."""
    line = Line()
    assert line.tasks.start("a", KEY, counting("m", 2, 1), 0.0) == []
    assert line.send() == ["m0.0", "m0.1"]
    assert line.reply("m0.1", 1.0) == [Answered("a", "m0.1", "ok", 1.0)]
    assert line.reply("m0.0", 2.0) == [Answered("a", "m0.0", "ok", 2.0)]
    assert line.send() == ["m1.0"]
    assert line.tasks.running("a", KEY)
    assert ends(line.reply("m1.0")) == [Done(KEY, "a", ['"m0.0"', '"m0.1"', '"m1.0"'])]
    assert not line.tasks.running("a", KEY)
    assert line.tasks.deadline() is None


def test_a_fetch_that_needs_no_answer_is_done_at_once() -> None:
    """Without calls, or with rounds of none only, nothing is sent."""
    line = Line()
    for sizes in ((), (0,), (0, 0, 0)):
        assert line.tasks.start("a", KEY, counting("m", *sizes), 0.0) == [Done(KEY, "a", [])]
    assert line.send() == []
    assert not line.tasks.running("a", KEY)


def test_only_so_many_requests_fly() -> None:
    """The rest waits in order, and takes the places of those that were answered."""
    line = Line(in_flight=3)
    line.tasks.start("a", ("k", 1), counting("m", 5), 0.0)
    line.tasks.start("a", ("k", 2), counting("n", 2), 0.0)
    assert line.send() == ["m0.0", "m0.1", "m0.2"]
    line.reply("m0.1")
    assert line.send() == ["m0.3"]
    line.reply("m0.0")
    line.reply("m0.2")
    assert line.send() == ["m0.4", "n0.0"]
    line.reply("m0.4")
    assert ends(line.reply("m0.3")) == [Done(("k", 1), "a", [f'"m0.{place}"' for place in range(5)])]
    assert line.send() == ["n0.1"]


def test_a_budget_is_not_exceeded() -> None:
    """A second's worth may go at once, the rest as time passes; a clock that goes back neither gives nor takes."""
    line = Line(in_flight=100, per_second=4.0)
    line.tasks.start("a", KEY, counting("m", 10), 100.0)
    assert len(line.send()) == 4
    assert line.tasks.deadline() == 100.25
    line.tasks.expire(100.2)
    assert line.send() == []
    line.tasks.expire(100.5)
    assert len(line.send()) == 2
    line.tasks.expire(50.0)
    assert line.send() == []
    line.tasks.expire(51.0)
    assert len(line.send()) == 4


def test_how_long_a_task_waits_is_told() -> None:
    """By its oldest request; nothing for a task that asks nothing."""
    line = Line()
    line.tasks.start("a", KEY, counting("m", 2), 1.0)
    assert line.tasks.waiting_seconds("a", KEY, 3.5) == 2.5
    assert line.tasks.waiting_seconds("a", ("other", 0), 3.5) == 0
    assert line.tasks.waiting_seconds("b", KEY, 3.5) == 0


def test_endpoints_have_limits_of_their_own() -> None:
    """A busy endpoint holds nobody up at another."""
    tasks = Tasks(in_flight=1, timeout_seconds=1)
    for name in ("a", "b"):
        tasks.open(name)
        tasks.start(name, KEY, counting(name, 2), 0.0)
    assert [name for name, _ in tasks.frames()] == ["a", "b"]
    assert tasks.frames() == []


def test_a_fetch_that_raises_a_fault_has_failed() -> None:
    """At its start or over an answer: the fault is the outcome; an error that nobody requires is an answer like another."""

    def strict(*, at_once: bool) -> Fetch[str]:
        if at_once:
            raise NodeFault("never")
        (first,) = yield (Call("m"),)
        (second,) = yield (Call("n"),)
        return f"{first.error} {bytes(second.required())!r}"

    line = Line()
    (failed,) = line.tasks.start("a", KEY, strict(at_once=True), 0.0)
    assert isinstance(failed, Failed)
    assert str(failed.fault) == "never"
    line.tasks.start("a", KEY, strict(at_once=False), 0.0)
    line.send()
    assert line.reply("m", 3.0, error={"code": 1}) == [Answered("a", "m", "error", 3.0)]
    line.send()
    (failed,) = ends(line.reply("n", error={"code": 7, "message": "no"}))
    assert isinstance(failed, Failed)
    assert "no (code 7)" in str(failed.fault)
    assert not line.tasks.running("a", KEY)


def test_what_is_not_answered_in_time_has_failed_once() -> None:
    """A silent call fails its task and frees its place; the other calls of that task that wait are not sent, late answers ignored."""
    closed = []

    def watched() -> Generator[tuple[Call, ...], tuple[Answer, ...], None]:
        try:
            yield tuple(Call(f"m{place}") for place in range(3))
        finally:
            closed.append(True)

    line = Line(in_flight=2, timeout_seconds=10.0)
    line.tasks.start("a", KEY, watched(), 100.0)
    line.tasks.start("a", ("k", 2), counting("n", 1), 101.0)
    assert line.send() == ["m0", "m1"]
    assert line.tasks.deadline() == 110.0
    assert line.tasks.expire(109.9) == []
    outcomes = line.tasks.expire(110.0)
    assert [one for one in outcomes if isinstance(one, Answered)] == [Answered("a", f"m{place}", "timeout", 10.0) for place in range(2)]
    (failed,) = ends(outcomes)
    assert isinstance(failed, Failed)
    assert isinstance(failed.fault, Silence)
    assert str(failed.fault) == "m0: no answer in 10 s"
    assert closed == [True]
    assert line.send() == ["n0.0"]
    assert line.reply("m1") == []
    assert line.tasks.answer("a", line.sent["m1"], Answer(Call("m1"), Raw(b"1")), 111.0) == []
    assert line.tasks.deadline() == 120.0


def test_a_closed_endpoint_leaves_nothing() -> None:
    """Its frames, tasks and answers are gone, those of another connection stay; a new connection starts anew."""
    line = Line()
    line.tasks.open("b")
    for name in ("a", "b"):
        line.tasks.start(name, KEY, counting(name, 1), 0.0)
    line.tasks.close("a")
    line.tasks.close("a")
    assert [name for name, _ in line.tasks.frames()] == ["b"]
    assert not line.tasks.running("a", KEY)
    assert line.tasks.answer("a", 1, Answer(Call("a0.0"), Raw(b"1")), 0.0) == []
    line.tasks.close("b")
    assert line.tasks.deadline() is None
    line.session = line.tasks.open("a")
    assert not line.tasks.running("a", KEY)
    line.tasks.start("a", KEY, counting("c", 1), 0.0)
    assert line.send() == ["c0.0"]
    assert ends(line.reply("c0.0")) == [Done(KEY, "a", ['"c0.0"'])]


def test_a_task_begun_again_is_the_new_one() -> None:
    """The answers to the one before no longer count for anybody."""
    line = Line(in_flight=2)
    line.tasks.start("a", KEY, counting("old", 1), 0.0)
    line.send()
    line.tasks.start("a", KEY, counting("new", 1), 0.0)
    line.send()
    assert ends(line.reply("old0.0")) == []
    assert ends(line.reply("new0.0")) == [Done(KEY, "a", ['"new0.0"'])]


def test_an_error_object_is_kept() -> None:
    """A fetch sees the code of an error, to act on it."""
    line = Line()

    def curious() -> Fetch[RpcError | None]:
        (said,) = yield (Call("m"),)
        return said.error

    line.tasks.start("a", KEY, curious(), 0.0)
    line.send()
    assert ends(line.reply("m", error={"code": 12, "message": "null round"})) == [Done(KEY, "a", RpcError(12, "null round"))]


def test_the_background_takes_what_others_leave_over() -> None:
    """Its requests have a share of the places, wait for everybody else's, and are answered like them."""
    line = Line(in_flight=8)
    line.tasks.start("a", ("probe", 1), counting("slow", 5), 0.0, background=True)
    assert line.send() == ["slow0.0", "slow0.1"]
    line.tasks.start("a", ("tipset", 1), counting("fast", 7), 0.0)
    assert line.send() == [f"fast0.{place}" for place in range(6)]
    line.reply("slow0.0")
    assert line.send() == ["fast0.6"]
    line.reply("slow0.1")
    assert line.send() == ["slow0.2"]
    assert [line.reply(f"fast0.{place}") for place in range(2)]
    assert line.send() == ["slow0.3"]
    line.reply("slow0.2")
    line.reply("slow0.3")
    assert line.send() == ["slow0.4"]
    assert ends(line.reply("slow0.4")) == [Done(("probe", 1), "a", [f'"slow0.{place}"' for place in range(5)])]


def test_the_background_does_not_wake_anybody_for_a_place() -> None:
    """Where its share is taken, there is nothing to wake for before an answer comes or is overdue."""
    line = Line(in_flight=4, per_second=100.0)
    line.tasks.start("a", ("probe", 1), counting("slow", 3), 0.0, background=True)
    assert line.send() == ["slow0.0"]
    assert line.tasks.deadline() == 30.0


def test_a_question_with_a_patience_of_its_own_ends_nothing() -> None:
    """Unanswered it counts as refused, with the others' answers kept; a late answer is ignored."""

    def patient() -> Fetch[list[bool]]:
        answers = yield (Call("quick"), Call("slow", (), 10.0))
        return [answer.result is not None for answer in answers]

    line = Line(timeout_seconds=30.0)
    line.tasks.start("a", KEY, patient(), 0.0)
    line.send()
    assert ends(line.reply("quick", 1.0)) == []
    assert line.tasks.deadline() == 10.0
    assert line.tasks.expire(9.9) == []
    assert line.tasks.expire(10.0) == [Answered("a", "slow", "timeout", 10.0), Done(KEY, "a", [True, False])]
    assert line.reply("slow", 11.0) == []


def test_no_patience_is_longer_than_the_timeout() -> None:
    """The shorter of the two counts."""

    def patient() -> Fetch[bool]:
        (answer,) = yield (Call("slow", (), 100.0),)
        return answer.error is not None

    line = Line(timeout_seconds=30.0)
    line.tasks.start("a", KEY, patient(), 0.0)
    line.send()
    assert ends(line.tasks.expire(30.0)) == [Done(KEY, "a", True)]


def test_the_call_whose_answer_is_too_long_is_found_out() -> None:
    """Several in flight go one by one the next time; the one that is alone then is not sent again, and its task is told."""

    def again(line: Line) -> list[Outcome]:
        line.tasks.overflowed("a", 0.0)
        line.tasks.close("a")
        line.session = line.tasks.open("a")
        return line.tasks.start("a", KEY, counting("m", 3), 0.0)

    line = Line()
    line.tasks.start("a", KEY, counting("m", 3), 0.0)
    assert line.send() == ["m0.0", "m0.1", "m0.2"]
    assert again(line) == []
    assert line.send() == ["m0.0"]
    line.reply("m0.0")
    assert line.send() == ["m0.1"]
    for _ in range(OVERSIZE_TIMES - 1):
        assert again(line) == []
        assert line.send() == ["m0.0"]
        line.reply("m0.0")
        assert line.send() == ["m0.1"]
    assert again(line) == []
    assert line.send() == ["m0.0"]
    line.reply("m0.0")
    assert line.send() == ["m0.2"]
    (failed,) = ends(line.reply("m0.2"))
    assert isinstance(failed, Failed)
    assert isinstance(failed.fault, Oversize)


def test_only_so_many_calls_are_remembered_as_too_long() -> None:
    """The oldest is asked again, should anybody still want it."""
    line = Line(in_flight=1)
    for number in (one for one in range(MOST_OVERSIZE + 1) for _ in range(OVERSIZE_TIMES)):
        line.tasks.start("a", (f"k{number}", 0), counting(f"n{number}-", 1), 0.0)
        assert line.send() == [f"n{number}-0.0"]
        line.tasks.overflowed("a", 0.0)
        line.tasks.close("a")
        line.session = line.tasks.open("a")
    line.tasks.start("a", KEY, counting("n0-", 1), 0.0)
    assert line.send() == ["n0-0.0"]


@pytest.mark.parametrize("endpoint, seconds, sent", [("a", 599.0, False), ("a", 601.0, True), ("b", 1.0, True)])
def test_a_call_that_is_too_long_is_left_out_at_one_node_for_a_while(endpoint: str, seconds: float, sent: bool) -> None:
    """It is asked of other nodes, and of this one again after ten minutes."""
    tasks = Tasks(1, 30.0)
    tasks.open("a")
    tasks.start("a", KEY, counting("m", 1), 0.0)
    assert len(tasks.frames()) == 1
    for _ in range(OVERSIZE_TIMES):
        tasks.overflowed("a", 0.0)
    tasks.close("a")
    tasks.open(endpoint)
    tasks.start(endpoint, KEY, counting("m", 1), seconds)
    assert len(tasks.frames()) == int(sent)
