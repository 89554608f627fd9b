"""A small simulated stream with planted frauds, as files of transactions and of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from sluicegate.history.fit import STEPS, FitPlan, fit
from sluicegate.history.known import History
from sluicegate.operations.simulate import write_simulation
from sluicegate.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.judging.model import Model

DELAY_MS = 2_000
PLAN = FitPlan(holdout=0.4, label_delay_ms=DELAY_MS)


@pytest.fixture(scope="session")
def settings() -> Settings:
    """As shipped."""
    return Settings()


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Twenty-four seconds of a city in fast motion: 24,000 transactions, 0.4 % of them planted."""
    folder = tmp_path_factory.mktemp("city")
    events, truth = folder / "events.ndjson", folder / "truth.ndjson"
    write_simulation(events, truth, seed=4, history=0, rate=1_000, seconds=24)
    planted = pl.read_ndjson(truth).select("id", "scenario", label=pl.lit(1))
    planted.write_csv(folder / "labels.csv")
    return History(events, folder / "labels.csv")


@pytest.fixture(scope="session")
def model(settings: Settings, city: History) -> Model:
    """Fitted to the first part of the city."""
    steps: list[tuple[int, int]] = []
    found = fit(settings, city, PLAN, trained=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (STEPS, STEPS)
    return found


def shortened(history: History, folder: Path, transactions: int) -> History:
    """The first so many transactions of a file."""
    lines = history.events.read_text(encoding="utf-8").splitlines(keepends=True)
    events = folder / "first.ndjson"
    events.write_text("".join(lines[:transactions]), encoding="utf-8")
    return History(events, history.labels)
