"""The tools for those who run it: `sluicegate dead-letter` and `sluicegate state`."""

import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sluicegate.options import Broker, reached

if TYPE_CHECKING:
    from sluicegate.operations.dead_letter import Filters

# What a command needs is loaded in it, so that --help is there at once; options are arguments.
# ruff: noqa: PLC0415, PLR0917, FBT002

LIST_LIMIT: Final = 100
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

dead_letter_app = typer.Typer(
    help="Look at what was refused, and send it in again after a fix.", no_args_is_help=True
)


def _moment(text: str) -> datetime:
    """A time of its own, or so long ago."""
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if ago:
        return datetime.now(UTC) - timedelta(seconds=float(ago[1]) * _UNITS[ago[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is neither like 2026-03-01T10:02:00Z nor like 2h")
    return moment


Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="NAME", help="Only of this reason; may be given again."),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME", parser=_moment, help="From then on: RFC 3339, or 30m, 2h, 7d ago."
    ),
]
Until = Annotated[
    datetime | None, typer.Option(metavar="TIME", parser=_moment, help="Before then; likewise.")
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def _filters(
    reasons: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    offsets: list[int] | None = None,
) -> "Filters":
    from sluicegate.operations.dead_letter import Filters

    return Filters(
        reasons=frozenset(each.upper() for each in reasons or ()),
        since=since,
        until=until,
        limit=limit,
        offsets=frozenset(offsets or ()),
    )


@dead_letter_app.command(
    "list",
    epilog="Example: [bold]sluicegate dead-letter list --reason TIME_MALFORMED --since 2h[/bold]",
)
def dead_letter_list(
    context: typer.Context,
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="So many of the newest.")
    ] = LIST_LIMIT,
    as_json: Json = False,
    broker: Broker = None,
) -> None:
    """List what was refused, newest last; account numbers are masked."""
    from sluicegate.operations import dead_letter_view as view
    from sluicegate.operations.dead_letter import DeadLetterTopic
    from sluicegate.operations.progress import counted

    filters = _filters(reason, since, until, limit)
    settings, bootstrap = reached(context, broker)
    with closing(DeadLetterTopic(settings, bootstrap)) as topic, counted("records") as progress:
        found = topic.find(filters, value_bytes=view.PREVIEW_BYTES, progress=progress)
    if as_json:
        rows = [
            view.as_json(each, replayed=each.offset in found.replayed) for each in found.letters
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    elif found.letters:
        typer.echo("\n".join(view.table(found)))
    typer.echo(view.summary(found), err=True)


@dead_letter_app.command("show", epilog="Example: [bold]sluicegate dead-letter show 17[/bold]")
def dead_letter_show(
    context: typer.Context,
    offset: Annotated[int, typer.Argument(metavar="POSITION", min=0, help="As `list` shows it.")],
    reveal: Annotated[bool, typer.Option("--reveal", help="Show account numbers.")] = False,
    broker: Broker = None,
) -> None:
    """Show all that one record holds; account numbers are masked unless asked for."""
    from sluicegate.operations import dead_letter_view as view
    from sluicegate.operations.dead_letter import DeadLetterTopic

    settings, bootstrap = reached(context, broker)
    with closing(DeadLetterTopic(settings, bootstrap)) as topic:
        letter = topic.at(offset)
    for line in view.shown(letter, reveal=reveal):
        typer.echo(line)


@dead_letter_app.command(
    "replay",
    epilog="Examples: [bold]sluicegate dead-letter replay 17 18[/bold], "
    "[bold]sluicegate dead-letter replay --reason CURRENCY_NOT_ACCEPTED --dry-run[/bold]",
)
def dead_letter_replay(
    context: typer.Context,
    offsets: Annotated[
        list[int] | None, typer.Argument(metavar="[POSITION]...", help="As `list` shows them.")
    ] = None,
    reason: Reasons = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many of the newest.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    broker: Broker = None,
) -> None:
    """Send refused transactions in again, or judge again what could not be judged, each once.

    1 if anything that was meant cannot be replayed.
    """
    filters = _filters(reason, since, until, limit, offsets)
    if filters == _filters(None, None, None, None):
        raise typer.BadParameter("say which: positions, or a filter", param_hint="POSITION")
    from sluicegate.operations.dead_letter_replay import replay
    from sluicegate.operations.progress import counted

    settings, bootstrap = reached(context, broker)
    with counted("dead letters") as progress:
        done = replay(settings, bootstrap, filters, dry_run=dry_run, progress=progress)
    for letter, why in done.refused:
        typer.echo(f"{letter.offset} {letter.reason}: {why}", err=True)
    typer.echo(done.sentence(dry=dry_run))
    if done.refused:
        raise typer.Exit(1)
