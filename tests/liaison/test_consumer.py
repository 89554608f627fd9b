"""The liaison consumer on a real broker: nothing lost, nothing twice, nothing in the way."""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from sluicegate.errors import Problem
from sluicegate.liaison import consumer as liaison
from sluicegate.liaison.consumer import read_alert, run_liaison, take_batch
from sluicegate.liaison.database import AlertRow, open_database
from sluicegate.liaison.dead_letters import DeadLetter, Unreadable, cut_to
from sluicegate.liaison.schema import prepare_tables
from sluicegate.settings import Settings
from sluicegate.streaming.topics import Topics, create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from sluicegate.domain.alert import Alert
    from sluicegate.operations.broker import EmbeddedBroker

    MakeAlert = Callable[..., Alert]

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
PATIENCE_SECONDS = 30.0


@dataclasses.dataclass
class FakeRecord:
    value: bytes | None
    key: bytes | None = b"6222000011112222"
    topic: str = "stop-payment"
    partition: int = 3
    offset: int = 41


@dataclasses.dataclass
class DeadLettersKept:
    engine: Engine
    letters: list[DeadLetter] = dataclasses.field(default_factory=list)
    stored_before: int = -1

    def send(self, letters: Sequence[DeadLetter]) -> None:
        self.stored_before = count(self.engine)
        self.letters += letters


def count(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(AlertRow)) or 0


def wire(alert: Alert) -> bytes:
    return alert.model_dump_json().encode()


