"""Keeps child processes running, and ends them in order.

A child that dies is started again after a pause that doubles with each death in a row. Children
live in sessions of their own, so that a terminal's Ctrl-C reaches only the supervisor; a guard
kills them should the supervisor die hard.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from sluicegate.operations.guard import Guard
from sluicegate.operations.metrics import RESTARTS_VARIABLE

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Who lived this long died for a new reason: the pauses begin anew."""
CRASH_LOOP_DEATHS: Final = 4
LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Plan:
    """A child process: what runs, with what on top of this process's environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    log_file: Path | None = None
    """Where its output goes; None: to the supervisor's stderr."""
    stop_seconds: float = 1.0
    """How long it may take to end after SIGTERM, before SIGKILL; what stages before did not need
    is added."""


@dataclass
class Pauses:
    """How long to wait before a next start. Pure."""

    deaths_in_a_row: int = 0

    def after_death(self, lived_seconds: float) -> float:
        """The pause after a death, in seconds."""
        steady = lived_seconds >= STEADY_SECONDS
        self.deaths_in_a_row = 1 if steady else self.deaths_in_a_row + 1
        doubled: float = FIRST_PAUSE_SECONDS * 2.0 ** (self.deaths_in_a_row - 1)
        return min(doubled, LONGEST_PAUSE_SECONDS)


class Supervisor:
    """Starts the children, looks after them, stops them stage by stage.

    All children of a stage are stopped together, the next stage when they have ended. Those that
    are `held` back, by name, start when they are released.
    """

    def __init__(self, stages: Sequence[Sequence[Plan]], *, held: Iterable[str] = ()) -> None:
        self._held = set(held)
        self._stages = [[_Child(plan) for plan in stage] for stage in stages]
        self._children = [child for stage in self._stages for child in stage]
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        self._guard = Guard()
        try:
            self.look(time.monotonic())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def deaths(self) -> Mapping[str, int]:
        """How often each child has died, by name; those that never did are left out."""
        return {child.plan.name: child.deaths for child in self._children if child.deaths}

    def pid(self, name: str) -> int | None:
        """Process id of a child, None while it does not run."""
        return next(child.pid for child in self._children if child.plan.name == name)

    def release(self, name: str) -> None:
        """Let a child start that was held back."""
        self._held.discard(name)

    def look(self, now: float) -> None:
        """Notice who has died, start who is due; `now` is of the monotonic clock."""
        for child in self._children:
            child.look(now)
            if child.plan.name not in self._held and child.is_due(now):
                pid = child.launch(now)
                if pid is not None and self._guard is not None:
                    self._guard.kill_later(pid)

    def stop(self) -> None:
        """End all children that run, and return when they have ended."""
        deadline = time.monotonic()
        for stage in self._stages:
            deadline += max((child.plan.stop_seconds for child in stage), default=0.0)
            _stop_together(stage, deadline)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None


class _Child:
    """One child and its lives."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deaths = 0
        self._due_at = 0.0
        self._pauses = Pauses()
        self._process: subprocess.Popen[bytes] | None = None
        self._began_at = 0.0

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None else None

    def is_due(self, now: float) -> bool:
        """Whether it should run and does not."""
        return self._process is None and now >= self._due_at

    def launch(self, now: float) -> int | None:
        """Its process id; None if it could not be started."""
        self._began_at = now
        try:
            with ExitStack() as closing:
                output = (
                    closing.enter_context(self.plan.log_file.open("ab"))
                    if self.plan.log_file
                    else sys.stderr
                )
                self._process = subprocess.Popen(
                    self.plan.command,
                    env=os.environ | self.plan.environment | {RESTARTS_VARIABLE: str(self.deaths)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            self._died(now, f"could not be started: {error}")
        return self.pid

    def look(self, now: float) -> None:
        """Notice its death."""
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            self._process = None
            self._died(now, f"{ending(code)} after {now - self._began_at:.1f} s")

    def _died(self, now: float, how: str) -> None:
        self.deaths += 1
        pause = self._pauses.after_death(now - self._began_at)
        self._due_at = now + pause
        row = self._pauses.deaths_in_a_row
        loops = row >= CRASH_LOOP_DEATHS
        log.log(
            logging.ERROR if loops else logging.WARNING,
            "%s %s, death %d, starts again in %g s%s",
            *(self.plan.name, how, self.deaths, pause),
            f"; it does not stay up: {row} times in a row" if loops else "",
        )

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Return when it has ended, by itself or at the deadline by SIGKILL."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s did not end in time after SIGTERM: killed", self.plan.name)
            self._process.kill()
            self._process.wait()
        self._process = None


def ending(code: int) -> str:
    """How a process ended, in words: its exit code, or the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _stop_together(children: Sequence[_Child], deadline: float) -> None:
    for child in children:
        child.terminate()
    for child in children:
        child.end(deadline)
