"""Retries: pauses grow, and what lacks something is asked for so often and no more."""

from streams.retries import FIRST_PAUSE_SECONDS, Retries

KEY = ("tipset", "0x1")


def test_each_failure_doubles_the_pause() -> None:
    """A question that fails may be asked again after a pause, which doubles; an answer ends it."""
    retries = Retries(3, 1.0)
    assert retries.due(KEY, 0.0)
    assert [retries.failed(KEY, 10.0) for _ in range(3)] == [1, 2, 3]
    pause = 4 * FIRST_PAUSE_SECONDS
    assert not retries.due(KEY, 10.0 + pause - 0.01)
    assert retries.due(KEY, 10.0 + pause)
    assert retries.wake_at(10.0) == 10.0 + pause
    assert retries.wake_at(10.0 + pause) is None
    retries.succeeded(KEY)
    assert retries.failed(KEY, 20.0) == 1


def test_complaints_are_heard_so_often() -> None:
    """What lacks something is asked for again after growing pauses, then taken; the next complaint counts anew."""
    retries = Retries(2, 1.0)
    assert retries.complained(KEY, 0.0)
    assert not retries.due(KEY, 0.9)
    assert retries.due(KEY, 1.0)
    assert retries.complained(KEY, 1.0)
    assert retries.due(KEY, 3.0)
    assert not retries.complained(KEY, 3.0)
    retries.settled(KEY)
    assert retries.complained(KEY, 4.0)


def test_what_nobody_wants_is_forgotten() -> None:
    """Only wanted questions are kept, and a new connection may ask everything at once."""
    retries = Retries(2, 1.0)
    other = ("link", "0x2")
    for key in (KEY, other):
        retries.failed(key, 0.0)
    retries.keep(lambda key: key == KEY)
    assert retries.due(other, 0.0)
    assert not retries.due(KEY, 0.0)
    retries.clear()
    assert retries.due(KEY, 0.0)
