"""Upgrades: between two heights, by epoch or by version."""

import pytest

from processors.upgrades import UPGRADES, between, changed

SOLSTICE = 6_470_279


@pytest.mark.parametrize(
    "then,now,inside",
    [
        (SOLSTICE - 1, SOLSTICE, True),
        (SOLSTICE, SOLSTICE + 9, True),
        (SOLSTICE + 1, SOLSTICE + 9, False),
        (SOLSTICE - 9, SOLSTICE - 1, False),
    ],
)
def test_an_upgrade_lies_between_its_last_old_and_its_first_new_height(then: int, now: int, inside: bool) -> None:
    """Its epoch is the last height that runs by the old rules, and so is the state after it; a window that ends there is masked too."""
    assert changed("quality_adjusted", "mainnet", then, now) is inside
    assert not changed("quality_adjusted", "devnet", then, now)


def test_versions_tell_where_no_epoch_is_known() -> None:
    """On a devnet the versions that were recorded differ; one alone tells nothing."""
    assert [upgrade.name for upgrade in between("devnet", 0, 9, (27, 29))] == ["FireHorse", "Solstice"]
    assert not list(between("devnet", 0, 9, (29, 29)))
    assert not list(between("devnet", 0, 9, (None, 29)))


def test_raw_power_is_never_changed() -> None:
    """No upgrade has touched what a raw byte is, which is why it is shown beside the adjusted one."""
    assert not changed("raw", "mainnet", 0, 10**7, (1, 99))


@pytest.mark.parametrize("network", ["mainnet", "calibrationnet"])
def test_epochs_grow_with_versions(network: str) -> None:
    """The table is in order."""
    epochs = [upgrade.epochs[network] for upgrade in UPGRADES if network in upgrade.epochs]
    assert epochs == sorted(set(epochs))
    assert [upgrade.version for upgrade in UPGRADES] == sorted({upgrade.version for upgrade in UPGRADES})
