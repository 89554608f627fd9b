"""All parts on this machine, as supervised child processes."""

import logging
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker, default_data_dir, running_broker
from sluicegate.operations.jars import fetch_jars
from sluicegate.operations.logs import start_logging
from sluicegate.operations.parts import stop_on_signals
from sluicegate.operations.supervisor import LOOK_SECONDS, Pauses, Plan, Supervisor
from sluicegate.settings import ENVIRONMENT_PREFIX, CounterSettings, Settings
from sluicegate.streaming.clients import wait_for_broker
from sluicegate.streaming.topics import check_topics, create_topics

log = logging.getLogger(__name__)

# Together below the 5 s within which all has to be over.
ROUTER_STOP_SECONDS: Final = 0.8
WORKER_STOP_SECONDS: Final = 1.9
LIAISON_STOP_SECONDS: Final = 0.9
BROKER_STOP_SECONDS: Final = 1.2

WORKER_PORTS_APART: Final = 10
"""Between the metrics ports of two workers of a machine: other parts' ports lie in between."""


def run_up(settings: Settings, workers: int) -> None:
    """Run all parts and, if it is embedded, the broker until SIGINT or SIGTERM.

    Raises:
        Problem: The broker or the topics cannot be used from the start.
    """
    start_logging("up", settings=settings.logs)
    if settings.broker.is_embedded:
        fetch_jars()  # may take its time, and Ctrl-C just ends it
    stop = stop_on_signals()
    with ExitStack() as running:
        bootstrap, keeper = _broker(settings, running)
        _prepare_topics(settings, bootstrap)
        stages = part_stages(settings, bootstrap, workers)
        stages[0] += [
            counter_plan(settings, bootstrap, workers),
            desk_plan(settings, bootstrap, workers),
        ]
        supervisor = running.enter_context(Supervisor(stages))
        log.info("%d parts on %s; Ctrl-C stops them", sum(map(len, stages)), bootstrap)
        while not stop.wait(LOOK_SECONDS):
            supervisor.look(time.monotonic())
            if keeper is not None:
                keeper.look(time.monotonic())
        log.info("stops")
    log.info("stopped")


def part_stages(
    settings: Settings,
    bootstrap: str,
    workers: int = 1,
    *,
    log_dir: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> list[list[Plan]]:
    """Router, workers and liaison, in the order in which they are stopped: sources first.

    Their logs go to `log_dir`, else to stderr; `extra` is added to their environment.
    """
    common = {
        **environment_of(settings),
        f"{ENVIRONMENT_PREFIX}BROKER__BOOTSTRAP": bootstrap,
        **(extra or {}),
    }

    def plan(name: str, part: str, stop_seconds: float, **environment: str) -> Plan:
        return Plan(
            name=name,
            command=(sys.executable, "-m", "sluicegate.cli", part),
            environment=common | environment,
            log_file=log_dir / f"{name}.log" if log_dir else None,
            stop_seconds=stop_seconds,
        )

    return [
        [plan("router", "router", ROUTER_STOP_SECONDS)],
        [
            plan(f"worker-{index}", "worker", WORKER_STOP_SECONDS, **_seat(settings, index))
            for index in range(workers)
        ],
        [plan("liaison", "liaison", LIAISON_STOP_SECONDS)],
    ]


def counter_plan(
    settings: Settings,
    bootstrap: str,
    workers: int,
    *,
    log_dir: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Plan:
    """The counter, which asks the workers of this machine unless others are configured.

    `log_dir` and `extra` are as of `part_stages`.
    """
    return _asking_plan("counter", settings, bootstrap, workers, log_dir, extra)


def desk_plan(
    settings: Settings,
    bootstrap: str,
    workers: int,
    *,
    log_dir: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> Plan:
    """The desk, which asks the same workers what is still on an account."""
    return _asking_plan("desk", settings, bootstrap, workers, log_dir, extra)


def _asking_plan(  # noqa: PLR0917 - as of the two above
    name: str,
    settings: Settings,
    bootstrap: str,
    workers: int,
    log_dir: Path | None,
    extra: Mapping[str, str] | None,
) -> Plan:
    asked, port = settings.counter.workers, settings.worker.web_port
    if asked == CounterSettings().workers and port:
        asked = ",".join(f"127.0.0.1:{port + index}" for index in range(workers))
    own = settings.changed(counter={"workers": asked}, broker={"bootstrap": bootstrap})
    return Plan(
        name=name,
        command=(sys.executable, "-m", "sluicegate.cli", name),
        environment={**environment_of(own), **(extra or {})},
        log_file=log_dir / f"{name}.log" if log_dir else None,
        stop_seconds=ROUTER_STOP_SECONDS,
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as overrides for a child process; what is not set has none."""
    return {
        f"{ENVIRONMENT_PREFIX}{section}__{name}".upper(): _text(value)
        for section in type(settings).model_fields
        for name, value in getattr(settings, section)
        if value is not None
    }


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _seat(settings: Settings, index: int) -> dict[str, str]:
    """Slot and ports of a worker: the first has the configured ones."""
    worker = settings.worker
    if index == 0:
        return {}
    seat = {
        "slot": f"w{index}",
        "web_port": worker.web_port and worker.web_port + index,
        "metrics_port": worker.metrics_port and worker.metrics_port + WORKER_PORTS_APART * index,
    }
    return {f"{ENVIRONMENT_PREFIX}WORKER__{name.upper()}": str(seat[name]) for name in seat}


def _broker(settings: Settings, running: ExitStack) -> "tuple[str, _Keeper | None]":
    """The address of the broker, and who looks after it if it was started here."""
    asked = settings.broker
    if not asked.is_embedded:
        wait_for_broker(settings, asked.bootstrap, log.warning)
        return asked.bootstrap, None
    if address := running_broker(asked.data_dir):
        log.info("uses the embedded broker that runs at %s", address)
        return address, None
    broker = EmbeddedBroker(asked.data_dir or default_data_dir(), asked.port)
    broker.start()
    running.callback(broker.stop, BROKER_STOP_SECONDS)
    return broker.bootstrap, _Keeper(broker)


def _prepare_topics(settings: Settings, bootstrap: str) -> None:
    """Make the topics on a broker of our own; of another's only say what differs."""
    if settings.broker.is_embedded:
        create_topics(settings, bootstrap)
        return
    for difference in check_topics(settings, bootstrap):
        log.warning("topics: %s", difference)


class _Keeper:
    """Starts the embedded broker again when it dies, on its port and with its records."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._pauses = Pauses()
        self._began_at = time.monotonic()
        self._due_at: float | None = None

    def look(self, now: float) -> None:
        """Notice a death, start it when it is due."""
        if self._broker.pid is not None:
            return
        if self._due_at is None:
            self._died(now, "ended by itself")
        elif now >= self._due_at:
            try:
                self._broker.start()
            except Problem as problem:
                self._died(now, str(problem))
            else:
                self._began_at, self._due_at = time.monotonic(), None

    def _died(self, now: float, how: str) -> None:
        pause = self._pauses.after_death(now - self._began_at)
        self._began_at, self._due_at = now, now + pause
        log.error("the embedded broker %s; starts again in %g s", how, pause)
