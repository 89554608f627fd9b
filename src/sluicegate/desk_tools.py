"""The desk beside its pages: `sluicegate desk audit` and `sluicegate desk people`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from sluicegate.errors import Problem
from sluicegate.options import settings_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

# What a command needs is loaded in it, so that --help is there at once.
# ruff: noqa: PLC0415

desk_app = typer.Typer(help="The desk of bank and police, its people and its audit.")
audit_app = typer.Typer(help="Check the audit's chain, or write it out.", no_args_is_help=True)
people_app = typer.Typer(help="Who may sign in, where nobody can.", no_args_is_help=True)
desk_app.add_typer(audit_app, name="audit")
desk_app.add_typer(people_app, name="people")


@contextmanager
def _database(context: typer.Context) -> "Iterator[Engine]":
    from sqlalchemy.exc import SQLAlchemyError

    from sluicegate.liaison.database import open_database, reason_of
    from sluicegate.liaison.schema import prepare_tables

    engine = open_database(settings_of(context).liaison.url)
    try:
        prepare_tables(engine)
        yield engine
    except SQLAlchemyError as error:
        raise Problem("the database of the desk cannot be used", reason_of(error)) from error
    finally:
        engine.dispose()


@contextmanager
def _written(file: Path | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        return
    try:
        with file.open("w", encoding="utf-8") as out:
            yield out
    except OSError as error:
        raise Problem(f"{file}: cannot be written", str(error.strerror)) from error


@audit_app.command("verify", epilog="Example: [bold]sluicegate desk audit verify[/bold]")
def audit_verify(
    context: typer.Context,
    head: Annotated[
        str | None,
        typer.Option(metavar="N:HASH", help="An entry noted elsewhere before; it must be there."),
    ] = None,
) -> None:
    """Check that no entry was edited, removed or moved; 1 and the first fault if one was.

    Prints the head of the chain: noted elsewhere, it also shows a chain that was written anew.
    """
    from sqlalchemy.orm import Session

    from sluicegate.desk.audit import entries, head_of, verify
    from sluicegate.desk.tables import AuditRow

    with _database(context) as engine, Session(engine) as session:
        noted = head_of(session)
        fault = verify(entries(session), noted)
        if fault is not None:
            raise Problem(f"audit: entry {fault.seq} {fault.what}")
        if head is not None:
            number, _, digest = head.partition(":")
            row = session.get(AuditRow, int(number)) if number.isdigit() else None
            if row is None or row.hash != digest:
                raise Problem(f"audit: entry {number} is not the one that was noted")
    typer.echo(f"{noted.seq:,} entries, unbroken; the head is {noted.seq}:{noted.hash}")


@audit_app.command(
    "export", epilog="Example: [bold]sluicegate desk audit export audit.ndjson[/bold]"
)
def audit_export(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Where to; else standard output.")] = None,
    after: Annotated[int, typer.Option(metavar="N", min=0, help="Only entries after this.")] = 0,
) -> None:
    """Write the audit as JSON lines, in order."""
    from sqlalchemy.orm import Session

    from sluicegate.desk.audit import as_json, entries

    number = 0
    with _database(context) as engine, Session(engine) as session, _written(file) as out:
        for number, row in enumerate(entries(session, after), 1):  # noqa: B007 - told below
            out.write(as_json(row) + "\n")
    typer.echo(f"{number:,} entries", err=True)


@people_app.command("list", epilog="Example: [bold]sluicegate desk people list[/bold]")
def people_list(context: typer.Context) -> None:
    """List who may sign in, as what, and who is disabled or locked."""
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from sluicegate.desk.attempts import locked_addresses
    from sluicegate.desk.tables import PersonRow

    now = datetime.now(UTC)
    with _database(context) as engine, Session(engine) as session:
        for row in session.scalars(select(PersonRow).order_by(PersonRow.name)):
            state = "disabled" if row.disabled_at else "good"
            if locked := locked_addresses(session, row.id, now):
                state = f"locked from {', '.join(locked)}"
            typer.echo(f"{row.name:20}  {row.role:16}  {state:24}  {row.full_name}")


@people_app.command(
    "add",
    epilog="Example: [bold]sluicegate desk people add li.wei --full-name 'Li Wei' "
    "--role supervisor[/bold]",
)
def people_add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="By which one signs in.")],
    full_name: Annotated[str, typer.Option(metavar="TEXT", help="As colleagues see it.")],
    role: Annotated[str, typer.Option(metavar="ROLE", help="bank_officer, police_officer, ...")],
) -> None:
    """Add a person and print the one-time password, this once."""
    from sqlalchemy import select

    from sluicegate.desk import audit
    from sluicegate.desk.pages.people import NAME
    from sluicegate.desk.people import add_person
    from sluicegate.desk.roles import Role
    from sluicegate.desk.tables import PersonRow
    from sluicegate.liaison.schema import writing

    if role not in set(Role):
        raise typer.BadParameter(f"is one of {', '.join(Role)}", param_hint="--role")
    if not NAME.fullmatch(name):
        raise typer.BadParameter("is small letters, digits, dots and dashes", param_hint="NAME")
    now = datetime.now(UTC)
    with _database(context) as engine, writing(engine) as session:
        if session.scalar(select(PersonRow.id).where(PersonRow.name == name)):
            raise Problem(f"there is somebody called {name}")
        _, password = add_person(session, name, full_name, Role(role), now)
        audit.append(session, audit.Act(now, "-", "-", "person-added", name, {"role": role}))
    typer.echo(password)


@people_app.command("reset", epilog="Example: [bold]sluicegate desk people reset admin[/bold]")
def people_reset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose password is lost.")],
) -> None:
    """Give a person a new one-time password and print it; sessions and one-time codes end."""
    from sqlalchemy import select

    from sluicegate.desk import audit
    from sluicegate.desk.people import reset_password
    from sluicegate.desk.tables import PersonRow
    from sluicegate.liaison.schema import writing

    now = datetime.now(UTC)
    with _database(context) as engine, writing(engine) as session:
        row = session.scalar(select(PersonRow).where(PersonRow.name == name))
        if row is None:
            raise Problem(f"there is nobody called {name}")
        password = reset_password(session, row)
        audit.append(session, audit.Act(now, "-", "-", "password-reset", name))
    typer.echo(password)
