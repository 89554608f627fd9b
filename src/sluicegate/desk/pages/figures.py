"""The page of figures, by day or by shift, and the same as CSV."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from typing import Final

from fastapi import Response

from sluicegate.desk.charts import Column, column_chart
from sluicegate.desk.figures import Figures, Report, as_csv, percentile, report
from sluicegate.desk.pages.shell import PREFIX, Asked, Shell
from sluicegate.desk.pages.words import WORDS, lasted, money
from sluicegate.desk.roles import Right
from sluicegate.desk.shifts import Shift, day_at, day_of, shifts_on

USUAL_DAYS: Final = 7
MOST_DAYS: Final = 92
EARLIEST: Final = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is asked for: so many of the desk's days, the last of them, whole or by shift."""

    last: date
    days: int
    by_shift: bool

    def shifts(self, hours: int, zone: tzinfo) -> Sequence[Shift]:
        """The stretches of time that the figures are of."""
        days = [self.last - timedelta(days=n) for n in reversed(range(self.days))]
        if not self.by_shift:
            return [day_at(each, zone) for each in days]
        return [shift for each in days for shift in shifts_on(each, hours, zone)]

    @property
    def query(self) -> str:
        """As an address has it."""
        return f"last={self.last}&days={self.days}&by={'shift' if self.by_shift else 'day'}"


def add_figures(shell: Shell) -> None:
    """Adds these pages."""
    shell.get("/figures", _figures, Right.SEE_FIGURES)
    shell.get("/figures.csv", _csv, Right.SEE_FIGURES)


def _stretch(asked: Asked) -> Stretch:
    """What the address asks for; what makes no sense is taken as if it were not there."""
    today, days = day_of(asked.now, asked.desk.zone), asked.query.get("days", "")
    try:
        last = date.fromisoformat(asked.query.get("last", ""))
    except ValueError:
        last = today
    is_number = days.isascii() and days.isdigit() and len(days) < 4
    number = min(max(1, int(days)), MOST_DAYS) if is_number else USUAL_DAYS
    last = min(max(last, EARLIEST + timedelta(days=MOST_DAYS)), today)
    return Stretch(last, number, asked.query.get("by") == "shift")


def _report(asked: Asked, stretch: Stretch) -> Report:
    hours = asked.desk.settings.desk.shift_hours
    with asked.reading() as session:
        return report(session, stretch.shifts(hours, asked.desk.zone))


def _csv(asked: Asked) -> Response:
    stretch = _stretch(asked)
    name = f"figures-{stretch.last}-{stretch.days}.csv"
    told = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(as_csv(_report(asked, stretch)), media_type="text/csv", headers=told)


def _figures(asked: Asked) -> Response:
    stretch = _stretch(asked)
    made = _report(asked, stretch)
    return asked.show(
        "figures.html",
        stretch=stretch,
        report=made,
        most_days=MOST_DAYS,
        today=day_of(asked.now, asked.desk.zone),
        charts=_charts(asked, made),
        label=lambda shift: _label(asked, shift),
        p50=lambda lengths: _told(percentile(lengths, 0.5)),
        p90=lambda lengths: _told(percentile(lengths, 0.9)),
        csv=f"{PREFIX}/figures.csv?{stretch.query}",
    )


def _charts(asked: Asked, made: Report) -> list[tuple[str, str]]:
    """Title and drawing of each."""
    t = WORDS[asked.language]

    def seconds(figures: Figures) -> float:
        return (percentile(figures.took, 0.5) or timedelta()).total_seconds()

    columns: dict[str, Callable[[Figures], tuple[float, str]]] = {
        "alerts": lambda each: (each.alerts, f"{each.alerts:,}"),
        "decisions": lambda each: (each.decisions, f"{each.decisions:,}"),
        "stopped": lambda each: (each.stopped_minor, money(each.stopped_minor)),
        "decided_p50": lambda each: (seconds(each), _told(percentile(each.took, 0.5))),
    }
    return [
        (
            t[name],
            column_chart(
                [Column(_label(asked, shift), *of(each)) for shift, each in made.stretches], t[name]
            ),
        )
        for name, of in columns.items()
    ]


def _label(asked: Asked, shift: Shift) -> str:
    begins_at = shift.begins_at.astimezone(asked.desk.zone)
    is_day = shift.ends_at - shift.begins_at == timedelta(days=1)
    return f"{begins_at:%m-%d}" if is_day else f"{begins_at:%m-%d %H:%M}"


def _told(length: timedelta | None) -> str:
    return "—" if length is None else lasted(length)
