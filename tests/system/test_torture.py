"""A short torture of everything, and the liaison consumer alone against an uninterrupted run."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.system.commands import COMMAND, ROOT
from tests.system.pipeline import Pipeline
from tests.system.traffic import Town

from sluicegate.operations.torture_evidence import stored_alerts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

KILLS = 9
SEED = 1
TRANSACTIONS = 300
KILL_EVERY = 6
AN_HOUR_MS = 3_600_000


@pytest.mark.timeout(420)
def test_whatever_dies_nothing_is_lost_doubled_or_changed(tmp_path: Path) -> None:
    report = tmp_path / "torture.json"
    done = subprocess.run(
        [
            *(COMMAND, "torture", "--kills", str(KILLS), "--seed", str(SEED)),
            *("--rate", "500", "--report", report),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    said = f"{done.stderr}\n{report.read_text(encoding='utf-8') if report.exists() else ''}"
    assert done.returncode == 0, said
    told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert sum(told["kills"].values()) >= KILLS
    assert min(told["kills"].values()) >= KILLS // 3
    assert told["rebalances"] >= 3
    assert (told["zombies"], told["broker_restarts"]) == (1, 1)
    assert told["transactions"] == told["scored"] + told["repeats"] + told["dead_lettered"]
    assert told["transactions"] > 10_000
    assert told["alerts"] > 10
    assert told["repeats"] > 10
    assert told["recovery_seconds"]["count"] >= 2  # who dies before its first leg has none


def rounds_of(transactions: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The stream cut so that within a round no account is touched twice: no order is left open."""
    touched: set[str] = set()
    current: list[bytes] = []
    for value in transactions:
        fields = json.loads(value)
        accounts = {fields["payer_account"], fields["payee_account"]} - {None}
        if accounts & touched:
            yield current
            touched, current = set(), []
        touched |= accounts
        current.append(value)
    yield current


def alerts_of(pipeline: Pipeline, began_ms: int, *, kill_liaison: bool) -> dict[str, Any]:
    """What the desk's database holds at the end, but for the times of the run."""
    pipeline.start("router")
    pipeline.start("worker")
    liaison = pipeline.start("liaison")
    sent = 0
    for number, values in enumerate(rounds_of(Town(3, began_ms).transactions(TRANSACTIONS))):
        for place, value in enumerate(values):
            pipeline.send([value], partition=place % 4)
        sent += len(values)
        pipeline.until_scored(sent)
        if kill_liaison and number % KILL_EVERY == 0:
            liaison.kill()
            liaison = pipeline.start("liaison")
    raised = pipeline.alerts()
    pipeline.until(
        lambda: len(stored_alerts(pipeline.settings)) >= len(raised), "all alerts to be stored"
    )
    stored = {alert.id: alert for alert in stored_alerts(pipeline.settings)}
    assert stored == raised
    return {
        name: alert.model_dump(exclude={"detected_at", "recorded_at"})
        for name, alert in stored.items()
    }


def test_where_only_the_liaison_consumer_is_killed_all_equals_the_uninterrupted_run(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    began_ms = round(time.time() * 1000) - 200 * AN_HOUR_MS
    runs = []
    for name, kill_liaison in (("calm", False), ("killed", True)):
        folder = tmp_path / name
        folder.mkdir()
        with Pipeline(broker.bootstrap, f"{topic_prefix}{name}-", folder) as pipeline:
            runs.append(alerts_of(pipeline, began_ms, kill_liaison=kill_liaison))
    assert len(runs[0]) > 10
    assert runs[0] == runs[1]
