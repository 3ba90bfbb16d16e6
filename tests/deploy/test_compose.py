"""The compose file and the image: what can be checked without a container engine."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.settings import load
from tests.deploy.topology import DEPLOY, OURS, compose_command, image_environment, resolved
from tests.secured import make_certificates

PROFILES = ("embedded", "full")
COMMANDS = {"pulse": "run", "follower": "follow", "worker": "worker", "exporter": "export"}
needs_compose = pytest.mark.skipif(compose_command() is None, reason="no Compose here: install the dependency group `check`")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = resolved(*PROFILES)["services"]
    return found


@needs_compose
def test_services_are_hardened_and_checked(services: dict[str, Any]) -> None:
    """Nothing writable but volumes, no privileges, limits, a restart, loopback ports, a health check; ours have the image's."""
    for name, service in services.items():
        assert service.get("read_only") or name == "kafka"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
        assert "healthcheck" in service or service["image"] == OURS
    assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()


@needs_compose
def test_images_are_pinned(services: dict[str, Any]) -> None:
    """A whole version each, and a digest wherever one is known."""
    for name, service in services.items():
        if service["image"] != OURS:
            assert re.search(r":v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?$", service["image"])
            assert "@" in service["image"] or name == "redis"


@needs_compose
@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_whole(profile: str) -> None:
    """What a service waits for, and every name that Prometheus or a setting speaks of, is of the same profile."""
    services = resolved(profile)["services"]
    names = {*services, *(alias for one in services.values() for alias in ((one["networks"].get("default") or {}).get("aliases") or []))}
    assert {"prometheus", "alertmanager", "grafana"} < names
    assert {other for service in services.values() for other in service.get("depends_on") or {}} <= names
    for service in services.values():
        if service["image"] == OURS:
            assert {
                found[1] for value in service["environment"].values() for found in re.finditer(r"(?:^|//)(\w+):\d{4}\b", value)
            } <= names
    assert "pulse" in names
    config = prometheus_config()
    assert {target.split(":")[0] for target in _targets(config)} <= {*names, "127.0.0.1"}


def prometheus_config(name: str = "prometheus.yml") -> dict[str, Any]:
    """One of Prometheus's configurations."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())
    return found


def test_with_tls_all_else_is_the_same() -> None:
    """The two configurations of Prometheus differ in how our processes are reached, and in nothing else."""
    plain, secured = prometheus_config(), prometheus_config("prometheus-tls.yml")
    (ours,) = (job for job in secured["scrape_configs"] if job["job_name"] == "fvm-pulse")
    assert (ours.pop("scheme"), ours.pop("tls_config")["server_name"]) == ("https", "pulse")
    assert secured == plain


@needs_compose
def test_a_password_and_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They reach every process that serves, and Prometheus, as files; it comes with the configuration for TLS."""
    make_certificates(tmp_path)
    (tmp_path / "password").write_text("planted\n")
    files = {"LISTEN_CERTIFICATE_FILE": "broker.pem", "LISTEN_KEY_FILE": "broker.pem", "LISTEN_PASSWORD_FILE": "password"}
    found = resolved(*PROFILES, LISTEN_USERNAME="prometheus", **{key: str(tmp_path / name) for key, name in files.items()})
    for service in found["services"].values():
        mounted = {one["target"]: found["secrets"][one["source"]]["file"] for one in service.get("secrets", [])}
        if service["image"] != OURS:
            continue
        with monkeypatch.context() as inside:
            for key, value in service["environment"].items():
                if key.startswith("FVM_PULSE_LISTEN"):
                    inside.setenv(key, mounted.get(value, value or ""))
            door = load().door
        assert (door.username, door.lets_in("Basic cHJvbWV0aGV1czpwbGFudGVk"), door.server() is None) == ("prometheus", True, False)
    prometheus = found["services"]["prometheus"]
    assert "--config.file=/etc/prometheus/prometheus-tls.yml" in prometheus["command"]
    assert {one["target"] for one in prometheus["secrets"]} == {"/run/secrets/listen-password", "/run/secrets/listen-certificate"}


