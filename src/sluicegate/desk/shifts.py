"""Shifts: the desk's day begins at 08:00 local time and is cut into shifts of equal length."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

DAY_BEGINS: Final = time(8)
A_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Shift:
    """A stretch of time, from `begins_at` on and before `ends_at`; a day is one too."""

    begins_at: datetime
    ends_at: datetime

    @property
    def day(self) -> date:
        """The desk's day that it belongs to, in the zone of `begins_at`."""
        return (self.begins_at - timedelta(hours=DAY_BEGINS.hour)).date()


def day_at(day: date, zone: tzinfo) -> Shift:
    """The desk's day that begins on this date."""
    begins_at = datetime.combine(day, DAY_BEGINS, zone)
    return Shift(begins_at, begins_at + A_DAY)


def shifts_on(day: date, hours: int, zone: tzinfo) -> Sequence[Shift]:
    """The shifts of a day; where the length does not divide it, the last one is shorter."""
    whole, length = day_at(day, zone), timedelta(hours=hours)
    found, begins_at = [], whole.begins_at
    while begins_at < whole.ends_at:
        ends_at = min(begins_at + length, whole.ends_at)
        found.append(Shift(begins_at, ends_at))
        begins_at = ends_at
    return found


def day_of(now: datetime, zone: tzinfo) -> date:
    """The desk's day at a moment: before 08:00 it is still yesterday."""
    return (now.astimezone(zone) - timedelta(hours=DAY_BEGINS.hour)).date()


def shift_of(now: datetime, hours: int, zone: tzinfo) -> Shift:
    """The shift that is on at a moment."""
    on = [each for each in shifts_on(day_of(now, zone), hours, zone) if each.begins_at <= now]
    return on[-1]
