"""The worker's pages for the counter: the stream's own judgement, and nothing remembered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import WSCloseCode, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from sluicegate.domain.transaction import Channel, Kind
from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.row import DIRECTIVE, FLAG_INVOLVED, FOR_EVER, INVOLVED
from sluicegate.memory.words import texts_words
from sluicegate.settings import Settings, load_settings
from sluicegate.streaming.judge_contract import (
    IntendedLeg,
    JudgedLeg,
    Judgements,
    NotJudged,
    Question,
    Standings,
)
from sluicegate.streaming.judge_web import JudgeWeb, records_of, token_guard
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.scoring import Scoring, scoring_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NOON_MS = 1_772_942_400_000
PARTITIONS = 3
MULE, VICTIM, STRANGER = "6217000000000000011", "6222020000000000022", "6217000000000000033"


@pytest.fixture(scope="module")
def scoring() -> Scoring:
    root = Path(__file__).parents[2]
    return scoring_of(Settings().changed(patterns={"file": root / "config" / "patterns.toml"}))


@dataclass
class Held:
    """A worker as its pages see it."""

    partitions: dict[int, Partition]
    lags: dict[int, int | None] = field(default_factory=dict)

    def lag_ms(self, number: int) -> int | None:
        return self.lags.get(number, 0)


def leg(
    account: str, other: str | None, yuan: int, *, minutes: int = 0, **more: Any
) -> IntendedLeg:
    return IntendedLeg(
        account=account,
        counterparty=other,
        side=more.pop("side", "outflow"),
        amount_minor=yuan * 100,
        occurred_at_ms=NOON_MS + minutes * 60_000,
        transaction="T1",
        channel=Channel.COUNTER,
        kind=Kind.TRANSFER,
        **more,
    )


@pytest.fixture
def held(scoring: Scoring) -> Held:
    """All partitions; the mule has just been paid, in four parts."""
    partitions = {number: Partition(number, AccountMemory(100)) for number in range(PARTITIONS)}
    paid = [leg(MULE, VICTIM, 15_000, minutes=n, side="inflow") for n in range(4)]
    number = partition_of(MULE, PARTITIONS)
    partitions[number].memory.step(records_of(paid), scoring.scorer, partition=number, log_offset=0)
    partitions[number].place.applied = 0
    return Held(partitions)


def asked(held: Held, scoring: Scoring, *legs: IntendedLeg) -> Judgements:
    pages = JudgeWeb(held, scoring, slot="w7", partition_count=PARTITIONS)
    return asyncio.run(pages.answer(legs))


def test_a_departure_is_judged_as_the_stream_would_and_nothing_is_remembered(
    held: Held, scoring: Scoring
) -> None:
    out = leg(MULE, STRANGER, 59_500, minutes=10)
    number = partition_of(MULE, PARTITIONS)
    memory = held.partitions[number].memory
    before = memory.digest()
    (judged,) = asked(held, scoring, out).judged
    assert isinstance(judged, JudgedLeg)
    assert memory.digest() == before
    assert len(memory) == 1

    stepped = memory.step(records_of([out]), scoring.scorer, partition=number, log_offset=1)
    assert judged.score == stepped.scores[0] > 0.5
    carried = np.array([np.nan if each is None else each for each in judged.provenance], "f4")
    np.testing.assert_array_equal(carried, stepped.arrivals["provenance"][0])
    assert judged.flags == stepped.arrivals["flags"][0] == 0


def test_what_directives_say_of_the_payer_goes_along(held: Held, scoring: Scoring) -> None:
    directive = np.zeros(1, DIRECTIVE)
    directive["id"] = texts_words(["D1"], 8)
    directive["account"] = texts_words([MULE], 5)
    directive["kind"], directive["until_s"] = INVOLVED, FOR_EVER
    number = _partition(MULE)
    memory = held.partitions[number].memory
    memory.direct(directive)
    out = leg(MULE, STRANGER, 100, minutes=10)
    (judged,) = asked(held, scoring, out).judged
    assert isinstance(judged, JudgedLeg)
    assert judged.reasons[0].pattern == "involved-account-moves"
    stepped = memory.step(records_of([out]), scoring.scorer, partition=number, log_offset=1)
    assert judged.flags == stepped.arrivals["flags"][0] == FLAG_INVOLVED
    assert judged.arrival is not None
    assert "paid-by-involved-account" in {each.pattern for each in judged.arrival.reasons}


def test_a_judgement_says_why_what_to_ask_and_how_fresh_it_is(held: Held, scoring: Scoring) -> None:
    answer = asked(held, scoring, leg(MULE, STRANGER, 59_500, minutes=10))
    (judged,) = answer.judged
    assert isinstance(judged, JudgedLeg)
    assert {reason.pattern for reason in judged.reasons} >= {"fast-in-fast-out"}
    assert judged.questions[0].zh
    assert judged.questions[0].en
    assert judged.pair_new == 1.0
    assert judged.facts["amount"] == 59_500
    assert (answer.slot, answer.pattern_set_version) == ("w7", scoring.pattern_set.version)
    assert answer.partitions[judged.partition].applied == 0


def test_an_arrival_carries_what_its_departure_gave(held: Held, scoring: Scoring) -> None:
    (out,) = asked(held, scoring, leg(MULE, STRANGER, 59_500, minutes=10)).judged
    assert isinstance(out, JudgedLeg)
    arrival = leg(STRANGER, MULE, 59_500, minutes=10, side="inflow")
    told = arrival.model_copy(update={"provenance": out.provenance})
    records = records_of([arrival, told])
    assert np.isnan(records["provenance"][0]).all()
    assert records["provenance"][1][0] == np.float32(out.score)


def test_the_arrival_is_judged_along_where_its_account_is_held_too(
    held: Held, scoring: Scoring
) -> None:
    names = (f"621700{n:013}" for n in range(100))
    there = next(each for each in names if _partition(each) != _partition(MULE))
    out = leg(MULE, there, 59_500, minutes=10)
    (judged,) = asked(held, scoring, out).judged
    assert isinstance(judged, JudgedLeg)
    arrival = leg(there, MULE, 59_500, minutes=10, side="inflow", provenance=judged.provenance)
    (alone,) = asked(held, scoring, arrival).judged
    assert judged.arrival == alone
    del held.partitions[_partition(there)]
    (apart,) = asked(held, scoring, out).judged
    assert apart == judged.model_copy(update={"arrival": None})


def test_accounts_of_any_partition_are_answered_in_order(held: Held, scoring: Scoring) -> None:
    accounts = [f"62220200000000{n:05}" for n in range(60)]
    answer = asked(held, scoring, *(leg(each, STRANGER, 100) for each in accounts))
    told = [each.partition for each in answer.judged]
    assert told == [partition_of(each, PARTITIONS) for each in accounts]
    assert set(answer.partitions) == set(range(PARTITIONS))


def test_a_partition_that_is_elsewhere_or_not_yet_read_is_not_judged(
    held: Held, scoring: Scoring
) -> None:
    number = partition_of(MULE, PARTITIONS)
    held.lags[number] = None
    assert asked(held, scoring, leg(MULE, None, 5)).judged == (
        NotJudged(partition=number, why="restoring"),
    )
    del held.partitions[number]
    answer = asked(held, scoring, leg(MULE, None, 5))
    assert answer.judged == (NotJudged(partition=number, why="not_owner"),)
    assert answer.partitions == {}


def test_cash_paid_out_ends_with_its_departure() -> None:
    records = records_of([leg(MULE, None, 5), leg(MULE, STRANGER, 5)])
    assert records["flags"].tolist() == [1, 0]


def _partition(account: str) -> int:
    return partition_of(account, PARTITIONS)


# Over HTTP.


def served(
    held: Held,
    scoring: Scoring,
    talk: Callable[[TestClient[Any, Any]], Awaitable[None]],
    token: str | None = None,
) -> None:
    async def main() -> None:
        app = web.Application(middlewares=[] if token is None else [token_guard(token)])
        JudgeWeb(held, scoring, slot="w7", partition_count=PARTITIONS).add_to(app)
        async with TestClient(TestServer(app)) as client:
            await talk(client)

    asyncio.run(main())


def test_the_pages_speak_the_contract(held: Held, scoring: Scoring) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        question = Question(legs=(leg(MULE, STRANGER, 59_500),))
        async with client.ws_connect("/v1/judge") as line:
            for _ in range(2):
                await line.send_str(question.model_dump_json())
            for _ in range(2):
                told = Judgements.model_validate_json(await line.receive_str())
                assert isinstance(told.judged[0], JudgedLeg)
        standing = await client.get("/v1/standing")
        assert set(Standings.model_validate_json(await standing.read()).partitions) == {0, 1, 2}
        known = await client.post("/v1/account", json={"account": MULE})
        assert (await known.json())["inflow_count"] == 4
        assert (await client.post("/v1/account", json={"account": STRANGER})).status == 404
        held.lags[partition_of(MULE, PARTITIONS)] = None
        assert (await client.post("/v1/account", json={"account": MULE})).status == 409

    served(held, scoring, talk)


@pytest.mark.parametrize("body", ["", "[]", '{"legs": []}', '{"legs": [{"account": "x"}]}'])
def test_what_is_not_a_question_is_refused_by_its_place(
    held: Held, scoring: Scoring, body: str
) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        answer = await client.post("/v1/account", data=body)
        assert answer.status == 400
        assert await answer.text()
        async with client.ws_connect("/v1/judge") as line:
            await line.send_str(body)
            told = await line.receive()
            assert (told.type, told.data) == (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
            assert told.extra

    served(held, scoring, talk)


def test_with_a_token_nobody_else_is_let_in(held: Held, scoring: Scoring) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        assert (await client.get("/v1/standing")).status == 401
        for shown, status in (("Bearer wrong", 401), ("Bearer s3cret", 200)):
            answer = await client.get("/v1/standing", headers={"Authorization": shown})
            assert answer.status == status
        with pytest.raises(WSServerHandshakeError, match="401"):
            await client.ws_connect("/v1/judge")

    served(held, scoring, talk, "s3cret")


def test_an_open_address_without_a_token_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[worker]\nweb_bind = "0.0.0.0"\n')
    with pytest.raises(Problem, match="needs a web_token"):
        load_settings(file)
    file.write_text('[worker]\nweb_bind = "0.0.0.0"\nweb_token = "s3cret"\n')
    assert load_settings(file).worker.web_bind == "0.0.0.0"  # noqa: S104 - it is what is tested
