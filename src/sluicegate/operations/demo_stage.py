"""What the demo is played with: settings of its own, a bank and an auditor."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import IO, Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sluicegate.counter.database import open_counter_database
from sluicegate.counter.keys import Scope, create_key
from sluicegate.desk.people import FIRST_NAME, add_person, first_administrator
from sluicegate.desk.roles import Role
from sluicegate.liaison.database import open_database
from sluicegate.liaison.schema import prepare_tables, writing
from sluicegate.operations.bank_orders import GO_LIVE, Orders, Told
from sluicegate.operations.broker import free_port
from sluicegate.operations.stage import Stage
from sluicegate.operations.supervisor import ending
from sluicegate.settings import PATH_VARIABLE, BrokerSettings, Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.topics import topic_table

DELETE_SECONDS: Final = 10.0
OFFICERS: Final = (
    ("bank", "银行值班 Bank", Role.SUPERVISOR),
    ("police", "警务值班 Police", Role.POLICE_OFFICER),
)
"""Two, because the heavier measures need two."""


def demo_settings(settings: Settings, stage: Stage, prefix: str) -> Settings:
    """The settings of the demo: what is judged is the user's, where it happens is its own.

    `prefix` begins the names of topics and groups on the user's broker; it is empty on the demo's.
    """
    topics: dict[str, Any] = {"prefix": prefix}
    if not prefix:
        topics |= {"replication": 1, "min_insync_replicas": 1}
    ports = _free_ports(8)
    changes: dict[str, dict[str, Any]] = {
        "topics": topics,
        "router": {"metrics_port": ports[0]},
        "worker": {"metrics_port": ports[1], "web_port": ports[3], "web_bind": "127.0.0.1"},
        "liaison": {
            "metrics_port": ports[2],
            "group": f"{prefix}{settings.liaison.group}",
            "database_url": f"sqlite:///{stage.database}",
        },
        "counter": {
            "bind": "127.0.0.1",
            "port": ports[4],
            "workers": f"127.0.0.1:{ports[3]}",
            "metrics_port": ports[5],
            "database_url": f"sqlite:///{stage.folder / 'counter.db'}",
        },
        "desk": {
            "port": ports[6],
            "metrics_port": ports[7],
            "bind": "127.0.0.1",
            "cert_file": None,
            "key_file": None,
        },
        "metrics": {"bind": "127.0.0.1"},
    }
    changed = settings.changed(**changes)
    return changed if prefix else changed.model_copy(update={"broker": BrokerSettings()})


def counter_key(settings: Settings) -> str:
    """A new key to the demo's counter, for everything."""
    engine = open_counter_database(settings.counter.url)
    try:
        return create_key(engine, "demo", frozenset(Scope), datetime.now(UTC))
    finally:
        engine.dispose()


def child_environment(stage: Stage) -> dict[str, str]:
    """What keeps the demo's children off the user's own files."""
    config = stage.folder / "empty.toml"
    config.touch()
    return {PATH_VARIABLE: str(config), "XDG_STATE_HOME": str(stage.folder / "state")}


class Bank:
    """The bank's process, as the demo sees it."""

    def __init__(self, stage: Stage, orders: Orders, environment: Mapping[str, str]) -> None:
        self.told = Told()
        with (stage.folder / "bank.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sluicegate.operations.bank_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | environment,
                start_new_session=True,
            )
        stage.guard.kill_later(self._process.pid)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._say(orders.line())

    def open(self, bootstrap: str) -> None:
        """There is a broker: the history can be sent."""
        self._say(f"{bootstrap}\n")

    def go_live(self) -> None:
        """The history has been read: the present can begin."""
        self._say(GO_LIVE)

    def ended(self) -> str | None:
        """How it ended, in words; None while it is at work."""
        code = self._process.poll()
        return None if code is None else ending(code)

    def stop(self, seconds: float) -> bool:
        """Whether all that it has begun to send was acknowledged in that time; else kill it."""
        self._process.terminate()
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return self._process.returncode == 0

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError, ValueError):  # that it ended is noticed elsewhere
            self._stdin.write(line)
            self._stdin.flush()

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        return self._process.stdin

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self.told = Told.of(line)


class Auditor:
    """The auditor's process: reads along, and balances the books when asked."""

    def __init__(self, stage: Stage, settings: Settings, bootstrap: str) -> None:
        self._report = stage.folder / "books.json"
        client = stage.folder / "client.json"
        client.touch(mode=0o600)  # it may hold a password
        client.write_text(json.dumps(confluent_config(settings.broker, bootstrap)))
        with (stage.folder / "auditor.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "sluicegate.simulation.auditor"),
                    *("--bootstrap", bootstrap, "--topic-prefix", settings.topics.prefix),
                    *("--client-settings", str(client), "--truth", str(stage.truth)),
                    *("--report", str(self._report), "--follow", "--not-final"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        stage.guard.kill_later(self._process.pid)

    def ended(self) -> str | None:
        """How it ended, in words; None while it reads along."""
        code = self._process.poll()
        return None if code is None else ending(code)

    def ask(self) -> None:
        """Have it read up to the end and balance the books."""
        self._process.terminate()

    def books(self, seconds: float) -> dict[str, Any] | None:
        """The books; None if there are none after that time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        try:
            books: dict[str, Any] = json.loads(self._report.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return books

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


def first_people(settings: Settings) -> dict[str, str]:
    """Makes an administrator and two officers in the demo's new database.

    Gives the one-time password of each, by name.
    """
    database = open_database(settings.liaison.url)
    now = datetime.now(UTC)
    try:
        prepare_tables(database)
        with writing(database) as session:
            passwords = {FIRST_NAME: first_administrator(session, now) or ""}
            for name, full_name, role in OFFICERS:
                _, passwords[name] = add_person(session, name, full_name, role, now)
    finally:
        database.dispose()
    return passwords


def alerts_stored(stage: Stage) -> int:
    """How many alerts the desk's database holds, read past all of our own code."""
    try:
        with closing(sqlite3.connect(stage.database)) as database:
            return int(database.execute("SELECT count(*) FROM alerts").fetchone()[0])
    except sqlite3.Error:
        return 0


def remove_topics(settings: Settings, bootstrap: str) -> None:
    """Delete the demo's topics from the user's broker."""
    admin = AdminClient({**confluent_config(settings.broker, bootstrap), "log_level": 4})
    deletions = admin.delete_topics([topic.name for topic in topic_table(settings)])
    for deletion in deletions.values():
        with suppress(KafkaException):  # it was not made yet, or the broker is gone
            deletion.result(DELETE_SECONDS)


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    while len(ports) < count:
        if (port := free_port()) not in ports:
            ports.append(port)
    return ports