YOUNG = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""What a broker answers that has just begun to look after a group."""


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/liaison.db")
    prepare_tables(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Settings:
    settings = Settings.model_validate(
        {
            "topics": {"prefix": topic_prefix, "partitions": 2},
            "broker": {"give_up_after_seconds": 20},
            "liaison": {
                "group": "liaison",
                "database_url": f"sqlite:///{tmp_path}/liaison.db",
                "metrics_port": 0,
            },
        }
    )
    create_topics(settings, broker.bootstrap)
    return settings


@contextmanager
def running(settings: Settings, bootstrap: str) -> Iterator[None]:
    stop = Event()
    thread = Thread(target=run_liaison, args=(settings, bootstrap, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def publish(settings: Settings, bootstrap: str, values: Sequence[bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(Topics.of(settings).stop_payment, value, b"A1", partition=0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def committed(settings: Settings, bootstrap: str) -> int:
    asking = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{settings.topics.prefix}{settings.liaison.group}",
        }
    )
    place = TopicPartition(Topics.of(settings).stop_payment, 0)
    found: list[int] = []

    def is_told() -> bool:
        try:
            found.append(asking.committed([place], timeout=10)[0].offset)
        except KafkaException as error:
            if error.args[0].code() not in YOUNG:
                raise
        return bool(found)

    try:
        eventually(is_told)
        return found[0]
    finally:
        asking.close()


def dead_letters(settings: Settings, bootstrap: str, number: int) -> list[dict[str, object]]:
    reading = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    reading.assign([TopicPartition(Topics.of(settings).dead_letter, 0, 0)])
    try:
        messages = reading.consume(number, timeout=PATIENCE_SECONDS)
    finally:
        reading.close()
    found: list[dict[str, object]] = []
    for message in messages:
        headers = message.headers()
        assert isinstance(headers, list)
        texts = {name: value.decode() for name, value in headers if isinstance(value, bytes)}
        found.append({"key": message.key(), "value": message.value(), **texts})
    return found


def test_an_alert_is_read_from_its_json(make_alert: MakeAlert) -> None:
    alert = make_alert()
    assert read_alert(wire(alert)) == alert


@pytest.mark.parametrize(
    ("value", "reason", "part"),
    [
        (None, Unreadable.NULL_MESSAGE, "no value"),
        (b"", Unreadable.NOT_AN_ALERT, "Invalid JSON"),
        (b"\xff\xfe", Unreadable.NOT_AN_ALERT, "Invalid JSON"),
        (b"[]", Unreadable.NOT_AN_ALERT, ""),
        (b"{}", Unreadable.NOT_AN_ALERT, "id: Field required"),
    ],
)
def test_what_is_no_alert_has_a_named_reason(
    value: bytes | None, reason: Unreadable, part: str
) -> None:
    found = read_alert(value)
    assert isinstance(found, tuple)
    assert found[0] is reason
    assert part in found[1]


def test_the_detail_names_the_field_and_never_its_value(make_alert: MakeAlert) -> None:
    fields = json.loads(wire(make_alert())) | {"account": "6222000011112222" * 9}
    assert read_alert(json.dumps(fields).encode()) == (
        Unreadable.NOT_AN_ALERT,
        "account: String should have at most 34 characters",
    )


def test_a_batch_goes_to_the_database_first_and_then_to_dead_letter(
    engine: Engine, make_alert: MakeAlert
) -> None:
    alert = make_alert()
    letters = DeadLettersKept(engine)
    batch = [FakeRecord(b"{}"), FakeRecord(wire(alert)), FakeRecord(wire(alert)), FakeRecord(None)]
    outcome = take_batch(batch, engine, letters, NOW)
    assert outcome.new == (alert,)
    assert outcome.repeats == 1
    assert letters.stored_before == 1
    assert [letter.record for letter in letters.letters] == [batch[0], batch[3]]


def test_an_alert_the_database_refuses_goes_to_dead_letter(
    engine: Engine, make_alert: MakeAlert
) -> None:
    letters = DeadLettersKept(engine)
    batch = [FakeRecord(wire(make_alert("T1", amount_minor=2**63)))]
    batch.append(FakeRecord(wire(make_alert("T2"))))
    outcome = take_batch(batch, engine, letters, NOW)
    assert [alert.transaction_id for alert in outcome.new] == ["T2"]
    assert [letter.reason for letter in letters.letters] == [Unreadable.NOT_STORABLE]
    assert outcome.repeats == 0


def test_a_dead_letter_says_why_and_where_it_stood() -> None:
    letter = DeadLetter(FakeRecord(b"{}"), Unreadable.NOT_AN_ALERT, "字" * 2_000)
    assert dict(letter.headers()) == {
        "reason": b"NOT_AN_ALERT",
        "detail": ("字" * 1_000).encode(),
        "source_topic": b"stop-payment",
        "source_partition": b"3",
        "source_offset": b"41",
    }


def test_a_dead_letter_over_the_limit_is_cut_with_its_length_and_digest() -> None:
    assert cut_to(10, b"key", b"1234567") == (b"key", b"1234567", [])
    key, value, headers = cut_to(10, b"key", b"12345678")
    assert (key, value) == (b"key", b"1234567")
    assert dict(headers)["length"] == b"8"
    assert len(dict(headers)["sha256"]) == 64
    assert cut_to(2, b"key", b"v")[:2] == (b"ke", b"")
    assert cut_to(2, None, None) == (None, None, [])


@pytest.mark.broker
def test_alerts_are_stored_once_and_the_stream_goes_on_past_what_is_unreadable(
    broker: EmbeddedBroker, settings: Settings, engine: Engine, make_alert: MakeAlert
) -> None:
    first, second = wire(make_alert("T1")), wire(make_alert("T2"))
    publish(settings, broker.bootstrap, [first, b"not json", None, first])
    with running(settings, broker.bootstrap):
        eventually(lambda: committed(settings, broker.bootstrap) == 4)
        publish(settings, broker.bootstrap, [second])
        eventually(lambda: committed(settings, broker.bootstrap) == 5)
    assert count(engine) == 2
    letters = dead_letters(settings, broker.bootstrap, 2)
    assert [letter["reason"] for letter in letters] == ["NOT_AN_ALERT", "NULL_MESSAGE"]
    assert [letter["source_offset"] for letter in letters] == ["1", "2"]
    assert letters[0]["source_topic"] == Topics.of(settings).stop_payment
    assert (letters[0]["key"], letters[0]["value"]) == (b"A1", b"not json")


@pytest.mark.broker
def test_a_consumer_killed_before_its_offset_commit_stores_nothing_twice(
    broker: EmbeddedBroker,
    settings: Settings,
    engine: Engine,
    make_alert: MakeAlert,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(_: object) -> None:
        raise SystemError("killed")

    publish(settings, broker.bootstrap, [wire(make_alert(f"T{each}")) for each in range(3)])
    with monkeypatch.context() as patched:
        patched.setattr(liaison._Loop, "_commit", killed)
        with pytest.raises(SystemError):
            run_liaison(settings, broker.bootstrap, Event())
    assert count(engine) == 3, "the database commit comes first"
    assert committed(settings, broker.bootstrap) < 0, "and no offset was committed"
    with running(settings, broker.bootstrap):
        eventually(lambda: committed(settings, broker.bootstrap) == 3)
    assert count(engine) == 3


@pytest.mark.broker
def test_alerts_wait_for_a_database_that_is_away(
    broker: EmbeddedBroker, settings: Settings, engine: Engine, make_alert: MakeAlert
) -> None:
    with running(settings, broker.bootstrap):
        publish(settings, broker.bootstrap, [wire(make_alert("T1"))])
        eventually(lambda: committed(settings, broker.bootstrap) == 1)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE alerts RENAME TO away"))
        publish(settings, broker.bootstrap, [wire(make_alert("T2")), b"{}"])
        time.sleep(0.5)
        assert committed(settings, broker.bootstrap) == 1
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO alerts"))
        eventually(lambda: committed(settings, broker.bootstrap) == 3)
    assert count(engine) == 2
    assert len(dead_letters(settings, broker.bootstrap, 1)) == 1


@pytest.mark.broker
def test_a_missing_topic_is_a_problem_with_the_way_out(
    broker: EmbeddedBroker, settings: Settings
) -> None:
    elsewhere = settings.topics.model_copy(update={"prefix": "nowhere-"})
    with pytest.raises(Problem, match="topics create"):
        run_liaison(settings.model_copy(update={"topics": elsewhere}), broker.bootstrap, Event())


def test_a_database_that_cannot_be_opened_is_a_problem(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"liaison": {"database_url": f"sqlite:///{tmp_path}", "metrics_port": 0}}
    )
    with pytest.raises(Problem, match="unable to open database file"):
        run_liaison(settings, "127.0.0.1:9", Event())
