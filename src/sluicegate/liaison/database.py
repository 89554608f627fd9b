"""The database of the liaison desk: alerts as they came, each once.

Any database that SQLAlchemy speaks to; SQLite and PostgreSQL are tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Engine,
    Insert,
    String,
    TypeDecorator,
    create_engine,
    event,
    insert,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from sluicegate.domain.alert import Alert
from sluicegate.errors import Problem

REFUSALS = (DataError, IntegrityError, OverflowError, ValueError)
"""What a database says of a row it can never take; anything else may pass."""


class UtcTime(TypeDecorator[datetime]):
    """A moment, stored in UTC: SQLite has no time zones, so this puts the zone back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC, on the way in."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """With its zone, on the way out."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables of the desk."""


class AlertRow(Base):
    """An alert as it was read from stop-payment, and when it was stored."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    transaction_id: Mapped[str] = mapped_column(String(64), index=True)
    account: Mapped[str] = mapped_column(String(34), index=True)
    side: Mapped[str] = mapped_column(String(16))
    counterparty: Mapped[str | None] = mapped_column(String(34))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    score: Mapped[float]
    measure: Mapped[str] = mapped_column(String(32))
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    facts: Mapped[dict[str, float]] = mapped_column(JSON)
    occurred_at: Mapped[datetime] = mapped_column(UtcTime)
    detected_at: Mapped[datetime] = mapped_column(UtcTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcTime)
    pattern_set_version: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str | None] = mapped_column(String(64))
    origin: Mapped[str] = mapped_column(String(16))
    received_at: Mapped[datetime] = mapped_column(UtcTime, index=True)


@dataclass(frozen=True)
class Stored:
    """What became of a batch: ids new in the database, and ids it can never take, with why."""

    new: frozenset[str]
    refused: dict[str, str]


def open_database(url: str, setting: str = "[liaison] database_url") -> Engine:
    """An engine for `url`, which `setting` gave; the database itself is not touched yet.

    Raises:
        Problem: The URL is malformed, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        _make_folder(parsed)
        engine = create_engine(parsed, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise Problem(
            f"{setting}: no database can be opened with it",
            str(error),
            'it looks like "sqlite:////var/lib/sluicegate/liaison.db" or '
            '"postgresql+psycopg://user@host/name", with the driver installed',
        ) from error
    except OSError as error:
        raise Problem(f"{setting}: its folder cannot be made", str(error)) from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def create_tables(engine: Engine) -> None:
    """Make the tables that are missing."""
    Base.metadata.create_all(engine)


Then = Callable[[Session, Sequence[Alert]], None]
"""What is done with alerts that are new, in the database transaction that stores them."""


def store_alerts(
    engine: Engine,
    alerts: Sequence[Alert],
    received_at: datetime,
    then: Then = lambda _session, _alerts: None,
) -> Stored:
    """Store what is new of `alerts` in one database transaction, and say what was.

    Where the database refuses the batch for its content, the alerts are stored one by one, so
    that one of them cannot hold up the others.

    Raises:
        SQLAlchemyError: The database is away or not able to: nothing was stored, try again.
    """
    rows = [_row(alert, received_at) for alert in alerts]
    try:
        with Session(engine) as session, session.begin():
            new = _insert_new(session, rows)
            then(session, _of(alerts, new))
            return Stored(new, {})
    except REFUSALS:
        return _store_one_by_one(engine, alerts, rows, then)


def reason_of(error: SQLAlchemyError) -> str:
    """The database's own words, without the statement and its values (accounts, amounts)."""
    cause = getattr(error, "orig", None)
    return str(cause if cause is not None else error).partition("\n")[0]


def _of(alerts: Sequence[Alert], ids: frozenset[str]) -> list[Alert]:
    """The alerts of these ids, each once, in their order."""
    return list({alert.id: alert for alert in alerts if alert.id in ids}.values())


def _store_one_by_one(
    engine: Engine, alerts: Sequence[Alert], rows: Sequence[dict[str, Any]], then: Then
) -> Stored:
    new: frozenset[str] = frozenset()
    refused: dict[str, str] = {}
    with Session(engine) as session, session.begin():
        for row in rows:
            try:
                with session.begin_nested():
                    new |= _insert_new(session, [row])
            except REFUSALS as error:
                reason = reason_of(error) if isinstance(error, SQLAlchemyError) else str(error)
                refused[str(row["id"])] = reason
        then(session, _of(alerts, new))
    return Stored(new, refused)


def _insert_new(session: Session, rows: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Insert the rows whose id is not there yet; their ids."""
    if not rows:
        return frozenset()
    statement = _insert_or_ignore(session.get_bind().dialect.name)
    if statement is not None:
        ids = session.execute(statement.returning(AlertRow.id), rows)
        return frozenset(ids.scalars())
    by_id = {str(row["id"]): row for row in rows}
    known = set(session.scalars(select(AlertRow.id).where(AlertRow.id.in_(by_id))))
    new = {name: row for name, row in by_id.items() if name not in known}
    if new:
        session.execute(insert(AlertRow), list(new.values()))
    return frozenset(new)


def _insert_or_ignore(dialect: str) -> Insert | None:
    """The statement that inserts what is new, where the database has one."""
    if dialect == "sqlite":
        return sqlite.insert(AlertRow).on_conflict_do_nothing(index_elements=["id"])
    if dialect == "postgresql":
        return postgresql.insert(AlertRow).on_conflict_do_nothing(index_elements=["id"])
    return None


def _row(alert: Alert, received_at: datetime) -> dict[str, Any]:
    """The columns of an alert."""
    times = {name: getattr(alert, name) for name in _TIMES}
    return alert.model_dump(mode="json", exclude=_TIMES) | times | {"received_at": received_at}


_TIMES = {"occurred_at", "detected_at", "recorded_at"}


def _make_folder(url: URL) -> None:
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # the desk reads while the consumer writes
    # An offset is committed after this database's commit, so that commit has to be on the disk.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
