"""A line to a worker: order is all that ties an answer to its question, so nothing may break it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sluicegate.counter.lines import MOST_WAITING, Line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONG = 30.0


def talk(answer: Callable[[str], Awaitable[str]], work: Callable[[Line], Awaitable[None]]) -> None:
    """Works with a line to a worker that answers so, question by question."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            told = await answer(message.data)
            if told == "hang up":
                break
            await socket.send_str(told)
        return socket

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/", serve)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            line = Line(session, str(server.make_url("/")))
            try:
                await work(line)
            finally:
                await line.close()

    asyncio.run(main())


def ask(line: Line, question: str, seconds: float = LONG) -> asyncio.Task[str]:
    return asyncio.ensure_future(line.ask(question, time.monotonic() + seconds))


async def echo(question: str) -> str:
    await asyncio.sleep(0.001)
    return question


def test_answers_find_their_questions() -> None:
    async def work(line: Line) -> None:
        questions = [f"q{n}" for n in range(100)]
        told = await asyncio.gather(*(ask(line, each) for each in questions))
        assert told == questions

    talk(echo, work)


def test_who_has_waited_too_long_leaves_the_others_their_answers() -> None:
    async def slow_at_first(question: str) -> str:
        await asyncio.sleep(0.2 if question == "q0" else 0.0)
        return question

    async def work(line: Line) -> None:
        impatient = ask(line, "q0", 0.05)
        others = [ask(line, f"q{n}") for n in range(1, 5)]
        with pytest.raises(TimeoutError):
            await impatient
        assert await asyncio.gather(*others) == ["q1", "q2", "q3", "q4"]

    talk(slow_at_first, work)


def test_when_the_worker_hangs_up_all_who_wait_are_told_and_the_next_calls_again() -> None:
    async def once(question: str) -> str:
        return "hang up" if question == "q1" else question

    async def work(line: Line) -> None:
        told: list[Any] = await asyncio.gather(
            *(ask(line, f"q{n}") for n in range(4)), return_exceptions=True
        )
        assert told[0] == "q0"
        assert all(isinstance(each, ConnectionResetError) for each in told[1:])
        assert await ask(line, "q5") == "q5"

    talk(once, work)


def test_nobody_there_is_an_error_at_once() -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await ask(Line(session, "http://127.0.0.1:1/"), "q")

    asyncio.run(main())


def test_more_than_can_wait_is_not_asked() -> None:
    async def never(question: str) -> str:
        await asyncio.sleep(LONG)
        return question

    async def work(line: Line) -> None:
        waiting = [ask(line, "q") for _ in range(MOST_WAITING)]
        await asyncio.sleep(0.5)
        with pytest.raises(TimeoutError):
            await ask(line, "one too many")
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    talk(never, work)
