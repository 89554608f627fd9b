"""A folder in which everything of a demo or a torture happens, and which is gone afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluicegate.operations.guard import Guard

TAIL_LINES: Final = 12
KEPT_LOGS: Final = ("*.log", "broker/broker.log", "broker/broker.out")


@dataclass(frozen=True)
class Stage:
    """A folder for everything, and the guard that clears it should the program die hard."""

    name: str
    folder: Path
    guard: Guard

    @property
    def truth(self) -> Path:
        """Where the bank notes what it planted."""
        return self.folder / "truth.ndjson"

    @property
    def database(self) -> Path:
        """The SQLite file of the desk."""
        return self.folder / "liaison.db"

    def log_tail(self, name: str) -> str:
        """The last lines of the log of a child."""
        try:
            text = (self.folder / f"{name}.log").read_text("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    def keep_logs(self) -> Path:
        """Copy the logs to where they stay, and say where that is."""
        kept = Path(tempfile.mkdtemp(prefix=f"sluicegate-{self.name}-logs-"))
        for pattern in KEPT_LOGS:
            for file in self.folder.glob(pattern):
                shutil.copy(file, kept)
        return kept


@contextmanager
def set_stage(name: str, keep: Path | None = None) -> Iterator[Stage]:
    """A stage that is removed at the end, or one in the folder `keep`, which stays."""
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix=f"sluicegate-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    guard = Guard()
    try:
        if keep is None:
            guard.remove_later(folder)
        yield Stage(name, folder, guard)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        guard.dismiss()
