import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from processors.catalogue import INDICATORS, ROWS
from processors.exporter import Exporter
from processors.readings import Snapshot
from processors.thresholds import watches
from processors.trail import Trail
from streams.errors import StoreFault
from streams.metrics import ProcessMetrics
from tests.processors.snapshots import NOW, snapshot

GOLDEN = Path(__file__).parent / "data" / "exposition.txt"


class Redis:
    """Where the exporter reads: counts the reads, may be away or slow."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = [snapshot()]
        self.reads = 0
        self.away = False
        self.bug = False
        self.delay_seconds = 0.0

    async def read(self) -> Sequence[Snapshot]:
        """One round trip."""
        self.reads += 1
        await asyncio.sleep(self.delay_seconds)
        if self.bug:
            raise AssertionError("ours")
        if self.away:
            raise StoreFault("Redis is away")
        return self.snapshots


class Site:
    """A running exporter, and what it answers."""

    def __init__(self) -> None:
        self.redis = Redis()
        self.registry = CollectorRegistry()
        self.metrics = ProcessMetrics(self.registry)
        self.url = ""

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str, str]:
        """Status, content type and body."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers={"Accept": accept}) as response:
            return response.status, response.headers["Content-Type"], await response.text()

    async def scrape(self) -> dict[str, float]:
        """Every series with its value."""
        status, _, text = await self.get("/metrics")
        assert status == 200
        return {
            sample.name + str(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    exporter = Exporter(
        found.redis.read,
        registry=found.registry,
        role="run",
        watches=watches(INDICATORS, "article"),
        fresh_within_seconds=100,
        read_timeout_seconds=0.2,
        clock=lambda: NOW,
    )
    runner = await exporter.serve("127.0.0.1", 0)
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}"
    yield found
    await runner.cleanup()


async def test_the_exposition_word_for_word(site: Site) -> None:
    """What Prometheus reads, but for the versions of what runs."""
    status, content_type, text = await site.get("/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    chain = text.split("# HELP pulse_redis_up")[0]
    assert chain == GOLDEN.read_text()


async def test_openmetrics_when_asked(site: Site) -> None:
    """The Accept header chooses the format."""
    _, content_type, text = await site.get("/metrics", "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert "fvm_active_addresses" in [family.name for family in openmetrics(text)]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=abc", "text/plain;version=", ";;;", "*/*;q=x"])
async def test_an_odd_wish_for_a_format(site: Site, accept: str) -> None:
    """Whoever asks strangely gets figures all the same."""
    status, _, text = await site.get("/metrics", accept)
    assert (status, "fvm_active_addresses" in text) == (200, True)


async def test_one_read_a_scrape(site: Site) -> None:
    """One round trip, and nothing kept from the scrape before."""
    await site.scrape()
    before = site.redis.reads
    await site.scrape()
    await site.scrape()
    assert site.redis.reads == before + 2


@pytest.mark.parametrize("trouble", ["away", "slow"])
async def test_redis_away(site: Site, trouble: str) -> None:
    """HTTP 200, chain series absent, `pulse_redis_up` 0, the process's own series still there; then back by itself."""
    site.metrics.announce_network("devnet")
    if trouble == "away":
        site.redis.away = True
    else:
        site.redis.delay_seconds = 5
    series = await site.scrape()
    assert series["pulse_redis_up[]"] == 0
    assert not [name for name in series if name.startswith(("fvm_", "filecoin_", "pulse_head", "pulse_window"))]
    assert series["pulse_reorgs_total[('network', 'devnet')]"] == 0
    site.redis.away, site.redis.delay_seconds = False, 0
    series = await site.scrape()
    assert series["pulse_redis_up[]"] == 1
    assert series["fvm_active_addresses[('network', 'devnet'), ('window', '20e')]"] == 5


async def test_our_own_bug_ends_what_remembers() -> None:
    """At once, so that the process ends with it; that Redis is away does not."""
    fails: Iterator[Exception] = iter((StoreFault("away"), ZeroDivisionError()))

    async def read() -> Sequence[Snapshot]:
        raise next(fails)

    exporter = Exporter(read, registry=CollectorRegistry(), role="run", watches=watches(INDICATORS), trail=Trail(every_seconds=0.01))
    with pytest.raises(ZeroDivisionError):
        await exporter.remember()


async def test_our_own_bug_is_not_called_redis(site: Site) -> None:
    """A read that fails for another reason is a failed scrape, not an outage of Redis."""
    site.redis.bug = True
    assert (await site.get("/metrics"))[0] == 500


async def test_several_networks(site: Site) -> None:
    """Each family stands once, with a series per network."""
    site.redis.snapshots = [snapshot(), snapshot(network="calibration")]
    _, _, text = await site.get("/metrics")
    assert text.count("# TYPE fvm_active_addresses gauge") == 1
    assert 'fvm_active_addresses{network="calibration",window="20e"} 5.0' in text


async def test_every_metric_is_in_the_catalogue(site: Site) -> None:
    """The exposition and the catalogue tell of the same chain metrics."""
    _, _, text = await site.get("/metrics")
    own = {family.name for family in site.registry.collect()}
    found = {family.name for family in text_string_to_metric_families(text)} - own
    assert found <= {row.metric for row in ROWS}
    unread = {
        "fvm_project_growth_ratio",
        "fvm_deployment_growth_ratio",
        "fvm_deployer_growth_ratio",
        "pulse_first_epoch",
        *(row.metric for row in ROWS if row.group in {"redis", "pools", "flows"}),
    }
    assert {row.metric for row in ROWS} - found == unread - found


async def test_healthz_needs_nobody(site: Site) -> None:
    """The process is alive, whatever else is not."""
    site.redis.away = True
    assert (await site.get("/healthz"))[0] == 200
    before = site.redis.reads
    assert (await site.get("/healthz"))[0] == 200
    assert site.redis.reads == before


async def test_readyz(site: Site) -> None:
    """Ready means: following, Redis reachable, head fresh; each failure has its reason."""
    assert (await site.get("/readyz"))[0] == 200
    site.metrics.announce_endpoints(["node1"])
    assert await site.get("/readyz") == (503, "application/json; charset=utf-8", '{"ready": false, "reasons": ["no endpoint is up"]}')
    site.metrics.endpoint_up.labels("node1").set(1)
    assert (await site.get("/readyz"))[0] == 200
    for snapshots, reason in (
        ([snapshot(age_seconds=101)], "devnet: the newest tipset is 101 s old, allowed are 100 s"),
        ([snapshot(age_seconds=7200)], "devnet: the newest tipset is 2 h old, allowed are 100 s"),
        ([Snapshot("devnet")], "devnet: nothing is processed yet"),
        ([], "no network is known yet"),
    ):
        site.redis.snapshots = snapshots
        status, _, text = await site.get("/readyz")
        assert status == 503
        assert reason in text
    site.redis.away = True
    status, _, text = await site.get("/readyz")
    assert status == 503
    assert "Redis can not be read" in text


async def test_indicators(site: Site) -> None:
    """The same figures as JSON; without Redis an error, not an empty list."""
    status, content_type, text = await site.get("/api/indicators")
    assert status == 200
    assert content_type.startswith("application/json")
    assert '"indicator": "active_addresses"' in text
    site.redis.away = True
    assert (await site.get("/api/indicators"))[0] == 503


async def test_the_page(site: Site) -> None:
    """A person may look, with Redis or without."""
    status, content_type, text = await site.get("/")
    assert status == 200
    assert content_type.startswith("text/html")
    assert "Daily interactive addresses" in text
    site.redis.away = True
    status, _, text = await site.get("/")
    assert status == 200
    assert "Redis can not be read" in text


async def test_a_taken_port_is_told() -> None:
    """Listening fails loudly and leaves nothing behind."""
    exporter = Exporter(Redis().read, registry=CollectorRegistry(), role="export")
    runner = await exporter.serve("127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match="address already in use"):
            await exporter.serve("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
async def test_promtool_finds_nothing(site: Site) -> None:
    """Names, help and types pass Prometheus's own lint."""
    site.metrics.announce_network("devnet")
    site.metrics.announce_endpoints(["node1"])
    site.metrics.rpc_requests.labels("node1", "eth_getBlockReceipts", "ok").inc()
    site.metrics.rpc_seconds.labels("node1", "eth_getBlockReceipts").observe(0.1)
    _, _, text = await site.get("/metrics")
    found = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
