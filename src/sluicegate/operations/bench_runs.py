"""The runs of the benchmark: the parts as processes against one broker, and what came of them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.request import urlopen

import numpy as np
import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from sluicegate.domain.transaction import LATEST_MS, Rules
from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Followed, Records
from sluicegate.memory.words import words_text
from sluicegate.operations.broker import EmbeddedBroker, free_port
from sluicegate.operations.guard import Guard
from sluicegate.operations.readings import Reading, Readings
from sluicegate.settings import Settings
from sluicegate.simulation.city import City, bench_stream
from sluicegate.simulation.movements import Chunk
from sluicegate.streaming.decoder import Decoded, Decoder
from sluicegate.streaming.producing import hand_over
from sluicegate.streaming.progress import Progress
from sluicegate.streaming.routing import Places, first_legs
from sluicegate.streaming.scoring import scoring_of
from sluicegate.streaming.sources import open_readers
from sluicegate.streaming.topics import Topics, create_topics

SEED: Final = 7
ACCOUNTS: Final = 100_000
SETTLED_SECONDS: Final = 3.0
GIVE_UP_SECONDS: Final = 180.0
AT_ONCE: Final = 1_500
"""Transactions read and decoded together where nothing else is done."""
SAMPLE_THRESHOLD: Final = 0.4
"""At the slower rate alerts start at this score, so that there are enough of them to measure."""

ACCOUNTS_OF_RATE: Final = 4
"""Accounts of the live runs for each transaction a second: at any rate an account pays as often."""
MAKING_SECONDS: Final = 2e-5
"""A transaction of the live runs is made, before they begin, in less than this."""

Json = dict[str, Any]
Alerts = dict[tuple[str, str], str]
"""The alerted account by transaction id and side."""
Latencies = dict[str, list[float]]
"""In ms, by side: of a departure's alert (`outflow`), and of an arrival's, two hops later."""


@dataclass(frozen=True, slots=True)
class Catch:
    """One run of the backlog through router and worker."""

    seconds: float
    start_seconds: float
    cpu_us: dict[str, float]
    peak_mb: dict[str, float]
    alerts: Alerts
    accounts: int
    shown: Readings
    """What the first worker showed at the end."""


def middle(catches: Sequence[Catch]) -> Catch:
    """The run of median length."""
    return sorted(catches, key=lambda each: each.seconds)[len(catches) // 2]


def pace(catches: Sequence[Catch], transactions: int) -> Json:
    """Median and range of throughput, and processor time of the middle run, for a report."""
    rates = [transactions / each.seconds for each in catches]
    return {
        "throughput_tx_s": round(median(rates)),
        "throughput_tx_s_range": [round(min(rates)), round(max(rates))],
        "cpu_us_per_tx": {name: round(us, 2) for name, us in middle(catches).cpu_us.items()},
    }


class Bench:
    """Runs parts against one broker, each time under another topic prefix."""

    def __init__(self, settings: Settings, broker: EmbeddedBroker, folder: Path) -> None:
        self._settings = settings
        self._broker = broker
        self._folder = folder

    def in_partitions(self, count: int) -> "Bench":
        """The same on topics of so many partitions by account."""
        settings = self._settings.changed(topics={"partitions": count})
        return Bench(settings, self._broker, self._folder)

    def catch_up(
        self,
        prefix: str,
        transactions: int,
        workers: int = 1,
        extra: Mapping[str, str] | None = None,
    ) -> Catch:
        """Lets router and workers pass a backlog that lies in the topic already.

        `extra` is added to their environment.
        """
        topics = self.prepare(prefix)
        self._fill(topics, transactions)
        spawned = time.monotonic()
        names = ["worker", *(f"worker:w{number}" for number in range(1, workers)), "router"]
        port = free_port()
        with (
            self.parts(prefix, names=names, extra=extra, shows={"worker": port}) as parts,
            _watching(self._broker, topics, self._settings) as seen,
        ):
            pids = {**{name: part.pid for name, part in parts.items()}, "broker": self._broker.pid}
            first: Json = {}
            while True:
                seen.poll(0.05)
                _check_alive(parts)
                now = time.monotonic()
                if not first and seen.moved:
                    first = {"at": now, "cpu": cpu_seconds(pids)}
                if first and now - seen.changed_at > SETTLED_SECONDS:
                    break
                if now - max(spawned, seen.changed_at) > GIVE_UP_SECONDS:
                    raise Problem(f"nothing went on for {GIVE_UP_SECONDS:g} s", str(self._folder))
            cpu = cpu_seconds(pids)
            return Catch(
                seconds=seen.changed_at - first["at"],
                start_seconds=first["at"] - spawned,
                cpu_us={n: (cpu[n] - first["cpu"][n]) / transactions * 1e6 for n in pids},
                peak_mb={n: _peak_mb(pid) for n, pid in pids.items()},
                alerts={(a["transaction_id"], a["side"]): a["account"] for a in seen.alerts()},
                accounts=ACCOUNTS,
                shown=_shown(port),
            )

    def read_and_parse_us(self, prefix: str, transactions: int) -> float:
        """Processor time of reading and decoding a backlog that lies in the topic, and no more."""
        topic = Topics.of(self._settings.changed(topics={"prefix": prefix})).transactions
        config = {"bootstrap.servers": self._broker.bootstrap}
        count = self._settings.topics.transactions_partitions
        readers = open_readers(config, topic, dict.fromkeys(range(count), (0, 0)))
        decoder, left = Decoder(Rules()), transactions
        until = time.monotonic() + GIVE_UP_SECONDS
        started = time.process_time()
        while left > 0 and time.monotonic() < until:
            for reader in readers:
                block = reader.read(AT_ONCE, 0.05)
                decoder.decode(block.values, block.recorded_at_ms)
                left -= len(block)
        spent = time.process_time() - started
        readers[0].records.close()
        if left > 0:
            raise Problem(f"{left:,} of {transactions:,} transactions did not come", topic)
        return spent / transactions * 1e6

    def live(self, prefix: str, rate: int, seconds: int, *, more_alerts: bool = True) -> Latencies:
        """Latencies in ms, from the time a transaction was due to its alert in our hands."""
        topics = self.prepare(prefix)
        patterns = self._patterns_of_more_alerts() if more_alerts else None
        latencies: Latencies = {"outflow": [], "inflow": []}
        stop = threading.Event()

        def collect() -> None:
            consumer = consumer_of(self._broker, topics.stop_payment, self._settings)
            while not stop.is_set():
                for message in consumer.consume(1, 0.1):
                    now_ms = time.time_ns() / 1e6
                    if message.error() is None:
                        alert = json.loads(message.value() or b"{}")
                        due = datetime.fromisoformat(alert["recorded_at"]).timestamp() * 1000
                        latencies[alert["side"]].append(now_ms - due)
            consumer.close()

        with self.parts(prefix, patterns) as parts:
            with _watching(self._broker, topics, self._settings) as seen:
                while not seen.ready:
                    seen.poll(0.1)
                    _check_alive(parts)
            self._send_live(topics, rate, 5)  # until the caches are warm
            reader = threading.Thread(target=collect)
            reader.start()
            self._send_live(topics, rate, seconds)
            stop.set()
            reader.join()
        return latencies

    def _patterns_of_more_alerts(self) -> Path:
        patterns = self._folder / "patterns.toml"
        text = self._settings.patterns.file.read_text(encoding="utf-8")
        alert = f"alert = {scoring_of(self._settings).pattern_set.thresholds.alert}"
        if alert not in text:
            raise Problem(f"{self._settings.patterns.file}: does not say {alert!r}")
        patterns.write_text(text.replace(alert, f"alert = {SAMPLE_THRESHOLD}"), encoding="utf-8")
        return patterns

    def prepare(self, prefix: str) -> Topics:
        """Makes the topics of this prefix."""
        settings = self._settings.changed(topics={"prefix": prefix})
        create_topics(settings, self._broker.bootstrap)
        return Topics.of(settings)

    def _fill(self, topics: Topics, transactions: int) -> None:
        producer = self.producer(20)
        for messages in bench_stream(SEED, transactions, ACCOUNTS):
            for key, value in messages:
                hand_over(producer, topics.transactions, value, key=key)
            producer.poll(0)
        producer.flush()

    def _send_live(self, topics: Topics, rate: int, seconds: int) -> None:
        """Sends what is due, every 5 ms so many at once, each with the time at which it was due."""
        producer, count = self.producer(2), rate * seconds
        start = time.time() + count * MAKING_SECONDS
        city = City(SEED, ACCOUNTS_OF_RATE * rate).live(int(start * 1000), rate)
        at_once = rate // 200
        transactions = list(islice(flat(city), count))
        for index, (key, value) in enumerate(transactions):
            due = start + (index - index % at_once) / rate
            if index % at_once == 0:
                producer.poll(0)
                time.sleep(max(0.0, due - time.time()))
            producer.produce(topics.transactions, value, key, timestamp=int(due * 1000))
        producer.flush()
        time.sleep(1.0)  # to free a million transactions would hold up whoever notes the last ones

    def producer(self, linger_ms: int) -> Producer:
        """A producer to the broker of these runs."""
        return Producer(
            {
                "bootstrap.servers": self._broker.bootstrap,
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
                "partitioner": "murmur2_random",
                "log_level": 2,
            }
        )

    @contextmanager
    def parts(
        self,
        prefix: str,
        patterns: Path | None = None,
        names: Sequence[str] = ("worker", "router"),
        extra: Mapping[str, str] | None = None,
        shows: Mapping[str, int] | None = None,
    ) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
        """A router and a worker, or those named (`worker:w1`: in that slot); stopped at the end.

        `extra` is added to their environment; `shows` has the port of a worker's metrics page, by
        name, where it is not any.
        """
        environment = {
            **os.environ,
            "SLUICEGATE_TOPICS__PREFIX": prefix,
            "SLUICEGATE_TOPICS__PARTITIONS": str(self._settings.topics.partitions),
            "SLUICEGATE_PATTERNS__FILE": str(patterns or self._settings.patterns.file),
            "SLUICEGATE_ROUTER__METRICS_PORT": "0",
            "SLUICEGATE_WORKER__METRICS_PORT": "0",
            "SLUICEGATE_WORKER__WEB_PORT": "0",
            **(extra or {}),
        }
        parts: dict[str, subprocess.Popen[bytes]] = {}
        guard = Guard()
        with ExitStack() as logs:
            try:
                for name in names:
                    kind, _, slot = name.partition(":")
                    file = self._folder / f"{prefix}{kind}{slot}.log"
                    log = logs.enter_context(file.open("ab"))
                    own = {"SLUICEGATE_WORKER__SLOT": slot} if slot else {}
                    if shows is not None and name in shows:
                        own["SLUICEGATE_WORKER__METRICS_PORT"] = str(shows[name])
                    command = [sys.executable, "-m", "sluicegate", kind]
                    parts[name] = subprocess.Popen(
                        [*command, "--broker", self._broker.bootstrap],
                        env={**environment, **own}, stdout=log, stderr=log,
                    )  # fmt: skip
                    guard.kill_later(parts[name].pid)
                yield parts
            finally:
                for part in reversed(parts.values()):
                    part.terminate()
                    try:
                        part.wait(10)
                    except subprocess.TimeoutExpired:
                        part.kill()
                guard.dismiss()


def _shown(port: int) -> Readings:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        return Readings([Reading.of(page.read().decode(), time.monotonic())])


class _Seen:
    """What the workers published, and the alerts they raised."""

    def __init__(self, broker: EmbeddedBroker, topics: Topics, settings: Settings) -> None:
        self._broker, self._topics, self._settings = broker, topics, settings
        self._consumer = consumer_of(broker, topics.progress, settings, partitions=1)
        self._applied: dict[int, int] = {}
        self.ready = False
        self.moved = False
        self.changed_at = 0.0

    def poll(self, seconds: float) -> None:
        for message in self._consumer.consume(1000, seconds):
            if message.error() is None:
                applied = Progress.read(message.value()).applied
                self.ready = True
                if any(self._applied.get(number) != at for number, at in applied.items()):
                    self._applied.update(applied)
                    self.moved |= any(at >= 0 for at in applied.values())
                    self.changed_at = time.monotonic()

    def alerts(self) -> Iterator[Json]:
        consumer = consumer_of(
            self._broker, self._topics.stop_payment, self._settings, earliest=True
        )
        while messages := consumer.consume(1000, 1.0):
            for message in messages:
                if message.error() is None:
                    yield json.loads(message.value() or b"{}")
        consumer.close()

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def _watching(broker: EmbeddedBroker, topics: Topics, settings: Settings) -> Iterator[_Seen]:
    seen = _Seen(broker, topics, settings)
    try:
        yield seen
    finally:
        seen.close()


def strict_order_alerts(settings: Settings, memory: AccountMemory, transactions: int) -> Alerts:
    """Alerts of the bench's stream when each transaction is scored in order of time."""
    alerts: Alerts = {}
    for legs, followed in follow_stream(settings, memory, transactions, ACCOUNTS):
        hit = legs[followed.hits]
        inflow = followed.hit_sides > hit["side"]  # an arrival that followed its departure
        accounts = np.where(inflow[:, None], hit["counterparty"], hit["account"])
        sides = np.where(followed.hit_sides > 0, "inflow", "outflow").tolist()
        alerted = zip(words_text(hit["transaction"]), sides, strict=True)
        alerts |= dict(zip(alerted, words_text(accounts), strict=True))
    return alerts


