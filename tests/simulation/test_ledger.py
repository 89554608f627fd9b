from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.simulation.bank import NOW_MS, Log, alert, legs_message, payment, refusal

from sluicegate.simulation.formats import read_transactions
from sluicegate.simulation.ledger import Books, Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT, IN, CASH_OUT = -1, 1, 1


def audited(
    sent: Sequence[bytes | None], log: Log, *, applied: int | None = None, final: bool = True
) -> Books:
    return filled(sent, log, applied=applied).balance(final=final)


def filled(sent: Sequence[bytes | None], log: Log, *, applied: int | None = None) -> Ledger:
    ledger = Ledger()
    ledger.add_transactions(0, range(len(sent)), sent)
    offsets = range(len(log.messages))
    ledger.add_legs(0, offsets, [NOW_MS] * len(log.messages), log.messages)
    reached = len(log.messages) - 1 if applied is None else applied
    ledger.add_progress(json.dumps({"worker": "w", "applied": {"0": reached}}).encode())
    return ledger


def moved(log: Log, *offsets: int) -> None:
    """Departures of these source offsets, then their arrivals."""
    batch = log.departures(*[(0, offset, OUT, 0) for offset in offsets])
    log.arrivals(*[(0, batch, index) for index in range(len(offsets))])


def test_everything_that_arrived_and_was_applied_is_scored() -> None:
    log = Log()
    moved(log, 0, 1, 2)
    books = audited([payment("a"), payment("b"), payment("c")], log)
    assert (books.sent, books.scored, books.lost, books.doubled) == (3, 3, 0, 0)
    assert (books.holes, books.orphans, books.unreadable) == (0, 0, 0)


def test_cash_in_and_cash_out_are_final_with_their_only_leg() -> None:
    log = Log()
    log.departures((0, 0, IN, 0), (0, 1, OUT, CASH_OUT))
    books = audited([payment("a", payer=None), payment("b")], log)
    assert (books.scored, books.lost) == (2, 0)


def test_a_transaction_without_any_trace_is_lost_and_named() -> None:
    log = Log()
    moved(log, 0, 2)
    books = audited([payment("a"), payment("b"), payment("c")], log, final=False)
    assert (books.scored, books.lost) == (2, 1)
    assert books.lost_examples == ("transactions[0]@1",)


def test_a_departure_whose_arrival_never_came_is_lost_in_the_end() -> None:
    log = Log()
    moved(log, 0)
    log.departures((0, 1, OUT, 0))
    ledger = filled([payment("a"), payment("b")], log)
    assert (ledger.balance().waiting, ledger.balance().lost) == (1, 0)
    assert (ledger.balance(final=True).waiting, ledger.balance(final=True).lost) == (0, 1)


def test_an_arrival_beyond_the_applied_offset_is_not_scored() -> None:
    log = Log()
    moved(log, 0)
    ledger = filled([payment("a")], log, applied=0)
    assert (ledger.balance().scored, ledger.balance().waiting) == (0, 1)
    ledger.add_progress(b'{"applied": {"0": 1}}')
    assert (ledger.balance().scored, ledger.balance().waiting) == (1, 0)


def test_what_the_router_has_not_reached_waits_and_in_the_end_is_lost() -> None:
    log = Log()
    moved(log, 0)
    ledger = filled([payment("a"), payment("b"), payment("c")], log)
    assert (ledger.balance().waiting, ledger.balance().lost) == (2, 0)
    assert ledger.balance(final=True).lost == 2


def test_a_batch_written_again_is_dropped_by_the_chain_rule() -> None:
    log = Log()
    moved(log, 0, 1)
    log.messages += log.messages
    books = audited([payment("a"), payment("b")], log)
    assert (books.scored, books.doubled, books.holes) == (2, 0, 0)


def test_a_transaction_that_departs_and_arrives_twice_is_doubled() -> None:
    log = Log()
    moved(log, 0, 1)
    other = legs_message(1, [(0, 1, OUT, 0)])
    ledger = filled([payment("a"), payment("b")], log)
    ledger.add_legs(1, [0], [NOW_MS], [other])
    assert ledger.balance().doubled == 1


