"""A backtest from file to report."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.history.conftest import shortened
from typer.testing import CliRunner

from sluicegate.cli import app
from sluicegate.errors import Problem
from sluicegate.history.backtest import Backtest, Plan, backtest
from sluicegate.history.judged import judge_events
from sluicegate.history.known import History, first_tested_ms
from sluicegate.history.report import NUMBERS, PAGE, report_json, report_page, write_report
from sluicegate.history.score import score_events
from sluicegate.judging.patterns import load_patterns

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.settings import Settings


@pytest.fixture(scope="module")
def result(settings: Settings, city: History) -> Backtest:
    return backtest(settings, city, Plan(holdout=0.5, budget=30))


def test_the_figures_are_those_of_the_scores_of_the_same_file(
    settings: Settings, city: History, result: Backtest
) -> None:
    events, labels = city.read()
    scores = score_events(settings, events)["score"].fill_null(0).to_numpy()
    within = events.frame["occurred_at_ms"].to_numpy() >= first_tested_ms(events, 0.5)
    fraud, scores = labels.fraud[within], scores[within]
    precisions = [fraud[scores >= score].mean() for score in scores[fraud]]
    found = result.sets[0].transactions
    assert found.ranked == within.sum()
    assert found.fraudulent == fraud.sum() > 20
    assert found.average_precision == pytest.approx(np.mean(precisions))
    at_threshold = result.sets[0].outcomes[0]
    assert at_threshold.alerts == (scores >= 0.5).sum() > 0
    assert at_threshold.recall == pytest.approx((scores[fraud] >= 0.5).mean())


def test_nothing_later_is_known(settings: Settings, city: History, tmp_path: Path) -> None:
    whole, _ = city.read()
    part, _ = shortened(city, tmp_path, 9_000).read()
    judged = [judge_events(settings, each, lambda _done, _total: None) for each in (whole, part)]
    same = whole.frame["id"].head(9_000).equals(part.frame["id"])
    assert same
    np.testing.assert_array_equal(judged[0].scores[:9_000], judged[1].scores)


def test_warm_up_is_not_counted(result: Backtest) -> None:
    assert result.warm_up + result.not_judged + result.sets[0].transactions.ranked == 24_000
    assert result.tested_from == "2025-06-30T16:00:12Z"  # half of the 24 seconds
    assert (
        sum(day.transactions for day in result.sets[0].days) == result.sets[0].transactions.ranked
    )


def test_every_kind_of_fraud_and_every_pattern_has_its_figures(
    settings: Settings, result: Backtest
) -> None:
    kinds = {each.scenario: each for each in result.sets[0].scenarios}
    assert {"mule_chain", "scatter_gather"} <= set(kinds)
    planted = result.sets[0].transactions.fraudulent
    assert sum(each.transactions for each in kinds.values()) == planted
    patterns = {each.pattern: each for each in result.patterns["patterns"]}
    declared = load_patterns(settings.patterns.file).patterns
    assert list(patterns) == [each.pattern.name for each in declared]
    base = planted / result.sets[0].transactions.ranked
    for each in patterns.values():
        assert each.frauds <= each.fired
        if each.fired:
            assert each.precision == pytest.approx(each.frauds / each.fired)
            assert each.lift == pytest.approx(each.frauds / each.fired / base)
    assert any(each.fired for each in patterns.values())


def test_another_set_of_patterns_is_compared(
    settings: Settings, city: History, tmp_path: Path
) -> None:
    text = settings.patterns.file.read_text(encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text(text.replace("alert = 0.5", "alert = 0.3", 1), encoding="utf-8")
    found = backtest(settings, city, Plan(against=other))
    assert [each.name for each in found.sets] == ["patterns", "patterns of other.toml"]
    at_threshold = found.compared[0]
    assert at_threshold.caught_only_now == at_threshold.false_only_now == 0
    assert at_threshold.caught_only_before + at_threshold.false_only_before > 0
    assert at_threshold.caught_by_both > 0
    page = report_page(found)
    assert "patterns against patterns of other.toml" in page


def test_without_fraud_in_the_test_period_it_says_so(
    settings: Settings, city: History, tmp_path: Path
) -> None:
    labels = tmp_path / "honest.csv"
    first = city.read()[0].frame["id"][0]
    labels.write_text(f"id,label\n{first},1\n", encoding="utf-8")
    with pytest.raises(Problem, match="no fraud lies in the test period"):
        backtest(settings, History(city.events, labels), Plan())


class _Page(HTMLParser):
    """Tags that are open, and what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        self.references += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href")
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data.strip())


def test_the_page_is_whole_and_needs_nothing_else(result: Backtest, tmp_path: Path) -> None:
    write_report(result, tmp_path / "new" / "folder")
    text = (tmp_path / "new" / "folder" / PAGE).read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "link", "img", "iframe"})
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"@import|url\((?!#)", text)
    assert text.count("<svg") == 3
    assert "@media print" in text
    assert "{{" not in text


def test_page_and_json_say_the_same(result: Backtest, tmp_path: Path) -> None:
    write_report(result, tmp_path)
    numbers = json.loads((tmp_path / NUMBERS).read_text(encoding="utf-8"))
    page = _Page()
    page.feed((tmp_path / PAGE).read_text(encoding="utf-8"))
    figures = numbers["sets"][0]
    for ranking in (figures["transactions"], figures["accounts"]):
        assert f"{ranking['average_precision']:.3f}" in page.cells
        assert f"{ranking['roc_auc']:.3f}" in page.cells
    for row in figures["outcomes"]:
        assert row["name"] in page.cells
        assert f"{row['alerts']:,}" in page.cells
    for pattern in numbers["patterns"]["patterns"]:
        assert pattern["pattern"] in page.cells


def test_the_same_backtest_gives_the_same_bytes(
    settings: Settings, city: History, result: Backtest
) -> None:
    again = backtest(settings, city, Plan(holdout=0.5, budget=30))
    assert report_json(again) == report_json(result)
    assert report_page(again) == report_page(result)


def test_the_command_writes_the_report_and_says_the_headline(
    city: History, result: Backtest, tmp_path: Path
) -> None:
    asked = ["backtest", str(city.events), str(city.labels), "--report", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*asked, "--holdout", "0.5", "--budget", "30"])
    assert done.exit_code == 0
    assert done.output.splitlines()[:-1] == result.sentences()
    written = (tmp_path / "out" / NUMBERS).read_text(encoding="utf-8")
    assert written == report_json(result)
