"""The plots of a backtest's report, as SVG that stands in the page itself."""

import io
from collections.abc import Callable, Iterable
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sluicegate.history.figures import SetFigures

# Okabe and Ito's colours: told apart by everyone, and by a printer without colours through dashes.
COLOURS: Final = ("#0072B2", "#D55E00")
DASHES: Final = ("-", "--")
GREY: Final = "#999999"


def ranking_plot(sets: Iterable[SetFigures]) -> str:
    """Precision against recall, of transactions and of accounts."""

    def draw(transactions: Axes, accounts: Axes) -> None:
        for number, one in enumerate(sets):
            for axes, ranking in ((transactions, one.transactions), (accounts, one.accounts)):
                points = [(recall, precision) for _, precision, recall in ranking.curve]
                _line(axes, points, number, one.name)
        for axes, title in ((transactions, "transactions"), (accounts, "accounts")):
            _frame(axes, title, "recall", "precision")
            axes.set(xlim=(0, 1.02), ylim=(0, 1.02))

    return _svg(draw)


def threshold_plot(sets: Iterable[SetFigures]) -> str:
    """Precision and recall by threshold."""

    def draw(precision: Axes, recall: Axes) -> None:
        for number, one in enumerate(sets):
            for axes, field in ((precision, "precision"), (recall, "recall")):
                points = [
                    (float(each.name), getattr(each, field))
                    for each in one.what_if
                    if getattr(each, field) is not None
                ]
                _line(axes, points, number, one.name)
                axes.axvline(one.alert_threshold, color=GREY, linewidth=0.8)
        for axes, title in ((precision, "precision"), (recall, "recall")):
            _frame(axes, f"{title} by threshold", "alerts from this score", title)
            axes.set(xlim=(0, 1), ylim=(0, 1.02))

    return _svg(draw)


def days_plot(figures: SetFigures) -> str:
    """Frauds and what is caught of them, alerts and how many of them are true, day by day."""

    def draw(frauds: Axes, alerts: Axes) -> None:
        days = np.array([each.day for each in figures.days], "datetime64[D]")
        caught = [each.caught for each in figures.days]
        for axes, whole, label in (
            (frauds, [each.frauds for each in figures.days], "frauds"),
            (alerts, [each.alerts for each in figures.days], "alerts"),
        ):
            axes.fill_between(days, whole, color=GREY, alpha=0.5, step="mid", label=label)
            axes.fill_between(
                days, caught, color=COLOURS[0], alpha=0.9, step="mid", label="fraud and alerted"
            )
            _frame(axes, f"{label} by day, at 0.5 % alerts", "", "transactions")
            axes.tick_params(axis="x", rotation=30)

    return _svg(draw)


def _line(axes: Axes, points: list[tuple[float, float]], number: int, name: str) -> None:
    style = DASHES[number % 2]
    across, up = [x for x, _ in points], [y for _, y in points]
    axes.plot(across, up, style, color=COLOURS[number % 2], label=name)


def _frame(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(frameon=False)


def _style() -> None:
    mpl.rc("svg", hashsalt="sluicegate", fonttype="none")  # the same figures, the same bytes
    mpl.rc("font", size=9.0)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc("axes", grid=True)
    mpl.rc("grid", alpha=0.3)


def _svg(draw: Callable[[Axes, Axes], None]) -> str:
    with mpl.rc_context():
        _style()
        figure = Figure(figsize=(9, 3), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw(left, right)
        page = io.StringIO()
        figure.savefig(page, format="svg", metadata={"Date": None})
    text = page.getvalue()
    return text[text.index("<svg") :]
