"""Files of named tables in TOML (patterns, rules): a model, or one line on what is wrong."""

import tomllib
from collections.abc import Collection, Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from sluicegate.errors import Problem
from sluicegate.judging.expressions import did_you_mean

M = TypeVar("M", bound=BaseModel)


def read_declared(
    model: type[M], text: str, origin: str, *, table: str, entries: Collection[str]
) -> M:
    """The model of a TOML text.

    Args:
        model: What the text declares.
        text: The TOML.
        origin: Named in what goes wrong.
        table: The array of tables that have names, as `pattern` in `[[pattern]]`.
        entries: Every entry there is, for what a misspelt one was meant to be.

    Raises:
        Problem: names the origin, the table and the first thing that is wrong.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"{origin}: is not TOML", str(error)) from error
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise Problem(_first_complaint(error, raw, origin, table, entries)) from error


def _first_complaint(
    error: ValidationError,
    raw: Mapping[str, object],
    origin: str,
    table: str,
    entries: Collection[str],
) -> str:
    # A misspelt entry first: that another one is missing then is its consequence.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    place, where = list(first["loc"]), origin
    if len(place) > 1 and place[0] == table:
        where, place = f"{origin}: {_label(raw, table, place[1])}", place[2:]
    field = ".".join(str(part) for part in place if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f'{where}: unknown entry "{field}"{did_you_mean(str(place[-1]), entries)}'
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {field}: {message}" if field else f"{where}: {message}"


def _label(raw: Mapping[str, object], table: str, index: int | str) -> str:
    """What a table is called: its name, or which one it is."""
    tables = raw[table]
    if isinstance(tables, list) and isinstance(index, int) and isinstance(tables[index], dict):
        name = tables[index].get("name")
        return f'{table} "{name}"' if name else f"{table} number {index + 1}"
    return table
