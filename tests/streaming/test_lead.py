"""How far the router may run ahead: the wider of two bounds, over the slowest partition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.streaming.lead import Lead

MOST = 100
SPAN_MS = 5_000


def new_lead() -> Lead:
    return Lead(most_transactions=MOST, most_ms=SPAN_MS)


def send(lead: Lead, partition: int, offset: int, transactions: int, at_ms: int = 0) -> None:
    """Hands transactions over, in one message that is acknowledged at once."""
    lead.sent([partition], transactions, at_ms)
    lead.acknowledged(partition, offset)


def test_nothing_sent_is_no_lead() -> None:
    assert new_lead().allows(10**15)
    assert new_lead().slowest() is None


def test_few_transactions_may_span_any_time() -> None:
    lead = new_lead()
    send(lead, 0, 0, MOST - 1, at_ms=0)
    assert lead.allows(10**15)


def test_a_short_time_may_hold_any_number() -> None:
    lead = new_lead()
    send(lead, 0, 0, 1_000_000, at_ms=0)
    assert lead.allows(SPAN_MS - 1)


def test_many_over_a_long_time_must_wait() -> None:
    lead = new_lead()
    send(lead, 0, 0, MOST, at_ms=0)
    assert not lead.allows(SPAN_MS)


def test_what_is_applied_is_no_lead_any_more() -> None:
    lead = new_lead()
    send(lead, 0, 0, MOST, at_ms=0)
    lead.applied({0: 0})
    assert lead.allows(10**15)
    assert lead.count == MOST


def test_a_message_counts_from_its_own_beginning() -> None:
    """Two messages of a hundred: when the first is applied the lead is the second alone."""
    lead = new_lead()
    send(lead, 0, 0, MOST, at_ms=0)
    send(lead, 0, 1, MOST - 1, at_ms=9_000)
    assert not lead.allows(20_000)
    lead.applied({0: 0})
    assert lead.allows(20_000)


def test_the_slowest_partition_decides() -> None:
    lead = new_lead()
    send(lead, 0, 0, 10)
    send(lead, 1, 0, 10)
    send(lead, 2, 0, MOST)
    lead.applied({0: 0, 2: 0})
    assert lead.slowest() == 1
    assert not lead.allows(SPAN_MS)
    lead.applied({1: 0})
    assert lead.allows(SPAN_MS)


def test_an_idle_partition_holds_nothing_up() -> None:
    lead = new_lead()
    send(lead, 0, 0, 1_000)
    lead.applied({0: 0, 7: -1})
    assert lead.allows(10**15)


def test_an_offset_that_was_passed_over_is_applied_too() -> None:
    """Workers say how far they are, not each step; arrivals lie between."""
    lead = new_lead()
    for offset in (0, 3, 9):
        send(lead, 0, offset, MOST)
    lead.applied({0: 8})
    assert not lead.allows(SPAN_MS)
    lead.applied({0: 50})
    assert lead.allows(SPAN_MS)


def test_a_worker_may_be_faster_than_the_acknowledgement() -> None:
    """It has applied the message before the router is told that the message was taken."""
    lead = new_lead()
    lead.sent([0], MOST, 0)
    lead.applied({0: 4})
    lead.acknowledged(0, 4)
    assert lead.allows(10**15)
    assert lead.slowest() is None


def test_what_is_not_acknowledged_yet_is_waited_for_too() -> None:
    """The next transactions may be ready before the broker has answered for the last ones."""
    lead = new_lead()
    lead.sent([0, 1], MOST, 0)
    assert not lead.allows(SPAN_MS)
    lead.acknowledged(1, 7)
    lead.applied({0: 3, 1: 7})
    assert not lead.allows(SPAN_MS)
    assert lead.slowest() == 0
    lead.acknowledged(0, 3)
    assert lead.allows(SPAN_MS)


def test_a_worker_that_restarted_further_back_is_waited_for() -> None:
    lead = new_lead()
    send(lead, 0, 0, 10)
    lead.applied({0: 5})
    lead.applied({0: 2})
    send(lead, 0, 4, MOST)
    assert not lead.allows(SPAN_MS)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(1, 60),
            st.integers(0, 3_000),
            st.integers(-1, 20),
        ),
        max_size=30,
    ),
    st.integers(0, 20_000),
)
def test_the_bound_is_that_of_a_plain_list(
    steps: list[tuple[int, int, int, int]], next_ms: int
) -> None:
    """Each step sends a message and applies some partition up to an offset."""
    lead, sent, applied = new_lead(), list[tuple[int, int, int, int]](), {0: -1, 1: -1, 2: -1}
    total, at_ms, offsets = 0, 0, {0: 0, 1: 0, 2: 0}
    for partition, transactions, later_ms, reached in steps:
        at_ms += later_ms
        sent.append((partition, offsets[partition], total, at_ms))
        send(lead, partition, offsets[partition], transactions, at_ms)
        total += transactions
        offsets[partition] += 1
        other = (partition + 1) % 3
        applied[other] = max(applied[other], min(reached, offsets[other] - 1))
        lead.applied({other: applied[other]})
    waiting = [row for row in sent if row[1] > applied[row[0]]]
    expected = True
    if waiting:
        _, _, before, since_ms = min(waiting, key=lambda row: row[2])
        expected = total - before < MOST or next_ms - since_ms < SPAN_MS
    assert lead.allows(next_ms) == expected
