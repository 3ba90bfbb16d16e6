"""Backup and restore of a Redis, by the words of docs/operations.md."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import servers
from tests.end_to_end.product import COMMAND

needs_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is missing: apt-get install redis-tools")
WINDOWS = ("--windows", "20e,120e")


@contextmanager
def server(*flags: str) -> Iterator[str]:
    """The socket of a server in `--dir`."""
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        socket = f"{folder}/redis.sock"
        process = subprocess.Popen([servers()["valkey"], "--port", "0", "--unixsocket", socket, *flags], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            with Redis(unix_socket_path=socket) as client:
                while True:
                    try:
                        client.ping()
                        break
                    except RedisError:
                        assert time.monotonic() < deadline
                        time.sleep(0.02)
            yield socket
        finally:
            process.terminate()
            process.wait()


def told(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(socket: str) -> Any:
    (network,) = json.loads(told(COMMAND, "indicators", "--json", "--redis-url", f"unix://{socket}"))["networks"]
    return [{name: value for name, value in one.items() if name != "age_seconds"} for one in network["indicators"]]


@needs_cli
@pytest.mark.timeout(180)
def test_a_dump_brings_every_figure_back(tmp_path: Path) -> None:
    """`redis-cli --rdb` while it runs; a server that starts on the dump, then keeps a file of what it appends; the same figures, kept."""
    (before, after) = (tmp_path / "before", tmp_path / "after")
    before.mkdir()
    after.mkdir()
    with server("--dir", str(before), "--appendonly", "yes") as socket:
        told(COMMAND, "replay", "devnet", "--listen", "127.0.0.1:0", "--replay-pace", "5000", "--redis-url", f"unix://{socket}", *WINDOWS)
        expected = figures(socket)
        told("redis-cli", "-s", socket, "--rdb", str(after / "dump.rdb"))
    assert any(window["value"] for indicator in expected for window in indicator["windows"].values())
    with server("--dir", str(after), "--appendonly", "no") as socket:
        assert figures(socket) == expected
        assert told("redis-cli", "-s", socket, "config", "set", "appendonly", "yes").strip() == "OK"
        deadline = time.monotonic() + 10
        while "aof_rewrite_in_progress:1" in told("redis-cli", "-s", socket, "info", "persistence"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with server("--dir", str(after), "--appendonly", "yes") as socket:
        assert figures(socket) == expected
