"""The counter with a real worker, router, liaison consumer and broker behind it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from tests.system.pipeline import COMMAND, ROOT, Pipeline
from tests.system.test_state_tools import said

from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

PAYER, MULE, LAST = "6222020000000000022", "6217000000000000011", "6217000000000000099"
CHECKS_PER_SECOND = 40
WELL = {"verdict": "allow", "degraded": False}


@dataclass
class Town:
    """A pipeline with a counter, and a teller's connection to it."""

    pipeline: Pipeline
    client: httpx.Client
    database: Path

    def check(self, payer: str, payee: str | None, amount: str, **more: Any) -> dict[str, Any]:
        body = {"amount": amount, "payer_account": payer, "payee_account": payee, **more}
        answer = self.client.post("/v1/checks", json=body)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def until_judged(self) -> None:
        """The worker has its partitions, and the counter knows."""
        self.pipeline.until(
            lambda: not self.check(PAYER, LAST, "1.00")["degraded"], "a check that is judged"
        )

    def stored_alerts(self) -> list[Any]:
        engine = create_engine(f"sqlite:///{self.database}")
        try:
            with engine.connect() as connection:
                return list(connection.execute(text("SELECT * FROM alerts")))
        finally:
            engine.dispose()


@contextmanager
def _town(
    broker: EmbeddedBroker, prefix: str, folder: Path, *, second_worker: bool = False
) -> Iterator[Town]:
    port = free_port()
    worker_port = free_port(other_than=port)
    other_port = next(p for p in iter(free_port, None) if p not in (port, worker_port))
    sections: dict[str, dict[str, Any]] = {
        "counter": {
            "port": port,
            "workers": f"127.0.0.1:{worker_port},127.0.0.1:{other_port}",
            "database_url": f"sqlite:///{folder / 'counter.db'}",
            "rules_file": str(ROOT / "config" / "counter.toml"),
            "metrics_port": 0,
            "key_checks_per_second": 1000,
        },
        "worker": {"web_port": worker_port},
    }
    with Pipeline(broker.bootstrap, prefix, folder, **sections) as pipeline:
        create = ("counter", "keys", "create", "--branch", "0101")
        made = subprocess.run(
            [COMMAND, "--config", pipeline._config, *create],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        for part in ("router", "worker", "liaison", "counter"):
            pipeline.start(part)
        if second_worker:
            port_of_its_own = {"SLUICEGATE_WORKER__WEB_PORT": str(other_port)}
            pipeline.start("worker", "--slot", "w1", **port_of_its_own)
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, headers=headers, timeout=10) as client:
            pipeline.until(lambda: _is_up(client), "the counter to listen")
            yield Town(pipeline, client, folder / "liaison.db")


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def town(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Town]:
    with _town(broker, topic_prefix, tmp_path) as made:
        yield made


@pytest.fixture
def town_of_two(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Town]:
    """The same with two workers."""
    with _town(broker, topic_prefix, tmp_path, second_worker=True) as made:
        yield made


def _movement(number: int, payer: str, payee: str, amount: str, at: datetime) -> bytes:
    fields = {
        "id": f"T{number}",
        "occurred_at": at.isoformat(timespec="milliseconds"),
        "amount": amount,
        "payer_account": payer,
        "payee_account": payee,
        "channel": "counter",
    }
    return json.dumps(fields).encode()


def _seconds_until(is_so: Callable[[], bool]) -> float:
    """How long it took, or five seconds."""
    began = time.monotonic()
    while not is_so() and time.monotonic() - began < 5:
        pass
    return time.monotonic() - began


def test_a_check_says_what_the_stream_then_says_and_a_whitelist_counts_for_the_next(
    town: Town,
) -> None:
    now = datetime.now(UTC) - timedelta(minutes=20)
    came_in = [
        _movement(n, f"{PAYER}{n}", MULE, "15000.00", now + timedelta(minutes=n)) for n in range(4)
    ]
    town.pipeline.send(came_in)
    town.until_judged()
    town.pipeline.until_scored(4)
    at = now + timedelta(minutes=6)
    told = town.check(MULE, LAST, "59500.00", occurred_at=at.isoformat(timespec="milliseconds"))
    scores = {side["side"]: side["score"] for side in told["sides"]}
    assert told["verdict"] != "allow"

    town.pipeline.send([_movement(9, MULE, LAST, "59500.00", at)])
    town.pipeline.until_scored(5)
    streamed = [each for each in town.pipeline.alerts().values() if each.transaction_id == "T9"]
    assert {each.side: each.score for each in streamed}.items() <= scores.items()
    assert streamed

    def reasons() -> set[str]:
        again = town.check(MULE, LAST, "59500.00")
        return {each["pattern"] for each in again["sides"][0]["reasons"]}

    whitelisted = reasons()
    patterns = [option for name in whitelisted for option in ("--pattern", name)]
    add = ("directives", "add", MULE, "whitelisted", *patterns)
    said(town.pipeline, *add, "--until", "1d", "--reason", "known to the branch")
    assert _seconds_until(lambda: not reasons() & whitelisted) < 1.0


def test_a_directive_counts_for_the_next_check_within_a_second(town: Town) -> None:
    town.until_judged()
    assert town.check(PAYER, MULE, "10.00")["verdict"] == "allow"
    add = ("directives", "add", MULE, "involved", "--reason", "case 7", "--id", "I1")
    said(town.pipeline, *add)
    assert _seconds_until(lambda: town.check(PAYER, MULE, "10.00")["verdict"] == "refer") < 1.0
    told = town.check(PAYER, MULE, "10.00")
    first = {side["account"]: side["reasons"][0]["pattern"] for side in told["sides"]}
    assert first == {PAYER: "pays-involved-account", MULE: "involved-account-moves"}


