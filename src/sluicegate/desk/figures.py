"""Figures of the desk: what came, what was decided, how fast, what was stopped, what was wrong.

Each figure counts what happened within the stretch: an alert where it arrived, a decision where it
was taken, money where core banking said that it holds it, a wrong limit where it was released.
"""

import csv
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sluicegate.desk.queue import Outcome
from sluicegate.desk.shifts import Shift
from sluicegate.desk.tables import MeasureRow
from sluicegate.domain.decision import Answer
from sluicegate.domain.law import Act, Ground
from sluicegate.domain.measure import Measure
from sluicegate.domain.money import MINOR_PER_MAJOR
from sluicegate.liaison.cases import CaseRow
from sluicegate.liaison.database import AlertRow

WRONG: Final = (Ground.APPEAL.value, Ground.ERROR.value)
"""A release on one of these grounds says that the measure should not have been."""
STOPS: Final = tuple(
    each.value for each in Measure if each.severity >= Measure.RECEIVE_ONLY.severity
)
"""Measures that keep money on the account."""


@dataclass
class Figures:
    """What happened in a stretch of time, or on the cases of a pattern."""

    alerts: int = 0
    cases: int = 0
    dismissed: int = 0
    took: list[timedelta] = field(default_factory=list)
    """From the case's arrival to its decision, of each decision."""
    held: dict[str, int] = field(default_factory=dict)
    """By account the most that core banking said it holds: a freeze after a stop counts once."""
    wrong: list[timedelta] = field(default_factory=list)
    """Of each measure that was wrong, how long it lasted."""

    @property
    def decisions(self) -> int:
        """Cases that were decided: by a measure, or dismissed."""
        return len(self.took)

    @property
    def stopped_minor(self) -> int:
        """Money that was stopped."""
        return sum(self.held.values())


@dataclass(frozen=True)
class Report:
    """Figures by stretch, in the order that was asked for, of all, and by pattern."""

    stretches: Sequence[tuple[Shift, Figures]]
    total: Figures
    by_pattern: Mapping[str, Figures]


def percentile(lengths: Iterable[timedelta], share: float) -> timedelta | None:
    """The nearest-rank percentile: the length that `share` of all do not exceed; None of none."""
    ordered = sorted(lengths)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def report(session: Session, stretches: Sequence[Shift]) -> Report:
    """The figures of stretches that follow each other."""
    begins, ends = stretches[0].begins_at, stretches[-1].ends_at
    starts = [each.begins_at for each in stretches]
    found = [(each, Figures()) for each in stretches]
    total, by_pattern = Figures(), defaultdict[str, Figures](Figures)

    def counted(at: datetime, pattern: str) -> tuple[Figures, Figures, Figures]:
        return found[bisect_right(starts, at) - 1][1], total, by_pattern[pattern]

    for shift, figures in found:
        figures.alerts = _alerts(session, shift)
        total.alerts += figures.alerts
        _count_arrivals(session, shift, counted)
    _count_decisions(session, begins, ends, counted)
    _count_money(session, begins, ends, counted)
    _count_wrong(session, begins, ends, counted)
    order = sorted(by_pattern, key=lambda name: (-by_pattern[name].decisions, name))
    return Report(found, total, {name: by_pattern[name] for name in order})


Counted = Callable[[datetime, str], tuple[Figures, Figures, Figures]]
"""Where something that happened then, on a case of that pattern, is counted."""


def _alerts(session: Session, shift: Shift) -> int:
    at = AlertRow.received_at
    within = (at >= shift.begins_at) & (at < shift.ends_at)
    return session.scalar(select(func.count()).select_from(AlertRow).where(within)) or 0


def _count_arrivals(session: Session, shift: Shift, counted: Counted) -> None:
    """Counted by the database: there may be a hundred thousand."""
    at = CaseRow.received_at
    arrived = (
        select(CaseRow.top_pattern, func.count())  # of rows, not of ids: the index has all
        .where(at >= shift.begins_at, at < shift.ends_at)
        .group_by(CaseRow.top_pattern)
    )
    rows: Any = session.execute(arrived)
    for pattern, number in rows:
        for figures in counted(shift.begins_at, pattern):
            figures.cases += number


