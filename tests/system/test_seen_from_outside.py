"""One pipeline under a real Prometheus: every panel has data, and a killed worker raises an alert.

The tests go on with one another's pipeline, in order; the last one kills its worker.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.system.officers import post, signed_in
from tests.system.pipeline import COMMAND, ROOT, Pipeline
from tests.system.traffic import Town
from tools.dashboards import DASHBOARDS

from sluicegate.domain.decision import Answer, DecidedMeasure, MeasureAnswer
from sluicegate.operations.broker import free_port
from sluicegate.operations.few_lines import LINES_A_SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which("prometheus") is None and os.environ.get("CI") != "true",
        reason="prometheus is missing: apt-get install prometheus",
    ),
]

PARTS = ("router", "worker", "liaison", "counter", "desk")
STEP_MS = 20
PAYER, PAYEE = "6222020000000000022", "6217000000000000099"
EMPTY = {"sluicegate:alert_share:usual": "needs the same hour of a day before"}
"""Queries that no test of a minute can answer, and why."""


@dataclass
class Watched:
    """A running pipeline with counter and desk, Prometheus beside it, and what was sent."""

    pipeline: Pipeline
    ports: dict[str, int]
    prometheus: httpx.Client
    counter: httpx.Client
    officer: httpx.Client
    town: Town
    sent: int = 0

    def send(self, count: int) -> None:
        """So many transactions more, as of now."""
        self.town.at_ms = max(self.town.at_ms, time.time_ns() // 1_000_000 - count * STEP_MS)
        self.pipeline.send(self.town.transactions(count))
        self.sent += count

    def ask(self, query: str) -> list[float]:
        """The finite values of a query now."""
        answer = self.prometheus.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        values = [float(each["value"][1]) for each in answer.json()["data"]["result"]]
        return [value for value in values if math.isfinite(value)]

    def until(self, query: str, value: float) -> None:
        """Waits for one value of a query."""
        self.pipeline.until(lambda: self.ask(query) == [value], f"{query} to be {value}")

    def status(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`sluicegate status` for the parts of this pipeline."""
        at = [word for port in self.ports.values() for word in ("--at", f"127.0.0.1:{port}")]
        return subprocess.run(
            [COMMAND, "--config", self.pipeline._config, "status", *at, *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def watched(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    ports_found: set[int] = set()
    while len(ports_found) < len(PARTS) + 4:
        ports_found.add(free_port())
    *metrics, web, api, page, own = ports_found
    ports = dict(zip(PARTS, metrics, strict=True))
    sections: dict[str, dict[str, Any]] = {
        "router": {"metrics_port": ports["router"]},
        "worker": {"metrics_port": ports["worker"], "web_port": web, "sweep_seconds": 2},
        "liaison": {"metrics_port": ports["liaison"]},
        "counter": {
            "port": api,
            "workers": f"127.0.0.1:{web}",
            "database_url": f"sqlite:///{folder / 'counter.db'}",
            "rules_file": str(ROOT / "config" / "counter.toml"),
            "metrics_port": ports["counter"],
        },
        "desk": {"port": page, "metrics_port": ports["desk"]},
    }
    prefix = f"t{uuid.uuid4().hex[:10]}-"
    with (
        Pipeline(broker.bootstrap, prefix, folder, **sections) as pipeline,
        prometheus(folder, ports, own) as asked,
    ):
        create = ("counter", "keys", "create", "--branch", "0101")
        key = subprocess.run(
            [COMMAND, "--config", pipeline._config, *create],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        for part in PARTS:
            pipeline.start(part)
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", headers=headers) as counter:
            town = Town(seed=8, at_ms=0, step_ms=STEP_MS)
            pipeline.until(lambda: ready(ports["desk"]).status_code == 200, "the desk to be ready")
            officer = signed_in(pipeline, f"http://127.0.0.1:{page}", "li.wei", "bank_officer")
            with closing(officer):
                made = Watched(pipeline, ports, asked, counter, officer, town)
                made.until("sum(sluicegate_ready)", len(PARTS))
                yield made


def ready(port: int) -> httpx.Response:
    """What `/readyz` of the part says; 503 until it listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz")
    except httpx.TransportError:
        return httpx.Response(503)


@contextmanager
def prometheus(folder: Path, ports: dict[str, int], port: int) -> Iterator[httpx.Client]:
    """Real Prometheus with the real rules, but for shorter patience."""
    rules = folder / "rules"
    rules.mkdir()
    for path in (ROOT / "config" / "prometheus" / "rules").glob("*.yml"):
        text = re.sub(r"\bfor: 30s\b", "for: 3s", path.read_text("utf-8"))
        (rules / path.name).write_text(text, "utf-8")
    jobs = [
        {"job_name": part, "static_configs": [{"targets": [f"127.0.0.1:{each}"]}]}
        for part, each in ports.items()
    ]
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{rules}/*.yml"],
        "scrape_configs": jobs,
    }
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _until_ready(client, process, folder / "prometheus.log")
            yield client
    finally:
        process.kill()
        process.wait()


def _until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text("utf-8")
        try:
            if client.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text("utf-8"))


def test_what_comes_in_is_seen_as_it_is(watched: Watched) -> None:
    watched.send(600)
    (repeated,) = watched.town.transactions(1)
    watched.pipeline.send([repeated, repeated, b"no transaction"])
    watched.sent += 3
    watched.pipeline.until_settled(watched.sent)
    watched.until("sum(sluicegate_router_transactions_total)", watched.sent)
    watched.until("sum(sluicegate_router_repeats_total)", 1)
    watched.until('sluicegate_router_refused_total{reason="NOT_JSON"}', 1)
    watched.until("sluicegate_transaction_seconds_count", 601)
    alerts = watched.pipeline.alerts().values()
    watched.until("sum(sluicegate_worker_alerts_total)", len(alerts))
    watched.until("sum(sluicegate_liaison_stored_total)", len(alerts))
    for measure in {alert.measure for alert in alerts}:
        count = sum(alert.measure == measure for alert in alerts)
        watched.until(f'sluicegate_worker_alerts_total{{measure="{measure.value}"}}', count)
    reasons = sum(len(alert.reasons) for alert in alerts)
    watched.until("sum(sluicegate_worker_reasons_total)", reasons)


def test_a_trace_leads_from_the_transaction_over_its_alert_to_the_case(watched: Watched) -> None:
    said = "".join(part.said() for part in watched.pipeline._parts)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (refused,) = [each for each in lines if each["event"] == "record refused"]
    assert (refused["level"], refused["reason"]) == ("WARNING", "NOT_JSON")
    alerts = watched.pipeline.alerts().values()
    raised = 0
    for alert in alerts:
        own = [each for each in lines if each.get("alert") == alert.id]
        assert {each["trace"] for each in own} == {alert.transaction_id}
        events = {each["event"]: each for each in own}
        assert re.fullmatch("[0-9a-f]{32}", events.pop("alert stored")["case"])
        for event in events.values():
            assert event["event"] == "alert raised"
            assert event["account"].endswith(alert.account[-4:])
            raised += 1
        assert alert.account not in said
    assert raised >= min(len(alerts), LINES_A_SECOND)


def _check(watched: Watched, amount: str, **customer: Any) -> dict[str, Any]:
    body = {"amount": amount, "payer_account": PAYER, "payee_account": PAYEE}
    answer = watched.counter.post("/v1/checks", json={**body, "customer": customer})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def _order_and_answer(watched: Watched) -> None:
    """An officer delays what is paid out of the first case, and core banking has done it."""
    case = re.search(r'href="(/desk/cases/[0-9a-f]{32})"', watched.officer.get("/desk").text)
    assert case is not None
    post(watched.officer, f"{case[1]}/claim")
    order = {"measure": "delay", "basis": "bank", "reason": "先核实再放行", "hours": "24"}
    post(watched.officer, f"{case[1]}/measures", **order)
    topics = watched.pipeline.topics
    orders: list[DecidedMeasure] = []

    def has_left() -> bool:
        orders.extend(
            DecidedMeasure.model_validate_json(message.value() or b"")
            for partition in range(watched.pipeline.settings.topics.partitions)
            for message in watched.pipeline.messages(topics.measures, partition)
        )
        return bool(orders)

    watched.pipeline.until(has_left, "the order")
    done = MeasureAnswer(id=orders[0].id, answer=Answer.DONE, answered_at=datetime.now(UTC))
    watched.pipeline.send([done.model_dump_json().encode()], topic=topics.measures_acknowledged)


def test_every_query_of_every_panel_has_data(watched: Watched) -> None:
    _order_and_answer(watched)
    watched.counter.post("/v1/checks", json={}, headers={"Authorization": "Bearer nobody"})
    told = _check(watched, "12.00")
    watched.counter.post(f"/v1/checks/{told['check_id']}/outcome", json={"outcome": "paid"})
    for _ in range(3):  # figures of a second each: rates are there, and levels
        watched.send(60)
        _check(watched, "15.00")
        time.sleep(1.1)
    watched.pipeline.until_settled(watched.sent)
    queries = {
        query: panel.en
        for _, panels in DASHBOARDS.values()
        for panel in panels
        for query, _ in panel.queries
    }
    assert set(EMPTY) <= set(queries)

    def missing() -> dict[str, str]:
        return {q: en for q, en in queries.items() if q not in EMPTY and not watched.ask(q)}

    watched.pipeline.until(lambda: not missing(), "data in every panel")
    for query in EMPTY:
        assert not watched.ask(query)


def test_status_says_that_money_is_being_watched(watched: Watched, tmp_path: Path) -> None:
    page = tmp_path / "status.html"
    done = watched.status("--html", str(page))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Money is being watched" in done.stdout
    text = page.read_text("utf-8")
    assert "资金正在被监测" in text
    assert not re.search(r"(src|href)=", text)  # it needs nothing else
    told = json.loads(watched.status("--json").stdout)
    assert told["well"] is True
    assert {part["part"]: part["state"] for part in told["parts"]} == dict.fromkeys(PARTS, "ready")
    assert told["figures"]["transactions"] == watched.sent
    assert told["figures"]["judged"] == watched.ask("sluicegate_transaction_seconds_count")[0]


def test_a_killed_worker_is_an_alert_first_pending_then_firing(watched: Watched) -> None:
    states = 'ALERTS{alertname="WorkerStopped"}'
    assert watched.ask(states) == []
    worker = next(part for part in watched.pipeline._parts if part.log.name.startswith("worker"))
    worker.kill()
    watched.until('ALERTS{alertname="WorkerStopped", alertstate="pending"}', 1)
    watched.until('ALERTS{alertname="WorkerStopped", alertstate="firing"}', 1)
    done = watched.status("--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["well"] is False
    assert any("worker" in problem for problem in told["problems"])
    degraded = _check(watched, "12.00")
    assert degraded["degraded"]
    watched.pipeline.until(
        lambda: watched.ask("sum(sluicegate_counter_degraded_total)") != [0.0], "a degraded check"
    )
    counter = ready(watched.ports["counter"])
    assert counter.status_code == 503
    assert "partitions have no worker" in counter.json()["reasons"][0]
