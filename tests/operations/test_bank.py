"""The simulated bank: when it sends what, and what goes wrong there on purpose."""

from __future__ import annotations

import io
import json
import time
from threading import Event
from typing import TYPE_CHECKING, cast

import pytest

from sluicegate.domain.refusal import Refused
from sluicegate.domain.transaction import Rules, Transaction, parse_transaction
from sluicegate.operations.bank import Bank, now_ms, stretches
from sluicegate.operations.mishaps import BAD, REPEATS, Mishaps
from sluicegate.simulation.city import FILE_MOMENT_MS, City

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.streaming.sender import Keyed, Sender

CITY = City(7, 4_000)
RULES = Rules("CNY", 300_000, 1_048_576)


class Heard:
    """In the place of a sender: what was sent, and when."""

    def __init__(self, stop: Event, most: int) -> None:
        self.sent: list[tuple[int, Keyed]] = []
        self._stop = stop
        self._most = most

    def send_all(self, messages: Sequence[Keyed]) -> None:
        self.sent += [(now_ms(), message) for message in messages]
        if len(self.sent) >= self._most:
            self._stop.set()

    def finish(self) -> None:
        self.sent.append((now_ms(), (None, None)))


def bank_of(most: int) -> tuple[Bank, Heard, io.BytesIO]:
    stop, truth = Event(), io.BytesIO()
    heard = Heard(stop, most)
    return Bank(cast("Sender", heard), truth, stop), heard, truth


def occurred_ms(message: Keyed) -> int:
    parsed = parse_transaction(message[1], FILE_MOMENT_MS * 2, RULES)
    assert isinstance(parsed, Transaction)
    return parsed.occurred_at_ms


def test_a_chunk_is_sent_in_ticks_and_nothing_before_it_happens() -> None:
    begins_at_ms = FILE_MOMENT_MS
    for chunk, _ in zip(CITY.live(FILE_MOMENT_MS, 3_000), range(5), strict=False):
        parts = list(stretches(chunk, begins_at_ms))
        assert [message for part in parts for message in part.messages] == chunk.messages()
        assert [part.due_ms - begins_at_ms for part in parts] == [20, 40, 60, 80, 100]
        for part in parts:
            assert all(occurred_ms(message) <= part.due_ms for message in part.messages)
        begins_at_ms = chunk.until_ms


def test_the_present_is_sent_as_it_happens_and_its_truth_before_it() -> None:
    bank, heard, truth = bank_of(most=500)
    begins_at_ms = now_ms()
    bank.send_present(CITY, 2_000, begins_at_ms)
    assert heard.sent.pop()[1] == (None, None)  # all is acknowledged at the end
    assert len(heard.sent) >= 500
    assert all(sent_ms >= occurred_ms(message) for sent_ms, message in heard.sent)
    lines = [json.loads(line) for line in truth.getvalue().splitlines()]
    assert lines[0] == {"live_from_ms": begins_at_ms}
    assert {line["id"] for line in lines[1:]} <= {
        json.loads(message[1] or b"")["id"] for _, message in heard.sent
    }


def test_the_present_ends_after_its_time() -> None:
    bank, heard, _ = bank_of(most=10**9)
    bank.send_present(CITY, 1_000, now_ms(), seconds=0.2)
    assert len(heard.sent) - 1 == 200


def test_a_history_that_is_stopped_is_still_acknowledged() -> None:
    bank, heard, _ = bank_of(most=1)
    bank.send_history(CITY.history(50_000, FILE_MOMENT_MS))
    assert 1 < len(heard.sent) < 50_000
    assert heard.sent[-1][1] == (None, None)


def happened() -> list[tuple[Keyed, Keyed]]:
    """All that goes wrong, each after the sound message before it."""
    mishaps = Mishaps()
    pairs: list[tuple[Keyed, Keyed]] = []
    for number in range(1_000):
        content = {"id": f"T{number}", "occurred_at": "2026-03-01T10:00:00+08:00"}
        content |= {"amount": "5.00", "payer_account": "A", "payee_account": "B"}
        sound: Keyed = (b"A", json.dumps(content).encode())
        pairs += [(sound, wrong) for wrong in mishaps.after([sound])]
    return pairs


def test_twenty_messages_are_bad_each_in_its_way_and_twenty_are_sent_twice() -> None:
    repeats = [wrong for sound, wrong in happened() if wrong == sound]
    bad = [wrong for sound, wrong in happened() if wrong != sound]
    assert (len(bad), len(repeats)) == (BAD, REPEATS)
    reasons = [parse_transaction(value, time.time_ns() // 10**6, RULES) for _, value in bad]
    *refused, reused = reasons
    assert all(isinstance(each, Refused) for each in refused)
    named = {(each.refusal, each.field) for each in refused if isinstance(each, Refused)}
    assert len(named) >= 14
    assert isinstance(reused, Transaction)  # which only the router can tell, by its id


def test_no_mishap_without_a_message_before_it() -> None:
    assert Mishaps().after([]) == []


@pytest.mark.parametrize("most", [1, 300])
def test_a_stop_ends_the_present_with_the_chunk_that_was_begun(most: int) -> None:
    bank, heard, truth = bank_of(most)
    bank.send_present(CITY, 1_000, now_ms())
    sent = {json.loads(message[1])["id"] for _, message in heard.sent if message[1]}
    planted = [json.loads(line).get("id") for line in truth.getvalue().splitlines()[1:]]
    assert sent.issuperset(planted)
