"""The demo as a person sees it while it runs: alerts as lines, and where it stands."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sluicegate.domain.alert import Alert
from sluicegate.operations.demo_watch import Figures, Quantiles, Seen

LINE_SECONDS: Final = 3.0
REFRESH_SECONDS: Final = 0.25
SHOWN_AT_ONCE: Final = 4
"""Alerts of one refresh that are shown as lines; no one reads more."""
STRONG: Final = 0.8
BAR_CELLS: Final = 60


@dataclass(frozen=True)
class State:
    """Where the demo stands."""

    phase: str = "starting"
    history: int = 0
    live_seconds: float | None = None
    """Since the live part began."""
    figures: Figures = field(default_factory=Figures)
    rate: float = 0.0
    """Transactions read by the router in a second, of late."""
    alerts: int = 0
    latency: Quantiles | None = None
    """Of the live part's latest alerts."""
    deaths: Mapping[str, int] = field(default_factory=dict)

    @property
    def lag(self) -> int:
        """Transactions sent and not read yet."""
        return max(0, self.figures.sent - self.figures.read)


class View(Protocol):
    """Shows the demo while it runs."""

    def say(self, sentence: str) -> None:
        """Show a sentence."""

    def show(self, state: State, seen: Sequence[Seen]) -> None:
        """Show where it stands, and the alerts that are new."""

    def close(self) -> None:
        """Nothing more is shown."""


class Lines:
    """For logs and reports: a line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_at = 0.0
        self._phase = ""

    def say(self, sentence: str) -> None:
        """Show it as a line."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def show(self, state: State, seen: Sequence[Seen]) -> None:
        """Show a line if the last one is old or of another phase."""
        del seen
        if state.phase == self._phase and time.monotonic() - self._shown_at < LINE_SECONDS:
            return
        self._phase, self._shown_at = state.phase, time.monotonic()
        self.say(progress_line(state))

    def close(self) -> None:
        """Nothing is left to do."""


class Screen:
    """For a terminal: alerts scroll by above a panel that says where it stands."""

    def __init__(self, console: Console, language: str) -> None:
        self._console = console
        self._language = language
        self._shown_at = 0.0
        self._waiting: list[Seen] = []
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, sentence: str) -> None:
        """Show it above the panel."""
        self._console.print(Text(sentence, style="dim"))

    def show(self, state: State, seen: Sequence[Seen]) -> None:
        """Refresh the panel a few times a second; alerts of the backlog are only counted."""
        if state.live_seconds is not None:
            self._waiting += seen
        if time.monotonic() - self._shown_at < REFRESH_SECONDS:
            return
        self._shown_at = time.monotonic()
        lines = list(self._lines())
        self._live.update(_panel(state), refresh=not lines)
        if lines:  # which refreshes the panel below them
            self._console.print(*lines, sep="\n", no_wrap=True, overflow="ellipsis", crop=True)

    def close(self) -> None:
        """Take the panel away."""
        self._live.stop()

    def _lines(self) -> Iterator[Text]:
        waiting, self._waiting = self._waiting, []
        strongest = sorted(waiting, key=lambda seen: seen.alert.score)[-SHOWN_AT_ONCE:]
        for seen in waiting:
            if seen in strongest:
                yield alert_line(seen.alert, self._language)
        if len(waiting) > len(strongest):
            yield Text(f"              ... and {len(waiting) - len(strongest)} more", "dim")


def alert_line(alert: Alert, language: str) -> Text:
    """Time, account, amount, score, measure and reasons of an alert, in a line."""
    local = alert.occurred_at.astimezone()
    arrow = "->" if alert.side == "outflow" else "<-"
    reasons = "; ".join(getattr(reason, language) for reason in alert.reasons)
    measure = f"{alert.measure.title_zh} {alert.measure.replace('_', ' ')}"
    return Text.assemble(
        (f"{local:%H:%M:%S} ", "dim"),
        (f"{alert.account:<19} ", "bold"),
        (f"{arrow} {money(alert.amount_minor, alert.currency):>18} ", "cyan"),
        (f"{alert.score:.2f} ", "bold red" if alert.score >= STRONG else "yellow"),
        (f"{measure}  ", "magenta"),
        reasons,
    )


def money(amount_minor: int, currency: str) -> str:
    """An amount as people write it: 52,000.00 CNY."""
    return f"{amount_minor // 100:,}.{amount_minor % 100:02d} {currency}"


def progress_line(state: State) -> str:
    """Where it stands, in a line."""
    figures = state.figures
    head = state.phase
    if state.phase == "live":
        head += f" {state.live_seconds or 0.0:.0f} s"
    parts = [
        f"{figures.sent:,} sent",
        f"{figures.read:,} read",
        f"{state.rate:,.0f}/s",
        f"lag {state.lag:,}",
        f"{state.alerts:,} alerts",
        f"{figures.stored:,} stored",
    ]
    if state.latency is not None:
        parts.append(f"p50 {state.latency.p50:.0f} ms, p99 {state.latency.p99:.0f} ms")
    if state.deaths:
        parts.append(f"died: {_deaths(state.deaths)}")
    return f"{head}: {', '.join(parts)}"


def _panel(state: State) -> Panel:
    figures = state.figures
    grid = Table.grid(padding=(0, 3))
    for _ in range(6):
        grid.add_column(justify="right")
    grid.add_row(
        *_figure("rate", f"{state.rate:,.0f}/s"),
        *_figure("lag", f"{state.lag:,}"),
        *_figure("latency p50 / p99", _latency(state.latency)),
    )
    grid.add_row(
        *_figure("sent", f"{figures.sent:,}"),
        *_figure("read", f"{figures.read:,}"),
        *_figure("legs judged", f"{figures.legs:,}"),
    )
    grid.add_row(
        *_figure("alerts", f"{state.alerts:,}"),
        *_figure("at the desk", f"{figures.stored:,}"),
        *_figure("repeats / refused", f"{figures.repeats:,} / {figures.refused:,}"),
    )
    body: list[RenderableType] = [grid]
    if state.live_seconds is None and state.history:
        done = figures.sent if state.phase == "history" else figures.read
        body.append(ProgressBar(total=state.history, completed=done, width=BAR_CELLS))
    if state.deaths:
        body.append(Text(f"died and started again: {_deaths(state.deaths)}", "bold red"))
    since = f" for {state.live_seconds or 0.0:.0f} s" if state.phase == "live" else ""
    return Panel(
        Group(*body),
        title=f"sluicegate demo: {state.phase}{since}",
        title_align="left",
        subtitle="Ctrl-C stops it and balances the books",
        subtitle_align="left",
        expand=False,
    )


def _figure(name: str, value: str) -> tuple[Text, Text]:
    return Text(name, "dim"), Text(value, "bold")


def _latency(latency: Quantiles | None) -> str:
    return "-" if latency is None else f"{latency.p50:.0f} / {latency.p99:.0f} ms"


def _deaths(deaths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count} times" for name, count in deaths.items())
