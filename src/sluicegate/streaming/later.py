"""Calls that are put off a little, so that one does for many."""

import asyncio
import time
from collections.abc import Callable


class Later:
    """A call that may wait, in the thread of the event loop; `failed` hears of what it raises."""

    def __init__(self, call: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._call = call
        self._failed = failed
        self._called_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> None:
        """Calls, and nothing waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._called_at = time.monotonic()
        self._call()

    def within(self, seconds: float) -> None:
        """Calls as soon as so long has passed since the last call."""
        wait = self._called_at + seconds - time.monotonic()
        if wait <= 0:
            self.now()
            return
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() > loop.time() + wait:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(wait, self._due)

    def _due(self) -> None:
        try:
            self.now()
        except Exception as error:  # noqa: BLE001 - the event loop would only log it
            self._failed(error)
