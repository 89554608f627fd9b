"""The application of the desk: its pages, the live stream, errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from sluicegate.desk.accounts import Accounts
from sluicegate.desk.live import Pulse
from sluicegate.desk.pages.cases import add_cases
from sluicegate.desk.pages.exports import add_exports
from sluicegate.desk.pages.figures import add_figures
from sluicegate.desk.pages.flows import add_flows
from sluicegate.desk.pages.identity import add_identity
from sluicegate.desk.pages.lists import add_lists
from sluicegate.desk.pages.measures import add_measures
from sluicegate.desk.pages.oidc import add_provider
from sluicegate.desk.pages.people import add_people
from sluicegate.desk.pages.queue import add_queue
from sluicegate.desk.pages.shell import COOKIE, HEADERS, PREFIX, Desk, Shell
from sluicegate.desk.pages.shifts import add_shifts
from sluicegate.desk.pages.signing import add_signing
from sluicegate.desk.pages.static import static_router
from sluicegate.desk.roles import Right
from sluicegate.desk.sessions import visit_of

THREADS: Final = 8
GROUPS: Final = (
    *(add_signing, add_provider, add_queue, add_cases, add_flows, add_measures, add_lists),
    *(add_people, add_exports, add_identity, add_figures, add_shifts),
)
"""What adds the pages: one function a module."""


def shell_of(desk: Desk) -> Shell:
    """All pages with the rights that they need."""
    shell = Shell(desk)
    for add in GROUPS:
        add(shell)
    return shell


def create_app(desk: Desk, pulse: Pulse, accounts: Accounts | None = None) -> FastAPI:
    """The application around a desk; the pulse beats, and workers are asked, while it is served."""
    shell = shell_of(desk)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # More threads than these would only take the interpreter from each other.
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        pulse.start(shell.on_change)
        if accounts is not None:
            await accounts.open()
        yield
        pulse.close()
        if accounts is not None:
            await accounts.close()

    app = FastAPI(title="sluicegate desk", openapi_url=None, docs_url=None, redoc_url=None,
                  lifespan=lifespan)  # fmt: skip
    app.include_router(shell.router)
    app.include_router(static_router())
    _add_live(app, desk, pulse)
    _add_rest(app)
    return app


def _add_live(app: FastAPI, desk: Desk, pulse: Pulse) -> None:
    def is_in(cookie: str) -> bool:
        with desk.reading() as session:
            visit = visit_of(session, cookie, desk.clock())
        return visit is not None and visit.person.may(Right.SEE_CASES)

    @app.get(f"{PREFIX}/live", response_model=None, include_in_schema=False)
    async def live(request: Request) -> Response:
        cookie = request.cookies.get(COOKIE, "")
        if not await run_in_threadpool(is_in, cookie):
            return Response(status_code=204, headers=HEADERS)  # an EventSource gives up then

        async def events() -> AsyncIterator[ServerSentEvent]:
            yield ServerSentEvent(data="", event="hello", retry=2_000)
            async for has_changed in pulse.beats():
                if has_changed:
                    yield ServerSentEvent(data="", event="queue")
                elif not await run_in_threadpool(is_in, cookie):
                    return

        return EventSourceResponse(events(), headers=HEADERS)

    del live


def _add_rest(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse(PREFIX, 303, HEADERS)

    @app.get("/healthz", include_in_schema=False)
    async def health() -> Response:
        return Response("ok", media_type="text/plain")

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        return Response(
            str(error.detail), error.status_code, {**HEADERS, **(error.headers or {})}, "text/plain"
        )

    del root, health, plain
