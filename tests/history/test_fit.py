"""A model from its training to its use: what it learns from, what it says, when it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from tests.history.conftest import DELAY_MS, PLAN, shortened

from sluicegate.errors import Problem
from sluicegate.history.backtest import Plan, backtest
from sluicegate.history.card import write_model
from sluicegate.history.fit import FitPlan, fit
from sluicegate.history.judged import judge_events
from sluicegate.history.known import History
from sluicegate.history.score import score_events
from sluicegate.judging.model import Model, load_model
from sluicegate.judging.patterns import load_patterns, parse_patterns

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.settings import Settings


@pytest.fixture(scope="module")
def saved(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(model, tmp_path_factory.mktemp("model") / "city.model")[0]


def learnt(model: Model) -> str:
    """All of a model but how it did on the rest of the file."""
    return replace(model, card=model.card.model_copy(update={"metrics": {}})).text()


def test_a_model_finds_what_was_held_out_better_than_the_patterns(model: Model) -> None:
    ways = model.card.metrics
    fitted, plain = ways["model"]["average precision"], ways["patterns"]["average precision"]
    assert fitted is not None
    assert plain is not None
    assert fitted > max(plain, 0.5)


def test_labels_not_known_at_the_end_of_the_training_window_change_nothing(
    settings: Settings, city: History, model: Model, tmp_path: Path
) -> None:
    events, labels = city.read()
    occurred = events.frame["occurred_at_ms"].to_numpy()
    unknown = occurred >= model.card.trained_until_ms - DELAY_MS
    other = np.where(unknown, ~labels.fraud, labels.fraud).astype(int)
    path = tmp_path / "other.csv"
    events.frame.select("id", label=pl.Series(other)).write_csv(path)
    assert model.card.frauds == labels.fraud[~unknown].sum()
    again = fit(settings, History(city.events, path), PLAN)
    assert learnt(again) == learnt(model)
    assert again.card.metrics != model.card.metrics


def test_what_happens_after_a_transaction_does_not_change_what_is_said_of_it(
    settings: Settings, city: History, model: Model, tmp_path: Path
) -> None:
    whole, _ = city.read()
    part, _ = shortened(city, tmp_path, 15_000).read()
    judged = [judge_events(settings, each, lambda _d, _t: None, model) for each in (whole, part)]
    first, second = (each.model_scores for each in judged)
    assert first is not None
    assert second is not None
    np.testing.assert_allclose(first[:15_000], second, rtol=1e-12)


def test_a_model_is_tested_only_on_what_it_was_not_trained_on(
    settings: Settings, city: History, model: Model, saved: Path
) -> None:
    found = backtest(settings, city, Plan(holdout=1.0, model=saved))
    events, _ = city.read()
    later = events.frame["occurred_at_ms"] >= model.card.trained_until_ms
    assert found.warm_up == (~later).sum()
    assert [each.name for each in found.sets] == ["model", "patterns", "both together"]
    figures = found.sets[0].transactions
    said = model.card.metrics["model"]
    assert figures.average_precision == pytest.approx(said["average precision"])
    assert found.sets[0].accounts.average_precision == pytest.approx(
        said["average precision of accounts"]
    )
    assert len(found.compared) == len(found.sets[0].outcomes)


def test_without_a_holdout_there_is_nothing_to_test_on(
    settings: Settings, city: History, tmp_path: Path
) -> None:
    history = shortened(city, tmp_path, 12_000)
    whole = fit(settings, history, FitPlan(holdout=0))
    assert whole.card.metrics == {}
    path, card = write_model(whole, tmp_path / "whole.model")
    assert "Nothing was held out." in card.read_text(encoding="utf-8")
    with pytest.raises(Problem, match="nothing is left to test the model on"):
        backtest(settings, history, Plan(model=path))


def test_a_saved_model_says_the_same(
    settings: Settings, city: History, model: Model, saved: Path
) -> None:
    again = load_model(saved, load_patterns(settings.patterns.file))
    assert again.card == model.card
    events, _ = city.read()
    judged = [judge_events(settings, events, lambda _d, _t: None, each) for each in (model, again)]
    first, second = (each.model_scores for each in judged)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)


def test_scores_are_probabilities_with_reasons_in_words(
    settings: Settings, city: History, model: Model
) -> None:
    events, labels = city.read()
    found = score_events(settings, events, model=model)
    assert found["score"].is_between(0, 1).all()
    later = (events.frame["occurred_at_ms"] >= model.card.trained_until_ms).to_numpy()
    expected = found["score"].to_numpy()[later].sum()
    assert expected == pytest.approx(labels.fraud[later].sum(), rel=0.5)
    alerts = found.filter(pl.col("score") >= 0.5)
    assert len(alerts) > 20
    for row in alerts.iter_rows(named=True):
        own = [each for each in row["reasons"] if each["pattern"].startswith("model.")]
        assert 1 <= len(own) <= 3
        assert 1 - prod(1 - each["strength"] for each in own) == pytest.approx(row["score"])
        for reason in own:
            assert reason["en"].startswith(("payer's account: ", "payee's account: "))
            assert reason["zh"].startswith(("付款账户", "收款账户"))
    assert any(
        not each["pattern"].startswith("model.") for row in alerts["reasons"] for each in row
    )


def test_a_transaction_is_scored_by_the_side_that_knows_most(
    settings: Settings, city: History, model: Model
) -> None:
    events, _ = city.read()
    found = score_events(settings, events, model=model)
    both = found.filter(pl.col("payee_score").is_not_null())
    assert (both["score"] == both["payee_score"]).all()
    out = found.filter(pl.col("payee_score").is_null() & pl.col("refused").is_null())
    assert len(out) > 0
    assert (out["score"] == out["payer_score"]).all()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"feature_table_version": "0" * 16}, "was fitted for another feature table"),
        ({"pattern_set_version": "0" * 16}, "was fitted for another pattern set"),
    ],
)
def test_a_model_of_other_versions_is_refused(
    settings: Settings, saved: Path, tmp_path: Path, change: dict[str, str], complaint: str
) -> None:
    content = json.loads(saved.read_text(encoding="utf-8"))
    content["card"] |= change
    path = tmp_path / "other.model"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(Problem, match=complaint):
        load_model(path, load_patterns(settings.patterns.file))


@pytest.mark.parametrize("text", ["", "{}", "no model", '{"format": 1}'])
def test_what_is_no_model_is_refused(settings: Settings, tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.model"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Problem, match="is no model of sluicegate fit"):
        load_model(path, load_patterns(settings.patterns.file))


def test_another_pattern_set_needs_another_fit(settings: Settings, saved: Path) -> None:
    text = settings.patterns.file.read_text(encoding="utf-8")
    other = parse_patterns(text.replace("alert = 0.5", "alert = 0.4", 1), "other")
    with pytest.raises(Problem, match="was fitted for another pattern set"):
        load_model(saved, other)


def test_too_few_frauds_are_refused(settings: Settings, city: History, tmp_path: Path) -> None:
    lines = city.labels.read_text(encoding="utf-8").splitlines(keepends=True)
    few = tmp_path / "few.csv"
    few.write_text("".join(lines[:12]), encoding="utf-8")
    with pytest.raises(Problem, match="too little to learn from"):
        fit(settings, History(city.events, few), FitPlan())
