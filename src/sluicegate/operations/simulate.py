"""`sluicegate simulate`: the city's stream into Kafka or into a file."""

import sys
from collections.abc import Iterator
from itertools import chain, takewhile
from pathlib import Path

from sluicegate.errors import Problem
from sluicegate.operations.bank import Bank, now_ms, truth_file
from sluicegate.operations.parts import stop_on_signals
from sluicegate.settings import Settings
from sluicegate.simulation.city import FILE_MOMENT_MS, City, write_ndjson
from sluicegate.simulation.movements import Chunk
from sluicegate.streaming.sender import Sender


def send_simulation(
    settings: Settings,
    bootstrap: str,
    truth: Path | None,
    *,
    seed: int,
    history: int,
    rate: float,
    seconds: float | None,
) -> None:
    """A history that ends now, then the present for `seconds`, or until SIGINT or SIGTERM.

    Raises:
        Problem: The topic is not there, the broker refuses a message, or `truth` cannot be
            written.
    """
    stop = stop_on_signals()
    city = City(seed)
    sender = Sender(settings, bootstrap)
    with truth_file(truth) as noted:
        bank = Bank(sender, noted, stop)
        if history:
            bank.send_history(city.history(history, now_ms()))
            sys.stderr.write(f"{sender.sent:,} of history sent\n")
        if not stop.is_set():
            bank.send_present(city, rate, now_ms(), seconds=seconds)
    sys.stderr.write(f"{sender.sent:,} sent\n")


def write_simulation(
    out: Path, truth: Path | None, *, seed: int, history: int, rate: float, seconds: float
) -> int:
    """The same into an ndjson file, around a fixed moment: the same arguments, the same file.

    Returns how many transactions there are.

    Raises:
        Problem: A file cannot be written.
    """
    city = City(seed)
    chunks = chain(
        city.history(history, FILE_MOMENT_MS) if history else (), _present(city, rate, seconds)
    )
    try:
        return write_ndjson(out, chunks, truth)
    except OSError as error:
        raise Problem(f"{error.filename}: cannot be written", str(error.strerror)) from error


def _present(city: City, rate: float, seconds: float) -> Iterator[Chunk]:
    ends_at_ms = FILE_MOMENT_MS + round(seconds * 1000)
    return takewhile(lambda chunk: chunk.until_ms <= ends_at_ms, city.live(FILE_MOMENT_MS, rate))
