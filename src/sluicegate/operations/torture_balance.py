"""The balance of a torture: auditor, replay and comparisons, as one report."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException

from sluicegate.domain.alert import Alert
from sluicegate.errors import Problem
from sluicegate.operations.torture_compare import (
    EXAMPLES,
    Difference,
    compare_alerts,
    compare_arrivals,
    compare_stands,
)
from sluicegate.operations.torture_evidence import Shelf, replay, stored_alerts
from sluicegate.settings import Settings
from sluicegate.simulation.auditor import Auditor
from sluicegate.simulation.ledger import Books
from sluicegate.streaming.retrace import retrace

AUDIT_SECONDS: Final = 300.0

NOTHING_OF: Final = (
    "lost",
    "doubled",
    "holes",
    "orphans",
    "unreadable",
    "alerts_missing",
    "alerts_extra",
    "database_missing",
    "database_extra",
    "arrivals_missing",
    "arrivals_extra",
)
"""What must be 0 in the report."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the logs, the state, the alerts and the database come to, one against the other."""

    books: Books
    state_equal: bool
    alerts: int
    published: Difference
    stored: Difference
    arrivals: Difference
    examples: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        books = self.books
        return {
            "transactions": books.sent,
            "scored": books.scored,
            "repeats": books.repeats,
            "dead_lettered": books.dead_lettered,
            "lost": books.lost,
            "doubled": books.doubled,
            "holes": books.holes,
            "orphans": books.orphans,
            "unreadable": books.unreadable,
            "state_equal": self.state_equal,
            "alerts": self.alerts,
            "alerts_repeated": books.alerts_repeated,
            "alerts_missing": self.published.missing,
            "alerts_extra": self.published.extra,
            "database_missing": self.stored.missing,
            "database_extra": self.stored.extra,
            "arrivals_missing": self.arrivals.missing,
            "arrivals_extra": self.arrivals.extra,
            "examples": [*books.lost_examples[:EXAMPLES], *self.examples],
        }


def balance(settings: Settings, bootstrap: str, say: Callable[[str], None]) -> Findings:
    """Audits the topics and compares everything with a replay of the legs logs.

    Raises:
        Problem: the logs cannot be read, or are not what a worker would apply.
    """
    try:
        say("the auditor balances the books")
        books = _audit(settings, bootstrap)
        say("replays the alerts")
        expected = {
            alert.id: alert for traced in retrace(settings, bootstrap) for alert in traced.alerts
        }
        with Shelf(settings, bootstrap) as shelf:
            return _findings(shelf, books, expected, say)
    except (KafkaException, TimeoutError) as error:
        raise Problem("torture: what was left behind cannot be read", str(error)) from error


def _audit(settings: Settings, bootstrap: str) -> Books:
    auditor = Auditor(bootstrap, settings.topics.prefix)
    try:
        auditor.catch_up(AUDIT_SECONDS)
        return auditor.balance(final=True)
    finally:
        auditor.close()


def _findings(
    shelf: Shelf, books: Books, expected: dict[str, Alert], say: Callable[[str], None]
) -> Findings:
    replayed = replay(shelf, say)
    say("compares states, arrivals and alerts")
    restored = {number: shelf.restored(number) for number in shelf.partitions}
    equal, unequal = compare_stands(replayed.stands, restored)
    arrivals = sum(
        (
            compare_arrivals(replayed.given[number], replayed.there[number])
            for number in shelf.partitions
        ),
        Difference(),
    )
    published = compare_alerts(expected, shelf.alerts())
    stored = compare_alerts(expected, stored_alerts(shelf.settings), once=True)
    examples = (*unequal, *arrivals.examples, *published.examples, *stored.examples)
    return Findings(books, equal, len(expected), published, stored, arrivals, examples)


def spread_of(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Median and worst, seconds."""
    return {
        "p50": round(statistics.median(seconds), 2) if seconds else None,
        "max": round(max(seconds), 2) if seconds else None,
        "count": len(seconds),
    }


def is_exact(report: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled, missing or extra, all is equal, and no part failed."""
    return (
        all(report[name] == 0 for name in NOTHING_OF)
        and report["state_equal"] is True
        and report["transactions"] == report["sent"]
        and report["faults"] == []
    )
