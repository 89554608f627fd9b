"""The worker's answer to the counter: judges legs that have not happened, remembers nothing.

Runs on the worker's event loop between the messages of the stream, so the account memory stands
still while it is read.
"""

import asyncio
import contextlib
import math
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

import numpy as np
from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ValidationError

from sluicegate.domain.transaction import CHANNEL_CODES, KIND_CODES
from sluicegate.judging.judgement import explain, facts, measure_for, questions_of
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.accounts import Floats, Records
from sluicegate.memory.features import FEATURE_INDEX
from sluicegate.memory.row import ARRIVAL, DEPARTURE, FLAG_OUTSIDE, LEG
from sluicegate.memory.step import flags_of, provenance_of
from sluicegate.memory.words import ACCOUNT_WORDS, TRANSACTION_WORDS, texts_words
from sluicegate.streaming.judge_contract import (
    ACCOUNT_PATH,
    JUDGE_PATH,
    MOST_LEGS,
    STANDING_PATH,
    AccountQuestion,
    IntendedLeg,
    JudgedLeg,
    Judgements,
    NotJudged,
    Question,
    Standing,
    Standings,
)
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.partitioning import partition_of, partitions_of
from sluicegate.streaming.scoring import Scoring
from sluicegate.streaming.state import row_of
from sluicegate.streaming.state_view import view_of

WORDED_A_BREATH: Final = 16
"""Judgements put into words (0.1 ms each) before the stream has its turn again."""
HEARTBEAT_SECONDS: Final = 30.0
"""A counter that is silent for so long is gone."""
MOST_REASON_BYTES: Final = 120
"""Of the frame that closes a WebSocket, by its standard."""
Waiting = asyncio.Queue[Question]
_SIDES: Final = {"outflow": DEPARTURE, "inflow": ARRIVAL}


class Holder(Protocol):
    """What is asked of a worker."""

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """The partitions held now, by number."""

    def lag_ms(self, number: int) -> int | None:
        """How far a held partition is behind its log; None while it is not yet being read."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A judgement before it is put into words."""

    partition: int
    is_outflow: bool
    score: float
    features: Floats
    strengths: Floats

    @property
    def provenance(self) -> list[float]:
        return [float(each) for each in provenance_of(self.score, self.features)]

    @property
    def flags(self) -> int:
        return int(flags_of(self.features))


