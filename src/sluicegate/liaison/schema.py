"""The database's shape, version by version: Alembic migrations, run by whoever starts first."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from threading import Event
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.errors import Problem
from sluicegate.liaison.database import reason_of

log = logging.getLogger(__name__)

BEFORE_VERSIONS: Final = "0001"
"""What a database holds that was made before there were versions."""
RETRY_SECONDS: Final = 0.5
_TURN: Final = 7_105_110
"""Number of PostgreSQL's advisory lock: any, but always the same."""


def prepare_tables(engine: Engine) -> None:
    """Brings the database to the newest version; nothing happens where it is.

    Raises:
        SQLAlchemyError: the database is away or not able to.
    """
    with engine.begin() as connection:
        take_turn(connection)
        config = _config(connection)
        names = set(inspect(connection).get_table_names())
        if "cases" in names and "alembic_version" not in names:
            command.stamp(config, BEFORE_VERSIONS)
        command.upgrade(config, "head")


def prepare_tables_when_there(
    engine: Engine, give_up_seconds: float, sqlite_seconds: float, stop: Event
) -> None:
    """The same, with patience for a database that is still starting, or until told to stop.

    A file of SQLite, which does not start, is waited for `sqlite_seconds` at most.

    Raises:
        Problem: it cannot be used.
    """
    is_file = engine.dialect.name == "sqlite"
    patience = min(give_up_seconds, sqlite_seconds) if is_file else give_up_seconds
    deadline = time.monotonic() + patience
    while not stop.is_set():
        try:
            prepare_tables(engine)
        except SQLAlchemyError as error:
            if time.monotonic() > deadline:
                raise Problem(
                    f"[liaison] database_url: {engine.url.render_as_string()} cannot be used",
                    reason_of(error),
                ) from error
            log.warning("waiting for the database: %s", reason_of(error))
            stop.wait(RETRY_SECONDS)
        else:
            return


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A database transaction that no other one of these runs beside: what it reads stays true."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        take_turn(session.connection())
        yield session


def take_turn(connection: Connection) -> None:
    """Waits until no other transaction of this kind is under way, at the start of one."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})


def _config(connection: Connection) -> Config:
    config = Config()
    place = files("sluicegate.liaison") / "migrations"
    config.set_main_option("script_location", str(place).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
