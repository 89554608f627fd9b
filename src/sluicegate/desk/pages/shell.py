"""What every page of the desk goes through: session, right, form, error, language, headers.

A page is a function of an `Asked`; it is registered with the right that it needs. So who may open
what stands in one table, `Shell.rights`, which a test walks.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from sluicegate.desk import audit
from sluicegate.desk.accounts import View
from sluicegate.desk.casework import is_unmasked
from sluicegate.desk.clocks import utc_now
from sluicegate.desk.pages import words
from sluicegate.desk.pages.forms import Form, is_own, read_form
from sluicegate.desk.people import Doorway, Person
from sluicegate.desk.roles import Right
from sluicegate.desk.sealing import PLAIN, Sealing
from sluicegate.desk.sessions import NOTE_EVERY, Visit, note_use, visit_of
from sluicegate.judging.patterns import Words
from sluicegate.liaison.cases import CaseRow
from sluicegate.liaison.database import reason_of
from sluicegate.liaison.schema import writing
from sluicegate.operations.metrics import Metrics
from sluicegate.operations.rendering import templates_of
from sluicegate.settings import Settings

log = logging.getLogger(__name__)

PREFIX: Final = "/desk"
COOKIE: Final = "sluicegate_desk"
SAID_COOKIE: Final = "sluicegate_desk_said"
LANGUAGE_COOKIE: Final = "sluicegate_desk_lang"
LANGUAGE_SECONDS: Final = 365 * 86_400
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TLS_HEADERS: Final = {"Strict-Transport-Security": "max-age=31536000"}
NEW_PASSWORD: Final = f"{PREFIX}/me/password"

_templates: Final = templates_of("sluicegate.desk")


class Turned(Exception):  # noqa: N818 - an answer, not a programming error
    """The request is answered otherwise; `response` says how."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass
class Desk:
    """What all pages share; `clock` tells the time."""

    settings: Settings
    engine: Engine
    metrics: Metrics
    patterns: Mapping[str, Words]
    """Title of each pattern, by name."""
    clock: Callable[[], datetime] = utc_now
    view: Callable[[str], View | None] = lambda _: None
    """What the workers remember of an account."""
    wake: Callable[[], None] = lambda: None
    """Tells the outbox that there is something to send."""

    writes: int = 0
    """How often a page changed anything: what was drawn before may be old."""
    sealing: Sealing = PLAIN
    """How secrets of one-time codes are kept."""

    @property
    def zone(self) -> timezone:
        """The desk's time zone."""
        return timezone(timedelta(hours=self.settings.worker.utc_offset_hours))

    def reading(self) -> Session:
        """A session that only reads."""
        return Session(self.engine)


class Writing:
    """A database transaction that changes something and says so in the audit."""

    def __init__(self, session: Session, person: Person | None, now: datetime) -> None:
        self.session = session
        self.now = now
        self._person = person

    def note(self, action: str, subject: str, **details: object) -> None:
        """Adds an entry to the audit."""
        name = self._person.name if self._person else "-"
        role = self._person.role.value if self._person else "-"
        act = audit.Act(self.now, name, role, action, subject, details)
        audit.append(self.session, act)


