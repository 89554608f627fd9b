"""The compiled kernel says exactly what polars says about the same expressions."""

from __future__ import annotations

import subprocess
import sys
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.errors import Problem
from sluicegate.judging import kernels
from sluicegate.judging.expressions import Names, parse_condition, parse_number
from sluicegate.judging.kernels import CompiledPatterns, compile_patterns, kernel_source
from sluicegate.judging.oracle import condition_expression, number_expression, strengths_frame
from sluicegate.judging.patterns import PatternSet, Side, parse_patterns
from sluicegate.judging.source import HELPERS, false_source, number_source, true_source
from sluicegate.memory.features import FEATURE_COUNT, FEATURE_INDEX, FEATURES

if TYPE_CHECKING:
    from pathlib import Path

USED = ("amount", "inflow_1h", "silent_days", "sources_24h")
NAMES = Names(frozenset(USED), {})
VALUES = (nan, nan, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 10.0)
COLUMNS = [feature.name for feature in FEATURES]
SIDES = {Side.PAYER: -1, Side.PAYEE: 1}


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaves = st.sampled_from((*USED, *USED, "0", "1", "2", "0.5", "3"))
    if depth == 0:
        return leaves
    part = numbers(depth - 1)
    return st.one_of(
        leaves,
        st.builds("({} {} {})".format, part, st.sampled_from("+-*/"), part),
        st.builds("-({})".format, part),
        st.builds("{}({})".format, st.sampled_from(("ABS", "LN", "SQRT")), part),
        st.builds(
            "{}({}, {})".format, st.sampled_from(("COALESCE", "LEAST", "GREATEST")), part, part
        ),
        st.builds("CASE WHEN {} THEN {} ELSE {} END".format, conditions(depth - 1), part, part),
        st.builds("CASE WHEN {} THEN {} END".format, conditions(depth - 1), part),
    )


def conditions(depth: int) -> st.SearchStrategy[str]:
    left, right = numbers(max(depth - 1, 0)), numbers(max(depth - 1, 0))
    leaves = st.one_of(
        st.builds(
            "{} {} {}".format, left, st.sampled_from(("=", "<>", "<", "<=", ">", ">=")), right
        ),
        st.builds("{} BETWEEN {} AND {}".format, left, right, numbers(0)),
        st.builds("{} IN (0, 1, 2)".format, left),
        st.builds("{} IS NULL".format, left),
        st.builds("{} IS NOT NULL".format, left),
    )
    if depth == 0:
        return leaves
    part = conditions(depth - 1)
    return st.one_of(
        leaves,
        st.builds("NOT ({})".format, part),
        st.builds("({} AND {})".format, part, part),
        st.builds("({} OR {})".format, part, part),
    )


