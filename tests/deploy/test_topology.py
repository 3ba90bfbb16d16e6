"""The compose file's services, run as they are described, without containers."""

import asyncio
import shutil
from pathlib import Path

import aiohttp
import pytest
import trustme
from pydantic import SecretStr

from streams.listening import Door
from tests.brokers import Broker
from tests.deploy.topology import OURS, Topology, compose_command, resolved, running

PATIENCE_SECONDS = 90.0

pytestmark = [
    pytest.mark.skipif(compose_command() is None, reason="no Compose here: install the dependency group `check`"),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is missing: apt-get install prometheus"),
    pytest.mark.timeout(180),
]


async def query(topology: Topology, expression: str) -> dict[str, float]:
    """What Prometheus answers, by instance."""
    url = f"http://127.0.0.1:{topology.ports['prometheus'][0]}/api/v1/query"
    async with aiohttp.ClientSession() as session, session.get(url, params={"query": expression}) as response:
        answer = await response.json()
    return {one["metric"].get("instance", ""): float(one["value"][1]) for one in answer["data"]["result"]}


async def until(topology: Topology, expression: str, instances: set[str]) -> None:
    """Wait until Prometheus finds it true of these; a follower that leads shows figures too."""
    found: dict[str, float] = {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not instances <= set(found):
                topology.check()
                await asyncio.sleep(0.5)
                try:
                    found = await query(topology, expression)
                except aiohttp.ClientError:
                    continue
    except TimeoutError:
        said = topology.log.read_text(errors="replace")[-6000:]
        pytest.fail(f"{expression} is true of {found}, expected of {instances}:\n{said}")


def instances(topology: Topology, *names: str) -> set[str]:
    return {f"127.0.0.1:{port}" for name in names for port in topology.ports[name]}


async def served(topology: Topology, *, exporter: str, door: Door | None = None) -> None:
    """Every process of ours is scraped, the rules see figures, the page shows them to whom the door lets in."""
    ours = [name for name, service in topology.services.items() if service["image"] == OURS]
    await until(topology, 'up{job="fvm-pulse"} == 1', instances(topology, *ours))
    await until(topology, 'up{job="prometheus"} == 1', instances(topology, "prometheus"))
    await until(topology, 'fvm_active_addresses{window="24h"} >= 1', instances(topology, exporter))
    await until(topology, "pulse_redis_up == 1", instances(topology, *ours))
    await until(topology, 'max(fvm:indicator:value{indicator="active_addresses"}) or vector(0) > 0', {""})
    if shutil.which("prometheus-alertmanager"):
        await until(topology, 'up{job="alertmanager"} == 1', instances(topology, "alertmanager"))
    door = door or Door()
    url = f"{door.scheme}://127.0.0.1:{topology.ports[exporter][0]}/"
    entitled = {"Authorization": door.authorization} if door.authorization else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=entitled, ssl=door.client() or True) as response:
        page = await response.text()
    assert "Daily interactive addresses" in page
    assert "● up" in page


async def test_embedded(tmp_path: Path) -> None:
    """Profile `embedded`: one process, figures in Prometheus."""
    async with running(resolved("embedded", REPLAY="1"), tmp_path) as topology:
        await served(topology, exporter="pulse")


async def test_a_password_and_tls(tmp_path: Path) -> None:
    """The same with both, from files: Prometheus comes in with the configuration for it, and others do not."""
    trustme.CA().issue_cert("pulse").private_key_and_cert_chain_pem.write_to_path(tmp_path / "certificate")
    (tmp_path / "password").write_text("planted\n")
    files = {"LISTEN_CERTIFICATE_FILE": "certificate", "LISTEN_KEY_FILE": "certificate", "LISTEN_PASSWORD_FILE": "password"}
    compose = resolved("embedded", REPLAY="1", LISTEN_USERNAME="prometheus", **{key: str(tmp_path / name) for key, name in files.items()})
    door = Door(tmp_path / "certificate", None, "prometheus", SecretStr("planted"))
    async with running(compose, tmp_path) as topology:
        await served(topology, exporter="pulse", door=door)
        url = f"https://127.0.0.1:{topology.ports['pulse'][0]}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=door.client() or True) as response:
            assert response.status == 401


@pytest.mark.kafka
async def test_full(tmp_path: Path, kafka: Broker) -> None:
    """Profile `full`: followers, workers, exporter, a Redis and a Kafka; the same figures."""
    async with running(resolved("full", REPLAY="1"), tmp_path, kafka.address) as topology:
        await served(topology, exporter="exporter")
