"""Measures the counter: checks at a fixed rate beside a live stream, on the same cores.

Open loop: each check is due at a moment, and its latency counts from then, so that waiting anywhere
is counted. Checks are of accounts that the stream knows.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import aiohttp
import numpy as np
import psutil
from rich.console import Console

from sluicegate.counter.database import open_counter_database
from sluicegate.counter.keys import Scope, create_key
from sluicegate.errors import Problem
from sluicegate.operations.bench import machine
from sluicegate.operations.bench_runs import Bench, cpu_seconds, flat
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import ENVIRONMENT_PREFIX, Settings
from sluicegate.simulation.city import City

CHECKS_PER_SECOND: Final = 200
STREAM_PER_SECOND: Final = 5_000
HISTORY: Final = 200_000
SEED: Final = 1
WARM_SECONDS: Final = 5.0
READY_SECONDS: Final = 120.0
HISTOGRAM_MS: Final = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 300, 1_000)
PREFIX: Final = "counter-"


@dataclass
class _Told:
    """What came of the checks."""

    latencies_ms: list[float] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


def run_counter_bench(settings: Settings, *, report: Path | None, seconds: int) -> None:
    """Measures, prints and writes JSON (default: docs/benchmarks/<day>-counter.json).

    Raises:
        Problem: a part stopped, or was not ready in time.
    """
    console = Console(stderr=True)
    out = report or Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}-counter.json"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-bench-")))
        broker = stack.enter_context(EmbeddedBroker())
        bench = Bench(settings, broker, folder)
        bench.prepare(PREFIX)
        web, counter, figures = _free_ports(3)
        extra = _overrides(folder, web=web, counter=counter, figures=figures)
        key = _key(extra["COUNTER__DATABASE_URL"])
        environment = {f"{ENVIRONMENT_PREFIX}{name}": value for name, value in extra.items()}
        names = ("worker", "counter", "router")
        parts = stack.enter_context(bench.parts(PREFIX, names=names, extra=environment))
        url = f"http://127.0.0.1:{counter}/v1/checks"
        pairs = _pairs()
        asyncio.run(_until_ready(url, key, pairs[0]))
        console.print(f"{HISTORY:,} transactions of history, then {STREAM_PER_SECOND:,} a second")
        sending = stack.enter_context(_stream(broker, folder, seconds))
        pids: dict[str, int | None] = {name: part.pid for name, part in parts.items()}
        pids |= {"broker": broker.pid, "stream": sending.pid, "checks": os.getpid()}
        used = cpu_seconds(pids)
        everyone = sum(psutil.cpu_times()[:3])
        began, passed = time.monotonic(), _routed(figures)
        told = _Told()
        asyncio.run(_ask(url, key, pairs, seconds, told))
        lasted, passed = time.monotonic() - began, _routed(figures) - passed
        cores = {name: (cpu - used[name]) / lasted for name, cpu in cpu_seconds(pids).items()}
        cores["others"] = (sum(psutil.cpu_times()[:3]) - everyone) / lasted - sum(cores.values())
    result = _result(told, seconds, passed / lasted, cores)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Console().print_json(data=result)
    console.print(f"written to {out}")


def _result(
    told: _Told, seconds: int, stream_tx_s: float, cores: Mapping[str, float]
) -> dict[str, Any]:
    latencies = np.array(told.latencies_ms)
    p50, p99, p999 = np.percentile(latencies, [50, 99, 99.9]).round(1).tolist()
    counts, _ = np.histogram(latencies, [0, *HISTOGRAM_MS, np.inf])
    names = [f"<{bound}" for bound in HISTOGRAM_MS] + [f">={HISTOGRAM_MS[-1]}"]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds": seconds,
        "checks": len(latencies),
        "checks_s": round(len(latencies) / seconds, 1),
        "stream_tx_s": round(stream_tx_s),
        "cores_used": {name: round(each, 2) for name, each in cores.items()},
        "latency_ms": {"p50": p50, "p99": p99, "p999": p999},
        "histogram_ms": dict(zip(names, counts.tolist(), strict=True)),
        "verdicts": dict(told.verdicts),
        "degraded": sum(told.degraded.values()),
        "degraded_because": dict(told.degraded),
        "errors": sum(told.errors.values()),
        "errors_by_kind": dict(told.errors),
    }


def _overrides(folder: Path, *, web: int, counter: int, figures: int) -> dict[str, str]:
    return {
        "WORKER__WEB_PORT": str(web),
        "ROUTER__METRICS_PORT": str(figures),
        "COUNTER__PORT": str(counter),
        "COUNTER__METRICS_PORT": "0",
        "COUNTER__WORKERS": f"127.0.0.1:{web}",
        "COUNTER__DATABASE_URL": f"sqlite:///{folder / 'counter.db'}",
        "COUNTER__KEY_CHECKS_PER_SECOND": str(100 * CHECKS_PER_SECOND),
    }


def _key(url: str) -> str:
    engine = open_counter_database(url)
    try:
        return create_key(engine, "bench", frozenset({Scope.CHECK}), datetime.now(UTC))
    finally:
        engine.dispose()


def _pairs() -> list[tuple[str | None, str | None, str]]:
    """Payers, payees and amounts of the city's own history."""
    found = []
    for _, value in flat(City(SEED).history(20_000, time.time_ns() // 1_000_000)):
        fields = json.loads(value)
        found.append((fields.get("payer_account"), fields.get("payee_account"), fields["amount"]))
    return found


async def _until_ready(url: str, key: str, pair: tuple[str | None, str | None, str]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    told = _Told()
    async with _session(key) as session:
        while time.monotonic() < deadline:
            told = _Told()
            await _check(session, url, pair, time.monotonic(), told)
            if not told.degraded and not told.errors:
                return
            await asyncio.sleep(0.2)
    raise Problem("the counter is not ready", f"{dict(told.degraded)} {dict(told.errors)}")


async def _ask(
    url: str,
    key: str,
    pairs: Sequence[tuple[str | None, str | None, str]],
    seconds: int,
    told: _Told,
) -> None:
    """Asks when each check is due, whatever became of those before."""
    running: set[asyncio.Task[None]] = set()
    async with _session(key) as session:
        start = time.monotonic()
        for index in range(CHECKS_PER_SECOND * seconds):
            due = start + index / CHECKS_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            pair = pairs[index % len(pairs)]
            task = asyncio.ensure_future(_check(session, url, pair, due, told))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)


async def _check(
    session: aiohttp.ClientSession,
    url: str,
    pair: tuple[str | None, str | None, str],
    due: float,
    told: _Told,
) -> None:
    payer, payee, amount = pair
    body = {"amount": amount, "payer_account": payer, "payee_account": payee}
    try:
        async with session.post(url, json=body) as answer:
            content = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        told.errors[type(error).__name__] += 1
        return
    if answer.status != 200:
        told.errors[str(answer.status)] += 1
        return
    told.latencies_ms.append((time.monotonic() - due) * 1000)
    told.verdicts[content["verdict"]] += 1
    told.degraded.update(content["degraded_because"][:1])


def _session(key: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"}, connector=aiohttp.TCPConnector(limit=0)
    )


@contextmanager
def _stream(
    broker: EmbeddedBroker, folder: Path, seconds: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The city's stream from a process of its own, from when its history has been sent."""
    log = folder / "simulate.log"
    options = ("--history", HISTORY, "--rate", STREAM_PER_SECOND, "--seed", SEED)
    command = [sys.executable, "-m", "sluicegate", "simulate", "--broker", broker.bootstrap]
    environment = {**os.environ, f"{ENVIRONMENT_PREFIX}TOPICS__PREFIX": PREFIX}
    with log.open("ab") as output:
        sending = subprocess.Popen(
            [*command, *map(str, options), "--for", str(seconds + 120)],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "of history sent" not in log.read_text(encoding="utf-8"):
            if sending.poll() is not None or time.monotonic() > deadline:
                raise Problem("the stream did not begin", log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        time.sleep(WARM_SECONDS)
        yield sending
    finally:
        sending.terminate()
        sending.wait(10)


def _routed(port: int) -> float:
    """Transactions that the router has read."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text: str = page.read().decode()
    found = re.search(r"^sluicegate_router_transactions_total (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
