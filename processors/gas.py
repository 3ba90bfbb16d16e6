"""What a message pays for its gas, in integers, as Lotus computes it (`chain/vm/burn.go`, since network version 13).

Gas is in units, prices are attoFIL per unit, amounts are attoFIL. `//` is floor division, and nothing here is ever a float.
"""

from typing import NamedTuple


class Burn(NamedTuple):
    """What the sender of a message burns for its gas, in attoFIL."""

    base_fee_attofil: int
    over_estimation_attofil: int


class Outputs(NamedTuple):
    """Where the attoFIL go that a sender set aside for gas (`gas_limit * gas_fee_cap`), and what its block producer is fined."""

    base_fee_burn: int
    over_estimation_burn: int
    miner_penalty: int
    miner_tip: int
    refund: int


NOTHING = Burn(0, 0)


def over_estimation(gas_used: int, gas_limit: int) -> tuple[int, int]:
    """The gas refunded and the gas burned of what was asked for beyond `gas_used`; a tenth more than used is free."""
    if gas_used == 0:
        return 0, gas_limit
    over = gas_limit - 11 * gas_used // 10
    if over < 0:
        return gas_limit - gas_used, 0
    burned = (gas_limit - gas_used) * min(over, gas_used) // gas_used
    return gas_limit - gas_used - burned, burned


def burn(gas_used: int, gas_limit: int, base_fee: int, gas_fee_cap: int) -> Burn:
    """What a message burns: all of it leaves the sender for f099.

    A message with `gas_used` 0 failed before it ran; it burns nothing of its sender's (its block producer is fined instead).

    Args:
        gas_used: from the receipt.
        gas_limit: from the message.
        base_fee: of the tipset that holds the message.
        gas_fee_cap: from the message; the sender pays no more per unit, base fee or not.
    """
    if gas_used == 0:
        return NOTHING
    price = min(base_fee, gas_fee_cap)
    return Burn(price * gas_used, price * over_estimation(gas_used, gas_limit)[1])


def outputs(gas_used: int, gas_limit: int, base_fee: int, gas_fee_cap: int, gas_premium: int) -> Outputs:
    """The whole split of what a message that ran set aside; the tip is paid on the limit, not on what was used."""
    price = min(base_fee, gas_fee_cap)
    _, burned = over_estimation(gas_used, gas_limit)
    base_fee_burn = price * gas_used
    over_estimation_burn = price * burned
    tip = min(gas_premium, gas_fee_cap - price) * gas_limit
    penalty = max(0, base_fee - gas_fee_cap) * gas_used + (base_fee - price) * burned
    refund = gas_limit * gas_fee_cap - base_fee_burn - over_estimation_burn - tip
    return Outputs(base_fee_burn, over_estimation_burn, penalty, tip, refund)
