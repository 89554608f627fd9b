"""The counter's own tables: keys, checks as they were asked and answered, outcomes, alerts to send.

Checks and outcomes are only ever added: they are the audit, and outcomes are labels.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Engine,
    ForeignKey,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sluicegate.counter.contract import CheckKept, CheckTold, CustomerFacts, OutcomeTold
from sluicegate.liaison.database import REFUSALS, UtcTime, open_database

SETTING: Final = "[counter] database_url"


class Base(DeclarativeBase):
    """All tables of the counter."""


class KeyRow(Base):
    """A key of a branch; its secret is known here only as an Argon2id hash."""

    __tablename__ = "counter_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    hash: Mapped[str] = mapped_column(String(255))
    branch: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)


class CheckRow(Base):
    """A check as it was asked and answered."""

    __tablename__ = "counter_checks"
    __table_args__ = (UniqueConstraint("key_id", "idempotency_key"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    key_id: Mapped[str] = mapped_column(String(16), ForeignKey("counter_keys.id"))
    branch: Mapped[str] = mapped_column(String(64), index=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    payer_account: Mapped[str | None] = mapped_column(String(34), index=True)
    payee_account: Mapped[str | None] = mapped_column(String(34), index=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[str] = mapped_column(String(16))
    score: Mapped[float]
    degraded: Mapped[bool]
    transaction: Mapped[dict[str, Any]] = mapped_column(JSON)
    customer: Mapped[dict[str, Any]] = mapped_column(JSON)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)


class OutcomeRow(Base):
    """How a check ended, as somebody said."""

    __tablename__ = "counter_outcomes"

    id: Mapped[int] = mapped_column(primary_key=True)
    check_id: Mapped[str] = mapped_column(String(32), ForeignKey("counter_checks.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    key_id: Mapped[str] = mapped_column(String(16), ForeignKey("counter_keys.id"))
    outcome: Mapped[str] = mapped_column(String(32))
    note: Mapped[str] = mapped_column(Text)
    answers: Mapped[dict[str, str]] = mapped_column(JSON)


class AlertRow(Base):
    """An alert of a referred check, written with it, and when stop-payment took it."""

    __tablename__ = "counter_alerts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    check_id: Mapped[str] = mapped_column(String(32), ForeignKey("counter_checks.id"))
    account: Mapped[str] = mapped_column(String(34))
    value: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)


_ADDED_TO: Final = ("counter_checks", "counter_outcomes")
_ONLY_ADDED: Final = "rows are only ever added"
_SQLITE: Final = (
    "CREATE TRIGGER {table}_no_{change} BEFORE {change} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{_ONLY_ADDED}'); END"
)
_POSTGRESQL_REFUSES: Final = f"""
CREATE OR REPLACE FUNCTION counter_refuses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{_ONLY_ADDED}' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_POSTGRESQL: Final = (
    "CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION counter_refuses()"
)


@event.listens_for(Base.metadata, "after_create")
def _forbid_changes(
    _: MetaData, connection: Connection, *, tables: Sequence[Table], **__: object
) -> None:
    """The database itself refuses to change or delete a row of the audit."""
    made = {table.name for table in tables}
    added_to = [table for table in _ADDED_TO if table in made]
    if connection.dialect.name == "sqlite":
        for table in added_to:
            for change in ("update", "delete"):
                connection.execute(text(_SQLITE.format(table=table, change=change)))
    elif connection.dialect.name == "postgresql" and added_to:
        connection.execute(text(_POSTGRESQL_REFUSES))
        for table in added_to:
            connection.execute(text(_POSTGRESQL.format(table=table)))


def open_counter_database(url: str) -> Engine:
    """An engine for `url`, with the tables that were missing.

    Raises:
        Problem: the URL is malformed, or its driver is not installed.
        SQLAlchemyError: the database is away.
    """
    engine = open_database(url, SETTING)
    Base.metadata.create_all(engine)
    return engine


