"""Log lines about things that may come by the thousand: so many a second, then how many more.

A line costs up to 0.3 ms: a backlog's thousands would cost it a good part of its pace. Each of the
things is on a topic all the same.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from sluicegate.operations.logs import event_log

LINES_A_SECOND: Final = 10


class FewLines:
    """Says one event of a module, by the monotonic clock."""

    def __init__(self, module: str, event: str, level: int = logging.INFO) -> None:
        self._log = event_log(module)
        self._event = event
        self._level = level
        self._second = 0
        self._said = 0
        self._unsaid = 0

    def say(self, facts: Callable[[], dict[str, Any]]) -> None:
        """A line with these facts; none, and they are not asked for, if this second has had its."""
        second = int(time.monotonic())
        if second != self._second:
            if self._unsaid:
                self._log.log(
                    self._level, f"{self._event}: more than have a line", more=self._unsaid
                )
            self._second, self._said, self._unsaid = second, 0, 0
        if self._said >= LINES_A_SECOND:
            self._unsaid += 1
            return
        self._said += 1
        self._log.log(self._level, self._event, **facts())
