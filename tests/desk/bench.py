"""`make bench-desk`: 100,000 open cases, fifty officers, fifty live streams, server times."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from sluicegate.desk.people import add_person, person_of
from sluicegate.desk.roles import Role
from sluicegate.desk.sessions import begin_session, visit_of
from sluicegate.domain.measure import Measure
from sluicegate.liaison.cases import CaseAlertRow, CaseRow, weight_of
from sluicegate.liaison.database import AlertRow, open_database
from sluicegate.liaison.schema import prepare_tables, writing
from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

ROOT = Path(__file__).parents[2]
PATTERNS = ("pass-through", "convergence", "fast-in-fast-out", "dormant-wakes", "funnel")
AT_ONCE = 5_000
OFFICERS = 50
SSE_CLIENTS = 50


def say(sentence: str) -> None:
    sys.stderr.write(f"bench-desk: {sentence}\n")


def fill(engine: Engine, cases: int, now: datetime, draw: random.Random) -> None:
    """Open cases of the last day with an alert each; those past their clock are escalated."""
    for start in range(0, cases, AT_ONCE):
        rows = [_row(n, now, draw) for n in range(start, min(cases, start + AT_ONCE))]
        with engine.begin() as connection:
            connection.execute(insert(AlertRow), [alert for _, alert in rows])
            connection.execute(insert(CaseRow), [case for case, _ in rows])
            connection.execute(
                insert(CaseAlertRow),
                [{"alert_id": alert["id"], "case_id": case["id"]} for case, alert in rows],
            )


def _row(number: int, now: datetime, draw: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    at = now - timedelta(seconds=draw.uniform(0, 86_400))
    minor = int(draw.paretovariate(1.1) * 100_000)
    name, rank = draw.choice(PATTERNS), round(draw.uniform(0.5, 0.99), 3)
    account, case_id = f"6222{number:015}", f"{number:032x}"
    measure = draw.choice([Measure.VERIFY, Measure.DELAY, Measure.LIMIT]).value
    alert = {
        "id": f"{number:032x}", "transaction_id": f"T{number}", "account": account,
        "side": "inflow", "counterparty": f"6217{number % 1000:015}", "amount_minor": minor,
        "currency": "CNY", "score": rank, "measure": measure,
        "reasons": [{"pattern": name, "strength": rank, "zh": "原因", "en": "reason"}],
        "facts": {}, "occurred_at": at, "detected_at": at, "recorded_at": at,
        "pattern_set_version": "0" * 16, "origin": "stream", "received_at": at,
    }  # fmt: skip
    case = {
        "id": case_id, "account": account, "first_at": at, "last_at": at, "alerts": 1,
        "echoes": 0, "patterns": {name: rank}, "rank": rank, "measure": measure,
        "amount_minor": minor, "queue": "review", "cut_off": 0.0, "received_at": at,
        "came_in_minor": minor, "went_out_minor": 0, "at_risk_minor": minor,
        "weight": weight_of(rank, minor), "top_pattern": name,
        "queued_s": int(at.timestamp()), "changed_at": at, "state": "waiting",
        "escalated_at": at + timedelta(minutes=5) if now - at > timedelta(minutes=5) else None,
    }  # fmt: skip
    return case, alert


def cookies(engine: Engine, number: int, now: datetime) -> list[tuple[str, str]]:
    """Officers who are signed in: cookie and form token of each."""
    made = []
    with writing(engine) as session:
        for n in range(number):
            row, _ = add_person(session, f"officer{n}", f"Officer {n}", Role.BANK_OFFICER, now)
            row.is_password_temporary = False
            cookie = begin_session(session, person_of(row), now)
            session.flush()
            visit = visit_of(session, cookie, now)
            assert visit is not None
            made.append((cookie, visit.csrf))
    return made


@contextmanager
def served(folder: Path, url: str) -> Iterator[str]:
    """The desk as a process of its own."""
    port = free_port()
    environment = {
        **os.environ,
        "SLUICEGATE_LIAISON__DATABASE_URL": url,
        "SLUICEGATE_DESK__PORT": str(port),
        "SLUICEGATE_DESK__METRICS_PORT": "0",
        "SLUICEGATE_BROKER__BOOTSTRAP": f"127.0.0.1:{free_port()}",
        "XDG_STATE_HOME": str(folder),
    }
    with (folder / "desk.log").open("ab") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("sluicegate"), "desk"],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{base}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield base
    finally:
        process.terminate()
        process.wait()


class Listeners(threading.Thread):
    """Browsers that follow the queue live, each by a stream of its own."""

    def __init__(self, base: str, cookies: list[str]) -> None:
        super().__init__(daemon=True)
        self._base, self._cookies = base, cookies
        self.events = [0] * len(cookies)
        self.open = 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        asyncio.run(self._listen())

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(10)

    async def _listen(self) -> None:
        tasks = [asyncio.create_task(self._one(n)) for n in range(len(self._cookies))]
        await asyncio.to_thread(self._stop_asked.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, number: int) -> None:
        cookies = {"sluicegate_desk": self._cookies[number]}
        async with (
            httpx.AsyncClient(base_url=self._base, cookies=cookies, timeout=60) as client,
            client.stream("GET", "/desk/live") as answer,
        ):
            self.open += answer.status_code == 200
            async for line in answer.aiter_lines():
                self.events[number] += line.startswith("event: queue")
            self.open -= 1


def quantiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "p50": round(cuts[49], 1),
        "p95": round(cuts[94], 1),
        "p99": round(cuts[98], 1),
        "requests": len(times),
    }


def measure(base: str, folder: Path, people: list[tuple[str, str]], seconds: int) -> dict[str, Any]:
    """Fifty officers by locust, fifty streams beside them."""
    (folder / "cookies.json").write_text(json.dumps(people), "utf-8")
    listeners = Listeners(base, [cookie for cookie, _ in people[:SSE_CLIENTS]])
    listeners.start()
    environment = {
        **os.environ,
        "DESK_COOKIES": str(folder / "cookies.json"),
        "DESK_TIMES": str(folder / "times.json"),
    }
    load = Path(__file__).with_name("load.py")
    subprocess.run(
        [
            *(Path(sys.executable).with_name("locust"), "-f", load, "--headless", "--only-summary"),
            *("-u", str(OFFICERS), "-r", "25", "-t", f"{seconds}s", "--host", base),
        ],
        env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    still_open = listeners.open
    listeners.stop()
    noted = json.loads((folder / "times.json").read_text("utf-8"))
    times = noted["times"]
    return {
        "queue_ms": quantiles(times["queue"]),
        "rows_ms": quantiles(times["rows"]),
        "case_ms": quantiles(times["case"]),
        "claim_ms": quantiles(times["claim"]),
        "figures_ms": quantiles(times["figures"]),
        "failed": len(noted["failed"]),
        "sse_clients": still_open,
        "sse_events_each": [min(listeners.events), max(listeners.events)],
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--report", type=Path)
    asked.add_argument("--cases", type=int, default=100_000)
    asked.add_argument("--seconds", type=int, default=60)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluicegate-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'desk.db'}"
        engine, now = open_database(url), datetime.now(UTC)
        prepare_tables(engine)
        say(f"writing {options.cases:,} open cases")
        fill(engine, options.cases, now, random.Random(1))
        people = cookies(engine, OFFICERS, now)
        with Session(engine) as session:
            waiting = session.scalar(select(func.count()).where(CaseRow.state == "waiting"))
        engine.dispose()
        with served(folder, url) as base:
            say(f"{OFFICERS} officers and {SSE_CLIENTS} live streams for {options.seconds} s")
            figures = measure(base, folder, people, options.seconds)
    report = {
        "open_items": waiting,
        **figures,
        "officers": OFFICERS,
        "seconds": options.seconds,
        "database": "sqlite",
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "run": secrets.token_hex(4),
    }
    text = json.dumps(report, indent=2) + "\n"
    if options.report is not None:
        options.report.write_text(text, "utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
