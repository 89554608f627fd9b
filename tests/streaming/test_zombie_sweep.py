"""A zombie that begins a sweep: its claim written again takes nothing from the new owner.

Found by the torture (24 kills, seed 5): thawed in the middle of a checkpoint, a worker wrote its
claim again after its successor's, and from there on its checkpoints counted and the others did not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.streaming.flow import CAPACITY

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.streaming.checkpoint import Restorer, claim, new_owner
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.table import SlabStore, Written

if TYPE_CHECKING:
    from collections.abc import Iterable


class Log:
    """A changelog partition in memory, in which others may write too."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def write(self, _partition: int, values: Iterable[bytes]) -> Written:
        first, new = len(self.values), list(values)
        self.values += new
        return Written(sum(map(len, new)), first, len(self.values) - 1, len(new))

    def read(self, _partition: int, start: int, stop: int) -> list[bytes]:
        return self.values[start:stop]


def test_a_claim_written_again_by_a_zombie_does_not_take_the_partition_back() -> None:
    log, zombie, successor = Log(), new_owner(), new_owner()
    store = SlabStore.__new__(SlabStore)
    store.__post_init__()
    store.attach(log, "w0", lambda: AccountMemory(CAPACITY))  # type: ignore[arg-type]
    log.write(0, [claim(zombie, "w0")])
    store.owners[0], store._read[0] = zombie, 0
    partition = Partition(0, AccountMemory(CAPACITY))
    write = store.take_checkpoint(partition, renews=True)
    log.write(0, [claim(successor, "w1")])  # while the zombie was frozen
    with pytest.raises(Problem, match="claimed by another worker"):
        write()
    restorer = Restorer(AccountMemory(CAPACITY))
    for value in log.values:
        restorer.feed(value)
    assert restorer.owner == successor
    assert restorer.number == 0
