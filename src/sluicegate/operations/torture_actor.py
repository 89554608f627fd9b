"""Acts the schedule out: each step when it is due, to parts and broker, and looks after all."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.operations.torture_parts import Cast, Fault
from sluicegate.operations.torture_schedule import (
    BROKER,
    LIAISON,
    ROUTERS,
    WORKERS,
    Deed,
    Kind,
    Schedule,
    Step,
)
from sluicegate.operations.torture_wait import (
    awaits_members,
    awaits_successor,
    have_joined,
    have_taken_over,
)
from sluicegate.operations.torture_watch import Watch

LOOK_SECONDS: Final = 0.05
MOMENT_SECONDS: Final = 15.0
ACTIVE: Final = "is the active router"
BROKER_ATTEMPTS: Final = 3
MOST_FAULTS: Final = 20
"""With so many nothing more is learned."""

_WORDS: Final = {
    Deed.KILL: "kills",
    Deed.STOP: "stops",
    Deed.START: "starts",
    Deed.FREEZE: "freezes",
    Deed.FREEZE_IN_CHECKPOINT: "freezes in a checkpoint",
    Deed.THAW: "thaws",
}


class Ground:
    """The broker, as one that is killed, frozen, and started again while the rest goes on."""

    def __init__(self, broker: EmbeddedBroker, faults: list[Fault]) -> None:
        self._broker = broker
        self._faults = faults
        self._starting: Thread | None = None
        self._down = False

    def kill(self) -> None:
        """SIGKILL."""
        self._down = True
        self._broker.kill()

    def start(self) -> None:
        """On the same port, with its records; it comes up while this returns."""
        self._starting = Thread(target=self._start, name="broker", daemon=True)
        self._starting.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def look(self) -> None:
        """A broker that ends by itself ends the torture.

        Raises:
            Problem: it did.
        """
        if not self._down and self._broker.pid is None:
            raise Problem("torture: the broker ended by itself", self._broker.log_tail())

    def await_start(self) -> None:
        """Return when it has come up, if it is on its way."""
        if self._starting is not None:
            self._starting.join()

    def _start(self) -> None:
        for attempt in range(BROKER_ATTEMPTS):
            try:
                self._broker.start()
            except Problem as problem:
                if attempt == BROKER_ATTEMPTS - 1:
                    self._faults.append(Fault("the broker did not come up", str(problem)))
            else:
                self._down = False
                return

    def _signal(self, number: signal.Signals) -> None:
        self.await_start()
        if (pid := self._broker.pid) is not None:
            os.kill(pid, number)


class Actor:
    """Acts; `tell` hears what happens now."""

    def __init__(
        self,
        cast: Cast,
        ground: Ground,
        watch: Watch,
        partitions: int,
        tell: Callable[[str], None],
    ) -> None:
        self._cast = cast
        self._ground = ground
        self._watch = watch
        self._partitions = partitions
        self._tell = tell
        self._frozen_ms: dict[str, int] = {}
        self.done: Counter[tuple[Kind, Deed]] = Counter()
        self.in_checkpoint = 0
        """Zombies that were frozen while a checkpoint was being written."""

    def open(self) -> None:
        """The parts with which it begins."""
        for name in (WORKERS[0], ROUTERS[0], LIAISON):
            self._cast.start(name)

    def look(self) -> None:
        """Look after all that runs.

        Raises:
            Problem: the broker ended by itself, or the parts fail again and again.
        """
        self._ground.look()
        self._cast.look(time.monotonic())
        if len(self._cast.faults) >= MOST_FAULTS:
            fault = self._cast.faults[-1]
            raise Problem(f"torture: too many faults, the last: {fault.what}", fault.log)

    def act(self, schedule: Schedule, stop: Event) -> None:
        """All steps; what takes longer than planned moves the rest."""
        began_at = time.monotonic()
        for step in schedule.steps:
            while not stop.is_set() and (left := began_at + step.at - time.monotonic()) > 0:
                self.look()
                self._watch.listen()
                stop.wait(min(left, LOOK_SECONDS))
            self._await_the_moment(step, stop)
            if stop.is_set():
                return
            self.do(step)
            began_at += max(0.0, time.monotonic() - (began_at + step.at) - LOOK_SECONDS)

    def _await_the_moment(self, step: Step, stop: Event) -> None:
        """Until who is meant to be there is there; not for ever, others may be dead meanwhile."""
        deadline = time.monotonic() + MOMENT_SECONDS
        while not self._is_the_moment(step) and time.monotonic() < deadline and not stop.is_set():
            self.look()
            self._watch.listen()
            stop.wait(LOOK_SECONDS)

    def _is_the_moment(self, step: Step) -> bool:
        said, cast = self._watch.progress.said, self._cast
        workers = [name for name in cast.awake if name in WORKERS]
        if awaits_members(step):
            return have_joined(workers, cast.lives, said)
        if not awaits_successor(step):
            return True
        if step.target in ROUTERS:
            return any(cast.parts[name].has_said(ACTIVE) for name in cast.awake if name in ROUTERS)
        since_ms = self._frozen_ms.get(step.target, 0)
        return have_taken_over(workers, self._partitions, since_ms, said)

    def do(self, step: Step) -> None:
        """One step."""
        self._tell(f"{_WORDS[step.deed]} {step.target} ({step.kind.replace('_', ' ')})")
        self.done[step.kind, step.deed] += 1
        if step.target == BROKER:
            self._disturb_broker(step.deed)
        else:
            self._disturb(step.deed, step.target)

    def _disturb_broker(self, deed: Deed) -> None:
        ground = self._ground
        match deed:
            case Deed.KILL:
                ground.await_start()
                ground.kill()
            case Deed.START:
                ground.start()
            case Deed.FREEZE:
                ground.freeze()
            case _:
                ground.thaw()

    def _disturb(self, deed: Deed, name: str) -> None:
        cast = self._cast
        match deed:
            case Deed.KILL:
                cast.kill(name)
            case Deed.STOP:
                cast.stop(name)
            case Deed.START:
                cast.start(name)
            case Deed.FREEZE_IN_CHECKPOINT:
                self.in_checkpoint += self._watch.await_checkpoint()
                self._freeze(name)
            case Deed.FREEZE:
                self._freeze(name)
            case Deed.THAW:
                cast.thaw(name)

    def _freeze(self, name: str) -> None:
        self._cast.freeze(name)
        self._frozen_ms[name] = time.time_ns() // 1_000_000

    @property
    def kills(self) -> dict[str, int]:
        """How many were killed with -9, by part."""
        return {kind: self._cast.kills[kind] for kind in ("worker", "router", LIAISON)}

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of thing happened."""
        done = self.done
        return {
            "restarts": done[Kind.RESTART, Deed.STOP],
            "rebalances": sum(times for (kind, _), times in done.items() if kind is Kind.REBALANCE),
            "zombies": sum(
                times
                for (kind, deed), times in done.items()
                if kind is Kind.ZOMBIE and deed in {Deed.FREEZE, Deed.FREEZE_IN_CHECKPOINT}
            ),
            "zombies_in_checkpoint": self.in_checkpoint,
            "zombies_replaced": self._cast.replaced,
            "router_overlaps": done[Kind.OVERLAP, Deed.FREEZE],
            "broker_restarts": done[Kind.BROKER_RESTART, Deed.KILL],
            "broker_aways": done[Kind.BROKER_AWAY, Deed.FREEZE],
        }