def follow_stream(
    settings: Settings, memory: AccountMemory, transactions: int, accounts: int
) -> Iterator[tuple[Records, Followed]]:
    """Steps the bench's stream in order of time; first legs and what became of them."""
    scorer = scoring_of(settings).scorer
    for decoded, places in decoded_stream(transactions, accounts):
        legs = first_legs(decoded, places, np.arange(len(decoded.row_index)))
        yield legs, memory.follow(legs, scorer)


def decoded_stream(transactions: int, accounts: int) -> Iterator[tuple[Decoded, Places]]:
    """The bench's stream in columns, with places as if it were of one source partition."""
    decoder, passed = Decoder(Rules()), 0
    for messages in bench_stream(SEED, transactions, accounts):
        values = [value for _, value in messages]
        decoded = decoder.decode(values, np.full(len(values), LATEST_MS))
        positions = passed + decoded.row_index
        passed += len(values)
        yield decoded, Places(np.zeros_like(positions), positions, decoded.occurred_at_ms)


def consumer_of(
    broker: EmbeddedBroker,
    topic: str,
    settings: Settings,
    *,
    partitions: int | None = None,
    earliest: bool = False,
) -> Consumer:
    """A consumer of all partitions of a topic, from its end or its beginning."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "sluicegate-bench",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "log_level": 2,
        }
    )
    count = partitions or settings.topics.partitions
    place = -2 if earliest else -1  # librdkafka's OFFSET_BEGINNING and OFFSET_END
    consumer.assign([TopicPartition(topic, number, place) for number in range(count)])
    return consumer


def flat(chunks: Iterable[Chunk]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values one by one."""
    for chunk in chunks:
        yield from chunk.messages()


def _check_alive(parts: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, part in parts.items():
        if part.poll() is not None:
            raise Problem(f"the {name} stopped with exit status {part.returncode}")


def cpu_seconds(pids: dict[str, int | None]) -> dict[str, float]:
    """Processor seconds that each process has used, by name."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: each.user + each.system for name, each in times.items()}


def _peak_mb(pid: int | None) -> float:
    """Peak resident memory; the present one where the system does not keep the peak."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return float(psutil.Process(pid).memory_info().rss) / 2**20
