"""What figures cost the worker: the same legs judged with and without them, delivery by delivery.

In one process and on one stream, because two runs of the pipeline differ by more than figures cost.
Of each two deliveries one is counted; which one, changes from pair to pair.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from prometheus_client import generate_latest
from rich.console import Console

from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.bench import machine
from sluicegate.operations.bench_runs import ACCOUNTS, decoded_stream
from sluicegate.operations.metrics import Metrics, Part
from sluicegate.settings import Settings
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.routing import Chains
from sluicegate.streaming.scoring import scoring_of
from sluicegate.streaming.unjudged import UnjudgedLeg

TRANSACTIONS: Final = 600_000
MESSAGES: Final = 8
"""In a delivery of the reader."""
LEGS_A_MESSAGE: Final = {"backlog": 750, "live": 5}
SHARE: Final = {"backlog": 1.0, "live": 0.05}
"""Of the stream: small messages take longer."""
SCRAPE_SECONDS: Final = 5.0

Delivery = list[bytes]


def run_metrics_bench(settings: Settings, *, report: Path | None) -> None:
    """Measures, prints, writes a JSON report (default: docs/benchmarks/<day>-metrics.json)."""
    console = Console(stderr=True)
    out = report or Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}-metrics.json"
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("sluicegate"),
        "machine": machine(),
    }
    for regime, legs in LEGS_A_MESSAGE.items():
        console.print(f"{regime}: {legs} legs a message")
        count = int(TRANSACTIONS * SHARE[regime])
        result[regime] = _compared(settings, count, legs)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for regime in LEGS_A_MESSAGE:
        told = result[regime]
        console.print(
            f"{regime}: {told['us_per_leg_without']} us a leg, with figures "
            f"{told['us_per_leg_with']} us; figures alone {told['share_of_figures']:.2%}; "
            f"a scrape {told['scrape_ms']} ms"
        )
    console.print(f"written to {out}")


def _compared(settings: Settings, transactions: int, legs_a_message: int) -> dict[str, Any]:
    scoring = scoring_of(settings)
    partition = Partition(0, AccountMemory(ACCOUNTS * 2))
    metrics = Metrics(Part.WORKER)
    figures = WorkerFigures(metrics)
    seconds, legs, inside = [0.0, 0.0], [0, 0], 0.0
    offset = 0
    for number, delivery in enumerate(_deliveries(transactions, legs_a_message)):
        counted = (number + number // 2) % 2
        began = time.perf_counter()
        for value in delivery:
            applied = partition.apply(offset, value, scoring.scorer)
            offset += 1
            if applied is None:
                continue
            alerts = list(alerts_of(applied, scoring.pattern_set, "CNY", 0))
            legs[counted] += len(applied.legs)
            if counted:
                at = time.perf_counter()
                figures.alerts([each for each in alerts if not isinstance(each, UnjudgedLeg)])
                figures.applied(0, applied)
                inside += time.perf_counter() - at
        if counted:
            at = time.perf_counter()
            figures.turn(0.001)
            inside += time.perf_counter() - at
        seconds[counted] += time.perf_counter() - began
    return {
        "legs": sum(legs),
        "us_per_leg_without": round(seconds[0] / legs[0] * 1e6, 3),
        "us_per_leg_with": round(seconds[1] / legs[1] * 1e6, 3),
        "us_per_leg_of_figures": round(inside / legs[1] * 1e6, 4),
        "share_of_figures": round(inside / (seconds[1] - inside), 5),
        "scrape_ms": round(_scrape_seconds(metrics) * 1000, 2),
        "share_of_scrapes": round(_scrape_seconds(metrics) / SCRAPE_SECONDS, 6),
    }


def _deliveries(transactions: int, legs_a_message: int) -> Iterator[Delivery]:
    """Departures of the bench's stream as the router packs them, for one partition."""
    chains = Chains(1)
    gathered: Delivery = []
    for decoded, places in decoded_stream(transactions, ACCOUNTS):
        rows = np.arange(len(decoded.row_index))
        for start in range(0, len(rows), legs_a_message):
            part = rows[start : start + legs_a_message]
            gathered += [value for _, value in chains.messages(decoded, places, part)]
            if len(gathered) >= MESSAGES:
                yield gathered
                gathered = []


def _scrape_seconds(metrics: Metrics) -> float:
    began = time.perf_counter()
    for _ in range(20):
        generate_latest(metrics.registry)
    return (time.perf_counter() - began) / 20