def store_checks(
    engine: Engine, checks: Sequence[tuple[dict[str, Any], Sequence[dict[str, Any]]]]
) -> list[bool]:
    """Stores checks with their alerts, all at once or else one by one; which of them are stored.

    Not stored is a check whose idempotency key was used before, or that the database can never
    take.

    Raises:
        SQLAlchemyError: the database is away or not able to: some may not be stored.
    """
    try:
        _store(engine, checks)
    except REFUSALS:  # one of them must not hold up the others
        return [_is_stored_alone(engine, each) for each in checks]
    return [True] * len(checks)


def _store(
    engine: Engine, checks: Sequence[tuple[dict[str, Any], Sequence[dict[str, Any]]]]
) -> None:
    alerts = [alert for _, each in checks for alert in each]
    with engine.begin() as connection:
        connection.execute(insert(CheckRow), [check for check, _ in checks])
        if alerts:
            connection.execute(insert(AlertRow), alerts)


def _is_stored_alone(
    engine: Engine, check: tuple[dict[str, Any], Sequence[dict[str, Any]]]
) -> bool:
    try:
        _store(engine, [check])
    except REFUSALS:
        return False
    return True


def answer_before(
    engine: Engine, key_id: str, idempotency_key: str
) -> tuple[str, CheckTold] | None:
    """What was answered under an idempotency key, with the digest of what had been asked."""
    with Session(engine) as session:
        row = session.scalar(
            select(CheckRow).where(
                CheckRow.key_id == key_id, CheckRow.idempotency_key == idempotency_key
            )
        )
        return None if row is None else (row.digest, CheckTold.model_validate(row.answer))


def find_check(engine: Engine, check_id: str, branch: str) -> CheckKept | None:
    """A check of a branch (`*`: of any) with its outcomes, the oldest first."""
    with Session(engine) as session:
        row = session.get(CheckRow, check_id)
        if row is None or branch not in ("*", row.branch):
            return None
        outcomes = session.scalars(
            select(OutcomeRow).where(OutcomeRow.check_id == check_id).order_by(OutcomeRow.id)
        )
        return CheckKept(
            at=row.at,
            branch=row.branch,
            transaction=row.transaction,
            customer=CustomerFacts.model_validate(row.customer),
            answer=CheckTold.model_validate(row.answer),
            outcomes=tuple(
                OutcomeTold(outcome=each.outcome, note=each.note, answers=each.answers, at=each.at)  # type: ignore[arg-type]  # pydantic makes the enum
                for each in outcomes
            ),
        )


def add_outcome(engine: Engine, check_id: str, key_id: str, outcome: OutcomeTold) -> None:
    """Adds how a check ended."""
    with engine.begin() as connection:
        connection.execute(
            insert(OutcomeRow).values(
                check_id=check_id,
                key_id=key_id,
                at=outcome.at,
                outcome=outcome.outcome.value,
                note=outcome.note,
                answers=dict(outcome.answers),
            )
        )


def unsent_alerts(engine: Engine) -> list[tuple[str, str, str]]:
    """Id, account and value of the alerts that stop-payment has not taken yet."""
    columns = (AlertRow.id, AlertRow.account, AlertRow.value)
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).where(AlertRow.sent_at.is_(None)))
        return [(row.id, row.account, row.value) for row in rows]


def mark_sent(engine: Engine, ids: Sequence[str], at: datetime) -> None:
    """Notes that stop-payment has taken these alerts."""
    with engine.begin() as connection:
        connection.execute(update(AlertRow).where(AlertRow.id.in_(ids)).values(sent_at=at))


def store_key(engine: Engine, row: dict[str, Any]) -> None:
    """Stores a new key."""
    with engine.begin() as connection:
        connection.execute(insert(KeyRow).values(row))


def all_keys(engine: Engine) -> list[KeyRow]:
    """All keys, the oldest first; not bound to a session."""
    with Session(engine, expire_on_commit=False) as session:
        rows = list(session.scalars(select(KeyRow).order_by(KeyRow.created_at)))
        session.expunge_all()
        return rows


def revoke_key(engine: Engine, key_id: str, at: datetime) -> bool:
    """Revokes a key for good; False if there is none of this id that is still good."""
    with engine.begin() as connection:
        done = connection.execute(
            update(KeyRow)
            .where(KeyRow.id == key_id, KeyRow.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        return done.rowcount == 1
