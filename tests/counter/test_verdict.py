"""One table from measure to verdict, and the page that tells it."""

from __future__ import annotations

import re
from pathlib import Path

from sluicegate.counter.verdict import VERDICTS, Verdict, heaviest
from sluicegate.domain.measure import Measure

PAGE = Path(__file__).parents[2] / "docs" / "counter.md"


def test_every_measure_has_a_verdict_that_never_falls_along_the_ladder() -> None:
    severity = [list(Verdict).index(VERDICTS[measure]) for measure in Measure]
    assert severity == sorted(severity)


def test_the_page_tells_the_table() -> None:
    told = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert told == [(measure.value, verdict.value) for measure, verdict in VERDICTS.items()]


def test_the_heaviest_verdict_counts() -> None:
    assert heaviest([Verdict.VERIFY, Verdict.REFER, Verdict.ALLOW]) is Verdict.REFER
    assert heaviest([]) is Verdict.ALLOW
