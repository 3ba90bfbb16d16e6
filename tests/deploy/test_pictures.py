"""The dashboards drawn with Grafana's own components from live data. `make pictures` takes the pictures of the documentation."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.recording import load
from streams.replay import ReplayNode
from tests.browser import needs_chromium, tab
from tests.deploy.drawing import WIDTH, Scene, bundled, drawn, needs_npm, served, shrunk
from tests.deploy.invented import Economy
from tests.deploy.stack import needs_stack, under_watch
from tests.deploy.test_live import SETTINGS, WATCHED, boards, excused, usable

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900), needs_stack, needs_chromium, needs_npm]

PACE = 3.0
LIVE_SECONDS = 112.0
"""How long to watch: the recording lasts 139 s at this pace, and the last moment of the pictures is a busy one."""
LARGEST_BYTES = 300_000
OUTSIDE = """
[...document.querySelectorAll("section")].filter(panel => {
  const whole = panel.getBoundingClientRect();
  return [...panel.querySelectorAll("canvas, h2, text")].some(one => {
    const {left, right, top, bottom} = one.getBoundingClientRect();
    return left < whole.left - 1 || right > whole.right + 1 || top < whole.top - 1 || bottom > whole.bottom + 1;
  });
}).map(panel => panel.querySelector("h2").textContent)
"""
"""Titles of panels that something sticks out of."""
CHOICES = {"job": ".+", "network": ".+", "window": WATCHED}


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """Two minutes of the product on the devnet's recording, with an invented economy, as Prometheus saw them."""
    node = ReplayNode(load("devnet"), pace=PACE, shift_to_now=True)
    node.faults.distort = Economy()
    async with under_watch(folder, SETTINGS, node) as (url, _):
        start = int(time.time())
        await asyncio.sleep(LIVE_SECONDS)
        yield Scene(url, start, int(time.time()), CHOICES)


def silence_is_explained(panel: Mapping[str, Any]) -> bool:
    """Whether the list of absences says of every query why it has no answer."""
    return all(excused(usable(target["expr"])) for target in panel["targets"])


def complaints(board: Mapping[str, Any], shown: list[dict[str, Any]]) -> list[str]:
    """Panels with an error, and those that show nothing where there should be something."""
    panels = {panel["id"]: panel for panel in board["panels"] if panel["type"] != "row"}
    found = [f"{one['title']}: {one['error']}" for one in shown if one["error"]]
    silent = [one for one in shown if one["id"] in panels and not one["samples"]]
    return found + [f"{one['title']}: no data" for one in silent if not silence_is_explained(panels[one["id"]])]


async def test_every_panel_is_drawn(tmp_path: Path) -> None:
    """Of all six dashboards, with its data, without a complaint of Prometheus or of the browser, none outside of the picture."""
    keep = os.environ.get("TESTS_PICTURES")
    page = await asyncio.to_thread(bundled)
    async with scene(tmp_path) as here, served(page) as address, tab() as browser:
        for board in boards():
            name = board["uid"].removeprefix("fvm-pulse-")
            shown = await drawn(browser, address, here, name)
            assert [one["type"] for one in shown] == [panel["type"] for panel in board["panels"]]
            assert complaints(board, shown) == [], name
            assert browser.complaints == []
            assert await browser.value("document.documentElement.scrollWidth") == WIDTH
            assert await browser.value(OUTSIDE) == [], name
            picture = Path(keep or tmp_path, f"grafana-{name}.png")
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(await browser.picture())
            shrunk(picture)
            assert 20_000 < picture.stat().st_size < LARGEST_BYTES, name
