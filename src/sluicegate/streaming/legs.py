"""The legs log: batches of records of one type, each naming where its records came from.

One Kafka message is one batch: a header, then its records by column (docs/legs-format.md). For each
source partition in it the header names the first and the last position, and the last position
sent to this legs partition before, so that the reader drops repeats and refuses holes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.errors import Problem
from sluicegate.memory.accounts import Records
from sluicegate.memory.row import ACTIVATION, DIRECTIVE, LEG, PROFILE
from sluicegate.streaming.brought import NotBroughtError, lengthen, shorten
from sluicegate.streaming.columns import NotColumnsError, narrow, widen

MAGIC: Final = b"SLG2"
NOTHING_BEFORE: Final = -1
POSITION_BITS: Final = 16
"""An arrival's position is the offset of its departure's batch, then its index in that batch."""
INDEX_MASK: Final = (1 << POSITION_BITS) - 1
MOST_RECORDS: Final = 8_192
"""In one message: at most 2.0 MB, half of what the topic takes."""

_HEADER: Final = struct.Struct("<4sBBHI4x")
_CHAIN: Final = struct.Struct("<IIqqq")


class RecordType(IntEnum):
    """What the records of a batch are; one batch, one type."""

    DEPARTURES = 1
    """Departures and cash arrivals, written by the router."""
    ARRIVALS = 2
    """Arrivals with provenance, written by workers."""
    PROFILES = 3
    """What the bank tells of account holders, written by the router."""
    DIRECTIVES = 4
    """How accounts are to be judged, written by the router."""
    ACTIVATIONS = 5
    """By which pattern set legs are judged from here on, written by the router."""


RECORD: Final = {
    RecordType.DEPARTURES: LEG,
    RecordType.ARRIVALS: LEG,
    RecordType.PROFILES: PROFILE,
    RecordType.DIRECTIVES: DIRECTIVE,
    RecordType.ACTIVATIONS: ACTIVATION,
}
"""The records of each type of batch."""


class Source(IntEnum):
    """What the positions of a batch count."""

    TRANSACTIONS = 1
    LEGS = 2
    ACCOUNTS = 3
    DIRECTIVES = 4
    PATTERNS = 5


_ROUTED: Final = MAGIC + bytes((RecordType.DEPARTURES, Source.TRANSACTIONS))
_TYPES: Final = frozenset(RecordType)
_SOURCES: Final = frozenset(Source)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain of a source partition: where these records came from."""

    partition: int
    first: int
    last: int
    previous: int
    """Last position sent to this legs partition before; NOTHING_BEFORE if none was."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of the legs log."""

    type: RecordType
    source: Source
    links: tuple[Link, ...]
    records: Records
    carried: npt.NDArray[np.float32] | None = None
    """`[n, m]`: what each arrival brings of its payer for a fitted model, where one judges."""

    @property
    def has_legs(self) -> bool:
        """Whether its records are legs."""
        return RECORD[self.type] is LEG


def pack(
    batch_type: RecordType,
    source: Source,
    links: Sequence[Link],
    records: Records,
    carried: npt.NDArray[np.float32] | None = None,
) -> bytes:
    """Bytes of one legs message."""
    head = _HEADER.pack(MAGIC, batch_type, source, len(links), len(records))
    chain = b"".join(
        _CHAIN.pack(link.partition, 0, link.first, link.last, link.previous) for link in links
    )
    return head + chain + narrow(records) + (b"" if carried is None else shorten(carried))


def unpack(value: bytes | None) -> Batch:
    """The batch in a legs message.

    Raises:
        Problem: the message is not a batch that this version knows.
    """
    if value is None or len(value) < _HEADER.size:
        raise _strange("it is shorter than a header")
    magic, batch_type, source, link_count, count = _HEADER.unpack_from(value)
    start = _HEADER.size + link_count * _CHAIN.size
    if magic != MAGIC:
        raise _strange(f"it begins with {magic!r}, not {MAGIC!r}")
    if batch_type not in _TYPES or source not in _SOURCES:
        raise _strange(f"record type {batch_type} from source {source} is unknown")
    if len(value) < start:
        raise _strange(f"{len(value)} bytes do not hold {link_count} links")
    links = tuple(
        Link(partition, first, last, previous)
        for partition, _, first, last, previous in _CHAIN.iter_unpack(value[_HEADER.size : start])
    )
    record = RECORD[RecordType(batch_type)]
    carried = None
    try:
        records, end = widen(np.frombuffer(value, np.uint8, offset=start), record, count)
        rest = value[start + end :]
        if rest and batch_type == RecordType.ARRIVALS and count:
            carried = lengthen(rest, count)
    except (NotColumnsError, NotBroughtError) as error:
        raise _strange(str(error)) from error
    if rest and carried is None:
        raise _strange(f"{len(rest)} bytes too many behind {count} records")
    return Batch(RecordType(batch_type), Source(source), links, records, carried)


def is_routed(value: bytes | None) -> bool:
    """Whether these are legs of the router, which may wait to hear that they were applied."""
    return value is not None and value[:6] == _ROUTED


def _strange(detail: str) -> Problem:
    return Problem(
        "a message of the legs log is not a batch of legs",
        detail,
        "something else writes to this topic, or a newer version does",
    )
