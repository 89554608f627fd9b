"""Who holds which account: the topic `accounts`, kept in a table of the desk.

A later message of an account takes the place of the earlier one; an empty message deletes. A batch
is one database transaction, and its offsets are committed after it: a crash reads it again, which
changes nothing. What is no profile is left out here: the router has sent it to dead-letter.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import Message
from sqlalchemy import Engine, delete, insert
from sqlalchemy.orm import Session

from sluicegate.desk.reading import TopicReader
from sluicegate.desk.tables import HolderRow
from sluicegate.domain.fields import Rules
from sluicegate.domain.profile import Profile, parse_profile
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings
from sluicegate.streaming.topics import Topics

AT_ONCE: Final = 500
POLL_SECONDS: Final = 0.5


def latest(messages: Sequence[tuple[bytes | None, bytes | None, int]]) -> dict[str, Profile | None]:
    """By account what a batch of (key, value, time in ms) says last; None: deleted."""
    told: dict[str, Profile | None] = {}
    for key, value, at_ms in messages:
        if value is None:
            if key is not None:
                told[key.decode(errors="replace")] = None
            continue
        profile = parse_profile(value, at_ms, Rules())
        if isinstance(profile, Profile):
            told[profile.account] = profile
    return told


def keep(engine: Engine, told: Mapping[str, Profile | None]) -> None:
    """Puts these in the place of what was known of the accounts, in one transaction.

    Raises:
        SQLAlchemyError: the database did not take it: nothing of it is stored.
    """
    rows = [_row(profile) for profile in told.values() if profile is not None]
    with Session(engine) as session, session.begin():
        session.execute(delete(HolderRow).where(HolderRow.account.in_(told)))
        if rows:
            session.execute(insert(HolderRow), rows)


def _row(profile: Profile) -> dict[str, Any]:
    opened = profile.opened_at_ms
    return {
        "account": profile.account,
        "holder_id": profile.holder_id,
        "holder_kind": profile.holder_kind,
        "birth_year": profile.birth_year,
        "opened_at": None if opened is None else datetime.fromtimestamp(opened / 1000, UTC),
        "branch": profile.branch,
        "region": profile.region,
        "documents_expire_on": profile.documents_expire_on,
        "enterprise_status": profile.enterprise_status,
    }


def holders_reader(
    settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
) -> TopicReader:
    """Reads the topic in a group beside the desk's own."""

    def keep_latest(read: Sequence[Message]) -> None:
        keep(engine, latest([(each.key(), each.value(), each.timestamp()[1]) for each in read]))

    return TopicReader(
        settings,
        bootstrap,
        keep_latest,
        metrics.counter("sluicegate_desk_failures_total"),
        what="profiles",
        topic=Topics.of(settings).accounts,
        group="-holders",
        at_once=AT_ONCE,
        poll_seconds=POLL_SECONDS,
    )
