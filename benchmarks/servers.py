"""Redis servers of the tests' and the benchmarks' own: each listens on a unix socket in a folder of its own, and ends with it."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import RedisError

from processors.embedded import find_server

STARTING_SECONDS = 10.0


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has used of a processor."""
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Server:
    """A running one."""

    socket: str
    process: psutil.Process

    @property
    def cpu_seconds(self) -> float:
        """What it has used of a processor."""
        return cpu_seconds(self.process)


@contextmanager
def server(program: Path | None = None, *, append_only: bool = False) -> Iterator[Server]:
    """A server that lives as long as the block: the product's own program, or another.

    With `append_only` it writes to a file once a second, as the product's own does; else it keeps nothing.
    """
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        socket = f"{folder}/redis.sock"
        options = ("--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder, "--databases", "1")
        keep = ("--appendonly", "yes" if append_only else "no")
        process = psutil.Popen([program or find_server(), *options, *keep], stdout=subprocess.DEVNULL)
        try:
            _wait_for(socket)
            yield Server(socket, process)
        finally:
            process.kill()
            process.wait()


def _wait_for(socket: str) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    with Redis(unix_socket_path=socket) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return
