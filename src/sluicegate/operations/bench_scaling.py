"""How the cost of a transaction grows: with accounts, with patterns, with workers.

By accounts and by patterns the account memory is measured alone, in this process: every account
has a row, and each transaction is of two drawn at random, so that hardly any row is in a cache.
By workers the whole pipeline passes a backlog.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt
import psutil
from matplotlib.figure import Figure

from sluicegate.memory.accounts import AccountMemory, Records, Scorer
from sluicegate.memory.row import DEPARTURE, LEG, ROW
from sluicegate.operations.bench_runs import Bench, Json
from sluicegate.operations.bench_stages import with_patterns
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import Scoring, scoring_of

ACCOUNTS: Final = (10_000, 100_000, 1_000_000, 10_000_000)
WORKERS: Final = (1, 2, 3)
WORKERS_PARTITIONS: Final = 4
"""Of the pipeline by workers, instead of the default: each worker holds at least one."""
PATTERNS_ACCOUNTS: Final = 100_000
BATCH: Final = 6_000
WARMING: Final = 2
"""Batches before each measurement: few accounts are in the caches again after them."""
MEASURED: Final = 10
"""Batches of a measurement."""
RUNS: Final = 9
WORKERS_RUNS: Final = 3
ROOM: Final = 1.15
"""Memory that must be free, in rows of the accounts asked for."""
START_MS: Final = 1_750_000_000_000

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a series: what was varied, and the runs' figures."""

    at: int
    values: list[float]

    @property
    def middle(self) -> float:
        """The median of the runs."""
        return median(self.values)

    def said(self) -> Json:
        """For a report."""
        low, high = min(self.values), max(self.values)
        return {"at": self.at, "median": round(self.middle, 3), "range": [low, high]}


def by_accounts(scoring: Scoring, told: Callable[[str], None]) -> tuple[list[Point], float]:
    """Microseconds a transaction by accounts held, and bytes an account at the largest.

    All numbers of accounts are held at once and measured in turn, since a machine's pace changes
    within minutes. One for which there is no memory is left out, and `told`.
    """
    memories, bytes_each = {}, 0.0
    for accounts in ACCOUNTS:
        if psutil.virtual_memory().available < ROOM * accounts * ROW.itemsize:
            told(f"{accounts:,} accounts: not enough free memory here")
            continue
        before = psutil.Process().memory_info().rss
        memories[accounts] = _filled(scoring.scorer, accounts)
        bytes_each = (psutil.Process().memory_info().rss - before) / accounts
        told(f"{accounts:,} accounts: {bytes_each:,.0f} bytes each")
    measured = {accounts: (memory, scoring.scorer) for accounts, memory in memories.items()}
    return _in_turn(measured, "accounts", told), bytes_each


def by_patterns(settings: Settings, told: Callable[[str], None]) -> list[Point]:
    """Microseconds a transaction by patterns: none, ten, all; measured in turn."""
    scoring = scoring_of(settings)
    scorers = {
        most: with_patterns(scoring, most, settings).scorer
        for most in (0, 10, len(scoring.pattern_set.patterns))
    }
    measured = {n: (_filled(scorer, PATTERNS_ACCOUNTS), scorer) for n, scorer in scorers.items()}
    return _in_turn(measured, "patterns", told)


def by_workers(bench: Bench, transactions: int, told: Callable[[str], None]) -> list[Point]:
    """Transactions a second of the pipeline by workers, all on this machine."""
    bench, points = bench.in_partitions(WORKERS_PARTITIONS), []
    for workers in WORKERS:
        runs = [
            bench.catch_up(f"workers{workers}-{run}-", transactions, workers)
            for run in range(WORKERS_RUNS)
        ]
        points.append(Point(workers, [transactions / run.seconds for run in runs]))
        told(f"{workers} workers: {points[-1].middle:,.0f} a second")
    return points


def _filled(scorer: Scorer, accounts: int) -> AccountMemory:
    """Every account has paid the next one, so that all have their row and their pages."""
    memory = AccountMemory(accounts)
    for start in range(0, accounts, BATCH):
        payers = np.arange(start, min(start + BATCH, accounts))
        memory.follow(_legs(payers, (payers + 1) % accounts, start), scorer)
    return memory


def _in_turn(
    measured: Mapping[int, tuple[AccountMemory, Scorer]], what: str, told: Callable[[str], None]
) -> list[Point]:
    """A point for each memory: its runs alternate with those of the others."""
    rng = np.random.default_rng(1)
    numbers = count(max(len(memory) for memory, _ in measured.values()), BATCH)
    costs: dict[int, list[float]] = {at: [] for at in measured}
    for _ in range(RUNS):
        for at, (memory, scorer) in measured.items():
            costs[at].append(_cost_us(memory, scorer, rng, numbers))
    points = [Point(at, values) for at, values in costs.items()]
    for point in points:
        told(f"{point.at:,} {what}: {point.middle:.2f} us")
    return points


def _cost_us(
    memory: AccountMemory, scorer: Scorer, rng: np.random.Generator, numbers: Iterator[int]
) -> float:
    """Of one run; each batch begins with the next of the `numbers` of transactions."""
    accounts, spent = len(memory), 0.0
    for batch in range(WARMING + MEASURED):
        payers, steps = rng.integers(accounts, size=BATCH), rng.integers(1, accounts, BATCH)
        legs = _legs(payers, (payers + steps) % accounts, next(numbers))
        started = time.process_time()
        memory.follow(legs, scorer)
        if batch >= WARMING:
            spent += time.process_time() - started
    return round(spent / (MEASURED * BATCH) * 1e6, 3)


def _legs(payers: Numbers, payees: Numbers, first: int) -> Records:
    """Departures of 10.00 to 999.99, one a millisecond."""
    legs: Records = np.zeros(len(payers), LEG)
    number = np.arange(first, first + len(payers))
    legs["account"], legs["counterparty"] = _names(payers, 5), _names(payees, 5)
    legs["transaction"] = _names(number, 8)
    legs["position"] = number
    legs["occurred_at_ms"] = legs["recorded_at_ms"] = START_MS + number
    legs["amount_minor"] = 1_000 + number * 7919 % 99_000
    legs["side"] = DEPARTURE
    return legs


def _names(numbers: Numbers, words: int) -> npt.NDArray[np.uint64]:
    """Twelve digits each, as words of text."""
    text = np.zeros((len(numbers), 8 * words), np.uint8)
    for place in range(12):
        text[:, place] = ord("0") + numbers // 10 ** (11 - place) % 10
    return text.view("<u8")


def plot(points: Sequence[Point], *, x: str, y: str, logarithmic: bool, file: Path) -> None:
    """One series with its ranges, as SVG."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    middle = [point.middle for point in points]
    spread = [
        [point.middle - min(point.values) for point in points],
        [max(point.values) - point.middle for point in points],
    ]
    axes.errorbar([point.at for point in points], middle, yerr=spread, marker="o", capsize=4)
    if logarithmic:
        axes.set_xscale("log")
    else:
        axes.set_xticks([point.at for point in points])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    figure.savefig(file, metadata={"Date": None})