def test_an_arrival_sent_twice_past_the_chain_is_doubled() -> None:
    log = Log()
    moved(log, 0)
    ledger = filled([payment("a")], log)
    ledger.add_legs(1, [0], [NOW_MS], [legs_message(2, [(0, 0, IN, 0)])])
    ledger.add_progress(b'{"applied": {"1": 0}}')
    books = ledger.balance()
    assert (books.scored, books.doubled) == (1, 1)


def test_two_legs_of_one_position_in_one_batch_are_doubled() -> None:
    log = Log()
    log.departures((0, 0, OUT, CASH_OUT), (0, 0, OUT, CASH_OUT))
    assert audited([payment("a")], log).doubled == 1


def test_a_link_that_follows_on_nothing_is_a_hole() -> None:
    log = Log()
    moved(log, 0)
    log.messages.append(legs_message(1, [(0, 5, OUT, 0)], {0: 4}))
    assert audited([payment("a")], log).holes == 1


def test_an_arrival_without_departure_is_an_orphan() -> None:
    log = Log()
    moved(log, 0)
    log.arrivals((3, 17, 0))
    assert audited([payment("a")], log).orphans == 1


def test_an_arrival_may_be_read_before_its_departure() -> None:
    ledger = Ledger()
    ledger.add_legs(0, [0], [NOW_MS], [legs_message(2, [(1, 7 << 16, IN, 0)])])
    ledger.add_progress(b'{"applied": {"0": 0}}')
    ledger.settle()
    ledger.add_legs(1, [7], [NOW_MS], [legs_message(1, [(0, 0, OUT, 0)])])
    ledger.add_transactions(0, [0], [payment("a")])
    books = ledger.balance(final=True)
    assert (books.scored, books.orphans) == (1, 0)


def test_the_banks_repeat_is_a_repeat_however_its_amount_and_time_are_written() -> None:
    log = Log()
    moved(log, 0)
    again = json.loads(payment("a")) | {"amount": 10, "occurred_at": "2025-06-15T15:06:40Z"}
    sent = [payment("a"), payment("a"), json.dumps(again).encode(), payment("a", "10.01")]
    books = audited(sent, log)
    assert (books.scored, books.repeats, books.lost) == (1, 2, 1)


def test_a_record_like_a_refused_one_is_no_repeat() -> None:
    log = Log()
    ledger = filled([payment("a", "-1"), payment("a", "-1")], log, applied=0)
    ledger.add_dead_letter(refusal(0))
    books = ledger.balance(final=True)
    assert (books.dead_lettered, books.repeats, books.lost) == (1, 0, 1)


def test_two_unreadable_records_are_not_repeats_of_each_other() -> None:
    log = Log()
    moved(log, 0)
    assert audited([b"{", b"{", None], log).repeats == 0


def test_a_dead_letter_counts_once_and_only_for_its_topic() -> None:
    log = Log()
    moved(log, 0)
    ledger = filled([payment("a"), b"rubbish", payment("c")], log)
    for headers in (refusal(1), refusal(1), refusal(2, "stop-payment"), None):
        ledger.add_dead_letter(headers)
    books = ledger.balance(final=True)
    assert (books.dead_lettered, books.lost, books.doubled) == (1, 1, 0)


def test_refused_and_scored_at_once_is_doubled() -> None:
    log = Log()
    moved(log, 0)
    ledger = filled([payment("a")], log)
    ledger.add_dead_letter(refusal(0))
    books = ledger.balance()
    assert (books.scored, books.dead_lettered, books.doubled) == (1, 0, 1)


def test_the_fates_add_up_to_what_was_sent() -> None:
    log = Log()
    moved(log, 0, 1)
    log.departures((0, 4, OUT, 0))
    sent = [payment("a"), payment("b"), payment("a"), b"\xff", payment("d"), payment("e")]
    ledger = filled(sent, log)
    ledger.add_dead_letter(refusal(3))
    for final in (False, True):
        books = ledger.balance(final=final)
        fates = (books.scored, books.repeats, books.dead_lettered, books.waiting, books.lost)
        assert sum(fates) == books.sent == 6


