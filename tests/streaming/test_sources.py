"""Which source partition is waited for, and how much of it is read at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.errors import Problem
from sluicegate.streaming import sources
from sluicegate.streaming.blocks import Block, CannotRead
from sluicegate.streaming.records import SourceRecord
from sluicegate.streaming.sources import SourceReader, shares

BATCH = 1_000


class Shelf:
    """Records of one partition that the test puts there; offset -1001: not heard of yet."""

    def __init__(self, high: int = -1001) -> None:
        self.high = high
        self.offsets: list[int] = []
        self.error: CannotRead | None = None

    def put(self, *offsets: int) -> None:
        self.offsets += offsets

    def read(self, _partition: int, most: int, _seconds: float) -> Block:
        if self.error is not None:
            raise self.error
        taken, self.offsets = self.offsets[:most], self.offsets[most:]
        return Block.of([(SourceRecord("transactions", 0, at, None, b"{}"), 1) for at in taken])

    def end(self, _partition: int) -> int:
        return self.high


def reader_of(shelf: Shelf, end: int = 0) -> SourceReader:
    records: Any = shelf
    return SourceReader("transactions", 0, records, 0, end)


def paced(event_time_ms: int, pace_ms: float | None) -> SourceReader:
    reader = reader_of(Shelf(), end=9_999)
    reader.event_time_ms, reader.pace_ms, reader.last_share = event_time_ms, pace_ms, 9_999
    return reader


def test_an_empty_partition_is_not_waited_for() -> None:
    assert not reader_of(Shelf()).is_awaited
    assert not reader_of(Shelf(high=0)).is_awaited


def test_a_partition_that_was_not_empty_when_opened_is_waited_for() -> None:
    """Its first records are still on their way."""
    assert reader_of(Shelf(), end=5).is_awaited


def test_a_partition_at_its_end_is_not_waited_for_until_more_comes() -> None:
    shelf = Shelf(high=3)
    reader = reader_of(shelf, end=3)
    shelf.put(0, 1, 2)
    assert len(reader.read(10, 0.01)) == 3
    assert (reader.lag(), reader.is_awaited) == (0, False)
    shelf.high = 4
    assert (reader.lag(), reader.is_awaited) == (1, True)


def test_a_partition_that_brings_nothing_holds_the_others_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of a Kafka transaction takes an offset and is no record."""
    now = [100.0]
    monkeypatch.setattr(sources, "time", SimpleNamespace(monotonic=lambda: now[0]))
    reader = reader_of(Shelf(high=1), end=1)
    assert len(reader.read(1, 0.01)) == 0
    assert not reader.is_awaited
    now[0] += sources.REST_SECONDS
    assert reader.is_awaited


def test_a_look_without_waiting_is_no_reason_to_rest() -> None:
    reader = reader_of(Shelf(high=1), end=1)
    assert len(reader.read(1, 0)) == 0
    assert reader.is_awaited


def test_an_error_of_the_broker_stops_the_reading() -> None:
    shelf = Shelf(high=9)
    shelf.error = CannotRead("Broker: Offset out of range")
    with pytest.raises(Problem, match="Offset out of range") as problem:
        reader_of(shelf).read(1, 0.01)
    assert problem.value.fact == "partition 0 of transactions cannot be read on"


def test_the_pace_is_event_time_from_record_to_record() -> None:
    reader = reader_of(Shelf(), end=9_999)
    reader.advance(4_000, 5_000, 11)
    assert (reader.event_time_ms, reader.pace_ms) == (5_000, 100.0)
    reader.advance(5_500, 6_000, 10)  # the first of them came half a second later
    assert (reader.event_time_ms, reader.pace_ms) == (6_000, 100.0)


def test_one_record_tells_no_pace() -> None:
    reader = reader_of(Shelf(), end=9_999)
    reader.advance(4_000, 4_000, 1)
    assert (reader.event_time_ms, reader.pace_ms) == (4_000, None)


def test_partitions_at_the_same_moment_share_a_batch_by_their_pace() -> None:
    assert shares([paced(1, 10.0), paced(1, 40.0)], BATCH) == [BATCH * 4 // 5, BATCH // 5]


def test_a_partition_that_is_behind_is_read_first() -> None:
    readers = [paced(100_000, 10.0), paced(1, 10.0)]
    assert shares(readers, BATCH) == [0, BATCH]


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1e9)), min_size=1, max_size=9),
    st.integers(1, 10_000),
)
def test_shares_lead_all_to_one_moment(places: list[tuple[int, float]], most: int) -> None:
    readers = [paced(*place) for place in places]
    counts = shares(readers, most)
    assert most <= sum(counts) <= (most + len(counts)) * 1.001
    reached = [
        reader.event_time_ms + count * max(sources.LEAST_PACE_MS, reader.pace_ms or 0)
        for reader, count in zip(readers, counts, strict=True)
        if count
    ]
    paces = [reader.pace_ms or 0 for reader in readers]
    assert max(reached) - min(reached) <= max(paces) * 1.001 + 2
    for reader, count in zip(readers, counts, strict=True):
        assert count or reader.event_time_ms >= min(reached) - max(paces) * 1.001 - 2


def test_a_partition_of_unknown_pace_is_read_by_a_few_beside_the_others() -> None:
    unknown, known = reader_of(Shelf(), end=9_999), paced(1, 10.0)
    assert shares([unknown, known], BATCH) == [sources.PROBE, BATCH]


def test_a_partition_in_which_all_is_refused_does_not_crawl() -> None:
    shelf = Shelf(high=BATCH)
    reader = reader_of(shelf, end=BATCH)
    shelf.put(*range(sources.PROBE))
    reader.read(sources.PROBE, 0)
    assert shares([reader], BATCH) == [sources.GROWTH * sources.PROBE]


def test_a_burst_in_a_sparse_partition_is_not_taken_for_its_pace() -> None:
    sparse, dense = paced(1, 0.01), paced(1, 10.0)
    sparse.last_share = 3
    assert shares([sparse, dense], BATCH)[0] == sources.GROWTH * 3
    sparse.last_share = 0
    assert shares([sparse, dense], BATCH)[0] == sources.PROBE


def test_records_of_one_moment_are_read_by_whole_batches() -> None:
    """Some banks and data sets know only hours."""
    assert shares([paced(1, 0.0), paced(1, 0.0)], BATCH) == [BATCH // 2, BATCH // 2]
