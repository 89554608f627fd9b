"""What a torture shows while it goes on, and at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sluicegate.operations.torture_balance import NOTHING_OF

COUNTS = (
    "restarts",
    "rebalances",
    "zombies",
    "router_overlaps",
    "broker_restarts",
    "broker_aways",
    "transactions",
    "repeats",
    "dead_lettered",
    "alerts",
)


class View:
    """A line of progress on a terminal; elsewhere a line for each thing that happens."""

    def __init__(self, console: Console, kills: int) -> None:
        self._console = console
        self._kills = kills
        self._began_at = time.monotonic()
        columns = (
            TextColumn("{task.fields[killed]} of {task.fields[kills]} kills"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=kills, kills=kills, killed=0)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows itself meanwhile."""
        with self._progress:
            yield

    def doing(self, what: str, killed: int | None = None) -> None:
        """What it does now."""
        if self._progress.disable:
            elapsed = time.monotonic() - self._began_at
            self._console.print(f"{elapsed:6.1f} s  {what}", highlight=False)
            return
        self._progress.update(self._task, description=what)
        if killed is not None:
            done = min(killed, self._kills)
            self._progress.update(self._task, completed=done, killed=killed)

    def say(self, sentence: str) -> None:
        """What stays."""
        self._console.print(sentence, highlight=False)


def report_table(report: dict[str, Any], *, exact: bool) -> Table:
    """The report for a terminal."""
    table = Table(title="exact" if exact else "[red]not exact[/red]", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    kills = report["kills"]
    named = ", ".join(f"{times} {part}" for part, times in kills.items())
    table.add_row("kills", f"{sum(kills.values())} ({named})")
    for name in (*COUNTS, *NOTHING_OF):
        table.add_row(name.replace("_", " "), f"{report[name]:,}")
    table.add_row("state equal", "yes" if report["state_equal"] else "no")
    recovery = report["recovery_seconds"]
    table.add_row("recovery, s", f"median {recovery['p50']}, longest {recovery['max']}")
    table.add_row("seconds", f"{report['seconds']:,}")
    for fault in report["faults"]:
        table.add_row("fault", fault["what"])
    for example in report["examples"]:
        table.add_row("example", example)
    return table
