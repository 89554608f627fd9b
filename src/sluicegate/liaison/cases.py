"""Cases: the alerts of one account that belong together, ranked and fitted to the people who look.

A case goes on while alerts of its account follow each other closely. An alert that tells nothing
new raises a count, so that a mule who pays forty times is one case and not forty. Its rank is the
score that all its patterns give together. The cut-off is the rank that the busiest cases of the
last day have to have, so many as can be reviewed in a day; what is below it is kept as `watch`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, String, func, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from sluicegate.domain.alert import Alert
from sluicegate.domain.measure import Measure
from sluicegate.liaison.database import Base, UtcTime

A_DAY = timedelta(days=1)


class Queue(StrEnum):
    """Where a case waits."""

    REVIEW = "review"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class CaseRules:
    """What makes a case, and how many can be looked at."""

    gap: timedelta = A_DAY
    """An alert that occurs later than this after the case's last one opens another case."""
    capacity: int = 200
    """Cases that people can review in a day."""


USUAL = CaseRules()


class CaseRow(Base):
    """A case as it stands."""

    __tablename__ = "cases"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account: Mapped[str] = mapped_column(String(34), index=True)
    first_at: Mapped[datetime] = mapped_column(UtcTime)
    last_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the first and last of its movements occurred."""
    alerts: Mapped[int]
    echoes: Mapped[int]
    """Alerts of those that told nothing new."""
    patterns: Mapped[dict[str, float]] = mapped_column(JSON)
    """The strongest that each pattern was."""
    rank: Mapped[float] = mapped_column(Float)
    """1 - prod(1 - strength) over its patterns."""
    measure: Mapped[str] = mapped_column(String(32))
    """The heaviest that was recommended."""
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    """The largest movement."""
    queue: Mapped[str] = mapped_column(String(16))
    cut_off: Mapped[float] = mapped_column(Float)
    """The rank that review took when the case was placed."""
    received_at: Mapped[datetime] = mapped_column(UtcTime)

    __table_args__ = (
        Index("cases_by_time_and_rank", "received_at", "rank"),
        Index("cases_by_queue_and_rank", "queue", "rank"),
    )


class CaseAlertRow(Base):
    """Which alert belongs to which case."""

    __tablename__ = "case_alerts"

    alert_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)


def case_id(account: str, first_alert: str) -> str:
    """32 hex digits, the same whenever the same alerts are grouped again."""
    return hashlib.blake2b(f"{account}\0{first_alert}".encode(), digest_size=16).hexdigest()


def group_alerts(
    session: Session, alerts: Sequence[Alert], received_at: datetime, rules: CaseRules
) -> dict[str, str]:
    """Adds alerts that are new, in their order, to the cases of their accounts; ids by alert's.

    Belongs to the database transaction in which the alerts are stored, so that each is in one case
    exactly.
    """
    if not alerts:
        return {}
    current = _latest(session, {alert.account for alert in alerts})
    cut_off = _cut_off(session, received_at, rules.capacity)
    links = []
    for alert in alerts:
        case = current.get(alert.account)
        if case is None or alert.occurred_at - case.last_at > rules.gap:
            case = current[alert.account] = _opened(alert, received_at)
            session.add(case)
        else:
            _add(case, alert)
        # Once somebody may be looking at it, it is not taken from them.
        if case.queue != Queue.REVIEW:
            case.cut_off = cut_off
            case.queue = Queue.REVIEW if case.rank >= cut_off else Queue.WATCH
        links.append({"alert_id": alert.id, "case_id": case.id})
    session.flush()
    session.execute(insert(CaseAlertRow), links)
    return {link["alert_id"]: link["case_id"] for link in links}


def _opened(alert: Alert, received_at: datetime) -> CaseRow:
    strengths = _strengths(alert)
    return CaseRow(
        id=case_id(alert.account, alert.id),
        account=alert.account,
        first_at=alert.occurred_at,
        last_at=alert.occurred_at,
        alerts=1,
        echoes=0,
        patterns=strengths,
        rank=_joined(strengths.values()),
        measure=alert.measure.value,
        amount_minor=alert.amount_minor,
        queue=Queue.WATCH.value,
        cut_off=0.0,
        received_at=received_at,
    )


def _add(case: CaseRow, alert: Alert) -> None:
    strengths = _strengths(alert)
    told = {name for name, value in strengths.items() if value > case.patterns.get(name, 0.0)}
    heavier = alert.measure.severity > Measure(case.measure).severity
    case.alerts += 1
    case.first_at = min(case.first_at, alert.occurred_at)
    case.last_at = max(case.last_at, alert.occurred_at)
    if not told - set(case.patterns) and not heavier and alert.amount_minor <= case.amount_minor:
        case.echoes += 1
    case.patterns = {**case.patterns, **{name: strengths[name] for name in sorted(told)}}
    case.rank = _joined(case.patterns.values())
    case.amount_minor = max(case.amount_minor, alert.amount_minor)
    if heavier:
        case.measure = alert.measure.value


def _strengths(alert: Alert) -> dict[str, float]:
    return {reason.pattern: reason.strength for reason in alert.reasons}


def _joined(strengths: Iterable[float]) -> float:
    rest = 1.0
    for strength in strengths:
        rest *= 1.0 - strength
    return 1.0 - rest


def _latest(session: Session, accounts: set[str]) -> dict[str, CaseRow]:
    """The case of each account that moved last."""
    rows = session.scalars(
        select(CaseRow).where(CaseRow.account.in_(accounts)).order_by(CaseRow.last_at)
    )
    return {row.account: row for row in rows}


def _cut_off(session: Session, now: datetime, capacity: int) -> float:
    """The rank of the last case that people have time for, of those of the last day; 0: of all."""
    ranks = select(CaseRow.rank).where(CaseRow.received_at > now - A_DAY)
    last = session.scalar(ranks.order_by(CaseRow.rank.desc()).offset(capacity - 1).limit(1))
    return last or 0.0


def cases_of(session: Session, queue: Queue, limit: int) -> list[CaseRow]:
    """The cases that wait there, worst first."""
    ranked = select(CaseRow).where(CaseRow.queue == queue.value)
    return list(session.scalars(ranked.order_by(CaseRow.rank.desc(), CaseRow.id).limit(limit)))


def counts(session: Session) -> Mapping[str, int]:
    """Number of cases in each queue."""
    rows: Any = session.execute(select(CaseRow.queue, func.count()).group_by(CaseRow.queue))
    return {str(queue): int(number) for queue, number in rows}
