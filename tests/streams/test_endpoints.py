"""Endpoints: who leads, who is connected to, and when the others are tried again."""

import pytest

from streams.chain import Link
from streams.endpoints import FIRST_DELAY_SECONDS, LAG_EPOCHS, LONGEST_DELAY_SECONDS, Endpoint, Endpoints, Phase, Target
from streams.events import Sought


def endpoints(*names: str, jitter: float = 0.0) -> Endpoints:
    return Endpoints(names, lambda: jitter)


def live(endpoint: Endpoint, height: int | None) -> None:
    """The endpoint greeted us, and (at a height) told its head."""
    endpoint.phase = Phase.LIVE
    endpoint.target = Target(f"0x{height:064x}", (), (), height) if height is not None else None


def test_without_a_leader_one_is_tried_at_a_time() -> None:
    """In order of preference, each connection with a number of its own; one that is being tried is not begun twice."""
    some = endpoints("a", "b", "c")
    assert some.wanted(0.0) == {"a": 1}
    assert some.wanted(1.0) == {"a": 1}
    some.all["a"].phase = Phase.OPENING
    assert some.wanted(2.0) == {"a": 1}
    some.failed(some.all["a"], "gone", 2.0, refused=False)
    assert some.wanted(2.0) == {"b": 1}
    some.failed(some.all["b"], "gone", 2.0, refused=False)
    assert some.wanted(2.0) == {"c": 1}
    some.failed(some.all["c"], "gone", 2.0, refused=False)
    assert some.wanted(2.0) == {}
    assert some.wanted(3.0) == {"a": 2}


def test_the_first_live_one_leads() -> None:
    """Only who told a head can lead; those after the leader are let go, those before it are tried beside it."""
    some = endpoints("a", "b", "c")
    for name in ("a", "b", "c"):
        some.all[name].phase = Phase.LIVE
    assert not some.elect(lambda _: False)
    live(some.all["c"], 10)
    assert some.elect(lambda _: False)
    assert some.leader is some.all["c"]
    some.all["a"].phase = some.all["b"].phase = Phase.IDLE
    assert some.wanted(0.0) == {"a": 1, "b": 1, "c": 0}
    live(some.all["b"], 10)
    assert some.elect(lambda _: False)
    assert not some.elect(lambda _: False)
    assert some.wanted(0.0) == {"a": 1, "b": 1}


@pytest.mark.parametrize("behind, leads", [(0, True), (LAG_EPOCHS, True), (LAG_EPOCHS + 1, False)])
def test_a_preferred_one_takes_over_when_it_is_not_behind(behind: int, leads: bool) -> None:
    """It may lag a little; one that still synchronises waits."""
    some = endpoints("a", "b")
    live(some.all["b"], 1000)
    some.elect(lambda _: False)
    live(some.all["a"], 1000 - behind)
    assert some.elect(lambda _: False) is leads
    assert some.leader is some.all["a" if leads else "b"]


def test_a_preferred_one_does_not_undo_what_it_has_not_heard_of() -> None:
    """It takes over when it has; who leads may go down, and where there is no other choice so may who comes next."""
    some = endpoints("a", "b", "c")
    live(some.all["b"], 1000)
    some.elect(lambda _: False)
    live(some.all["a"], 999)
    below = {999, 998}
    assert not some.elect(lambda target: target.head_height in below)
    live(some.all["b"], 998)
    assert not some.elect(lambda target: target.head_height in below)
    live(some.all["a"], 1000)
    assert some.elect(lambda target: target.head_height in below)
    assert some.leader is some.all["a"]
    some.failed(some.all["a"], "gone", 0.0, refused=False)
    live(some.all["c"], 1000)
    assert some.elect(lambda target: target.head_height in below)
    assert some.leader is some.all["c"]
    some.failed(some.all["c"], "gone", 0.0, refused=False)
    assert some.elect(lambda target: target.head_height in below)
    assert some.leader is some.all["b"]


def test_pauses_grow_to_a_limit() -> None:
    """Each failure doubles the pause, however many there are; the jitter takes half of it away at most."""
    for jitter, part in ((0.0, 0.5), (1.0, 1.0)):
        some = endpoints("a", jitter=jitter)
        pauses = []
        for _ in range(3000):
            some.failed(some.all["a"], "gone", 100.0, refused=False)
            pauses.append(some.all["a"].retry_at - 100.0)
        assert pauses[:4] == pytest.approx([FIRST_DELAY_SECONDS * part * factor for factor in (1, 2, 4, 8)])
        assert pauses == sorted(pauses)
        assert pauses[-1] == pytest.approx(LONGEST_DELAY_SECONDS * part)


