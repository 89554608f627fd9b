"""The database's shape, version by version: Alembic migrations, run by whoever starts first."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.orm import Session

BEFORE_VERSIONS: Final = "0001"
"""What a database holds that was made before there were versions."""
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
