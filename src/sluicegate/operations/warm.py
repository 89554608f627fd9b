"""Compiles every kernel once, so that no first start waits for it: `make setup` runs this.

A few thousand simulated transactions go the way of live ones, in memory: what a kernel is called
with there is what it is compiled for here, and kept in numba's cache on disk.
"""

import sys
from itertools import pairwise
from typing import Final

import numpy as np

from sluicegate.domain.transaction import Rules
from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Scorer
from sluicegate.settings import Settings, load_settings
from sluicegate.simulation.city import FILE_MOMENT_MS, City
from sluicegate.streaming.decoder import Decoded, Decoder
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.repeats import Repeats
from sluicegate.streaming.routing import Chains, Places, first_legs
from sluicegate.streaming.scoring import scoring_of

TRANSACTIONS: Final = 4_000
ACCOUNTS: Final = 4_000
CAPACITY: Final = 100_000
CHECKPOINT_ROWS: Final = 1_000


def warm(settings: Settings) -> int:
    """Send a small city through router and worker; how many legs were judged.

    Raises:
        Problem: The patterns have a mistake, or the cache cannot be written.
    """
    scorer = scoring_of(settings).scorer
    decoded = _decoded(settings)
    rows = np.arange(len(decoded.row_index))
    places = Places(np.zeros_like(rows), rows, decoded.occurred_at_ms)
    Repeats(len(rows)).judge(decoded, rows, rows)
    judged = _through_workers(settings, scorer, decoded, places)
    _through_a_file(scorer, decoded, places)
    return judged


def _decoded(settings: Settings) -> Decoded:
    city = City(1, ACCOUNTS)
    values = [
        value
        for chunk in city.history(TRANSACTIONS, FILE_MOMENT_MS)
        for _, value in chunk.messages()
    ]
    contract = settings.contract
    rules = Rules(contract.base_currency, contract.max_ahead_seconds * 1000, contract.max_bytes)
    return Decoder(rules).decode(values, np.full(len(values), FILE_MOMENT_MS))


def _through_workers(settings: Settings, scorer: Scorer, decoded: Decoded, places: Places) -> int:
    """Departures, then the arrivals that they send on, then a restored checkpoint."""
    count = settings.topics.partitions
    partitions = [Partition(number, AccountMemory(CAPACITY)) for number in range(count)]
    outbox, chains, judged = Outbox(count), Chains(count), 0
    cuts = range(0, len(places.position) + 1, len(places.position) // 4)
    for start, end in pairwise(cuts):
        messages = list(chains.messages(decoded, places, np.arange(start, end)))
        while messages:
            for number, value in messages:
                partition = partitions[number]
                applied = partition.apply(partition.place.applied + 1, value, scorer)
                if applied is not None:
                    judged += len(applied.legs)
                    outbox.add(partition, applied.stepped.arrivals)
            messages = list(outbox.drain())
    restored = AccountMemory(CAPACITY)
    for changed in partitions[0].memory.take_dirty(CHECKPOINT_ROWS):
        restored.put(changed)
    return judged


def _through_a_file(scorer: Scorer, decoded: Decoded, places: Places) -> None:
    """Whole transactions, as `score` steps them, and a question that remembers nothing."""
    legs = first_legs(decoded, places, np.arange(len(places.position)))
    memory = AccountMemory(CAPACITY)
    memory.follow(legs, scorer)
    memory.judge(legs[:10], scorer)


def main() -> int:
    """0 when all is compiled, 1 with the reason when it cannot be."""
    try:
        warm(load_settings())
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
