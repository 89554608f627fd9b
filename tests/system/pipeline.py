"""Router, worker and liaison as processes of their own on the real broker, and what they wrote.

They are started by the command that people use, and stopped or killed by process id.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from sluicegate.domain.alert import Alert
from sluicegate.memory.accounts import AccountMemory
from sluicegate.settings import load_settings
from sluicegate.simulation.auditor import Auditor
from sluicegate.streaming.alerts import alerts_of, as_read
from sluicegate.streaming.checkpoint import Restorer
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.topics import Topics, create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message

    from sluicegate.simulation.ledger import Books

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("sluicegate")
WAIT_SECONDS = 120.0
STOP_SECONDS = 15.0
PAUSE_SECONDS = 0.02
ACCOUNTS = 5_000

Value = bytes | None


class State(NamedTuple):
    """A partition as its changelog restores it, or as a replay of its log makes it."""

    applied: int
    digest: str
    sources: dict[str, int]


class Part:
    """One running part; what it says goes to a file."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.is_awaited = False
        """The test itself has waited for its end, and looks at its exit code if that matters."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(COMMAND), *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """As a power cut would."""
        self.is_awaited = True
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Asks it to end, and gives its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code, when it has ended."""
        self.is_awaited = True
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # its faulthandler says where it hangs
            self._process.wait()
            raise AssertionError(f"did not end in {seconds} s:\n{self.said()}") from None

    def said(self) -> str:
        """All its lines."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class Pipeline:
    """Topics of one's own, the parts that work on them, and the auditor who reads along."""

    def __init__(
        self, bootstrap: str, prefix: str, folder: Path, **sections: dict[str, Any]
    ) -> None:
        self.bootstrap = bootstrap
        self._folder = folder
        self._config = folder / "sluicegate.toml"
        self._config.write_text(_toml(_sections(prefix, folder, sections)), encoding="utf-8")
        self.settings = load_settings(self._config)
        self.topics = Topics.of(self.settings)
        self._parts: list[Part] = []
        create_topics(self.settings, bootstrap)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "message.max.bytes": 8 * 2**20,
                "enable.idempotence": True,  # the order stays, whatever is tried again
                "log_level": 0,
            }
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
            }
        )
        self._auditor = Auditor(bootstrap, prefix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            if part.is_running:
                part.kill()
        self._auditor.close()
        self._consumer.close()

    # Processes.

    def start(self, name: str, *options: str, **environment: str) -> Part:
        """Starts `sluicegate NAME`."""
        arguments = ["--config", str(self._config), name, "--broker", self.bootstrap, *options]
        log = self._folder / f"{name}-{len(self._parts)}.log"
        part = Part(arguments, log, self._environment() | environment)
        self._parts.append(part)
        return part

    def parts(self, name: str) -> list[Part]:
        """Those of this name, in the order in which they were started."""
        return [part for part in self._parts if part.log.name.startswith(name)]

    def _environment(self) -> dict[str, str]:
        ours = {"PYTHONFAULTHANDLER": "1", "XDG_STATE_HOME": str(self._folder / "state")}
        if sys.dont_write_bytecode:  # else each start would compile all modules: seconds
            ours |= {
                "PYTHONDONTWRITEBYTECODE": "",
                "PYTHONPYCACHEPREFIX": str(self._folder.parent / "bytecode"),
            }
        return {**os.environ, **ours}

    def assert_running(self) -> None:
        """The parts that were not stopped by the test have not stopped by themselves."""
        for part in self._parts:
            assert part.is_running or part.is_awaited, part.said()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for what the parts are to bring about."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            self.assert_running()
            if time.monotonic() > deadline:
                said = "\n".join(part.said() for part in self._parts)
                raise AssertionError(f"waited in vain for {what}\n{said}")
            time.sleep(PAUSE_SECONDS)

    # Transactions in.

    def send(
        self,
        values: Iterable[Value],
        partition: int = 0,
        topic: str | None = None,
        key: str | None = None,
    ) -> None:
        """Writes these messages, and returns when the broker has them."""
        refused: list[object] = []
        for value in values:
            self._producer.produce(
                topic or self.topics.transactions,
                value,
                key,
                partition=partition,
                on_delivery=lambda error, _: refused.append(error) if error else None,
            )
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert refused == []

    # What became of them.

    def books(self, *, final: bool = True) -> Books:
        """The auditor's books."""
        return self._auditor.balance(final=final)

    def until_scored(self, count: int) -> None:
        """Waits until so many transactions are scored."""

        def scored() -> bool:
            self._auditor.poll(PAUSE_SECONDS / 4)
            return self._auditor.balance().scored >= count

        self.until(scored, f"{count} transactions to be scored")

    def until_settled(self, sent: int) -> Books:
        """Waits until each of `sent` transactions has its fate, and gives the final books."""

        def settled() -> bool:
            self._auditor.poll(PAUSE_SECONDS)
            books = self._auditor.balance()
            # what is read of one topic and not yet of the other looks lost for a moment
            return books.sent == sent and books.waiting == books.lost == 0

        try:
            self.until(settled, f"{sent} transactions to be settled")
        except AssertionError as error:
            raise AssertionError(f"{self.books()}\n{error}") from None
        self._auditor.catch_up()
        return self.books()

    def end_of(self, topic: str, partition: int = 0) -> tuple[int, int]:
        """First offset, and the one after the last."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                place = TopicPartition(topic, partition)
                low, high = self._consumer.get_watermark_offsets(place, timeout=10)
            except KafkaException:  # topics just made: the broker does not lead them yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                return low, high

    def messages(self, topic: str, partition: int = 0) -> list[Message]:
        """All messages that a partition holds now."""
        low, high = self.end_of(topic, partition)
        self._consumer.assign([TopicPartition(topic, partition, low)])
        read: list[Message] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while low + len(read) < high:
            assert time.monotonic() < deadline, f"{topic} could not be read"
            read += self._consumer.consume(high - low - len(read), 0.5)
            if any(message.error() is not None for message in read):  # trimmed meanwhile
                return self.messages(topic, partition)
        return read

    def progress(self) -> dict[int, int]:
        """How far the workers said that the logs are applied, by legs partition."""
        told: dict[int, int] = {}
        for message in self.messages(self.topics.progress):
            applied = json.loads(message.value() or b"{}")["applied"]
            told |= {int(partition): offset for partition, offset in applied.items()}
        return told

    def alerts(self) -> dict[str, Alert]:
        """The alerts by id; one that was raised twice must have said the same."""
        found: dict[str, Alert] = {}
        for partition in range(self.settings.topics.partitions):
            for message in self.messages(self.topics.stop_payment, partition):
                alert = Alert.model_validate_json(message.value() or b"")
                assert found.setdefault(alert.id, alert) == alert
        return found

    def checkpointed(self, partition: int) -> State:
        """The state that a new owner would begin with."""
        restorer = Restorer(AccountMemory(ACCOUNTS))
        for message in self.messages(self.topics.changelog, partition):
            restorer.feed(message.value())
        return State(restorer.applied, restorer.memory.digest(), restorer.place.sources)

    def replayed(self, partition: int, applied: int) -> tuple[State, list[Alert]]:
        """What the log comes to offline, up to an offset, and the alerts on the way."""
        sets = ActiveSets(self.settings, confluent_config(self.settings.broker, self.bootstrap))
        held = Partition(partition, AccountMemory(ACCOUNTS))
        alerts: list[Alert] = []
        for message in self.messages(self.topics.legs, partition)[: applied + 1]:
            scoring = sets.of(held.place.activated)
            done = held.apply(message.offset() or 0, message.value(), scoring.scorer)
            assert done is not None
            judged = alerts_of(done, scoring.pattern_set, "CNY", message.timestamp()[1])
            alerts += as_read(judged)
        return State(held.place.applied, held.memory.digest(), held.place.sources), alerts

    def until_checkpointed(self) -> None:
        """Waits until all that was applied is in the changelogs too."""
        for partition in range(self.settings.topics.partitions):
            _, end = self.end_of(self.topics.legs, partition)
            self.until(
                lambda number=partition, last=end - 1: (  # type: ignore[misc]
                    self.checkpointed(number).applied >= last
                ),
                f"a checkpoint of partition {partition} at {end - 1}",
            )


def _sections(
    prefix: str, folder: Path, sections: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Settings for a small pipeline beside others on one machine; `sections` win."""
    small: dict[str, dict[str, Any]] = {
        "topics": {"prefix": prefix, "partitions": 3, "transactions_partitions": 4},
        "router": {"slot": f"{prefix}r0", "metrics_port": 0, "session_timeout_seconds": 6},
        "worker": {
            "slot": f"{prefix}w0",
            "web_port": 0,
            "metrics_port": 0,
            "session_timeout_seconds": 6,
            "checkpoint_seconds": 0.5,
            "accounts_per_partition": ACCOUNTS,
        },
        "patterns": {"file": str(ROOT / "config" / "patterns.toml")},
        "liaison": {"database_url": f"sqlite:///{folder / 'liaison.db'}", "metrics_port": 0},
    }
    return {
        name: {**small.get(name, {}), **sections.get(name, {})} for name in {**small, **sections}
    }


def _toml(sections: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, fields in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    return "\n".join(lines) + "\n"