def test_a_referred_check_arrives_at_the_desk(town: Town) -> None:
    town.until_judged()
    facts = {"age": 71, "payee_kind": "company", "deposit_broken_early": True}
    told = town.check(PAYER, LAST, "98000.00", customer=facts)
    assert told["verdict"] == "refer"
    town.pipeline.until(lambda: bool(town.stored_alerts()), "the alert to be stored")
    (alert,) = town.stored_alerts()
    assert (alert.origin, alert.account, alert.transaction_id) == (
        "counter",
        PAYER,
        told["check_id"],
    )
    assert alert.measure == told["measure"]
    town.client.get(f"/v1/accounts/{PAYER}/summary")
    lines = "".join(part.said() for part in town.pipeline._parts)
    assert told["check_id"] in lines
    assert PAYER not in lines


@dataclass
class Teller:
    """Asks again and again, about a payment of every day and about a mule's, in turn."""

    town: Town
    mule_paid_at: str
    answers: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    """When it was asked, of whom, and what was told."""

    def ask(self, stop: threading.Event) -> None:
        while not stop.wait(1 / CHECKS_PER_SECOND):
            number = len(self.answers)
            payer = MULE if number % 3 == 0 else f"62220290000000000{number % 30:02}"
            amount, more = (
                ("59500.00", {"occurred_at": self.mule_paid_at}) if payer == MULE else ("1.00", {})
            )
            at = time.monotonic()
            told = self.town.check(payer, f"62170090000000000{number % 29:02}", amount, **more)
            self.answers.append((at, payer, told))

    def is_well_since(self, moment: float, checks: int) -> bool:
        """The last so many checks were asked after this moment, and judged."""
        last = self.answers[-checks:]
        return last[0][0] > moment and not any(told["degraded"] for _, _, told in last)


def test_while_a_worker_of_two_is_killed_checks_are_only_degraded(town_of_two: Town) -> None:
    """Killed with SIGKILL beside a stream; started again, all is as before by itself."""
    town, pipeline = town_of_two, town_of_two.pipeline
    now = datetime.now(UTC) - timedelta(minutes=20)
    pipeline.send(
        _movement(n, f"{PAYER}{n}", MULE, "15000.00", now + timedelta(minutes=n)) for n in range(4)
    )
    pipeline.until(lambda: _is_shared(pipeline), "both workers to have their partitions")
    town.until_judged()
    pipeline.until_scored(4)
    mule_paid_at = (now + timedelta(minutes=6)).isoformat(timespec="milliseconds")
    asked = {"occurred_at": mule_paid_at}
    pipeline.until(
        lambda: not town.check(MULE, LAST, "59500.00", **asked)["degraded"], "the mule to be judged"
    )
    healthy = town.check(MULE, LAST, "59500.00", **asked)
    assert healthy["verdict"] != "allow"

    teller, stop = Teller(town, mule_paid_at), threading.Event()
    asking = threading.Thread(target=teller.ask, args=(stop,))
    streaming = threading.Thread(target=_stream, args=(pipeline, stop))
    asking.start()
    streaming.start()
    try:
        pipeline.until(lambda: len(teller.answers) > 60, "a beginning")
        killed = time.monotonic()
        pipeline.parts("worker")[0].kill()
        pipeline.until(
            lambda: any(told["degraded"] for at, _, told in teller.answers if at > killed),
            "a check that is degraded",
        )
        pipeline.start("worker")
        pipeline.until(lambda: teller.is_well_since(killed, checks=60), "two seconds without fault")
    finally:
        stop.set()
        asking.join()
        streaming.join()

    judged = [(payer, told) for _, payer, told in teller.answers if not told["degraded"]]
    for payer, told in judged:
        expected = healthy if payer == MULE else {"verdict": "allow", "score": told["score"]}
        assert (told["verdict"], told["score"]) == (expected["verdict"], expected["score"])
        assert len(told["sides"]) == 2
    degraded = [(at - killed, told) for at, _, told in teller.answers if told["degraded"]]
    assert {told["verdict"] for _, told in degraded} <= {"verify", "refer"}
    assert {why for at, told in degraded for why in told["degraded_because"] if at < 0} <= {
        "deadline"
    }
    print(f"degraded for {max(at for at, _ in degraded):.1f} s after the kill")  # noqa: T201 - for those who look


def _is_shared(pipeline: Pipeline) -> bool:
    """Each worker has said last that it holds some partitions, and together they hold each once."""
    held: list[str] = []
    for part in pipeline.parts("worker"):
        said = re.findall(r"holds partitions ([\d, ]+?) with", part.said())
        if not said:
            return False
        held += said[-1].split(", ")
    return sorted(map(int, held)) == list(range(pipeline.settings.topics.partitions))


def _stream(pipeline: Pipeline, stop: threading.Event) -> None:
    """Payments among people whom no check is about."""
    number = 1_000
    while not stop.wait(0.1):
        now = datetime.now(UTC)
        payments = (
            _movement(
                n, f"62220280000000000{n % 90:02}", f"62220280000000000{n % 89:02}", "9.00", now
            )
            for n in range(number, number + 10)
        )
        pipeline.send(payments)
        number += 10
