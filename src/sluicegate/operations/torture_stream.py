"""The bank of the torture: a fixed stream of the simulated city, with its faults, sent steadily.

The same seed, rate and length give the same messages in the same order, but for the date of one
malformed message that has to lie in the future.
"""

import time
from collections.abc import Iterator, Sequence
from random import Random
from threading import Event, Thread
from typing import Final

from sluicegate.operations.mishaps import Mishaps
from sluicegate.settings import Settings
from sluicegate.simulation.city import FILE_MOMENT_MS, City
from sluicegate.streaming.sender import Keyed, Sender

ACCOUNTS: Final = 10_000
CHUNK_MS: Final = 100
MISHAP_EVERY: Final = 7
REPEAT_EVERY: Final = 5
REMEMBERED_CHUNKS: Final = 50


def fixed_stream(seed: int, rate: float, seconds: float) -> Iterator[Sequence[Keyed]]:
    """What the bank sends in each tenth of a second.

    Every half a second it sends again one transaction of the last five seconds; now and then
    something that nobody can read.
    """
    rng, mishaps = Random(seed), Mishaps()
    remembered: list[Keyed] = []
    chunks = City(seed, ACCOUNTS).live(FILE_MOMENT_MS, rate, chunk_ms=CHUNK_MS)
    for number in range(round(seconds * 1000 / CHUNK_MS)):
        messages: list[Keyed] = [*next(chunks).messages()]
        if messages:
            remembered = [*remembered, rng.choice(messages)][-REMEMBERED_CHUNKS:]
        if number % REPEAT_EVERY == REPEAT_EVERY - 1 and remembered:
            messages.append(rng.choice(remembered))
        if number % MISHAP_EVERY == MISHAP_EVERY - 1:
            messages += mishaps.after(messages)
        yield messages


class Bank:
    """Sends the stream in a thread of its own, each tenth of a second when it is due."""

    def __init__(
        self, settings: Settings, bootstrap: str, stream: Iterator[Sequence[Keyed]]
    ) -> None:
        self._sender = Sender(settings, bootstrap)
        self._stream = stream
        self._stop = Event()
        self._thread = Thread(target=self._serve, name="bank", daemon=True)
        self.failure: Exception | None = None

    @property
    def sent(self) -> int:
        """Messages handed over."""
        return self._sender.sent

    @property
    def is_done(self) -> bool:
        """Whether all of it was sent and acknowledged, or that failed."""
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begin now."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - told to whoever asks
            self.failure = error

    def _send(self) -> None:
        began_at = time.monotonic()
        for number, messages in enumerate(self._stream):
            due_at = began_at + number * CHUNK_MS / 1000
            if self._stop.wait(max(0.0, due_at - time.monotonic())):
                return
            self._sender.send_all(messages)
        self._sender.finish()
