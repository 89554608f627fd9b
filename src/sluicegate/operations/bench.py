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
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.bench_model import small_model, with_model
from sluicegate.operations.bench_pause import pauses_ms, pauses_shown_ms
from sluicegate.operations.bench_runs import (
    ACCOUNTS,
    Alerts,
    Bench,
    Catch,
    Json,
    Latencies,
    middle,
    pace,
    strict_order_alerts,
)
from sluicegate.operations.bench_scaling import by_accounts, by_patterns, by_workers, plot
from sluicegate.operations.bench_stages import stages_us
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import scoring_of

TRANSACTIONS: Final = 2_000_000
WARM_UP: Final = 3_000_000
RATE: Final = 5_000
FAST_RATE: Final = 50_000
SCALING_TRANSACTIONS: Final = 1_000_000
HISTOGRAM_MS: Final = (2, 4, 6, 8, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 500, 1_000)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What the runs gave."""

    transactions: int
    catches: list[Catch]
    live: Latencies
    fast: Latencies | None
    in_order: Alerts
    stages: Json
    pauses: Json
    bytes_per_account: float
    more: Json


def run_bench(
    settings: Settings,
    *,
    report: Path | None,
    short: bool,
    full: bool = False,
    model: Path | None = None,
) -> None:
    """Measures, prints a table and writes the JSON report (default: docs/benchmarks/<day>.json).

    `short` runs everything once on half of the backlog; `full` adds how the cost grows with
    accounts, patterns and workers, and draws it beside the report. With `model`, and in `full` with
    one that is fitted for it, the backlog is passed with the model judging, too.

    Raises:
        Problem: a part stopped, or nothing went on.
    """
    console = Console(stderr=True)
    out = report or Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    transactions = TRANSACTIONS // 2 if short else TRANSACTIONS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-bench-")))
        console.print("starts a broker, makes and passes a warm-up of the stream")
        broker = stack.enter_context(EmbeddedBroker())
        bench = Bench(settings, broker, folder)
        bench.catch_up("warm-", WARM_UP // 2 if short else WARM_UP)
        catches = []
        for run in range(1 if short else 3):
            catches.append(bench.catch_up(f"run{run}-", transactions))
            console.print(f"run {run + 1}: {transactions / catches[-1].seconds:,.0f} a second")
        floor = bench.read_and_parse_us("run0-", transactions)
        console.print(f"live at {RATE:,} a second")
        live = bench.live("live-", RATE, 20 if short else 60)
        fast = None
        if not short:
            console.print(f"live at {FAST_RATE:,} a second")
            fast = bench.live("fast-", FAST_RATE, 20, more_alerts=False)
        more = _scaling(settings, bench, out, console) if full else {}
        if full or model is not None:
            console.print("passes the backlog with a model beside the patterns")
            fitted = model or small_model(settings, folder)
            runs = 1 if short else 3
            more["with_model"] = with_model(bench, fitted, transactions, runs, console.print)
    console.print("scores the same stream in strict order of time, and times its stages")
    memory = AccountMemory(2 * ACCOUNTS)
    in_order = strict_order_alerts(settings, memory, transactions)
    stages = _stages(settings, middle(catches), floor)
    each = memory.bytes_in_use / len(memory)
    console.print("takes checkpoints with many changed rows")
    pauses = pauses_ms(settings)
    measured = _Measured(transactions, catches, live, fast, in_order, stages, pauses, each, more)
    result = _result(measured, short=short)
    out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    Console().print(_table(result))
    console.print(f"written to {out}")


def _stages(settings: Settings, catch: Catch, floor: float) -> Json:
    """Where the time of a transaction goes, in us; the parts add up to the whole."""
    stages: Json = stages_us(settings)
    own = sum(us for name, us in catch.cpu_us.items() if name != "broker")
    stages["clients, Faust, event loop"] = round(own - sum(stages.values()), 3)
    stages["broker"] = round(catch.cpu_us["broker"], 3)
    return {
        "parts": stages,
        "whole": round(sum(stages.values()), 3),
        "only reading and parsing": round(floor, 3),
    }


def _scaling(settings: Settings, bench: Bench, out: Path, console: Console) -> Json:
    """The series by accounts, patterns and workers; each is drawn beside the report."""
    scoring = scoring_of(settings)
    workers = by_workers(bench, SCALING_TRANSACTIONS, console.print)
    patterns = by_patterns(settings, console.print)
    accounts, bytes_each = by_accounts(scoring, console.print)
    cost = "us a transaction, account memory alone"
    series = {
        "accounts": (accounts, "accounts held", cost),
        "patterns": (patterns, "patterns", cost),
        "workers": (workers, "workers", "transactions a second"),
    }
    for name, (points, x, y) in series.items():
        file = out.with_name(f"{out.stem}-{name}.svg")
        plot(points, x=x, y=y, logarithmic=name == "accounts", file=file)
    said: Json = {
        name: [point.said() for point in points] for name, (points, _, _) in series.items()
    }
    return {"scaling": said, "resident_bytes_per_account": round(bytes_each)}


def _quantiles(latencies: list[float]) -> Json:
    p50, p99, p999 = np.percentile(latencies, [50, 99, 99.9]).round(1).tolist()
    return {"p50": p50, "p99": p99, "p999": p999}


def _latency(latencies: Latencies) -> Json:
    """Quantiles over all alerts and by side, and how many fell between which bounds."""
    every = [ms for side in latencies.values() for ms in side]
    counts = np.histogram(every, [0, *HISTOGRAM_MS, np.inf])[0].tolist()
    bounds = [*(f"<= {ms}" for ms in HISTOGRAM_MS), "above"]
    return {
        **_quantiles(every),
        "departure": _quantiles(latencies["outflow"]),
        "arrival": _quantiles(latencies["inflow"]),
        "samples": len(every),
        "histogram_ms": dict(zip(bounds, counts, strict=True)),
    }


def _result(measured: _Measured, *, short: bool) -> Json:
    chosen, in_order = middle(measured.catches), measured.in_order
    alerted, alerted_in_order = set(chosen.alerts.values()), set(in_order.values())
    result: Json = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("sluicegate"),
        "machine": machine(),
        "short": short,
        "transactions": measured.transactions,
        "accounts": ACCOUNTS,
        "runs": len(measured.catches),
        **pace(measured.catches, measured.transactions),
        "time_us": measured.stages,
        "peak_rss_mb": {name: round(mb) for name, mb in chosen.peak_mb.items()},
        "bytes_per_account": round(measured.bytes_per_account),
        "start_seconds": round(
            statistics.median(each.start_seconds for each in measured.catches), 1
        ),
        "alerts": len(chosen.alerts),
        "alerts_in_order": len(in_order),
        "alerts_missing": len(in_order.keys() - chosen.alerts.keys()),
        "alerts_extra": len(chosen.alerts.keys() - in_order.keys()),
        "alerted_accounts": len(alerted),
        "alerted_accounts_in_order": len(alerted_in_order),
        "alerted_accounts_missing": len(alerted_in_order - alerted),
        "alerted_accounts_extra": len(alerted - alerted_in_order),
        "checkpoint_pause_ms": measured.pauses,
        "checkpoint_pause_ms_in_backlog": pauses_shown_ms(chosen.shown),
        "latency_ms_at_5000": _latency(measured.live),
    }
    if measured.fast is not None:
        result["latency_ms_at_50000"] = _latency(measured.fast)
    return result | measured.more


def _table(result: Json) -> Table:
    table = Table("figure", "value", title="sluicegate on this machine")
    low, high = result["throughput_tx_s_range"]
    cpu = ", ".join(f"{name} {us}" for name, us in result["cpu_us_per_tx"].items())
    time_us = result["time_us"]
    rows = {
        "throughput": f"{result['throughput_tx_s']:,} tx/s ({low:,} to {high:,})",
        "CPU a transaction": f"{cpu} us",
        "of that": ", ".join(f"{name} {us}" for name, us in time_us["parts"].items()),
        "only reading and parsing": f"{time_us['only reading and parsing']} us",
        "peak memory": ", ".join(f"{n} {mb} MB" for n, mb in result["peak_rss_mb"].items()),
        "memory an account": f"{result['bytes_per_account']:,} bytes",
        "alerts": f"{result['alerts']:,}; in strict order {result['alerts_in_order']:,} "
        f"({result['alerts_missing']} missing, {result['alerts_extra']} extra)",
        "alerted accounts": f"{result['alerted_accounts']:,}; in strict order "
        f"{result['alerted_accounts_in_order']:,} ({result['alerted_accounts_missing']} missing, "
        f"{result['alerted_accounts_extra']} extra)",
        **{
            f"latency at {rate:,}/s": _said(result[f"latency_ms_at_{rate}"])
            for rate in (RATE, FAST_RATE)
            if f"latency_ms_at_{rate}" in result
        },
        "pause by a checkpoint": _pauses_said(result),
        "start to first judged leg": f"{result['start_seconds']} s",
    }
    if "with_model" in result:
        found = result["with_model"]
        cpu = ", ".join(f"{name} {us}" for name, us in found["cpu_us_per_tx"].items())
        rows["with a model"] = f"{found['throughput_tx_s']:,} tx/s, CPU {cpu} us"
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _said(latency: Json) -> str:
    def quantiles(of: Json) -> str:
        return f"{of['p50']} / {of['p99']} / {of['p999']} ms"

    return (
        f"p50 / p99 / p99.9 {quantiles(latency)} ({latency['samples']:,} alerts; departures "
        f"{quantiles(latency['departure'])}, arrivals {quantiles(latency['arrival'])})"
    )


def _pauses_said(result: Json) -> str:
    many, usual = result["checkpoint_pause_ms"], result["checkpoint_pause_ms_in_backlog"]
    said = f"{many['p50']} / {many['p99']} / {many['max']} ms ({many['rows']:,} rows at once)"
    if usual["pieces"]:
        said += f"; in the backlog {usual['p50']} / {usual['p99']} / {usual['max']} ms"
    return f"p50 / p99 / max {said}"


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
