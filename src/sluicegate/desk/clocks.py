"""Service levels: which clock of a case runs, and when it runs out."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sluicegate.liaison.cases import CaseRow, CaseState
from sluicegate.settings import DeskSettings


class Level(StrEnum):
    """What is promised."""

    CLAIM = "claim"
    """From the case's arrival to its claim."""
    DECIDE = "decide"
    """From the claim to the decision."""
    STOP = "stop"
    """From the police's call to the stop-payment."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that runs."""

    level: Level
    due_at: datetime

    def left(self, now: datetime) -> timedelta:
        """Below zero when it has run out."""
        return self.due_at - now

    def is_out(self, now: datetime) -> bool:
        """Whether it has run out."""
        return now >= self.due_at

    def state(self, now: datetime, whole: timedelta) -> str:
        """`out`, `soon` in its last third, or `well`."""
        if self.is_out(now):
            return "out"
        return "soon" if self.left(now) < whole / 3 else "well"


def utc_now() -> datetime:
    """The time to the millisecond, which is what messages tell."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def allowed(level: Level, rules: DeskSettings) -> timedelta:
    """How long may pass."""
    minutes = {
        Level.CLAIM: rules.claim_minutes,
        Level.DECIDE: rules.decide_minutes,
        Level.STOP: rules.stop_minutes,
    }
    return timedelta(minutes=minutes[level])


def clock_of(case: CaseRow, rules: DeskSettings) -> Clock | None:
    """The clock of a case; None once it is decided or closed."""
    if case.state == CaseState.WAITING:
        return Clock(Level.CLAIM, case.received_at + allowed(Level.CLAIM, rules))
    if case.state == CaseState.CLAIMED and case.decided_at is None and case.claimed_at is not None:
        return Clock(Level.DECIDE, case.claimed_at + allowed(Level.DECIDE, rules))
    return None
