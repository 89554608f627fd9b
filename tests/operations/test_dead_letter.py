"""The tools for dead-letter: looking without seeing account numbers, and replaying once."""

from __future__ import annotations

import json
import re
from collections import deque
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from tests.liaison.conftest import an_alert
from typer.testing import CliRunner

from sluicegate.cli import app
from sluicegate.errors import Problem
from sluicegate.memory.features import FEATURES
from sluicegate.operations import dead_letter_replay
from sluicegate.operations.dead_letter import Filters, Found, Letter, letter_of
from sluicegate.operations.dead_letter_replay import replay
from sluicegate.operations.dead_letter_view import masked, shown, table
from sluicegate.settings import Settings, TopicSettings
from sluicegate.simulation.formats import read_refused
from sluicegate.simulation.ledger import Ledger
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.topics import Topics, create_topics
from sluicegate.streaming.unjudged import JUDGEMENT_FAILED, UnjudgedLeg

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Message
    from typer.testing import Result

    from sluicegate.operations.broker import EmbeddedBroker

PAYER = "6222021234567890123"
REFUSED = (
    '{"id":"T-1","occurred_at":"yesterday","amount":10.50,'
    f'"payer_account":"{PAYER}","payee_account":null}}'
).encode()


class Bench:
    """Topics of one's own with dead letters in them."""

    def __init__(self, broker: EmbeddedBroker, prefix: str, folder: Path) -> None:
        self.bootstrap = broker.bootstrap
        self.settings = Settings(
            topics=TopicSettings(prefix=prefix, partitions=3, transactions_partitions=4)
        )
        self.topics = Topics.of(self.settings)
        create_topics(self.settings, self.bootstrap)
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        self._config = folder / "sluicegate.toml"
        self._config.write_text(
            f'[topics]\nprefix = "{prefix}"\npartitions = 3\ntransactions_partitions = 4\n'
        )

    def refuse(
        self,
        reason: str = "TIME_MALFORMED",
        value: bytes | None = REFUSED,
        partition: int = 2,
        source: str | None = None,
        at: datetime | None = None,
        **more: str,
    ) -> None:
        """Writes a dead letter as the router does."""
        headers = {
            "reason": reason,
            "field": "occurred_at",
            "detail": "not a time",
            "source_topic": source or self.topics.transactions,
            "source_partition": str(partition),
            "source_offset": "7",
            **more,
        }
        self._producer.produce(
            self.topics.dead_letter,
            value,
            PAYER.encode(),
            headers=[(name, text.encode()) for name, text in headers.items()],
            timestamp=0 if at is None else round(at.timestamp() * 1000),
        )
        assert self._producer.flush(30) == 0

    def messages(self, topic: str) -> list[Message]:
        """All that a topic holds."""
        config = confluent_config(self.settings.broker, self.bootstrap)
        with closing(StretchReader(config)) as reader:
            return [
                message
                for partition in reader.partitions(topic)
                for message in reader.read(reader.whole(topic, partition))
            ]

    def markers(self) -> list[Letter]:
        letters = map(letter_of, self.messages(self.topics.dead_letter))
        return [letter for letter in letters if letter.reason == "REPLAYED"]

    def asked(self, *arguments: str) -> Result:
        """`sluicegate dead-letter ARGUMENTS`."""
        where = ["--config", str(self._config), "dead-letter", *arguments]
        return CliRunner().invoke(app, [*where, "--broker", self.bootstrap])


