"""Who owns which partition, and asking them: the workers' web servers, followed through moves."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from pydantic import ValidationError

from sluicegate.counter.lines import Line
from sluicegate.settings import Settings
from sluicegate.streaming.judge_contract import (
    ACCOUNT_PATH,
    JUDGE_PATH,
    STANDING_PATH,
    AccountQuestion,
    IntendedLeg,
    JudgedLeg,
    Judgements,
    Question,
    Standings,
)
from sluicegate.streaming.partitioning import partition_of

if TYPE_CHECKING:
    from sluicegate.judging.patterns import Thresholds

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 0.5
"""How often all workers are asked what they hold, and how long each may take to answer."""
LOST: Final = (aiohttp.ClientError, OSError, TimeoutError, ValidationError)


WHYS: Final = ("away", "not_owner", "restoring", "lagging", "deadline", "failed")


class Unjudged(str):
    """Why a leg was not judged: one of `WHYS`."""

    __slots__ = ()


AWAY, LAGGING, DEADLINE = Unjudged("away"), Unjudged("lagging"), Unjudged("deadline")


class Owners:
    """The workers, by the partitions that they hold."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = [each.rpartition(":") for each in settings.counter.workers.split(",")]
        self.partition_count = settings.topics.partitions
        self._max_lag_ms = settings.counter.max_lag_ms
        token = settings.worker.web_token
        self._headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        self._owner: dict[int, tuple[str, int]] = {}
        """By partition: the address of the worker, and the offset applied when it was asked."""
        self._session: aiohttp.ClientSession | None = None
        self._lines: dict[str, Line] = {}
        self._asking = asyncio.Lock()
        self._asked_at = 0.0
        self.version: str | None = None
        """Version of the pattern set, as a worker told it last."""
        self.thresholds: Thresholds | None = None
        """Those of that set."""

    async def open(self) -> None:
        """Opens the connections and asks the workers for the first time."""
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        )
        await self.ask_all()

    async def close(self) -> None:
        """Closes the connections."""
        for line in self._lines.values():
            await line.close()
        if self._session is not None:
            await self._session.close()

    async def keep_asking(self) -> None:
        """Asks the workers again and again what they hold."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            await self.ask_all()

    async def ask_all(self) -> None:
        """Asks all workers what they hold; of two that hold a partition, the one further on."""
        began = time.monotonic()
        async with self._asking:
            if self._asked_at > began:
                return  # somebody else did, while this one waited
            addresses = [each for host in self._hosts for each in await _resolved(host[0], host[2])]
            told = await asyncio.gather(*map(self._standings, dict.fromkeys(addresses)))
            self._note(told)

    def _note(self, told: Sequence[tuple[str, dict[int, int]]]) -> None:
        owner: dict[int, tuple[str, int]] = {}
        for address, standings in told:
            for number, standing in standings.items():
                if number not in owner or standing > owner[number][1]:
                    owner[number] = (address, standing)
        if {n: a for n, (a, _) in owner.items()} != {n: a for n, (a, _) in self._owner.items()}:
            log.info("%d of %d partitions have an owner", len(owner), self.partition_count)
        self._owner, self._asked_at = owner, time.monotonic()

    @property
    def owned(self) -> int:
        """How many partitions have an owner that answers."""
        return len(self._owner)

    async def judge(
        self, legs: Sequence[IntendedLeg], deadline: float
    ) -> list[JudgedLeg | Unjudged]:
        """Judges each leg at its owner, in order; `deadline` is of the monotonic clock."""
        judged = await self._judge_once(legs, deadline)
        moved = [index for index, each in enumerate(judged) if each == "not_owner"]
        if moved and time.monotonic() < deadline:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self.ask_all()
            again = await self._judge_once([legs[index] for index in moved], deadline)
            for index, each in zip(moved, again, strict=True):
                judged[index] = each
        return judged

    async def account(self, account: str, deadline: float) -> dict[str, Any] | Unjudged | None:
        """The view of an account, None if nothing is remembered of it."""
        owner = self._owner.get(partition_of(account, self.partition_count))
        if owner is None:
            return AWAY
        question = AccountQuestion(account=account).model_dump_json().encode()
        try:
            status, body = await self._post(owner[0], ACCOUNT_PATH, question, deadline)
        except TimeoutError:
            return DEADLINE
        except LOST:
            return AWAY
        if status == 200:
            view: dict[str, Any] = json.loads(body)
            return view
        return None if status == 404 else Unjudged(body.decode() if status == 409 else "away")

    async def _judge_once(
        self, legs: Sequence[IntendedLeg], deadline: float
    ) -> list[JudgedLeg | Unjudged]:
        groups: dict[str, list[int]] = {}
        judged: list[JudgedLeg | Unjudged] = [AWAY] * len(legs)
        for index, leg in enumerate(legs):
            owner = self._owner.get(partition_of(leg.account, self.partition_count))
            if owner is not None:
                groups.setdefault(owner[0], []).append(index)

        async def ask(address: str, indexes: list[int]) -> None:
            answers = await self._ask(address, [legs[index] for index in indexes], deadline)
            for index, each in zip(indexes, answers, strict=True):
                judged[index] = each

        if len(groups) == 1:  # the usual case: no task for it
            await ask(*next(iter(groups.items())))
        else:
            await asyncio.gather(*(ask(*group) for group in groups.items()))
        return judged

    async def _ask(
        self, address: str, legs: Sequence[IntendedLeg], deadline: float
    ) -> Sequence[JudgedLeg | Unjudged]:
        question = Question.model_construct(legs=tuple(legs)).model_dump_json()
        try:
            told = await self._line(address).ask(question, deadline)
            answer = Judgements.model_validate_json(told)
        except TimeoutError:
            return [DEADLINE] * len(legs)
        except LOST:
            return [AWAY] * len(legs)
        self._judged_by(answer)
        return [self._checked(each, answer) for each in answer.judged]

    def _checked(self, judged: object, answer: Judgements) -> JudgedLeg | Unjudged:
        if not isinstance(judged, JudgedLeg):
            return Unjudged(judged.why)  # type: ignore[attr-defined]  # the other half of the union
        if answer.partitions[judged.partition].lag_ms > self._max_lag_ms:
            return LAGGING
        arrival = judged.arrival
        if arrival and answer.partitions[arrival.partition].lag_ms > self._max_lag_ms:
            return judged.model_copy(update={"arrival": None})  # asked for by itself, it says why
        return judged

    def _judged_by(self, told: Standings) -> None:
        self.version, self.thresholds = told.pattern_set_version, told.thresholds

    def _line(self, address: str) -> Line:
        line = self._lines.get(address)
        if line is None:
            if self._session is None:
                raise TimeoutError
            url = f"http://{address}{JUDGE_PATH}"
            line = self._lines[address] = Line(self._session, url)
        return line

    async def _post(
        self, address: str, path: str, body: bytes, deadline: float
    ) -> tuple[int, bytes]:
        seconds = deadline - time.monotonic()
        if self._session is None or seconds <= 0:
            raise TimeoutError
        async with (
            asyncio.timeout(seconds),
            self._session.post(f"http://{address}{path}", data=body) as answer,
        ):
            return answer.status, await answer.read()

    async def _standings(self, address: str) -> tuple[str, dict[int, int]]:
        if self._session is None:
            return address, {}
        try:
            async with (
                asyncio.timeout(ASK_SECONDS),
                self._session.get(f"http://{address}{STANDING_PATH}") as answer,
            ):
                if answer.status == 401:
                    log.error("%s refuses the token of worker.web_token", address)
                told = Standings.model_validate_json(await answer.read())
        except TimeoutError:  # it is there and busy: a check has its own deadline
            return address, {n: at for n, (each, at) in self._owner.items() if each == address}
        except LOST:
            return address, {}
        self._judged_by(told)
        return address, {number: each.applied for number, each in told.partitions.items()}


async def _resolved(host: str, port: str) -> list[str]:
    """All addresses of a name: several workers can stand behind one."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, int(port), type=1)
    except OSError:
        return []
    return [f"[{a[4][0]}]:{port}" if ":" in str(a[4][0]) else f"{a[4][0]}:{port}" for a in found]
