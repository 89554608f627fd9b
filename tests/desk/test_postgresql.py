"""The desk on a real PostgreSQL server, started here as a user without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from tests.desk.desk import RunningDesk

from sluicegate.desk import audit, queue
from sluicegate.desk.keeper import keep
from sluicegate.desk.queue import Filters
from sluicegate.desk.roles import Role
from sluicegate.desk.tables import MeasureRow
from sluicegate.liaison.database import Base
from sluicegate.liaison.schema import writing
from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
WITHOUT_RIGHTS = "nobody"
START_SECONDS = 30.0

pytestmark = pytest.mark.skipif(
    not PROGRAMS and os.environ.get("CI") != "true",
    reason="there is no PostgreSQL: `apt-get install postgresql` brings it",
)


class Server:
    """A PostgreSQL server on a port of its own; it does not run as root."""

    def __init__(self, folder: Path) -> None:
        self._bin = PROGRAMS[0].parent
        self._data = folder / "data"
        self._user = WITHOUT_RIGHTS if os.geteuid() == 0 else None
        self.port = free_port()
        self.url = f"postgresql+psycopg://sluicegate@127.0.0.1:{self.port}/postgres"
        if self._user is not None:
            ids = pwd.getpwnam(self._user)
            os.chown(folder, ids.pw_uid, ids.pw_gid)
        made = ("initdb", "-D", self._data, "-U", "sluicegate", "-A", "trust", "--no-sync")
        subprocess.run(
            [self._bin / made[0], *made[1:], "-E", "UTF8", "--locale=C"],
            user=self._user, cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
        }
        asked = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *asked],
            user=self._user, cwd=self._folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        asks = str(self._bin / "pg_isready")
        ready = [asks, "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as a machine that goes away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="sluicegate-pg-"))  # its user must be able to enter
    made = Server(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def desk(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    with RunningDesk(tmp_path_factory.mktemp("desk"), server.url) as running:
        yield running


def test_migrations_make_the_tables_that_are_declared(desk: RunningDesk) -> None:
    with desk.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_database_refuses_changes_of_the_audit(desk: RunningDesk) -> None:
    for change in (
        "UPDATE desk_audit SET person = 'x'",
        "DELETE FROM desk_audit",
        "TRUNCATE desk_audit",
    ):
        with pytest.raises(DBAPIError, match="only ever added"), desk.engine.begin() as connection:
            connection.execute(text(change))


def test_of_many_who_claim_at_once_one_gets_each_case_and_the_chain_holds(
    desk: RunningDesk,
) -> None:
    cases = [desk.case(f"62220000000000070{n:02}") for n in range(6)]

    def claim_all(person: int) -> list[str]:
        won = []
        for case_id in cases:
            with writing(desk.engine) as session:
                if queue.claim(session, case_id, person, desk.now()):
                    act = audit.Act(desk.now(), str(person), "-", "claimed", case_id, {"说明": 1})
                    audit.append(session, act)
                    won.append(case_id)
        return won

    with ThreadPoolExecutor(8) as pool:
        won = [case_id for each in pool.map(claim_all, range(1, 9)) for case_id in each]
    assert sorted(won) == sorted(cases)
    with Session(desk.engine) as session:
        assert audit.verify(audit.entries(session), audit.head_of(session)) is None


def test_a_stop_payment_goes_its_way(desk: RunningDesk) -> None:
    case_id = desk.case("6222000000000007077", 90_000_000)
    with desk.signed_in(Role.BANK_OFFICER) as officer, desk.signed_in(Role.SUPERVISOR) as second:
        assert officer.post("/desk/next").headers["location"] == f"/desk/cases/{case_id}"
        officer.post(
            f"/desk/cases/{case_id}/measures", measure="stop_payment", basis="emergency",
            reason="资金正在转移", hours="48",
        )  # fmt: skip
        with Session(desk.engine) as session:
            (row,) = session.query(MeasureRow).filter_by(case_id=case_id)
        second.post(f"/desk/measures/{row.id}/decide", decision="approve")
        keep(desk.engine, desk.settings, desk.now() + timedelta(hours=48, minutes=1))
        assert "措施到期" in officer.get(f"/desk/cases/{case_id}").text
        for path in ("", "/rows", "/measures", "/lists"):
            assert officer.get(f"/desk{path}").status_code == 200
        assert second.get("/desk/audit").status_code == 200
    with Session(desk.engine) as session:
        filters = Filters(least="1.00", account="6222", pattern="pass-through")
        assert queue.count(session, filters, 0) == len(queue.worst(session, filters, 0, desk.now()))


def test_while_the_server_is_away_the_page_says_so_and_then_all_is_as_before(
    desk: RunningDesk, server: Server
) -> None:
    with desk.signed_in(Role.BANK_OFFICER) as officer:
        server.stop()
        away = officer.get("/desk")
        assert away.status_code == 503
        assert "不会丢失" in away.text
        server.start()
        assert officer.get("/desk").status_code == 200