def matrix(seed: int, rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    drawn = np.random.default_rng(seed).choice(VALUES, size=(rows, FEATURE_COUNT))
    return np.ascontiguousarray(drawn)


def frame(features: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> pl.DataFrame:
    return pl.DataFrame(features, schema=COLUMNS)


def interpreted(source: str) -> Any:
    """The emitted source as a plain Python function: fast to make, same IEEE arithmetic."""
    scope: dict[str, Any] = {"njit": lambda function: function}
    exec(f"from math import isnan, log, nan, sqrt\n{HELPERS}\n", scope)  # noqa: S102
    return eval(f"lambda f: {source}", scope)  # noqa: S307


def test_every_random_condition_is_true_false_or_unknown_as_in_polars() -> None:
    @given(conditions(3), st.integers(0, 2**32))
    @settings(derandomize=True, deadline=None, max_examples=300)
    def check(text: str, seed: int) -> None:
        condition = parse_condition(text, NAMES)
        features = matrix(seed, 24)
        filled = frame(features).with_columns(pl.all().fill_nan(None))
        expected = filled.with_columns(condition_expression(condition).alias("_"))["_"].to_list()
        is_true = interpreted(true_source(condition))
        is_false = interpreted(false_source(condition))
        rows = features.tolist()
        assert [bool(is_true(row)) for row in rows] == [e is True for e in expected]
        assert [bool(is_false(row)) for row in rows] == [e is False for e in expected]

    check()


def test_every_random_number_is_the_one_of_polars() -> None:
    @given(numbers(3), st.integers(0, 2**32))
    @settings(derandomize=True, deadline=None, max_examples=300)
    def check(text: str, seed: int) -> None:
        number = parse_number(text, NAMES)
        features = matrix(seed, 24)
        filled = frame(features).with_columns(pl.all().fill_nan(None))
        expected = filled.with_columns(number_expression(number).alias("_"))["_"]
        value_of = interpreted(number_source(number))
        got = np.array([value_of(row) for row in features.tolist()])
        wanted = expected.cast(pl.Float64).fill_null(nan).to_numpy()
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=0.0)

    check()


def declared(*patterns: tuple[str, str, str]) -> PatternSet:
    """A set of patterns given as (side, when, strength)."""
    entries = "\n".join(
        f'[[pattern]]\nname = "p{i}"\ntitle = {{ zh = "一", en = "one" }}\nside = "{side}"\n'
        f'when = "{when}"\nstrength = "{strength}"\nreason = {{ zh = "一", en = "one" }}\n'
        'source = "test"\n'
        for i, (side, when, strength) in enumerate(patterns)
    )
    return parse_patterns(f"[thresholds]\nalert = 0.5\n{entries}", "test")


def agrees_with_polars(
    compiled: CompiledPatterns, features: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    for side, sign in SIDES.items():
        expected = strengths_frame(compiled.pattern_set, side, frame(features))
        judged = [compiled.judge(sign, row) for row in features]
        strengths = np.array([strengths for _, strengths in judged])
        scores = np.array([score for score, _ in judged])
        wanted = expected.drop("score").to_numpy().reshape(strengths.shape)
        np.testing.assert_allclose(strengths, wanted, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(scores, expected["score"].to_numpy(), rtol=1e-12, atol=1e-12)


def test_machine_code_of_random_patterns_equals_polars(tmp_path: Path) -> None:
    drawn: list[tuple[str, str, str]] = []

    @given(st.sampled_from(("payer", "payee", "both")), conditions(2), numbers(2))
    @settings(derandomize=True, deadline=None, max_examples=25, database=None)
    def draw(side: str, when: str, strength: str) -> None:
        drawn.append((side, when, strength))

    draw()
    agrees_with_polars(compile_patterns(declared(*drawn), tmp_path), matrix(7, 200))


def test_the_shipped_patterns_equal_polars_on_small_values(shipped: CompiledPatterns) -> None:
    agrees_with_polars(shipped, matrix(1, 300))


def test_the_shipped_patterns_equal_polars_on_values_near_their_thresholds(
    shipped: CompiledPatterns,
) -> None:
    rng = np.random.default_rng(2)
    scale = [_typical(feature.unit) for feature in FEATURES]
    features = np.ascontiguousarray(rng.lognormal(0.0, 1.0, (600, FEATURE_COUNT)) * scale)
    features[rng.random(features.shape) < 0.05] = nan
    agrees_with_polars(shipped, features)
    scores = [shipped.judge(-1, row)[0] for row in features]
    assert sum(score > 0.0 for score in scores) > 100  # the comparison is not one of zeros


def _typical(unit: str) -> float:
    return {"CNY": 20_000.0, "legs": 5.0, "accounts": 5.0, "days": 150.0, "s": 3_000.0}.get(
        unit, 0.7
    )


def test_a_pattern_judges_only_the_side_it_is_declared_for(tmp_path: Path) -> None:
    pattern_set = declared(
        ("payer", "amount > 1", "0.5"), ("payee", "amount > 1", "0.25"), ("both", "amount > 1", "1")
    )
    compiled = compile_patterns(pattern_set, tmp_path)
    features = np.full(FEATURE_COUNT, 2.0)
    assert compiled.judge(-1, features)[1].tolist() == [0.5, 0.0, 1.0]
    assert compiled.judge(1, features)[1].tolist() == [0.0, 0.25, 1.0]


def test_strengths_are_clipped_and_null_counts_as_nothing(tmp_path: Path) -> None:
    pattern_set = declared(
        ("both", "amount > 1", "amount"),
        ("both", "amount > 1", "-amount"),
        ("both", "amount > 1", "inflow_1h"),
        ("both", "inflow_1h > 1 OR inflow_1h <= 1", "1"),
        ("both", "NOT (inflow_1h > 1)", "1"),
    )
    features = np.full(FEATURE_COUNT, 2.0)
    features[FEATURE_INDEX["inflow_1h"]] = nan
    score, strengths = compile_patterns(pattern_set, tmp_path).judge(-1, features)
    assert strengths.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert score == 1.0


def test_an_empty_set_of_patterns_scores_nothing(tmp_path: Path) -> None:
    compiled = compile_patterns(declared(), tmp_path)
    score, strengths = compiled.judge(1, np.zeros(FEATURE_COUNT))
    assert (score, strengths.shape) == (0.0, (0,))


def test_a_vector_of_the_wrong_length_is_an_error(shipped: CompiledPatterns) -> None:
    with pytest.raises(ValueError, match="shape"):
        shipped.judge(1, np.zeros(FEATURE_COUNT - 1))


def test_a_second_start_finds_the_machine_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern_set = declared(("both", "amount > 41", "0.5"))
    first: Any = compile_patterns(pattern_set, tmp_path).kernel
    for name in [name for name in sys.modules if name.startswith("sluicegate_patterns_")]:
        monkeypatch.delitem(sys.modules, name)
    second: Any = compile_patterns(pattern_set, tmp_path).kernel
    assert second is not first
    assert sum(first._compiled.stats.cache_hits.values()) == 0
    assert sum(second._compiled.stats.cache_hits.values()) == 1


def test_a_damaged_module_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    kernels._written("text", path)
    path.write_text("te", encoding="utf-8")
    assert kernels._written("text", path).read_text(encoding="utf-8") == "text"


def test_two_processes_that_start_at_once_share_one_kernel(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from sluicegate.judging.kernels import compile_patterns\n"
        "from sluicegate.judging.patterns import parse_patterns\n"
        "compiled = compile_patterns(parse_patterns('[thresholds]\\nalert = 0.5', 'x'),"
        " Path(sys.argv[1]))\n"
        "print(compiled.count)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in running]
    assert results == [("0\n", ""), ("0\n", "")]
    assert len(list(tmp_path.glob("*.py"))) == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match="cannot write the compiled patterns"):
        compile_patterns(declared(("both", "amount > 43", "1")), tmp_path / "file" / "kernels")


def test_the_source_is_the_same_for_the_same_patterns(shipped: CompiledPatterns) -> None:
    assert kernel_source(shipped.pattern_set) == kernel_source(shipped.pattern_set)