@needs_compose
@pytest.mark.parametrize("profile", PROFILES)
def test_the_example_can_be_used_as_it_is(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of `.env.example` that nobody edited changes nothing, and every process accepts its settings."""
    example = dict(line.split("=", 1) for line in (DEPLOY / ".env.example").read_text().splitlines() if re.match("[A-Z_]+=", line))
    found = resolved(profile, **{key: value for key, value in example.items() if key != "COMPOSE_PROFILES"})
    assert found == resolved(profile)
    for service in found["services"].values():
        if service["image"] == OURS:
            with monkeypatch.context() as inside:
                for key, value in service["environment"].items():
                    inside.setenv(key, "" if key == "FVM_PULSE_TOKEN_FILES" else value or "")
                assert load().door.scheme == "http"


def _targets(config: dict[str, Any]) -> Iterator[str]:
    for job in config["scrape_configs"]:
        for static in job["static_configs"]:
            yield from static["targets"]


@needs_compose
def test_every_process_runs_its_command(services: dict[str, Any]) -> None:
    """Embedded and distributed: the right command each, one Redis, one Kafka and the same windows for all that share."""
    ours = {name: service for name, service in services.items() if service["image"] == OURS}
    assert {name: service["command"][0] for name, service in ours.items()} == COMMANDS
    shared = [service["environment"] for name, service in ours.items() if name != "pulse"]
    for key in ("FVM_PULSE_REDIS_URL", "FVM_PULSE_KAFKA_BROKERS", "FVM_PULSE_WINDOWS"):
        assert len({environment[key] for environment in shared}) == 1


@needs_compose
def test_a_profile_must_be_chosen() -> None:
    """Without one there is no service, so that nobody starts the watchers alone."""
    assert resolved().get("services") in (None, {})


@needs_compose
@pytest.mark.parametrize("replay", ["", "1"])
def test_replay_needs_no_network(replay: str) -> None:
    """REPLAY=1 chooses the recording, whatever NODE says."""
    for name, service in resolved(*PROFILES, REPLAY=replay, NODE="ws://far/").get("services", {}).items():
        if name in {"pulse", "follower"}:
            assert service["command"][1:] == (["--node", "replay:devnet"] if replay else [])


@needs_compose
def test_a_secured_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables for it, and the files as secrets, reach those that speak with it, and can be used by the program itself."""
    make_certificates(tmp_path)
    (tmp_path / "password").write_text("planted\n")
    files = {"KAFKA_PASSWORD_FILE": str(tmp_path / "password"), "KAFKA_CA_FILE": str(tmp_path / "ca.pem")}
    found = resolved("full", KAFKA_BROKERS="k:9093", KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_USERNAME="pulse", **files)
    for name in ("follower", "worker"):
        service = found["services"][name]
        mounted = {one["target"]: found["secrets"][one["source"]]["file"] for one in service["secrets"]}
        with monkeypatch.context() as inside:
            for key, value in service["environment"].items():
                if key.startswith("FVM_PULSE_KAFKA"):
                    inside.setenv(key, mounted.get(value, value or ""))
            settings = load()
        assert (str(settings.brokers), settings.brokers.username, settings.secrets) == ("k:9093", "pulse", ("planted",))
        assert settings.brokers.ca_file == tmp_path / "ca.pem"
    assert not [key for key in found["services"]["exporter"]["environment"] if "KAFKA_PASSWORD" in key]


@needs_compose
def test_files_exist_and_secrets_are_files() -> None:
    """Every path of the project that a container sees; no secret is in the environment."""
    found = resolved(*PROFILES)
    for service in found["services"].values():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or Path(volume["source"]).exists()
        assert not [key for key in service.get("environment") or {} if re.search("TOKEN$|PASSWORD$|SECRET$", key)]
    for secret in found["secrets"].values():
        assert Path(secret["file"]).is_file()


def test_the_example_names_every_variable() -> None:
    """`.env.example` and the compose file know the same variables, with the same defaults."""
    text = (DEPLOY / "compose.yaml").read_text()
    # ${NAME:-default}, and ${NAME:+instead} where only whether it is set counts.
    used = {found[1]: found[2] for found in re.finditer(r"\$\{([A-Z_]+):-([^}]*)\}", text)}
    used |= {found[1]: "" for found in re.finditer(r"\$\{([A-Z_]+):\+", text)}
    named = dict(line.split("=", 1) for line in (DEPLOY / ".env.example").read_text().splitlines() if re.match("[A-Z_]+=", line))
    assert named.pop("COMPOSE_PROFILES") == "embedded"
    assert used == named


def test_the_image_runs_as_nobody_special() -> None:
    """A numeric user, several stages, exec forms, nothing written but under its data folder."""
    text = (DEPLOY / "Dockerfile").read_text()
    assert "USER 10001:10001" in text
    assert text.count("\nFROM ") == 2
    assert re.search(r"^ENTRYPOINT \[", text, re.MULTILINE)
    environment = image_environment()
    assert environment["FVM_PULSE_DATA_DIR"] in re.findall(r"^VOLUME (\S+)$", text, re.MULTILINE)
    assert environment["FVM_PULSE_LISTEN"] == "0.0.0.0:9464"


def test_hadolint_finds_nothing() -> None:
    """The linter of Dockerfiles, with every rule."""
    command = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("hadolint is missing: install the dependency group `check`")
    done = subprocess.run([command, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
