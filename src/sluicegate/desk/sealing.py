"""Secrets of one-time codes at rest: encrypted where a key file is configured.

Unlike a password such a secret must be read again, so that a hash does not do. The key lies beside
the settings, not in the database: a copy of the database alone gives nobody a code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.tables import PersonRow
from sluicegate.errors import Problem

SEALED: Final = "fernet:"
"""What an encrypted secret begins with."""


class Sealing:
    """Encrypts with the first of some keys, and opens what any of them encrypted."""

    def __init__(self, keys: Sequence[Fernet] = ()) -> None:
        self._keys = MultiFernet(keys) if keys else None

    def seal(self, secret: str) -> str:
        """As it is to be kept: encrypted where there is a key."""
        return (
            secret if self._keys is None else SEALED + self._keys.encrypt(secret.encode()).decode()
        )

    def unseal(self, kept: str) -> str:
        """The secret.

        Raises:
            Problem: it was encrypted by a key that is not here.
        """
        if not kept.startswith(SEALED):
            return kept
        if self._keys is not None:
            try:
                return self._keys.decrypt(kept.removeprefix(SEALED)).decode()
            except InvalidToken:
                pass
        raise Problem(
            "[desk] secrets_key_file: does not open the secrets of one-time codes",
            "they were encrypted by another key",
            "add that key as a further line; or reset the people whose codes it was",
        )


PLAIN: Final = Sealing()


def sealing_of(file: Path | None) -> Sealing:
    """The keys of a file, one a line, the newest first; none: secrets are kept as they are.

    Raises:
        Problem: the file cannot be read, or holds no key.
    """
    if file is None:
        return PLAIN
    try:
        lines = file.read_text(encoding="ascii").split()
        keys = [Fernet(line) for line in lines]
    except (OSError, ValueError) as error:
        raise Problem(
            f"[desk] secrets_key_file: {file} cannot be used",
            str(error),
            "a key is made by: openssl rand -base64 32 | tr '+/' '-_'",
        ) from error
    if not keys:
        raise Problem(f"[desk] secrets_key_file: {file} holds no key")
    return Sealing(keys)


def seal_anew(session: Session, sealing: Sealing) -> None:
    """Brings what is kept to the first key: of before there was one, or of an older one.

    Raises:
        Problem: a secret cannot be opened.
    """
    for row in session.scalars(select(PersonRow).where(PersonRow.totp_secret.is_not(None))):
        row.totp_secret = sealing.seal(sealing.unseal(row.totp_secret or ""))
