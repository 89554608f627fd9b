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
from sluicegate.domain.money import MINOR_PER_MAJOR
from sluicegate.liaison.database import Base, UtcTime

A_DAY = timedelta(days=1)


class Queue(StrEnum):
    """Where a case waits."""

    REVIEW = "review"
    WATCH = "watch"


class CaseState(StrEnum):
    """What people have made of a case."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    CLOSED = "closed"


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
    came_in_minor: Mapped[int] = mapped_column(BigInteger)
    went_out_minor: Mapped[int] = mapped_column(BigInteger)
    """What its alerts brought to the account and took from it."""
    at_risk_minor: Mapped[int] = mapped_column(BigInteger)
    """How much is thought to be still there."""
    weight: Mapped[float] = mapped_column(Float)
    """Rank times money at risk; with its age: how urgent it is."""
    top_pattern: Mapped[str] = mapped_column(String(64))
    """The strongest."""
    queued_s: Mapped[int] = mapped_column(BigInteger)
    """Since when it waits, in seconds since the epoch."""
    changed_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    state: Mapped[str] = mapped_column(String(16))
    assignee: Mapped[int | None]
    claimed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the first measure was decided, or the case was dismissed."""
    closed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    outcome: Mapped[str | None] = mapped_column(String(32))
    escalated_at: Mapped[datetime | None] = mapped_column(UtcTime)

    __table_args__ = (
        Index("cases_by_time_and_rank", "received_at", "rank", "top_pattern"),
        Index("cases_by_queue_and_rank", "queue", "rank"),
        # All that the order of the desk's queue needs: 100,000 open cases are read from it alone.
        Index(
            "cases_by_urgency",
            *("queue", "state", "queued_s", "weight", "id"),
            *("at_risk_minor", "top_pattern", "measure", "assignee", "escalated_at", "account"),
        ),
        Index("cases_by_assignee", "assignee", "state"),
        # Figures of a quarter read these two and no rows.
        Index("cases_by_decision", "decided_at", "received_at", "top_pattern", "outcome"),
        Index("cases_by_lateness", "queue", "escalated_at", "state", "queued_s"),
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
        if case is None or _is_over(case, alert, rules.gap):
            case = current[alert.account] = _opened(alert, received_at)
            session.add(case)
        else:
            _add(case, alert)
        case.changed_at = received_at
        # Once somebody may be looking at it, it is not taken from them.
        if case.queue != Queue.REVIEW:
            case.cut_off = cut_off
            case.queue = Queue.REVIEW if case.rank >= cut_off else Queue.WATCH
        links.append({"alert_id": alert.id, "case_id": case.id})
    session.flush()
    session.execute(insert(CaseAlertRow), links)
    return {link["alert_id"]: link["case_id"] for link in links}


def _is_over(case: CaseRow, alert: Alert, gap: timedelta) -> bool:
    """Whether an alert opens another case: after silence, or with news once this one is closed."""
    if alert.occurred_at - case.last_at > gap:
        return True
    return case.state == CaseState.CLOSED and _is_news(case, alert)


def _opened(alert: Alert, received_at: datetime) -> CaseRow:
    strengths = _strengths(alert)
    came_in = alert.amount_minor if alert.side == "inflow" else 0
    case = CaseRow(
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
        came_in_minor=came_in,
        went_out_minor=alert.amount_minor - came_in,
        queued_s=int(received_at.timestamp()),
        state=CaseState.WAITING.value,
    )
    _weigh(case)
    return case


def _add(case: CaseRow, alert: Alert) -> None:
    strengths = _strengths(alert)
    told = {name for name, value in strengths.items() if value > case.patterns.get(name, 0.0)}
    if not _is_news(case, alert):
        case.echoes += 1
    case.alerts += 1
    case.first_at = min(case.first_at, alert.occurred_at)
    case.last_at = max(case.last_at, alert.occurred_at)
    case.patterns = {**case.patterns, **{name: strengths[name] for name in sorted(told)}}
    case.rank = _joined(case.patterns.values())
    case.amount_minor = max(case.amount_minor, alert.amount_minor)
    if _is_heavier(case, alert):
        case.measure = alert.measure.value
    if alert.side == "inflow":
        case.came_in_minor += alert.amount_minor
    else:
        case.went_out_minor += alert.amount_minor
    _weigh(case)


def _is_news(case: CaseRow, alert: Alert) -> bool:
    """Whether an alert tells what the case does not know: a pattern, a measure, a larger sum."""
    names = {reason.pattern for reason in alert.reasons}
    larger = alert.amount_minor > case.amount_minor
    return bool(names - set(case.patterns)) or larger or _is_heavier(case, alert)


def _is_heavier(case: CaseRow, alert: Alert) -> bool:
    return alert.measure.severity > Measure(case.measure).severity


def _weigh(case: CaseRow) -> None:
    """What its alerts say of the money: what came in and has not left; else the largest sum."""
    kept = max(0, case.came_in_minor - case.went_out_minor)
    case.at_risk_minor = kept if case.came_in_minor else case.amount_minor
    case.weight = weight_of(case.rank, case.at_risk_minor)
    case.top_pattern = max(case.patterns, key=case.patterns.__getitem__, default="")


def weight_of(rank: float, at_risk_minor: int) -> float:
    """Score times money still at risk; where nothing is left, one unit keeps the order of ranks."""
    return rank * max(at_risk_minor, MINOR_PER_MAJOR)


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
