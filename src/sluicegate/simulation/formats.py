"""The formats of the topics as the auditor reads them: its own reading of docs/legs-format.md.

Nothing of the pipeline is used, so that a mistake in the pipeline is not a mistake here as well.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]

FROM_ROUTER: Final = 1
"""Record type of departures and cash arrivals."""
FROM_WORKERS: Final = 2
"""Record type of arrivals with provenance."""
NO_ARRIVAL_FOLLOWS: Final = 1
"""Flag of a departure: the money leaves the accounts that are watched."""

_HEADER: Final = struct.Struct("<4sBBHI4x")
_ARRIVALS: Final = 2
"""Behind their records may lie what a fitted model reads of the payers."""
_LINK: Final = np.dtype(
    [
        ("source_partition", "<u4"),
        ("pad", "<u4"),
        ("first", "<i8"),
        ("last", "<i8"),
        ("previous", "<i8"),
    ]
)
_LEG: Final = np.dtype(
    [
        ("account", "S40"),
        ("counterparty", "S40"),
        ("transaction", "S64"),
        ("position", "<i8"),
        ("occurred_at_ms", "<i8"),
        ("recorded_at_ms", "<i8"),
        ("amount_minor", "<i8"),
        ("source_partition", "<u4"),
        ("side", "i1"),
        ("channel", "u1"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("provenance", "<f4", (16,)),
    ]
)
_CONTENT: Final = ("id", "occurred_at", "amount", "payer_account", "payee_account")


@dataclass(frozen=True, slots=True)
class LegsMessage:
    """One message of a legs log: its place, and its parts still as bytes."""

    log_offset: int
    timestamp_ms: int
    record_type: int
    links: NDArray[np.void]
    count: int
    body: bytes


def read_legs(log_offset: int, timestamp_ms: int, value: bytes | None) -> LegsMessage | None:
    """The message, or None when it has no known form."""
    if value is None or len(value) < _HEADER.size:
        return None
    magic, record_type, _, links, count = _HEADER.unpack_from(value)
    start = _HEADER.size + links * _LINK.itemsize
    found = _widened(value[start:], count)
    if magic != b"SLG2" or len(value) < start or found is None:
        return None
    body, taken = found
    rest = value[start + taken :]
    if rest and (record_type != _ARRIVALS or len(rest) != _brought_size(rest, count)):
        return None
    return LegsMessage(
        log_offset=log_offset,
        timestamp_ms=timestamp_ms,
        record_type=record_type,
        links=np.frombuffer(value, _LINK, count=links, offset=_HEADER.size),
        count=count,
        body=body,
    )


def _brought_size(octets: bytes, count: int) -> int:
    """How many bytes what arrivals bring for a model should take; -1 where that cannot be said."""
    columns = int.from_bytes(octets[:4], "little")
    if not count or len(octets) < 8 + 4 * columns:
        return -1
    kinds: list[int] = np.frombuffer(octets, "<u4", columns, 8).tolist()
    each = {0: 4 * count, 1: 0}  # too many values, or one; else a byte a record
    return 8 + 4 * columns + sum(4 * kind + each.get(kind, count) for kind in kinds)


def _widened(octets: bytes, count: int) -> tuple[bytes, int] | None:
    """The records of columns as rows, and how many bytes they took; None if they are not there."""
    if not count:
        return b"", 0
    words = _LEG.itemsize // 8
    at = words * 8 + -(-words // 8) * 8
    if len(octets) < at:
        return None
    least, widths = np.frombuffer(octets, "<u8", words), octets[words * 8 : words * 9]
    if not set(widths) <= {0, 1, 2, 4, 8} or len(octets) < at + sum(widths) * count:
        return None
    rows = np.empty((count, words), "<u8")
    for width in (8, 4, 2, 1, 0):
        for column in [number for number, each in enumerate(widths) if each == width]:
            rows[:, column] = least[column]
            if width:
                rows[:, column] += np.frombuffer(octets, f"<u{width}", count, at)
                at += width * count
    return rows.tobytes(), at


def records_of(messages: Sequence[LegsMessage]) -> NDArray[np.void]:
    """The records of all messages, one after another."""
    return np.frombuffer(b"".join(message.body for message in messages), _LEG)


def read_transactions(values: Sequence[bytes | None]) -> pl.DataFrame:
    """What tells transactions apart, as text: one row for each value, null where there is none.

    Polars reads what it can at once; a batch that holds anything odd is read one by one.
    """
    schema = dict.fromkeys(_CONTENT, pl.String)
    joined = b"\n".join(value or b"" for value in values)
    if joined.count(b"\n") == len(values) - 1:
        try:
            frame = pl.read_ndjson(joined, schema=schema)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            frame = pl.DataFrame(schema=schema)
        if frame.height == len(values):
            return frame
    return pl.DataFrame([_content(value) for value in values], schema=schema, orient="row")


def _content(value: bytes | None) -> tuple[str | None, ...]:
    try:
        found = json.loads(value or b"null", parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return (None,) * len(_CONTENT)
    fields = (found.get(name) for name in _CONTENT)
    return tuple(_encodable(text) if isinstance(text, str) else None for text in fields)


def _encodable(text: str) -> str:
    """Lone surrogates are legal in JSON, but not in polars."""
    return text.encode("utf-8", "replace").decode("utf-8")


def hashes_of(frame: pl.DataFrame) -> tuple[Hashes, Hashes, Flags]:
    """Hashes of the ids and of all that tells transactions apart; which rows have all of it.

    The same moment and the same amount are the same, however they are written.
    """
    at = pl.col("occurred_at").str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="ms", time_zone="UTC", strict=False
    )
    amount = (
        (pl.col("amount").cast(pl.Float64, strict=False) * 100).round().cast(pl.Int64, strict=False)
    )
    known = frame.with_columns(at, amount)
    complete = known.select(
        pl.all_horizontal(pl.col("id", "occurred_at", "amount").is_not_null())
        & pl.any_horizontal(pl.col("payer_account", "payee_account").is_not_null())
    )
    return (
        hash_ids(known["id"]),
        known.hash_rows(seed=1).to_numpy(),
        complete.to_series().to_numpy(),
    )


def hash_ids(ids: Sequence[str] | pl.Series) -> Hashes:
    """The hash of each id."""
    return pl.Series(ids, dtype=pl.String).hash(seed=1).to_numpy()


@dataclass(frozen=True, slots=True)
class Alert:
    """What the books need of an alert."""

    id: str
    transaction: str
    account: str
    occurred_at_ms: int
    recorded_at_ms: int


def read_alert(value: bytes | None) -> Alert | None:
    """The alert, or None when it has no known form."""
    try:
        said: dict[str, Any] = json.loads(value or b"")
        return Alert(
            id=str(said["id"]),
            transaction=str(said["transaction_id"]),
            account=str(said["account"]),
            occurred_at_ms=_moment(said["occurred_at"]),
            recorded_at_ms=_moment(said["recorded_at"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def read_progress(value: bytes | None) -> dict[int, int] | None:
    """Applied offset of each legs partition, or None when the record has no known form."""
    try:
        applied = json.loads(value or b"")["applied"]
        return {int(partition): int(offset) for partition, offset in applied.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


Headers = Sequence[tuple[str, bytes | str | None]] | Mapping[str, bytes | str | None] | None
"""As confluent-kafka gives them."""


def read_refused(headers: Headers, topic: str) -> tuple[int, int] | None:
    """Source partition and offset of a dead letter that came from `topic`; else None."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    named = {name: _text(value) for name, value in pairs}
    if named.get("source_topic") != topic:
        return None
    try:
        return int(named["source_partition"]), int(named["source_offset"])
    except (KeyError, ValueError):
        return None


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