@dataclass
class Asked:
    """One request: who asks for what."""

    desk: Desk
    request: Request
    form: Form
    now: datetime
    visit: Visit | None = None

    @property
    def person(self) -> Person:
        """Who is signed in."""
        assert self.visit is not None  # noqa: S101 - pages with a right have one
        return self.visit.person

    @property
    def language(self) -> str:
        """`zh` or `en`."""
        return "en" if self.request.cookies.get(LANGUAGE_COOKIE) == "en" else "zh"

    @property
    def address(self) -> str:
        """From where it comes; what a proxy that is trusted says counts for it."""
        peer = self.request.client.host if self.request.client else ""
        if peer in self.desk.settings.desk.trusted_proxies:
            told = self.request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
            return (told or peer)[:64]
        return peer[:64]

    @property
    def door(self) -> Doorway:
        """From where and when somebody shows who they are."""
        return Doorway(self.address, self.now, self.desk.sealing)

    @property
    def query(self) -> dict[str, str]:
        """Parameters of the address."""
        return dict(self.request.query_params)

    @property
    def is_partial(self) -> bool:
        """Whether htmx asks for a part of a page."""
        return self.request.headers.get("HX-Request") == "true"

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    def reading(self) -> Session:
        """A session that only reads."""
        return self.desk.reading()

    def writing(self) -> AbstractContextManager[Writing]:
        """A transaction that changes something; write its entry in the audit."""
        return _writing(self)

    def titled(self, pattern: str) -> str:
        """Title of a pattern in the language of the page."""
        title = self.desk.patterns.get(pattern)
        return pattern if title is None else (title.en if self.language == "en" else title.zh)

    def show(
        self,
        template: str,
        status: int = 200,
        shown: Mapping[str, object] | None = None,
        **more: object,
    ) -> Response:
        """A page, or a part of one."""
        said = self._said
        html = self.draw(template, {**(shown or {}), **more})
        answer = HTMLResponse(str(html), status)
        if said:
            answer.delete_cookie(SAID_COOKIE, path=PREFIX)
        return answer

    @property
    def _said(self) -> str:
        """What is to be told once, of what was done before; empty: nothing."""
        key = "" if self.is_partial else self.request.cookies.get(SAID_COOKIE, "")
        return words.WORDS[self.language].get(key, "")

    def draw(self, template: str, shown: Mapping[str, object]) -> Markup:
        """A template with what all of them may use."""
        text = words.WORDS[self.language]
        usual: dict[str, object] = {
            "t": text,
            "lang": self.language,
            "person": self.visit.person if self.visit else None,
            "csrf": self.visit.csrf if self.visit else "",
            "address": self.request.url.path,
            "query_text": self.request.url.query,
            "now": self.now,
            "said": self._said,
            "Right": Right,
            "money": words.money,
            "lasted": words.lasted,
            "titled": self.titled,
            "time": lambda moment: words.local_time(moment, self.desk.zone),
            "short_time": lambda moment: words.short_time(moment, self.desk.zone),
            "masked": self.shown_account(sees_numbers=False),
        }
        return Markup(_templates.get_template(template).render({**usual, **shown}))  # noqa: S704 - escaped by Jinja2

    def sees_numbers(self, session: Session, case_id: str) -> bool:
        """Whether the full numbers of a case were asked for in this session, and may be."""
        return (
            self.visit is not None
            and self.person.may(Right.UNMASK)
            and is_unmasked(session, self.visit.id, case_id, self.now)
        )

    def shown_account(self, *, sees_numbers: bool) -> Callable[[str | None], str]:
        """How account numbers are shown to who asks."""
        if sees_numbers:
            return lambda account: account or ""
        has_right = self.visit is not None and self.visit.person.may(Right.UNMASK)
        return words.masked if has_right else words.hidden

    def away(self, path: str, said: str = "") -> Response:
        """Go on elsewhere; `said` is the key of what is told there, once."""
        response = RedirectResponse(path, 303)
        if said:
            response.set_cookie(
                SAID_COOKIE, said, max_age=20, path=PREFIX, httponly=True,
                secure=self.desk.settings.desk.is_tls, samesite="strict",
            )  # fmt: skip
        return response

    def refuse(self, message: str, status: int = 409) -> Turned:
        """An answer that says why not; `message` is a key of the catalogue."""
        return Turned(self.show("refused.html", status, message=message))


@contextmanager
def _writing(asked: Asked) -> Iterator[Writing]:
    with writing(asked.desk.engine) as session:
        yield Writing(session, asked.visit.person if asked.visit else None, asked.now)
    asked.desk.writes += 1


Page = Callable[[Asked], Response]
CasePart = Callable[[Asked, Session, CaseRow], dict[str, object]]
"""What a module adds to the page of a case."""
ShowCase = Callable[[Asked, int, Mapping[str, object]], Response]


