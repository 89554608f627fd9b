"""The legs message: its bytes are a contract, and nothing else is taken for one."""

from __future__ import annotations

import re
import struct
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.bank import legs_message

from sluicegate.errors import Problem
from sluicegate.memory.row import (
    ACTIVATION,
    ARRIVAL,
    DEPARTURE,
    DIRECTIVE,
    FLAG_OUTSIDE,
    LEG,
    PROFILE,
)
from sluicegate.memory.words import text_words
from sluicegate.simulation.formats import read_legs
from sluicegate.streaming.legs import (
    NOTHING_BEFORE,
    Batch,
    Link,
    RecordType,
    Source,
    is_routed,
    pack,
    unpack,
)

HEADER_BYTES = 16
LINK_BYTES = 32
RECORD_BYTES = 248
COLUMNS = RECORD_BYTES // 8
COLUMNS_HEAD = 8 * COLUMNS + 32
"""Least values, widths, and what fills up to a multiple of 8."""
RECORDS = (
    ("Legs", LEG),
    ("Profiles", PROFILE),
    ("Directives", DIRECTIVE),
    ("Activations", ACTIVATION),
)

positions = st.integers(NOTHING_BEFORE, 2**63 - 1)
links = st.lists(
    st.builds(Link, st.integers(0, 2**32 - 1), positions, positions, positions), max_size=5
)
records = st.binary(max_size=4 * RECORD_BYTES).map(
    lambda octets: np.frombuffer(octets[: len(octets) // RECORD_BYTES * RECORD_BYTES], LEG)
)
batches = st.builds(Batch, st.sampled_from(RecordType), st.sampled_from(Source), links, records)


def packed(batch: Batch) -> bytes:
    return pack(batch.type, batch.source, batch.links, batch.records)


def a_message() -> bytes:
    """One departure and one arrival of cash, from two source partitions."""
    legs = np.zeros(2, LEG)
    legs["account"] = text_words("6222020200112233445", 5)
    legs["counterparty"][0] = text_words("GB29NWBK60161331926819123456789012", 5)
    legs["transaction"] = text_words("T" * 64, 8)
    legs["position"] = [7, 2**40]
    legs["occurred_at_ms"], legs["recorded_at_ms"] = 1_772_942_400_000, 1_772_942_400_005
    legs["amount_minor"] = 2**55
    legs["source_partition"] = [0, 3]
    legs["side"] = [DEPARTURE, ARRIVAL]
    legs["channel"], legs["kind"], legs["flags"] = 2, 1, [FLAG_OUTSIDE, 0]
    legs["provenance"][1] = np.nan
    chain = [Link(0, 7, 7, NOTHING_BEFORE), Link(3, 2**40, 2**40, 6)]
    return pack(RecordType.DEPARTURES, Source.TRANSACTIONS, chain, legs)


@given(batches)
def test_what_is_packed_is_unpacked(batch: Batch) -> None:
    again = unpack(packed(batch))
    assert (again.type, again.source, again.links) == (batch.type, batch.source, tuple(batch.links))
    assert again.records.tobytes() == batch.records.tobytes()


def read_columns(body: bytes, count: int) -> np.ndarray:
    """Another reading, in the few lines of the page."""
    least, widths, at = np.frombuffer(body, "<u8", COLUMNS), body[8 * COLUMNS :], COLUMNS_HEAD
    words = np.empty((count, COLUMNS), "<u8")
    words[:] = least
    for width in (8, 4, 2, 1):
        for column in range(COLUMNS):
            if widths[column] == width:
                words[:, column] += np.frombuffer(body, f"<u{width}", count, at)
                at += width * count
    assert at == len(body)
    return words.view(LEG).ravel()


@given(batches)
def test_the_router_waits_for_its_departures_alone(batch: Batch) -> None:
    routed = (RecordType.DEPARTURES, Source.TRANSACTIONS)
    assert is_routed(packed(batch)) == ((batch.type, batch.source) == routed)


@given(batches)
def test_records_are_columns_as_narrow_as_they_can_be(batch: Batch) -> None:
    count, body = len(batch.records), packed(batch)[HEADER_BYTES + LINK_BYTES * len(batch.links) :]
    if not count:
        assert body == b""
        return
    assert read_columns(body, count).tobytes() == batch.records.tobytes()
    words = batch.records.view("<u8").reshape(count, COLUMNS)
    spans = (words.max(axis=0) - words.min(axis=0)).tolist()
    narrowest = [next(w for w in (0, 1, 2, 4, 8) if span < 256**w) for span in spans]
    assert list(body[8 * COLUMNS :][:COLUMNS]) == narrowest


def test_the_bytes_of_a_record_lie_where_the_format_says() -> None:
    """By hand, field by field: readers in other languages are written from the same table."""
    assert LEG.itemsize == RECORD_BYTES
    record = read_columns(a_message()[HEADER_BYTES + 2 * LINK_BYTES :], 2).tobytes()
    account, counterparty, transaction = struct.unpack_from("<40s40s64s", record)
    assert account == b"6222020200112233445".ljust(40, b"\0")
    assert counterparty == b"GB29NWBK60161331926819123456789012".ljust(40, b"\0")
    assert transaction == b"T" * 64
    numbers = struct.unpack_from("<qqqqIbBBB", record, 144)
    assert numbers == (7, 1_772_942_400_000, 1_772_942_400_005, 2**55, 0, -1, 2, 1, 1)
    assert struct.unpack_from("<16f", record, 184) == (0.0,) * 16


def test_columns_may_be_wider_than_they_need_be() -> None:
    wide = legs_message(1, [(0, 7, -1, 0), (0, 9, -1, 1)])
    assert unpack(wide).records["position"].tolist() == [7, 9]
    assert unpack(wide).records["flags"].tolist() == [0, 1]


def test_a_width_that_there_is_not_is_a_problem() -> None:
    message = bytearray(a_message())
    message[HEADER_BYTES + 2 * LINK_BYTES + 8 * COLUMNS] = 3
    with pytest.raises(Problem, match="is not a batch of legs"):
        unpack(bytes(message))
    assert read_legs(0, 0, bytes(message)) is None


def test_the_page_says_what_the_record_is() -> None:
    page = Path("docs/legs-format.md").read_text(encoding="utf-8")
    for heading in ("Header, 16 bytes", "Links, 32 bytes each"):
        assert f"### {heading}\n" in page
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", page, re.MULTILINE)
    expected = []
    for title, record in RECORDS:
        assert f"### {title}, {record.itemsize} bytes each\n" in page
        sizes = {name: record[name].itemsize for name in record.names or ()}
        offsets = accumulate(sizes.values(), initial=0)
        expected += [
            (name, offset, size)
            for (name, size), offset in zip(sizes.items(), offsets, strict=False)
            if name != "spare"
        ]
    assert [(name, int(offset), int(size)) for offset, size, name in rows] == expected


def test_the_header_and_the_links_lie_where_the_format_says() -> None:
    message = a_message()
    assert struct.unpack_from("<4sBBHI", message) == (b"SLG2", 1, 1, 2, 2)
    assert struct.unpack_from("<IIqqq", message, HEADER_BYTES) == (0, 0, 7, 7, -1)
    assert struct.unpack_from("<IIqqq", message, HEADER_BYTES + LINK_BYTES) == (
        (3, 0, 2**40, 2**40, 6)
    )


def test_the_auditor_reads_the_same_from_the_bytes() -> None:
    """It shares no code with the pipeline."""
    read = read_legs(0, 0, a_message())
    assert read is not None
    assert (read.record_type, read.count) == (1, 2)
    assert read.links["last"].tolist() == [7, 2**40]
    assert read.links["previous"].tolist() == [-1, 6]


def test_what_arrivals_bring_lies_behind_their_records() -> None:
    legs = np.zeros(3, LEG)
    legs["position"] = [1, 2, 3]
    brought = np.arange(6, dtype=np.float32).reshape(3, 2)
    value = pack(RecordType.ARRIVALS, Source.LEGS, [Link(0, 1, 3, 0)], legs, brought)
    batch = unpack(value)
    np.testing.assert_array_equal(batch.carried, brought)
    np.testing.assert_array_equal(batch.records, legs)
    read = read_legs(0, 0, value)
    assert read is not None
    assert read.body == legs.tobytes()
    for wrong in (value[:-4], value[:-1], value + bytes(4)):
        with pytest.raises(Problem, match="is not a batch of legs"):
            unpack(wrong)
        assert read_legs(0, 0, wrong) is None
    departures = pack(RecordType.DEPARTURES, Source.TRANSACTIONS, [], legs, brought)
    with pytest.raises(Problem, match="is not a batch of legs"):
        unpack(departures)


def test_every_message_cut_short_is_a_problem() -> None:
    message = a_message()
    for length in range(len(message)):
        with pytest.raises(Problem, match="not a batch of legs"):
            unpack(message[:length])


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (None, "shorter than a header"),
        (b"", "shorter than a header"),
        (b'{"id": "T-1", "amount": "1.00"}', "begins with b'{\"id'"),
        (b"SLG1" + a_message()[4:], "begins with b'SLG1'"),
        (a_message() + b"\0", "1 bytes too many behind 2 records"),
        (a_message()[:4] + b"\x09" + a_message()[5:], "record type 9 from source 1"),
        (a_message()[:5] + b"\x07" + a_message()[6:], "record type 1 from source 7"),
    ],
)
def test_a_foreign_message_is_a_problem_that_says_what_it_is(
    value: bytes | None, detail: str
) -> None:
    with pytest.raises(Problem) as refused:
        unpack(value)
    assert refused.value.fact == "a message of the legs log is not a batch of legs"
    assert detail in refused.value.detail
    assert refused.value.hint


@given(st.binary(max_size=600))
def test_any_bytes_are_a_batch_or_a_problem(octets: bytes) -> None:
    for value in (octets, b"SLG2" + octets):
        try:
            batch = unpack(value)
        except Problem:
            continue
        assert packed(batch)[:HEADER_BYTES] == value[:HEADER_BYTES]
