"""What a fitted model costs end to end: the backlog through router and worker, a model judging."""

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Final

import polars as pl

from sluicegate.history.card import write_model
from sluicegate.history.fit import FitPlan, fit
from sluicegate.history.known import History
from sluicegate.operations.bench_runs import Bench, Json, middle, pace
from sluicegate.settings import Settings
from sluicegate.simulation.city import FILE_MOMENT_MS, City, write_ndjson

SEED: Final = 4
ACCOUNTS: Final = 20_000
RATE: Final = 1_000
SECONDS: Final = 150


def with_model(
    bench: Bench, model: Path, transactions: int, runs: int, told: Callable[[str], None]
) -> Json:
    """Throughput and processor time of the backlog with this model beside the patterns."""
    extra = {"SLUICEGATE_SCORING__MODEL": str(model.resolve())}
    catches = []
    for run in range(runs):
        catches.append(bench.catch_up(f"model{run}-", transactions, extra=extra))
        told(f"with the model, run {run + 1}: {transactions / catches[-1].seconds:,.0f} a second")
    return pace(catches, transactions) | {"alerts": len(middle(catches).alerts)}


def small_model(settings: Settings, folder: Path) -> Path:
    """The file of a model fitted to 150,000 transactions of another city than the backlog's.

    Raises:
        Problem: a file cannot be written.
    """
    events, truth, labels = (
        folder / name for name in ("events.ndjson", "truth.ndjson", "labels.csv")
    )
    ends_at_ms = FILE_MOMENT_MS + SECONDS * 1_000
    lived = City(SEED, ACCOUNTS).live(FILE_MOMENT_MS, RATE, chunk_ms=5_000)
    write_ndjson(events, takewhile(lambda chunk: chunk.until_ms <= ends_at_ms, lived), truth)
    pl.read_ndjson(truth).select("id", "scenario", label=pl.lit(1)).write_csv(labels)
    fitted = fit(settings, History(events, labels), FitPlan(holdout=0.2, label_delay_ms=2_000))
    return write_model(fitted, folder / "bench.model")[0]
