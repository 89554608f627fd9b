"""People of the desk: passwords, lock-out, one-time codes.

Passwords are kept as Argon2id hashes; after some failures a name is locked for a while, whether
the next password would have been right or not.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from sluicegate.desk.roles import Right, Role, may
from sluicegate.desk.tables import PersonRow, SessionRow

LEAST_PASSWORD: Final = 12
MOST_PASSWORD: Final = 128
MOST_FAILURES: Final = 5
LOCKED_FOR: Final = timedelta(minutes=15)
CODE_SECONDS: Final = 30
FIRST_NAME: Final = "admin"
_hasher: Final = PasswordHasher()
_NOBODY: Final = _hasher.hash(secrets.token_hex(16))
"""Compared where there is no such name, so that the time taken does not tell."""
_COMMON: Final = ("password", "12345678", "qwertyui", "sluicegate", "admin123", "11111111")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    id: int
    name: str
    full_name: str
    role: Role
    is_password_temporary: bool = False
    has_code: bool = False

    def may(self, right: Right) -> bool:
        """Whether the role has the right."""
        return may(self.role, right)


class NotIn(StrEnum):
    """Why somebody is not signed in."""

    WRONG = "wrong"
    """Name, password or code: which of them is not told."""
    LOCKED = "locked"


class Weak(StrEnum):
    """Why a password is not taken."""

    SHORT = "short"
    LONG = "long"
    COMMON = "common"
    NAME = "name"
    SAME = "same"


def person_of(row: PersonRow) -> Person:
    """A row as a value."""
    return Person(
        row.id,
        row.name,
        row.full_name,
        Role(row.role),
        row.is_password_temporary,
        row.totp_secret is not None,
    )


def sign_in(session: Session, name: str, password: str, code: str, now: datetime) -> Person | NotIn:
    """Who that is; counts failures and locks."""
    row = session.scalar(select(PersonRow).where(PersonRow.name == name))
    if row is None or row.disabled_at is not None:
        _matches(_NOBODY, password)
        return NotIn.WRONG
    if row.locked_until is not None and now < row.locked_until:
        return NotIn.LOCKED
    is_right = _matches(row.password_hash, password)
    if is_right and row.totp_secret is not None:
        is_right = _takes_code(row, code, now)
    if not is_right:
        _count_failure(row, now)
        return NotIn.WRONG
    row.failures, row.locked_until = 0, None
    if _hasher.check_needs_rehash(row.password_hash):
        row.password_hash = _hasher.hash(password)
    return person_of(row)


def signs(row: PersonRow, password: str, now: datetime) -> bool:
    """Whether somebody who is signed in signs with the right password; failures lock as there."""
    if row.locked_until is not None and now < row.locked_until:
        return False
    if _matches(row.password_hash, password):
        return True
    _count_failure(row, now)
    return False


def add_person(
    session: Session, name: str, full_name: str, role: Role, now: datetime
) -> tuple[PersonRow, str]:
    """A new person, and the password that works until it is changed at the first sign-in."""
    password = new_password()
    row = PersonRow(
        name=name,
        full_name=full_name,
        role=role.value,
        password_hash=_hasher.hash(password),
        is_password_temporary=True,
        totp_secret=None,
        totp_step=0,
        failures=0,
        locked_until=None,
        created_at=now,
        disabled_at=None,
    )
    session.add(row)
    session.flush()
    return row, password


def first_administrator(session: Session, now: datetime) -> str | None:
    """Makes the first person where there is none, and gives the one-time password."""
    if session.scalar(select(func.count()).select_from(PersonRow)):
        return None
    _, password = add_person(session, FIRST_NAME, "Administrator", Role.ADMINISTRATOR, now)
    return password


def reset_password(session: Session, row: PersonRow) -> str:
    """A new one-time password; one-time codes and sessions end, a lock is lifted."""
    password = new_password()
    row.password_hash = _hasher.hash(password)
    row.is_password_temporary = True
    row.totp_secret = None
    row.failures, row.locked_until = 0, None
    end_sessions(session, row.id)
    return password


def change_password(row: PersonRow, old: str, new: str) -> Weak | NotIn | None:
    """Takes a new password; why not, where it is not taken."""
    if not _matches(row.password_hash, old):
        return NotIn.WRONG
    weak = weakness(new, row.name)
    if weak is None and old == new:
        weak = Weak.SAME
    if weak is None:
        row.password_hash = _hasher.hash(new)
        row.is_password_temporary = False
    return weak


def weakness(password: str, name: str) -> Weak | None:
    """Why a password is too easy; None if it is not. Length decides, as NIST SP 800-63B says."""
    lowered = password.lower()
    if len(password) < LEAST_PASSWORD:
        return Weak.SHORT
    if len(password) > MOST_PASSWORD:
        return Weak.LONG
    if len(set(lowered)) < 5 or any(lowered.startswith(each) for each in _COMMON):
        return Weak.COMMON
    return Weak.NAME if name.lower() in lowered else None


def end_sessions(session: Session, person_id: int, but: str = "") -> None:
    """Signs a person out everywhere, but for one session."""
    session.execute(
        delete(SessionRow).where(SessionRow.person_id == person_id, SessionRow.id != but)
    )


def new_password() -> str:
    """Sixteen characters that nobody can guess and everybody can read aloud."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    groups = ("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))
    return "-".join(groups)


def new_secret() -> str:
    """A secret for one-time codes (RFC 6238), base 32."""
    return pyotp.random_base32()


def secret_uri(secret: str, name: str) -> str:
    """What a phone reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="sluicegate")


def confirm_secret(row: PersonRow, secret: str, code: str, now: datetime) -> bool:
    """Begins to ask for codes, once somebody has shown that the phone knows the secret."""
    row.totp_secret = secret
    if _takes_code(row, code, now):
        return True
    row.totp_secret = None
    return False


def _takes_code(row: PersonRow, code: str, now: datetime) -> bool:
    """Whether a code is that of this step, the last or the next, and was not used before."""
    this = int(now.timestamp()) // CODE_SECONDS
    totp = pyotp.TOTP(row.totp_secret or "")
    digits = code.replace(" ", "")
    for step in (this - 1, this, this + 1):
        good = totp.generate_otp(step)
        if step > row.totp_step and secrets.compare_digest(good.encode(), digits.encode()):
            row.totp_step = step
            return True
    return False


def _count_failure(row: PersonRow, now: datetime) -> None:
    row.failures += 1
    if row.failures >= MOST_FAILURES:
        row.failures, row.locked_until = 0, now + LOCKED_FOR


def _matches(digest: str, password: str) -> bool:
    try:
        return _hasher.verify(digest, password[:MOST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return False
