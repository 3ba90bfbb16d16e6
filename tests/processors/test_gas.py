"""The vectors of Lotus's own tests (`chain/vm/burn_test.go`), and two messages worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.gas import Burn, Outputs, burn, outputs, over_estimation

OVER_ESTIMATION = [
    # used, limit, refund, burned
    (100, 200, 10, 90),
    (100, 150, 30, 20),
    (1000, 1300, 240, 60),
    (500, 700, 140, 60),
    (200, 200, 0, 0),
    (20000, 21000, 1000, 0),
    (0, 2000, 0, 2000),
    (500, 651, 121, 30),
    (500, 5000, 0, 4500),
    (7499000000, 7500000000, 1000000, 0),
    (3750000000, 7500000000, 375000000, 3375000000),
    (1, 7500000000, 0, 7499999999),
]

OUTPUTS = [
    # used, limit, fee cap, premium at a base fee of 10 attoFIL
    ((100, 110, 11, 1), Outputs(1000, 0, 0, 110, 100)),
    ((100, 130, 11, 1), Outputs(1000, 60, 0, 130, 240)),
    ((100, 110, 10, 1), Outputs(1000, 0, 0, 0, 100)),
    ((100, 110, 6, 1), Outputs(600, 0, 400, 0, 60)),
]

CALLS = [
    # a contract call of 20,000,000 gas, limit 26,000,000, premium 100,000: a busy base fee, and the lowest there is
    (5_000_000, 20_000_000, Outputs(100_000_000_000_000, 6_000_000_000_000, 0, 2_600_000_000_000, 411_400_000_000_000)),
    (100, 200_000, Outputs(2_000_000_000, 120_000_000, 0, 2_600_000_000_000, 2_597_880_000_000)),
]

gas = st.integers(0, 10**10)
prices = st.integers(0, 10**20)


@pytest.mark.parametrize("used, limit, refund, burned", OVER_ESTIMATION)
def test_over_estimated_gas_is_split_as_lotus_splits_it(used: int, limit: int, refund: int, burned: int) -> None:
    """Lotus's table, row by row."""
    assert over_estimation(used, limit) == (refund, burned)


@pytest.mark.parametrize("message, expected", OUTPUTS)
def test_outputs_are_those_of_lotus(message: tuple[int, int, int, int], expected: Outputs) -> None:
    """Lotus's table at a base fee of 10."""
    used, limit, fee_cap, premium = message
    assert outputs(used, limit, 10, fee_cap, premium) == expected


@pytest.mark.parametrize("base_fee, fee_cap, expected", CALLS)
def test_a_contract_call_burns_what_was_worked_by_hand(base_fee: int, fee_cap: int, expected: Outputs) -> None:
    """The burn is the base-fee burn and the over-estimation burn; tip and refund are none of it."""
    assert outputs(20_000_000, 26_000_000, base_fee, fee_cap, 100_000) == expected
    assert burn(20_000_000, 26_000_000, base_fee, fee_cap) == Burn(expected.base_fee_burn, expected.over_estimation_burn)


def test_a_message_that_never_ran_burns_nothing() -> None:
    """Without gas used, the formula would burn the whole limit; the sender loses nothing."""
    assert burn(0, 2000, 10, 11) == Burn(0, 0)


@given(gas, gas, prices, prices, prices)
def test_nothing_is_lost(used: int, more: int, base_fee: int, fee_cap: int, premium: int) -> None:
    """What was set aside is burnt, tipped or refunded to the attoFIL, and none of these is negative."""
    split = outputs(used, used + more, base_fee, fee_cap, premium)
    parts = (split.base_fee_burn, split.over_estimation_burn, split.miner_tip, split.refund)
    assert sum(parts) == (used + more) * fee_cap
    assert min(parts) >= 0
