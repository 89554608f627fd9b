"""What a bank's feed contains too: messages that nobody can read, and messages sent twice."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sluicegate.streaming.sender import Keyed

BAD: Final = 20
REPEATS: Final = 20

_SOUND: Final[dict[str, object]] = {
    "id": "MISHAP",
    "occurred_at": "2026-03-01T10:00:00.000+08:00",
    "amount": "100.00",
    "payer_account": "6222000000000000001",
    "payee_account": "6222000000000000002",
}


def _with(**fields: object) -> bytes:
    return json.dumps(_SOUND | fields).encode()


def _without(field: str) -> bytes:
    return json.dumps({name: value for name, value in _SOUND.items() if name != field}).encode()


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


_UNREADABLE: Final[tuple[Callable[[], bytes | None], ...]] = (
    lambda: None,
    lambda: b"",
    lambda: b"\xff\xfe not UTF-8",
    lambda: b"this is no JSON",
    lambda: b'{"id": "CUT-OFF", "amount": ',
    lambda: b"[1, 2, 3]",
    lambda: _with(memo="x" * 1_048_576),
    lambda: b'{"id": "TWICE-A", "id": "TWICE-B"}',
    lambda: _without("id"),
    lambda: _with(id="N" * 65),
    lambda: _with(amount="-5.00"),
    lambda: _with(amount="0"),
    lambda: _with(amount="1.005"),
    lambda: _with(amount="much"),
    lambda: _with(occurred_at="yesterday"),
    lambda: _with(occurred_at=_tomorrow()),
    lambda: _with(currency="USD"),
    lambda: _with(channel="pigeon"),
    lambda: _with(payer_account=None, payee_account=None),
)
"""Each of these the contract refuses, each for another reason; the last kind is `_reused`."""


class Mishaps:
    """One mishap for each chunk of the stream until there were `BAD` and `REPEATS` of them."""

    def __init__(self) -> None:
        self._left = self._programme()

    def after(self, sent: Sequence[Keyed]) -> Sequence[Keyed]:
        """What goes wrong after these messages: one message to send, or none any more."""
        happens = next(self._left, None) if sent else None
        return [happens(sent[0])] if happens else []

    @staticmethod
    def _programme() -> Iterator[Callable[[Keyed], Keyed]]:
        def unreadable(message: Callable[[], bytes | None]) -> Callable[[Keyed], Keyed]:
            return lambda sent: (sent[0], message())

        for message in _UNREADABLE:
            yield unreadable(message)
            yield _again
        yield _reused
        yield _again


def _again(sent: Keyed) -> Keyed:
    return sent


def _reused(sent: Keyed) -> Keyed:
    """The same id, with another amount."""
    key, value = sent
    return key, json.dumps(json.loads(value or b"{}") | {"amount": "123456.78"}).encode()