@pytest.fixture
def bench(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Bench:
    return Bench(broker, topic_prefix, tmp_path)


def a_letter(value: bytes | None, **headers: str) -> Letter:
    return Letter(3, 1_750_000_000_000, {"reason": "NOT_JSON", **headers}, b"K", value)


# What is shown.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'{{"payer_account": "{PAYER}"}}', '{"payer_account": "****0123"}'),
        ('{"account":"A1"}', '{"account":"****"}'),
        ('{"payee_account":"DE89 3704"}', '{"payee_account":"****3704"}'),
        ('{"payee_account":null}', '{"payee_account":null}'),
        ('{"payee_account":6222021234567', '{"payee_account":****4567'),
        ('{"payee_account":"622202123', '{"payee_account":"****2123'),
        ('{"memo":"to 6222021234567 today"}', '{"memo":"to ****4567 today"}'),
        ('{"id":"202503010000000001"}', '{"id":"202503010000000001"}'),
        ('{"amount":1234567890.12}', '{"amount":1234567890.12}'),
        ('{"occurred_at_ms": 1750000000000}', '{"occurred_at_ms": 1750000000000}'),
        ('{"covered_1h": 0.3333333333333}', '{"covered_1h": 0.3333333333333}'),
        ("no JSON 6222021234567", "no JSON ****4567"),
    ],
)
def test_account_numbers_are_masked_and_other_figures_are_not(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_json_is_laid_out_and_every_number_stays_as_it_was_written() -> None:
    value = b'{"amount":1.50e1,"list":[1,{"a":{}}],"a":1,"a":2,"memo":"x, \\"y\\": {z}"}'
    lines = "\n".join(shown(a_letter(value), reveal=True)).split("\n\n")[1]
    expected = (
        '{\n  "amount": 1.50e1,\n  "list": [\n    1,\n    {\n      "a": {}\n    }\n  ],\n'
        '  "a": 1,\n  "a": 2,\n  "memo": "x, \\"y\\": {z}"\n}'
    )
    assert lines == expected


def test_what_steers_a_terminal_is_shown_and_not_done() -> None:
    letter = a_letter(b"\x1b[2J\xff", detail="\x07")
    assert "\x1b" not in "\n".join(shown(letter, reveal=True))
    assert "\\x1b[2J\\xff" in "\n".join(shown(letter, reveal=True))


# On a broker.


@pytest.mark.broker
def test_the_list_tells_what_was_refused_newest_last(bench: Bench) -> None:
    bench.refuse()
    bench.refuse("NOT_JSON", b"{", partition=1)
    listed = bench.asked("list")
    assert listed.exit_code == 0
    head, first, second = listed.stdout.splitlines()
    assert head.split()[0] == "position"
    assert re.match(r"0 +\S+Z +TIME_MALFORMED +occurred_at +\S+\[2\]@7 +- +\{", first)
    assert "NOT_JSON" in second
    assert "****0123" in first
    assert PAYER not in listed.output
    assert "2 of 2 dead letters" in listed.stderr


@pytest.mark.broker
def test_the_list_keeps_to_reasons_times_and_the_newest(bench: Bench) -> None:
    now = datetime.now(UTC)
    for hours in (5, 3, 1):
        bench.refuse(at=now - timedelta(hours=hours))
    bench.refuse("NOT_JSON", at=now)

    def positions(*filters: str) -> list[int]:
        found = json.loads(bench.asked("list", "--json", *filters).stdout)
        return [each["position"] for each in found]

    assert positions() == [0, 1, 2, 3]
    assert positions("--reason", "NOT_JSON") == [3]
    assert positions("--reason", "NOT_JSON", "--reason", "TIME_MALFORMED") == [0, 1, 2, 3]
    assert positions("--since", "4h") == [1, 2, 3]
    assert positions("--since", "4h", "--until", "2h") == [1]
    assert positions("--until", (now - timedelta(hours=4)).isoformat()) == [0]
    assert positions("--limit", "2") == [2, 3]
    assert positions("--since", (now + timedelta(hours=1)).isoformat()) == []
    nothing = bench.asked("list", "--reason", "TIME_MALFROMED")
    assert "there are TIME_MALFORMED 3, NOT_JSON 1" in nothing.stderr


@pytest.mark.broker
def test_one_record_is_shown_whole_and_masked_until_it_is_asked_for(bench: Bench) -> None:
    bench.refuse()
    masked_one = bench.asked("show", "0")
    assert masked_one.exit_code == 0
    assert "detail: not a time" in masked_one.stdout
    assert '"payer_account": "****0123"' in masked_one.stdout
    assert "key: ****0123" in masked_one.stdout
    assert PAYER not in masked_one.output
    assert f'"payer_account": "{PAYER}"' in bench.asked("show", "0", "--reveal").stdout
    absent = bench.asked("show", "1")
    assert isinstance(absent.exception, Problem)
    assert "has no record at 1" in absent.exception.fact


@pytest.mark.broker
def test_a_replay_sends_the_same_bytes_to_the_same_partition_once(bench: Bench) -> None:
    bench.refuse()
    bench.refuse("NOT_JSON", b"{")
    first = bench.asked("replay", "--reason", "TIME_MALFORMED")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("1 transactions sent again")
    (sent,) = bench.messages(bench.topics.transactions)
    assert (sent.partition(), sent.key(), sent.value()) == (2, PAYER.encode(), REFUSED)
    (marker,) = bench.markers()
    assert (marker.headers["replayed_offset"], marker.value) == ("0", None)

    again = bench.asked("replay", "0")
    assert again.exit_code == 0
    assert "0 transactions sent again; 0 judgements made again; 1 were replayed" in again.stdout
    assert len(bench.messages(bench.topics.transactions)) == 1
    listed = json.loads(bench.asked("list", "--json").stdout)
    assert [each["replayed"] for each in listed] == [True, False]


@pytest.mark.broker
def test_a_replay_that_died_before_its_marker_sends_the_same_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.refuse()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dead_letter_replay._Replay, "_mark", die)
        with pytest.raises(KeyboardInterrupt):
            replay(bench.settings, bench.bootstrap, Filters(offsets=frozenset({0})))
    replay(bench.settings, bench.bootstrap, Filters(offsets=frozenset({0})))
    sent = bench.messages(bench.topics.transactions)
    assert {(each.partition(), each.value()) for each in sent} == {(2, REFUSED)}
    assert len(bench.markers()) == 1


