"""Sampling: what is due when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.sampling import Moment, Probe
from streams.tasks import Fetch

EVERY = st.integers(1, 50)
HEIGHTS = st.integers(0, 10**6)


def nothing(_: Moment) -> Fetch[dict[str, int]]:
    """A probe that asks for nothing."""
    yield ()
    return {}


@given(EVERY, HEIGHTS, st.lists(st.integers(1, 9), min_size=1, max_size=100), EVERY)
def test_a_probe_is_due_once_in_each_span_of_its_cadence(every: int, start: int, steps: list[int], least: int) -> None:
    """However many null rounds there are, each multiple of the cadence has one tipset at which the probe is due."""
    probe = Probe("one", every, native=False, ask=nothing)
    heights = [start]
    for step in steps:
        heights.append(heights[-1] + step)
    due = [height for parent, height in pairwise(heights) if probe.due(height, parent, least)]
    span = max(every, least)
    passed = {height // span for height in heights[1:]} - {start // span}
    assert [height // span for height in due] == sorted(passed)


def test_without_a_parent_a_probe_is_due() -> None:
    """The first tipset that is seen has everything asked."""
    assert Probe("one", 1000, native=False, ask=nothing).due(7, None)
