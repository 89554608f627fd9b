"""The shipped patterns, compiled once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluicegate.judging.kernels import compile_patterns
from sluicegate.judging.patterns import load_patterns

if TYPE_CHECKING:
    from sluicegate.judging.kernels import CompiledPatterns

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> CompiledPatterns:
    """config/patterns.toml, compiled into a folder of this run."""
    pattern_set = load_patterns(ROOT / "config" / "patterns.toml")
    return compile_patterns(pattern_set, tmp_path_factory.mktemp("kernels"))
