"""The desk as a process, with a real broker, router, worker and liaison consumer behind it."""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.system.officers import desk, post, signed_in
from tests.system.pipeline import Pipeline
from tests.system.test_counter import LAST, MULE, PAYER, _is_up, _movement
from tests.system.test_state_tools import said

from sluicegate.domain.decision import Answer, DecidedMeasure, MeasureAnswer
from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker


@dataclass
class Town:
    """A pipeline with a desk, and two officers at it."""

    pipeline: Pipeline
    base: str
    officer: httpx.Client
    second: httpx.Client
    numbers: Iterator[int] = field(default_factory=lambda: count(500))

    def case_of(self, account: str, *, paid: bool = False) -> str:
        """The case of an account, once it is in the queue; `paid`: it is paid until it is."""
        found: list[str] = []

        def is_there() -> bool:
            if paid:
                number = next(self.numbers)
                movement = _movement(number, PAYER, account, "90000.00", datetime.now(UTC))
                self.pipeline.send([movement])
            page = self.officer.get("/desk", params={"account": account}).text
            found.extend(re.findall(r'href="/desk/cases/([0-9a-f]{32})"', page))
            return bool(found)

        self.pipeline.until(is_there, f"a case of {account}")
        return found[0]

    def orders(self) -> list[DecidedMeasure]:
        """All that `measures` holds, repeats included."""
        topic = self.pipeline.topics.measures
        return [
            DecidedMeasure.model_validate_json(message.value() or b"")
            for partition in range(self.pipeline.settings.topics.partitions)
            for message in self.pipeline.messages(topic, partition)
        ]

    def kill_desk(self) -> None:
        """As a power cut would; then it is started again."""
        parts = [each for each in self.pipeline._parts if each.log.name.startswith("desk-")]
        parts[-1].kill()
        self.pipeline.start("desk")
        self.pipeline.until(lambda: _is_up(self.officer), "the desk to listen")


@contextmanager
def _town(broker: EmbeddedBroker, prefix: str, folder: Path) -> Iterator[Town]:
    port = free_port()
    worker_port = free_port(other_than=port)
    base = f"http://127.0.0.1:{port}"
    sections: dict[str, dict[str, Any]] = {
        "desk": {"port": port, "metrics_port": 0},
        "counter": {"workers": f"127.0.0.1:{worker_port}"},
        "worker": {"web_port": worker_port},
    }
    with Pipeline(broker.bootstrap, prefix, folder, **sections) as pipeline:
        for part in ("router", "worker", "liaison", "desk"):
            pipeline.start(part)
        with httpx.Client(base_url=base, timeout=30) as probe:
            pipeline.until(lambda: _is_up(probe), "the desk to listen")
        officer = signed_in(pipeline, base, "li.wei", "bank_officer")
        second = signed_in(pipeline, base, "wang.fang", "police_officer")
        with closing(officer), closing(second):
            yield Town(pipeline, base, officer, second)


@pytest.fixture(scope="module")
def town(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    prefix = f"t{uuid.uuid4().hex[:10]}-"
    with _town(broker, prefix, tmp_path_factory.mktemp("desk")) as made:
        yield made


def test_from_an_alert_to_core_banking_and_back_and_from_a_list_to_the_scores(town: Town) -> None:
    said(town.pipeline, "directives", "add", MULE, "involved", "--reason", "case 118")
    profile = json.dumps({"account": MULE, "holder_id": "h-118", "holder_kind": "person"}).encode()
    town.pipeline.send([profile], topic=town.pipeline.topics.accounts, key=MULE)
    case_id = town.case_of(MULE, paid=True)
    post(town.officer, f"/desk/cases/{case_id}/claim")
    fields = {
        "measure": "stop_payment", "basis": "police", "reason": "受害人报警", "hours": "48",
        "document": "03", "document_number": "118",
    }  # fmt: skip
    files = {"document_file": ("a.pdf", b"%PDF-1.7", "application/pdf")}
    post(town.officer, f"/desk/cases/{case_id}/measures", files=files, **fields)
    page = town.second.get("/desk/measures").text
    measure = re.search(r"/desk/measures/([0-9a-f]{32})/decide", page)
    assert measure is not None
    post(town.second, f"/desk/measures/{measure[1]}/decide", decision="approve")
    town.pipeline.until(lambda: len(town.orders()) == 1, "the order")
    (order,) = town.orders()
    assert (order.id, order.account, order.police_code) == (measure[1], MULE, "0101")

    answer = MeasureAnswer(
        id=order.id, answer=Answer.DONE, answered_at=datetime.now(UTC), code="0102", held_minor=7
    )
    value = answer.model_dump_json().encode()
    town.pipeline.send(
        [value, value, b"{}"], topic=town.pipeline.topics.measures_acknowledged, key=MULE
    )
    town.pipeline.until(
        lambda: "0101 → 0102" in town.officer.get(f"/desk/cases/{case_id}").text, "the answer"
    )

    # The police ask who holds it: the bank told of that at the beginning.
    query = {"kind": "holder", "subject": MULE, "case_number": "118", "document": "05",
             "document_number": "118"}  # fmt: skip

    def is_known() -> bool:
        asked = post(town.second, "/desk/identity", files=files, **query)
        return "h-118" in town.second.get(asked.headers["location"]).text

    town.pipeline.until(is_known, "the holder")

    # The list: payments to another account are judged by it from then on.
    told_at = time.monotonic()
    post(town.officer, "/desk/lists", account=LAST, kind="involved", reason="118")
    town.case_of(LAST, paid=True)
    assert time.monotonic() - told_at < 60
    alerts = town.pipeline.alerts().values()
    found = {reason.pattern for each in alerts if each.account == LAST for reason in each.reasons}
    assert "involved-account-moves" in found

    verified = desk(town.pipeline, "audit", "verify")
    assert "unbroken" in verified


def test_a_desk_that_is_killed_loses_no_measure_and_sends_none_twice_by_id(town: Town) -> None:
    accounts = [f"62170000000000007{n:02}" for n in range(2)]
    before = answered(town)
    for account in accounts:
        said(town.pipeline, "directives", "add", account, "involved", "--reason", "case")
        case_id = town.case_of(account, paid=True)
        post(town.officer, f"/desk/cases/{case_id}/claim")
        post(
            town.officer, f"/desk/cases/{case_id}/measures",
            measure="delay", basis="bank", reason="先核实再放行", hours="24",
        )  # fmt: skip
        # Killed at once: before, while or after the message leaves.
        town.kill_desk()
    town.pipeline.until(
        lambda: set(accounts) <= {each.account for each in town.orders()}, "all orders"
    )
    ids = {each.id for each in town.orders() if each.account in accounts}
    assert len(ids) == len(accounts)

    values = [
        MeasureAnswer(id=id_, answer=Answer.DONE, answered_at=datetime.now(UTC))
        .model_dump_json()
        .encode()
        for id_ in ids
    ]
    town.pipeline.send(values, topic=town.pipeline.topics.measures_acknowledged)
    town.kill_desk()
    town.pipeline.until(lambda: answered(town) >= before + len(ids), "all answers")
    time.sleep(0.5)
    assert answered(town) == before + len(ids)


def answered(town: Town) -> int:
    """How many answers the audit knows."""
    exported = desk(town.pipeline, "audit", "export")
    acts = [json.loads(line) for line in exported.splitlines()]
    return sum(act["action"] == "answered" for act in acts)
