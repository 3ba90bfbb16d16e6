"""The clock that never goes back."""

from streams.clock import SteadyClock


def test_a_clock_that_is_set_back_runs_slower_until_it_is_right_again() -> None:
    """Forward at once; back never, but at half its pace until the wall clock has caught up."""
    wall, steady = 1000.0, 5.0
    clock = SteadyClock(lambda: wall, lambda: steady)
    assert clock() == 1000.0
    wall, steady = wall + 3600 + 1, steady + 1
    assert clock() == 4601.0
    wall, steady = wall - 3600 + 1, steady + 1
    assert clock() == 4601.5
    wall, steady = wall + 7196, steady + 7196
    assert clock() == 8199.5
    wall, steady = wall + 10, steady + 10
    assert clock() == wall == 8208.0
