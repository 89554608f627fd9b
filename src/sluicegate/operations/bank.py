"""The simulated bank: the city's stream, sent as a bank sends its transactions.

First months of history as fast as the broker takes them, then the present at a steady rate, each
transaction within 20 ms of the moment at which it says that it happened.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import IO, Final

import numpy as np

from sluicegate.errors import Problem
from sluicegate.operations.mishaps import Mishaps
from sluicegate.simulation.city import City
from sluicegate.simulation.movements import Chunk
from sluicegate.streaming.sender import Keyed, Sender

TICK_MS: Final = 20
NOWHERE: Final = Path("/dev/null")


@dataclass(frozen=True)
class Stretch:
    """Transactions that are due together: none of them happens after `due_ms`."""

    due_ms: int
    messages: Sequence[Keyed]


def stretches(chunk: Chunk, begins_at_ms: int) -> Iterator[Stretch]:
    """A chunk of the present in ticks of 20 ms; `begins_at_ms` is the end of the one before."""
    messages = chunk.messages()
    edges_ms = np.append(np.arange(begins_at_ms, chunk.until_ms, TICK_MS), chunk.until_ms)
    cuts = np.searchsorted(chunk.movements.occurred_at_ms, edges_ms).tolist()
    cuts[0], cuts[-1] = 0, len(messages)
    for due_ms, (start, end) in zip(edges_ms[1:].tolist(), pairwise(cuts), strict=True):
        yield Stretch(due_ms, messages[start:end])


class Bank:
    """Sends until `stop` is set, and calls `say` now and then.

    The planted transactions are written to `truth` before they are sent.
    """

    def __init__(
        self,
        sender: Sender,
        truth: IO[bytes],
        stop: Event,
        say: Callable[[], None] = lambda: None,
    ) -> None:
        self._sender = sender
        self._truth = truth
        self._stop = stop
        self._say = say

    def send_history(self, chunks: Iterable[Chunk]) -> None:
        """Months that have passed, as fast as the broker takes them."""
        for chunk in chunks:
            if self._stop.is_set():
                break
            self._note_truth(chunk)
            self._sender.send_all(chunk.messages())
            self._say()
        self._sender.finish()

    def send_present(
        self,
        city: City,
        rate: float,
        begins_at_ms: int,
        *,
        seconds: float | None = None,
        mishaps: Mishaps | None = None,
    ) -> None:
        """`rate` transactions a second from `begins_at_ms`, which is now, for `seconds`.

        The moment stands in the truth as `live_from_ms`; a chunk that was begun is sent whole.
        """
        ends_at_ms = begins_at_ms + round(seconds * 1000) if seconds is not None else None
        self._truth.write(json.dumps({"live_from_ms": begins_at_ms}).encode() + b"\n")
        for chunk in city.live(begins_at_ms, rate):
            if self._stop.is_set() or (ends_at_ms is not None and begins_at_ms >= ends_at_ms):
                break
            self._note_truth(chunk)
            for stretch in stretches(chunk, begins_at_ms):
                self._send_when_due(stretch)
            if mishaps is not None:
                self._sender.send_all(mishaps.after(chunk.messages()))
            begins_at_ms = chunk.until_ms
        self._sender.finish()

    def _send_when_due(self, stretch: Stretch) -> None:
        self._say()
        while (left_ms := stretch.due_ms - now_ms()) > 0:
            time.sleep(left_ms / 1000)
        self._sender.send_all(stretch.messages)

    def _note_truth(self, chunk: Chunk) -> None:
        self._truth.write(chunk.truth_ndjson())
        self._truth.flush()


def now_ms() -> int:
    """The present, in milliseconds since the epoch: when the simulated money moves."""
    return time.time_ns() // 1_000_000


@contextmanager
def truth_file(path: Path | None) -> Iterator[IO[bytes]]:
    """Where the truth goes; without a path, nowhere.

    Raises:
        Problem: The file cannot be written.
    """
    try:
        file = (path or NOWHERE).open("wb")
    except OSError as error:
        raise Problem(f"{path}: the truth cannot be written", str(error)) from error
    with file:
        yield file
