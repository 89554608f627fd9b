"""What several commands share: options, and the way to settings and broker."""

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from sluicegate.settings import Settings

# What a command needs is loaded in it, so that --help is there at once.
# ruff: noqa: PLC0415


_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(text: str) -> timedelta | None:
    """What `30m`, `2h` or `7d` mean; None for another text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]]) if found else None


def milliseconds(text: str) -> int:
    """The same in ms; 0 for another text."""
    return (duration(text) or timedelta(0)) // timedelta(milliseconds=1)


def _delay(value: str) -> str:
    if duration(value) is None:
        raise typer.BadParameter(f"{value!r} is not a time such as 7d, 12h or 30m")
    return value


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
LabelColumns = Annotated[
    str | None,
    typer.Option(metavar="A=B,...", help="The same for labels; else id as in --columns."),
]
LabelDelay = Annotated[
    str,
    typer.Option(metavar="T", callback=_delay, help="When labels are known: 7d, 12h, 0d."),
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