def test_what_failed_leads_no_more_and_knows_no_head() -> None:
    """Its last words are not those of the next connection."""
    some = endpoints("a", "b")
    live(some.all["a"], 10)
    some.all["a"].head = Link(10, "0x1", "0x0")
    some.elect(lambda _: False)
    some.failed(some.all["a"], "silent", 5.0, refused=False)
    assert some.leader is None
    assert some.all["a"] == Endpoint("a", Phase.IDLE, retry_at=some.all["a"].retry_at, failures=1, reason="silent")
    live(some.all["b"], 10)
    some.elect(lambda _: False)
    some.failed(some.all["a"], "silent", 6.0, refused=False)
    assert some.leader is some.all["b"]


def test_a_refused_one_is_never_tried_again() -> None:
    """The others are; when all are refused, each says why."""
    some = endpoints("a", "b")
    some.failed(some.all["a"], "wrong chain", 0.0, refused=True)
    assert some.wanted(10**6) == {"b": 1}
    assert some.all_refused() is None
    some.failed(some.all["b"], "wrong token", 0.0, refused=True)
    assert some.wanted(10**6) == {}
    assert some.wake_at() is None
    assert some.all_refused() == "a: wrong chain; b: wrong token"


def test_when_to_try_again() -> None:
    """The earliest of those that wait; nobody has to be woken for while one is tried, nor for those after the leader."""
    some = endpoints("a", "b")
    assert some.wake_at() == 0.0
    some.wanted(0.0)
    assert some.all["a"].busy
    assert some.wake_at() is None
    some.failed(some.all["a"], "gone", 10.0, refused=False)
    some.failed(some.all["b"], "gone", 20.0, refused=False)
    assert some.wake_at() == some.all["a"].retry_at
    live(some.all["b"], 10)
    some.elect(lambda _: False)
    assert some.wake_at() == some.all["a"].retry_at
    live(some.all["a"], 10)
    some.elect(lambda _: False)
    some.all["b"].phase = Phase.IDLE
    assert some.wake_at() is None


def test_who_is_silent() -> None:
    """A live endpoint that said nothing for too long; somebody has to look at that time."""
    some = Endpoints(["a", "b"], lambda: 0.0, stale_after_seconds=60)
    some.all["a"].opened(100.0)
    some.all["a"].greeted(110.0, native=True)
    assert some.wake_at() == 170.0
    assert some.silent(169.0) == []
    assert some.silent(170.0) == [some.all["a"]]
    some.all["a"].left()
    assert some.silent(10**6) == []


def test_phases() -> None:
    """A connection that is being made is busy, and connected from its handshake on."""
    states = {phase: (Endpoint("a", phase).busy, Endpoint("a", phase).connected) for phase in Phase}
    assert states == {
        Phase.IDLE: (False, False),
        Phase.CONNECTING: (True, False),
        Phase.OPENING: (True, True),
        Phase.LIVE: (True, True),
        Phase.REFUSED: (False, False),
    }


def test_witnesses_are_kept_beside_the_leader() -> None:
    """As many as are wanted, those before the leader first; one that refuses us gives its place to the next."""
    some = Endpoints(("a", "b", "c", "d"), lambda: 0.0, witnesses=2)
    live(some.all["a"], 10)
    some.elect(lambda _: False)
    assert some.wanted(0.0) == {"a": 0, "b": 1, "c": 1}
    assert some.others() == []
    live(some.all["c"], 10)
    some.failed(some.all["b"], "no", 0.0, refused=True)
    assert some.wanted(0.0) == {"a": 0, "c": 1, "d": 1}
    assert some.others() == [some.all["c"]]


def test_who_should_be_connected_is_told_once() -> None:
    """Everybody without a leader; then the leader, those before it and the witnesses."""
    some = Endpoints(("a", "b", "c", "d"), lambda: 0.0, witnesses=1)
    assert some.sought() == [Sought(frozenset("abcd"))]
    assert some.sought() == []
    live(some.all["a"], 10)
    some.elect(lambda _: False)
    assert some.sought() == [Sought(frozenset("ab"))]
    live(some.all["c"], 10)
    some.failed(some.all["a"], "gone", 0.0, refused=False)
    some.elect(lambda _: False)
    assert some.sought() == [Sought(frozenset("abc"))]
