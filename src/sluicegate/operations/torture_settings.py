"""The settings of the torture, which hurry."""

from typing import Any, Final

from sluicegate.operations.stage import Stage
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


def torture_settings(settings: Settings, stage: Stage) -> Settings:
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
        "liaison": loopback | {"database_url": f"sqlite:///{stage.database}"},
        "metrics": {"bind": "127.0.0.1"},
    }
    broker = BrokerSettings(give_up_after_seconds=PATIENCE_SECONDS)
    return settings.changed(**changes).model_copy(update={"broker": broker})
