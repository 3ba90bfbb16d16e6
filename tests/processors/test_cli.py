"""The command as a person meets it: a real process, its exit code, and one line where something is wrong."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

COMMANDS = ("run", "follow", "worker", "replay", "export", "indicators", "doctor", "classify", "render", "backfill", "audit")


def _start(*arguments: str, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FVM_PULSE_")}
    return subprocess.Popen(
        [sys.executable, "-c", "from processors.cli import main; main()", *arguments],
        cwd=cwd,
        env={**clean, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    process = _start(*arguments, cwd=cwd, **environment)
    output, complaint = process.communicate(timeout=30)
    return process.returncode, output, complaint


def test_help_names_every_command(tmp_path: Path) -> None:
    """Without arguments, and with --help, the commands are listed."""
    for arguments in ((), ("--help",)):
        code, output, complaint = _run(*arguments, cwd=tmp_path)
        assert (code, complaint) == (0, "")
        assert set(re.findall(r"│ ([a-z]+) ", output)) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, tmp_path: Path) -> None:
    """`--help` of a command tells its flags and touches nothing."""
    code, output, complaint = _run(command, "--help", cwd=tmp_path)
    assert (code, complaint) == (0, "")
    assert f"fvm-pulse {command}" in output
    assert list(tmp_path.iterdir()) == []


def test_the_version(tmp_path: Path) -> None:
    """As the installed distribution has it."""
    assert _run("--version", cwd=tmp_path) == (0, f"fvm-pulse {metadata.version('fvm-pulse')}\n", "")


BAD_USAGE = [
    (("run", "--node", "http://127.0.0.1:1234/rpc/v1"), {}, "--node: 'http://127.0.0.1:1234/rpc/v1' is not a websocket URL"),
    (("run", "--windows", "5x"), {}, "--windows: '5x' is not a window: allowed are <n>e"),
    (("run", "--listen", "here"), {}, "--listen: 'here' is not HOST:PORT"),
    (("run", "--chain-id", "main"), {}, "--chain-id: 'main' is not allowed"),
    (("run", "--config", "absent.toml"), {}, "absent.toml can not be read"),
    (("run",), {"FVM_PULSE_WINDOW": "1h"}, "unknown key 'FVM_PULSE_WINDOW': did you mean FVM_PULSE_WINDOWS?"),
    (("run",), {"FVM_PULSE_LISTEN": "h:99999"}, "FVM_PULSE_LISTEN: 'h:99999' is not HOST:PORT"),
    (("doctor", "--redis-url", "http://h"), {}, "--redis-url: 'http://h' is not a Redis URL"),
    (("export",), {}, "redis_url: needed"),
    (("run", "--data-dir", "~nosuchuser/x"), {}, "--data-dir: '~nosuchuser/x' is no path here: ~nosuchuser is nobody's home"),
    (("run", "--config", "~nosuchuser/x"), {}, "--config: '~nosuchuser/x' is no path here"),
    (("replay", "~nosuchuser/x"), {}, "recording: '~nosuchuser/x' is no path here"),
    (("export", "--redis-url", "redis://h/0?nonsense=planted"), {}, "redis_url: redis://h/0?***: nonsense can not be used so"),
    (("doctor", "--redis-url", "redis://h?socket_timeout=planted"), {}, "redis_url: redis://h?***: socket_timeout can not be used so"),
    (("run", "--nope"), {}, "No such option: --nope"),
    (("census",), {}, "No such command 'census'"),
    (("replay",), {}, "Missing argument 'FILE'"),
]


@pytest.mark.parametrize("arguments,environment,sentence", BAD_USAGE)
def test_bad_usage_is_one_line_and_exit_2(arguments: tuple[str, ...], environment: dict[str, str], sentence: str, tmp_path: Path) -> None:
    """What the person got wrong is told in one line on stderr; nothing was started."""
    code, output, complaint = _run(*arguments, cwd=tmp_path, **environment)
    assert (code, output) == (2, "")
    assert sentence in complaint
    assert complaint.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_file_of_the_working_directory_is_read(tmp_path: Path) -> None:
    """`fvm-pulse.toml` counts without being named; a mistake in it names it."""
    (tmp_path / "fvm-pulse.toml").write_text('widnows = ["1h"]\n', encoding="utf-8")
    code, _, complaint = _run("run", cwd=tmp_path)
    assert (code, complaint) == (2, "fvm-pulse: fvm-pulse.toml: unknown key 'widnows': did you mean windows?\n")


def test_indicators_without_a_running_process(tmp_path: Path) -> None:
    """Nothing to ask is a failure, told in one line that says how to get it."""
    code, _, complaint = _run("indicators", "--listen", "127.0.0.1:1", cwd=tmp_path)
    assert code == 1
    assert complaint.count("\n") == 1
    assert "no fvm-pulse answers at 127.0.0.1:1" in complaint


def test_doctor_fails_with_advice(tmp_path: Path) -> None:
    """A node that is away: the table says so and what to do; exit code 1, no traceback, no secret."""
    code, output, complaint = _run(
        *("doctor", "--node", "own=ws://127.0.0.1:1/rpc/v1", "--data-dir", str(tmp_path)), cwd=tmp_path, FVM_PULSE_TOKEN="planted"
    )
    assert (code, complaint) == (1, "")
    assert "→ is the node up" in output
    assert "planted" not in output


@pytest.mark.parametrize(
    "config, complains",
    [("[thresholds.nope]\nwarn = 1", "thresholds.nope: no such indicator"), ('registry = "nope.yaml"', "nope.yaml")],
)
def test_doctor_refuses_what_run_refuses(tmp_path: Path, config: str, complains: str) -> None:
    """Thresholds and contracts are looked at before any node is asked."""
    (tmp_path / "fvm-pulse.toml").write_text(config)
    code, _, complaint = _run("doctor", "--node", "ws://127.0.0.1:1/rpc/v1", cwd=tmp_path)
    assert code == 2
    assert complains in complaint
    assert complaint.count("\n") == 1


@pytest.mark.slow
def test_replay_shows_the_end_and_keeps_nothing(tmp_path: Path) -> None:
    """The recording runs to its end, the table has every kept window, and no data are left behind."""
    (tmp_path / "tmp").mkdir()
    code, output, complaint = _run(
        *("replay", "devnet", "--windows", "120e,400e", "--listen", "127.0.0.1:0", "--replay-pace", "5000", "--log-level", "error"),
        cwd=tmp_path,
        HOME=str(tmp_path),
        TMPDIR=str(tmp_path / "tmp"),
    )
    assert (code, complaint) == (0, "")
    assert "testing, newest tipset" in output
    watched, *shares = [line for line in output.splitlines() if "FEVM share of gas" in line]
    assert "windows has 120e,400e, not 24h" in watched
    assert [window for line in shares for window in ("120e", "400e") if window in line] == ["120e", "400e"]
    assert all("%" in line for line in shares)
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


@pytest.mark.slow
def test_replay_into_a_redis_and_indicators_out_of_it(redis: object, redis_socket: str, tmp_path: Path) -> None:
    """What a replay leaves in a Redis, `indicators --redis-url` shows, as a table and as JSON."""
    flags = ("--redis-url", f"unix://{redis_socket}")
    code, output, _ = _run(
        *("replay", "devnet", "--windows", "120e", "--listen", "127.0.0.1:0", "--replay-pace", "5000", "--log-level", "error", *flags),
        cwd=tmp_path,
    )
    assert code == 0
    code, shown, complaint = _run("indicators", *flags, cwd=tmp_path)
    assert (code, complaint) == (0, "")
    assert shown.splitlines()[1:] == output.splitlines()[1:]  # the first line tells the age
    code, shown, complaint = _run("indicators", "--json", *flags, cwd=tmp_path)
    (network,) = json.loads(shown)["networks"]
    assert network["network"] == "testing"
    # Some have no window of their own, and some are smoothed.
    assert {window for row in network["indicators"] for window in row["windows"]} == {"120e", "", "smoothed"}


def test_indicators_of_an_empty_redis(redis_socket: str, redis: object, tmp_path: Path) -> None:
    """Nothing yet is no failure."""
    assert _run("indicators", "--redis-url", f"unix://{redis_socket}", cwd=tmp_path) == (0, "nothing is processed yet\n", "")