class Shell:
    """The addresses of the desk, each with the right that it needs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.router = APIRouter(prefix=PREFIX, include_in_schema=False)
        self.rights: dict[tuple[str, str], Right | None] = {}
        """By method and path; None: whoever is signed in."""
        self.public: set[tuple[str, str]] = set()
        self.case_parts: list[CasePart] = []
        self.on_change: list[Callable[[], None]] = []
        """Called when something changed, before the browsers hear of it."""
        self.show_case: ShowCase
        """The page of a case, with what else is to stand on it; set by the module of cases."""

    def get(self, path: str, page: Page, right: Right | None) -> None:
        """A page that shows."""
        self._add("GET", path, page, right)

    def post(self, path: str, page: Page, right: Right | None) -> None:
        """A form that is sent."""
        self._add("POST", path, page, right)

    def open(self, method: str, path: str, page: Page) -> None:
        """A page for everybody."""
        self.public.add((method, PREFIX + path))
        self._add(method, path, page, None)

    def _add(self, method: str, path: str, page: Page, right: Right | None) -> None:
        place = (method, PREFIX + path)
        if place not in self.public:
            self.rights[place] = right
        timer = self.desk.metrics.histogram("sluicegate_desk_page_seconds", page=PREFIX + path)

        async def endpoint(request: Request) -> Response:
            began = time.perf_counter()
            asked = Asked(self.desk, request, Form(), self.desk.clock())
            if method == "POST":
                if not is_own(request):
                    return await run_in_threadpool(self._finish, asked, _away_again)
                asked.form = await read_form(request)
            answer = await run_in_threadpool(
                self._finish, asked, lambda each: self._answer(each, place, page)
            )
            took = time.perf_counter() - began
            timer.observe(took)
            answer.headers["Server-Timing"] = f"app;dur={took * 1000:.1f}"
            return answer

        self.router.add_api_route(path, endpoint, methods=[method], response_model=None)

    def _answer(self, asked: Asked, place: tuple[str, str], page: Page) -> Response:
        if place in self.public:
            asked.visit = self._visit(asked, is_needed=False)
            return page(asked)
        asked.visit = self._visit(asked, is_needed=True)
        right = self.rights[place]
        if right is not None and not asked.person.may(right):
            raise _refused(asked, place, "no_right")
        if place[0] == "POST" and not _has_token(asked):
            raise _refused(asked, place, "stale_form")
        if asked.person.is_password_temporary and not place[1].startswith(f"{PREFIX}/me/"):
            return asked.away(NEW_PASSWORD)
        return page(asked)

    def _visit(self, asked: Asked, *, is_needed: bool) -> Visit | None:
        cookie = asked.request.cookies.get(COOKIE, "")
        visit = None
        if cookie:
            with asked.reading() as session:
                visit = visit_of(session, cookie, asked.now)
        if visit is None:
            if is_needed:
                raise Turned(_signs_in(asked))
            return None
        # What a page asks for by itself is no sign that somebody sits before it.
        if asked.now - visit.seen_at > NOTE_EVERY and not asked.is_partial:
            with writing(self.desk.engine) as session:
                note_use(session, visit, asked.now)
        return visit

    def _finish(self, asked: Asked, page: Page) -> Response:
        """Turns what is thrown into an answer, and puts on the headers."""
        try:
            answer = page(asked)
        except Turned as turned:
            answer = turned.response
        except SQLAlchemyError as error:
            log.warning("the database does not answer: %s", reason_of(error))
            answer = asked.show("database_away.html", 503)
            answer.headers["Retry-After"] = "5"
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        if self.desk.settings.desk.is_tls:
            answer.headers.update(TLS_HEADERS)
        return answer


def _signs_in(asked: Asked) -> Response:
    if asked.is_partial:  # htmx: the whole page, not a part of it
        return Response(status_code=204, headers={"HX-Redirect": f"{PREFIX}/sign-in"})
    return asked.away(f"{PREFIX}/sign-in")


def _refused(asked: Asked, place: tuple[str, str], why: str) -> Turned:
    """Says why not, and says so in the audit."""
    with asked.writing() as write:
        path = asked.request.url.path[:200]
        write.note("refused", " ".join(place)[:64], why=why, path=path, address=asked.address)
    return asked.refuse(why, 403)


def _away_again(asked: Asked) -> Response:
    return asked.show("refused.html", 403, message="stale_form")


def _has_token(asked: Asked) -> bool:
    given = asked.form["csrf"] or asked.request.headers.get("X-CSRF-Token", "")
    assert asked.visit is not None  # noqa: S101 - asked before
    return secrets.compare_digest(given.encode(), asked.visit.csrf.encode())
