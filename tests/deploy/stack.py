"""A real Prometheus, a real Alertmanager, and whoever they tell, on the loopback."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from streams.replay import ReplayNode
from tests.end_to_end.product import free_port, product

DEPLOY = Path(__file__).parents[2] / "deploy"
STARTING_SECONDS = 20.0

needs_stack = pytest.mark.skipif(
    not all(map(shutil.which, ("prometheus", "prometheus-alertmanager"))),
    reason="prometheus or prometheus-alertmanager is missing: apt-get install prometheus prometheus-alertmanager",
)


class Receiver:
    """A webhook that remembers what it was told, by path."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    async def _take(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret-of-the-test"
        self.told.extend((request.path, alert) for alert in (await request.json())["alerts"])
        return web.Response()

    def about(self, path: str, status: str, **labels: str) -> list[dict[str, Any]]:
        """The alerts told to `path` with this status and these labels."""
        return [alert for to, alert in self.told if to == path and alert["status"] == status and labels.items() <= alert["labels"].items()]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        """Listen on the loopback."""
        app = web.Application()
        app.router.add_post("/{name}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _server(folder: Path, port: int, *command: object) -> AsyncIterator[str]:
    """A server that says when it is ready; ended with the block."""
    log = (folder / "log").open("wb")
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(STARTING_SECONDS), aiohttp.ClientSession() as session:
            while True:
                assert process.returncode is None, (folder / "log").read_text()
                try:
                    async with session.get(f"{url}/-/ready") as response:
                        if response.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        yield url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        log.close()


@asynccontextmanager
async def alertmanager(folder: Path, receiver: Receiver) -> AsyncIterator[str]:
    """Alertmanager with our configuration, but in a hurry, and with receivers that are there."""
    folder.mkdir()
    config = yaml.safe_load((DEPLOY / "alertmanager/alertmanager.yml").read_text())
    token = folder / "token"
    token.write_text("secret-of-the-test")
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "300ms", "group_interval": "500ms"}
    access = {"authorization": {"credentials_file": str(token)}}
    config["receivers"] = [
        {"name": name}
        if name == "nobody"
        else {"name": name, "webhook_configs": [{"url": f"{receiver.url}/{name}", "http_config": access}]}
        for name in (one["name"] for one in config["receivers"])
    ]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    flags = (f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}")
    async with _server(folder, port, "prometheus-alertmanager", *flags, "--cluster.listen-address=", "--log.level=warn") as url:
        yield url


def hurried(rules: dict[str, Any]) -> dict[str, Any]:
    """The same rules, evaluated twice a second, with waits of a second."""
    for group in rules["groups"]:
        group["interval"] = "500ms"
        for rule in group["rules"]:
            for wait in {"for", "keep_firing_for"} & set(rule):
                rule[wait] = "1s"
    return rules


@asynccontextmanager
async def prometheus(folder: Path, target: str, alertmanager_url: str) -> AsyncIterator[str]:
    """Prometheus with our rules in a hurry, scraping `target` every second under the name of our job."""
    folder.mkdir()
    for path in (DEPLOY / "prometheus/rules").glob("*.yaml"):
        (folder / path.name).write_text(yaml.safe_dump(hurried(yaml.safe_load(path.read_text()))))
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
        "rule_files": [f"{folder}/*.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager_url.removeprefix("http://")]}]}]},
        "scrape_configs": [{"job_name": "fvm-pulse", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    flags = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}")
    async with _server(folder, port, "prometheus", *flags, "--rules.alert.resend-delay=500ms", "--log.level=warn") as url:
        yield url


@asynccontextmanager
async def under_watch(folder: Path, settings: str, node: ReplayNode) -> AsyncIterator[tuple[str, Receiver]]:
    """The product behind a node that is not started yet, and who watches it: the URL of Prometheus, and whom Alertmanager tells."""
    (folder / "pulse.toml").write_text(settings)
    port = free_port()
    async with (
        Receiver().serving() as receiver,
        alertmanager(folder / "alertmanager", receiver) as manager,
        prometheus(folder / "prometheus", f"127.0.0.1:{port}", manager) as url,
        node,
        product("--node", node.url, "--config", str(folder / "pulse.toml"), "--data-dir", str(folder / "data"), port=port),
    ):
        yield url, receiver
