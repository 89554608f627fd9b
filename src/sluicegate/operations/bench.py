"""Measures the pipeline on this machine: throughput, CPU, memory, latency, exactness of alerts.

The broker, the router and the worker run as they do for users, as processes on the same cores.
Each figure of throughput is the median of several runs, each on fresh topics, after a warm-up run
that is not counted: a broker that has just started spends half of its time compiling itself.
Latency is open-loop: a transaction carries the time at which it was due as its Kafka timestamp,
so that waiting anywhere is counted, in the load generator too.
"""

import json
import os
import platform
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from sluicegate.operations.bench_runs import (
    ACCOUNTS,
    Alerts,
    Bench,
    Catch,
    Json,
    strict_order_alerts,
)
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import Settings

TRANSACTIONS: Final = 2_000_000
WARM_UP: Final = 1_500_000
RATE: Final = 5_000


def run_bench(settings: Settings, *, report: Path | None, short: bool) -> None:
    """Measures, prints a table and writes the JSON report (default: docs/benchmarks/<day>.json).

    Raises:
        Problem: a part stopped, or nothing went on.
    """
    console = Console(stderr=True)
    out = report or Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}.json"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-bench-")))
        console.print("starts a broker, makes and passes a warm-up of the stream")
        broker = stack.enter_context(EmbeddedBroker())
        bench = Bench(settings, broker, folder)
        bench.catch_up("warm-", WARM_UP)
        catches = []
        for run in range(1 if short else 3):
            catches.append(bench.catch_up(f"run{run}-", TRANSACTIONS))
            console.print(f"run {run + 1}: {TRANSACTIONS / catches[-1].seconds:,.0f} a second")
        console.print(f"live at {RATE:,} a second")
        latencies = bench.live("live-", RATE, 20 if short else 60)
    console.print("scores the same stream in strict order of time")
    in_order = strict_order_alerts(settings, TRANSACTIONS)
    result = _result(catches, latencies, in_order, short=short)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    Console().print(_table(result))
    console.print(f"written to {out}")


def _result(
    catches: list[Catch],
    latencies: list[float],
    in_order: Alerts,
    *,
    short: bool,
) -> Json:
    rates = [TRANSACTIONS / each.seconds for each in catches]
    middle = sorted(catches, key=lambda each: each.seconds)[len(catches) // 2]
    p50, p99, p999 = np.percentile(latencies, [50, 99, 99.9]).round(1).tolist()
    alerted, alerted_in_order = set(middle.alerts.values()), set(in_order.values())
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("sluicegate"),
        "machine": machine(),
        "short": short,
        "transactions": TRANSACTIONS,
        "accounts": ACCOUNTS,
        "runs": len(catches),
        "throughput_tx_s": round(statistics.median(rates)),
        "throughput_tx_s_range": [round(min(rates)), round(max(rates))],
        "cpu_us_per_tx": {name: round(us, 2) for name, us in middle.cpu_us.items()},
        "peak_rss_mb": {name: round(mb) for name, mb in middle.peak_mb.items()},
        "start_seconds": round(statistics.median(each.start_seconds for each in catches), 1),
        "alerts": len(middle.alerts),
        "alerts_in_order": len(in_order),
        "alerts_missing": len(in_order.keys() - middle.alerts.keys()),
        "alerts_extra": len(middle.alerts.keys() - in_order.keys()),
        "alerted_accounts": len(alerted),
        "alerted_accounts_in_order": len(alerted_in_order),
        "alerted_accounts_missing": len(alerted_in_order - alerted),
        "alerted_accounts_extra": len(alerted - alerted_in_order),
        "latency_ms_at_5000": {"p50": p50, "p99": p99, "p999": p999},
        "latency_samples": len(latencies),
    }


def _table(result: Json) -> Table:
    table = Table("figure", "value", title="sluicegate on this machine")
    low, high = result["throughput_tx_s_range"]
    latency = result["latency_ms_at_5000"]
    cpu = ", ".join(f"{name} {us}" for name, us in result["cpu_us_per_tx"].items())
    rows = {
        "throughput": f"{result['throughput_tx_s']:,} tx/s ({low:,} to {high:,})",
        "CPU a transaction": f"{cpu} us",
        "peak memory": ", ".join(f"{n} {mb} MB" for n, mb in result["peak_rss_mb"].items()),
        "alerts": f"{result['alerts']:,}; in strict order {result['alerts_in_order']:,} "
        f"({result['alerts_missing']} missing, {result['alerts_extra']} extra)",
        "alerted accounts": f"{result['alerted_accounts']:,}; in strict order "
        f"{result['alerted_accounts_in_order']:,} ({result['alerted_accounts_missing']} missing, "
        f"{result['alerted_accounts_extra']} extra)",
        "latency at 5,000/s": f"p50 {latency['p50']} ms, p99 {latency['p99']} ms, "
        f"p99.9 {latency['p999']} ms ({result['latency_samples']:,} alerts)",
        "start to first judged leg": f"{result['start_seconds']} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def machine() -> Json:
    """What a report says of the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [each for each in cpuinfo.read_text().splitlines() if each.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "free_disk_gb": round(shutil.disk_usage(tempfile.gettempdir()).free / 2**30),
    }
