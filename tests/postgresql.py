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
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = Path("/usr/lib/postgresql")
WAIT_SECONDS = 30.0
# What is lost in a power cut is lost with the test anyway.
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database; skips the test, saying why, where none can be had."""
    programs = _programs()
    if programs is None:
        pytest.skip(
            "no PostgreSQL: initdb and postgres are neither in PATH nor where Debian has them"
        )
    user = _ordinary_user()
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-postgresql-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        cluster, port = folder / "cluster", free_port()
        _run(
            [
                programs / "initdb",
                "-D",
                cluster,
                "-U",
                "sluicegate",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "-N",
            ],
            user,
        )
        options = [f"-c{each}" for each in (*QUICK, "listen_addresses=127.0.0.1", f"port={port}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", cluster, "-k", folder, *options],
                user=user, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            url = f"postgresql+psycopg://sluicegate@127.0.0.1:{port}/postgres"
            _wait_for(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nobody needs it any more
            server.wait(WAIT_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    pytest.skip("no PostgreSQL: it does not run as root, and there is no other user here")


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(command, user=user, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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
