"""Files of labels: which transactions turned out to be fraud, and of what kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from sluicegate.errors import Problem
from sluicegate.history.events import Events, times_of
from sluicegate.history.tables import collect, column_names, scan, sources_of, text_of

LABEL_FIELDS: Final = ("id", "label", "scenario", "known_at")
FRAUD: Final = ("1", "true", "yes", "fraud")
HONEST: Final = ("0", "false", "no", "honest", "normal")

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labels:
    """What became of the `n` transactions of a file, in its order of time."""

    fraud: Bools
    scenario: pl.Series
    """Kind of fraud as text; null for what is honest and where the file does not say."""
    known_at_ms: pl.Series
    """When it became known, in ms since the epoch; null where the file does not say."""
    unlabelled: int
    """Transactions that the labels do not name: taken as honest."""
    unmatched: int
    """Labels of transactions that are not in the file."""

    def sentences(self) -> list[str]:
        """The summary for people; what does not occur has no sentence."""
        found = [f"{int(self.fraud.sum()):,} of {len(self.fraud):,} transactions are fraud"]
        if self.unlabelled:
            found.append(f"{self.unlabelled:,} transactions without a label, taken as honest")
        if self.unmatched:
            found.append(f"{self.unmatched:,} labels of transactions that are not in the file")
        return found


def read_labels(
    path: Path, events: Events, *, columns: str | None = None, timezone: str = "UTC"
) -> Labels:
    """Read the labels of the transactions of `events`.

    Args:
        path: A file of one of `tables.FORMATS` with the columns id, label (0 or 1, true or false)
            and, if it says so, scenario and known_at.
        events: The transactions.
        columns: `name in the file=field of LABEL_FIELDS`, with commas.
        timezone: IANA name of the zone of the times that are written without an offset.

    Raises:
        Problem: The file or the map is wrong, a label cannot be read, labels of one transaction
            contradict each other, or no transaction of `events` has one.
    """
    given = _given(path, columns, timezone)
    labelled = (
        given.group_by("id", maintain_order=True)
        .agg(
            pl.col("fraud").first(),
            pl.col("scenario").first(),
            pl.col("known_at_ms").min(),
            same=pl.col("fraud").n_unique(),
        )
        .with_columns(pl.col("same") == 1)
    )
    if not labelled["same"].all():
        first = labelled.filter(~pl.col("same"))["id"][0]
        raise Problem(f"{path}: {first!r} is labelled both as fraud and as honest")
    joined = events.frame.select("id").join(labelled, on="id", how="left", maintain_order="left")
    unlabelled = joined["fraud"].null_count()
    if unlabelled == joined.height:
        raise Problem(
            f"{path}: no label names a transaction of the file",
            f"labels are of {given['id'].head(3).to_list()}, "
            f"transactions are {events.frame['id'].head(3).to_list()}",
            "name the column with the transaction's id, such as --label-columns txn_id=id",
        )
    scenario = pl.when("fraud").then("scenario").alias("scenario")
    return Labels(
        fraud=joined["fraud"].fill_null(value=False).to_numpy().astype(np.bool_),
        scenario=joined.select(scenario).to_series(),
        known_at_ms=joined["known_at_ms"],
        unlabelled=unlabelled,
        unmatched=labelled.join(events.frame, on="id", how="anti").height,
    )


def _given(path: Path, columns: str | None, timezone: str) -> pl.DataFrame:
    """Columns `id`, `fraud`, `scenario` and `known_at_ms` as the file has them."""
    raw = scan(path)
    present = column_names(path, raw)
    sources = sources_of(path, present, columns, LABEL_FIELDS, "--label-columns")
    missing = [field for field in ("id", "label") if field not in sources]
    if missing:
        raise Problem(
            f"{path}: no column for {' and '.join(missing)}",
            f"its columns are {', '.join(present)}",
            f"name it with --label-columns, such as txn_id={missing[0]}",
        )
    frame = collect(path, raw.select(pl.col(name).alias(field) for field, name in sources.items()))
    ids = text_of(path, frame["id"])
    scenario = (
        text_of(path, frame["scenario"])
        if "scenario" in sources
        else pl.Series("scenario", [None] * frame.height, dtype=pl.String)
    )
    known = pl.Series("known_at_ms", [None] * frame.height, dtype=pl.Int64)
    if "known_at" in sources:
        told = frame["known_at"].is_not_null()
        if told.any():
            times, _ = times_of(path, frame["known_at"].filter(told), timezone)
            known = known.scatter(told.arg_true(), times)
    return pl.DataFrame([ids, _fraud(path, frame["label"]), scenario, known])


def _fraud(path: Path, column: pl.Series) -> pl.Series:
    text = column.cast(pl.Int8) if column.dtype == pl.Boolean else column
    text = text.cast(pl.String).str.strip_chars().str.to_lowercase().str.replace(r"\.0$", "")
    fraud = text.is_in(FRAUD)
    unread = (~fraud & ~text.is_in(HONEST)).fill_null(value=True).arg_true()
    if len(unread):
        first = unread[0]
        raise Problem(
            f"{path}: {len(unread):,} rows have no readable label",
            f"the first is row {first + 1}: {column[first]!r}",
            f"labels are {', '.join(FRAUD)} or {', '.join(HONEST)}",
        )
    return fraud.alias("fraud")
