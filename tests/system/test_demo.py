"""The demo as people run it: the books balance, and nothing is left behind."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.system.commands import WAIT_SECONDS, running

from sluicegate.operations.mishaps import BAD, REPEATS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker

SMALL = ("--history", "20000", "--rate", "500")
STATES = ("scored", "repeats", "dead_lettered", "waiting", "lost")
SCENARIOS = {
    *("mule_chain", "scatter_gather", "dormant_woken"),
    *("test_then_large", "structuring", "pass_through_commission"),
}


def test_a_demo_with_a_report_balances_its_books_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    with running(tmp_path, "demo", "--for", "5", *SMALL, "--report", str(file)) as demo:
        assert demo.end() == 0, demo.err
        assert not demo.left_over()
        assert "The books" in demo.out
        assert re.search(r"the desk is at http://127.0.0.1:\d+/desk", demo.err)
        assert "sign in as admin with the one-time password" in demo.err
    report = json.loads(file.read_text())
    assert report["sent"] == sum(report[state] for state in STATES)
    assert report["sent"] >= 20_000 + 5 * 500
    assert report["lost"] == report["waiting"] == report["doubled"] == 0
    assert (report["repeats"], report["dead_lettered"]) == (REPEATS, BAD)
    assert 0 < report["alerts"] == report["alerts_stored"]
    for by_type in ("planted", "caught", "missed"):
        assert set(report[by_type]) == SCENARIOS
    assert 0 <= report["false_alarms"] <= report["alerts"]
    assert report["rate_tx_s"] > 0
    assert set(report["latency_ms"]) == {"p50", "p99", "p999"}
    assert report["deaths"] == {}


def test_ctrl_c_in_the_live_part_ends_it_with_the_books(tmp_path: Path) -> None:
    with running(tmp_path, "demo", *SMALL) as demo:
        demo.until(lambda: "\nlive 3 s: " in demo.err)
        shown = re.search(r"the counter: (http\S+)/counter with the key (sg-\S+)", demo.err)
        assert shown is not None
        demo.until(lambda: _is_answered(shown[1], shown[2]))
        assert demo.interrupt() == 0, demo.err
        assert not demo.left_over()
        assert "The books" in demo.out
        assert "stopped in " in demo.err
    print(demo.err.splitlines()[-1])  # noqa: T201 - the time, for those who look


def _is_answered(counter: str, key: str) -> bool:
    """The demo's counter judges a check."""
    headers, check = {"Authorization": f"Bearer {key}"}, {"amount": 5, "payer_account": "A"}
    try:
        answer = httpx.post(f"{counter}/v1/checks", headers=headers, json=check)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and not answer.json()["degraded"]


def test_ctrl_c_at_the_start_just_ends_it(tmp_path: Path) -> None:
    with running(tmp_path, "demo", *SMALL) as demo:
        demo.until(lambda: "starting Apache Kafka" in demo.err)
        assert demo.interrupt() == 0, demo.err
        assert not demo.left_over()


def test_a_demo_that_is_killed_takes_everything_with_it(tmp_path: Path) -> None:
    with running(tmp_path, "demo", *SMALL) as demo:
        demo.until(lambda: "backlog: " in demo.err)
        demo.process.kill()
        demo.process.wait()
        deadline = time.monotonic() + WAIT_SECONDS
        while demo.left_over():
            assert time.monotonic() < deadline, demo.left_over()
            time.sleep(0.1)