def test_offsets_below_the_start_of_the_topic_do_not_count() -> None:
    ledger = Ledger()
    ledger.starts_at(0, 1_000)
    ledger.add_legs(0, [0], [NOW_MS], [legs_message(1, [(0, 9, OUT, 1), (0, 1_000, OUT, 1)])])
    ledger.add_transactions(0, [1_000], [payment("a")])
    ledger.add_progress(b'{"applied": {"0": 0}}')
    books = ledger.balance(final=True)
    assert (books.sent, books.scored, books.lost) == (1, 1, 0)


@pytest.mark.parametrize("value", [None, b"", b"SLG2" + bytes(8), legs_message(1, [])[:-1]])
def test_a_strange_message_in_the_legs_is_counted(value: bytes | None) -> None:
    ledger = Ledger()
    ledger.add_legs(0, [0], [NOW_MS], [value])
    ledger.add_progress(b"[]")
    ledger.add_alert(NOW_MS, b"null")
    assert ledger.balance().unreadable == 3


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"   ",
        b"\xff\xfe",
        b"[1]",
        b"null",
        b"{}\n{}",
        b'{"id": 5}',
        b'{"id": "\\ud800"}',
        b'{"id": ["x"], "amount": {"a": 1}}',
        b"[" * 5_000,
        None,
    ],
)
def test_an_odd_record_does_not_shift_its_neighbours(odd: bytes | None) -> None:
    frame = read_transactions([payment("a"), odd, payment("c")])
    assert frame["id"][0] == "a"
    assert frame["id"][2] == "c"
    assert frame.height == 3


def story(name: str, size: int, *entries: tuple[str, str, str]) -> list[bytes]:
    return [
        json.dumps(
            {
                "id": transaction,
                "scenario": "mule_chain",
                "story": name,
                "movements": size,
                "payer_account": payer,
                "payee_account": payee,
                "occurred_at_ms": NOW_MS,
            }
        ).encode()
        for transaction, payer, payee in entries
    ]


def test_stories_are_caught_by_transaction_or_by_account_and_the_rest_is_false_alarm() -> None:
    ledger = Ledger()
    names = ["a", "b", "c", "d", "e"]
    ledger.add_transactions(0, range(5), [payment(name) for name in names])
    ledger.add_truth(story("one", 2, ("a", "V", "M"), ("b", "M", "N")))
    ledger.add_truth(story("two", 1, ("c", "P", "Q")))
    ledger.add_truth(story("missed", 1, ("d", "R", "S")))
    ledger.add_truth(story("unfinished", 2, ("e", "X", "Y")))
    ledger.add_truth(story("never-sent", 1, ("z", "X", "Z")))
    ledger.add_alert(NOW_MS + 30, alert("1", "b", "N"))
    ledger.add_alert(NOW_MS + 30, alert("1", "b", "N"))
    ledger.add_alert(NOW_MS + 30, alert("2", "other", "Q"))
    ledger.add_alert(NOW_MS + 30, alert("3", "other", "R", "15:06:39.999"))
    ledger.add_alert(NOW_MS + 30, alert("4", "honest", "H"))
    books = ledger.balance()
    assert books.planted == {"mule_chain": 3}
    assert books.caught == {"mule_chain": 2}
    assert books.missed == {"mule_chain": 1}
    assert (books.alerts, books.alerts_repeated, books.false_alarms) == (4, 1, 1)


def test_latency_counts_from_the_source_record_to_the_alert_in_the_live_part() -> None:
    ledger = Ledger()
    ledger.add_truth([json.dumps({"live_from_ms": NOW_MS}).encode()])
    ledger.add_alert(NOW_MS + 40, alert("1", "a", "A"))
    ledger.add_alert(NOW_MS + 5_000, alert("2", "b", "B", "15:06:39.000"))
    assert ledger.balance().latency_ms == {"p50": 40.0, "p99": 40.0, "p999": 40.0}
    assert Ledger().balance().latency_ms == {"p50": None, "p99": None, "p999": None}


def test_the_rate_counts_final_legs_in_the_window() -> None:
    log = Log()
    moved(log, 0, 1, 2, 3)
    ledger = filled([payment(name) for name in "abcd"], log)
    ledger.window_ms = (NOW_MS - 1_000, NOW_MS + 1_000)
    assert ledger.balance().rate_tx_s == 2.0


def test_the_books_are_json() -> None:
    assert json.loads(json.dumps(audited([], Log()).as_json()))["sent"] == 0
