"""The processes that are tortured: parts of the pipeline, watched as a supervisor would.

A part that ends without having been asked to is a fault, with the tail of its log, unless it is
a zombie that found itself replaced; then as always it is started again.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sluicegate.operations.guard import Guard
from sluicegate.operations.supervisor import FIRST_PAUSE_SECONDS, ending
from sluicegate.operations.torture_schedule import LIAISON, ROUTERS, WORKERS
from sluicegate.operations.up import environment_of
from sluicegate.settings import ENVIRONMENT_PREFIX, Settings

STOP_LIMIT_SECONDS: Final = 20.0
"""Whoever takes longer after SIGTERM hangs, whatever the broker does."""
ZOMBIE_SECONDS: Final = 30.0
"""So long after it was thawed a zombie may end because it was replaced."""
TAIL_LINES: Final = 40
NOISE: Final = "Connect to ipv4#"
FOUND_REPLACED: Final = 1


@dataclass(frozen=True)
class Fault:
    """What must not happen, and what the part said."""

    what: str
    log: str = ""


@dataclass(frozen=True)
class Life:
    """A start of a worker, in milliseconds since the epoch."""

    slot: str
    began_ms: int


@dataclass
class Part:
    """One part: what is wanted of it, and its process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    wanted: bool = False
    process: subprocess.Popen[bytes] | None = None
    asked_at: float | None = None
    """When it was told to end."""
    killed: bool = False
    frozen: bool = False
    thawed_at: float = float("-inf")
    due_at: float = 0.0
    said_before: int = 0
    """Bytes of its log when it was started last."""

    def launch(self) -> int:
        """Start it; its process id."""
        with self.log.open("ab") as output:
            self.said_before = output.tell()
            self.process = subprocess.Popen(
                self.command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.asked_at, self.killed, self.frozen = None, False, False
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def may_end_with(self, code: int, now: float) -> bool:
        """Whether this is how it should have ended."""
        if self.killed:
            return True
        if now - self.thawed_at < ZOMBIE_SECONDS and code == FOUND_REPLACED:
            return True
        # Before a part has begun its work, SIGTERM just ends it.
        return self.asked_at is not None and code in {0, -signal.SIGTERM}

    def has_said(self, words: str) -> bool:
        """Whether its log holds these words since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self.said_before)
            return words.encode() in log.read()

    def tail(self) -> str:
        """The last lines of its log, without what librdkafka says of every attempt to connect."""
        try:
            lines = self.log.read_text("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in lines if NOISE not in line][-TAIL_LINES:])


@dataclass
class Cast:
    """All parts by name: `w0` to `w2`, `r0`, `r1`, `liaison`."""

    parts: dict[str, Part]
    guard: Guard
    faults: list[Fault] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    stop_seconds: list[float] = field(default_factory=list)
    """How long each took to end after SIGTERM."""
    replaced: int = 0
    """Zombies that ended because they found themselves replaced."""

    def start(self, name: str) -> None:
        """It shall run; it starts when it has ended, if it is on its way out."""
        self.parts[name].wanted = True
        self.look(time.monotonic())

    def stop(self, name: str) -> None:
        """SIGTERM."""
        part = self.parts[name]
        part.wanted, part.asked_at = False, time.monotonic()
        part.send(signal.SIGTERM)

    def kill(self, name: str) -> None:
        """SIGKILL, as a power cut would."""
        part = self.parts[name]
        part.wanted, part.killed = False, True
        part.send(signal.SIGKILL)
        if part.process is not None:
            part.process.wait()
            self.kills[kind_of(name)] += 1

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self.parts[name].frozen = True
        self.parts[name].send(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        part = self.parts[name]
        part.frozen, part.thawed_at = False, time.monotonic()
        part.send(signal.SIGCONT)

    def look(self, now: float) -> None:
        """Notice who has ended and who hangs, start who is due."""
        for part in self.parts.values():
            self._notice(part, now)
            if part.wanted and part.process is None and now >= part.due_at:
                self.guard.kill_later(part.launch())
                if kind_of(part.name) == "worker":
                    self.lives.append(Life(part.name, time.time_ns() // 1_000_000))

    @property
    def running(self) -> list[str]:
        """Names of those that run."""
        return [name for name, part in self.parts.items() if part.process is not None]

    @property
    def awake(self) -> list[str]:
        """Names of those that run and are not frozen."""
        return [name for name in self.running if not self.parts[name].frozen]

    def stop_all(self, kind: str) -> None:
        """SIGTERM to all parts of a kind, and wait for their end."""
        names = [name for name in self.running if kind_of(name) == kind]
        for name in names:
            self.stop(name)
        while any(self.parts[name].process is not None for name in names):
            self.look(time.monotonic())
            time.sleep(0.05)

    def end(self) -> None:
        """SIGKILL to all that still runs, frozen or not."""
        for part in self.parts.values():
            if part.process is not None:
                part.process.kill()
                part.process.wait()
                part.process = None

    def _notice(self, part: Part, now: float) -> None:
        if part.process is None:
            return
        code = part.process.poll()
        if code is None:
            self._end_if_it_hangs(part, now)
            return
        part.process = None
        by_itself = part.asked_at is None and not part.killed
        if part.asked_at is not None and not part.killed:
            self._note_stop(part, now - part.asked_at)
        if not part.may_end_with(code, now):
            self.faults.append(Fault(f"{part.name} {ending(code)} by itself", part.tail()))
        elif by_itself:
            self.replaced += 1
        if by_itself:
            part.due_at = now + FIRST_PAUSE_SECONDS

    def _note_stop(self, part: Part, seconds: float) -> None:
        self.stop_seconds.append(seconds)
        if seconds > STOP_LIMIT_SECONDS:
            self._blame_slow(part)

    def _blame_slow(self, part: Part) -> None:
        what = f"{part.name} did not end within {STOP_LIMIT_SECONDS:g} s after SIGTERM"
        self.faults.append(Fault(what, part.tail()))

    def _end_if_it_hangs(self, part: Part, now: float) -> None:
        if part.asked_at is None or now - part.asked_at < STOP_LIMIT_SECONDS or part.killed:
            return
        part.send(signal.SIGABRT)  # its faulthandler says where it hangs
        if part.process is not None:
            part.process.wait()
        self._blame_slow(part)
        part.killed = True


def kind_of(name: str) -> str:
    """What a part is: worker, router or liaison."""
    if name in WORKERS:
        return "worker"
    return "router" if name in ROUTERS else name


def cast_of(settings: Settings, bootstrap: str, folder: Path, guard: Guard) -> Cast:
    """The parts on this broker, none of them started; their logs and files go to `folder`."""
    (folder / "empty.toml").touch()
    common = {
        **environment_of(settings),
        f"{ENVIRONMENT_PREFIX}BROKER__BOOTSTRAP": bootstrap,
        f"{ENVIRONMENT_PREFIX}CONFIG": str(folder / "empty.toml"),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONFAULTHANDLER": "1",
    }

    def part(name: str) -> Part:
        kind = kind_of(name)
        seat = {} if kind == LIAISON else {f"{ENVIRONMENT_PREFIX}{kind.upper()}__SLOT": name}
        command = (sys.executable, "-m", "sluicegate.cli", kind)
        return Part(name, command, common | seat, folder / f"{name}.log")

    return Cast({name: part(name) for name in (*WORKERS, *ROUTERS, LIAISON)}, guard)
