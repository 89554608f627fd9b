"""The supervisor with children that are small Python programs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import psutil
import pytest

from sluicegate.operations.supervisor import Pauses, Plan, Supervisor, ending
from sluicegate.operations.up import environment_of, part_stages
from sluicegate.settings import BrokerSettings, Settings, TopicSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_SECONDS = 30.0
SLEEP = "import time; time.sleep(600)"
FAREWELL = """
import pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
def leave(*_):
    with folder.joinpath("farewells").open("a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
folder.joinpath(name).touch()
time.sleep(600)
"""


def plan(name: str, code: str, *arguments: str, stop_seconds: float = 20.0) -> Plan:
    return Plan(name, (sys.executable, "-c", code, *arguments), stop_seconds=stop_seconds)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_death(pid: int | None) -> None:
    """Until it is dead, and left for its parent to notice."""
    process = psutil.Process(pid)
    until(lambda: process.status() == psutil.STATUS_ZOMBIE)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("SLUICEGATE_")]:
        monkeypatch.delenv(name)
    before = set(psutil.Process().children(recursive=True))  # the broker of other tests
    yield
    assert not set(psutil.Process().children(recursive=True)) - before


def test_pauses_double_up_to_half_a_minute() -> None:
    pauses = Pauses()
    waited = [pauses.after_death(lived_seconds=1.0) for _ in range(9)]
    assert waited[:4] == [0.5, 1.0, 2.0, 4.0]
    assert all(longer >= shorter for shorter, longer in pairwise(waited))
    assert waited[-1] == 30.0


def test_who_lived_long_starts_again_at_once() -> None:
    pauses = Pauses()
    for _ in range(6):
        pauses.after_death(lived_seconds=1.0)
    assert pauses.after_death(lived_seconds=3600.0) == 0.5


def test_a_child_that_dies_is_started_again_after_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    with Supervisor([[plan("part", "raise SystemExit(3)")]]) as supervisor:
        first, now = supervisor.pid("part"), time.monotonic()
        wait_for_death(first)
        supervisor.look(now)
        assert supervisor.pid("part") is None
        assert supervisor.deaths == {"part": 1}
        assert "part ended with exit code 3" in caplog.text
        supervisor.look(now + 0.4)
        assert supervisor.pid("part") is None
        supervisor.look(now + 0.6)
        assert supervisor.pid("part") not in (None, first)


def test_a_crash_loop_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with Supervisor([[plan("part", "raise SystemExit(1)")]]) as supervisor:
        now = time.monotonic()
        for _ in range(4):
            wait_for_death(supervisor.pid("part"))
            supervisor.look(now)
            now += 100.0
            supervisor.look(now)
    levels = [record.levelno for record in caplog.records]
    assert levels[:4] == [logging.WARNING] * 3 + [logging.ERROR]
    assert "does not stay up: 4 times in a row" in caplog.text


def test_a_child_knows_how_often_it_was_started_again(tmp_path: Path) -> None:
    code = (
        "from sluicegate.operations.metrics import Metrics, Part\n"
        "shown = Metrics(Part.WORKER).registry.get_sample_value('sluicegate_restarts')\n"
        "print(shown, flush=True)\n"
        "raise SystemExit(1)"
    )
    log_file = tmp_path / "part.log"
    with Supervisor([[Plan("part", (sys.executable, "-c", code), {}, log_file)]]) as supervisor:
        now = time.monotonic()
        for _ in range(2):
            wait_for_death(supervisor.pid("part"))
            supervisor.look(now)
            now += 100.0
            supervisor.look(now)
        wait_for_death(supervisor.pid("part"))
    assert log_file.read_text().split() == ["0.0", "1.0", "2.0"]


def test_a_child_that_is_held_back_starts_when_it_is_released() -> None:
    plans = [[plan("late", SLEEP)], [plan("early", SLEEP)]]
    with Supervisor(plans, held=["late"]) as supervisor:
        assert supervisor.pid("early") is not None
        assert supervisor.pid("late") is None
        supervisor.release("late")
        supervisor.look(time.monotonic())
        assert supervisor.pid("late") is not None


def test_what_cannot_be_started_at_all_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with Supervisor([[Plan("part", ("/there/is/no/such/program",))]]) as supervisor:
        assert supervisor.deaths == {"part": 1}
        supervisor.look(time.monotonic() + 60.0)
        assert supervisor.deaths == {"part": 2}
    assert "could not be started" in caplog.text


def test_children_are_stopped_stage_by_stage(tmp_path: Path) -> None:
    names = ["source", "middle-0", "middle-1", "end"]
    plans = {name: plan(name, FAREWELL, name, str(tmp_path)) for name in names}
    stages = [[plans["source"]], [plans["middle-0"], plans["middle-1"]], [plans["end"]]]
    with Supervisor(stages):
        until(lambda: all((tmp_path / name).exists() for name in names))
    said = (tmp_path / "farewells").read_text().split()
    assert said[0] == "source"
    assert sorted(said[1:3]) == ["middle-0", "middle-1"]
    assert said[3] == "end"


def test_who_does_not_listen_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    )
    ready = tmp_path / "ready"
    with Supervisor([[plan("deaf", code, str(ready), stop_seconds=0.2)]]) as supervisor:
        until(ready.exists)
        deaf = psutil.Process(supervisor.pid("deaf"))
    assert not deaf.is_running()
    assert "deaf did not end in time after SIGTERM: killed" in caplog.text


def test_children_live_in_sessions_of_their_own() -> None:
    with Supervisor([[plan("part", SLEEP)]]) as supervisor:
        pid = supervisor.pid("part")
        assert pid is not None
        assert os.getsid(pid) == pid


def test_output_goes_to_the_log_file_and_the_environment_comes_from_the_plan(
    tmp_path: Path,
) -> None:
    code = "import os, sys; print(os.environ['PLANNED']); print('also', file=sys.stderr)"
    log_file = tmp_path / "part.log"
    planned = Plan("part", (sys.executable, "-c", code), {"PLANNED": "as planned"}, log_file)
    with Supervisor([[planned]]) as supervisor:
        wait_for_death(supervisor.pid("part"))
    assert sorted(log_file.read_text().splitlines()) == ["also", "as planned"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit code 0"), (-9, "was killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_an_ending_is_told_in_words(code: int, words: str) -> None:
    assert words in ending(code)


HOLDER = """
import sys, time
from sluicegate.operations.supervisor import Plan, Supervisor
sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
with Supervisor([[Plan("a", sleeper)], [Plan("b", sleeper)]]) as supervisor:
    print(supervisor.pid("a"), supervisor.pid("b"), flush=True)
    time.sleep(600)
"""


def test_children_die_with_a_supervisor_that_dies_by_sigkill() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    family = [psutil.Process(int(pid)) for pid in holder.stdout.readline().split()]
    family += psutil.Process(holder.pid).children(recursive=True)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    gone, alive = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    assert gone
    assert not alive


def test_a_child_reads_the_settings_of_its_parent_from_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = {
        "bootstrap": "kafka:9092",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "sluicegate",
        "sasl_password": "a = 'secret' \"of\" ümlauts",
        "ca_file": "ca.pem",
    }
    settings = Settings(
        broker=BrokerSettings.model_validate(broker), topics=TopicSettings(prefix="bank-")
    )
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_workers_of_one_machine_have_slots_and_ports_of_their_own() -> None:
    router, workers, liaison = part_stages(Settings(), "kafka:9092", workers=3)
    assert [each.name for each in router + liaison] == ["router", "liaison"]
    slots = [each.environment["SLUICEGATE_WORKER__SLOT"] for each in workers]
    assert slots == ["w0", "w1", "w2"]
    for name in ("SLUICEGATE_WORKER__WEB_PORT", "SLUICEGATE_WORKER__METRICS_PORT"):
        assert len({each.environment[name] for each in workers}) == 3
    taken = {Settings().router.metrics_port, Settings().liaison.metrics_port}
    metrics = {int(each.environment["SLUICEGATE_WORKER__METRICS_PORT"]) for each in workers}
    assert not taken & metrics
