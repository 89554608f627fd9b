"""The parts of the pipeline, each run in this process until it is told to stop."""

import logging
import signal
from threading import Event

from sluicegate.errors import Problem
from sluicegate.operations.garbage import look_seldom
from sluicegate.operations.logs import start_logging
from sluicegate.operations.metrics import Metrics, Part, serve_metrics
from sluicegate.settings import BrokerSettings, Settings
from sluicegate.streaming.clients import wait_for_broker

log = logging.getLogger(__name__)


def bootstrap_of(broker: BrokerSettings) -> str:
    """The address to connect to: the configured one, or that of the embedded broker that runs.

    Raises:
        Problem: The broker is to be the embedded one, and none runs.
    """
    if not broker.is_embedded:
        return broker.bootstrap
    # Brings Java's and jgo's packages with it.
    from sluicegate.operations.broker import default_data_dir, running_broker  # noqa: PLC0415

    address = running_broker(broker.data_dir)
    if address is None:
        raise Problem(
            "no embedded broker is running",
            f"its data directory would be {broker.data_dir or default_data_dir()}",
            "start one with `sluicegate broker`, or name another with --broker host:port",
        )
    return address


def run_part(part: Part, settings: Settings, bootstrap: str) -> None:
    """Run one part until SIGINT or SIGTERM; before the broker answers, these just end it.

    Raises:
        Problem: It cannot start, or something failed.
    """
    name = f"worker {settings.worker.slot}" if part is Part.WORKER else part.value
    start_logging(name, settings=settings.logs)
    if part not in (Part.COUNTER, Part.DESK):  # they answer without one, and send later
        wait_for_broker(settings, bootstrap, log.warning)
    # Each loads much that the others do not need.
    match part:
        case Part.ROUTER:
            look_seldom()
            from sluicegate.streaming.router import run_router  # noqa: PLC0415

            metrics = _shown(part, settings, settings.router.metrics_port)
            run_router(settings, bootstrap, metrics, stop_on_signals())
        case Part.WORKER:
            look_seldom()
            from sluicegate.streaming.worker import run_worker  # noqa: PLC0415

            run_worker(settings, bootstrap, _shown(part, settings, settings.worker.metrics_port))
        case Part.LIAISON:
            from sluicegate.liaison.consumer import run_liaison  # noqa: PLC0415

            run_liaison(settings, bootstrap, stop_on_signals())
        case Part.COUNTER:
            from sluicegate.counter.serving import run_counter  # noqa: PLC0415

            metrics = _shown(part, settings, settings.counter.metrics_port)
            run_counter(settings, bootstrap, metrics)
        case Part.DESK:
            from sluicegate.desk.serving import run_desk  # noqa: PLC0415

            run_desk(settings, bootstrap, _shown(part, settings, settings.desk.metrics_port))


def stop_on_signals() -> Event:
    """An event that SIGINT and SIGTERM set from now on, instead of ending the process."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _shown(part: Part, settings: Settings, port: int) -> Metrics:
    metrics = Metrics(part)
    page = serve_metrics(metrics, settings.metrics.bind, port)
    log.info("figures at port %d", page.port)
    return metrics
