"""Sign-in through the bank's own OpenID provider: authorization code with PKCE, state and nonce.

What one sign-in must remember is a random cookie; state, nonce and verifier are derived from it, so
that nothing is kept here and an answer counts only in the browser that asked.
"""

import base64
import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from secrets import compare_digest
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
from authlib.oauth2.rfc7636 import (  # type: ignore[import-untyped]
    create_s256_code_challenge,
)
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.people import Person, person_of
from sluicegate.desk.tables import PersonRow
from sluicegate.settings import DeskSettings

SIGNATURES: Final = ("RS256", "PS256", "ES256", "ES384", "RS512", "Ed25519", "EdDSA")
"""By keys that the provider alone has: never `none`, never a secret that both know."""
ASK_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 3_600.0
NEW_KEY_SECONDS: Final = 1.0
"""A token by a key that is not known has the keys asked again, so often at most."""
LEEWAY_SECONDS: Final = 60
"""So much the clocks of desk and provider may differ."""


class NotProven(StrEnum):
    """Why somebody who came back from the provider is not signed in."""

    AWAY = "away"
    """The provider does not answer, or not as one."""
    DECLINED = "declined"
    """It says no: somebody gave up there, or is not let in."""
    OTHER_BROWSER = "other_browser"
    """This browser did not ask, or too long ago."""
    TOKEN = "token"  # noqa: S105 - a reason
    """The token is not what was asked for, is forged or is over."""
    UNKNOWN = "unknown"
    """Nobody of that name was added here, or is disabled."""
    SOMEBODY_ELSE = "somebody_else"
    """The name belonged to another person of the provider before."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not, and for the audit what exactly."""

    why: NotProven
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Proven:
    """Who the provider says it is."""

    name: str
    """By which the desk knows the person."""
    subject: str
    """SHA-256 of issuer and `sub`, which the provider never gives to anybody else."""


class Provider:
    """An OpenID provider; what it says of itself is asked when needed, and kept for an hour."""

    def __init__(self, rules: DeskSettings) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def begins_at(self, binder: str, back: str) -> str:
        """Where a browser goes to sign in; it comes back to the address `back`.

        Raises:
            httpx.HTTPError: the provider does not answer.
        """
        asked = {
            "response_type": "code",
            "client_id": self._rules.oidc_client_id,
            "redirect_uri": back,
            "scope": "openid profile",
            "state": derived(binder, "state"),
            "nonce": derived(binder, "nonce"),
            "code_challenge": create_s256_code_challenge(derived(binder, "verifier")),
            "code_challenge_method": "S256",
        }
        place = str(self._about()["authorization_endpoint"])
        return f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}"

    def proven(
        self, binder: str, told: Mapping[str, str], back: str, now: datetime
    ) -> Proven | Refused:
        """Who came back, with what the provider `told` in the address."""
        refused = self._refused(binder, told)
        if refused is not None:
            return refused
        try:
            return self._read(self._token(told["code"], binder, back), binder, now)
        except httpx.HTTPStatusError as error:
            is_no = error.response.is_client_error
            why = NotProven.DECLINED if is_no else NotProven.AWAY
            return Refused(why, str(error.response.status_code))
        except (httpx.HTTPError, KeyError, TypeError) as error:
            return Refused(NotProven.AWAY, type(error).__name__)
        except (JoseError, ValueError) as error:
            return Refused(NotProven.TOKEN, str(error)[:200])

    def _refused(self, binder: str, told: Mapping[str, str]) -> Refused | None:
        """Why there is no code to ask about; None if there is one."""
        if not binder or not compare_digest(
            told.get("state", "").encode(), derived(binder, "state").encode()
        ):
            return Refused(NotProven.OTHER_BROWSER)
        if told.get("iss", self._rules.oidc_issuer) != self._rules.oidc_issuer:  # RFC 9207
            return Refused(NotProven.DECLINED, "another issuer")
        if "code" not in told:
            return Refused(NotProven.DECLINED, told.get("error", "")[:64])
        return None

    def _token(self, code: str, binder: str, back: str) -> str:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": derived(binder, "verifier"),
        }
        secret, auth = self._rules.oidc_client_secret, None
        if secret is None:
            fields["client_id"] = self._rules.oidc_client_id
        else:  # RFC 6749, 2.3.1: both are form-encoded before they are joined
            auth = (quote(self._rules.oidc_client_id, ""), quote(secret.get_secret_value(), ""))
        place = str(self._about()["token_endpoint"])
        answer = httpx.post(place, data=fields, auth=auth, timeout=ASK_SECONDS)
        return str(answer.raise_for_status().json()["id_token"])

    def _read(self, token: str, binder: str, now: datetime) -> Proven | Refused:
        try:
            found = jwt.decode(token, self._keys(FRESH_SECONDS), algorithms=list(SIGNATURES))
        except InvalidKeyIdError:  # a key that is newer than what is kept
            found = jwt.decode(token, self._keys(NEW_KEY_SECONDS), algorithms=list(SIGNATURES))
        claims = CodeIDToken(
            found.claims,
            found.header,
            {
                "iss": {"essential": True, "value": self._rules.oidc_issuer},
                "aud": {"essential": True, "value": self._rules.oidc_client_id},
            },
            {"nonce": derived(binder, "nonce"), "client_id": self._rules.oidc_client_id},
        )
        claims.validate(int(now.timestamp()), LEEWAY_SECONDS)
        name = claims.get(self._rules.oidc_claim)
        if not isinstance(name, str) or not name:
            return Refused(NotProven.TOKEN, f"no claim {self._rules.oidc_claim}")
        whole = f"{self._rules.oidc_issuer}\0{claims['sub']}"
        return Proven(name, hashlib.sha256(whole.encode()).hexdigest())

    def _about(self) -> dict[str, Any]:
        """What the provider says of itself, under its own name."""
        issuer = self._rules.oidc_issuer
        about = self._asked(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if about.get("issuer") != issuer:
            raise httpx.DecodingError(f"the provider calls itself {about.get('issuer')}")
        return about

    def _keys(self, fresh_seconds: float) -> KeySet:
        place = str(self._about()["jwks_uri"])
        return KeySet.import_key_set(self._asked(place, fresh_seconds))  # type: ignore[arg-type]  # JSON

    def _asked(self, place: str, fresh_seconds: float = FRESH_SECONDS) -> dict[str, Any]:
        with self._lock:
            kept = self._kept.get(place)
            if kept is not None and time.monotonic() - kept[0] < fresh_seconds:
                return kept[1]
            answer = httpx.get(place, timeout=ASK_SECONDS).raise_for_status()
            try:
                found: dict[str, Any] = dict(answer.json())
            except ValueError as error:
                raise httpx.DecodingError("that is no JSON") from error
            self._kept[place] = (time.monotonic(), found)
            return found


def derived(binder: str, use: str) -> str:
    """43 characters that only who knows the cookie can know, others for each use."""
    digest = hashlib.sha256(f"{use}\0{binder}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def person_proven(session: Session, proven: Proven) -> Person | Refused:
    """The person of the desk who that is; at the first time the two are tied together."""
    row = session.scalar(select(PersonRow).where(PersonRow.name == proven.name))
    if row is None or row.disabled_at is not None:
        return Refused(NotProven.UNKNOWN, proven.name[:64])
    if row.oidc_subject is None:
        row.oidc_subject = proven.subject
    if row.oidc_subject != proven.subject:
        return Refused(NotProven.SOMEBODY_ELSE, proven.name[:64])
    return person_of(row)
