"""Upgrades of the network that change what a figure means, and where they happened.

Sources: Lotus `build/buildconstants/params_mainnet.go` and `params_calibnet.go`; the FIPs named. Where an epoch is not known, as
on a devnet, the network version that is recorded with the samples tells the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Quantity: TypeAlias = Literal["quality_adjusted", "raw", "locked", "reward", "burn", "base_fee"]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A network version, what it changed the formula of, and its epoch by network: the last height that runs by the rules before."""

    version: int
    name: str
    changes: frozenset[Quantity]
    epochs: Mapping[str, int]


UPGRADES = (
    # FIP-0065: deposits of the storage market no longer count as locked.
    Upgrade(23, "Waffle", frozenset({"locked"}), {"mainnet": 4_154_640, "calibrationnet": 1_779_094}),
    # FIP-0100: a daily fee, burnt by cron, instead of fees for batches.
    Upgrade(25, "Teep", frozenset({"burn"}), {"mainnet": 4_878_840, "calibrationnet": 2_523_454}),
    # FIP-0115: another rule for the base fee.
    Upgrade(28, "FireHorse", frozenset({"base_fee"}), {"mainnet": 6_052_800}),
    # FIP-0118: every new sector counts tenfold; a part of the reward is burnt or given out.
    Upgrade(29, "Solstice", frozenset({"quality_adjusted", "reward", "burn"}), {"mainnet": 6_470_279}),
)


def between(network: str, then: int, now: int, versions: tuple[int | None, int | None] = (None, None)) -> Iterator[Upgrade]:
    """The upgrades from the height `then` up to `now`; `versions` are the network versions there, None where not known.

    Lotus migrates the state after the upgrade's epoch: of two samples, one at the epoch itself is of before.
    """
    before, after = versions
    for upgrade in UPGRADES:
        epoch = upgrade.epochs.get(network)
        by_epoch = epoch is not None and then <= epoch <= now
        by_version = before is not None and after is not None and before < upgrade.version <= after
        if by_epoch or by_version:
            yield upgrade


def changed(quantity: Quantity, network: str, then: int, now: int, versions: tuple[int | None, int | None] = (None, None)) -> bool:
    """Whether what is meant by `quantity` differs between the two heights, so that they can not be compared."""
    return any(quantity in upgrade.changes for upgrade in between(network, then, now, versions))
