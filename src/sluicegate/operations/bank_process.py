"""The bank of the demo, in a process of its own: `python -m sluicegate.operations.bank_process`.

On stdin it is told, a line each: its orders as JSON, the address of the broker once there is one,
and `live` when the present shall begin. On stdout it tells, a JSON object a line, what it has
sent. SIGTERM ends it when all that it has begun to send is acknowledged.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import Event
from typing import IO, Final

from sluicegate.errors import Problem
from sluicegate.operations.bank import Bank, now_ms, truth_file
from sluicegate.operations.bank_orders import GO_LIVE, Orders, Told
from sluicegate.operations.mishaps import Mishaps
from sluicegate.settings import load_settings
from sluicegate.simulation.city import City
from sluicegate.simulation.movements import Chunk
from sluicegate.streaming.sender import Sender

TELL_SECONDS: Final = 0.2


class _Branch:
    """The bank at work, telling what it does."""

    def __init__(self, sender: Sender, truth: IO[bytes], stop: Event) -> None:
        self._sender = sender
        self._stop = stop
        self._bank = Bank(sender, truth, stop, self._tell_if_due)
        self._told = Told()
        self._told_at = 0.0

    def serve_history(self, chunks: Iterable[Chunk]) -> None:
        self._bank.send_history(chunks)
        self._tell(replace(self._told, history_done=not self._stop.is_set()))

    def serve_present(self, city: City, rate: float) -> None:
        begins_at_ms = now_ms()
        self._tell(replace(self._told, live_from_ms=begins_at_ms))
        self._bank.send_present(city, rate, begins_at_ms, mishaps=Mishaps())
        self._tell(self._told)

    def _tell_if_due(self) -> None:
        if time.monotonic() - self._told_at > TELL_SECONDS:
            self._tell(self._told)

    def _tell(self, told: Told) -> None:
        self._told, self._told_at = replace(told, sent=self._sender.sent), time.monotonic()
        sys.stdout.write(self._told.line())
        sys.stdout.flush()


def serve(orders: Orders, stop: Event) -> None:
    """Carry out the orders; the rest of stdin says when."""
    city = City(orders.seed)
    drawn = city.history(orders.history, now_ms()) if orders.history else iter(())
    history = chain([*_first(drawn)], drawn)  # drawn while the broker starts
    bootstrap = sys.stdin.readline().strip()
    if stop.is_set() or not bootstrap:
        return
    with truth_file(Path(orders.truth)) as truth:
        branch = _Branch(Sender(load_settings(), bootstrap), truth, stop)
        branch.serve_history(history)
        if not stop.is_set() and sys.stdin.readline() == GO_LIVE and not stop.is_set():
            branch.serve_present(city, orders.rate)


def _first(chunks: Iterable[Chunk]) -> Iterable[Chunk]:
    for chunk in chunks:
        yield chunk
        return


def main() -> int:
    """Serve what comes on stdin."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    line = sys.stdin.readline()
    try:
        if line:
            serve(Orders.of(line), stop)
    except Problem as problem:
        sys.stderr.write(f"bank: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # all is acknowledged and told; taking the city apart helps nobody
