"""The systemd units, read by systemd itself; none is started."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
NAMES = sorted(path.name for path in UNITS.glob("*.service"))
COMMANDS = {"fvm-pulse": "run", "fvm-pulse-follow": "follow", "fvm-pulse-worker@": "worker", "fvm-pulse-export": "export"}
MOST_EXPOSED = 2.0
"""Of systemd's scale from 0 (locked in) to 10."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd")


def settings(name: str) -> list[str]:
    return [line for line in (UNITS / name).read_text().splitlines() if re.match(r"[A-Z]\w+=", line)]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would lie in /etc/systemd/system, with a command that exists here and the drop-ins for secrets."""
    for name in NAMES:
        text = (UNITS / name).read_text().replace("/opt/fvm-pulse/bin/fvm-pulse", str(Path(sys.executable).parent / "fvm-pulse"))
        (tmp_path / name).write_text(text)
    for name in ("fvm-pulse.service", "fvm-pulse-follow.service"):
        (tmp_path / f"{name}.d").mkdir()
        shutil.copy(UNITS / "node-token.conf", tmp_path / f"{name}.d")
    for name in ("fvm-pulse-follow.service", "fvm-pulse-worker@.service"):
        (tmp_path / f"{name}.d").mkdir(exist_ok=True)
        shutil.copy(UNITS / "kafka-password.conf", tmp_path / f"{name}.d")
    for name in NAMES:
        (tmp_path / f"{name}.d").mkdir(exist_ok=True)
        for drop_in in ("listen-password.conf", "listen-tls.conf"):
            shutil.copy(UNITS / drop_in, tmp_path / f"{name}.d")
    return tmp_path


def test_each_command_has_its_unit() -> None:
    """What runs for ever has a unit that starts it again, and starts it with its own command and port."""
    found = {name.removesuffix(".service"): settings(name) for name in NAMES}
    assert set(found) == set(COMMANDS)
    for name, lines in found.items():
        assert f"ExecStart=/opt/fvm-pulse/bin/fvm-pulse {COMMANDS[name]}" in lines
        assert "Restart=on-failure" in lines
        assert any("FVM_PULSE_LISTEN=127.0.0.1:" in line for line in lines)


def test_all_are_locked_in_alike() -> None:
    """The part of a unit that takes rights away is the same in all of them."""
    locks = {tuple(settings(name)[settings(name).index("DynamicUser=yes") :]) for name in NAMES}
    assert len(locks) == 1


@needs_systemd
@pytest.mark.parametrize("name", NAMES)
def test_systemd_understands_it(installed: Path, name: str) -> None:
    """No unknown setting, no bad value; a template is read as its instance."""
    path = installed / name
    if "@" in name:
        path = path.rename(installed / name.replace("@", "@9471"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", NAMES)
def test_it_exposes_little(installed: Path, name: str) -> None:
    """Systemd's own score of what the process could still do to the machine."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={int(MOST_EXPOSED * 10)}", "--no-pager", str(installed / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score is not None, done.stderr
    assert float(score[1]) <= MOST_EXPOSED, "\n".join(line for line in done.stdout.splitlines() if line.startswith("✗"))
