"""Work that goes on in a thread of its own until it is stopped."""

import threading
from abc import ABC, abstractmethod


class Background(ABC):
    """`_run` is the thread; it ends soon after `_stop` is set."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and waits for that; what is not done is done after the next start."""
        self._stop.set()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None: ...
