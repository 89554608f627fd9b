"""The page's addresses, all under /counter: sign in, ask, read the verdict, say how it ended."""

import secrets
import time
import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData

from sluicegate.counter import problems
from sluicegate.counter.keys import Key, Scope
from sluicegate.counter.page import forms
from sluicegate.counter.page.forms import Form, check_of, errors_of, outcome_of, values_of
from sluicegate.counter.page.sessions import COOKIE, SESSION_SECONDS, Sessions
from sluicegate.counter.problems import ApiProblem
from sluicegate.counter.service import CounterService
from sluicegate.domain.money import amount_display, amount_of_text
from sluicegate.operations.rendering import templates_of

PREFIX: Final = "/counter"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
CHOICES: Final = ("lang", "type")
"""What a teller chooses for a browser: cookies of a year."""
CHOICE_SECONDS: Final = 365 * 86_400

MESSAGES: Final[Mapping[str, Mapping[str, str]]] = tomllib.loads(
    files(__package__).joinpath("messages.toml").read_text(encoding="utf-8")
)
_STYLE: Final = files(__package__).joinpath("counter.css").read_text(encoding="utf-8")
_templates: Final = templates_of("sluicegate.counter.page")


def add_page(app: FastAPI, service: CounterService, utc_offset_hours: float) -> None:
    """Adds the tellers' page to the application."""
    app.include_router(_Page(service, timezone(timedelta(hours=utc_offset_hours))).router)


