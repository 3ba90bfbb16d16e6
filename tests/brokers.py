"""A real Kafka for the tests: Apache Kafka in KRaft mode, its jars fetched once as Maven packages, pinned and checksummed."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from streams.brokers import Brokers
from tests import secured

VERSION = "4.4.0"
CHECKSUMS = Path(__file__).parent / "data" / "kafka.sha256"
CLUSTER = "fvm-pulse-tests-000000"
STARTING_SECONDS = 60.0
STOPPING_SECONDS = 20.0
HANGING_UP_SECONDS = 10.0

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>fvm-pulse</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.enable=false
"""


FORBIDDING = """listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="admin" password="admin" user_admin="admin";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
"""
"""For a broker that lets nobody but itself do anything: clients have no name, and names have no rights."""


class NoKafkaError(Exception):
    """There is no Kafka to be had on this machine; the sentence says what to install."""


def jars() -> Path:
    """The folder of jars, filled on the first call.

    Raises:
        NoKafkaError: Java or Maven is missing, or a jar is not what it should be.
    """
    if missing := [tool for tool in ("java", "mvn") if shutil.which(tool) is None]:
        raise NoKafkaError(
            f"tests with a real Kafka were skipped: {' and '.join(missing)} not found; install Java 17 and Maven"
            " (apt-get install openjdk-17-jre-headless maven)"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "fvm-pulse"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"kafka-{VERSION}"
    with (cache / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(folder)
        _verify(folder)
    return folder


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=folder.parent) as work:
        (Path(work) / "pom.xml").write_text(_POM)
        goal = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
        options = ("-DincludeScope=runtime", f"-DoutputDirectory={work}/jars")
        done = subprocess.run(["mvn", "-q", "-B", goal, *options], cwd=work, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise NoKafkaError(
                f"tests with a real Kafka were skipped: Maven can not fetch its jars ({done.stdout.strip()[:200]});"
                " check the network and Maven's settings.xml"
            )
        Path(work, "jars").rename(folder)


def _verify(folder: Path) -> None:
    expected = {name: digest for digest, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        raise NoKafkaError(f"tests with a real Kafka were skipped: {wrong[0]} in {folder} is not what was pinned; remove the folder")


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Broker:
    """One node that is broker and controller; its data outlive a `stop`.

    Args:
        folder: for its configuration, log and data.
        more: further lines of its configuration.
        storage: how its storage is formatted, beyond what is needed.
    """

    def __init__(self, folder: Path, more: str = "", storage: Sequence[str] = ()) -> None:
        self.port, self.named_port, self.mutual_port = free_port(), free_port(), free_port()
        self.folder = folder
        self._jars = jars()
        self._process: subprocess.Popen[bytes] | None = None
        ports = {"port": self.port, "named": self.named_port, "mutual": self.mutual_port, "controller": free_port()}
        (folder / "server.properties").write_text((_PROPERTIES + more).format(folder=folder, **ports))
        where = ("-t", CLUSTER, "-c", str(folder / "server.properties"))
        self._java("kafka.tools.StorageTool", "format", "--ignore-formatted", *where, *storage)

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def brokers(self) -> Brokers:
        """The same for clients of ours."""
        return Brokers((self.address,))

    @property
    def process(self) -> psutil.Process:
        """What runs."""
        if self._process is None:
            raise RuntimeError("Kafka does not run")
        return psutil.Process(self._process.pid)

    def named(self, **changes: Any) -> dict[str, Any]:
        """Settings for the listener that asks for a name and a password."""
        return secured.named(self.folder, self.named_port, **changes)

    def mutual(self, **changes: Any) -> dict[str, Any]:
        """Settings for the listener that asks for a certificate."""
        return secured.mutual(self.folder, self.mutual_port, **changes)

    def _command(self, *arguments: str) -> list[str]:
        options = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        return ["java", *options, "-cp", f"{self._jars}/*", *arguments]

    def _java(self, *arguments: str) -> None:
        subprocess.run(self._command(*arguments), check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "broker.log").open("ab") as said:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(self.folder / "server.properties")), stdout=said, stderr=said, start_new_session=True
            )
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with socket.socket() as one:
                one.settimeout(1)
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"Kafka did not start: {(self.folder / 'broker.log').read_text()[-2000:]}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Connections stay open meanwhile, and nothing is answered."""
        process = self.process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    async def hung_up(self) -> None:
        """Wait until this process has no connection to it.

        aiokafka does not wait for the end of one that is refused, which with TLS is the broker's to say; the loop has to live so long.
        """
        ports, deadline = {self.port, self.named_port, self.mutual_port}, time.monotonic() + HANGING_UP_SECONDS
        while time.monotonic() < deadline:
            if not any(getattr(one.raddr, "port", None) in ports for one in psutil.Process().net_connections("tcp")):
                return
            await asyncio.sleep(0.02)
        raise RuntimeError(f"connections to Kafka are still open {HANGING_UP_SECONDS} s after the test")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it; with SIGKILL as a machine that lost its power."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def required() -> bool:
    """Whether these tests must run, so that nothing is skipped unseen."""
    return os.environ.get("CI") == "true" or os.environ.get("TESTS_REQUIRE_KAFKA") == "1"


@pytest.fixture(scope="session")
def lasting_kafka() -> Iterator[Broker]:
    """A broker for the whole session, with listeners of every kind."""
    with _required(running(secured.PROPERTIES)) as broker:
        yield broker


@pytest.fixture
async def kafka(lasting_kafka: Broker) -> AsyncIterator[Broker]:
    """It for one test. A test that stops it starts it again."""
    yield lasting_kafka
    await lasting_kafka.hung_up()


@pytest.fixture
def forbidding() -> Iterator[Broker]:
    """A broker on which we may do nothing."""
    with _required(running(FORBIDDING)) as broker:
        yield broker


@contextmanager
def running(more: str = "") -> Iterator[Broker]:
    """A broker with these further lines of configuration, which lives as long as the block.

    Raises:
        NoKafkaError: what it needs is not there.
    """
    with tempfile.TemporaryDirectory(prefix="kafka-") as folder:
        secured.make_certificates(Path(folder))
        broker = Broker(Path(folder), more, ("--add-scram", secured.SCRAM))
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


@contextmanager
def _required(started: AbstractContextManager[Broker]) -> Iterator[Broker]:
    try:
        with started as broker:
            yield broker
    except NoKafkaError as reason:
        if required():
            pytest.fail(str(reason).replace("were skipped", "can not run"), pytrace=False)
        pytest.skip(str(reason))
