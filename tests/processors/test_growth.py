"""Growth and yields: by hand, and as laws."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from processors.growth import YEAR_EPOCHS, annualised, growth, momentary, reward_yield
from processors.readings import Sample
from processors.windows import DAY_EPOCHS

HEIGHTS = st.integers(0, 10**7)
POWERS = st.integers(10**15, 10**22)
SPANS = st.integers(DAY_EPOCHS, 100 * DAY_EPOCHS)


def test_by_hand() -> None:
    """Doubled in half a year is fourfold in one; 1 % lost in 30 days brought to 90; 14,760 PiB less 28 PiB a day."""
    assert annualised(Sample(20, YEAR_EPOCHS // 2), Sample(10, 0)) == pytest.approx(3.0)
    assert growth(Sample(99, 30 * DAY_EPOCHS), Sample(100, 0), 90 * DAY_EPOCHS) == pytest.approx(0.99**3 - 1)
    pib = 2**50
    assert annualised(Sample((14_760 - 30 * 28) * pib, 30 * DAY_EPOCHS), Sample(14_760 * pib, 0)) == pytest.approx(-0.5098, abs=1e-4)
    assert momentary(Sample(1000 << 128, 5), Sample(1 << 126, 5)) == pytest.approx(YEAR_EPOCHS / 4000)
    # 100,000 FIL a day on 100 M FIL.
    day = (Sample(10**23, DAY_EPOCHS), Sample(0, 0))
    assert reward_yield(day, 0, Sample(10**26, DAY_EPOCHS)) == pytest.approx(0.365)
    assert reward_yield(day, 4 * 10**22, Sample(10**26, DAY_EPOCHS)) == pytest.approx(0.219)


@given(POWERS, POWERS, POWERS, HEIGHTS, SPANS)
def test_growth_is_monotone(then: int, low: int, high: int, height: int, span: int) -> None:
    """More now is more growth, more then is less; no change is none."""
    low, high = sorted((low, high))
    assume(low * 1.0001 < high)
    start, end = height, height + span
    for rate in (annualised, lambda now, before: growth(now, before, 7 * DAY_EPOCHS)):
        slower, faster = rate(Sample(low, end), Sample(then, start)), rate(Sample(high, end), Sample(then, start))
        assert slower is None or faster is None or slower <= faster
        after_more, after_less = rate(Sample(then, end), Sample(high, start)), rate(Sample(then, end), Sample(low, start))
        assert after_more is None or after_less is None or after_more <= after_less
        assert rate(Sample(low, end), Sample(low, start)) == 0


@given(POWERS, POWERS, st.integers(1, 2**200), HEIGHTS, SPANS)
def test_growth_is_free_of_scale(now: int, then: int, scale: int, height: int, span: int) -> None:
    """Bytes or PiB, FIL or attoFIL: the same growth."""
    one = growth(Sample(now, height + span), Sample(then, height), span)
    other = growth(Sample(now * scale, height + span), Sample(then * scale, height), span)
    assert one is not None
    assert other is not None
    assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


@given(POWERS, st.floats(-0.9, 3.0), HEIGHTS, st.integers(DAY_EPOCHS, 90 * DAY_EPOCHS), st.integers(-DAY_EPOCHS // 2, DAY_EPOCHS // 2))
def test_a_gap_changes_no_rate(then: int, yearly: float, height: int, span: int, late: int) -> None:
    """Steady growth has its rate wherever the samples lie: elapsed epochs are counted, not assumed."""
    for elapsed in (span, span + late):
        now = round(then * (1 + yearly) ** (elapsed / YEAR_EPOCHS))
        found = annualised(Sample(now, height + elapsed), Sample(then, height))
        assert found is not None
        assert math.isclose(1 + found, 1 + yearly, rel_tol=1e-6)


@given(POWERS, POWERS, POWERS, SPANS, SPANS)
def test_growth_composes(first: int, second: int, third: int, one: int, two: int) -> None:
    """Growth over two stretches is the product of both."""
    a = growth(Sample(second, one), Sample(first, 0), one)
    b = growth(Sample(third, one + two), Sample(second, one), two)
    whole = growth(Sample(third, one + two), Sample(first, 0), one + two)
    assert a is not None
    assert b is not None
    assert whole is not None
    assert math.isclose((1 + a) * (1 + b), 1 + whole, rel_tol=1e-9)


@given(st.integers(0, 10**24), st.integers(1, 10**27), st.integers(1, 2**100), SPANS)
def test_a_yield_is_free_of_scale_and_grows_with_the_reward(reward: int, locked: int, scale: int, span: int) -> None:
    """Twice the reward is twice the yield; twice the pledge half of it; units do not matter."""

    def of(reward: int, locked: int) -> float:
        found = reward_yield((Sample(7 + reward, span), Sample(7, 0)), 0, Sample(locked, span))
        assert found is not None
        return found

    assert math.isclose(of(reward * scale, locked * scale), of(reward, locked), rel_tol=1e-9)
    assert math.isclose(of(2 * reward, locked), 2 * of(reward, locked), rel_tol=1e-9)
    assert math.isclose(of(reward, 2 * locked), of(reward, locked) / 2, rel_tol=1e-9)
    assert of(reward + 1, locked) >= of(reward, locked)


@pytest.mark.parametrize(
    "now,then",
    [
        (Sample(5, 9), Sample(5, 9)),
        (Sample(5, 8), Sample(5, 9)),
        (Sample(5, 9), Sample(0, 1)),
        (Sample(-5, 9), Sample(5, 1)),
        (Sample(10**30, 2), Sample(1, 1)),
    ],
)
def test_what_can_not_be_told_is_not_told(now: Sample, then: Sample) -> None:
    """No time between, nothing to grow from, less than nothing, or beyond any number."""
    assert annualised(now, then) is None
    assert momentary(Sample(0, 1), Sample(1, 1)) is None
    assert momentary(Sample(1, 1), Sample(1, 2)) is None
    assert reward_yield((now, now), 0, Sample(1, 1)) is None
    assert reward_yield((Sample(5, 9), Sample(6, 1)), 0, Sample(1, 1)) is None
    assert reward_yield((Sample(6, 9), Sample(5, 1)), 0, Sample(0, 1)) is None
