"""The independent auditor: reads the topics and balances the books, sharing no code with them.

    python -m sluicegate.simulation.auditor --bootstrap 127.0.0.1:9092 --truth truth.ndjson

With `--follow` it reads along until SIGTERM or SIGINT, then up to the ends as they are, and
prints the books as JSON.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from sluicegate.simulation.ledger import Books, Ledger

_TOPICS: Final = ("transactions", "legs", "progress", "dead-letter", "stop-payment")
_AT_ONCE: Final = 10_000
_LISTEN_SECONDS: Final = 0.2
_REQUEST_SECONDS: Final = 10.0
_NICENESS: Final = 10
_NOT_READY: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
"""What a broker says of topics that are being made."""


class Auditor:
    """Reads all partitions of the topics from their beginnings, whoever else does.

    `truth` names a file of planted transactions that may still be growing, or gives its lines.
    """

    def __init__(
        self,
        bootstrap: str,
        topic_prefix: str = "",
        client_settings: Mapping[str, str] | None = None,
        truth: Path | Iterable[bytes] | None = None,
        live_from_ms: int | None = None,
    ) -> None:
        self._prefix = topic_prefix
        self.ledger = Ledger(
            transactions_topic=f"{topic_prefix}transactions", live_from_ms=live_from_ms
        )
        self._truth_path = truth if isinstance(truth, Path) else None
        self._truth_read = 0
        if truth is not None and not isinstance(truth, Path):
            self.ledger.add_truth(truth)
        self._places: list[TopicPartition] = []
        settings = {
            # no group is joined and nothing is committed; librdkafka wants a name all the same
            "group.id": "sluicegate-auditor",
            "enable.auto.commit": False,
            # the default of 1,000 ms starves a fast reader
            "fetch.queue.backoff.ms": 5,
            "queued.max.messages.kbytes": 8_192,
            **(client_settings or {}),
            "bootstrap.servers": bootstrap,
        }
        self._consumer = Consumer(settings)
        # questions on the reader's own connection wait behind its long polls, 0.3 s each
        self._asking = Consumer(settings)

    def poll(self, seconds: float) -> int:
        """Read what comes in that time; how many records that was."""
        deadline = time.monotonic() + seconds
        if not self._assigned():
            time.sleep(max(min(seconds, _LISTEN_SECONDS), 0))
            return 0
        read = 0
        while (left := deadline - time.monotonic()) > 0:
            read += self._take(min(left, _LISTEN_SECONDS))
        return read

    def catch_up(self, within_seconds: float = 60.0) -> None:
        """Read up to the ends as they are now.

        Raises:
            TimeoutError: the ends were not reached in that time, or the topics are not there.
        """
        deadline = time.monotonic() + within_seconds
        while not self._assigned():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all topics are there: {', '.join(self._names())}")
            time.sleep(_LISTEN_SECONDS)
        edges = {(place.topic, place.partition): self._edges(place) for place in self._places}
        missing = {place: end for place, (start, end) in edges.items() if end > start}
        while missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the ends of {len(missing)} partitions were not reached")
            for place in self._consumer.position(self._places):
                if place.offset >= missing.get((place.topic, place.partition), sys.maxsize):
                    del missing[place.topic, place.partition]
            if missing:
                self._take(0.02)
        self._read_truth()

    def balance(self, *, final: bool = False) -> Books:
        """The books as they stand after what has been read."""
        self._read_truth()
        return self.ledger.balance(final=final)

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()
        self._asking.close()

    def _names(self) -> list[str]:
        return [f"{self._prefix}{name}" for name in _TOPICS]

    def _edges(self, place: TopicPartition) -> tuple[int, int]:
        low, high = self._asking.get_watermark_offsets(place, timeout=_REQUEST_SECONDS)
        return low, high

    def _assigned(self) -> bool:
        """Assign all partitions once all topics are there."""
        if self._places:
            return True
        topics = self._asking.list_topics(timeout=_REQUEST_SECONDS).topics
        if any(name not in topics or not topics[name].partitions for name in self._names()):
            return False
        places = [
            TopicPartition(name, partition, OFFSET_BEGINNING)
            for name in self._names()
            for partition in topics[name].partitions
        ]
        try:
            starts = [self._edges(place)[0] for place in places]
        except KafkaException as problem:
            if problem.args[0].retriable() or problem.args[0].code() in _NOT_READY:
                return False
            raise
        for place, start in zip(places, starts, strict=True):
            if place.topic == f"{self._prefix}transactions":
                self.ledger.starts_at(place.partition, start)
        self._places = places
        self._consumer.assign(self._places)
        return True

    def _take(self, seconds: float) -> int:
        messages = self._consumer.consume(_AT_ONCE, seconds)
        grouped: defaultdict[tuple[str, int], list[Message]] = defaultdict(list)
        for message in messages:
            if error := message.error():
                if error.code() in _NOT_READY:
                    continue
                raise KafkaException(error)
            grouped[message.topic() or "", message.partition() or 0].append(message)
        for (topic, partition), group in grouped.items():
            self._enter(topic.removeprefix(self._prefix), partition, group)
        self.ledger.settle()
        return len(messages)

    def _enter(self, topic: str, partition: int, group: list[Message]) -> None:
        ledger = self.ledger
        if topic in {"transactions", "legs"}:
            offsets = [message.offset() or 0 for message in group]
            values = [message.value() for message in group]
            if topic == "transactions":
                ledger.add_transactions(partition, offsets, values)
            else:
                times = [message.timestamp()[1] for message in group]
                ledger.add_legs(partition, offsets, times, values)
            return
        for message in group:
            match topic:
                case "progress":
                    ledger.add_progress(message.value())
                case "dead-letter":
                    ledger.add_dead_letter(message.headers())
                case _:
                    ledger.add_alert(message.timestamp()[1], message.value())

    def _read_truth(self) -> None:
        """Read the lines that the file has grown by; the last may be unfinished."""
        if self._truth_path is None or not self._truth_path.exists():
            return
        with self._truth_path.open("rb") as file:
            file.seek(self._truth_read)
            grown = file.read()
        whole = grown[: grown.rfind(b"\n") + 1]
        self._truth_read += len(whole)
        self.ledger.add_truth(whole.splitlines())


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sluicegate.simulation.auditor")
    parser.add_argument("--bootstrap", required=True, help="host:port of a broker")
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--client-settings", type=Path, help="JSON object of librdkafka settings")
    parser.add_argument("--truth", type=Path, help="planted transactions, JSON lines")
    parser.add_argument("--report", type=Path, help="write the books here as well")
    parser.add_argument("--live-from-ms", type=int, help="latency counts from this record time on")
    parser.add_argument("--window-ms", type=int, nargs=2, help="measure the rate between these")
    parser.add_argument("--follow", action="store_true", help="read along until SIGTERM")
    parser.add_argument("--not-final", action="store_true", help="what waits is not lost yet")
    return parser.parse_args(argv)


def _follow(auditor: Auditor) -> None:
    """Read along, behind everyone else, until told to stop."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopped.append(number))
    os.nice(_NICENESS)
    sys.stderr.write("auditor: following\n")
    sys.stderr.flush()
    while not stopped:
        auditor.poll(_LISTEN_SECONDS)


def main(argv: list[str] | None = None) -> int:
    """Audit, print the books; 0 when nothing was lost or doubled, else 1."""
    asked = _arguments(argv)
    settings = json.loads(asked.client_settings.read_text()) if asked.client_settings else {}
    auditor = Auditor(
        asked.bootstrap, asked.topic_prefix, settings, asked.truth, asked.live_from_ms
    )
    if asked.window_ms:
        auditor.ledger.window_ms = (asked.window_ms[0], asked.window_ms[1])
    try:
        if asked.follow:
            _follow(auditor)
        auditor.catch_up()
        books = auditor.balance(final=not asked.not_final)
    except (TimeoutError, KafkaException) as problem:
        sys.stderr.write(f"the audit could not be finished\n{problem}\n")
        return 1
    finally:
        auditor.close()
    text = json.dumps(books.as_json(), indent=2, ensure_ascii=False)
    sys.stdout.write(text + "\n")
    if asked.report:
        asked.report.write_text(text + "\n", encoding="utf-8")
    return 1 if books.lost or books.doubled else 0


if __name__ == "__main__":
    raise SystemExit(main())
