"""Where the torture takes place: a folder of its own, a guard, and settings that hurry."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluicegate.operations.guard import Guard
from sluicegate.operations.torture_schedule import SESSION_SECONDS
from sluicegate.settings import BrokerSettings, Settings

PARTITIONS: Final = 4
ACCOUNTS: Final = 20_000
"""Room in one partition for all accounts of the city."""
CHECKPOINT_SECONDS: Final = 0.5
"""Short, so that deaths fall into checkpoints."""
SWEEP_SECONDS: Final = 15.0
"""Short, so that they fall into sweeps too, and the changelog is trimmed again and again."""
PATIENCE_SECONDS: Final = 300.0
"""A part that starts while the broker is away waits longer than the broker is away."""
REPEAT_REACH: Final = 50_000
KEPT_LOGS: Final = ("*.log", "broker/broker.log", "broker/broker.out")


@dataclass(frozen=True)
class Stage:
    """A folder for everything, and the guard that clears it should the torture die hard."""

    folder: Path
    guard: Guard

    def keep_logs(self) -> Path:
        """Copy the logs to where they stay, and say where that is."""
        kept = Path(tempfile.mkdtemp(prefix="sluicegate-torture-logs-"))
        for pattern in KEPT_LOGS:
            for file in self.folder.glob(pattern):
                shutil.copy(file, kept)
        return kept


@contextmanager
def set_stage(keep: Path | None) -> Iterator[Stage]:
    """A stage that is removed at the end, or one in the folder `keep`, which stays."""
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="sluicegate-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    guard = Guard()
    try:
        if keep is None:
            guard.remove_later(folder)
        yield Stage(folder, guard)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        guard.dismiss()


def torture_settings(settings: Settings, folder: Path) -> Settings:
    """What is judged is the user's; where it happens, and how fast, is the torture's."""
    loopback: dict[str, Any] = {"metrics_port": 0}
    session = {"session_timeout_seconds": SESSION_SECONDS}
    changes: dict[str, dict[str, Any]] = {
        "topics": {
            "prefix": "",
            "partitions": PARTITIONS,
            "transactions_partitions": PARTITIONS,
            "replication": 1,
            "min_insync_replicas": 1,
        },
        "router": loopback | session | {"repeat_reach": REPEAT_REACH},
        "worker": loopback
        | session
        | {
            "web_port": 0,
            "web_bind": "127.0.0.1",
            "checkpoint_seconds": CHECKPOINT_SECONDS,
            "sweep_seconds": SWEEP_SECONDS,
            "accounts_per_partition": ACCOUNTS,
        },
        "patterns": {"file": settings.patterns.file.absolute()},
        "liaison": loopback | {"database_url": f"sqlite:///{folder / 'liaison.db'}"},
        "metrics": {"bind": "127.0.0.1"},
    }
    sections = {
        name: getattr(settings, name).model_copy(update=change) for name, change in changes.items()
    }
    broker = BrokerSettings(give_up_after_seconds=PATIENCE_SECONDS)
    return settings.model_copy(update=sections | {"broker": broker})
