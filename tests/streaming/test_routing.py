"""First legs hold what the bank sent, to the last digit, in the partition of their account."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import NOON_MS
from tests.streaming.flow import Payment, decoded_of, messages_of

from sluicegate.domain.transaction import LATEST_MS
from sluicegate.memory.row import ARRIVAL, DEPARTURE, FLAG_OUTSIDE, LEG
from sluicegate.memory.words import words_text
from sluicegate.streaming.legs import NOTHING_BEFORE, Batch, RecordType, Source, unpack
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.routing import Chains, Places, first_legs
from sluicegate.streaming.topics import BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.memory.accounts import Records

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=34)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
payments = st.builds(
    Payment,
    names,
    printable | st.none(),
    printable,
    st.integers(1, 10**15),
    st.integers(0, LATEST_MS),
).flatmap(
    lambda each: st.sampled_from([each, each._replace(payee=None)]) if each.payer else st.just(each)
)


def legs_of(batch: Sequence[Payment], rows: Sequence[int] | None = None) -> Records:
    count = len(batch)
    places = Places(np.full(count, 3), 2**40 + np.arange(count), np.full(count, NOON_MS + 7))
    chosen = np.arange(count) if rows is None else np.array(rows, np.int64)
    return first_legs(decoded_of(batch), places, chosen)


@given(st.lists(payments, max_size=8))
@settings(deadline=None)
def test_a_leg_says_what_the_transaction_said(batch: list[Payment]) -> None:
    legs = legs_of(batch)
    told = zip(
        words_text(legs["transaction"]),
        words_text(legs["account"]),
        words_text(legs["counterparty"]),
        legs["amount_minor"].tolist(),
        legs["occurred_at_ms"].tolist(),
        legs["side"].tolist(),
        strict=True,
    )
    assert list(told) == [
        (each.name, each.payer, each.payee or "", each.minor, each.at_ms, DEPARTURE)
        if each.payer
        else (each.name, each.payee, "", each.minor, each.at_ms, ARRIVAL)
        for each in batch
    ]
    assert legs["position"].tolist() == [2**40 + at for at in range(len(batch))]
    assert set(legs["source_partition"].tolist()) <= {3}
    assert set(legs["recorded_at_ms"].tolist()) <= {NOON_MS + 7}


def test_accounts_keep_every_bit_of_their_words() -> None:
    """`0 if cash else word` in the kernel made floats of the words: 53 bits of 64 came through."""
    payer, payee = "~" * 34, "}" * 34
    legs = legs_of([Payment("T" * 64, payer, payee)])
    assert words_text(legs["account"]) == [payer]
    assert words_text(legs["counterparty"]) == [payee]
    assert words_text(legs["transaction"]) == ["T" * 64]
    assert int(legs["counterparty"][0, 0]) == int.from_bytes(b"}" * 8, "little")


def test_cash_paid_in_is_an_arrival_of_which_nothing_is_known() -> None:
    (leg,) = legs_of([Payment("T", None, "A")])
    assert (leg["side"], leg["flags"]) == (ARRIVAL, 0)
    assert not leg["counterparty"].any()
    assert np.isnan(leg["provenance"]).all()


def test_cash_paid_out_is_a_departure_after_which_nothing_follows() -> None:
    (leg,) = legs_of([Payment("T", "A", None)])
    assert (leg["side"], leg["flags"]) == (DEPARTURE, FLAG_OUTSIDE)
    assert not leg["counterparty"].any()
    assert np.isnan(leg["provenance"]).all()


def test_a_payment_between_accounts_has_no_flag() -> None:
    (leg,) = legs_of([Payment("T", "A", "B")])
    assert (leg["side"], leg["flags"]) == (DEPARTURE, 0)


def test_legs_come_in_the_order_that_was_asked_for() -> None:
    batch = [Payment(f"T{at}", "A", "B") for at in range(5)]
    legs = legs_of(batch, rows=[4, 0, 2])
    assert words_text(legs["transaction"]) == ["T4", "T0", "T2"]
    assert (legs["position"] - 2**40).tolist() == [4, 0, 2]


def test_no_byte_of_a_leg_is_left_over_from_before() -> None:
    """The records are made in memory that held something else."""
    batch = [Payment("T", "A", "B")] * 50
    for _ in range(3):
        assert len({leg.tobytes() for leg in legs_of(batch) if _same_place(leg)}) == 1


def _same_place(leg: np.void) -> bool:
    leg["position"] = 0
    return True


# Chains.


def batches_of(
    chains: Chains, batch: Sequence[Payment], sources: Sequence[int], positions: Sequence[int]
) -> list[tuple[int, Batch]]:
    placed = messages_of(chains, batch, sources, positions)
    return [(target, unpack(value)) for target, value in placed]


rounds = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ABCDEFGH"), st.booleans()), max_size=12),
    max_size=6,
)


@given(rounds)
@settings(deadline=None)
def test_every_leg_is_in_its_accounts_partition_and_its_sources_chain(
    drawn: list[list[tuple[int, str, bool]]],
) -> None:
    """Each source partition counts its own positions; rounds are the router's batches."""
    chains, next_position = Chains(3), defaultdict[int, int](int)
    last: dict[tuple[int, int], int] = {}
    for rows in drawn:
        batch, sources, positions = list[Payment](), list[int](), list[int]()
        for source, account, cash_in in rows:
            payer, payee = (None, account) if cash_in else (account, "Z")
            batch.append(Payment(f"{source}-{next_position[source]}", payer, payee))
            sources.append(source)
            positions.append(next_position[source])
            next_position[source] += 1
        found = []
        for target, made in batches_of(chains, batch, sources, positions):
            assert (made.type, made.source) == (RecordType.DEPARTURES, Source.TRANSACTIONS)
            found += words_text(made.records["transaction"])
            accounts = words_text(made.records["account"])
            assert {partition_of(account, 3) for account in accounts} == {target}
            for link in made.links:
                own = made.records[made.records["source_partition"] == link.partition]["position"]
                assert own.tolist() == sorted(set(own.tolist()))
                assert (link.first, link.last) == (own[0], own[-1])
                assert link.previous == last.get((target, link.partition), NOTHING_BEFORE)
                last[target, link.partition] = link.last
            sources_here = set(made.records["source_partition"].tolist())
            assert {link.partition for link in made.links} == sources_here
        assert sorted(found) == sorted(payment.name for payment in batch)


