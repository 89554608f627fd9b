"""Tellers who do not wait for each other: checks sent when they are due, over plain sockets.

Light, because it runs on the cores that it measures: one thread sends, one reads, and nothing is
made anew for a check. How late it was itself is part of every latency and told beside them.
"""

import json
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

READ_BYTES: Final = 65_536
GIVE_UP_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.05
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one check; seconds of the monotonic clock."""

    due: float
    sent: float
    answered: float
    status: int
    """Of HTTP; 0 if the connection was lost."""
    body: bytes

    @property
    def latency_ms(self) -> float:
        """From when it was due."""
        return (self.answered - self.due) * 1000

    @property
    def told(self) -> dict[str, Any]:
        """The answer, of a check that has one."""
        told: dict[str, Any] = json.loads(self.body)
        return told


class _Connection:
    """A connection with at most one check on its way."""

    __slots__ = ("due", "read", "sent", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""
        self.due = self.sent = 0.0

    def answer(self) -> tuple[int, bytes] | None:
        """Status and body, when all of it has come."""
        head, found, body = self.read.partition(_HEAD_END)
        if not found:
            return None
        head = head.lower()
        at = head.index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[at : (head + b"\r").index(b"\r", at)]):
            return None
        return int(head[9:12]), body


class Tellers:
    """Sends requests to one address; each that is answered or lost ends in `answered`."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._free: deque[_Connection] = deque()
        self._selector = selectors.DefaultSelector()
        self._asked = 0
        self._is_over = False
        self.answered: list[Answered] = []

    def ask(self, requests: Sequence[bytes], per_second: float, seconds: float) -> None:
        """Sends so many a second, the requests in turn, and waits until all are answered."""
        reader = threading.Thread(target=self._read_all, daemon=True)
        reader.start()
        start = time.monotonic()
        for index in range(round(per_second * seconds)):
            due = start + index / per_second
            time.sleep(max(0.0, due - time.monotonic()))
            self._send(requests[index % len(requests)], due)
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while len(self.answered) < self._asked and time.monotonic() < give_up_at:
            time.sleep(LOOK_SECONDS)
        self._is_over = True
        reader.join()
        self._selector.close()
        for connection in self._free:
            connection.socket.close()

    def _send(self, request: bytes, due: float) -> None:
        self._asked += 1
        sent = time.monotonic()
        try:
            connection = self._free.pop() if self._free else self._connected()
            connection.due, connection.sent, connection.read = due, sent, b""
            connection.socket.sendall(request)
        except OSError:
            self.answered.append(Answered(due, sent, time.monotonic(), 0, b""))

    def _connected(self) -> _Connection:
        connection = _Connection(self._address)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _read_all(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(LOOK_SECONDS):
                self._read(key.data)

    def _read(self, connection: _Connection) -> None:
        try:
            part = connection.socket.recv(READ_BYTES)
        except OSError:
            part = b""
        if not part:
            self._lost(connection)
            return
        connection.read += part
        answer = connection.answer()
        if answer is not None:
            now = time.monotonic()
            self.answered.append(Answered(connection.due, connection.sent, now, *answer))
            self._free.append(connection)

    def _lost(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        if connection in self._free:  # it rested: nobody waits for it
            self._free.remove(connection)
        else:
            now = time.monotonic()
            self.answered.append(Answered(connection.due, connection.sent, now, 0, b""))


def request_of(
    address: tuple[str, int], path: str, key: str, fields: Mapping[str, object]
) -> bytes:
    """A POST of a JSON object, as it goes over the wire."""
    body = json.dumps(fields).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
