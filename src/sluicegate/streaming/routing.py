"""From decoded transactions to legs messages: first legs, sorted by partition and chained.

What is told of accounts goes the same way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from sluicegate.memory.accounts import Records
from sluicegate.memory.row import ARRIVAL, DEPARTURE, FLAG_OUTSIDE, LEG
from sluicegate.streaming.decoder import Decoded
from sluicegate.streaming.legs import MOST_RECORDS, NOTHING_BEFORE, Link, RecordType, Source, pack
from sluicegate.streaming.partitioning import partitions_of

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Places:
    """Where each row of a batch came from; `[n]` each."""

    source_partition: Ints
    position: Ints
    recorded_at_ms: Ints


@nb.njit(cache=True, nogil=True)
def _fill(
    legs, rows, transaction, payer, payee, amount_minor, occurred_at_ms, channel, kind,
    source_partition, position, recorded_at_ms, departure, arrival, outside,
):  # fmt: skip
    for k in range(legs.shape[0]):
        i = rows[k]
        leg = legs[k]
        cash_in = payer[i, 0] == 0
        for w in range(5):
            leg.account[w] = payee[i, w] if cash_in else payer[i, w]
            # `0 if ... else word` would become a float and lose digits.
            leg.counterparty[w] = np.uint64(0) if cash_in else payee[i, w]
        for w in range(8):
            leg.transaction[w] = transaction[i, w]
        leg.position = position[i]
        leg.occurred_at_ms = occurred_at_ms[i]
        leg.recorded_at_ms = recorded_at_ms[i]
        leg.amount_minor = amount_minor[i]
        leg.source_partition = source_partition[i]
        leg.side = arrival if cash_in else departure
        leg.channel = channel[i]
        leg.kind = kind[i]
        leg.flags = outside if payee[i, 0] == 0 else 0
        for p in range(leg.provenance.shape[0]):
            leg.provenance[p] = np.nan


def first_legs(decoded: Decoded, places: Places, rows: Ints) -> Records:
    """The first leg of each chosen row: the departure, or the arrival of cash paid in.

    `rows` (`[k]`) are rows of `decoded`, in the order wanted; `places` has one entry a row.
    """
    legs: Records = np.empty(len(rows), LEG)
    _fill(
        legs, rows, decoded.transaction, decoded.payer, decoded.payee, decoded.amount_minor,
        decoded.occurred_at_ms, decoded.channel, decoded.kind, places.source_partition,
        places.position, places.recorded_at_ms, DEPARTURE, ARRIVAL, FLAG_OUTSIDE,
    )  # fmt: skip
    return legs


class Chains:
    """The last position sent to each legs partition, by partition of one source."""

    def __init__(self, partitions: int, source: Source = Source.TRANSACTIONS) -> None:
        self.partitions = partitions
        self._source = source
        self.sent: dict[int, Ints] = {}

    def last(self, source_partition: int) -> Ints:
        """`[partitions]`: the last positions sent; NOTHING_BEFORE where none was."""
        if source_partition not in self.sent:
            self.sent[source_partition] = np.full(self.partitions, NOTHING_BEFORE, np.int64)
        return self.sent[source_partition]

    def messages(
        self,
        decoded: Decoded,
        places: Places,
        rows: Ints,
        mark: Callable[[Records], None] = lambda _legs: None,
    ) -> Iterator[tuple[int, bytes]]:
        """Legs messages for the chosen rows, as (partition, value); notes them as sent.

        Rows of one source partition must come in the order of their positions. `mark` may set
        flags of the legs.
        """
        accounts = np.where(decoded.payer[:, :1] != 0, decoded.payer, decoded.payee)
        targets = partitions_of(accounts, self.partitions)[rows].astype(np.int16)
        order = np.argsort(targets, kind="stable")
        legs = first_legs(decoded, places, rows[order])
        mark(legs)
        yield from self._packed(RecordType.DEPARTURES, legs, targets[order])

    def told(self, batch_type: RecordType, records: Records) -> Iterator[tuple[int, bytes]]:
        """Legs messages for profiles or directives, in the order of their positions."""
        targets = partitions_of(records["account"], self.partitions)
        order = np.argsort(targets, kind="stable")
        yield from self._packed(batch_type, records[order], targets[order])

    def to_all(self, batch_type: RecordType, records: Records) -> Iterator[tuple[int, bytes]]:
        """Legs messages that tell every partition the same."""
        for target in range(self.partitions):
            yield (
                target,
                pack(batch_type, self._source, list(self._links(target, records)), records),
            )

    def _packed(
        self, batch_type: RecordType, records: Records, targets: npt.NDArray[np.integer[Any]]
    ) -> Iterator[tuple[int, bytes]]:
        cuts = np.searchsorted(targets, np.arange(self.partitions + 1))
        for target in range(self.partitions):
            chosen = records[cuts[target] : cuts[target + 1]]
            for start in range(0, len(chosen), MOST_RECORDS):
                part = chosen[start : start + MOST_RECORDS]
                links = list(self._links(target, part))
                yield target, pack(batch_type, self._source, links, part)

    def _links(self, target: int, part: Records) -> Iterator[Link]:
        sources = part["source_partition"]
        alone = sources[0] == sources[-1] and bool((sources == sources[0]).all())
        for source in [int(sources[0])] if alone else np.unique(sources).tolist():
            positions = part["position"] if alone else part["position"][sources == source]
            last = self.last(source)
            yield Link(source, int(positions[0]), int(positions[-1]), int(last[target]))
            last[target] = positions[-1]