def test_rows_left_out_do_not_break_the_chain() -> None:
    """Repeats and refused records lie between; the chain names what was sent."""
    chains = Chains(1)
    ((_, first),) = batches_of(chains, [Payment("T0", "A", "B")], [0], [0])
    ((_, second),) = batches_of(chains, [Payment("T9", "A", "B")], [0], [9])
    assert first.links[0].previous == NOTHING_BEFORE
    assert (second.links[0].previous, second.links[0].first) == (0, 9)


def test_a_partition_without_legs_gets_no_message() -> None:
    assert len(batches_of(Chains(64), [Payment("T", "A", "B")], [0], [0])) == 1
    assert batches_of(Chains(64), [], [], []) == []


def test_a_batch_of_one_busy_account_is_cut_to_messages_that_the_topic_takes() -> None:
    """A bank with many partitions and a payroll: an index in a message also has but 16 bits."""
    count = 40_000
    batch = [Payment("T", "A", "B")] * count
    made = batches_of(Chains(8), batch, [0] * count, range(count))
    targets = {target for target, _ in made}
    assert targets == {partition_of("A", 8)}
    assert sum(len(each.records) for _, each in made) == count
    assert max(len(each.records) for _, each in made) * LEG.itemsize < BATCH_BYTES
    lasts = [NOTHING_BEFORE, *(each.links[0].last for _, each in made)]
    assert [each.links[0].previous for _, each in made] == lasts[:-1]
