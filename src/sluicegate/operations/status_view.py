"""`sluicegate status` in a terminal and as JSON, and the words that its page shares."""

import json
import sys
import tomllib
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sluicegate.errors import Problem
from sluicegate.operations.status import PartStatus, Status

STYLES: Final = {"ready": "green", "not ready": "yellow", "away": "bold red"}
NOTHING: Final = "-"


@cache
def messages() -> dict[str, Any]:
    """The catalogue: by section and key, then by language."""
    catalogue = files("sluicegate.operations").joinpath("status_messages.toml")
    return tomllib.loads(catalogue.read_text("utf-8"))


def written(value: float | None, kind: str) -> str:
    """A figure as people read it; `kind` is the catalogue's `as`."""
    if value is None:
        return NOTHING
    match kind:
        case "share":
            return f"{100 * value:.2f} %"
        case "seconds":
            return duration(value)
        case "ago":
            return f"{duration(value)} ago"
        case "rate":
            return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"
        case _:
            return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """4 ms, 1.2 s, 3 min, 2 h, 5 d."""
    for below, unit, size in ((1, "ms", 1e-3), (120, "s", 1.0), (7_200, "min", 60.0)):
        if seconds < below:
            digits = 1 if unit == "s" and seconds < 10 else 0
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def part_cells(part: PartStatus) -> tuple[str, ...]:
    """What the table of parts says of one, its state left out."""
    memory = f"{part.memory_bytes / 2**20:,.0f} MB" if part.memory_bytes else NOTHING
    up = NOTHING if part.up_seconds is None else duration(part.up_seconds)
    return (part.part, part.address, part.version or NOTHING, up, str(part.restarts), memory)


def told_as_json(status: Status) -> str:
    """For programs: everything, `well` first."""
    at = datetime.fromtimestamp(status.at, UTC).isoformat(timespec="seconds")
    told = {"well": status.well, **asdict(status), "at": at}
    for name in ("latency", "check_latency"):
        told[name] = [[f"{bound:g}", count] for bound, count in told[name]]
    return json.dumps(told, indent=2, ensure_ascii=False)


def show(status: Status, *, as_json: bool, page: Path | None) -> None:
    """Prints it, for people or for programs, and writes the page if one is asked for.

    Raises:
        Problem: the page cannot be written.
    """
    if page is not None:
        from sluicegate.operations.status_page import as_page  # noqa: PLC0415 - jinja2, seldom

        try:
            page.write_text(as_page(status), encoding="utf-8")
        except OSError as error:
            raise Problem(f"{page}: cannot be written", str(error.strerror)) from error
    if as_json:
        sys.stdout.write(told_as_json(status) + "\n")
    else:
        Console().print(as_screen(status))


def as_screen(status: Status) -> RenderableType:
    """For people at a terminal: one screen."""
    head = Text(messages()["page"]["well" if status.well else "unwell"]["en"])
    head.stylize("bold green" if status.well else "bold red")
    rows: list[RenderableType] = [head]
    rows += [Text(f"  {problem}", "red") for problem in status.problems]
    rows += ["", _parts(status), "", _figures(status)]
    top = ", ".join(f"{name} {count:,.0f}" for name, count in list(status.patterns.items())[:4])
    rows += ["", Text(f"most alerts: {top or 'none yet'}", "dim")]
    rows += [Text(f"pattern set: {', '.join(status.pattern_sets) or NOTHING}", "dim")]
    return Group(*rows)


def _parts(status: Status) -> Table:
    table = Table("part", "state", "address", "version", "up", box=None, padding=(0, 2, 0, 0))
    table.add_column("restarts", justify="right")
    table.add_column("memory", justify="right")
    for part in status.parts:
        name, *rest = part_cells(part)
        table.add_row(name, Text(part.state, STYLES[part.state]), *rest)
    return table


def _figures(status: Status) -> Table:
    grid = Table.grid(padding=(0, 4, 0, 0))
    catalogue = messages()
    columns = []
    for group, title in catalogue["groups"].items():
        column = Table.grid(padding=(0, 1))
        column.add_column(style="dim")
        column.add_column(justify="right")
        column.add_row(Text(title["en"], "bold"), "")
        for key, figure in catalogue["figures"].items():
            if figure["group"] == group:
                column.add_row(figure["en"], written(status.figures[key], figure["as"]))
        columns.append(column)
    grid.add_row(*columns[:2])
    grid.add_row("")
    grid.add_row(*columns[2:])
    return grid
