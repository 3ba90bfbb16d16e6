"""The status page as a person sees it, in a real browser. `TESTS_PICTURES=docs/images` takes the pictures of the README."""

import math
import os
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from processors.catalogue import INDICATORS
from processors.exporter import Exporter
from processors.readings import Snapshot, StreamReading, WindowReading
from processors.standings import standings
from processors.thresholds import watches
from processors.trail import Trail
from streams.account import Account, Endpoint, PastReorg
from tests.browser import needs_chromium, tab
from tests.processors.snapshots import FIL, NOW

pytestmark = [pytest.mark.browser, needs_chromium]

WATCHES = watches(INDICATORS, "article")
WINDOWS = {"1h": 120, "24h": 2880, "7d": 20_160, "30d": 86_400}
SHARES = {"dex": 0.31, "liquid-staking": 0.22, "defi-lending": 0.14, "token": 0.1, "storage-service": 0.09, "bridge": 0.05, "unknown": 0.09}
PHONE, DESK = (390, 844), (1180, 900)


def window(name: str, epochs: int, *, busy: float, known: float) -> WindowReading:
    """Invented figures of about the size of a main network's; `busy` scales them."""
    gas = {f"gas:{kind}": int(2.1e9 * epochs * (busy if kind != "unknown" else 1) * share) for kind, share in SHARES.items()}
    burn = {f"burn:{kind}": int(0.006 * FIL * epochs * busy * share) for kind, share in SHARES.items()}
    totals = {
        "all_gas": int(31e9 * epochs),
        "all_base_fee_burn": int(0.011 * FIL * epochs),
        "all_over_estimation_burn": int(0.003 * FIL * epochs),
    }
    return WindowReading(
        name,
        epochs,
        sums={**gas, **burn, **totals, "deployments:direct": int(epochs * busy / 60), "messages:dex": int(3 * epochs * busy)},
        distinct={
            "sender": int(31 * busy * epochs**0.5),
            "project": int(64 * busy),
            "contract": int(9 * epochs**0.5),
            "deployer": int(0.4 * busy * epochs**0.5),
        },
        processed=int(epochs * known) - epochs // 40,
        null=epochs // 40,
        prior_distinct={"project": 57},
        prior_processed=epochs,
    )


def reading(busy: float = 1.0) -> Snapshot:
    """A network whose longest window is still filling."""
    trend = dict(zip(WINDOWS, (1.07, 1, 0.94, 0.88), strict=True))
    windows = {name: window(name, epochs, busy=busy * trend[name], known=0.71 if name == "30d" else 1) for name, epochs in WINDOWS.items()}
    sums = {"deployments:direct": int(1_180 + 40 * busy)}
    stream = StreamReading(head=5_480_312, processed=61_000, null=1_500, missing=0, windows=windows, since=5_418_000, sums=sums)
    account = Account(
        endpoints={"own": Endpoint(up=True, connections=2), "glif": Endpoint(up=True, connections=1)},
        reorgs=(PastReorg(int(NOW) - 1_500, 1), PastReorg(int(NOW) - 21_000, 3)),
    )
    facts = {"height": "5480312", "timestamp_seconds": str(int(NOW) - 34), "node_head_epoch": "5480313", "follower": account.fact(int(NOW))}
    return Snapshot("mainnet", streams={"tipsets": stream, "logs": stream}, latest=facts)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A page with a day behind it."""
    trail = Trail()
    for minute in range(1440, 0, -1):
        busy = 1 + 0.25 * math.sin(minute / 230) + 0.05 * math.sin(minute / 7) + 0.02 * math.sin(minute * 1.7)
        trail.note("mainnet", standings(reading(busy), WATCHES, NOW), NOW - 60 * minute)

    async def read() -> Sequence[Snapshot]:
        return [reading()]

    runner = await Exporter(read, registry=CollectorRegistry(), role="run", watches=WATCHES, clock=lambda: NOW, trail=trail).serve(
        "127.0.0.1", 0
    )
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def keep(name: str, picture: bytes) -> None:
    if folder := os.environ.get("TESTS_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, name).write_bytes(picture)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_a_person_can_read_it(url: str, size: tuple[int, int], dark: bool) -> None:
    """No complaint of the browser, nothing beyond the width of the window, the colours of the scheme, every figure without a script."""
    async with tab() as browser:
        await browser.ask("Emulation.setScriptExecutionDisabled", value=True)
        await browser.show(url, width=size[0], height=size[1], dark=dark)
        await browser.ask("Emulation.setScriptExecutionDisabled", value=False)
        assert await browser.value("document.documentElement.scrollWidth") == size[0]
        cards = await browser.value("document.querySelectorAll('.card').length")
        assert cards == len([watch for watch in WATCHES if not watch.indicator.baseline_days])
        assert await browser.value("document.querySelectorAll('.card .spark').length") > 0
        assert await browser.value("[...document.querySelectorAll('.card')].every(c => c.scrollWidth <= c.clientWidth + 1)")
        light = await browser.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0) > 384")
        assert light is not dark
        keep(f"status-{'phone' if size == PHONE else 'desk'}-{'dark' if dark else 'light'}.png", await browser.picture())
        assert browser.complaints == []


async def test_a_screen_reader_finds_its_way(url: str) -> None:
    """Headings do not skip a level, each line of the past has a name, the page says its language."""
    async with tab() as browser:
        await browser.show(url, width=DESK[0], height=DESK[1], dark=False)
        levels = await browser.value("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert await browser.value("[...document.querySelectorAll('[role=img]')].every(s => s.querySelector('title').textContent)")
        assert await browser.value("document.documentElement.lang") == "en"
