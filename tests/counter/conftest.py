"""What the tests of the counter share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.counter.counter import ROOT, RunningCounter

from sluicegate.settings import Settings
from sluicegate.streaming.scoring import Scoring, scoring_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def scoring() -> Scoring:
    return scoring_of(Settings().changed(patterns={"file": ROOT / "config" / "patterns.toml"}))


@pytest.fixture
def counter(tmp_path: Path, scoring: Scoring) -> Iterator[RunningCounter]:
    with RunningCounter(tmp_path, scoring) as running:
        yield running
