"""What a real Alertmanager makes of our configuration: who is told, and what is kept from them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.deploy.stack import Receiver, alertmanager, needs_stack

pytestmark = needs_stack
SETTLING_SECONDS = 0.3
"""Alertmanager takes alerts in one at a time, and says nothing when its inhibitor knows them."""

INDICATOR = {"alertname": "FvmIndicatorBeyondThreshold", "network": "mainnet", "indicator": "gas_share", "severity": "warning"}
OTHER_NETWORK = {**INDICATOR, "network": "calibrationnet"}
STRANGER = {"alertname": "DiskFull", "severity": "warning"}
INDICATOR_WITHOUT = {"alertname": "FvmIndicatorBeyondThreshold", "indicator": "gas_share", "severity": "warning"}


class Manager:
    """A running Alertmanager and the webhook it talks to."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        self.url = url
        self.receiver = receiver

    async def inhibited(self, *alerts: dict[str, str]) -> list[bool]:
        """Which of these alerts are inhibited when all of them fire."""
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{self.url}/api/v2/alerts", json=[{"labels": labels} for labels in alerts]) as answer:
                assert answer.status == 200, await answer.text()
            async with asyncio.timeout(10):
                while True:
                    await asyncio.sleep(SETTLING_SECONDS)
                    found = await self._states(session)
                    if all(found.get(frozenset(labels.items())) for labels in alerts):
                        return [bool(found[frozenset(labels.items())]["inhibitedBy"]) for labels in alerts]

    async def _states(self, session: aiohttp.ClientSession) -> dict[frozenset[tuple[str, str]], Any]:
        """The status of each alert that was looked at already."""
        async with session.get(f"{self.url}/api/v2/alerts") as answer:
            found = await answer.json()
        return {frozenset(one["labels"].items()): one["status"] for one in found if one["status"]["state"] != "unprocessed"}


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with Receiver().serving() as receiver, alertmanager(tmp_path / "alertmanager", receiver) as url:
        yield Manager(url, receiver)


@pytest.mark.parametrize(
    "source,hidden",
    [
        ({"alertname": "FvmHeadStale", "severity": "critical", "network": "mainnet"}, [True, False, False]),
        ({"alertname": "FvmPipelineBehind", "severity": "critical", "network": "mainnet", "job": "fvm-pulse"}, [True, False, False]),
        ({"alertname": "FvmChainHalted", "severity": "warning", "network": "mainnet", "job": "fvm-pulse"}, [True, False, False]),
        ({"alertname": "FvmRedisDown", "severity": "critical", "job": "fvm-pulse"}, [True, True, False]),
        ({"alertname": "FvmNodeSilent", "severity": "critical", "job": "fvm-pulse"}, [True, True, False]),
        ({"alertname": "FvmExporterGone", "severity": "critical"}, [True, True, False]),
        # the trap: neither side has a network, and a missing label would count as equal
        ({"alertname": "FvmHeadStale", "severity": "critical"}, [False, False, False]),
        ({"alertname": "FvmDeadLetters", "severity": "critical", "network": "mainnet"}, [False, False, False]),
    ],
    ids=lambda value: value["alertname"] + ("" if "network" in value else " without network") if isinstance(value, dict) else "",
)
async def test_trouble_of_the_pipeline_hides_indicators(manager: Manager, source: dict[str, str], hidden: list[bool]) -> None:
    """Of its own network; of every network where it has none; never what belongs to somebody else."""
    assert (await manager.inhibited(source, INDICATOR, OTHER_NETWORK, STRANGER))[1:] == hidden


async def test_a_label_that_both_lack_is_not_equal(manager: Manager) -> None:
    """Alerts without a network are compared with nothing."""
    stale = {"alertname": "FvmHeadStale", "severity": "critical"}
    assert await manager.inhibited(stale, INDICATOR_WITHOUT, STRANGER) == [False, False, False]


async def test_the_worst_level_of_an_indicator_is_enough(manager: Manager) -> None:
    """Of the same indicator and the same pool."""
    critical = {**INDICATOR, "severity": "critical"}
    goal = {**INDICATOR, "severity": "info"}
    other = {**INDICATOR, "indicator": "burn_share"}
    assert await manager.inhibited(critical, INDICATOR, goal, other) == [False, True, True, False]


async def test_one_pool_does_not_hide_another(manager: Manager) -> None:
    """Each is watched for itself."""
    critical = {**INDICATOR, "severity": "critical", "pool": "a"}
    same, other = {**INDICATOR, "pool": "a"}, {**INDICATOR, "pool": "b"}
    assert await manager.inhibited(critical, same, other) == [False, True, False]


async def test_old_figures_with_a_reason_page_once(manager: Manager) -> None:
    """We are slow: that is told, and not that the figures are old as well."""
    behind = {"alertname": "FvmPipelineBehind", "severity": "critical", "network": "mainnet", "job": "fvm-pulse"}
    stale = {"alertname": "FvmHeadStale", "severity": "critical", "network": "mainnet"}
    assert await manager.inhibited(behind, stale) == [False, True]


async def test_who_is_told(manager: Manager) -> None:
    """Each severity by its receiver, with the token from the file; goals nobody."""
    watchdog = {"alertname": "Watchdog", "severity": "none"}
    goal = {**INDICATOR, "severity": "info"}
    page = {"alertname": "FvmRedisDown", "severity": "critical", "job": "fvm-pulse"}
    ticket = {"alertname": "FvmDeadLetters", "severity": "warning", "stream": "logs"}
    await manager.inhibited(watchdog, goal, page, ticket)
    async with asyncio.timeout(10):
        while len(manager.receiver.told) < 3:
            await asyncio.sleep(0.05)
    told = {(path, alert["labels"]["alertname"]) for path, alert in manager.receiver.told}
    assert told == {("/heartbeat", "Watchdog"), ("/pager", "FvmRedisDown"), ("/tickets", "FvmDeadLetters")}
