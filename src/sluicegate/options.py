"""What several commands share: options, and the way to settings and broker."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sluicegate.settings import Settings

# What a command needs is loaded in it, so that --help is there at once.
# ruff: noqa: PLC0415


def _addresses(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*", value):
        raise typer.BadParameter(f"{value!r} is not host:port, or several with commas")
    return value


Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        metavar="HOST:PORT",
        help="Kafka to use instead of the configured one; several addresses with commas.",
        callback=_addresses,
    ),
]

ColumnMap = Annotated[
    str | None,
    typer.Option(metavar="A=B,...", help="Columns of the file and the fields that they stand for."),
]
Timezone = Annotated[
    str, typer.Option(metavar="ZONE", help="Zone of times that are written without an offset.")
]
FittedModel = Annotated[
    Path | None, typer.Option("--model", metavar="FILE", help="A model made by sluicegate fit.")
]


def settings_of(context: typer.Context, broker: str | None = None) -> "Settings":
    """The settings, with the broker of the command line in place of the configured one."""
    from sluicegate.settings import load_settings

    settings = load_settings(context.obj)
    if broker is None:
        return settings
    return settings.changed(broker={"bootstrap": broker})


def reached(context: typer.Context, broker: str | None) -> "tuple[Settings, str]":
    """Settings, and the address of a broker that answers."""
    from sluicegate.operations.parts import bootstrap_of
    from sluicegate.streaming.clients import wait_for_broker

    settings = settings_of(context, broker)
    bootstrap = bootstrap_of(settings.broker)
    wait_for_broker(settings, bootstrap, lambda sentence: typer.echo(sentence, err=True))
    return settings, bootstrap
