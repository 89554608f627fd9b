"""Who is signed in at the page: random cookies, held in memory, bound to a key."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from sluicegate.counter.keys import Key

COOKIE: Final = "sluicegate_counter"
SESSION_SECONDS: Final = 10 * 3_600
"""A working day; whoever stays longer signs in again."""
MOST_SESSIONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Session:
    key: Key
    until: float


class Sessions:
    """Cookies by which tellers are known; `now` is of a clock that never goes back, in seconds."""

    def __init__(self) -> None:
        self._by_cookie: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, key: Key, now: float) -> str:
        """A new cookie for who has shown this key."""
        cookie = secrets.token_urlsafe(32)
        self._by_cookie[cookie] = _Session(key, now + SESSION_SECONDS)
        while len(self._by_cookie) > MOST_SESSIONS:
            self._by_cookie.popitem(last=False)
        return cookie

    def key_of(self, cookie: str, now: float) -> Key | None:
        """The key behind a cookie, while the session lasts."""
        session = self._by_cookie.get(cookie)
        return session.key if session is not None and now < session.until else None

    def end(self, cookie: str) -> None:
        """Forgets a cookie."""
        self._by_cookie.pop(cookie, None)
