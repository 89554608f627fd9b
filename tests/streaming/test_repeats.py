"""The bank's repeats: what a dictionary of all offsets says, however the stream is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import NOON_MS
from tests.streaming.flow import Payment, decoded_of

from sluicegate.streaming.repeats import Repeats, Verdict

NEW, REPEAT, ID_REUSED = Verdict


class Record(NamedTuple):
    """A payment at an offset of its source partition."""

    position: int
    payment: Payment


def judged(repeats: Repeats, records: list[Record]) -> list[Verdict]:
    """The verdicts on one batch."""
    decoded = decoded_of([record.payment for record in records])
    positions = np.array([record.position for record in records], np.int64)
    verdicts = repeats.judge(decoded, positions, np.arange(len(records)))
    return [Verdict(verdict) for verdict in verdicts.tolist()]


def oracle(records: list[Record], reach: int) -> list[Verdict]:
    """Each record against the last one of the same id, if that came within reach."""
    last, verdicts = dict[str, Record](), []
    for record in records:
        earlier = last.get(record.payment.name)
        if earlier is None or record.position - earlier.position > reach:
            verdicts.append(NEW)
        else:
            same = earlier.payment == record.payment
            verdicts.append(REPEAT if same else ID_REUSED)
        last[record.payment.name] = record
    return verdicts


def paid(*names: str) -> list[Record]:
    return [Record(at, Payment(name, "A", "B")) for at, name in enumerate(names)]


def test_the_same_again_is_a_repeat() -> None:
    assert judged(Repeats(10), paid("T1", "T2", "T1", "T1")) == [NEW, NEW, REPEAT, REPEAT]


@pytest.mark.parametrize(
    "changed",
    [
        Payment("T1", "A", "B", minor=1_001),
        Payment("T1", "A", "B", at_ms=NOON_MS + 1),
        Payment("T1", "A", "C"),
        Payment("T1", "C", "B"),
        Payment("T1", "B", "A"),
        Payment("T1", "A", None),
        Payment("T1", None, "B"),
    ],
)
def test_the_same_id_with_other_content_is_reused(changed: Payment) -> None:
    records = [Record(0, Payment("T1", "A", "B")), Record(1, changed)]
    assert judged(Repeats(10), records) == [NEW, ID_REUSED]


def test_a_reused_id_is_known_by_what_it_said_last() -> None:
    first, second = Payment("T1", "A", "B", minor=1), Payment("T1", "A", "B", minor=2)
    records = [Record(at, each) for at, each in enumerate([first, second, second, first])]
    assert judged(Repeats(10), records) == [NEW, ID_REUSED, REPEAT, ID_REUSED]


@pytest.mark.parametrize(("distance", "verdict"), [(4, REPEAT), (5, REPEAT), (6, NEW)])
def test_the_reach_includes_its_last_record(distance: int, verdict: Verdict) -> None:
    records = paid("T1", *(f"X{at}" for at in range(distance - 1)), "T1")
    assert judged(Repeats(5), records)[-1] is verdict


def test_a_repeat_of_a_repeat_counts_from_the_last_one() -> None:
    records = paid("T1", "X1", "X2", "T1", "X3", "X4", "T1")
    assert judged(Repeats(3), records)[-1] is REPEAT


def test_without_reach_nothing_is_a_repeat() -> None:
    assert judged(Repeats(0), paid("T1", "T1", "T1")) == [NEW] * 3


def test_ids_are_told_apart_to_their_last_character() -> None:
    longest = "T" * 63
    names = [longest, f"{longest}0", f"{longest}1", "T", "TT", f"{longest}0"]
    assert judged(Repeats(10), paid(*names)) == [*[NEW] * 5, REPEAT]


def test_rows_that_are_not_asked_about_are_not_remembered() -> None:
    repeats = Repeats(10)
    decoded = decoded_of([record.payment for record in paid("T1", "T2", "T1")])
    positions = np.arange(3)
    assert repeats.judge(decoded, positions, np.array([1, 2])).tolist() == [NEW, NEW]


records_drawn = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("TUVWXYZ"), st.integers(1, 2)), max_size=60
).map(
    lambda rows: [
        Record(position, Payment(name, "A", "B", minor=minor))
        for position, (_, name, minor) in zip(
            np.cumsum([step for step, _, _ in rows]).tolist(), rows, strict=True
        )
    ]
)


@given(records=records_drawn, reach=st.integers(0, 12), cuts=st.sets(st.integers(1, 59)))
@settings(max_examples=200, deadline=None)
def test_verdicts_are_those_of_a_dictionary_in_whatever_batches(
    records: list[Record], reach: int, cuts: set[int]
) -> None:
    repeats, edges = Repeats(reach), [0, *sorted(cuts), 60]
    verdicts = [
        verdict for start, end in pairwise(edges) for verdict in judged(repeats, records[start:end])
    ]
    assert verdicts == oracle(records, reach)


@given(records=records_drawn, reach=st.integers(0, 12), resumed=st.integers(0, 59))
@settings(max_examples=200, deadline=None)
def test_a_router_that_reads_the_reach_back_decides_the_same(
    records: list[Record], reach: int, resumed: int
) -> None:
    expected = oracle(records, reach)
    if resumed >= len(records):
        return
    start = records[resumed].position
    back = [at for at, record in enumerate(records) if record.position >= start - reach]
    verdicts = judged(Repeats(reach), [records[at] for at in back])
    assert verdicts[resumed - back[0] :] == expected[resumed:]


def test_many_more_ids_than_the_tables_hold_are_still_judged_right() -> None:
    """Twenty thousand ids through tables of five hundred; every tenth comes again in reach."""
    names = [f"T{at - 399 if at % 10 == 0 and at >= 400 else at}" for at in range(20_000)]
    records = paid(*names)
    repeats = Repeats(500)
    verdicts = [
        verdict
        for start in range(0, len(records), 1_700)
        for verdict in judged(repeats, records[start : start + 1_700])
    ]
    assert verdicts == oracle(records, 500)
    assert verdicts.count(REPEAT) > 900
