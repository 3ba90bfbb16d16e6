"""Growth and yields, from samples of the state. Pure; what can not be told is None.

Samples lie where tipsets were, so the elapsed epochs are counted, not assumed: a gap or a null round changes no rate.
"""

from processors.readings import Sample
from processors.windows import DAY_EPOCHS

YEAR_EPOCHS = 365 * DAY_EPOCHS


def growth(now: Sample, then: Sample, per_epochs: int) -> float | None:
    """`(now / then) ^ (per_epochs / elapsed) - 1`: compound growth, brought to exactly `per_epochs`."""
    elapsed = now.height - then.height
    if elapsed <= 0 or then.value <= 0 or now.value < 0:
        return None
    try:
        return float((now.value / then.value) ** (per_epochs / elapsed)) - 1
    except OverflowError:
        return None


def annualised(now: Sample, then: Sample) -> float | None:
    """Compound growth a year."""
    return growth(now, then, YEAR_EPOCHS)


def momentary(position: Sample, velocity: Sample) -> float | None:
    """Growth a year as the smoothed estimate of a moment has it: simple, not compound. Velocity is per epoch."""
    if position.value <= 0 or position.height != velocity.height:
        return None
    return _over(velocity.value * YEAR_EPOCHS, position.value)


def reward_yield(minted: tuple[Sample, Sample], given_away: int, locked: Sample) -> float | None:
    """Reward to those who locked, a year, over what they locked: `minted` is the total now and then, less what was `given_away`."""
    now, then = minted
    elapsed, reward = now.height - then.height, now.value - then.value - given_away
    if elapsed <= 0 or reward < 0 or locked.value <= 0:
        return None
    return _over(reward * YEAR_EPOCHS, locked.value * elapsed)


def _over(part: int, whole: int) -> float | None:
    try:
        return part / whole
    except OverflowError:
        return None
