"""The database goes away for long while alerts come, orders leave and answers arrive.

`OUTAGE_SECONDS=60` makes the outage as long as is asked of a desk; a few seconds are longer than
all pauses between attempts but the last.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from tests.desk.desk import an_alert
from tests.postgresql import postgresql_server
from tests.system.officers import desk, post, signed_in
from tests.system.pipeline import Pipeline
from tests.system.test_counter import _is_up
from tests.system.test_desk import Town, answered

from sluicegate.domain.decision import Answer, MeasureAnswer
from sluicegate.operations.broker import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgresql import Server

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "4"))
ACCOUNT = "62170000000000900{:02}"


@pytest.fixture
def server() -> Iterator[Server]:
    with postgresql_server() as running:
        yield running


@pytest.fixture
def town(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path, server: Server
) -> Iterator[Town]:
    base = f"http://127.0.0.1:{(port := free_port())}"
    sections: dict[str, dict[str, Any]] = {
        "desk": {"port": port, "metrics_port": 0},
        "liaison": {"metrics_port": 0, "database_url": server.url},
    }
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path, **sections) as pipeline:
        pipeline.start("liaison")
        pipeline.start("desk")
        with httpx.Client(base_url=base, timeout=30) as probe:
            pipeline.until(lambda: _is_up(probe), "the desk to listen")
        officer = signed_in(pipeline, base, "li.wei", "bank_officer")
        with closing(officer):
            yield Town(pipeline, base, officer, officer)


def alerts(numbers: range) -> list[bytes]:
    """One of each of these accounts."""
    made = [
        an_alert(number, ACCOUNT.format(number), datetime.now(UTC), 5_000_000 + number)
        for number in numbers
    ]
    return [each.model_dump_json().encode() for each in made]


def delayed(town: Town, number: int) -> None:
    """Somebody claims the case of an account and delays what leaves it."""
    case_id = town.case_of(ACCOUNT.format(number))
    post(town.officer, f"/desk/cases/{case_id}/claim")
    fields = {"measure": "delay", "basis": "bank", "reason": "先核实再放行", "hours": "24"}
    assert post(town.officer, f"/desk/cases/{case_id}/measures", **fields).status_code == 303


def stored(server: Server) -> tuple[int, int, int]:
    """Alerts, alerts in cases, cases."""
    engine = create_engine(server.url)
    with engine.connect() as connection:
        found = [
            connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - of these
            for table in ("alerts", "case_alerts", "cases")
        ]
    engine.dispose()
    return found[0] or 0, found[1] or 0, found[2] or 0


def test_while_the_database_is_away_all_wait_and_then_nothing_is_lost_or_doubled(
    town: Town, server: Server
) -> None:
    pipeline = town.pipeline
    first = alerts(range(6))
    pipeline.send(first, topic=pipeline.topics.stop_payment)
    pipeline.until(lambda: stored(server)[0] == len(first), "the first alerts")
    delayed(town, 0)
    pipeline.until(lambda: len(town.orders()) == 1, "the first order")
    (order,) = town.orders()
    delayed(town, 1)
    delayed(town, 2)
    server.stop()  # while these two leave, or before they are noted as sent
    began = time.monotonic()

    pipeline.send([*first, *alerts(range(6, 20))], topic=pipeline.topics.stop_payment)
    answer = MeasureAnswer(id=order.id, answer=Answer.DONE, answered_at=datetime.now(UTC))
    value = answer.model_dump_json().encode()
    pipeline.send([value], topic=pipeline.topics.measures_acknowledged, key=order.account)
    while time.monotonic() - began < OUTAGE_SECONDS:
        away = town.officer.get("/desk")
        assert away.status_code == 503
        assert "不会丢失" in away.text
        pipeline.assert_running()
        time.sleep(0.5)
    assert "wait for the database" in pipeline.parts("desk")[0].said()
    assert "the database" in pipeline.parts("liaison")[0].said()

    server.start()
    pipeline.until(lambda: stored(server) == (20, 20, 20), "all alerts, each in its case")
    pipeline.until(lambda: len({each.id for each in town.orders()}) == 3, "all orders")
    pipeline.until(lambda: answered(town) == 1, "the answer")
    time.sleep(1.5)  # in which the outbox would send again what it had not noted
    assert Counter(each.account for each in town.orders()) == {
        ACCOUNT.format(n): 1 for n in range(3)
    }
    assert stored(server) == (20, 20, 20)
    assert town.officer.get("/desk").status_code == 200
    assert "unbroken" in desk(pipeline, "audit", "verify")
