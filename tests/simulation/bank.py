"""A tiny pipeline of the tests' own: it writes the topics as the documents say, fault by fault."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_MS = 1_750_000_000_000
Leg = tuple[int, int, int, int]
"""Source partition, position, side, flags."""


def payment(name: str, amount: str = "10.00", payer: str | None = "A") -> bytes:
    content = {
        "id": name,
        "occurred_at": "2025-06-15T23:06:40.000+08:00",
        "amount": amount,
        "payer_account": payer,
        "payee_account": "B",
    }
    return json.dumps(content).encode()


def legs_message(
    record_type: int, legs: Sequence[Leg], previous: dict[int, int] | None = None
) -> bytes:
    """One batch; the links follow from the legs, and on `previous` (-1: on nothing)."""
    chain = b""
    sources = sorted({leg[0] for leg in legs})
    for source in sources:
        mine = [leg[1] for leg in legs if leg[0] == source]
        before = (previous or {}).get(source, -1)
        chain += struct.pack("<IIqqq", source, 0, mine[0], mine[-1], before)
    head = struct.pack("<4sBBHI4x", b"SLG2", record_type, record_type, len(sources), len(legs))
    return head + chain + _columns([_leg(*leg) for leg in legs])


def _columns(records: list[bytes]) -> bytes:
    """The records by column, as wide as columns can be."""
    words = [struct.unpack("<31Q", record) for record in records]
    columns = b"".join(
        struct.pack(f"<{len(words)}Q", *column) for column in zip(*words, strict=True)
    )
    return bytes(31 * 8) + b"\x08" * 31 + b"\0" + columns if records else b""


def _leg(source: int, position: int, side: int, flags: int) -> bytes:
    texts = b"A".ljust(40, b"\0") + b"B".ljust(40, b"\0") + b"T".ljust(64, b"\0")
    numbers = struct.pack("<qqqqIbBBB", position, NOW_MS, NOW_MS, 1_000, source, side, 1, 0, flags)
    return texts + numbers + struct.pack("<16f", *([0.0] * 16))


def alert(name: str, transaction: str, account: str, occurred: str = "15:06:40.000") -> bytes:
    return json.dumps(
        {
            "id": name,
            "transaction_id": transaction,
            "account": account,
            "occurred_at": f"2025-06-15T{occurred}Z",
            "recorded_at": f"2025-06-15T{occurred}Z",
        }
    ).encode()


def refusal(offset: int, topic: str = "transactions") -> list[tuple[str, bytes | str | None]]:
    return [
        ("reason", b"AMOUNT_NOT_POSITIVE"),
        ("source_topic", topic.encode()),
        ("source_partition", b"0"),
        ("source_offset", str(offset).encode()),
    ]


@dataclass
class Log:
    """One legs partition as it is written, with offsets and the chain kept right."""

    messages: list[bytes] = field(default_factory=list)
    _last: dict[tuple[int, int], int] = field(default_factory=dict)

    def departures(self, *legs: Leg) -> int:
        """The offset of a batch from the router."""
        return self._write(1, legs)

    def arrivals(self, *places: tuple[int, int, int]) -> int:
        """The offset of a batch from a worker; places are (legs partition, offset, index)."""
        legs = [(source, offset << 16 | index, 1, 0) for source, offset, index in places]
        return self._write(2, legs)

    def _write(self, record_type: int, legs: Sequence[Leg]) -> int:
        previous = {leg[0]: self._last.get((record_type, leg[0]), -1) for leg in legs}
        self.messages.append(legs_message(record_type, legs, previous))
        for source, position, *_ in legs:
            self._last[record_type, source] = position
        return len(self.messages) - 1
