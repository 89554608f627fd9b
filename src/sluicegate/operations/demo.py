"""`sluicegate demo`: the whole pipeline with a simulated bank, and the books at the end.

Everything lives in a temporary folder and in child processes, and is gone when the demo is.
"""

import json
import logging
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Final

from rich.console import Console

from sluicegate.errors import Problem
from sluicegate.operations.bank_orders import Orders
from sluicegate.operations.broker import EmbeddedBroker, fetch_jars
from sluicegate.operations.demo_books import Measured, books_of, books_tables
from sluicegate.operations.demo_stage import (
    Auditor,
    Bank,
    alerts_stored,
    child_environment,
    counter_key,
    demo_settings,
    first_people,
    remove_topics,
)
from sluicegate.operations.demo_view import Lines, Screen, State, View
from sluicegate.operations.demo_watch import Figures, Watch, quantiles_of
from sluicegate.operations.logs import start_logging
from sluicegate.operations.parts import stop_on_signals
from sluicegate.operations.stage import Stage, set_stage
from sluicegate.operations.supervisor import CRASH_LOOP_DEATHS, Supervisor
from sluicegate.operations.up import (
    BROKER_STOP_SECONDS,
    counter_plan,
    desk_plan,
    environment_of,
    part_stages,
)
from sluicegate.settings import Settings
from sluicegate.streaming.clients import wait_for_broker
from sluicegate.streaming.topics import create_topics

LOOK_SECONDS: Final = 0.1
FIGURES_SECONDS: Final = 0.5
"""How often the parts are asked for their figures: each answer costs them some milliseconds."""
RATE_FIGURES: Final = 4
"""The rate is that between this many figures."""
LATEST_DELAYS: Final = 2_000
BANK_STOP_SECONDS: Final = 1.0
CATCH_UP_SECONDS: Final = 2.0
PATIENT_CATCH_UP_SECONDS: Final = 20.0
AUDIT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Wishes:
    """What the user asked for on the command line."""

    seconds: float | None
    report: Path | None
    seed: int
    rate: float
    history: int
    language: str
    broker: str | None


def run_demo(settings: Settings, wishes: Wishes) -> int:
    """Run the demo and print the books; the exit status is 0 only if nothing was lost or doubled.

    Raises:
        Problem: Something could not be started, or died and does not stay up.
    """
    if wishes.report is not None:
        _write(wishes.report, "")  # that it cannot be written is better known now
    if wishes.broker is None:
        fetch_jars()
    stop = stop_on_signals()
    signal.signal(signal.SIGHUP, lambda *_: stop.set())
    console = Console(stderr=True)
    lively = console.is_terminal and wishes.report is None
    view: View = Screen(console, wishes.language) if lively else Lines(console)
    start_logging("demo", logging.WARNING)
    with set_stage("demo") as stage:
        demo = _Demo(settings, wishes, stage, view, stop)
        try:
            with ExitStack() as running:
                running.callback(view.close)
                report = demo.run(running)
        except Exception:
            view.say(f"the logs are kept in {stage.keep_logs()}")
            raise
        if report is None:
            view.say("stopped before it began")
            return 0
        report["seconds_to_stop"] = round(time.monotonic() - demo.stopping_since, 2)
        return _tell(report, wishes, stage, view)


def _tell(report: dict[str, Any], wishes: Wishes, stage: Stage, view: View) -> int:
    """Print and write the books, and give the exit status."""
    out = Console()
    for table in books_tables(report):
        out.print(table)
    view.say(f"stopped in {report['seconds_to_stop']:.1f} s")
    if wishes.report is not None:
        _write(wishes.report, json.dumps(report, indent=2) + "\n")
    faults = int(report["lost"]) + int(report["doubled"])
    if faults or report["deaths"]:
        view.say(f"the logs are kept in {stage.keep_logs()}")
    return 1 if faults else 0


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(f"{file}: cannot be written", str(error.strerror)) from error


