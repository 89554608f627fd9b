"""How long a worker takes to come back with a million accounts: from its start, and from a kill.

The changelog is written as an owner before would have left it, with rows that real transactions
made. What counts is the first leg that the new process has judged, as it says on `progress`.
"""

import json
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer
from rich.console import Console

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.row import ROW, opaque
from sluicegate.memory.words import texts_words
from sluicegate.operations.bench_runs import SEED, Bench, consumer_of, flat, follow_stream
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import Settings
from sluicegate.simulation.city import City
from sluicegate.streaming.checkpoint import Place, chunks, claim, new_owner
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.progress import Progress, first_judged_ms
from sluicegate.streaming.table import Changelog
from sluicegate.streaming.topics import Topics

ACCOUNTS: Final = 1_000_000
SAMPLE_ACCOUNTS: Final = 50_000
SAMPLE_TRANSACTIONS: Final = 400_000
RUNS: Final = 3
WAITING: Final = 2_000
"""Transactions that wait for the worker at each start."""
GIVE_UP_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds, by run."""

    accounts: int
    changelog_mb: float
    start_to_first_leg: list[float]
    """The process has never run before under its slot: Kafka's group is new."""
    restart_to_first_leg: list[float]
    """After kill -9, under the same slot, from process start."""


def run_recovery_bench(settings: Settings, *, report: Path | None) -> None:
    """Measures, prints and writes JSON (default: docs/benchmarks/<day>-recovery.json).

    Raises:
        Problem: a part stopped, or nothing went on.
    """
    console = Console(stderr=True)
    out = report or Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}-recovery.json"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-bench-")))
        console.print(f"makes {ACCOUNTS:,} account rows out of real transactions")
        rows = _rows(settings)
        broker = stack.enter_context(EmbeddedBroker())
        bench = Bench(settings, broker, folder)
        runs = [_measure(bench, settings, broker, f"run{run}-", rows) for run in range(RUNS)]
    recovery = Recovery(
        accounts=ACCOUNTS,
        changelog_mb=round(len(rows) * ROW.itemsize / 2**20, 1),
        start_to_first_leg=[round(first, 2) for first, _ in runs],
        restart_to_first_leg=[round(again, 2) for _, again in runs],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(asdict(recovery), indent=2) + "\n", encoding="utf-8")
    for name in ("start_to_first_leg", "restart_to_first_leg"):
        seconds = getattr(recovery, name)
        Console().print(f"{name}: median {statistics.median(seconds)} s of {seconds}")
    console.print(f"written to {out}")


def _rows(settings: Settings) -> Records:
    """Rows of real transactions, each under several names: `[ACCOUNTS]`."""
    memory = AccountMemory(4 * SAMPLE_ACCOUNTS)
    for _ in follow_stream(settings, memory, SAMPLE_TRANSACTIONS, SAMPLE_ACCOUNTS):
        pass
    rows: Records = opaque(memory.rows)[np.arange(ACCOUNTS) % len(memory)].view(ROW)
    rows["account"] = texts_words([f"A{number:018d}" for number in range(ACCOUNTS)], 5)
    return rows


def _measure(
    bench: Bench, settings: Settings, broker: EmbeddedBroker, prefix: str, rows: Records
) -> tuple[float, float]:
    """Seconds from process start to the first judged leg: of a first start, and after a kill."""
    topics = bench.prepare(prefix)
    _fill(settings, broker, topics, rows)
    progress = consumer_of(broker, topics.progress, settings, partitions=1)
    with bench.parts(prefix, names=("router",)):
        seconds = []
        for turn in range(2):
            _send(bench, topics, turn)
            began = time.time()
            with bench.parts(prefix, names=("worker",)) as parts:
                seconds.append(_first_judged(progress, parts["worker"], began) - began)
                parts["worker"].kill()
    progress.close()
    return seconds[0], seconds[1]


def _fill(settings: Settings, broker: EmbeddedBroker, topics: Topics, rows: Records) -> None:
    """Writes the changelogs as an owner before would have left them."""
    config: dict[str, Any] = confluent_config(settings.broker, broker.bootstrap)
    changelog = Changelog(config, topics.changelog)
    share = len(rows) // settings.topics.partitions
    place = Place(topics=topic_identity(config, topics.legs))
    for number in range(settings.topics.partitions):
        own = rows[number * share : (number + 1) * share]
        memory = AccountMemory(len(own))
        memory.put(own)
        memory.mark(range(len(own)))
        owner = new_owner()
        changelog.write(number, [claim(owner, "before"), *chunks(memory, place, owner, 1)])


def _send(bench: Bench, topics: Topics, turn: int) -> None:
    """Transactions that wait when the worker starts, new ones at each turn."""
    producer = bench.producer(2)
    messages = flat(City(SEED + turn, SAMPLE_ACCOUNTS).live(int(time.time() * 1000), WAITING))
    for _ in range(WAITING):
        key, value = next(messages)
        producer.produce(topics.transactions, value, key)
    producer.flush()


def _first_judged(progress: Consumer, worker: subprocess.Popen[bytes], began: float) -> float:
    """When the worker said that it had applied more than what it restored, seconds of the clock."""
    said: list[Progress] = []
    while time.time() - began < GIVE_UP_SECONDS and worker.poll() is None:
        heard = progress.consume(100, 0.02)
        said += [Progress.read(each.value()) for each in heard if each.error() is None]
        judged_ms = first_judged_ms(word for word in said if word.at_ms / 1000 >= began)
        if judged_ms is not None:
            return judged_ms / 1000
    raise Problem("the worker judged nothing", f"{GIVE_UP_SECONDS:g} s after its start")
