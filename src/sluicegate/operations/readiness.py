"""Whether a part is alive and does its work, as it says itself; served beside its figures."""

import json
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Final
from wsgiref.types import StartResponse

ALIVE, READY = PATHS = ("/healthz", "/readyz")
SILENT_SECONDS: Final = 15.0
"""A part that has said nothing of itself for so long is not ready: its loop stands still."""
DEAD_SECONDS: Final = 120.0
"""And for so long: not alive."""


class Readiness:
    """The last word of a part about itself. Each part reports about once a second, from its loop.

    `report` and the rest may be called from different threads.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self._said: tuple[float, tuple[str, ...]] | None = None

    def report(self, *reasons: str) -> None:
        """Why the part cannot do its work now; no reason: it can."""
        self._said = (time.monotonic(), reasons)

    def reasons(self) -> tuple[str, ...]:
        """Why the part is not ready; empty: it is."""
        if self._said is None:
            return ("starts",)
        silent = self._silent_seconds()
        if silent > SILENT_SECONDS:
            return (f"has said nothing of itself for {silent:.0f} s",)
        return self._said[1]

    def is_alive(self) -> bool:
        """False when its loop has stood still for minutes; while it starts it counts as alive."""
        return self._silent_seconds() <= DEAD_SECONDS

    def answer(self, path: str, start: StartResponse) -> Iterable[bytes]:
        """The answer to one of `PATHS`: 200 or 503, and why, as JSON."""
        well = self.is_alive() if path == ALIVE else not self.reasons()
        told = self.told() | {"alive" if path == ALIVE else "ready": well}
        start(
            "200 OK" if well else "503 Service Unavailable",
            [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
        )
        return [json.dumps(told, ensure_ascii=False).encode()]

    def told(self) -> dict[str, object]:
        """What is said of the part, without the verdict."""
        return {
            "part": self._part,
            "version": version("sluicegate"),
            "reasons": list(self.reasons()),
        }

    def _silent_seconds(self) -> float:
        return 0.0 if self._said is None else time.monotonic() - self._said[0]
