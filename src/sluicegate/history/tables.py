"""Files of tables: parquet, CSV and NDJSON by the end of their name, their columns mapped."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from sluicegate.errors import Problem

FORMATS = (".parquet", ".csv", ".csv.gz", ".ndjson", ".jsonl")


def scan(path: Path) -> pl.LazyFrame:
    """The file by the end of its name; CSV as text throughout, so that nothing is guessed.

    Raises:
        Problem: There is no such file, or its name ends with none of `FORMATS`.
    """
    if not path.is_file():
        raise Problem(f"{path}: there is no such file")
    name = path.name.lower()
    if name.endswith(".parquet"):
        return pl.scan_parquet(path)
    if name.endswith((".csv", ".csv.gz")):
        return pl.scan_csv(path, infer_schema=False)
    if name.endswith((".ndjson", ".jsonl")):
        return pl.scan_ndjson(path, infer_schema_length=None)
    suffix = "".join(path.suffixes[-2:]) if name.endswith(".gz") else path.suffix
    raise Problem(
        f"{path}: unknown format {suffix!r}",
        f"known are {', '.join(FORMATS)}",
        did_you_mean(suffix, FORMATS) if suffix else "",
    )


def column_names(path: Path, raw: pl.LazyFrame) -> list[str]:
    """The columns of a file.

    Raises:
        Problem: The file is not what its name says.
    """
    try:
        return raw.collect_schema().names()
    except PolarsError as error:
        raise _unreadable_file(path, error) from error


def collect(path: Path, frame: pl.LazyFrame) -> pl.DataFrame:
    """What was asked of a file.

    Raises:
        Problem: The file is not what its name says.
    """
    try:
        return frame.collect()
    except PolarsError as error:
        raise _unreadable_file(path, error) from error


def _unreadable_file(path: Path, error: PolarsError) -> Problem:
    return Problem(f"{path}: cannot be read", str(error).partition("\n")[0])


def sources_of(
    path: Path,
    present: Sequence[str],
    columns: str | None,
    fields: Sequence[str],
    option: str = "--columns",
) -> dict[str, str]:
    """The column of the file for each field: those of the map, then those of the same name.

    Args:
        path: The file, for what is said when something is wrong.
        present: The columns of the file.
        columns: `name in the file=field`, with commas.
        fields: The fields that a column can stand for.
        option: The option that gave the map.

    Raises:
        Problem: The map cannot be read, or names what is not there.
    """
    sources: dict[str, str] = {}
    for entry in (columns or "").split(","):
        if not entry.strip():
            continue
        name, equals, field = (part.strip() for part in entry.partition("="))
        if not equals or not name or not field:
            raise Problem(
                f"{option}: {entry!r} is not name=field", hint="such as txn_id=id,ts=occurred_at"
            )
        if field not in fields:
            raise Problem(f"{option}: unknown field {field!r}", hint=did_you_mean(field, fields))
        if name not in present:
            hint = did_you_mean(name, present)
            raise Problem(f"{option}: {path} has no column {name!r}", hint=hint)
        if field in sources:
            raise Problem(f"{option}: {field} is mapped twice: {sources[field]} and {name}")
        sources[field] = name
    taken = set(sources.values())
    for field in fields:
        if field not in sources and field in present and field not in taken:
            sources[field] = field
    return sources


def text_of(path: Path, column: pl.Series) -> pl.Series:
    """The column as text; the empty text counts as null.

    Raises:
        Problem: The column holds something that is no text.
    """
    try:
        text = column.cast(pl.String)
    except PolarsError as error:
        raise Problem(f"{path}: {column.name} is {column.dtype}, not text") from error
    empty = pl.when(pl.col(column.name) != "").then(pl.col(column.name))
    return text.to_frame().select(empty).to_series()


def did_you_mean(name: str, known: Sequence[str] | set[str]) -> str:
    """The nearest known name as a question, or what is known."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    few = sorted(known)[:20]
    return f"known are {', '.join(few)}{', ...' if len(known) > len(few) else ''}"
