"""Events further apart than the pipeline is slow: live scores are those of a file, to the bit."""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.system.pipeline import ROOT, Pipeline
from tests.system.traffic import Town

from sluicegate.history.events import read_events
from sluicegate.history.score import score_events
from sluicegate.judging.judgement import measure_for
from sluicegate.judging.patterns import load_patterns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.domain.alert import Alert
    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

COUNT = 150
FIVE_MINUTES_MS = 300_000


class Judged(NamedTuple):
    """What is said of a leg, but for the times at which it was."""

    score: float
    measure: str
    reasons: tuple[tuple[str, float, str, str], ...]


Verdicts = dict[tuple[str, str], Judged]
"""By transaction and side."""


def of_alerts(alerts: dict[str, Alert]) -> Verdicts:
    return {
        (alert.transaction_id, alert.side): Judged(
            alert.score,
            alert.measure.value,
            tuple((each.pattern, each.strength, each.zh, each.en) for each in alert.reasons),
        )
        for alert in alerts.values()
    }


def of_file(pipeline: Pipeline, file: Path) -> Verdicts:
    """The legs of the file whose score reaches the threshold of alerts."""
    thresholds = load_patterns(pipeline.settings.patterns.file).thresholds
    found: Verdicts = {}
    for row in score_events(pipeline.settings, read_events(file)).iter_rows(named=True):
        for side, score in (("outflow", row["payer_score"]), ("inflow", row["payee_score"])):
            if score is not None and score >= thresholds.alert:
                reasons = tuple(
                    (each["pattern"], each["strength"], each["zh"], each["en"])
                    for each in row["reasons"]
                    if each["side"] == side
                )
                measure = measure_for(score, thresholds).value
                found[row["id"], side] = Judged(score, measure, reasons)
    return found


@pytest.fixture
def talkative(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    """The shipped patterns, with alerts from a fifth of a suspicion on: more is compared."""
    shipped = (ROOT / "config" / "patterns.toml").read_text(encoding="utf-8")
    file = tmp_path / "patterns.toml"
    file.write_text(re.sub(r"(?m)^alert = .*$", "alert = 0.2", shipped), encoding="utf-8")
    patterns = {"file": str(file)}
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path, patterns=patterns) as made:
        yield made


def test_live_alerts_are_those_of_the_file(talkative: Pipeline, tmp_path: Path) -> None:
    """Each transaction is sent when the one before it has been applied to its end."""
    began_ms = round(time.time() * 1000) - (COUNT + 1) * FIVE_MINUTES_MS
    values = Town(7, at_ms=began_ms, step_ms=FIVE_MINUTES_MS).transactions(COUNT)
    parts = [talkative.start(name) for name in ("liaison", "router", "worker")]
    for number, value in enumerate(values):
        talkative.send([value], partition=number % 4)
        talkative.until_scored(number + 1)
    books = talkative.until_settled(COUNT)
    assert (books.scored, books.lost, books.doubled) == (COUNT, 0, 0)

    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(values))
    expected = of_file(talkative, file)
    assert min(Counter(side for _, side in expected).values()) >= 10
    alerts = talkative.alerts()
    assert of_alerts(alerts) == expected
    talkative.until(lambda: desks_alerts(tmp_path) == alerts.keys(), "all alerts at the desk")
    assert [part.stop() for part in parts] == [0, 0, 0]


def desks_alerts(folder: Path) -> set[str]:
    """What the liaison consumer has stored."""
    with closing(sqlite3.connect(folder / "liaison.db")) as database:
        return {row[0] for row in database.execute("select id from alerts")}
