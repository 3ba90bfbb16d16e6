"""Draws the dashboards with Grafana's own components, from their JSON and a running Prometheus: see `pictures/page.jsx`.

The components are packages of npm (some 600 MB with all that they need), installed once in `.pictures/` as the lock file has them.
"""

import asyncio
import filecmp
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web

from tests.browser import Tab

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "pictures"
FOLDER = ROOT / ".pictures"
LOCK = "package-lock.json"
WIDTH = 1400
PATIENCE_SECONDS = 30.0

needs_npm = pytest.mark.skipif(not all(map(shutil.which, ("node", "npm"))), reason="npm is missing: apt-get install npm")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen: a Prometheus that scrapes every second, a span of Unix time, and the dashboards' variables."""

    prometheus: str
    from_seconds: int
    to_seconds: int
    variables: Mapping[str, str]

    def query(self, board: str) -> str:
        """The address's query for one board."""
        times = {"from": self.from_seconds, "to": self.to_seconds, "scrape": 1}
        return urlencode({"board": board, "prometheus": self.prometheus, **times, **self.variables})


def bundled() -> Path:
    """The folder with the page and all that it loads; packages are installed where the lock file is another one."""
    installed = FOLDER / "installed.json"
    if not installed.exists() or not filecmp.cmp(installed, SOURCES / LOCK, shallow=False):
        FOLDER.mkdir(exist_ok=True)
        for name in ("package.json", LOCK):
            shutil.copy(SOURCES / name, FOLDER)
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=FOLDER)
        shutil.copy(SOURCES / LOCK, installed)
    _run("node", str(SOURCES / "bundle.cjs"), str(FOLDER), cwd=ROOT)
    return FOLDER / "served"


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def shrunk(path: Path) -> None:
    """The same PNG with 128 colours, in its place."""
    _run("node", str(SOURCES / "shrink.cjs"), str(FOLDER), str(path), cwd=ROOT)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """The address of the page, on the loopback."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / "index.html")

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_static("/boards", ROOT / "grafana/dashboards")
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def drawn(browser: Tab, address: str, scene: Scene, board: str) -> list[dict[str, Any]]:
    """What each panel of the board shows, once all of them are drawn: title, type, series, samples, error."""
    await browser.show(f"{address}?{scene.query(board)}", width=WIDTH, height=900, dark=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := await browser.value("window.drawn")) is None:
        assert time.monotonic() < deadline, browser.complaints
        await asyncio.sleep(0.1)
    return list(found)
