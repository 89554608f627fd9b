"""Measures the counter: checks at a fixed rate beside a live stream, on the same cores.

Open loop: each check is due at a moment, and its latency counts from then, so that waiting anywhere
is counted. Checks are of accounts that the stream knows. Or one of two workers is killed meanwhile.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import numpy as np
import psutil
from rich.console import Console

from sluicegate.counter.database import open_counter_database
from sluicegate.counter.keys import Scope, create_key
from sluicegate.errors import Problem
from sluicegate.operations.bench import machine
from sluicegate.operations.bench_runs import cpu_seconds, flat
from sluicegate.operations.broker import EmbeddedBroker, free_port
from sluicegate.operations.supervisor import LOOK_SECONDS, Supervisor
from sluicegate.operations.tellers import Answered, Tellers, request_of
from sluicegate.operations.up import counter_plan, part_stages
from sluicegate.settings import ENVIRONMENT_PREFIX, Settings
from sluicegate.simulation.city import City
from sluicegate.streaming.topics import create_topics

CHECKS_PER_SECOND: Final = 200
STREAM_PER_SECOND: Final = 5_000
HISTORY: Final = 200_000
SEED: Final = 1
WARM_SECONDS: Final = 20.0
"""Of stream and checks before it counts: the broker's Java compiles half a core away at first."""
READY_SECONDS: Final = 120.0
HISTOGRAM_MS: Final = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 300, 1_000)
MOVING: Final = frozenset({"away", "not_owner", "restoring", "lagging"})
"""Why a side is not judged while its worker is not there; a deadline can have other causes."""


def run_counter_bench(
    settings: Settings, *, report: Path | None, seconds: int, kills: bool = False
) -> None:
    """Measures, prints and writes JSON (default: docs/benchmarks/<day>-counter.json).

    With `kills` there are two workers, and after a third of the time one is killed by SIGKILL.

    Raises:
        Problem: a part was not ready in time.
    """
    console = Console(stderr=True)
    name = "counter-kill" if kills else "counter"
    out = report or Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}-{name}.json"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-bench-")))
        broker = stack.enter_context(EmbeddedBroker())
        own = _settings_in(folder, settings)
        create_topics(own, broker.bootstrap)
        supervisor = stack.enter_context(_parts(own, broker, folder, workers=1 + kills))
        address = ("127.0.0.1", own.counter.port)
        key = _key(own.counter.url)
        asked = [request_of(address, "/v1/checks", key, each) for each in _checks()]
        _wait_until_judged(address, asked[0])
        console.print(f"{HISTORY:,} transactions of history, then {STREAM_PER_SECOND:,} a second")
        sending = stack.enter_context(_stream(broker, folder, seconds))
        Tellers(address).ask(asked, CHECKS_PER_SECOND, WARM_SECONDS)
        pids = {
            "router": supervisor.pid("router"),
            "counter": supervisor.pid("counter"),
            "worker": supervisor.pid("worker-1" if kills else "worker-0"),
            "broker": broker.pid,
            "stream": sending.pid,
            "checks": os.getpid(),
        }
        victim = supervisor.pid("worker-0") if kills else None
        result = _measured(own, asked, pids, seconds, victim)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Console().print_json(data=result)
    console.print(f"written to {out}")


def _measured(
    settings: Settings,
    asked: Sequence[bytes],
    pids: dict[str, int | None],
    seconds: int,
    victim: int | None,
) -> dict[str, Any]:
    """Asks for so long, and says what came of it; `victim` is killed after a third of the time."""
    used, machine_used, routed = cpu_seconds(pids), _machine_seconds(), _routed(settings)
    tellers, began = Tellers(("127.0.0.1", settings.counter.port)), time.monotonic()
    if victim is not None:
        threading.Timer(seconds / 3, os.kill, (victim, signal.SIGKILL)).start()
    tellers.ask(asked, CHECKS_PER_SECOND, seconds)
    lasted = time.monotonic() - began
    cores = _a_second(used, cpu_seconds(pids), lasted)
    cores |= _a_second(machine_used, _machine_seconds(), lasted)
    cores["others"] = (psutil.cpu_count() or 1) - sum(cores.values())
    result = _result(tellers.answered, seconds, (_routed(settings) - routed) / lasted, cores)
    if victim is not None:
        result["after_kill"] = _after_kill(tellers.answered, began + seconds / 3)
    return result


# What came of it.


def _result(
    answered: Sequence[Answered], seconds: int, stream_tx_s: float, cores: Mapping[str, float]
) -> dict[str, Any]:
    good = [each for each in answered if each.status == 200]
    latencies = np.array([each.latency_ms for each in good])
    late = np.array([(each.sent - each.due) * 1000 for each in answered])
    counts, _ = np.histogram(latencies, [0, *HISTOGRAM_MS, np.inf])
    names = [f"<{bound}" for bound in HISTOGRAM_MS] + [f">={HISTOGRAM_MS[-1]}"]
    told = [each.told for each in good]
    because = Counter(why for each in told for why in each["degraded_because"][:1])
    errors = Counter(str(each.status or "lost") for each in answered if each.status != 200)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds": seconds,
        "checks": len(good),
        "checks_s": round(len(good) / seconds, 1),
        "stream_tx_s": round(stream_tx_s),
        "cores_used": {name: round(each, 2) for name, each in cores.items()},
        "latency_ms": _quantiles(latencies),
        "of_these_teller_was_late_ms": _quantiles(late),
        "histogram_ms": dict(zip(names, counts.tolist(), strict=True)),
        "verdicts": dict(Counter(each["verdict"] for each in told)),
        "degraded": sum(because.values()),
        "degraded_because": dict(because),
        "errors": sum(errors.values()),
        "errors_by_kind": dict(errors),
    }


