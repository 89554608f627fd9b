"""The report of a backtest: one page that needs nothing else, and the same numbers as JSON."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sluicegate.errors import Problem
from sluicegate.history.backtest import Backtest
from sluicegate.history.plots import days_plot, ranking_plot, threshold_plot
from sluicegate.operations.rendering import templates_of

PAGE: Final = "report.html"
NUMBERS: Final = "report.json"


def write_report(result: Backtest, folder: Path) -> None:
    """Writes `PAGE` and `NUMBERS` into `folder`, which is made.

    Raises:
        Problem: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NUMBERS).write_text(report_json(result), encoding="utf-8")
        (folder / PAGE).write_text(report_page(result), encoding="utf-8")
    except OSError as error:
        raise Problem(f"{folder}: the report cannot be written", str(error)) from error


def report_json(result: Backtest) -> str:
    """Every number of the page; what is not defined is null."""
    return json.dumps(dataclasses.asdict(result), ensure_ascii=False, indent=2) + "\n"


def report_page(result: Backtest) -> str:
    """The page, with its plots and its style in it."""
    environment = templates_of("sluicegate.history")
    environment.filters |= _FILTERS
    plots = {
        "ranking": ranking_plot(result.sets),
        "thresholds": threshold_plot(result.sets),
        "days": days_plot(result.sets[0]),
    }
    return environment.get_template("report.html.j2").render(report=result, plots=plots)


def _known(say: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else say(value)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"


_FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "figure": _known(lambda value: f"{value:.3f}"),
    "percent": _known(lambda value: f"{100 * value:.1f} %"),
    "count": _known(lambda value: f"{value:,.0f}"),
    "tenth": _known(lambda value: f"{value:,.1f}"),
    "duration": _known(_duration),
}
