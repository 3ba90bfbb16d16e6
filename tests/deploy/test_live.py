"""The real product on a recording, watched by a real Prometheus and a real Alertmanager: every query, and a page."""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import promql_parser
import pytest

from processors.catalogue import INDICATORS, ROWS, watched
from streams.recording import load
from streams.replay import ReplayNode
from tests.deploy.stack import Receiver, needs_stack, under_watch
from tests.deploy.test_rules import rules, selectors

pytestmark = [needs_stack, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
PACE = 30.0
NOBODY_THERE, BUSY = 36.0, 200.0
"""Seconds of the recording: nobody has used a contract for 20 epochs; some 50 senders have."""
PATIENCE_SECONDS = 40.0
ANSWERS_SECONDS = 25.0
"""Rates need two samples, and rules that read rules several rounds."""
WATCHED = "120e"
SETTINGS = 'preset = "article"\n' + "".join(
    f'[thresholds.{indicator.name}]\nwindow = "{"20e" if indicator.name == "active_addresses" else WATCHED}"\nfor = "5m"\n'
    for row, indicator in watched()
    if row.counted and "window" in row.labels
)
"""Every indicator over a window that is full within seconds."""

ABSENT = {
    "fvm_project_growth_ratio": "needs a window before the first one, and known projects",
    "fvm_project_rolling_gas_used": "the devnet has no contract of a known project",
    "fvm_window_upgrade": "the devnet had no upgrade",
    "fvm:window:upgrade": "the devnet had no upgrade",
    "pulse_consumer_lag_records": "only workers that read from Kafka have it",
    "pulse_probe_failures_total": "no probe fails here",
    "filecoin_price_usd": "the devnet has no oracle",
    "filecoin_power_growth_ratio": "needs days of samples",
    "filecoin_power_growth_annualized_ratio": "needs days of samples",
    "filecoin_locked_to_circulating_ratio": "the recording holds no supply",
    "filecoin_staking_apy_ratio": "the recording holds no supply",
    **{row.metric: "the devnet has no declared pool" for row in ROWS if row.metric.startswith(("fvm_pool_", "fvm_tvl_", "fvm_lent_"))},
    **{row.metric: "the devnet has no declared bridge, and no contract for payments" for row in ROWS if row.group == "flows"},
}
"""Series that can not be there, and why."""
EXCUSED = {
    r'indicator="\w+_trend"': "a baseline needs a day of samples",
    r"count_over_time": "a baseline needs a day of samples",
    r"fvm:indicator:covered\n  >": "no figure is above a level",
    r'bound="below",severity="critical"': "no figure is below a critical level once contracts are used",
    r'bound="below",severity="warning"': "no figure is below a warning level once contracts are used",
    **{f'indicator="{one.name}"': f"see {row.metric}" for row, one in watched() if row.metric in ABSENT},
    **{f'indicator="{one.name}"': "no preset has a level of it" for one in INDICATORS if not one.presets},
}
"""Queries that can have no answer, and why."""


class Eyes:
    """Asks Prometheus."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def _get(self, path: str, **parameters: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
            found = await answer.json()
        assert found["status"] == "success", (parameters, found)
        return found["data"]

    async def query(self, expr: str) -> list[float]:
        """The values of an instant query."""
        return [float(series["value"][1]) for series in (await self._get("query", query=expr))["result"]]

    async def seen(self, expr: str) -> None:
        """Wait until a query has an answer.

        Raises:
            TimeoutError: it has none for long.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.query(expr):
                await asyncio.sleep(0.2)

    async def unwell(self) -> list[str]:
        """The rules that failed, with their errors."""
        groups = (await self._get("rules"))["groups"]
        return [f"{rule['name']}: {rule.get('lastError')}" for group in groups for rule in group["rules"] if rule["health"] != "ok"]

    async def series(self, labels: str) -> list[str]:
        """What Grafana's `label_values(series, label)` finds."""
        series, _, label = labels.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        return list(await self._get(f"label/{label}/values", **{"match[]": series}))


class Town:
    """The product on a recording, and everybody who watches it."""

    def __init__(self, node: ReplayNode, eyes: Eyes, receiver: Receiver) -> None:
        self.node = node
        self.eyes = eyes
        self.receiver = receiver


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    """Everything started, with the recording held at `NOBODY_THERE`."""
    node = ReplayNode(load("devnet"), pace=PACE, shift_to_now=True, until=0.03)
    async with under_watch(folder, SETTINGS, node) as (url, receiver), aiohttp.ClientSession() as session:
        eyes = Eyes(url, session)
        await eyes.seen("pulse_processed_epoch")
        node.halt_at(NOBODY_THERE)
        yield Town(node, eyes, receiver)


def usable(query: str) -> str:
    """A query with Grafana's variables replaced: each chosen window, all the rest, a range over the whole test."""
    for variable, value in (("$__rate_interval", "3m"), ("$job", ".+"), ("$network", ".+"), ("$window", WATCHED)):
        query = query.replace(variable, value)
    return query


def boards() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        yield json.loads(path.read_text())


def panels() -> Iterator[tuple[str, str]]:
    """Every query of every panel, with the place where it stands."""
    for board in boards():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield f"{board['title']}: {panel['title']}", target["expr"]


def excused(expr: str) -> bool:
    """Whether the list says why there is no answer."""
    names = {selector.name for selector in selectors(promql_parser.parse(expr))}
    return bool(names & set(ABSENT)) or any(re.search(pattern, expr) for pattern in EXCUSED)


async def told(receiver: Receiver, path: str, status: str, **labels: str) -> dict[str, Any]:
    """Wait for the word.

    Raises:
        TimeoutError: it does not come.
    """
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := receiver.about(path, status, **labels)):
            await asyncio.sleep(0.1)
    return found[0]