class JudgeWeb:
    """The pages for the counter; `partition_count` is that of the topics.

    `active` tells which set judges in a held partition; without it the given one does everywhere.
    """

    def __init__(
        self,
        holder: Holder,
        scoring: Scoring,
        *,
        slot: str,
        partition_count: int,
        active: Callable[[int], Scoring] | None = None,
    ) -> None:
        self._holder = holder
        self._configured = scoring
        self._active = active or (lambda _number: scoring)
        self._slot = slot
        self._partition_count = partition_count
        self._lines: set[web.WebSocketResponse] = set()

    def add_to(self, app: web.Application) -> None:
        """Adds the pages to the worker's web server, before it starts."""
        app.router.add_get(JUDGE_PATH, self._judge)
        app.router.add_post(ACCOUNT_PATH, self._account)
        app.router.add_get(STANDING_PATH, self._standing)
        app.on_shutdown.append(self._hang_up)

    async def _standing(self, _: web.Request) -> web.Response:
        return _json(self._standings())

    async def _judge(self, request: web.Request) -> web.WebSocketResponse:
        """Answers the questions of one counter, in order."""
        line = web.WebSocketResponse(compress=False, heartbeat=HEARTBEAT_SECONDS)
        await line.prepare(request)
        self._lines.add(line)
        waiting: Waiting = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as both:
                answering = both.create_task(self._answer_all(line, waiting))
                await _read_all(line, waiting)
                answering.cancel()
        finally:
            self._lines.discard(line)
        return line

    async def _answer_all(self, line: web.WebSocketResponse, waiting: Waiting) -> None:
        """Judges together what has come while the stream had its turn: that halves its cost."""
        with contextlib.suppress(ConnectionError):  # who asked has gone
            while True:
                questions = [await waiting.get()]
                legs = list(questions[0].legs)
                while len(legs) < MOST_LEGS and not waiting.empty():
                    questions.append(waiting.get_nowait())
                    legs += questions[-1].legs
                told, begin = await self.answer(legs), 0
                for question in questions:
                    own = told.judged[begin : begin + len(question.legs)]
                    begin += len(question.legs)
                    await line.send_str(told.model_copy(update={"judged": own}).model_dump_json())

    async def _hang_up(self, _: web.Application) -> None:
        for line in list(self._lines):
            await line.close(code=WSCloseCode.GOING_AWAY)

    async def _account(self, request: web.Request) -> web.Response:
        """The view of one account; its number comes in the body, out of paths and logs."""
        try:
            account = AccountQuestion.model_validate_json(await request.read()).account
        except ValidationError as error:
            return web.Response(status=400, text=_first_complaint(error))
        number = partition_of(account, self._partition_count)
        standing = self._standing_of(number)
        if isinstance(standing, NotJudged):
            return web.Response(status=409, text=standing.why)
        memory = self._holder.partitions[number].memory
        row = row_of(memory, account)
        if row is None:
            return web.Response(status=404)
        return web.json_response(asdict(view_of(account, row, memory)) | standing.model_dump())

    async def answer(self, legs: Sequence[IntendedLeg]) -> Judgements:
        """Judges all legs, and the arrivals that would follow, at one moment; then words them."""
        records = records_of(legs)
        standings: dict[int, Standing] = {}
        judged = self._judged(records, standings)
        payers = [
            index
            for index, each in enumerate(judged)
            if isinstance(each, _Judged) and legs[index].counterparty and each.is_outflow
        ]
        followed = self._judged(_arrivals_of(records, judged, payers), standings)
        arrivals = dict(zip(payers, followed, strict=True))
        worded = []
        for index, each in enumerate(judged):
            told = self._worded(each)
            arrival = self._worded(arrivals[index]) if index in arrivals else None
            if isinstance(told, JudgedLeg) and isinstance(arrival, JudgedLeg):
                told = told.model_copy(update={"arrival": arrival})
            worded.append(told)
            if index % WORDED_A_BREATH == WORDED_A_BREATH - 1:
                await asyncio.sleep(0)
        return Judgements(
            slot=self._slot,
            pattern_set_version=self._shown.version,
            thresholds=self._shown.thresholds,
            partitions=standings,
            judged=tuple(worded),
        )

    def _judged(
        self, records: Records, standings: dict[int, Standing]
    ) -> "list[_Judged | NotJudged]":
        """The bare judgement of each leg whose partition is held; notes how far those are."""
        targets = partitions_of(records["account"], self._partition_count).tolist()
        judged: dict[int, _Judged | NotJudged] = {}
        for number, indexes in _grouped(targets).items():
            standing = self._standing_of(number)
            if isinstance(standing, NotJudged):
                judged |= dict.fromkeys(indexes, standing)
                continue
            standings[number] = standing
            memory = self._holder.partitions[number].memory
            own = records[indexes]
            scores, features, strengths = memory.judge(own, self._active(number).scorer)
            for place, index in enumerate(indexes):
                outflow = bool(own["side"][place] == DEPARTURE)
                judged[index] = _Judged(
                    number, outflow, float(scores[place]), features[place], strengths[place]
                )
        return [judged[index] for index in range(len(records))]

    def _worded(self, judged: "_Judged | NotJudged") -> JudgedLeg | NotJudged:
        if isinstance(judged, NotJudged):
            return judged
        if not math.isfinite(judged.score):
            return NotJudged(partition=judged.partition, why="failed")
        patterns = self._active(judged.partition).pattern_set
        reasons = explain(patterns, judged.features, judged.strengths)
        return JudgedLeg(
            partition=judged.partition,
            score=judged.score,
            measure=measure_for(judged.score, patterns.thresholds),
            reasons=reasons,
            questions=questions_of(patterns, reasons),
            facts=facts(patterns, judged.features, judged.strengths),
            pair_new=_or_null(judged.features[FEATURE_INDEX["pair_new"]]),
            provenance=tuple(map(_or_null, judged.provenance)),
            flags=judged.flags,
        )

    @property
    def _shown(self) -> PatternSet:
        """The set that judges here; the first partition's while one is being activated."""
        held = min(self._holder.partitions, default=None)
        scoring = self._configured if held is None else self._active(held)
        return scoring.pattern_set

    def _standings(self) -> Standings:
        held = {number: self._standing_of(number) for number in self._holder.partitions}
        return Standings(
            slot=self._slot,
            pattern_set_version=self._shown.version,
            thresholds=self._shown.thresholds,
            partitions={n: each for n, each in held.items() if isinstance(each, Standing)},
        )

    def _standing_of(self, number: int) -> Standing | NotJudged:
        partition = self._holder.partitions.get(number)
        if partition is None:
            return NotJudged(partition=number, why="not_owner")
        lag_ms = self._holder.lag_ms(number)
        if lag_ms is None:
            return NotJudged(partition=number, why="restoring")
        return Standing(
            applied=partition.place.applied, lag_ms=lag_ms, accounts=len(partition.memory)
        )


