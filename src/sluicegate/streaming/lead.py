"""How far the router runs ahead of the workers, and how far it may.

While it catches up with a backlog the router must not run away: an arrival would be overtaken by
later departures, and windows would be judged in the wrong order. Workers publish the legs offset
they have applied; what was sent beyond it is the lead.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Sent:
    """A legs message that is not yet known to be applied."""

    transactions_before: int
    event_time_ms: int
    offset: int | None = None
    """Where it lies in the log; None until it is acknowledged."""


class Lead:
    """What was sent and is not yet known to be applied, by legs partition. Pure."""

    def __init__(self, most_transactions: int, most_ms: int) -> None:
        self._most_transactions = most_transactions
        self._most_ms = most_ms
        self._unapplied: dict[int, deque[_Sent]] = {}
        self._unacknowledged: dict[int, deque[_Sent]] = {}
        """Those of them that have no offset yet: not looked for among thousands at each answer."""
        self._applied: dict[int, int] = {}
        self.count = 0
        """Transactions sent so far."""

    def sent(self, partitions: Iterable[int], transactions: int, event_time_ms: int) -> None:
        """So many transactions, from this event time on, went into messages to these partitions."""
        for partition in partitions:
            message = _Sent(self.count, event_time_ms)
            self._unapplied.setdefault(partition, deque()).append(message)
            self._unacknowledged.setdefault(partition, deque()).append(message)
        self.count += transactions

    def acknowledged(self, partition: int, offset: int) -> None:
        """The next message to a partition lies in the log; they come in the order of sending."""
        self._unacknowledged[partition].popleft().offset = offset
        self._forget_applied(partition)

    def applied(self, offsets: Mapping[int, int]) -> None:
        """Workers have applied the legs logs up to these offsets."""
        self._applied.update(offsets)
        for partition in offsets:
            self._forget_applied(partition)

    def _forget_applied(self, partition: int) -> None:
        applied, waiting = self._applied.get(partition, -1), self._unapplied.get(partition)
        while waiting and waiting[0].offset is not None and waiting[0].offset <= applied:
            waiting.popleft()

    def allows(self, event_time_ms: int) -> bool:
        """Whether more may be sent, the next from this event time: the wider bound holds."""
        oldest = min(
            (waiting[0] for waiting in self._unapplied.values() if waiting),
            key=lambda sent: sent.transactions_before,
            default=None,
        )
        if oldest is None:
            return True
        return (
            self.count - oldest.transactions_before < self._most_transactions
            or event_time_ms - oldest.event_time_ms < self._most_ms
        )

    @property
    def transactions(self) -> int:
        """Transactions sent since the oldest that is not yet known to be applied."""
        waiting = [sent[0].transactions_before for sent in self._unapplied.values() if sent]
        return self.count - min(waiting) if waiting else 0

    def batches(self) -> dict[int, int]:
        """Legs messages that are not yet known to be applied, by partition."""
        return {partition: len(sent) for partition, sent in self._unapplied.items()}

    def slowest(self) -> int | None:
        """The legs partition that is furthest behind, if any is."""
        waiting = {p: sent[0].transactions_before for p, sent in self._unapplied.items() if sent}
        return min(waiting, key=waiting.__getitem__, default=None)