def _quantiles(values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float]:
    p50, p99, p999 = np.percentile(values, [50, 99, 99.9]).round(1).tolist()
    return {"p50": p50, "p99": p99, "p999": p999}


def _after_kill(answered: Sequence[Answered], killed_at: float) -> dict[str, Any]:
    """For how long checks were degraded, from the kill on; wrong is what must never be."""
    told = [(each.due - killed_at, each.told) for each in answered if each.status == 200]
    moving = [(at, each) for at, each in told if MOVING & set(each["degraded_because"])]
    wrong = [each for _, each in told if each["degraded"] == _is_whole(each)]
    wrong += [each for _, each in told if each["degraded"] and each["verdict"] == "allow"]
    times = [at for at, _ in moving]
    return {
        "degraded": len(moving),
        "degraded_because": dict(Counter(each["degraded_because"][0] for _, each in moving)),
        "degraded_before": sum(at < 0 for at in times),
        "first_degraded_s": round(min(times), 2) if times else None,
        "last_degraded_s": round(max(times), 2) if times else None,
        "wrong": len(wrong),
    }


def _is_whole(told: Mapping[str, Any]) -> bool:
    """Both sides were judged: the checks that are asked have two."""
    return len(told["sides"]) == 2


def _a_second(
    before: Mapping[str, float], after: Mapping[str, float], seconds: float
) -> dict[str, float]:
    return {name: (after[name] - before[name]) / seconds for name in before}


def _machine_seconds() -> dict[str, float]:
    """Of all processors together: idle, and taken by the host of a virtual machine."""
    times = psutil.cpu_times()
    return {"idle": times.idle + getattr(times, "iowait", 0), "stolen": getattr(times, "steal", 0)}


# The stage.


def _settings_in(folder: Path, settings: Settings) -> Settings:
    ports = [free_port() for _ in range(3)]
    return settings.changed(
        topics={"prefix": "counter-"},
        router={"metrics_port": ports[0]},
        worker={"web_port": ports[1], "web_bind": "127.0.0.1", "metrics_port": 0},
        liaison={"metrics_port": 0, "database_url": f"sqlite:///{folder / 'liaison.db'}"},
        counter={
            "port": ports[2],
            "metrics_port": 0,
            "database_url": f"sqlite:///{folder / 'counter.db'}",
            "key_checks_per_second": 100 * CHECKS_PER_SECOND,
        },
    )


@contextmanager
def _parts(
    settings: Settings, broker: EmbeddedBroker, folder: Path, *, workers: int
) -> Iterator[Supervisor]:
    """Router, workers and counter, kept running as `sluicegate up` keeps them."""
    routers, seats, _ = part_stages(settings, broker.bootstrap, workers, log_dir=folder)
    counter = counter_plan(settings, broker.bootstrap, workers, log_dir=folder)
    over = threading.Event()

    def look_after(supervisor: Supervisor) -> None:
        while not over.wait(LOOK_SECONDS):
            supervisor.look(time.monotonic())

    with Supervisor([[*routers, counter], seats]) as supervisor:
        looking = threading.Thread(target=look_after, args=(supervisor,), daemon=True)
        looking.start()
        try:
            yield supervisor
        finally:
            over.set()
            looking.join()


def _key(url: str) -> str:
    engine = open_counter_database(url)
    try:
        return create_key(engine, "bench", frozenset({Scope.CHECK}), datetime.now(UTC))
    finally:
        engine.dispose()


def _checks() -> Iterator[dict[str, str]]:
    """Payments between two accounts, of the city's own history."""
    for _, value in flat(City(SEED).history(20_000, time.time_ns() // 1_000_000)):
        fields = json.loads(value)
        names = ("payer_account", "payee_account", "amount")
        check = {name: fields[name] for name in names if fields.get(name)}
        if len(check) == len(names):
            yield check


def _wait_until_judged(address: tuple[str, int], request: bytes) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        tellers = Tellers(address)
        tellers.ask([request], 1, 1)
        (answer,) = tellers.answered
        if answer.status == 200 and not answer.told["degraded"]:
            return
        time.sleep(0.2)
    raise Problem("the counter is not ready", answer.body.decode(errors="replace"))


@contextmanager
def _stream(
    broker: EmbeddedBroker, folder: Path, seconds: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The city's stream from a process of its own, from when its history has been sent."""
    log = folder / "simulate.log"
    options = ("--history", HISTORY, "--rate", STREAM_PER_SECOND, "--seed", SEED)
    command = [sys.executable, "-m", "sluicegate", "simulate", "--broker", broker.bootstrap]
    environment = {**os.environ, f"{ENVIRONMENT_PREFIX}TOPICS__PREFIX": "counter-"}
    with log.open("ab") as output:
        sending = subprocess.Popen(
            [*command, *map(str, options), "--for", str(seconds + 150)],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "of history sent" not in log.read_text(encoding="utf-8"):
            if sending.poll() is not None or time.monotonic() > deadline:
                raise Problem("the stream did not begin", log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        yield sending
    finally:
        sending.terminate()
        sending.wait(10)


def _routed(settings: Settings) -> float:
    """Transactions that the router has read."""
    with urlopen(f"http://127.0.0.1:{settings.router.metrics_port}/metrics") as page:
        text: str = page.read().decode()
    found = re.search(r"^sluicegate_router_transactions_total (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
