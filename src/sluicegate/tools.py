"""The tools for those who run it: `sluicegate dead-letter` and `sluicegate state`."""

import json
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sluicegate.errors import Problem
from sluicegate.options import Broker, duration, reached

if TYPE_CHECKING:
    from sluicegate.operations.dead_letter import Filters

# What a command needs is loaded in it, so that --help is there at once; options are arguments.
# ruff: noqa: PLC0415, PLR0917, FBT002

LIST_LIMIT: Final = 100

dead_letter_app = typer.Typer(
    help="Look at what was refused, and send it in again after a fix.", no_args_is_help=True
)

state_app = typer.Typer(
    help="Look at what is remembered, save it, and mend it when logs were lost or moved.",
    no_args_is_help=True,
)


def moment(text: str) -> datetime | timedelta:
    """A time of its own, or a length of time from now, back or ahead as the option means it."""
    length = duration(text)
    if length is not None:
        return length
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is neither like 2026-03-01T10:02:00Z nor like 2h")
    return time


def _since(text: str) -> datetime:
    """A time of its own, or so long ago."""
    said = moment(text)
    return datetime.now(UTC) - said if isinstance(said, timedelta) else said


Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="NAME", help="Only of this reason; may be given again."),
]
Since = Annotated[
    datetime | None,
    typer.Option(metavar="TIME", parser=_since, help="From then on: RFC 3339, or 30m, 2h, 7d ago."),
]
Until = Annotated[
    datetime | None, typer.Option(metavar="TIME", parser=_since, help="Before then; likewise.")
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


# The state.

Checkpointed = Annotated[
    bool, typer.Option("--checkpointed", help="As of the last checkpoints, without later legs.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def _account(value: str) -> str:
    if not (0 < len(value) <= 34 and value.isascii() and value.isprintable()):
        raise typer.BadParameter("an account has 1 to 34 printable ASCII characters")
    return value


def _tell(sentence: str) -> None:
    typer.echo(sentence, err=True)


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Problem(question, "nobody is there to answer", "--yes says so beforehand")
    typer.confirm(question, abort=True, err=True)


@state_app.command("show", epilog="Example: [bold]sluicegate state show 6222021234567890123[/bold]")
def state_show(
    context: typer.Context,
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="The whole number.", callback=_account)
    ],
    checkpointed: Checkpointed = False,
    as_json: Json = False,
    broker: Broker = None,
) -> None:
    """Show what is remembered of an account, as its worker has it now."""
    from sluicegate.operations.progress import counted
    from sluicegate.streaming import state_view as view
    from sluicegate.streaming.partitioning import partition_of
    from sluicegate.streaming.state import StateReader, row_of

    settings, bootstrap = reached(context, broker)
    number = partition_of(account, settings.topics.partitions)
    with (
        counted("messages") as progress,
        closing(StateReader(settings, bootstrap, progress)) as reader,
    ):
        state = reader.read(number, checkpointed=checkpointed)
    row = row_of(state.memory, account)
    if row is None:
        raise Problem(
            f"account {account} is not remembered",
            f"its partition would be {number}, which holds {len(state.memory):,} accounts",
        )
    shown = view.view_of(account, row, state.memory)
    if as_json:
        typer.echo(json.dumps(view.as_json(shown, state), ensure_ascii=False, indent=2))
        return
    currency, offset = settings.contract.base_currency, settings.worker.utc_offset_hours
    for line in view.in_words(shown, state, currency, offset):
        typer.echo(line)


@state_app.command("digest", epilog="Example: [bold]sluicegate state digest --checkpointed[/bold]")
def state_digest(
    context: typer.Context,
    checkpointed: Checkpointed = False,
    as_json: Json = False,
    broker: Broker = None,
) -> None:
    """Print SHA-256 of the account rows by partition and of all: equal states, equal lines."""
    from sluicegate.operations.progress import counted
    from sluicegate.streaming.state import StateReader, digests_of

    settings, bootstrap = reached(context, broker)
    with (
        counted("messages") as progress,
        closing(StateReader(settings, bootstrap, progress)) as reader,
    ):
        digests = digests_of(reader.read_all(checkpointed=checkpointed))
    if as_json:
        typer.echo(json.dumps(digests.as_json(), indent=2))
    else:
        typer.echo("\n".join(digests.lines()))


@state_app.command("export", epilog="Example: [bold]sluicegate state export state.parquet[/bold]")
def state_export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The parquet file to write.")],
    broker: Broker = None,
) -> None:
    """Save the checkpointed state of all partitions, one row an account."""
    from sluicegate.operations.progress import counted
    from sluicegate.streaming.state_file import export_state

    settings, bootstrap = reached(context, broker)
    with counted("messages") as progress:
        done = export_state(settings, bootstrap, file, progress)
    typer.echo(f"{done.accounts:,} accounts of {done.partitions} partitions, in {file}")


@state_app.command("import", epilog="Example: [bold]sluicegate state import state.parquet[/bold]")
def state_import(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A parquet file that `state export` wrote.")
    ],
    broker: Broker = None,
) -> None:
    """Bring a saved state back, into changelogs that are empty, while no worker runs."""
    from sluicegate.operations.progress import counted
    from sluicegate.streaming.state_file import import_state

    settings, bootstrap = reached(context, broker)
    with counted("accounts") as progress:
        done = import_state(settings, bootstrap, file, say=_tell, progress=progress)
    typer.echo(f"{done.accounts:,} accounts of {done.partitions} partitions, from {file}")
    if not done.is_same_log:
        _tell(
            "this state was made from other legs logs than those that are there: if these are a "
            "copy of them, `sluicegate state adopt`, else workers will refuse to go on"
        )


@state_app.command("rebuild", epilog="Example: [bold]sluicegate state rebuild --workers 2[/bold]")
def state_rebuild(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes to do it.")] = 1,
    yes: Yes = False,
    broker: Broker = None,
) -> None:
    """Forget state and legs, and make them anew from the transactions topic.

    While no router and no worker runs. Alerts come again with the ids that they had.
    """
    from sluicegate.operations.progress import counted
    from sluicegate.operations.state_rebuild import rebuild, require_idle
    from sluicegate.streaming.topics import Topics

    settings, bootstrap = reached(context, broker)
    require_idle(settings, bootstrap, _tell)
    topics = Topics.of(settings)
    _confirm(f"Delete {topics.legs} and {topics.changelog} and make them anew?", yes=yes)
    with counted("transactions") as progress:
        done = rebuild(settings, bootstrap, workers=workers, say=_tell, progress=progress)
    typer.echo(
        f"{done.transactions:,} transactions routed and applied in {done.seconds:.1f} s; "
        f"start routers and workers"
    )


@state_app.command("adopt", epilog="Example: [bold]sluicegate state adopt --yes[/bold]")
def state_adopt(context: typer.Context, yes: Yes = False, broker: Broker = None) -> None:
    """Let the state go on with logs that were moved as they are, such as to a mirrored cluster.

    While no worker runs. The place of each partition must lie in the log that is there now.
    """
    from sluicegate.operations.progress import counted
    from sluicegate.streaming.state_adopt import adopt
    from sluicegate.streaming.topics import Topics

    settings, bootstrap = reached(context, broker)
    legs = Topics.of(settings).legs
    _confirm(f"Is {legs} at {bootstrap} the very log that the state was made from?", yes=yes)
    with counted("messages") as progress:
        moved = adopt(settings, bootstrap, say=_tell, progress=progress)
    which = ", ".join(map(str, moved))
    typer.echo(f"partitions {which} go on from this log" if moved else "all partitions fit already")
