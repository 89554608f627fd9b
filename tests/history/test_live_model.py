"""A model in a worker says what it says of a file, and asks no more trees than it must."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.history.conftest import shortened

from sluicegate.domain.transaction import LATEST_MS, Rules
from sluicegate.errors import Problem
from sluicegate.history.card import write_model
from sluicegate.history.judged import judge_events
from sluicegate.history.score import score_events
from sluicegate.judging.judgement import score_of
from sluicegate.judging.opinion import LEAST_SAID
from sluicegate.judging.patterns import load_patterns
from sluicegate.judging.publication import published_as, read_published
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.words import words_text
from sluicegate.streaming.alerts import alerts_of, as_read
from sluicegate.streaming.decoder import Decoder
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.routing import Chains, Places
from sluicegate.streaming.scoring import judging_of, scoring_by, scoring_of

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.domain.alert import Alert
    from sluicegate.history.known import History
    from sluicegate.judging.model import Model
    from sluicegate.memory.accounts import Scorer
    from sluicegate.settings import Settings
    from sluicegate.streaming.scoring import Scoring

TRANSACTIONS = 6_000


@pytest.fixture(scope="module")
def part(city: History, tmp_path_factory: pytest.TempPathFactory) -> History:
    """So much of the city as is judged leg by leg in a moment."""
    return shortened(city, tmp_path_factory.mktemp("part"), TRANSACTIONS)


@pytest.fixture(scope="module")
def scoring(settings: Settings, model: Model) -> Scoring:
    """The patterns as shipped, and the model beside them."""
    return scoring_by(load_patterns(settings.patterns.file), settings, model=model)


@dataclass
class Judged:
    """What a worker of one partition made of a file."""

    memory: AccountMemory
    scores: dict[tuple[str, int], float] = field(default_factory=dict)
    """By transaction and side."""
    alerts: list[Alert] = field(default_factory=list)


def judged(
    settings: Settings, part: History, scoring: Scoring, scorer: Scorer, at_once: int
) -> Judged:
    """Sends so many transactions at once through the log of one partition, until all is applied."""
    events, _ = part.read()
    decoder = Decoder(Rules(settings.contract.base_currency, 0, settings.contract.max_bytes))
    partition, chains, outbox = Partition(0, AccountMemory(50_000)), Chains(1), Outbox(1)
    found, done, offset = Judged(partition.memory), 0, 0
    for chunk in events.messages(at_once):
        decoded = decoder.decode([value for _, value in chunk], np.full(len(chunk), LATEST_MS))
        rows = np.arange(len(decoded.row_index))
        places = Places(
            np.zeros_like(decoded.row_index), decoded.row_index + done, decoded.occurred_at_ms
        )
        values = [value for _, value in chains.messages(decoded, places, rows)]
        done += len(chunk)
        while values:
            applied = partition.apply(offset, values.pop(0), scorer)
            assert applied is not None
            offset += 1
            legs, stepped = applied.legs, applied.stepped
            names = zip(words_text(legs["transaction"]), legs["side"].tolist(), strict=True)
            found.scores |= dict(zip(names, stepped.scores.tolist(), strict=True))
            found.alerts += as_read(alerts_of(applied, scoring.pattern_set, "CNY", 0))
            outbox.add(partition, stepped.arrivals, stepped.carried)
            values += [value for _, value in outbox.drain()]
    return found


def test_a_worker_says_what_is_said_of_a_file(
    settings: Settings, part: History, scoring: Scoring, model: Model, tmp_path: Path
) -> None:
    part = shortened(part, tmp_path, TRANSACTIONS // 3)
    live = judged(settings, part, scoring, scoring.scorer, 1)
    events, _ = part.read()
    plain = score_events(settings, events)
    fitted = score_events(settings, events, model=model)
    expected = {}
    for side, column in ((-1, "payer_score"), (1, "payee_score")):
        rows = zip(plain["id"], plain[column], fitted[column], strict=True)
        for name, by_patterns, by_model in rows:
            if by_patterns is not None:
                said = by_model if by_model >= LEAST_SAID else 0.0
                expected[name, side] = 1.0 - (1.0 - by_patterns) * (1.0 - said)
    assert live.scores.keys() == expected.keys()
    both = judge_events(settings, events, lambda _d, _t: None, model).joined_scores
    assert both is not None
    highest = [max(expected.get((name, side), 0) for side in (-1, 1)) for name in plain["id"]]
    np.testing.assert_allclose(both, highest, rtol=0, atol=1e-12)
    keys = list(expected)
    np.testing.assert_allclose(
        [live.scores[key] for key in keys], [expected[key] for key in keys], rtol=0, atol=1e-12
    )
    assert sum(score > 0.5 for score in expected.values()) >= 5


def test_trees_that_cannot_matter_are_not_asked_and_nothing_changes(
    settings: Settings, part: History, scoring: Scoring
) -> None:
    short = judged(settings, part, scoring, scoring.scorer, 500)
    whole = judged(settings, part, scoring, replace(scoring.scorer, least_said=0.0), 500)
    assert scoring.scorer.least_said == LEAST_SAID
    assert short.alerts == whole.alerts
    assert short.scores == whole.scores
    assert short.memory.digest() == whole.memory.digest()


def test_an_alert_says_why_in_words_of_both(
    settings: Settings, part: History, scoring: Scoring, model: Model
) -> None:
    alerts = judged(settings, part, scoring, scoring.scorer, 500).alerts
    by_model = [[each.pattern.startswith("model.") for each in alert.reasons] for alert in alerts]
    assert sum(map(any, by_model)) > 10
    assert any(any(each) and not all(each) for each in by_model)
    for alert in alerts:
        assert alert.model_version == model.version
        assert alert.pattern_set_version == scoring.pattern_set.version
        assert score_of(alert.reasons) == pytest.approx(alert.score, abs=1e-6)


def test_patterns_judge_and_remember_as_without_a_model(
    settings: Settings, part: History, scoring: Scoring
) -> None:
    """What the model says stays in fields of its own."""
    fitted = judged(settings, part, scoring, scoring.scorer, 500).memory.rows
    plain = judged(settings, part, scoring, scoring_of(settings).scorer, 500).memory.rows
    assert fitted["said"].any()
    assert not plain["said"].any()
    for name in set(fitted.dtype.names or ()) - {"said"}:
        np.testing.assert_array_equal(fitted[name], plain[name])


def test_a_published_version_names_set_and_model(scoring: Scoring, model: Model) -> None:
    version, content = published_as(scoring.pattern_set, model)
    assert version == scoring.version
    assert version not in {scoring.pattern_set.version, model.version}
    patterns, read = read_published(content, version)
    assert read is not None
    assert (patterns.version, read.version) == (scoring.pattern_set.version, model.version)
    with pytest.raises(Problem, match="cannot be read"):
        read_published('{"model":"!","patterns":""}', version)


def test_the_configured_model_judges_and_one_of_other_patterns_stops_the_start(
    settings: Settings, model: Model, tmp_path: Path
) -> None:
    path, _ = write_model(model, tmp_path / "city.model")
    with_model = settings.changed(scoring={"model": path})
    assert judging_of(with_model).scorer.model is not None
    assert judging_of(settings).scorer.model is None
    other = tmp_path / "patterns.toml"
    text = settings.patterns.file.read_text(encoding="utf-8")
    other.write_text(text.replace("alert = 0.5", "alert = 0.4", 1), encoding="utf-8")
    with pytest.raises(Problem, match="was fitted for another pattern set") as refused:
        judging_of(with_model.changed(patterns={"file": other}))
    assert refused.value.detail
    assert "sluicegate fit" in refused.value.hint