@pytest.mark.broker
def test_a_dry_run_sends_nothing(bench: Bench) -> None:
    bench.refuse()
    done = bench.asked("replay", "0", "--dry-run")
    assert done.stdout.startswith("1 transactions would be sent again")
    assert bench.messages(bench.topics.transactions) == []
    assert bench.markers() == []


@pytest.mark.broker
def test_what_cannot_be_replayed_is_told_and_the_rest_is_sent(bench: Bench) -> None:
    bench.refuse("MESSAGE_TOO_LARGE", b"{", length="5000000", sha256="00")
    bench.refuse("NOT_AN_ALERT", b"{", source=bench.topics.stop_payment)
    bench.refuse("NULL_MESSAGE", None)
    bench.refuse()
    done = bench.asked("replay", "--since", "1h")
    assert done.exit_code == 1
    assert "0 MESSAGE_TOO_LARGE: of its 5,000,000 bytes only the first are here" in done.stderr
    assert f"1 NOT_AN_ALERT: it came from {bench.topics.stop_payment}" in done.stderr
    assert "2 NULL_MESSAGE: it has no value" in done.stderr
    assert len(bench.messages(bench.topics.transactions)) == 1
    assert [each.headers["replayed_offset"] for each in bench.markers()] == ["3"]


@pytest.mark.broker
def test_an_offset_that_is_not_there_stops_the_replay_before_it_begins(bench: Bench) -> None:
    bench.refuse()
    result = bench.asked("replay", "0", "9")
    assert isinstance(result.exception, Problem)
    assert result.exception.fact == "no dead letter at 9"
    assert bench.messages(bench.topics.transactions) == []


