"""Signing in and out, one's own password and one-time codes, the language."""

from typing import Final
from urllib.parse import urlsplit

import segno
from fastapi import Response

from sluicegate.desk.pages.shell import (
    COOKIE,
    LANGUAGE_COOKIE,
    LANGUAGE_SECONDS,
    NEW_PASSWORD,
    PREFIX,
    Asked,
    Shell,
    Writing,
)
from sluicegate.desk.pages.words import WORDS
from sluicegate.desk.people import (
    NotIn,
    Person,
    change_password,
    confirm_secret,
    end_sessions,
    new_secret,
    secret_uri,
    sign_in,
)
from sluicegate.desk.roles import Role
from sluicegate.desk.sessions import begin_session, end_session
from sluicegate.desk.tables import PersonRow

HOME: Final = {Role.ADMINISTRATOR: f"{PREFIX}/people"}
"""Where a role begins, if not at the queue."""
QR_SCALE: Final = 5


def add_signing(shell: Shell) -> None:
    """Adds these pages."""
    shell.open("GET", "/sign-in", _sign_in_form)
    shell.open("POST", "/sign-in", _sign_in)
    shell.open("POST", "/language", _language)
    shell.post("/sign-out", _sign_out, None)
    shell.get("/me", _me, None)
    shell.get("/me/password", _password_form, None)
    shell.post("/me/password", _password, None)
    shell.get("/me/code", _code_form, None)
    shell.post("/me/code", _code, None)


def provider_of(asked: Asked) -> str:
    """What the button of the provider says; empty where there is none."""
    rules = asked.desk.settings.desk
    text = WORDS[asked.language]["oidc_sign_in"]
    return (rules.oidc_button or text) if rules.oidc_issuer else ""


def sign_in_refused(asked: Asked, error: str, name: str = "") -> Response:
    """The form again, with the reason."""
    return asked.show("sign_in.html", 403, error=error, name=name, provider=provider_of(asked))


def home_of(role: Role) -> str:
    """The page that a role begins at."""
    return HOME.get(role, PREFIX)


def _sign_in_form(asked: Asked) -> Response:
    if asked.visit is not None:
        return asked.away(home_of(asked.person.role))
    return asked.show("sign_in.html", error="", name="", provider=provider_of(asked))


def _sign_in(asked: Asked) -> Response:
    name = asked.form["name"][:64]
    with asked.writing() as write:
        found = sign_in(write.session, name, asked.form["password"], asked.form["code"], asked.door)
        if isinstance(found, NotIn):
            write.note("sign-in-refused", name or "-", why=found.value, address=asked.address)
        else:
            cookie = begin_visit(asked, write, found, "password")
    if isinstance(found, NotIn):
        return sign_in_refused(asked, f"sign_in_{found.value}", name)
    temporary = found.is_password_temporary
    answer = asked.away(NEW_PASSWORD if temporary else home_of(found.role))
    give_cookie(asked, answer, cookie)
    return answer


def begin_visit(asked: Asked, write: Writing, person: Person, by: str) -> str:
    """Signs somebody in, and this browser's visit of before out; the new cookie."""
    if asked.visit is not None:
        end_session(write.session, asked.visit.id)
    write.note("signed-in", person.name, by=by, address=asked.address)
    return begin_session(write.session, person, asked.now)


def give_cookie(asked: Asked, answer: Response, cookie: str) -> None:
    """The cookie of a visit: of this site alone, out of reach of scripts."""
    answer.set_cookie(
        COOKIE, cookie, path=PREFIX, httponly=True,
        secure=asked.desk.settings.desk.is_tls, samesite="strict",
    )  # fmt: skip


def _sign_out(asked: Asked) -> Response:
    with asked.writing() as write:
        assert asked.visit is not None  # noqa: S101 - the shell saw to it
        end_session(write.session, asked.visit.id)
        write.note("signed-out", asked.person.name)
    answer = asked.away(f"{PREFIX}/sign-in")
    answer.delete_cookie(COOKIE, path=PREFIX)
    return answer


def _language(asked: Asked) -> Response:
    back = urlsplit(asked.form["back"])
    is_ours = not back.netloc and back.path.startswith(PREFIX)
    path = f"{back.path}?{back.query}" if back.query else back.path
    answer = asked.away(path if is_ours else PREFIX)
    answer.set_cookie(
        LANGUAGE_COOKIE, "en" if asked.form["language"] == "en" else "zh",
        max_age=LANGUAGE_SECONDS, path=PREFIX, httponly=True,
        secure=asked.desk.settings.desk.is_tls, samesite="strict",
    )  # fmt: skip
    return answer


def _me(asked: Asked) -> Response:
    return asked.show("me.html")


def _password_form(asked: Asked) -> Response:
    return asked.show("password.html", error="")


def _password(asked: Asked) -> Response:
    new = asked.form["new"]
    if new != asked.form["again"]:
        return asked.show("password.html", 422, error="password_differs")
    with asked.writing() as write:
        row = write.session.get_one(PersonRow, asked.person.id)
        weak = change_password(row, asked.form["old"], new)
        if weak is None:
            assert asked.visit is not None  # noqa: S101 - the shell saw to it
            end_sessions(write.session, row.id, but=asked.visit.id)
            write.note("password-changed", row.name)
    if weak is not None:
        return asked.show("password.html", 422, error=f"password_{weak.value}")
    return asked.away(home_of(asked.person.role), "password_changed")


def _code_form(asked: Asked) -> Response:
    return _code_page(asked, new_secret(), "")


def _code_page(asked: Asked, secret: str, error: str) -> Response:
    drawn = segno.make(secret_uri(secret, asked.person.name), error="m")
    svg = drawn.svg_inline(scale=QR_SCALE, border=3, light="#fff", dark="#000", omitsize=False)
    return asked.show("code.html", 422 if error else 200, secret=secret, svg=svg, error=error)


def _code(asked: Asked) -> Response:
    """The secret comes back with the form: it is nothing until a code shows that it is known."""
    secret = asked.form["secret"][:64]
    with asked.writing() as write:
        row = write.session.get_one(PersonRow, asked.person.id)
        is_right = row.totp_secret is None and confirm_secret(
            row, secret, asked.form["code"], asked.door
        )
        if is_right:
            write.note("codes-begun", row.name)
    if not is_right:
        return _code_page(asked, secret, "code_wrong")
    return asked.away(f"{PREFIX}/me", "codes_begun")