class _Page:
    """The handlers, and what they share."""

    def __init__(self, service: CounterService, zone: timezone) -> None:
        self._service = service
        self._zone = zone
        self._sessions = Sessions()
        self._is_tls = service.settings.cert_file is not None
        self.router = APIRouter(prefix=PREFIX, include_in_schema=False)
        for path, handler, method in (
            ("", self._form, "GET"),
            ("", self._ask, "POST"),
            ("/checks/{check_id}", self._verdict, "GET"),
            ("/checks/{check_id}/outcome", self._outcome, "POST"),
            ("/sign-in", self._sign_in_form, "GET"),
            ("/sign-in", self._sign_in, "POST"),
            ("/sign-out", self._sign_out, "POST"),
            ("/choose", self._choose, "POST"),
            ("/counter.css", self._style, "GET"),
        ):
            self.router.add_api_route(path, handler, methods=[method], response_model=None)

    # Signing in.

    async def _sign_in_form(self, request: Request) -> Response:
        return self._shown(request, "sign_in.html", None, error="")

    async def _sign_in(self, request: Request) -> Response:
        posted = await self._posted(request)
        if posted is None:
            return _away(PREFIX)
        key = await self._service.keys.recognise(str(posted.get("key", "")).strip())
        error = "" if key is not None else "key_wrong"
        if key is not None and not {Scope.CHECK, Scope.OUTCOME} <= key.scopes:
            error = "key_cannot"
        if key is None or error:
            return self._shown(request, "sign_in.html", None, status=403, error=error)
        response = _away(PREFIX)
        response.set_cookie(
            COOKIE, self._sessions.begin(key, time.monotonic()), max_age=SESSION_SECONDS,
            path=PREFIX, secure=self._is_tls, httponly=True, samesite="strict",
        )  # fmt: skip
        return response

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = _away(f"{PREFIX}/sign-in")
        response.delete_cookie(COOKIE, path=PREFIX)
        return response

    def _key(self, request: Request) -> Key | None:
        key = self._sessions.key_of(request.cookies.get(COOKIE, ""), time.monotonic())
        return key if key is not None and self._service.keys.is_good(key) else None

    async def _choose(self, request: Request) -> Response:
        """Language and size of type, then back to where one was."""
        posted = await self._posted(request)
        if posted is None:
            return _away(PREFIX)
        back = urlsplit(str(posted.get("back", ""))).path
        response = _away(back if back.startswith(PREFIX) else PREFIX)
        for name in CHOICES:
            if name in posted:
                response.set_cookie(
                    f"{COOKIE}_{name}", "en" if posted[name] == "en" else
                    "large" if posted[name] == "large" else "",
                    max_age=CHOICE_SECONDS, path=PREFIX, secure=self._is_tls,
                    httponly=True, samesite="strict",
                )  # fmt: skip
        return response

    # Asking.

    async def _form(self, request: Request) -> Response:
        key = self._key(request)
        if key is None:
            return _away(f"{PREFIX}/sign-in")
        return self._asked_for(request, key, Form())

    async def _ask(self, request: Request) -> Response:
        key, posted = self._key(request), await self._posted(request)
        if key is None or posted is None:
            return _away(f"{PREFIX}/sign-in")
        values = values_of(posted)
        asked = check_of(values)
        if not isinstance(amount_of_text(str(asked["amount"])), int):
            return self._asked_for(request, key, Form(values, {"amount": "error_amount"}), 422)
        try:
            told = await self._checked(key, asked, str(posted.get("once", "")))
        except ApiProblem as problem:
            errors = errors_of(problem)
            if errors:
                return self._asked_for(request, key, Form(values, errors), 422)
            return self._failed(request, key, problem)
        return _away(f"{PREFIX}/checks/{told}")

    async def _checked(self, key: Key, asked: Mapping[str, object], once: str) -> str:
        """The id of the check; a form sent twice is one check, a changed one another."""
        once = once if 0 < len(once) <= 64 and once.isascii() else secrets.token_hex(16)
        try:
            (told,) = await self._service.check(key, [asked], once)
        except ApiProblem as problem:
            if problem.kind is not problems.KEY_REUSED:
                raise
            (told,) = await self._service.check(key, [asked], secrets.token_hex(16))
        return told.check_id

    def _asked_for(self, request: Request, key: Key, form: Form, status: int = 200) -> Response:
        return self._shown(
            request, "ask.html", key, status=status,
            form=form, once=secrets.token_hex(16), kinds=forms.KINDS, ages=forms.AGES,
            relations=forms.RELATIONS, payee_kinds=forms.PAYEE_KINDS,
        )  # fmt: skip

    # The verdict, and how it ended.

    async def _verdict(self, request: Request, check_id: str) -> Response:
        key = self._key(request)
        if key is None:
            return _away(f"{PREFIX}/sign-in")
        try:
            kept = await self._service.kept(key, check_id)
        except ApiProblem as problem:
            return self._failed(request, key, problem)
        amount = amount_of_text(str(kept.transaction["amount"]))
        printed = request.query_params.get("view") == "print"
        return self._shown(
            request, "print.html" if printed else "verdict.html", key,
            kept=kept, answer=kept.answer, answers=forms.ANSWERS, time=self._time,
            amount=amount_display(int(amount)) if isinstance(amount, int) else "",
            currency=self._service.currency,
        )  # fmt: skip

    async def _outcome(self, request: Request, check_id: str) -> Response:
        key, posted = self._key(request), await self._posted(request)
        if key is None or posted is None:
            return _away(f"{PREFIX}/sign-in")
        outcome = outcome_of(posted)
        try:
            if outcome is not None:
                await self._service.add_outcome(key, check_id, outcome)
        except ApiProblem as problem:
            return self._failed(request, key, problem)
        return _away(f"{PREFIX}/checks/{check_id}#outcome")

    # Shared.

    async def _style(self, _: Request) -> Response:
        caching = {**HEADERS, "Cache-Control": "max-age=300"}
        return Response(_STYLE, media_type="text/css", headers=caching)

    def _failed(self, request: Request, key: Key, problem: ApiProblem) -> Response:
        self._service.refused(problem)
        return self._shown(
            request, "failed.html", key, status=problem.kind.status,
            problem=problem.kind, phone=self._service.settings.desk_phone,
        )  # fmt: skip

    async def _posted(self, request: Request) -> FormData | None:
        """The form, unless another site sent it: browsers say where a form comes from."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            return None
        return await request.form(max_files=0, max_fields=200, max_part_size=16_384)

    def _shown(
        self, request: Request, template: str, key: Key | None, status: int = 200, **shown: object
    ) -> Response:
        lang = "en" if request.cookies.get(f"{COOKIE}_lang") == "en" else "zh"
        html = _templates.get_template(template).render(
            t=MESSAGES[lang], lang=lang, key=key, path=request.url.path,
            is_large=request.cookies.get(f"{COOKIE}_type") == "large", **shown,
        )  # fmt: skip
        return HTMLResponse(html, status, dict(HEADERS))

    def _time(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).isoformat(sep=" ", timespec="seconds")


def _away(path: str) -> Response:
    return RedirectResponse(path, 303, dict(HEADERS))
