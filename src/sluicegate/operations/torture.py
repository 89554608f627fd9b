"""`sluicegate torture`: kills, stops and starves the pipeline while it works, and balances it all.

Everything lives in a folder of its own and in child processes, and is gone afterwards.
"""

import json
import logging
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final

from rich.console import Console

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker, fetch_jars, free_port
from sluicegate.operations.logs import start_logging
from sluicegate.operations.parts import stop_on_signals
from sluicegate.operations.stage import Stage, set_stage
from sluicegate.operations.torture_actor import Actor, Ground
from sluicegate.operations.torture_balance import balance, is_exact, spread_of
from sluicegate.operations.torture_parts import Cast, Fault, cast_of
from sluicegate.operations.torture_schedule import make_schedule
from sluicegate.operations.torture_settings import torture_settings
from sluicegate.operations.torture_stream import Bank, fixed_stream
from sluicegate.operations.torture_view import View, report_table
from sluicegate.operations.torture_watch import Watch, recoveries
from sluicegate.settings import Settings
from sluicegate.streaming.topics import create_topics

INTERRUPTED: Final = 130
BEGIN_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 180.0
LOOK_SECONDS: Final = 0.1
AFTERWARDS_SECONDS: Final = 3.0
"""The stream goes on after the last step, so that what it did shows."""


@dataclass(frozen=True)
class Wishes:
    """What the user asked for on the command line."""

    kills: int
    seed: int
    rate: float
    report: Path | None = None
    keep: Path | None = None
    """A folder in which everything stays, to be looked into."""


def run_torture(settings: Settings, wishes: Wishes) -> int:
    """Torture the pipeline and print the report; 0 only if all is exact and no part failed.

    Raises:
        Problem: Something could not be started or read, or fails again and again.
    """
    if wishes.report is not None:
        _write(wishes.report, "")  # that it cannot be written is better known now
    fetch_jars()
    stop = stop_on_signals()
    signal.signal(signal.SIGHUP, lambda *_: stop.set())
    start_logging("torture", logging.WARNING)
    view = View(Console(stderr=True), wishes.kills)
    with set_stage("torture", wishes.keep) as stage:
        try:
            with view.shown(), ExitStack() as running:
                report = Torture(settings, wishes, stage, view, stop).run(running)
        except Exception:
            view.say(f"the logs are kept in {stage.keep_logs()}")
            raise
        if report is None:
            view.say("stopped before its end: nothing was balanced")
            return INTERRUPTED
        exact = is_exact(report)
        if not exact:
            view.say(f"the logs are kept in {stage.keep_logs()}")
    Console().print(report_table(report, exact=exact))
    if wishes.report is not None:
        _write(wishes.report, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return 0 if exact else 1


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem(f"{file}: cannot be written", str(error.strerror)) from error


class Torture:
    """One run; what is started is left to an exit stack to end."""

    def __init__(
        self, settings: Settings, wishes: Wishes, stage: Stage, view: View, stop: Event
    ) -> None:
        self._settings = torture_settings(settings, stage)
        self._wishes = wishes
        self._stage = stage
        self._view = view
        self._stop = stop
        self._schedule = make_schedule(wishes.seed, wishes.kills)
        self._broker = EmbeddedBroker(stage.folder / "broker", free_port())
        bootstrap = self._broker.bootstrap
        self._cast: Cast = cast_of(self._settings, bootstrap, stage.folder, stage.guard)
        self._ground = Ground(self._broker, self._cast.faults)

    def run(self, running: ExitStack) -> dict[str, Any] | None:
        """From the start of the broker to the report; None if it was stopped before the end."""
        began_at = time.monotonic()
        self._prepare(running)
        self._actor.open()
        self._bank.start()
        self._view.doing("waits for the first judged legs")
        self._look_while(lambda: not self._has_begun(), BEGIN_SECONDS, "the first judged legs")
        self._actor.act(self._schedule, self._stop)
        if not self._stop.is_set():
            self._settle()
        if self._stop.is_set():
            return None
        self._view.doing("stops the parts")
        for kind in ("router", "worker", "liaison"):
            self._cast.stop_all(kind)
        findings = balance(self._settings, self._broker.bootstrap, self._view.doing)
        self._watch.listen()
        return {
            "seed": self._wishes.seed,
            "rate": self._wishes.rate,
            "kills": self._actor.kills,
            **self._actor.counts,
            "sent": self._bank.sent,
            **findings.as_json(),
            "recovery_seconds": spread_of(recoveries(self._cast.lives, self._watch.progress.said)),
            "stop_seconds": spread_of(self._cast.stop_seconds),
            "faults": [asdict(fault) for fault in self._cast.faults],
            "seconds": round(time.monotonic() - began_at, 1),
        }

    def _prepare(self, running: ExitStack) -> None:
        """The broker, its topics, and who sends to it and asks it; nobody works yet."""
        self._view.doing("starts the broker")
        self._broker.start()
        running.callback(self._broker.stop)
        running.callback(self._ground.await_start)
        if self._broker.pid is not None:
            self._stage.guard.kill_later(self._broker.pid)  # before the folder is removed
        bootstrap = self._broker.bootstrap
        create_topics(self._settings, bootstrap)
        self._watch = Watch(self._settings, bootstrap)
        running.callback(self._watch.close)
        self._actor = Actor(
            self._cast, self._ground, self._watch, self._settings.topics.partitions, self._tell
        )
        running.callback(self._cast.end)
        seconds = self._schedule.seconds + AFTERWARDS_SECONDS
        stream = fixed_stream(self._wishes.seed, self._wishes.rate, seconds)
        self._bank = Bank(self._settings, bootstrap, stream)
        running.callback(self._bank.stop)

    def _tell(self, what: str) -> None:
        self._view.doing(what, sum(self._actor.kills.values()))

    def _has_begun(self) -> bool:
        self._watch.listen()
        return any(applied > 0 for applied in self._watch.progress.applied.values())

    def _settle(self) -> None:
        """Until all that was sent has gone all its way, to the database."""
        self._ground.await_start()
        self._tell("waits until the bank has sent everything")
        self._look_while(lambda: not self._bank.is_done, SETTLE_SECONDS, "the bank")
        if self._bank.failure is not None:
            raise self._bank.failure
        self._tell("waits until all is settled")
        if not self._look_while(lambda: not self._watch.is_settled(), SETTLE_SECONDS):
            behind = "\n".join(self._watch.behind())
            self._cast.faults.append(Fault("it did not come to the end", behind))

    def _look_while(
        self, lasts: Callable[[], bool], seconds: float, awaited: str | None = None
    ) -> bool:
        """Look after all while something lasts, or until told to stop; whether it ended in time.

        Raises:
            Problem: it did not, and it was `awaited`.
        """
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and lasts():
            self._actor.look()
            self._stop.wait(LOOK_SECONDS)
            if time.monotonic() > deadline:
                if awaited is not None:
                    raise Problem(f"torture: waited in vain for {awaited}, {seconds:g} s")
                return False
        return True