def _count_decisions(session: Session, begins: datetime, ends: datetime, counted: Counted) -> None:
    decided = select(
        CaseRow.decided_at, CaseRow.received_at, CaseRow.top_pattern, CaseRow.outcome
    ).where(CaseRow.decided_at >= begins, CaseRow.decided_at < ends)
    rows: Any = session.execute(decided)
    for at, received_at, pattern, outcome in rows:
        is_dismissed = outcome is not None and outcome != Outcome.MEASURES_TAKEN
        for figures in counted(at, pattern):
            figures.took.append(at - received_at)
            figures.dismissed += is_dismissed


def _count_money(session: Session, begins: datetime, ends: datetime, counted: Counted) -> None:
    held = (
        select(
            MeasureRow.answered_at, MeasureRow.account, MeasureRow.held_minor, CaseRow.top_pattern
        )
        .join(CaseRow, CaseRow.id == MeasureRow.case_id)
        .where(
            MeasureRow.answered_at >= begins,
            MeasureRow.answered_at < ends,
            MeasureRow.action == Act.IMPOSE.value,
            MeasureRow.answer == Answer.DONE.value,
            MeasureRow.measure.in_(STOPS),
            MeasureRow.held_minor.is_not(None),
        )
    )
    rows: Any = session.execute(held)
    for at, account, held_minor, pattern in rows:
        for figures in counted(at, pattern):
            figures.held[account] = max(figures.held.get(account, 0), held_minor)


def _count_wrong(session: Session, begins: datetime, ends: datetime, counted: Counted) -> None:
    released = (
        select(MeasureRow.decided_at, MeasureRow.of_id, CaseRow.top_pattern)
        .join(CaseRow, CaseRow.id == MeasureRow.case_id)
        .where(
            MeasureRow.decided_at >= begins,
            MeasureRow.decided_at < ends,
            MeasureRow.action == Act.RELEASE.value,
            MeasureRow.ground.in_(WRONG),
            MeasureRow.answer == Answer.DONE.value,
        )
    )
    rows: Any = session.execute(released).all()
    for at, of_id, pattern in rows:
        wrong = session.get(MeasureRow, of_id)
        if wrong is not None and wrong.begins_at is not None:
            for figures in counted(at, pattern):
                figures.wrong.append(at - wrong.begins_at)


COLUMNS: Final = (
    *("alerts", "cases", "decisions", "dismissed", "stopped_yuan"),
    *("decided_p50_seconds", "decided_p90_seconds", "wrong", "released_p50_seconds"),
)


def as_csv(report: Report) -> bytes:
    """The stretches, then the patterns; with the mark of UTF-8 that spreadsheets want."""
    out = StringIO()
    write = csv.writer(out, lineterminator="\r\n").writerow
    write(("begins_at", "ends_at", "pattern", *COLUMNS))
    for shift, figures in report.stretches:
        write((shift.begins_at.isoformat(), shift.ends_at.isoformat(), "", *_cells(figures)))
    first, last = report.stretches[0][0], report.stretches[-1][0]
    for pattern, figures in report.by_pattern.items():
        write((first.begins_at.isoformat(), last.ends_at.isoformat(), pattern, "",
               *_cells(figures)[1:]))  # fmt: skip  # an alert has several patterns
    return out.getvalue().encode("utf-8-sig")


def _cells(figures: Figures) -> tuple[object, ...]:
    whole, minor = divmod(figures.stopped_minor, MINOR_PER_MAJOR)
    return (
        figures.alerts,
        figures.cases,
        figures.decisions,
        figures.dismissed,
        f"{whole}.{minor:02}",
        _seconds(percentile(figures.took, 0.5)),
        _seconds(percentile(figures.took, 0.9)),
        len(figures.wrong),
        _seconds(percentile(figures.wrong, 0.5)),
    )


def _seconds(length: timedelta | None) -> str:
    return "" if length is None else f"{length.total_seconds():.0f}"
