"""What banks and police tell of accounts: `sluicegate accounts` and `sluicegate directives`."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from sluicegate.errors import Problem
from sluicegate.options import Broker, reached, settings_of
from sluicegate.tools import Json, moment

# What a command needs is loaded in it, so that --help is there at once; options are arguments.
# ruff: noqa: PLC0415, PLR0917, FBT002

Kind = Literal["involved", "punished", "whitelisted", "watched"]

accounts_app = typer.Typer(
    help="Tell of account holders: age, income, documents, standing.", no_args_is_help=True
)
directives_app = typer.Typer(
    help="Say how accounts are to be judged: involved, punished, whitelisted, watched.",
    no_args_is_help=True,
)


def _expiry(text: str) -> datetime:
    """A time of its own, or so long from now."""
    said = moment(text)
    return datetime.now(UTC) + said if isinstance(said, timedelta) else said


@accounts_app.command(
    "import", epilog="Example: [bold]sluicegate accounts import profiles.parquet[/bold]"
)
def accounts_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .parquet, .csv, .csv.gz or .ndjson file.")],
    broker: Broker = None,
) -> None:
    """Send the profiles of a file; a later profile of an account replaces the earlier one.

    Columns are the fields of docs/schemas/profile.schema.json; in CSV, lists have semicolons.
    """
    from sluicegate.domain.fields import Rules
    from sluicegate.operations.progress import counted
    from sluicegate.operations.tell import read_profiles, send

    rules = Rules(max_bytes=settings_of(context).contract.max_bytes)
    profiles = read_profiles(file, rules)
    settings, bootstrap = reached(context, broker)
    with counted("profiles") as progress:
        send(settings, bootstrap, profiles, progress)
    typer.echo(f"{len(profiles):,} profiles sent")


@directives_app.command(
    "add",
    epilog="Examples: [bold]sluicegate directives add 6222...0017 involved --reason 'case 2026-118'"
    "[/bold], [bold]sluicegate directives add 6222...0017 whitelisted --counterparty 6222...0044 "
    "--pattern far-above-own-largest --until 90d --reason 'bought a house'[/bold]",
)
def directives_add(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Whose legs are judged so.")],
    kind: Annotated[Kind, typer.Argument(help="What is said of it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with it.")],
    id_: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="By which it is ended; else a new one.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", parser=_expiry, help="RFC 3339, or 48h, 30d from now."),
    ] = None,
    counterparty: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="The other account of a whitelisted pair.")
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A whitelisted pattern; may be given again."),
    ] = None,
    issued_by: Annotated[str | None, typer.Option(metavar="NAME", help="Who says so.")] = None,
    broker: Broker = None,
) -> None:
    """Say something of an account; it counts from its next movement on. Prints the id."""
    from sluicegate.domain.directive import parse_directive
    from sluicegate.domain.fields import Rules, time_text
    from sluicegate.domain.refusal import Refused
    from sluicegate.operations.tell import patterns_in_force, require_patterns, send

    said = {
        "id": id_ or str(uuid.uuid4()),
        "account": account,
        "kind": kind,
        "issued_at": time_text(time.time_ns() // 1_000_000),
        "expires_at": until and time_text(round(until.timestamp() * 1000)),
        "counterparty": counterparty,
        "patterns": pattern,
        "reason": reason,
        "issued_by": issued_by,
    }
    directive = parse_directive(json.dumps(said).encode(), 0, Rules())
    if isinstance(directive, Refused):
        raise Problem(
            "that is no directive",
            f"{directive.refusal.value}: {directive.field} {directive.detail}",
            "a whitelist needs --pattern and --until",
        )
    settings, bootstrap = reached(context, broker)
    if directive.patterns:
        require_patterns(patterns_in_force(settings, bootstrap), directive.patterns)
    send(settings, bootstrap, [directive])
    typer.echo(directive.id)


@directives_app.command("end", epilog="Example: [bold]sluicegate directives end 7f1c...[/bold]")
def directives_end(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `add` printed it.")],
    account: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Where several have the same id.")
    ] = None,
    broker: Broker = None,
) -> None:
    """End a directive; others of its account go on."""
    from sluicegate.operations.tell import directives_of, end_of, send

    settings, bootstrap = reached(context, broker)
    now_ms = time.time_ns() // 1_000_000
    listed = directives_of(settings, bootstrap, now_ms)
    send(settings, bootstrap, [end_of(listed, id_, account, now_ms)])
    typer.echo(f"{id_} ends")


@directives_app.command("list", epilog="Example: [bold]sluicegate directives list --all[/bold]")
def directives_list(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Only of this account.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Ended and expired ones too.")] = False,
    as_json: Json = False,
    broker: Broker = None,
) -> None:
    """List what holds, in order of issue; account numbers are masked, but in JSON."""
    from sluicegate.domain.alert import moment_of
    from sluicegate.operations.dead_letter_view import masked
    from sluicegate.operations.progress import counted
    from sluicegate.operations.tell import directives_of

    settings, bootstrap = reached(context, broker)
    with counted("records") as progress:
        listed = directives_of(settings, bootstrap, time.time_ns() // 1_000_000, progress)
    shown = [
        each
        for each in listed
        if (every or each.is_in_force) and account in {None, each.directive.account}
    ]
    if as_json:
        rows = [
            {**each.directive.model_dump(mode="json", by_alias=True), "in_force": each.is_in_force}
            for each in shown
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for each in shown:
        said = each.directive
        state = "" if each.is_in_force else (" expired" if each.is_expired else " ended")
        until = f" until {moment_of(said.expires_at_ms).isoformat()}" if said.expires_at_ms else ""
        pair = f" with {masked(said.counterparty)}" if said.counterparty else ""
        names = f" for {', '.join(said.patterns)}" if said.patterns else ""
        typer.echo(
            f"{said.id}  {masked(said.account)}  {said.kind.value}{pair}{names}{until}{state}  "
            f"{said.reason or ''}".rstrip()
        )
    typer.echo(f"{len(shown):,} of {len(listed):,} directives", err=True)


@directives_app.command(
    "import", epilog="Example: [bold]sluicegate directives import involved.csv[/bold]"
)
def directives_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .parquet, .csv, .csv.gz or .ndjson file.")],
    broker: Broker = None,
) -> None:
    """Send the directives of a file, such as a list of the police.

    Columns are the fields of docs/schemas/directive.schema.json; in CSV, lists have semicolons.
    """
    from sluicegate.operations.progress import counted
    from sluicegate.operations.tell import patterns_in_force, read_directives, send

    settings, bootstrap = reached(context, broker)
    directives = read_directives(file, settings, patterns_in_force(settings, bootstrap))
    with counted("directives") as progress:
        send(settings, bootstrap, directives, progress)
    typer.echo(f"{len(directives):,} directives sent")


cases_app = typer.Typer(
    help="Look at the cases that alerts were grouped into.", no_args_is_help=True
)


@cases_app.command("list", epilog="Example: [bold]sluicegate cases list --watch[/bold]")
def cases_list(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="Those below the cut-off instead.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="So many of the worst.")] = 50,
    as_json: Json = False,
) -> None:
    """List cases, worst first: rank, account, alerts, what happened; accounts are masked."""
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.orm import Session

    from sluicegate.domain.money import amount_display
    from sluicegate.liaison.cases import Queue, cases_of, counts
    from sluicegate.liaison.database import open_database, reason_of
    from sluicegate.liaison.schema import prepare_tables
    from sluicegate.operations.dead_letter_view import masked

    engine = open_database(settings_of(context).liaison.url)
    try:
        prepare_tables(engine)
        with Session(engine) as session:
            found = cases_of(session, Queue.WATCH if watch else Queue.REVIEW, limit)
            waiting = counts(session)
    except SQLAlchemyError as error:
        raise Problem("the database of the desk cannot be read", reason_of(error)) from error
    finally:
        engine.dispose()
    if as_json:
        columns = [column.name for column in found[0].__table__.columns] if found else []
        rows = [{name: getattr(case, name) for name in columns} for case in found]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=str))
        return
    for case in found:
        names = sorted(case.patterns, key=case.patterns.__getitem__, reverse=True)
        typer.echo(
            f"{case.rank:.3f}  {masked(case.account)}  {case.measure:14} "
            f"{case.alerts:4} alerts, {case.echoes} of them echoes, "
            f"up to {amount_display(case.amount_minor)}  {', '.join(names[:4])}"
        )
    in_all = ", ".join(f"{number:,} in {queue}" for queue, number in sorted(waiting.items()))
    typer.echo(f"{len(found):,} shown; {in_all or 'no cases'}", err=True)
