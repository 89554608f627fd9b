"""Keys of the counter: `sluicegate counter keys`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sluicegate.errors import Problem
from sluicegate.options import settings_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

# What a command needs is loaded in it, so that --help is there at once.
# ruff: noqa: PLC0415

counter_app = typer.Typer(help="Answer tellers before they pay, and manage their keys.")
keys_app = typer.Typer(help="Keys of branches: made, listed, revoked.", no_args_is_help=True)
counter_app.add_typer(keys_app, name="keys")

SCOPES = "check,outcome,summary"


def _engine(context: typer.Context) -> "Engine":
    from sqlalchemy.exc import SQLAlchemyError

    from sluicegate.counter.database import SETTING, open_counter_database
    from sluicegate.liaison.database import reason_of

    try:
        return open_counter_database(settings_of(context).counter.url)
    except SQLAlchemyError as error:
        raise Problem(f"{SETTING}: the database cannot be used", reason_of(error)) from error


def _scopes(value: str) -> str:
    from sluicegate.counter.keys import Scope

    for name in value.split(","):
        if name not in set(Scope):
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(Scope)}")
    return value


@keys_app.command(
    "create", epilog="Example: [bold]sluicegate counter keys create --branch 0101[/bold]"
)
def keys_create(
    context: typer.Context,
    branch: Annotated[
        str, typer.Option(metavar="NAME", help="Whose key it is; `*` sees checks of all branches.")
    ],
    scopes: Annotated[
        str,
        typer.Option(
            metavar="A,B", callback=_scopes, help="check, outcome, summary, legs (unmasked legs)."
        ),
    ] = SCOPES,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from sluicegate.counter.keys import Scope, create_key

    if not 0 < len(branch) <= 64:
        raise typer.BadParameter("has 1 to 64 characters", param_hint="--branch")
    chosen = frozenset(map(Scope, scopes.split(",")))
    typer.echo(create_key(_engine(context), branch, chosen, datetime.now(UTC)))


@keys_app.command("list", epilog="Example: [bold]sluicegate counter keys list[/bold]")
def keys_list(context: typer.Context) -> None:
    """List the keys: id, branch, scopes, since when, and whether revoked."""
    from sluicegate.counter.database import all_keys

    for row in all_keys(_engine(context)):
        ended = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else "good"
        typer.echo(f"{row.id}  {row.created_at:%Y-%m-%d %H:%M}  {ended:24}  "
                   f"{','.join(row.scopes):28}  {row.branch}")  # fmt: skip


@keys_app.command("revoke", epilog="Example: [bold]sluicegate counter keys revoke 3f9c2a[/bold]")
def keys_revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
) -> None:
    """Revoke a key for good; running counters refuse it within two seconds."""
    from sluicegate.counter.database import revoke_key

    if not revoke_key(_engine(context), key_id, datetime.now(UTC)):
        raise Problem(
            f"there is no good key {key_id}", hint="`sluicegate counter keys list` shows all"
        )
    typer.echo(f"{key_id} is revoked")
