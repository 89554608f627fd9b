"""The rhythm of a city: which days of the month, which weekdays, which hours of the day.

Days are counted from 1970-01-01 in the city's own time, UTC+8; moments are milliseconds UTC.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SECOND_MS: Final = 1_000
DAY_SECONDS: Final = 86_400
DAY_MS: Final = DAY_SECONDS * SECOND_MS
OFFSET_MS: Final = 8 * 3_600 * SECOND_MS
"""China keeps UTC+8 all year."""


def _curve(*hourly: float) -> Floats:
    """The cumulative share of a day's movements at each full hour, from 24 hourly weights."""
    return np.concatenate(([0.0], np.cumsum(hourly))) / sum(hourly)


SHOPPING: Final = _curve(
    *(0.3, 0.2, 0.1, 0.1, 0.1, 0.4, 1.2, 3.0, 3.5, 3.0, 3.5, 5.5),
    *(6.5, 4.0, 3.0, 3.2, 3.6, 5.2, 7.0, 6.5, 5.2, 3.8, 2.0, 0.8),
)
PRIVATE: Final = _curve(
    *(0.4, 0.2, 0.1, 0.1, 0.1, 0.2, 0.8, 2.0, 3.5, 4.5, 5.0, 4.5),
    *(4.5, 4.0, 4.0, 4.0, 4.0, 4.0, 4.5, 5.5, 6.0, 4.5, 2.5, 1.0),
)
OFFICE: Final = _curve(*([0.0] * 8), 1.0, 5.0, 6.0, 4.0, 1.5, 2.5, 5.5, 5.0, 3.0, 0.6, *([0.0] * 6))
MORNING: Final = _curve(*([0.0] * 9), 6.0, 3.0, 1.0, *([0.0] * 12))
EVENING: Final = _curve(*([0.0] * 17), 1.0, 2.0, 3.0, 4.0, 3.0, 0.5, 0.0)

_WEEKDAY_WEIGHT: Final = np.array([1.0, 0.95, 0.95, 1.0, 1.15, 1.4, 1.3])
_MEAN_MONTH: Final = 30.44


def local_day(at_ms: int) -> int:
    """The local day that holds a moment."""
    return (at_ms + OFFSET_MS) // DAY_MS


def weekday(day: Ints) -> Ints:
    """Monday is 0; the first day of 1970 was a Thursday."""
    return (day + 3) % 7


@dataclass(frozen=True, slots=True)
class Calendar:
    """A span of local days: `first_day` from midnight, the last one up to `ends_at_ms`."""

    first_day: int
    ends_at_ms: int

    @property
    def last_day(self) -> int:
        """The day that holds the last millisecond of the span."""
        return local_day(self.ends_at_ms - 1)

    @property
    def months(self) -> float:
        """Length of the span in mean months."""
        return (self.last_day - self.first_day + 1) / _MEAN_MONTH

    def days(self) -> Ints:
        """Every day of the span."""
        return np.arange(self.first_day, self.last_day + 1)

    def _covered(self, curve: Floats) -> float:
        """The share of the last day's movements that happen before the span ends."""
        second = (self.ends_at_ms + OFFSET_MS - self.last_day * DAY_MS) / SECOND_MS
        return float(np.interp(second, _HOUR_STARTS, curve))

    def monthly(self, day_of_month: Ints, *, workday: bool = False) -> tuple[Ints, Ints]:
        """Who has a movement on which day: `day_of_month` (1..28) of each, every month.

        With `workday`, a Saturday or Sunday moves to the Friday before, as salaries do.
        """
        start = np.datetime64(self.first_day, "D").astype("datetime64[M]")
        stop = np.datetime64(self.last_day, "D").astype("datetime64[M]") + 1
        starts = np.arange(start, stop).astype("datetime64[D]").astype(np.int64)
        day = starts[:, None] + day_of_month[None, :] - 1
        if workday:
            day = day - np.maximum(weekday(day) - 4, 0)
        month, who = np.nonzero((day >= self.first_day) & (day <= self.last_day))
        return who, day[month, who]

    def weekly(self, on_weekday: Ints) -> tuple[Ints, Ints]:
        """Who has a movement on which day: the same weekday (Monday 0) every week."""
        days = self.days()
        row, who = np.nonzero(weekday(days)[:, None] == on_weekday[None, :])
        return who, days[row]

    def scattered(self, rng: np.random.Generator, a_month: Floats) -> tuple[Ints, Ints]:
        """Who has a movement on which day: at random, `a_month` of each, weekends more."""
        counts = rng.poisson(a_month * self.months)
        who = np.repeat(np.arange(len(a_month)), counts)
        return who, self.random_days(rng, len(who), SHOPPING)

    def random_days(self, rng: np.random.Generator, count: int, curve: Floats) -> Ints:
        """Days drawn with the weight of their weekday, the last one with the part that is over."""
        days = self.days()
        weight = _WEEKDAY_WEIGHT[weekday(days)].copy()
        weight[-1] *= self._covered(curve)
        cumulative = np.cumsum(weight)
        drawn = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
        picked: Ints = days[np.minimum(drawn, len(days) - 1)]
        return picked

    def moments(
        self, rng: np.random.Generator, days: Ints, curve: Floats, *, elapsed: bool = False
    ) -> Ints:
        """A moment in each of the days by the curve, ms UTC.

        With `elapsed`, those of the last day lie before the end of the span; else some lie after
        it, which `Movements.before` drops.
        """
        share = rng.random(len(days))
        if elapsed:
            share[days == self.last_day] *= self._covered(curve)
        seconds = np.interp(share, curve, _HOUR_STARTS)
        moments: Ints = days * DAY_MS - OFFSET_MS + (seconds * SECOND_MS).astype(np.int64)
        return moments


_HOUR_STARTS: Final = np.arange(25) * 3_600.0
