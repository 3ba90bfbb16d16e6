"""A real Chromium without a window, asked through its debugging protocol."""

import asyncio
import base64
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

PATIENCE_SECONDS = 30.0
COMMAND = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(COMMAND is None, reason="Chromium is missing: apt-get install chromium")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage")


class Tab:
    """One tab; `complaints` collects what its console and its network said."""

    def __init__(self, connection: ClientConnection, session: str) -> None:
        self.complaints: list[str] = []
        self._connection = connection
        self._session = session
        self._numbers = itertools.count(1)
        self._loaded = asyncio.Event()

    async def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command, and its answer."""
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "sessionId": self._session, "method": method, "params": parameters}))
        while True:
            message = json.loads(await asyncio.wait_for(self._connection.recv(), PATIENCE_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}".strip())
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.complaints.append(str(told))
        elif method == "Page.loadEventFired":
            self._loaded.set()

    async def show(self, url: str, *, width: int, height: int, dark: bool) -> None:
        """Load a page at this size of window, in one colour scheme."""
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded.clear()
        await self.ask("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._loaded.is_set():
                self._note(json.loads(await self._connection.recv()))

    async def value(self, expression: str) -> Any:
        """What the page's script would see."""
        answer = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def picture(self, *, whole: bool = True) -> bytes:
        """A PNG of the page, or of what is in the window."""
        if not whole:
            return base64.b64decode((await self.ask("Page.captureScreenshot"))["data"])
        size = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {**size, "scale": 1}
        return base64.b64decode((await self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip))["data"])


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """A tab of a browser that lives as long as the block."""
    assert COMMAND is not None
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with connect(await _address(process), max_size=None) as connection:
                yield await _opened(connection)
        finally:
            process.kill()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line := await process.stderr.readline():
            if found := re.search(rb"ws://\S+", line):
                return found[0].decode()
    raise RuntimeError("Chromium did not start")


async def _opened(connection: ClientConnection) -> Tab:
    await connection.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
    target = (await _answer(connection, 1))["targetId"]
    await connection.send(json.dumps({"id": 2, "method": "Target.attachToTarget", "params": {"targetId": target, "flatten": True}}))
    browser = Tab(connection, str((await _answer(connection, 2))["sessionId"]))
    for domain in ("Page", "Runtime", "Log", "Network"):
        await browser.ask(f"{domain}.enable")
    return browser


async def _answer(connection: ClientConnection, number: int) -> dict[str, Any]:
    while (message := json.loads(await asyncio.wait_for(connection.recv(), PATIENCE_SECONDS))).get("id") != number:
        pass
    return dict(message["result"])
