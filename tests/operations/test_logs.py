"""A log line is one line, in UTC, as JSON for machines, and shows no whole account."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from sluicegate.errors import Problem
from sluicegate.operations.few_lines import LINES_A_SECOND, FewLines
from sluicegate.operations.logs import TALKATIVE, event_log, levels_of, mask_account, start_logging
from sluicegate.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT, JSON = LogSettings(format="text"), LogSettings(format="json")
OTHERS = ("sluicegate.streaming", "kafka.conn")


@pytest.fixture(autouse=True)
def _the_loggers_as_they_were() -> Iterator[None]:
    loggers = [logging.getLogger(), *map(logging.getLogger, (*TALKATIVE, *OTHERS))]
    levels, handlers = [each.level for each in loggers], list(loggers[0].handlers)
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_a_line_has_its_time_in_utc_its_level_and_its_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging("100% router", settings=TEXT)
    logging.getLogger("sluicegate").info("first\nsecond")
    logging.getLogger("kafka.conn").info("about itself")
    line = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO 100% router: first\\nsecond\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_where_stderr_is_no_terminal_a_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("worker w0")
    event_log("sluicegate").info("alert raised", trace="T1", score=0.5)
    logging.getLogger("sluicegate").warning("%d 笔\nwait", 3)
    event, plain = map(json.loads, capsys.readouterr().err.splitlines())
    assert list(event)[:4] == ["at", "level", "part", "event"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("at"))
    assert event == {
        "level": "INFO",
        "part": "worker w0",
        "event": "alert raised",
        "trace": "T1",
        "score": 0.5,
    }
    assert (plain["level"], plain["event"]) == ("WARNING", "3 笔\nwait")


def test_fields_are_readable_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("worker", settings=TEXT)
    event_log("sluicegate").info("alert raised", trace="T1", score=0.5)
    assert capsys.readouterr().err.endswith("worker: alert raised trace=T1 score=0.5\n")


@pytest.mark.parametrize("settings", [TEXT, JSON], ids=["text", "json"])
def test_an_account_in_an_error_is_hidden(
    capsys: pytest.CaptureFixture[str], settings: LogSettings
) -> None:
    start_logging("worker", settings=settings)
    try:
        int("row 6222021234567890123 ")
    except ValueError:
        logging.getLogger("sluicegate").exception("failed on 6222021234567890123")
    said = capsys.readouterr().err
    assert "row ***************0123 " in said
    assert "6222021234567890123" not in said


def test_levels_are_set_by_module(capsys: pytest.CaptureFixture[str]) -> None:
    levels = LogSettings(level="WARNING", levels="sluicegate.streaming=DEBUG,kafka.conn=INFO")
    start_logging("worker", settings=levels)
    for name in ("sluicegate.counter", "sluicegate.streaming.worker", "kafka.conn"):
        logging.getLogger(name).info("from %s", name)
    logging.getLogger("sluicegate.streaming.worker").debug("in detail")
    said = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert said == ["from sluicegate.streaming.worker", "from kafka.conn", "in detail"]


def test_a_level_that_there_is_not_is_a_problem() -> None:
    with pytest.raises(Problem, match="names no level"):
        levels_of("sluicegate=LOUD")


@pytest.mark.parametrize(
    ("account", "masked"),
    [("6222021234567890", "************7890"), ("12345", "*2345"), ("1234", "****"), ("", "")],
)
def test_of_an_account_the_last_four_characters_are_shown(account: str, masked: str) -> None:
    assert mask_account(account) == masked


def test_of_what_comes_by_the_thousand_so_many_have_a_line_and_the_rest_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_logging("router", settings=JSON)
    lines = FewLines("sluicegate.streaming", "record refused", logging.WARNING)
    monkeypatch.setattr("time.monotonic", lambda: 7.2)
    asked = list[int]()

    def facts_of(number: int) -> Callable[[], dict[str, int]]:
        def facts() -> dict[str, int]:
            asked.append(number)
            return {"offset": number}

        return facts

    for number in range(LINES_A_SECOND + 30):
        lines.say(facts_of(number))
    monkeypatch.setattr("time.monotonic", lambda: 8.0)
    lines.say(facts_of(-1))
    assert asked == [*range(LINES_A_SECOND), -1]
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each.get("offset") for each in said] == [*range(LINES_A_SECOND), None, -1]
    assert said[-2]["more"] == 30
    assert {each["level"] for each in said} == {"WARNING"}
