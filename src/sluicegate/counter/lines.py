"""A standing connection to a worker: questions leave as they come, answers come in their order.

A request of its own for each check cost both sides more than the judgement (docs/decisions/0023).
"""

import asyncio
import contextlib
import time
from collections import deque
from typing import Final

import aiohttp

MOST_WAITING: Final = 512
"""Questions without an answer: beyond them a worker counts as too slow to be asked."""
HEARTBEAT_SECONDS: Final = 10.0
"""A worker whose machine is gone hangs up on nobody."""


class Line:
    """Questions to one worker, over a WebSocket that is opened by the first of them."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._waiting: deque[asyncio.Future[str]] = deque()
        self._listening: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def ask(self, question: str, deadline: float) -> str:
        """The answer; `deadline` is of the monotonic clock.

        Raises:
            TimeoutError: there is none by then, or too many wait already.
            OSError, aiohttp.ClientError: the worker is away.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise TimeoutError
        async with asyncio.timeout(deadline - time.monotonic()):
            socket = self._socket
            if socket is None:
                socket = await self._open()
            # Nothing may come between: answers are known by their order alone.
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiting.append(answer)
            try:
                await socket.send_str(question)
                return await answer
            finally:
                answer.cancel()  # who has gone takes none; its place in the order stays

    async def close(self) -> None:
        """Closes the connection; who still waits is told that the worker is away."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        async with self._opening:
            if self._socket is None:
                self._socket = await self._session.ws_connect(
                    self._url, max_msg_size=0, heartbeat=HEARTBEAT_SECONDS
                )
                self._listening = asyncio.ensure_future(self._listen(self._socket))
            return self._socket

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async for message in socket:
                answer = self._waiting.popleft()
                if not answer.done():  # else its deadline has passed
                    answer.set_result(message.data)
        finally:
            self._socket = None
            waiting, self._waiting = self._waiting, deque()
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(ConnectionResetError(f"{self._url} hung up"))
            with contextlib.suppress(Exception):
                await socket.close()
