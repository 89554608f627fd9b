"""Files of transactions in: parquet, CSV and NDJSON, their columns mapped to the contract's.

A file is taken as a whole: what cannot be read at all (a time that is no time) is a Problem that
names the row. What can be read but is no valid transaction is left to the contract to refuse.
"""

import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path

import numpy as np
import polars as pl

from sluicegate.domain.transaction import Channel, Kind
from sluicegate.errors import Problem
from sluicegate.history.tables import collect, column_names, did_you_mean, scan, sources_of, text_of

FIELDS = (
    *("id", "occurred_at", "amount", "currency", "payer_account", "payee_account"),
    *("payer_bank", "payee_bank", "channel", "kind", "payer_region", "payee_region"),
    *("device_id", "ip", "branch", "memo"),
)
"""The fields of the contract that a column can stand for."""
REQUIRED = ("id", "occurred_at", "amount")
ACCOUNTS = ("payer_account", "payee_account")
EXACT_FLOAT_MINOR = 10**15
"""Below this a double tells amounts of two decimals apart: 15 decimal digits survive."""
LARGEST_MINOR = 10**18


@dataclass(frozen=True)
class Summary:
    """What was read, and what had to be changed to fit the contract."""

    transactions: int
    first_ms: int
    last_ms: int
    rounded_amounts: int
    other_kinds: int
    other_channels: int
    times_without_offset: int
    timezone: str

    def sentences(self) -> list[str]:
        """The summary for people; a change that did not happen has no sentence."""
        if not self.transactions:
            return ["no transactions"]
        first, last = (
            datetime.fromtimestamp(each // 1000, UTC).strftime("%Y-%m-%d %H:%M")
            for each in (self.first_ms, self.last_ms)
        )
        changes = [
            (self.rounded_amounts, "amounts with more than 2 decimals rounded half to even"),
            (self.other_kinds, f"of a kind that is unknown, taken as {Kind.OTHER}"),
            (self.other_channels, f"of a channel that is unknown, taken as {Channel.OTHER}"),
            (self.times_without_offset, f"times without an offset, taken as {self.timezone}"),
        ]
        whole = f"{self.transactions:,} transactions, {first} to {last} UTC"
        return [whole, *(f"{number:,} {what}" for number, what in changes if number)]


@dataclass(frozen=True)
class Events:
    """The transactions of a file in time order; equal times keep the order of the file.

    `frame` has one row a transaction: `id`, `payer_account`, `payee_account` (text or null),
    `occurred_at_ms` (UTC) and `amount_minor` (Int64), `channel` and `kind` (text of the contract,
    never null), and those of the optional fields that the file has (text or null).
    """

    frame: pl.DataFrame
    summary: Summary

    def messages(self, chunk: int = 10_000) -> Iterator[list[tuple[bytes | None, bytes]]]:
        """Key and value of each transaction's Kafka message, in order, `chunk` at a time."""
        for each in self.frame.iter_slices(chunk):
            wire = each.select(key=_key(), value=pl.struct(_wire(each)).struct.json_encode())
            octets = wire.select(pl.all().cast(pl.Binary))
            yield list(zip(octets["key"].to_list(), octets["value"].to_list(), strict=True))


def read_events(path: Path, *, columns: str | None = None, timezone: str = "UTC") -> Events:
    """Read a file of transactions.

    Args:
        path: A file of one of `tables.FORMATS`.
        columns: `name in the file=field of the contract`, with commas; columns that already have
            the name of a field need no entry, all others are left out.
        timezone: IANA name of the zone of the times that are written without an offset.

    Raises:
        Problem: The file, the map or the zone is wrong, or a value cannot be read.
    """
    _check_timezone(timezone)
    raw = scan(path)
    present = column_names(path, raw)
    sources = sources_of(path, present, columns, FIELDS)
    _check_required(path, present, sources)
    frame = collect(path, raw.select(pl.col(name).alias(field) for field, name in sources.items()))
    return _events(path, frame, timezone)


def _check_timezone(timezone: str) -> None:
    known = zoneinfo.available_timezones()
    if timezone not in known:
        raise Problem(f"unknown time zone {timezone!r}", hint=did_you_mean(timezone, known))


def _check_required(path: Path, present: Sequence[str], sources: dict[str, str]) -> None:
    missing = [field for field in REQUIRED if field not in sources]
    if not any(field in sources for field in ACCOUNTS):
        missing += ACCOUNTS
    if missing:
        raise Problem(
            f"{path}: no column for {', '.join(missing)}",
            f"its columns are {', '.join(present)}",
            f"name them with --columns, such as {present[0] if present else 'x'}={missing[0]}",
        )


def _events(path: Path, raw: pl.DataFrame, timezone: str) -> Events:
    """The columns in the contract's types, in time order."""
    times, without_offset = times_of(path, raw["occurred_at"], timezone)
    amounts, rounded = _amounts(path, raw["amount"])
    channels, other_channels = _names(path, raw, "channel", Channel)
    kinds, other_kinds = _names(path, raw, "kind", Kind)
    made = ("occurred_at", "amount", "channel", "kind")
    texts = [text_of(path, raw[field]) for field in raw.columns if field not in made]
    absent = [
        pl.Series(field, [None] * raw.height, dtype=pl.String)
        for field in ACCOUNTS
        if field not in raw.columns
    ]
    frame = pl.DataFrame([*texts, *absent, times, amounts, channels, kinds])
    frame = frame.sort("occurred_at_ms", maintain_order=True)
    ordered = frame["occurred_at_ms"]
    summary = Summary(
        transactions=frame.height,
        first_ms=int(ordered[0]) if frame.height else 0,
        last_ms=int(ordered[-1]) if frame.height else 0,
        rounded_amounts=rounded,
        other_kinds=other_kinds,
        other_channels=other_channels,
        times_without_offset=without_offset,
        timezone=timezone,
    )
    return Events(frame, summary)


def times_of(path: Path, column: pl.Series, timezone: str) -> tuple[pl.Series, int]:
    """Milliseconds since the epoch, finer fractions cut off; how many times had no offset.

    Raises:
        Problem: the column holds no times, or one that cannot be read.
    """
    name = column.name
    match column.dtype:
        case pl.String():
            times, without_offset = _times_of_text(column, timezone)
        case pl.Datetime() as kind if kind.time_zone is not None:
            times, without_offset = column, 0
        case pl.Datetime() | pl.Date():
            times = _in_zone(column.cast(pl.Datetime("us")), timezone)
            without_offset = len(column) - column.null_count()
        case other:
            raise Problem(f"{path}: {name} is {other}, not a time", hint=_TIME_HINT)
    _check_all_read(path, name, column, times, _TIME_HINT)
    return times.dt.timestamp("ms").alias(f"{name}_ms"), without_offset


_TIME_HINT = "times look like 2026-03-01T09:30:00+08:00 or 2026-03-01 09:30:00.125"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.f"


def _times_of_text(column: pl.Series, timezone: str) -> tuple[pl.Series, int]:
    text = (
        column.str.strip_chars()
        .str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T")
        .str.replace(r"[Zz]$", "+00:00")
        .str.replace(r" ([-+]\d{2}:?\d{2})$", "${1}")
    )
    with_offset = text.str.to_datetime(_TIME_FORMAT + "%#z", strict=False, time_unit="us")
    local = text.str.to_datetime(_TIME_FORMAT, strict=False, time_unit="us")
    frame = pl.DataFrame({"known": with_offset, "assumed": _in_zone(local, timezone)})
    without_offset = int((with_offset.is_null() & local.is_not_null()).sum())
    return frame.select(pl.coalesce("known", "assumed")).to_series(), without_offset


def _in_zone(local: pl.Series, timezone: str) -> pl.Series:
    """Local times as moments: the first of two in autumn, none (null) within the gap of spring."""
    zoned = local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


def _amounts(path: Path, column: pl.Series) -> tuple[pl.Series, int]:
    """Minor units, rounded half to even; how many amounts the rounding changed."""
    kind = column.dtype
    if kind.is_integer():
        minor = _minor_of_integers(column)
        unsure = pl.Series([], dtype=pl.UInt32)
    elif kind.is_float():
        minor, unsure = _minor_of_floats(column)
    elif kind == pl.String or kind.is_decimal():
        minor, unsure = _minor_of_text(column.cast(pl.String).str.strip_chars())
    else:
        raise Problem(f"{path}: amount is {kind}, not a number")
    exact = [_minor_of_decimal(str(column[row]).strip()) for row in unsure]
    minor = minor.scatter(unsure, pl.Series([value for value, _ in exact], dtype=pl.Int64))
    _check_all_read(path, "amount", column, minor, "amounts look like 1234.50")
    return minor.alias("amount_minor"), sum(rounded for _, rounded in exact)


def _minor_of_integers(column: pl.Series) -> pl.Series:
    bounded = column.cast(pl.Int128).is_between(-(LARGEST_MINOR // 100), LARGEST_MINOR // 100)
    frame = pl.DataFrame({"major": column, "bounded": bounded})
    major = pl.when("bounded").then("major").cast(pl.Int64)
    return frame.select(major * 100).to_series()


def _minor_of_floats(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Minor units where the shortest decimal of the float has two decimals; the rows left over.

    If minor / 100 gives the float back, then that decimal is the float's shortest one: two
    decimals of at most 15 digits never share a double.
    """
    # numpy, because polars multiplies by 0.01 where it is told to divide by 100.
    amounts = column.cast(pl.Float64).to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        minor = np.rint(amounts * 100)
        sure = (minor / 100 == amounts) & (np.abs(minor) < EXACT_FLOAT_MINOR)
    frame = pl.DataFrame({"minor": minor, "sure": sure})
    kept = frame.select(pl.when("sure").then("minor").cast(pl.Int64)).to_series()
    return kept, pl.Series(np.flatnonzero(~sure & np.isfinite(amounts)), dtype=pl.UInt32)


def _minor_of_text(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Minor units of plain decimals, and the rows that need a closer look."""
    plain = text.str.contains(r"^-?\d{1,15}(\.\d{0,2})?$")
    frame = pl.DataFrame({"text": text, "plain": plain})
    point = pl.col("text").str.splitn(".", 2).struct
    fraction = point.field("field_1").fill_null("").str.pad_end(2, "0")
    digits = pl.concat_str(point.field("field_0"), fraction)
    minor = frame.select(pl.when("plain").then(digits).cast(pl.Int64)).to_series()
    return minor, (~plain).fill_null(value=False).arg_true()


def _minor_of_decimal(text: str) -> tuple[int | None, bool]:
    """Minor units of any decimal, exponents included, and whether rounding changed it."""
    try:
        exact = Decimal(text).scaleb(2)
        rounded = exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        return None, False
    if not rounded.is_finite() or abs(rounded) > LARGEST_MINOR:
        return None, False
    return int(rounded), rounded != exact


def _names(
    path: Path, raw: pl.DataFrame, field: str, names: type[StrEnum]
) -> tuple[pl.Series, int]:
    """The contract's names, upper or lower case; how many were unknown and became `other`."""
    if field not in raw.columns:
        return pl.Series(field, ["other"] * raw.height, dtype=pl.String), 0
    given = text_of(path, raw[field]).str.strip_chars().str.to_lowercase()
    known = given.is_in([name.value for name in names])
    frame = pl.DataFrame({"given": given, "known": known})
    chosen = (
        pl.when(pl.col("known").fill_null(value=False)).then("given").otherwise(pl.lit("other"))
    )
    return frame.select(chosen.alias(field)).to_series(), int((~known).sum())


def _check_all_read(path: Path, field: str, given: pl.Series, read: pl.Series, hint: str) -> None:
    unread = read.is_null().arg_true()
    if len(unread):
        first = unread[0]
        raise Problem(
            f"{path}: {len(unread):,} rows have no readable {field}",
            f"the first is row {first + 1}: {given[first]!r}",
            hint,
        )


def _key() -> pl.Expr:
    return pl.coalesce("payer_account", "payee_account")


def _wire(frame: pl.DataFrame) -> list[pl.Expr]:
    """The fields as they are written in a message."""
    made = ("occurred_at_ms", "amount_minor")
    minor = pl.col("amount_minor")
    sign = pl.when(minor < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    cents = (minor.abs() % 100).cast(pl.String).str.zfill(2)
    moment = pl.from_epoch("occurred_at_ms", time_unit="ms")
    return [
        *(pl.col(name) for name in frame.columns if name not in made),
        moment.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias("occurred_at"),
        pl.concat_str(sign, minor.abs() // 100, pl.lit("."), cents).alias("amount"),
    ]
