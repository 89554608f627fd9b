"""A partition applies what comes next, drops repeats, refuses holes; arrivals are sent on once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.streaming.flow import (
    CAPACITY,
    SCORER,
    Flow,
    Payment,
    Sighting,
    decoded_of,
    messages_of,
    new_partition,
    replay,
    sightings_of,
)

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.row import ARRIVAL
from sluicegate.memory.words import words_text
from sluicegate.streaming.legs import (
    MOST_RECORDS,
    NOTHING_BEFORE,
    POSITION_BITS,
    Batch,
    Link,
    RecordType,
    Source,
    pack,
    unpack,
)
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.routing import Chains, Places, first_legs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.memory.accounts import Records

PAYERS = ["A", "B", "C", "6222020200112233445", "GB29NWBK60161331926819123456789012"]


def legs_of(payments: Sequence[Payment], first: int = 0, source: int = 0) -> Records:
    decoded = decoded_of(payments)
    positions = np.arange(first, first + len(payments))
    places = Places(np.full(len(payments), source), positions, decoded.occurred_at_ms)
    return first_legs(decoded, places, np.arange(len(payments)))


def departures(
    first: int, count: int, previous: int = NOTHING_BEFORE, payee: str | None = "Z"
) -> bytes:
    """A batch of payments of A, one for each position of source partition 0."""
    payments = [Payment(f"T{at}", "A", payee) for at in range(first, first + count)]
    link = Link(0, first, first + count - 1, previous)
    return pack(RecordType.DEPARTURES, Source.TRANSACTIONS, [link], legs_of(payments, first=first))


def state_of(partition: Partition) -> tuple[str, str]:
    return partition.memory.digest(), partition.place.model_dump_json()


def assert_refused(partition: Partition, offset: int, value: bytes | None, fact: str) -> Problem:
    before = state_of(partition)
    with pytest.raises(Problem, match=fact) as refused:
        partition.apply(offset, value, SCORER)
    assert state_of(partition) == before
    return refused.value


# What comes next.


def test_a_message_moves_the_applied_offset_and_the_source_position() -> None:
    partition = new_partition()
    applied = partition.apply(0, departures(10, 3), SCORER)
    assert applied is not None
    assert (len(applied.legs), applied.repeats) == (3, 0)
    assert partition.place.applied == 0
    assert partition.place.sources == {"t0": 12}


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_an_applied_offset_that_comes_again_changes_nothing(offset: int) -> None:
    partition = new_partition()
    for at in range(3):
        partition.apply(at, departures(at, 1, at - 1), SCORER)
    before = state_of(partition)
    assert partition.apply(offset, departures(0, 9), SCORER) is None
    assert state_of(partition) == before


@pytest.mark.parametrize("offset", [1, 2, 1_000])
def test_an_offset_too_far_is_a_hole(offset: int) -> None:
    problem = assert_refused(new_partition(3), offset, departures(0, 1), "partition 3 has a hole")
    assert f"offset {offset} came after -1" in problem.detail


@pytest.mark.parametrize("value", [None, b"", b"{}", departures(0, 2)[:-1]])
def test_a_message_that_is_no_batch_is_refused(value: bytes | None) -> None:
    assert_refused(new_partition(), 0, value, "not a batch of legs")


def test_a_leg_that_breaks_the_contract_is_refused_with_its_whole_batch() -> None:
    legs = legs_of([Payment("T0", "A", "Z"), Payment("T1", "B", "Z", minor=0)])
    link = Link(0, 0, 1, NOTHING_BEFORE)
    value = pack(RecordType.DEPARTURES, Source.TRANSACTIONS, [link], legs)
    problem = assert_refused(new_partition(), 0, value, "breaks the contract")
    assert "record 1" in problem.detail


def test_a_full_memory_refuses_the_batch_that_does_not_fit() -> None:
    partition = Partition(0, AccountMemory(2))
    partition.apply(0, departures(0, 1), SCORER)
    payments = [Payment("T1", "B", "Z"), Payment("T2", "C", "Z")]
    link = Link(0, 1, 2, 0)
    value = pack(RecordType.DEPARTURES, Source.TRANSACTIONS, [link], legs_of(payments, first=1))
    assert_refused(partition, 1, value, "memory of a partition is full")


# Repeats and holes.


def test_a_batch_sent_again_is_dropped_whole() -> None:
    partition = new_partition()
    partition.apply(0, departures(0, 5), SCORER)
    digest = partition.memory.digest()
    again = partition.apply(1, departures(0, 5), SCORER)
    assert again is not None
    assert (len(again.legs), again.repeats, len(again.stepped.arrivals)) == (0, 5, 0)
    assert partition.memory.digest() == digest
    assert (partition.place.applied, partition.place.sources) == (1, {"t0": 4})


def test_a_batch_cut_otherwise_than_before_gives_only_what_is_new() -> None:
    partition = new_partition()
    partition.apply(0, departures(0, 5), SCORER)
    again = partition.apply(1, departures(2, 6, previous=1), SCORER)
    assert again is not None
    assert again.repeats == 3
    assert [leg.transaction for leg in sightings_of(again)] == ["T5", "T6", "T7"]
    assert partition.place.sources == {"t0": 7}


def test_a_part_of_what_was_applied_does_not_move_the_source_back() -> None:
    partition = new_partition()
    partition.apply(0, departures(0, 9), SCORER)
    partition.apply(1, departures(0, 2), SCORER)
    assert partition.place.sources == {"t0": 8}


def test_an_arrival_names_its_departure_in_the_log_also_where_others_were_repeats() -> None:
    partition, values = new_partition(), [departures(0, 5), departures(2, 6, previous=1)]
    for offset, value in enumerate(values):
        applied = partition.apply(offset, value, SCORER)
        assert applied is not None
        for arrival in applied.stepped.arrivals:
            batch, index = divmod(int(arrival["position"]), 1 << POSITION_BITS)
            departure = unpack(values[batch]).records[index]
            assert departure["transaction"].tolist() == arrival["transaction"].tolist()


def test_a_hole_in_a_chain_is_refused() -> None:
    partition = new_partition(2)
    partition.apply(0, departures(0, 5), SCORER)
    problem = assert_refused(partition, 1, departures(9, 1, previous=7), "chain into legs part")
    assert "follows position 7 of transactions partition 0" in problem.detail
    assert "the last one applied is 4" in problem.detail


def test_positions_may_jump_where_the_chain_does_not() -> None:
    """Most transactions go to other legs partitions."""
    partition = new_partition()
    partition.apply(0, departures(0, 5), SCORER)
    applied = partition.apply(1, departures(1_000, 2, previous=4), SCORER)
    assert applied is not None
    assert len(applied.legs) == 2


def test_each_source_partition_has_a_chain_of_its_own() -> None:
    """One source in the batch was sent before, the other is new."""
    partition = new_partition()
    partition.apply(0, departures(0, 3), SCORER)
    old = legs_of([Payment(f"T{at}", "A", "Z") for at in range(3)])
    new = legs_of([Payment(f"N{at}", "B", "Z") for at in range(3)], source=1)
    legs = np.stack([old, new], axis=1).reshape(-1)
    links = [Link(0, 0, 2, NOTHING_BEFORE), Link(1, 0, 2, NOTHING_BEFORE)]
    applied = partition.apply(
        1, pack(RecordType.DEPARTURES, Source.TRANSACTIONS, links, legs), SCORER
    )
    assert applied is not None
    assert [leg.transaction for leg in sightings_of(applied)] == ["N0", "N1", "N2"]
    assert partition.place.sources == {"t0": 2, "t1": 2}


def test_positions_of_the_two_topics_are_not_mixed_up() -> None:
    partition = new_partition()
    partition.apply(0, departures(70_000, 3, payee=None), SCORER)
    arrival = legs_of([Payment("X", None, "A")])
    link = Link(0, 0, 0, NOTHING_BEFORE)
    applied = partition.apply(1, pack(RecordType.ARRIVALS, Source.LEGS, [link], arrival), SCORER)
    assert applied is not None
    assert applied.legs["side"].tolist() == [ARRIVAL]
    assert partition.place.sources == {"t0": 70_002, "l0": 0}


# Sending arrivals on.


def arrivals_for(
    partition: Partition, payees: Sequence[str], offset: int = 0, first: int = 0
) -> Records:
    """What a message of payments to these accounts gives; it becomes the next of the partition."""
    payments = [Payment(f"T{first + at}", "A", payee) for at, payee in enumerate(payees)]
    link = Link(0, first, first + len(payees) - 1, first - 1)
    legs = legs_of(payments, first=first)
    value = pack(RecordType.DEPARTURES, Source.TRANSACTIONS, [link], legs)
    applied = partition.apply(offset, value, SCORER)
    assert applied is not None
    return applied.stepped.arrivals


accounts = st.text("ABC0123456789", min_size=1, max_size=34)


@given(payees=st.lists(accounts, max_size=60), partitions=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_each_arrival_goes_once_to_its_accounts_partition_in_order(
    payees: list[str], partitions: int
) -> None:
    origin, outbox = new_partition(), Outbox(partitions)
    outbox.add(origin, arrivals_for(origin, payees))
    batches = [(target, unpack(value)) for target, value in outbox.drain()]
    for target, batch in batches:
        positions = batch.records["position"].tolist()
        assert (batch.type, batch.source) == (RecordType.ARRIVALS, Source.LEGS)
        assert positions == sorted(set(positions))
        assert {partition_of(name, partitions) for name in names_of(batch)} <= {target}
    assert Counter(name for _, batch in batches for name in names_of(batch)) == Counter(payees)
    assert outbox.waiting == 0


def names_of(batch: Batch) -> list[str]:
    return words_text(batch.records["account"])


@given(
    messages=st.lists(st.lists(accounts, max_size=6), min_size=1, max_size=12),
    drains=st.sets(st.integers(0, 12)),
)
@settings(max_examples=60, deadline=None)
def test_arrivals_drained_in_any_grouping_are_the_same_and_chained(
    messages: list[list[str]], drains: set[int]
) -> None:
    origin, outbox = new_partition(), Outbox(3)
    logs: dict[int, list[Batch]] = {0: [], 1: [], 2: []}
    expected, first = [], 0
    for offset, payees in enumerate(messages):
        arrivals = arrivals_for(origin, payees, offset, first)
        first += len(payees)
        expected += [arrival.tobytes() for arrival in arrivals]
        outbox.add(origin, arrivals)
        if offset in drains or offset == len(messages) - 1:
            for target, value in outbox.drain():
                logs[target].append(unpack(value))
    sent = [leg for log in logs.values() for batch in log for leg in batch.records]
    sent.sort(key=lambda leg: int(leg["position"]))
    assert [leg.tobytes() for leg in sent] == expected
    for log in logs.values():
        last = NOTHING_BEFORE
        for batch in log:
            (link,) = batch.links
            assert (link.partition, link.previous) == (0, last)
            assert link.first == batch.records["position"][0]
            last = link.last
            assert last == batch.records["position"][-1]


def test_arrivals_of_several_partitions_share_a_message_with_a_link_each() -> None:
    origins = [new_partition(0), new_partition(1)]
    outbox = Outbox(1)
    for origin in origins:
        outbox.add(origin, arrivals_for(origin, ["X", "Y"]))
    ((target, value),) = outbox.drain()
    batch = unpack(value)
    assert target == 0
    assert len(batch.records) == 4
    assert batch.links == (Link(0, 0, 1, NOTHING_BEFORE), Link(1, 0, 1, NOTHING_BEFORE))
    assert [origin.place.sent for origin in origins] == [{0: 1}, {0: 1}]


def test_more_arrivals_than_a_message_holds_go_in_several_that_are_chained() -> None:
    origin, outbox = new_partition(), Outbox(1)
    many = MOST_RECORDS + 10
    outbox.add(origin, arrivals_for(origin, ["X"] * many))
    first, second = (unpack(value) for _, value in outbox.drain())
    assert len(first.records) + len(second.records) == many
    assert second.links[0].previous == first.links[0].last


def test_what_was_gathered_for_partitions_that_have_gone_is_not_sent() -> None:
    origin, outbox = new_partition(), Outbox(1)
    outbox.add(origin, arrivals_for(origin, ["X"]))
    outbox.forget()
    assert list(outbox.drain()) == []
    assert outbox.waiting == 0
    assert origin.place.sent == {}


# Laws of the whole stream.

payment_sources = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([*PAYERS, None]),
            st.sampled_from([*PAYERS, None]),
            st.sampled_from([500, 99_900, 100_100, 5_000_000]),
            st.integers(0, 3_600_000),
        ).filter(lambda row: row[0] != row[1]),
        max_size=25,
    ),
    min_size=1,
    max_size=3,
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("route"), st.lists(st.integers(0, 6), min_size=3, max_size=3)),
        st.tuples(st.just("apply"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("checkpoint"), st.integers(0, 2)),
        st.sampled_from([("send",), ("commit",), ("crash_router",), ("crash_worker",)]),
    ),
    max_size=40,
)


def sources_of(rows: list[list[tuple[str | None, str | None, int, int]]]) -> list[list[Payment]]:
    return [
        [
            Payment(f"{source}-{at}", payer, payee, minor, 1_772_942_400_000 + later_ms)
            for at, (payer, payee, minor, later_ms) in enumerate(payments)
        ]
        for source, payments in enumerate(rows)
    ]


def play(flow: Flow, event: tuple[object, ...]) -> None:
    name, *arguments = event
    if name == "route":
        arguments = [arguments[0][: len(flow.sources)]]  # type: ignore[index]
    getattr(flow, str(name))(*arguments)


def legs_expected(sources: list[list[Payment]]) -> Counter[Sighting]:
    """Every departure and every arrival, once."""
    legs = Counter[Sighting]()
    for payment in (each for payments in sources for each in payments):
        if payment.payer is not None:
            legs[Sighting(payment.name, payment.payer, -1)] += 1
        if payment.payee is not None:
            legs[Sighting(payment.name, payment.payee, 1)] += 1
    return legs


@given(rows=payment_sources, story=events)
@settings(max_examples=150, deadline=None)
def test_whoever_dies_when_the_state_and_the_alerts_are_those_of_a_replay(
    rows: list[list[tuple[str | None, str | None, int, int]]],
    story: list[tuple[object, ...]],
) -> None:
    sources = sources_of(rows)
    flow = Flow(sources, count=3)
    for event in story:
        play(flow, event)
    flow.finish()

    replayed = replay(flow.logs)
    assert Counter(replayed.sightings) == legs_expected(sources)
    assert [each.memory.digest() for each in flow.partitions] == replayed.digests
    assert [(p.place.sources, p.place.sent) for p in flow.partitions] == replayed.places
    assert flow.hits == set(replayed.hits)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(PAYERS), st.integers(1, 5_000_000)), min_size=1, max_size=40
    ),
    cuts=st.lists(st.sets(st.integers(1, 39)), min_size=2, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_one_stream_in_whatever_batches_gives_one_state(
    rows: list[tuple[str, int]], cuts: list[set[int]]
) -> None:
    """Payments to cash: what arrives cannot overtake what departs."""
    payments = [Payment(f"T{at}", payer, None, minor) for at, (payer, minor) in enumerate(rows)]
    digests = set()
    for cut in cuts:
        chains, logs = Chains(2), [list[bytes](), list[bytes]()]
        edges = [0, *sorted(at for at in cut if at < len(payments)), len(payments)]
        for start, end in pairwise(edges):
            batch = payments[start:end]
            placed = messages_of(chains, batch, [0] * len(batch), range(start, end))
            for target, value in placed:
                logs[target].append(value)
        digests.add(tuple(replay(logs).digests))
    assert len(digests) == 1


def test_a_state_restored_to_an_older_place_comes_to_the_same_end() -> None:
    """By hand what the law above draws: everything is sent, half is forgotten, it is sent again."""
    payments = [Payment(f"T{at}", "A", PAYERS[1 + at % 4], 150_000) for at in range(20)]
    flow = Flow([payments], count=3)
    flow.route([10])
    for number in range(3):
        flow.apply(number, 1)
        flow.checkpoint(number)
    flow.finish()
    ends = [(each.memory.digest(), each.place.model_dump()) for each in flow.partitions]
    hits = set(flow.hits)
    flow.crash_worker()
    assert [each.memory.digest() for each in flow.partitions] != [end for end, _ in ends]
    flow.finish()
    for partition, (digest, place) in zip(flow.partitions, ends, strict=True):
        assert partition.memory.digest() == digest
        assert {**partition.place.model_dump(), "applied": 0} == {**place, "applied": 0}
    assert flow.hits == hits
    assert len(flow.partitions[0].memory.rows) < CAPACITY
