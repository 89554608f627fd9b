"""Signing in through the bank's OpenID provider: there and back."""

import secrets
from typing import Final

import httpx
from fastapi import Response
from fastapi.responses import RedirectResponse

from sluicegate.desk.oidc import NotProven, Proven, Provider, Refused, person_proven
from sluicegate.desk.pages.shell import NEW_PASSWORD, PREFIX, Asked, Shell
from sluicegate.desk.pages.signing import begin_visit, give_cookie, home_of, sign_in_refused

PATH: Final = "/sign-in/provider"
BACK: Final = f"{PATH}/back"
BINDER_COOKIE: Final = "sluicegate_desk_provider"
BINDER_SECONDS: Final = 600
"""So long one may take at the provider."""


class ProviderPages:
    """The handlers, and the provider that they share."""

    def __init__(self, shell: Shell) -> None:
        self._provider = Provider(shell.desk.settings.desk)
        shell.open("GET", PATH, self._leave)
        shell.open("GET", BACK, self._come_back)

    def _leave(self, asked: Asked) -> Response:
        binder = secrets.token_urlsafe(32)
        try:
            place = self._provider.begins_at(binder, _back_address(asked))
        except (httpx.HTTPError, KeyError):
            return self._refused(asked, Refused(NotProven.AWAY))
        answer = RedirectResponse(place, 303)
        # Lax: it has to come along when the provider sends the browser back.
        answer.set_cookie(
            BINDER_COOKIE, binder, max_age=BINDER_SECONDS, path=PREFIX + BACK, httponly=True,
            secure=asked.desk.settings.desk.is_tls, samesite="lax",
        )  # fmt: skip
        return answer

    def _come_back(self, asked: Asked) -> Response:
        binder = asked.request.cookies.get(BINDER_COOKIE, "")
        found = self._provider.proven(binder, asked.query, _back_address(asked), asked.now)
        if isinstance(found, Refused):
            return self._refused(asked, found)
        return self._signed_in(asked, found)

    def _signed_in(self, asked: Asked, found: Proven) -> Response:
        with asked.writing() as write:
            person = person_proven(write.session, found)
            if not isinstance(person, Refused):
                cookie = begin_visit(asked, write, person, "provider")
        if isinstance(person, Refused):
            return self._refused(asked, person)
        # A page that goes on by itself, no redirect: what another site began has no Strict cookie.
        home = NEW_PASSWORD if person.is_password_temporary else home_of(person.role)
        answer = asked.show("provider_back.html", home=home)
        give_cookie(asked, answer, cookie)
        answer.delete_cookie(BINDER_COOKIE, path=PREFIX + BACK)
        return answer

    def _refused(self, asked: Asked, refused: Refused) -> Response:
        with asked.writing() as write:
            why = f"provider-{refused.why.value}"
            subject = refused.detail if refused.why in _NAMED else "-"
            write.note(
                "sign-in-refused", subject or "-",
                why=why, detail=refused.detail, address=asked.address,
            )  # fmt: skip
        answer = sign_in_refused(asked, f"oidc_{refused.why.value}")
        answer.delete_cookie(BINDER_COOKIE, path=PREFIX + BACK)
        return answer


_NAMED: Final = (NotProven.UNKNOWN, NotProven.SOMEBODY_ELSE)


def add_provider(shell: Shell) -> None:
    """Adds these pages, where a provider is configured."""
    if shell.desk.settings.desk.oidc_issuer:
        ProviderPages(shell)


def _back_address(asked: Asked) -> str:
    """As the provider must know it: it sends nobody to an address that was not registered."""
    scheme = "https" if asked.desk.settings.desk.is_tls else "http"
    return f"{scheme}://{asked.request.headers.get('Host', '')}{PREFIX}{BACK}"