class _Demo:
    """One performance."""

    def __init__(
        self, settings: Settings, wishes: Wishes, stage: Stage, view: View, stop: Event
    ) -> None:
        self._wishes = wishes
        self._stage = stage
        self._view = view
        self._stop = stop
        self._prefix = "" if wishes.broker is None else f"demo-{secrets.token_hex(4)}-"
        self._settings = demo_settings(settings, stage, self._prefix)
        self._began_at = time.monotonic()
        self.stopping_since = self._began_at
        self._state = State(history=wishes.history)
        self._readings: deque[tuple[float, int]] = deque(maxlen=RATE_FIGURES)
        self._figures_at = 0.0
        self._delays_ms: list[int] = []
        self._first_alert_at: float | None = None
        self._caught_up_at: float | None = None
        self._broker: EmbeddedBroker | None = None
        self._auditor: Auditor | None = None

    def run(self, running: ExitStack) -> dict[str, Any] | None:
        """From the start to the books; None if it was stopped before the history was sent.

        What is started is left to `running` to end.
        """
        self._start_bank(running)
        bootstrap = self._start_broker(running)
        self._start_parts(running, bootstrap)
        # Not before half of it is there: read as it comes, days of history in the blink of an
        # eye, the partitions would be out of step by what the sender and the broker hold back.
        half = self._wishes.history // 2
        self._watch_while("history", lambda: self._bank.told.sent < half)
        auditor = self._start_auditor(running, bootstrap)
        self._supervisor.release("router")
        self._watch_while("history", lambda: not self._bank.told.history_done)
        if self._stop.is_set():
            return None
        self._open_desk()
        self._supervisor.release("liaison")
        self._open_counter()
        self._watch_while("backlog", lambda: not self._watch.has_caught_up())
        if not self._stop.is_set():
            self._caught_up_at = time.monotonic()
            self._bank.go_live()
        self._say_where()
        self._watch_while("live", lambda: not self._is_over())
        return self._finish(auditor)

    # The start.

    def _start_bank(self, running: ExitStack) -> None:
        """The bank draws its city while the broker starts."""
        orders = Orders(
            seed=self._wishes.seed,
            history=self._wishes.history,
            rate=self._wishes.rate,
            truth=str(self._stage.truth),
        )
        environment = environment_of(self._settings) | child_environment(self._stage)
        self._bank = Bank(self._stage, orders, environment)
        running.callback(self._bank.stop, 0)

    def _start_parts(self, running: ExitStack, bootstrap: str) -> None:
        """The worker first, who takes longest; the others when there is something for them."""
        create_topics(self._settings, bootstrap)
        self._bank.open(bootstrap)
        folder, extra = self._stage.folder, child_environment(self._stage)
        stages = part_stages(self._settings, bootstrap, log_dir=folder, extra=extra)
        stages[0].append(counter_plan(self._settings, bootstrap, 1, log_dir=folder, extra=extra))
        stages[0].append(desk_plan(self._settings, bootstrap, 1, log_dir=folder, extra=extra))
        held = ("router", "liaison", "counter", "desk")
        self._supervisor = running.enter_context(Supervisor(stages, held=held))
        self._watch = Watch(self._settings, bootstrap)
        running.callback(self._watch.close)

    def _open_counter(self) -> None:
        key = counter_key(self._settings)
        self._supervisor.release("counter")
        address = f"http://127.0.0.1:{self._settings.counter.port}/counter"
        self._view.say(f"the counter: {address} with the key {key}")

    def _open_desk(self) -> None:
        """The desk before its consumer: both bring the database up to date, one after the other."""
        passwords = first_people(self._settings)
        self._supervisor.release("desk")
        self._view.say(f"the desk is at http://127.0.0.1:{self._settings.desk.port}/desk")
        for name, password in passwords.items():
            self._view.say(f"  sign in as {name} with the one-time password {password}")

    def _start_auditor(self, running: ExitStack, bootstrap: str) -> Auditor:
        self._auditor = Auditor(self._stage, self._settings, bootstrap)
        running.callback(self._auditor.stop)
        return self._auditor

    def _start_broker(self, running: ExitStack) -> str:
        if self._wishes.broker is not None:
            wait_for_broker(self._settings, self._wishes.broker, self._view.say)
            running.callback(remove_topics, self._settings, self._wishes.broker)
            return self._wishes.broker
        self._view.say("starting Apache Kafka")
        self._broker = EmbeddedBroker(self._stage.folder / "broker")
        self._broker.start()
        running.callback(self._broker.stop, BROKER_STOP_SECONDS)
        if self._broker.pid is not None:
            self._stage.guard.kill_later(self._broker.pid)  # before the folder is removed
        return self._broker.bootstrap

    def _say_where(self) -> None:
        """Where the figures of the parts are, for those who want to look on."""
        settings, bind = self._settings, self._settings.metrics.bind
        parts = (settings.router, settings.worker, settings.liaison, settings.counter)
        at = [f"{bind}:{part.metrics_port}" for part in parts]
        self._view.say(f"figures: {', '.join(f'http://{each}/metrics' for each in at)}")
        self._view.say(f"or: sluicegate status {' '.join(f'--at {each}' for each in at)}")

    # The performance.

    def _watch_while(self, phase: str, lasts: Callable[[], bool]) -> None:
        """Look after all that runs, and show it, while something lasts; or until told to stop."""
        while not self._stop.is_set() and lasts():
            self._look_after()
            self._note(phase)
            self._stop.wait(LOOK_SECONDS)

    def _is_over(self) -> bool:
        seconds, live_seconds = self._wishes.seconds, self._live_seconds()
        return seconds is not None and live_seconds is not None and live_seconds >= seconds

    def _live_seconds(self) -> float | None:
        began_ms = self._bank.told.live_from_ms
        return None if began_ms is None else max(0.0, time.time() - began_ms / 1000)

    def _note(self, phase: str) -> None:
        """Take note of the alerts that are new, and show where things stand."""
        seen = self._watch.take()
        if seen and self._first_alert_at is None:
            self._first_alert_at = time.monotonic()
        live_from_ms = self._bank.told.live_from_ms
        if live_from_ms is not None:
            self._delays_ms += [each.delay_ms for each in seen if each.recorded_ms >= live_from_ms]
        self._state = replace(
            self._state,
            phase=phase,
            live_seconds=self._live_seconds(),
            figures=self._fresh_figures(),
            rate=self._rate(),
            alerts=self._state.alerts + len(seen),
            latency=quantiles_of(self._delays_ms[-LATEST_DELAYS:]),
            deaths=self._supervisor.deaths,
        )
        self._view.show(self._state, seen)

    def _fresh_figures(self) -> Figures:
        now = time.monotonic()
        if now - self._figures_at < FIGURES_SECONDS:
            return self._state.figures
        self._figures_at = now
        figures = self._watch.figures()
        self._readings.append((now, figures.read))
        return figures

    def _rate(self) -> float:
        if len(self._readings) < 2:
            return 0.0
        (began_at, before), (now, after) = self._readings[0], self._readings[-1]
        return max(0.0, (after - before) / (now - began_at))

    def _look_after(self) -> None:
        """What has no one to start it again must not die; what has must stay up."""
        self._supervisor.look(time.monotonic())
        if self._broker is not None and self._broker.pid is None:
            raise Problem("demo: the broker ended by itself", self._broker.log_tail())
        for name, process in (("bank", self._bank), ("auditor", self._auditor)):
            how = process.ended() if process is not None else None
            if how is not None:
                raise Problem(f"demo: the {name} {how}", self._stage.log_tail(name))
        for name, deaths in self._supervisor.deaths.items():
            if deaths >= CRASH_LOOP_DEATHS:
                raise Problem(f"demo: {name} does not stay up", self._stage.log_tail(name))

    # The end.

    def _finish(self, auditor: Auditor) -> dict[str, Any]:
        """Stop the bank, let the pipeline and the auditor come to the end, stop the parts."""
        self.stopping_since = time.monotonic()
        live_seconds = self._live_seconds()
        patient = not self._stop.is_set()
        self._view.say("stopping the bank, balancing the books")
        all_handed_over = self._bank.stop(BANK_STOP_SECONDS)
        if self._caught_up_at is not None:  # else it is too far behind to wait for
            self._wait_until_caught_up(PATIENT_CATCH_UP_SECONDS if patient else CATCH_UP_SECONDS)
        auditor.ask()
        self._figures_at = 0.0
        self._note("stopping")
        self._supervisor.stop()
        audited = auditor.books(AUDIT_SECONDS)
        if audited is None:
            raise Problem("demo: the auditor has no books", self._stage.log_tail("auditor"))
        handed_over = self._bank.told.sent if all_handed_over else None
        return books_of(audited, self._measured(handed_over, live_seconds), final=patient)

    def _wait_until_caught_up(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._watch.has_caught_up():
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def _measured(self, handed_over: int | None, live_seconds: float | None) -> Measured:
        read_from, read_until = self._watch.first_applied_at, self._caught_up_at
        return Measured(
            delays_ms=self._delays_ms,
            handed_over=handed_over,
            history=self._wishes.history,
            backlog_seconds=read_until - read_from if read_from and read_until else None,
            live_seconds=live_seconds,
            first_alert_seconds=(
                self._first_alert_at - self._began_at if self._first_alert_at else None
            ),
            alerts_stored=alerts_stored(self._stage),
            deaths=self._supervisor.deaths,
        )
