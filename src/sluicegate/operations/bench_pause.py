"""How long the stream waits for checkpoints: each piece of some with very many changed rows, timed.

In one process, with the calls that a worker makes: the rows that changed are taken, then copied
slice by slice. Now and then the bench's stream goes on and changes rows that still wait.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.row import ROW, opaque
from sluicegate.memory.words import texts_words
from sluicegate.operations.bench_runs import ACCOUNTS, Json, follow_stream
from sluicegate.operations.readings import Readings, quantile
from sluicegate.settings import Settings
from sluicegate.streaming.checkpoint import Place, chunks, new_owner
from sluicegate.streaming.upkeep import copy_slice

ROWS: Final = 250_000
"""300 MB, all of which have changed."""
TRANSACTIONS: Final = 1_000_000
"""More than are taken of the stream."""
WARM_UP: Final = 300_000
"""Transactions that make rows; the rest of them are these under other names."""
CHECKPOINTS: Final = 3
SLICES_A_BATCH: Final = 10
"""So many for each 10,000 transactions of the stream."""
PAUSES: Final = "sluicegate_worker_checkpoint_pause_seconds"


def pauses_ms(settings: Settings) -> Json:
    """Quantiles, in ms, over all pieces of the checkpoints of one large partition."""
    memory, pieces = AccountMemory(2 * ROWS), list[float]()
    stream = follow_stream(settings, memory, TRANSACTIONS, ACCOUNTS)
    passed = 0
    while passed < WARM_UP:
        passed += len(next(stream)[0])
    more = np.arange(ROWS - len(memory))
    rows: Records = opaque(memory.rows)[more % len(memory)].view(ROW)
    rows["account"] = texts_words([f"A{number:018d}" for number in more], 5)
    memory.put(rows)

    taken: Iterator[bytes] = iter(())

    def take() -> bool:
        nonlocal taken
        memory.begin_sweep()
        memory.mark(range(len(memory)))
        taken = chunks(memory, Place(), new_owner(), 1)
        return False

    for _checkpoint in range(CHECKPOINTS):
        is_whole = _timed(take, pieces)
        while not is_whole:
            if len(pieces) % SLICES_A_BATCH == 0:
                next(stream)
            is_whole = _timed(lambda: copy_slice(memory), pieces)
        for _ in taken:  # as a thread of the worker does: each part is let go when it was written
            pass
    p50, p99, most = np.percentile(pieces, [50, 99, 100]).round(2).tolist()
    said = {"rows": len(memory), "pieces": len(pieces), "whole": round(sum(pieces) / CHECKPOINTS)}
    return said | {"p50": p50, "p99": p99, "max": most}


def _timed(work: Callable[[], bool], pieces: list[float]) -> bool:
    began = time.perf_counter()
    done = work()
    pieces.append((time.perf_counter() - began) * 1000)
    return done


def pauses_shown_ms(shown: Readings) -> Json:
    """The same as a worker shows it; `max` is the bound of the bucket that holds the longest."""
    buckets = shown.buckets(PAUSES)
    pieces = buckets[-1][1] if buckets else 0.0
    if not pieces:
        return {"pieces": 0}
    most = next(bound for bound, count in buckets if count == pieces)
    p50, p99 = (round(1000 * (quantile(share, buckets) or 0.0), 2) for share in (0.5, 0.99))
    return {"pieces": round(pieces), "p50": p50, "p99": p99, "max": round(1000 * most, 2)}
