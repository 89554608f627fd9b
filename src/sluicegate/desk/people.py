"""People of the desk: passwords, lock-out, one-time codes.

Passwords are kept as Argon2id hashes; after some failures a person is locked for a while, whether
the next password would have been right or not (`attempts.py`).
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from sluicegate.desk import attempts
from sluicegate.desk.roles import Right, Role, may
from sluicegate.desk.sealing import PLAIN, Sealing
from sluicegate.desk.tables import PersonRow, SessionRow

LEAST_PASSWORD: Final = 12
MOST_PASSWORD: Final = 128
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


@dataclass(frozen=True, slots=True)
class Doorway:
    """From where and when somebody shows who they are, and what opens secrets that are kept."""

    address: str
    now: datetime
    sealing: Sealing = PLAIN


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


def sign_in(session: Session, name: str, password: str, code: str, door: Doorway) -> Person | NotIn:
    """Who that is; counts failures and locks.

    Raises:
        Problem: the secret of the person's codes cannot be opened.
    """
    row = session.scalar(select(PersonRow).where(PersonRow.name == name))
    if row is None or row.disabled_at is not None:
        _matches(_NOBODY, password)
        return NotIn.WRONG
    if attempts.is_locked(session, row.id, door.address, door.now):
        return NotIn.LOCKED
    is_right = _matches(row.password_hash, password)
    if is_right and row.totp_secret is not None:
        is_right = _takes_code(row, door.sealing.unseal(row.totp_secret), code, door.now)
    if not is_right:
        attempts.note_failure(session, row.id, door.address, door.now)
        return NotIn.WRONG
    attempts.note_success(session, row.id, door.address, door.now)
    if _hasher.check_needs_rehash(row.password_hash):
        row.password_hash = _hasher.hash(password)
    return person_of(row)


def signs(session: Session, row: PersonRow, password: str, door: Doorway) -> bool:
    """Whether somebody who is signed in signs with the right password; failures lock as there."""
    if attempts.is_locked(session, row.id, door.address, door.now):
        return False
    if _matches(row.password_hash, password):
        return True
    attempts.note_failure(session, row.id, door.address, door.now)
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
    """A new one-time password; codes, sessions, locks and the tie to a provider's person end."""
    password = new_password()
    row.password_hash = _hasher.hash(password)
    row.is_password_temporary = True
    row.totp_secret = None
    row.oidc_subject = None
    attempts.lift_locks(session, row.id)
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


def confirm_secret(row: PersonRow, secret: str, code: str, door: Doorway) -> bool:
    """Begins to ask for codes, once somebody has shown that the phone knows the secret."""
    is_shown = _takes_code(row, secret, code, door.now)
    if is_shown:
        row.totp_secret = door.sealing.seal(secret)
    return is_shown


def _takes_code(row: PersonRow, secret: str, code: str, now: datetime) -> bool:
    """Whether a code is that of this step, the last or the next, and was not used before."""
    this = int(now.timestamp()) // CODE_SECONDS
    totp = pyotp.TOTP(secret)
    digits = code.replace(" ", "")
    for step in (this - 1, this, this + 1):
        good = totp.generate_otp(step)
        if step > row.totp_step and secrets.compare_digest(good.encode(), digits.encode()):
            row.totp_step = step
            return True
    return False


def _matches(digest: str, password: str) -> bool:
    try:
        return _hasher.verify(digest, password[:MOST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return False
