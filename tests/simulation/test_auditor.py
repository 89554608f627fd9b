"""The auditor on a real broker: tiny topics with one fault of each kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # poor stubs
from tests.simulation.bank import NOW_MS, Log, alert, payment, refusal

from sluicegate.simulation.auditor import Auditor, main

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

TOPICS = {"transactions": 2, "legs": 2, "progress": 1, "dead-letter": 1, "stop-payment": 2}
OUT, CASH_OUT = -1, 1
TRUTH = {
    "id": "a",
    "scenario": "structuring",
    "story": "one",
    "movements": 1,
    "payer_account": "A",
    "payee_account": "B",
    "occurred_at_ms": NOW_MS,
}


class Bank:
    """Writes to the topics of one test."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        # Idempotent: what is tried again while a topic is being made must not change its place.
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 1, "enable.idempotence": True}
        )

    def create_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        wanted = [NewTopic(f"{self.prefix}{name}", count, 1) for name, count in TOPICS.items()]
        for made in admin.create_topics(wanted).values():
            made.result()

    def send(
        self,
        topic: str,
        *values: bytes | None,
        partition: int = 0,
        headers: list[tuple[str, bytes | str | None]] | None = None,
    ) -> None:
        for value in values:
            self._producer.produce(
                f"{self.prefix}{topic}", value, partition=partition, headers=headers or []
            )
        assert self._producer.flush(10) == 0


@pytest.fixture
def bank(broker: EmbeddedBroker, topic_prefix: str) -> Bank:
    return Bank(broker.bootstrap, topic_prefix)


def fill(bank: Bank) -> None:
    """Two partitions: a scored, a lost, a repeated, a refused and a doubled transaction."""
    bank.send("transactions", payment("a"), payment("b"), payment("a"), b"{", partition=0)
    bank.send("transactions", payment("c"), partition=1)
    log = Log()
    batch = log.departures((0, 0, OUT, 0), (1, 0, OUT, 0))
    log.arrivals((0, batch, 0), (0, batch, 1))
    bank.send("legs", *log.messages, partition=0)
    again = Log()
    again.departures((1, 0, OUT, CASH_OUT))
    bank.send("legs", *again.messages, partition=1)
    bank.send("dead-letter", b"{", headers=refusal(3, f"{bank.prefix}transactions"))
    bank.send("stop-payment", alert("1", "a", "B"), alert("1", "a", "B"), partition=1)
    bank.send("progress", b'{"worker": "w", "at_ms": 1, "applied": {"0": 1, "1": 0}}')


def test_each_fault_is_found_on_real_topics(bank: Bank) -> None:
    bank.create_topics()
    fill(bank)
    auditor = Auditor(bank.bootstrap, bank.prefix, truth=[json.dumps(TRUTH).encode()])
    auditor.catch_up()
    books = auditor.balance(final=True)
    auditor.close()
    assert (books.sent, books.scored, books.repeats, books.dead_lettered) == (5, 2, 1, 1), books
    assert (books.lost, books.doubled, books.alerts, books.alerts_repeated) == (1, 1, 1, 1)
    assert books.lost_examples == (f"{bank.prefix}transactions[0]@1",)
    assert (books.planted, books.caught) == ({"structuring": 1}, {"structuring": 1})


def test_the_auditor_waits_for_topics_and_reads_on(bank: Bank, tmp_path: Path) -> None:
    truth = tmp_path / "truth.ndjson"
    auditor = Auditor(bank.bootstrap, bank.prefix, truth=truth)
    assert auditor.poll(0.1) == 0
    with pytest.raises(TimeoutError, match="not all topics are there"):
        auditor.catch_up(0.0)
    bank.create_topics()
    bank.send("transactions", payment("a"))
    auditor.catch_up()
    assert auditor.balance().waiting == 1
    line = json.dumps(TRUTH).encode() + b"\n"
    truth.write_bytes(line[:20])
    assert auditor.balance().planted == {}
    truth.write_bytes(line)
    fill(bank)
    auditor.catch_up()
    assert auditor.balance().planted == {"structuring": 1}
    auditor.close()


def test_the_command_prints_and_reports_the_books(
    bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank.create_topics()
    fill(bank)
    report = tmp_path / "books.json"
    arguments = ["--bootstrap", bank.bootstrap, "--topic-prefix", bank.prefix]
    window = ["--window-ms", "0", str(2 * NOW_MS)]
    assert main([*arguments, *window, "--report", str(report)]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(report.read_text())
    assert json.loads(report.read_text())["lost"] == 1


def test_a_following_auditor_ends_with_the_books_when_told(bank: Bank) -> None:
    bank.create_topics()
    arguments = ["--bootstrap", bank.bootstrap, "--topic-prefix", bank.prefix, "--follow"]
    command = [sys.executable, "-m", "sluicegate.simulation.auditor", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr is not None
        assert b"following" in process.stderr.readline()
        fill(bank)
        process.send_signal(signal.SIGTERM)
        out, problems = process.communicate(timeout=30)
    assert process.returncode == 1, problems
    assert out, problems
    assert json.loads(out)["sent"] == 5