async def _read_all(line: web.WebSocketResponse, waiting: Waiting) -> None:
    try:
        async for message in line:
            waiting.put_nowait(Question.model_validate_json(message.data))
    except ValidationError as error:
        complaint = _first_complaint(error).encode()[:MOST_REASON_BYTES]
        await line.close(code=WSCloseCode.POLICY_VIOLATION, message=complaint)


def records_of(legs: Sequence[IntendedLeg]) -> Records:
    """LEG records of intended legs, as the router and the workers would write them."""
    made: Records = np.zeros(len(legs), LEG)
    made["account"] = texts_words([leg.account for leg in legs], ACCOUNT_WORDS)
    made["counterparty"] = texts_words([leg.counterparty for leg in legs], ACCOUNT_WORDS)
    made["transaction"] = texts_words([leg.transaction for leg in legs], TRANSACTION_WORDS)
    made["occurred_at_ms"] = made["recorded_at_ms"] = [leg.occurred_at_ms for leg in legs]
    made["amount_minor"] = [leg.amount_minor for leg in legs]
    made["side"] = [_SIDES[leg.side] for leg in legs]
    made["channel"] = [CHANNEL_CODES[leg.channel] for leg in legs]
    made["kind"] = [KIND_CODES[leg.kind] for leg in legs]
    for record, leg in zip(made, legs, strict=True):
        record["flags"] = leg.flags
        if leg.side == "inflow":
            record["provenance"] = (
                np.nan if leg.provenance is None else [_or_nan(each) for each in leg.provenance]
            )
        elif leg.counterparty is None:
            record["flags"] |= FLAG_OUTSIDE
    return made


def _arrivals_of(
    records: Records, judged: "Sequence[_Judged | NotJudged]", payers: Sequence[int]
) -> Records:
    """The arrivals of these departures, as the worker would send them on."""
    made: Records = records[payers]  # a copy
    departures = records[payers]
    made["account"], made["counterparty"] = departures["counterparty"], departures["account"]
    made["side"] = ARRIVAL
    for place, index in enumerate(payers):
        payer = judged[index]
        if isinstance(payer, _Judged):
            made["provenance"][place] = payer.provenance
            made["flags"][place] = payer.flags
    return made


def token_guard(token: str) -> Middleware:
    """Lets nobody in, to any page, who does not show the token."""
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not secrets.compare_digest(shown, wanted):
            return web.Response(status=401, text="the token of worker.web_token is needed")
        return await handler(request)

    return guard


def _grouped(numbers: Iterable[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        groups[number].append(index)
    return groups


def _or_null(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _json(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")


def _first_complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
