"""The process of the counter: FastAPI on uvicorn, until it is told to stop."""

import asyncio
import logging
import sys

from sqlalchemy.exc import SQLAlchemyError
from uvicorn.protocols.http.h11_impl import H11Protocol

from sluicegate.counter.api import create_app
from sluicegate.counter.database import SETTING, open_counter_database
from sluicegate.counter.service import CounterService
from sluicegate.errors import Problem
from sluicegate.liaison.database import reason_of
from sluicegate.operations.metrics import Metrics
from sluicegate.operations.serving import Server, require_listened, serve, server_of
from sluicegate.settings import CounterSettings, Settings, is_loopback

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.000_5
LEAVE_SECONDS = 3


class _Joined:
    """A transport that sends what is written in one turn of the event loop as one."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> None:
        if part:
            if not self._parts:
                self._loop.call_soon(self._flush)
            self._parts.append(part)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


class _Protocol(H11Protocol):
    """Sends head and body of an answer together: apart, they wake up the client twice."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]


def run_counter(settings: Settings, bootstrap: str, metrics: Metrics) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        Problem: the database, the rules, the certificate or the address cannot be used.
    """
    asked = settings.counter
    try:
        engine = open_counter_database(asked.url)
    except SQLAlchemyError as error:
        raise Problem(f"{SETTING}: the database cannot be used", reason_of(error)) from error
    # The default of 5 ms is a check's whole time: the audit's thread must give way sooner.
    sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(
        CounterService(settings, bootstrap, engine, metrics), settings.worker.utc_offset_hours
    )
    server = server_of_counter(app, asked)
    if asked.cert_file is None and not is_loopback(asked.bind):
        log.warning("serves plain HTTP on %s: put TLS before it, or set cert_file", asked.bind)
    try:
        asyncio.run(serve(server))
    finally:
        engine.dispose()
    require_listened("counter", server)


def server_of_counter(app: object, asked: CounterSettings) -> Server:
    """A server of the counter's application.

    Raises:
        Problem: the certificate or its key cannot be used.
    """
    return server_of("counter", app, asked, http=_Protocol, timeout_graceful_shutdown=LEAVE_SECONDS)
