"""The process of the desk: its pages on uvicorn, until it is told to stop."""

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

from sqlalchemy import Engine

from sluicegate.desk.accounts import Accounts
from sluicegate.desk.answers import answers_reader
from sluicegate.desk.app import create_app
from sluicegate.desk.clocks import utc_now
from sluicegate.desk.holders import holders_reader
from sluicegate.desk.keeper import Keeper
from sluicegate.desk.live import Pulse
from sluicegate.desk.outbox import Outbox
from sluicegate.desk.pages.shell import PREFIX, Desk
from sluicegate.desk.people import FIRST_NAME, first_administrator
from sluicegate.desk.sealing import Sealing, seal_anew, sealing_of
from sluicegate.judging.patterns import Words, load_patterns
from sluicegate.liaison.database import open_database
from sluicegate.liaison.schema import prepare_tables_when_there, writing
from sluicegate.operations.metrics import Metrics
from sluicegate.operations.serving import Server, require_listened, serve, server_of
from sluicegate.settings import DeskSettings, Settings, is_loopback

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1
SQLITE_PATIENCE_SECONDS = 5.0


def run_desk(settings: Settings, bootstrap: str, metrics: Metrics) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        Problem: the database, the certificate or the address cannot be used.
    """
    engine = open_database(settings.liaison.url)
    try:
        prepare_tables_when_there(
            engine,
            settings.broker.give_up_after_seconds,
            SQLITE_PATIENCE_SECONDS,
            threading.Event(),
        )
        sealing = sealing_of(settings.desk.secrets_key_file)
        with writing(engine) as session:
            seal_anew(session, sealing)
        tell_first_password(engine)
        with _background(settings, bootstrap, engine, metrics) as outbox:
            _serve_until_told(settings, engine, metrics, outbox, sealing)
    finally:
        engine.dispose()


def titles_of(settings: Settings) -> dict[str, Words]:
    """Title of each pattern."""
    found = load_patterns(settings.patterns.file).patterns
    return {each.pattern.name: each.pattern.title for each in found}


def tell_first_password(engine: Engine) -> str | None:
    """At the first start: makes an administrator, and says the one-time password, this once."""
    with writing(engine) as session:
        password = first_administrator(session, utc_now())
    if password is not None:
        sys.stderr.write(f"desk: sign in as {FIRST_NAME} with the one-time password {password}\n")
        sys.stderr.flush()
    return password


@contextlib.contextmanager
def _background(
    settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
) -> Iterator[Outbox]:
    """What goes on beside the pages: sending, answers, expiry, profiles."""
    outbox = Outbox(settings, bootstrap, engine, metrics)
    answers = answers_reader(settings, bootstrap, engine, metrics)
    holders = holders_reader(settings, bootstrap, engine, metrics)
    keeper = Keeper(settings, engine, metrics, utc_now, outbox.wake)
    for each in (outbox, answers, keeper, holders):
        each.start()
    try:
        yield outbox
    finally:
        for each in (holders, keeper, answers, outbox):
            each.stop()


def _serve_until_told(
    settings: Settings, engine: Engine, metrics: Metrics, outbox: Outbox, sealing: Sealing
) -> None:
    asked = settings.desk
    pulse = Pulse(engine, metrics.gauge("sluicegate_desk_live_clients"))
    accounts = Accounts(settings, engine)
    desk = Desk(
        settings,
        engine,
        metrics,
        titles_of(settings),
        view=accounts.view,
        wake=outbox.wake,
        sealing=sealing,
    )
    app = create_app(desk, pulse, accounts)
    server = server_of_desk(app, asked)
    if not asked.is_tls and not is_loopback(asked.bind):
        log.warning("serves plain HTTP on %s: set cert_file, or put TLS before it", asked.bind)
    asyncio.run(_serve(server, pulse))
    require_listened("desk", server)


def server_of_desk(app: object, asked: DeskSettings) -> Server:
    """A server of the desk's application.

    Raises:
        Problem: the certificate or its key cannot be used.
    """
    return server_of(
        "desk", app, asked, log_level="warning", timeout_graceful_shutdown=LEAVE_SECONDS
    )


async def _serve(server: Server, pulse: Pulse) -> None:
    telling = asyncio.create_task(_tell_address(server))
    # Without the pulse's end the streams would keep the server for as long as it may take.
    await serve(server, pulse.close)
    telling.cancel()


async def _tell_address(server: Server) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    scheme = "https" if server.config.is_ssl else "http"
    for each in server.servers:
        host, port = each.sockets[0].getsockname()[:2]
        log.info("the desk is at %s://%s:%d%s", scheme, host, port, PREFIX)
