"""Redis servers of the benchmarks' own: the program that the product brings along, on a unix socket, keeping nothing."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from redis import Redis
from redis.exceptions import RedisError

from processors.embedded import find_server

STARTING_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running one."""

    socket: str
    process: psutil.Process

    @property
    def cpu_seconds(self) -> float:
        """What it has used of a processor."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def server(*, append_only: bool = False) -> Iterator[Server]:
    """A server that lives as long as the block; `append_only` as in the product's own, writes to a file once a second."""
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        socket = f"{folder}/redis.sock"
        options = ("--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder, "--databases", "1")
        keep = ("--appendonly", "yes" if append_only else "no")
        process = psutil.Popen([find_server(), *options, *keep], stdout=subprocess.DEVNULL)
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
