"""Web pages of a part on uvicorn, until the part is told to stop: the counter's and the desk's."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import uvicorn

from sluicegate.errors import Problem

KEEP_ALIVE_SECONDS: Final = 75


class Address(Protocol):
    """Where a part listens, as its settings say it."""

    @property
    def bind(self) -> str:
        """Address to listen on."""

    @property
    def port(self) -> int:
        """Port to listen on; 0: any free one."""

    @property
    def cert_file(self) -> Path | None:
        """PEM file of the certificate; None: plain HTTP."""

    @property
    def key_file(self) -> Path | None:
        """PEM file of its key."""


class Server(uvicorn.Server):
    """uvicorn without signals of its own: it would raise them again and end with another status."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to `serve`."""
        yield


def server_of(name: str, app: object, asked: Address, **own: Any) -> Server:  # noqa: ANN401 - uvicorn's own
    """A server of an application; `own` is what the part sets besides.

    Raises:
        Problem: the certificate or its key cannot be used.
    """
    try:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # uvicorn's own alias of an ASGI application
            host=asked.bind,
            port=asked.port,
            ssl_certfile=asked.cert_file,
            ssl_keyfile=asked.key_file,
            log_config=None,
            access_log=False,  # paths hold account numbers
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            **own,
        )
        config.load()
    except OSError as error:
        raise Problem(f"{name}: cert_file or key_file cannot be used", str(error)) from error
    return Server(config)


async def serve(server: Server, stopping: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGINT or SIGTERM; `stopping` is called then."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        stopping()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    with contextlib.suppress(SystemExit):  # uvicorn's way to say that it could not begin
        await server.serve()


def require_listened(name: str, server: Server) -> None:
    """Once it has ended: whether it ever listened.

    Raises:
        Problem: it could not.
    """
    if not server.started:
        raise Problem(
            f"{name}: cannot listen on {server.config.host}:{server.config.port}",
            hint=f"set another {name}.port, or 0 for any free one",
        )
