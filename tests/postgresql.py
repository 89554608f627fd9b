"""A real PostgreSQL for tests: a server of one's own, as an ordinary user, on a free port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam
from typing import TYPE_CHECKING, NoReturn

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = Path("/usr/lib/postgresql")
WAIT_SECONDS = 30.0


class Server:
    """A server with an empty database, not started yet; PostgreSQL refuses to be run by root."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self._folder = folder
        self._programs = programs
        self._user = user
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://sluicegate@127.0.0.1:{self._port}/postgres"
        if user is not None:
            shutil.chown(folder, user)
        made = (programs / "initdb", "-D", folder / "cluster", "-U", "sluicegate", "-A", "trust")
        done = subprocess.run(
            [*made, "-E", "UTF8", "--locale=C", "--no-sync"],
            user=user, cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        # What is lost in a power cut is lost with the test anyway.
        options = ("fsync=off", "listen_addresses=127.0.0.1", f"port={self._port}")
        postgres, cluster = self._programs / "postgres", self._folder / "cluster"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [postgres, "-D", cluster, "-k", self._folder, *(f"-c{each}" for each in options)],
                user=self._user, cwd=self._folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        _wait_for(self.url, self._process, self._folder / "log")

    def stop(self) -> None:
        """At once, as a machine that goes away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(WAIT_SECONDS)
            self._process = None


@contextmanager
def postgresql_server() -> Iterator[Server]:
    """A running server; skips the test, saying why, where none can be had, but never in CI."""
    programs, user = _programs(), _ordinary_user()
    if programs is None:
        _do_without("no PostgreSQL: `apt-get install postgresql` brings it")
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-postgresql-"))  # its user must get in
    try:
        server = Server(folder, programs, user)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database, as `postgresql_server`."""
    with postgresql_server() as server:
        yield server.url


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _programs() -> Path | None:
    """The folder with initdb and postgres, of the latest version on this machine."""
    versions = sorted(DEBIAN.glob("*/bin"), key=lambda each: float(each.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders = [*versions, *([Path(found).resolve().parent] if found else [])]
    return next((each for each in folders if (each / "postgres").exists()), None)


def _ordinary_user() -> str | None:
    """Whom to run as; None: as now. PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            getpwnam(name)
        except KeyError:
            continue
        return name
    _do_without("no PostgreSQL: it does not run as root, and there is no other user here")


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = create_engine(url)
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while True:
            try:
                engine.connect().close()
            except OperationalError:
                assert server.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.05)
            else:
                return
    finally:
        engine.dispose()
