"""`sluicegate status`: parts are asked over real HTTP, and what is wrong is said."""

from __future__ import annotations

import json
import math
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from sluicegate.errors import Problem
from sluicegate.operations.metric_table import Part
from sluicegate.operations.metrics import Metrics, serve_metrics
from sluicegate.operations.readings import quantile, rate, share_within
from sluicegate.operations.status import Address, Status, parse_address, take_status
from sluicegate.operations.status_page import as_page
from sluicegate.operations.status_view import as_screen, duration, messages, told_as_json, written
from sluicegate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 2
SETTINGS = Settings().changed(topics={"partitions": PARTITIONS})


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.operations.status.BETWEEN_SECONDS", 0.02)


@pytest.fixture
def parts() -> dict[Part, Metrics]:
    """A part of each kind that does its work."""
    made = {part: Metrics(part) for part in Part}
    for metrics in made.values():
        metrics.readiness.report()
    worker = made[Part.WORKER]
    for number in range(PARTITIONS):
        worker.gauge("sluicegate_worker_accounts", partition=str(number)).set(50)
        worker.gauge("sluicegate_worker_memory_bytes", partition=str(number)).set(60_000)
    ages = np.array([0.01] * 98 + [0.3, 3.0])
    worker.histogram("sluicegate_transaction_seconds").observe_many(ages)
    worker.gauge("sluicegate_pattern_set_info", version="0123456789abcdef").set(1)
    made[Part.ROUTER].counter("sluicegate_router_transactions_total").inc(100)
    return made


@pytest.fixture
def addresses(parts: dict[Part, Metrics]) -> Iterator[list[Address]]:
    with ExitStack() as pages:
        made = []
        for metrics in parts.values():
            page = serve_metrics(metrics, "127.0.0.1", 0)
            pages.callback(page.close)
            made.append(Address("127.0.0.1", page.port))
        yield made


def screen(status: Status) -> str:
    console = Console(width=100, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(as_screen(status))
    return captured.get()


def test_when_all_parts_do_their_work_nothing_is_wrong(addresses: list[Address]) -> None:
    status = take_status(SETTINGS, addresses)
    assert status.well, status.problems
    assert [part.part for part in status.parts] == [part.value for part in Part]
    assert status.figures["transactions"] == 100
    assert status.figures["judged_in_time"] == 0.99
    assert status.figures["account_bytes"] == 1_200
    assert "Money is being watched" in screen(status)
    told = json.loads(told_as_json(status))
    assert next(iter(told.items())) == ("well", True)
    assert told["latency"][-1] == ["inf", 100]
    page = as_page(status)
    assert "资金正在被监测" in page
    assert page.count('class="bar late"') == 2  # the buckets up to 2 s and up to 5 s


def test_a_part_that_is_not_ready_says_why(
    parts: dict[Part, Metrics], addresses: list[Address]
) -> None:
    parts[Part.WORKER].readiness.report("partition 1 is 90 s behind")
    status = take_status(SETTINGS, addresses)
    assert not status.well
    (problem,) = status.problems
    assert "partition 1 is 90 s behind" in problem
    assert problem.startswith("worker at ")
    assert problem in " ".join(screen(status).split())
    assert "partition 1 is 90 s behind" in as_page(status)


def test_what_does_not_answer_is_away(addresses: list[Address]) -> None:
    status = take_status(SETTINGS, [*addresses, Address("127.0.0.1", 1, Part.WORKER)])
    assert status.parts[-1].state == "away"
    assert status.problems == ("worker at 127.0.0.1:1: does not answer",)


def test_partitions_without_a_worker_holes_and_unequal_patterns_are_problems(
    parts: dict[Part, Metrics], addresses: list[Address]
) -> None:
    worker = parts[Part.WORKER]
    worker.gauge("sluicegate_worker_gap", partition="1").set(1)
    worker.gauge("sluicegate_pattern_set_info", version="fedcba9876543210").set(1)
    status = take_status(Settings().changed(topics={"partitions": 5}), addresses)
    assert [each.split(":")[0] for each in status.problems] == [
        "3 of 5 partitions have no worker",
        "the log of partition 1 has a hole",
        "workers judge by different pattern sets",
    ]


def test_every_worker_behind_one_name_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    first = serve_metrics(Metrics(Part.WORKER), "127.0.0.1", 0)
    second = serve_metrics(Metrics(Part.WORKER), "127.0.0.2", first.port)
    usual = socket.getaddrinfo
    hosts = ("127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda host, *rest: [
            found
            for each in (hosts if host == "worker" else (host,))
            for found in usual(each, *rest)
        ],
    )
    try:
        status = take_status(SETTINGS, [parse_address(f"worker:{first.port}")])
    finally:
        first.close()
        second.close()
    assert [part.address for part in status.parts] == [f"{host}:{first.port}" for host in hosts]
    assert {part.state for part in status.parts} == {"not ready"}


@pytest.mark.parametrize("text", ["9402", "host:", ":1", "host:70000", "host:x"])
def test_what_is_no_address_is_a_problem(text: str) -> None:
    with pytest.raises(Problem, match="is not an address"):
        parse_address(text)


def test_ports_that_the_settings_do_not_know_must_be_named() -> None:
    with pytest.raises(Problem, match="--at"):
        take_status(Settings().changed(worker={"metrics_port": 0}))


def test_figures_are_computed_as_prometheus_does() -> None:
    buckets = [(0.1, 50.0), (1.0, 100.0), (math.inf, 100.0)]
    assert quantile(0.5, buckets) == pytest.approx(0.1)
    assert quantile(0.75, buckets) == pytest.approx(0.55)
    assert quantile(0.99, [(1.0, 0.0), (math.inf, 5.0)]) == 1.0
    assert quantile(0.5, []) is quantile(0.5, [(1.0, 0.0)]) is None
    assert share_within(0.1, buckets) == 0.5
    assert rate(10, 30, 2) == 10
    assert rate(30, 10, 2) is rate(None, 1, 2) is None  # it began anew; it was not there


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "4 ms"), (1.24, "1.2 s"), (90, "90 s"), (180, "3 min"), (7_300, "2 h"), (1e6, "12 d")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_figure_has_words_in_both_languages(addresses: list[Address]) -> None:
    catalogue = messages()
    figures = take_status(SETTINGS, addresses).figures
    assert set(catalogue["figures"]) == set(figures)
    for section in catalogue.values():
        for words in section.values():
            assert words["zh"]
            assert words["en"]
    assert {each["group"] for each in catalogue["figures"].values()} == set(catalogue["groups"])
    assert written(None, "count") == "-"
