"""A file of transactions with its labels, and the part of it that is tested."""

from dataclasses import dataclass
from pathlib import Path

from sluicegate.errors import Problem
from sluicegate.history.accounts import account_numbers
from sluicegate.history.events import Events, read_events
from sluicegate.history.labels import Labels, read_labels
from sluicegate.history.metrics import Bools
from sluicegate.history.outcomes import Period
from sluicegate.settings import Settings


@dataclass(frozen=True, slots=True)
class History:
    """Where transactions and their labels are, and how to read them."""

    events: Path
    labels: Path
    columns: str | None = None
    label_columns: str | None = None
    timezone: str = "UTC"

    def read(self) -> tuple[Events, Labels]:
        """Both files.

        Raises:
            Problem: one of them cannot be read, or they do not belong together.
        """
        events = read_events(self.events, columns=self.columns, timezone=self.timezone)
        return events, self.labels_of(events)

    def labels_of(self, events: Events) -> Labels:
        """The labels of transactions that have been read.

        Raises:
            Problem: they cannot be read, or do not belong to these transactions.
        """
        return read_labels(
            self.labels, events, columns=self._label_columns(), timezone=self.timezone
        )

    def _label_columns(self) -> str | None:
        """The map of the labels; without one, the column that is the id of the transactions."""
        if self.label_columns is not None or self.columns is None:
            return self.label_columns
        entries = [entry.strip() for entry in self.columns.split(",")]
        return next((entry for entry in entries if entry.partition("=")[2].strip() == "id"), None)


def first_tested_ms(events: Events, holdout: float) -> int:
    """The moment from which transactions are counted: the last `holdout` of the time."""
    summary = events.summary
    return round(summary.last_ms - holdout * (summary.last_ms - summary.first_ms))


def period_of(settings: Settings, events: Events, labels: Labels, counted: Bools) -> Period:
    """The counted transactions (`[n]`, of the whole file) with what figures need of them.

    Raises:
        Problem: none of them is fraud.
    """
    if not (labels.fraud & counted).any():
        raise Problem(
            "no fraud lies in the test period",
            f"{int(labels.fraud.sum()):,} frauds are labelled, {int(counted.sum()):,} "
            "transactions are tested",
            "raise --holdout: the last share of the time that is tested",
        )
    payer, payee = account_numbers(events)
    occurred = events.frame["occurred_at_ms"].to_numpy()[counted]
    offset_ms = round(settings.worker.utc_offset_hours * 3_600_000)
    return Period(
        payer=payer[counted],
        payee=payee[counted],
        amount_minor=events.frame["amount_minor"].to_numpy()[counted],
        occurred_at_ms=occurred,
        local_day=(occurred + offset_ms) // 86_400_000,
        fraud=labels.fraud[counted],
    )
