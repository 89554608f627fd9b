"""Keys of branches: made once, shown once, kept as Argon2id hashes, with scopes and a rate."""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.counter.database import all_keys, store_key
from sluicegate.liaison.database import reason_of

log = logging.getLogger(__name__)

RELOAD_SECONDS: Final = 2.0
"""A key that is revoked works for at most so long."""
VERIFIED_SECONDS: Final = 900.0
"""So long a key that was shown is known by its SHA-256, before Argon2 (50 ms) is asked again."""
MOST_VERIFIED: Final = 10_000
BURST_SECONDS: Final = 2.0
_PREFIX: Final = "sg"
_hasher: Final = PasswordHasher()


class Scope(StrEnum):
    """What a key may do."""

    CHECK = "check"
    OUTCOME = "outcome"
    SUMMARY = "summary"
    LEGS = "legs"
    """With `summary`: sees amounts and counterparties of single legs."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was recognised."""

    id: str
    branch: str
    scopes: frozenset[Scope]


def create_key(engine: Engine, branch: str, scopes: frozenset[Scope], at: datetime) -> str:
    """Makes a key and stores its hash; the text that is returned is not known afterwards."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"{_PREFIX}-{key_id}-{secret}"
    row = {
        "id": key_id,
        "hash": _hasher.hash(text),
        "branch": branch,
        "scopes": sorted(scopes),
        "created_at": at,
        "revoked_at": None,
    }
    store_key(engine, row)
    return text


class KeyRing:
    """The keys that are good now; looks at the database every two seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._good: dict[str, tuple[Key, str]] = {}
        """By id, with the stored hash."""
        self._verified: OrderedDict[bytes, tuple[str, str, float]] = OrderedDict()
        """By SHA-256 of the text: id, stored hash, and until when (monotonic)."""
        self._hashing = asyncio.Semaphore(1)

    def load(self) -> None:
        """Reads the keys; in a thread, while requests are served."""
        self._good = {
            row.id: (Key(row.id, row.branch, frozenset(map(Scope, row.scopes))), row.hash)
            for row in all_keys(self._engine)
            if row.revoked_at is None
        }

    async def keep_loading(self) -> None:
        """Reads the keys again and again; the last ones stay while the database is away."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await asyncio.to_thread(self.load)
            except SQLAlchemyError as error:
                log.warning("the keys cannot be read: %s", reason_of(error))

    def is_good(self, key: Key) -> bool:
        """Whether a key that was recognised before has not been revoked since."""
        return key.id in self._good

    async def recognise(self, text: str) -> Key | None:
        """The key of this text, if it is good."""
        prefix, _, rest = text.partition("-")
        known = self._good.get(rest.partition("-")[0]) if prefix == _PREFIX else None
        if known is None or not await self._is_right(*known, text):
            return None
        return known[0]

    async def _is_right(self, key: Key, stored: str, text: str) -> bool:
        known_as = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        if self._is_verified(key, stored, known_as):
            return True
        async with self._hashing:  # one at a time: guessing must not take the processor
            if self._is_verified(key, stored, known_as):
                return True  # somebody showed it, while this one waited
            right = await asyncio.to_thread(_matches, stored, text)
        if right:
            self._verified[known_as] = (key.id, stored, time.monotonic() + VERIFIED_SECONDS)
            while len(self._verified) > MOST_VERIFIED:
                self._verified.popitem(last=False)
        return right

    def _is_verified(self, key: Key, stored: str, known_as: bytes) -> bool:
        known = self._verified.get(known_as)
        return known is not None and known[:2] == (key.id, stored) and time.monotonic() < known[2]


def _matches(stored: str, text: str) -> bool:
    try:
        return _hasher.verify(stored, text)
    except (VerificationError, InvalidHashError):
        return False


class Rates:
    """How much each key has left: a bucket that fills at a rate and holds two seconds' worth."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._left: dict[str, tuple[float, float]] = {}

    def wait_for(self, key_id: str, checks: int, now: float) -> float:
        """Takes so many checks; 0, or after how many seconds it is worth asking again."""
        left, at = self._left.get(key_id, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        # More than a whole bucket is let through when it is full: it is owed afterwards.
        needed = min(float(checks), self._burst)
        if left < needed:
            self._left[key_id] = (left, now)
            return (needed - left) / self._per_second
        self._left[key_id] = (left - checks, now)
        return 0.0
