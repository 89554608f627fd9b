"""A pattern set is tried before it is used; the commands that tell of patterns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluicegate.cli import app
from sluicegate.errors import Problem
from sluicegate.judging.trial import try_patterns

if TYPE_CHECKING:
    import numpy as np

    from sluicegate.judging.kernels import CompiledPatterns

ROOT = Path(__file__).parents[2]
SHIPPED = str(ROOT / "config" / "patterns.toml")


def asked(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["patterns", *arguments])
    if result.exception:
        raise result.exception
    return result.stdout


def test_the_shipped_set_is_compiled_to_what_it_says(shipped: CompiledPatterns) -> None:
    trial = try_patterns(shipped, 3_000, seed=5)
    assert trial.legs == 3_000
    assert set(trial.fired) == {each.pattern.name for each in shipped.pattern_set.patterns}
    assert sum(times > 0 for times in trial.fired.values()) > len(trial.fired) // 2


def test_a_kernel_that_says_something_else_is_refused(shipped: CompiledPatterns) -> None:
    def lies(
        side: int,
        features: np.ndarray[tuple[int], np.dtype[np.float64]],
        strengths: np.ndarray[tuple[int], np.dtype[np.float64]],
    ) -> float:
        score = shipped.kernel(side, features, strengths)
        strengths[2] = 1.0 - strengths[2]
        return score

    name = shipped.pattern_set.patterns[2].pattern.name
    with pytest.raises(Problem, match=f"pattern {name} is not compiled to what it says"):
        try_patterns(replace(shipped, kernel=lies), 10, seed=1)


def test_the_commands_tell_of_patterns() -> None:
    assert "fan                        payer  少进多出 · Few payers, many payees" in asked(
        "list", "--patterns", SHIPPED
    )
    told = asked("explain", "fan", "--patterns", SHIPPED)
    assert "targets_10d [accounts]: distinct payees of the last 10 d" in told
    with pytest.raises(Problem, match="no pattern 'fann'"):
        asked("explain", "fann", "--patterns", SHIPPED)
    assert "agree on 200 judgements" in asked("test", SHIPPED, "--legs", "100")
