"""A log line for each alert raised; of a backlog's only so many a second, and then how many more.

A line costs 0.1 ms: a backlog's thousands of alerts would cost it some hundredths of its pace. Each
of them is on the topic all the same, and has its line where it is stored.
"""

import time
from typing import Final

from sluicegate.domain.alert import Alert
from sluicegate.operations.logs import event_log, mask_account

LINES_A_SECOND: Final = 50

events = event_log(__name__)


class AlertLines:
    """Says which alerts were raised, by the monotonic clock."""

    def __init__(self) -> None:
        self._second = 0
        self._said = 0
        self._unsaid = 0

    def say(self, alert: Alert, partition: int, offset: int) -> None:
        """The transaction's id is the trace by which it is found again, up to its case."""
        second = int(time.monotonic())
        if second != self._second:
            if self._unsaid:
                events.info("alerts raised that have no line", alerts=self._unsaid)
            self._second, self._said, self._unsaid = second, 0, 0
        if self._said >= LINES_A_SECOND:
            self._unsaid += 1
            return
        self._said += 1
        events.info(
            "alert raised",
            trace=alert.transaction_id,
            alert=alert.id,
            account=mask_account(alert.account),
            side=alert.side,
            score=round(alert.score, 3),
            measure=alert.measure.value,
            pattern=alert.reasons[0].pattern,
            partition=partition,
            offset=offset,
        )