async def test_a_page_and_every_query(tmp_path: Path) -> None:
    """Nobody uses contracts: a page. Somebody does: it is resolved. Every query has its answer."""
    beyond = {"alertname": "FvmIndicatorBeyondThreshold", "indicator": "active_addresses"}
    async with town(tmp_path) as here:
        page = await told(here.receiver, "/pager", "firing", **beyond)
        assert page["labels"] | beyond == {
            **beyond,
            "network": "testing",
            "window": "20e",
            "bound": "below",
            "severity": "critical",
            "hold": "5m",
        }
        assert page["annotations"]["description"] == "active_addresses of testing over 20e is 0, below its critical level."
        assert page["annotations"]["dashboard_url"].endswith("/d/fvm-pulse-overview?var-network=testing&var-window=20e")
        assert page["annotations"]["runbook_url"] == "docs/operations.md#fvmindicatorbeyondthreshold"
        await told(here.receiver, "/heartbeat", "firing", alertname="Watchdog")
        here.node.halt_at(BUSY)
        await told(here.receiver, "/pager", "resolved", **beyond)
        await queries_are_answered(here)


async def answered(here: Town, expr: str) -> bool:
    """Whether there is a number at all."""
    return any(not math.isnan(value) for value in await here.eyes.query(expr))


async def queries_are_answered(here: Town) -> None:
    """No rule fails; every recording, panel and variable finds something, and somewhere a number."""
    await here.eyes.seen('fvm_active_addresses{window="120e"} > 100')
    here.node.halt_at(math.inf)
    await here.eyes.seen('ALERTS{alertname=~"Fvm.*"}')
    recorded = [(rule["record"], rule["expr"]) for rule in rules() if "record" in rule]
    wanted = {(place, usable(query)) for place, query in [*recorded, *panels()]}
    deadline = time.monotonic() + ANSWERS_SECONDS
    while (silent := [one for one in wanted if not excused(one[1]) and not await answered(here, one[1])]) and time.monotonic() < deadline:
        wanted = set(silent)
        await asyncio.sleep(0.5)
    assert not silent, "\n".join(f"{place}: {expr}" for place, expr in sorted(silent))
    for rule in rules():
        await here.eyes.query(rule["expr"])
    assert await here.eyes.unwell() == []
    for board in boards():
        for variable in board["templating"]["list"][1:]:
            assert await here.eyes.series(usable(variable["query"])), variable["query"]
        for annotation in board["annotations"]["list"]:
            if "expr" in annotation:
                await here.eyes.query(usable(annotation["expr"]))


def test_the_list_of_absences_is_current() -> None:
    """What is named there is still asked for somewhere."""
    asked = [*(usable(expr) for _, expr in panels()), *(rule["expr"] for rule in rules())]
    assert set(ABSENT) <= {selector.name for expr in asked for selector in selectors(promql_parser.parse(expr))}
    assert all(any(re.search(pattern, expr) for expr in asked) for pattern in EXCUSED)
