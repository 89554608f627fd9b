"""A log line is one line, in UTC, and shows no whole account."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest

from sluicegate.operations.logs import TALKATIVE, mask_account, start_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _the_loggers_as_they_were() -> Iterator[None]:
    loggers = [logging.getLogger(), *map(logging.getLogger, TALKATIVE)]
    levels, handlers = [each.level for each in loggers], list(loggers[0].handlers)
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_a_line_has_its_time_in_utc_its_level_and_its_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging("100% router")
    logging.getLogger("sluicegate").info("first\nsecond")
    logging.getLogger("kafka.conn").info("about itself")
    line = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO 100% router: first\\nsecond\n"
    assert re.fullmatch(line, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("account", "masked"),
    [("6222021234567890", "************7890"), ("12345", "*2345"), ("1234", "****"), ("", "")],
)
def test_of_an_account_the_last_four_characters_are_shown(account: str, masked: str) -> None:
    assert mask_account(account) == masked