@pytest.mark.broker
def test_many_letters_are_sent_and_marked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_replay, "AT_ONCE", 3)
    for number in range(8):
        bench.refuse(partition=number)
    done = replay(bench.settings, bench.bootstrap, Filters(reasons=frozenset({"TIME_MALFORMED"})))
    assert done.transactions == 8
    sent = bench.messages(bench.topics.transactions)
    assert sorted(each.partition() or 0 for each in sent) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [each.headers["replayed_offset"] for each in bench.markers()] == list("01234567")


@pytest.mark.broker
def test_a_judgement_that_failed_is_made_again_and_its_alert_is_raised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = an_alert("T9")
    monkeypatch.setattr(dead_letter_replay, "judge_again", lambda *_: alert)
    bench.refuse(JUDGEMENT_FAILED, b"{}", source=bench.topics.legs)
    done = replay(bench.settings, bench.bootstrap, Filters(reasons=frozenset({JUDGEMENT_FAILED})))
    assert (done.judged, done.alerts, done.transactions) == (1, 1, 0)
    (raised,) = bench.messages(bench.topics.stop_payment)
    assert raised.key() == alert.account.encode()
    assert raised.partition() == partition_of(alert.account, 3)
    assert raised.value() == alert.model_dump_json().encode()
    assert len(bench.markers()) == 1


@pytest.mark.broker
def test_a_judgement_that_now_comes_to_nothing_is_marked_too(bench: Bench) -> None:
    leg = UnjudgedLeg(
        transaction_id="T1",
        account=PAYER,
        side="outflow",
        counterparty=None,
        amount_minor=100,
        currency="CNY",
        occurred_at_ms=1,
        recorded_at_ms=1,
        detected_at_ms=1,
        pattern_set_version="0" * 16,
        pattern="pass-through",
        error="",
        features=dict.fromkeys((feature.name for feature in FEATURES), 0.0),
    )
    bench.refuse(JUDGEMENT_FAILED, leg.model_dump_json().encode(), source=bench.topics.legs)
    bench.refuse(JUDGEMENT_FAILED, b"{}", source=bench.topics.legs)
    done = replay(bench.settings, bench.bootstrap, Filters(reasons=frozenset({JUDGEMENT_FAILED})))
    assert (done.judged, done.alerts) == (1, 0)
    assert [letter.offset for letter, _ in done.refused] == [1]
    assert bench.messages(bench.topics.stop_payment) == []
    assert [each.headers["replayed_offset"] for each in bench.markers()] == ["0"]


@pytest.mark.broker
def test_markers_and_failed_judgements_do_not_enter_the_books(bench: Bench) -> None:
    bench.refuse(partition=0)
    bench.refuse(JUDGEMENT_FAILED, b"{}", source=bench.topics.legs)
    replay(bench.settings, bench.bootstrap, Filters(offsets=frozenset({0})))
    ledger = Ledger(transactions_topic=bench.topics.transactions)
    ledger.add_transactions(0, range(8), [REFUSED] * 8)
    letters = [message.headers() for message in bench.messages(bench.topics.dead_letter)]
    places = [read_refused(headers, bench.topics.transactions) for headers in letters]
    assert places == [(0, 7), None, None]
    for headers in letters:
        ledger.add_dead_letter(headers)
    books = ledger.balance()
    assert (books.dead_lettered, books.doubled, books.unreadable) == (1, 0, 0)


@pytest.mark.parametrize(
    "arguments", ["replay", "list --since yesterday", "list --until 2026-03-01T10:00:00", "show x"]
)
def test_wrong_usage_is_2(arguments: str) -> None:
    assert CliRunner().invoke(app, ["dead-letter", *arguments.split()]).exit_code == 2


def test_a_table_of_letters_lines_up() -> None:
    with_field = a_letter(b"{}", field="amount")
    found = Found(deque([with_field, a_letter(None)]), {3})
    head, first, second = table(found)
    assert head.index("reason") == first.index("NOT_JSON") == second.index("NOT_JSON")
    assert second.endswith("yes       (no value)")
