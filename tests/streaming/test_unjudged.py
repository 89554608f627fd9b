"""A judgement that fails is kept with what it saw, and is judged again when that is mended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.streaming.flow import CAPACITY, Payment, messages_of

from sluicegate.domain.alert import Alert
from sluicegate.errors import Problem
from sluicegate.judging.templates import Template
from sluicegate.memory.accounts import AccountMemory
from sluicegate.settings import Settings
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.routing import Chains
from sluicegate.streaming.scoring import Scoring, scoring_of
from sluicegate.streaming.unjudged import UnjudgedLeg, judge_again

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluicegate.domain.alert import AlertFields
    from sluicegate.judging.patterns import PatternSet

PATTERNS = """
[thresholds]
alert = 0.4
[thresholds.measures]
verify = 0.4

[[pattern]]
name = "sound"
title = { zh = "好", en = "Sound" }
side = "payer"
when = "amount > 0"
weight = 0.5
reason = { zh = "好", en = "sound" }
source = "test"

[[pattern]]
name = "rotten"
title = { zh = "坏", en = "Rotten" }
side = "payer"
when = "amount > 100"
weight = 0.5
reason = { zh = "坏 {amount:money}", en = "rotten {amount:money}" }
source = "test"
"""


class Broken(Template):
    """A reason that cannot be given."""

    def fill(self, value_of: Callable[[int], float]) -> str:
        del value_of
        raise ValueError("no words for it")


@pytest.fixture
def scoring(tmp_path: Path) -> Scoring:
    file = tmp_path / "patterns.toml"
    file.write_text(PATTERNS, encoding="utf-8")
    return scoring_of(Settings.model_validate({"patterns": {"file": file}}))


def spoiled(patterns: PatternSet) -> PatternSet:
    """The same set, but the reason of `rotten` fails."""
    broken = Broken("x", (), "unknown")
    return replace(
        patterns,
        patterns=tuple(
            replace(each, reason_en=broken) if each.pattern.name == "rotten" else each
            for each in patterns.patterns
        ),
    )


def judged(
    scoring: Scoring, patterns: PatternSet
) -> tuple[Partition, list[AlertFields | UnjudgedLeg]]:
    partition = Partition(0, AccountMemory(CAPACITY))
    payments = [Payment("T0", "A", None, 5_000), Payment("T1", "A", None, 50_000)]
    ((_, value),) = messages_of(Chains(1), payments, [0, 0], [0, 1])
    applied = partition.apply(0, value, scoring.scorer)
    assert applied is not None
    return partition, list(alerts_of(applied, patterns, "CNY", 1_000))


def test_a_failed_judgement_stops_neither_the_leg_nor_the_others(scoring: Scoring) -> None:
    whole, sound = judged(scoring, scoring.pattern_set)
    partition, told = judged(scoring, spoiled(scoring.pattern_set))
    assert partition.memory.digest() == whole.memory.digest()
    assert told[0] == sound[0]
    failed = told[1]
    assert isinstance(failed, UnjudgedLeg)
    assert (failed.pattern, failed.error) == ("rotten", "ValueError: no words for it")


def test_it_is_judged_again_as_it_would_have_been(scoring: Scoring) -> None:
    _, sound = judged(scoring, scoring.pattern_set)
    _, told = judged(scoring, spoiled(scoring.pattern_set))
    assert isinstance(told[1], UnjudgedLeg)
    value = told[1].model_dump_json().encode()
    assert judge_again(scoring, value) == Alert.model_validate(sound[1])


def test_it_may_fail_again(scoring: Scoring) -> None:
    still = replace(scoring, pattern_set=spoiled(scoring.pattern_set))
    _, told = judged(scoring, still.pattern_set)
    assert isinstance(told[1], UnjudgedLeg)
    with pytest.raises(Problem, match="fails again") as problem:
        judge_again(still, told[1].model_dump_json().encode())
    assert "rotten" in problem.value.detail


def test_no_alert_is_due_below_the_threshold_of_now(scoring: Scoring) -> None:
    _, told = judged(scoring, spoiled(scoring.pattern_set))
    assert isinstance(told[1], UnjudgedLeg)
    calmer = replace(scoring, scorer=replace(scoring.scorer, threshold=0.9))
    assert judge_again(calmer, told[1].model_dump_json().encode()) is None


def test_null_features_stay_null(scoring: Scoring) -> None:
    _, told = judged(scoring, spoiled(scoring.pattern_set))
    assert isinstance(told[1], UnjudgedLeg)
    assert None in told[1].features.values()
    assert all(np.isfinite(value) for value in told[1].features.values() if value is not None)


def test_anything_else_is_refused(scoring: Scoring) -> None:
    with pytest.raises(Problem, match="not a leg that could not be judged"):
        judge_again(scoring, b"{}")
