from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from sluicegate.domain.transaction import Transaction
from sluicegate.errors import Problem
from sluicegate.simulation.city import City, bench_stream, write_ndjson
from sluicegate.simulation.movements import NOBODY, Manner, Planted
from sluicegate.simulation.population import Role
from sluicegate.simulation.typologies import Cast, Scenario, hastened, tell

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.simulation.movements import Chunk
    from sluicegate.simulation.population import Population
    from sluicegate.simulation.typologies import Movement

ENDS_AT_MS = 1_763_750_000_000  # Saturday 2025-11-22 02:33:20 in the city
ACCOUNTS = 4_000
TRANSACTIONS = 100_000


@pytest.fixture(scope="module")
def city() -> City:
    return City(11, ACCOUNTS)


@pytest.fixture(scope="module")
def people(city: City) -> Population:
    return city._people


@pytest.fixture(scope="module")
def chunks(city: City) -> list[Chunk]:
    return list(city.history(TRANSACTIONS, ENDS_AT_MS))


@pytest.fixture(scope="module")
def history(chunks: list[Chunk]) -> pl.DataFrame:
    """The history as a table: local time, account indices (-1 nobody), CNY, manner, story."""
    moved = [chunk.movements for chunk in chunks]
    table = pl.DataFrame(
        {
            name: np.concatenate([getattr(part, name) for part in moved])
            for name in ("occurred_at_ms", "payer", "payee", "amount_minor", "manner", "story")
        }
    )
    local = pl.from_epoch("occurred_at_ms", time_unit="ms") + pl.duration(hours=8)
    return table.with_columns(local.alias("at"), (pl.col("amount_minor") / 100).alias("cny"))


def seconds_of(city: City, seconds: int, rate: float = 2_000) -> list[Chunk]:
    return list(islice(city.live(ENDS_AT_MS, rate), seconds * 10))


@pytest.fixture(scope="module")
def live(city: City) -> list[Chunk]:
    return seconds_of(city, 30)


def digest(chunks: list[Chunk]) -> str:
    hashed = hashlib.blake2b()
    for chunk in chunks:
        for key, value in chunk.messages():
            hashed.update(key + value)
        hashed.update(chunk.truth_ndjson())
    return hashed.hexdigest()


def test_the_same_seed_gives_the_same_bytes(chunks: list[Chunk], live: list[Chunk]) -> None:
    again = City(11, ACCOUNTS)
    assert digest(seconds_of(again, 5)) == digest(live[:50])
    assert digest(list(again.history(TRANSACTIONS, ENDS_AT_MS))) == digest(chunks)


def test_another_seed_gives_another_city(chunks: list[Chunk]) -> None:
    assert digest(list(City(12, ACCOUNTS).history(5_000, ENDS_AT_MS))) != digest(chunks)


def test_the_history_has_exactly_what_was_asked_for_in_order_of_time(
    history: pl.DataFrame, city: City
) -> None:
    assert history.height == TRANSACTIONS
    assert history["occurred_at_ms"].is_sorted()
    assert history["occurred_at_ms"][-1] < ENDS_AT_MS
    assert ENDS_AT_MS - history["occurred_at_ms"][-1] < 3_600_000
    for few in (1, 100, 3_000):
        assert sum(map(len, city.history(few, ENDS_AT_MS))) == few


def test_every_message_keeps_the_contract(chunks: list[Chunk], live: list[Chunk]) -> None:
    for chunk in [chunks[0], chunks[-1], *live[::40]]:
        for key, value in chunk.messages()[:2_000]:
            read = Transaction.model_validate_json(value)
            assert key.decode() == (read.payer_account or read.payee_account)
            assert json.loads(value)["occurred_at"].endswith("+08:00")
            assert 200 <= len(value) <= 330


def test_ids_are_unique_and_short(chunks: list[Chunk], live: list[Chunk]) -> None:
    values = b"".join(chunk.ndjson() for chunk in [*chunks, *live])
    ids = pl.read_ndjson(values, schema={"id": pl.String})["id"]
    assert ids.is_unique().all()
    assert ids.str.len_chars().max() <= 32  # type: ignore[operator] # there are some


def test_account_numbers_are_unique_digits_with_a_luhn_check(city: City) -> None:
    numbers = city._directory.numbers
    assert len(set(numbers)) == ACCOUNTS
    for number in numbers[::97]:
        assert number.isdigit()
        assert 16 <= len(number) <= 19
        doubled = [int(digit) * 2 for digit in number[-2::-2]]
        total = sum(map(int, number[::-2])) + sum(each - 9 * (each > 9) for each in doubled)
        assert total % 10 == 0


def test_salaries_come_monthly_on_a_working_day_in_the_morning(history: pl.DataFrame) -> None:
    salaries = history.filter(pl.col("manner") == Manner.SALARY)
    assert salaries.height > 5_000
    assert salaries["at"].dt.weekday().max() <= 5  # type: ignore[operator] # there are some
    assert salaries["at"].dt.hour().is_between(9, 12).all()
    runs = salaries.group_by("payer", pl.col("at").dt.truncate("1mo")).agg(
        (pl.col("at").max() - pl.col("at").min()).alias("took"), pl.col("payee").is_unique().all()
    )
    assert runs["took"].max() < timedelta(minutes=5)  # type: ignore[operator]
    assert runs["payee"].all()


def test_rent_is_the_same_sum_to_the_same_landlord_early_in_the_month(
    history: pl.DataFrame,
) -> None:
    rents = history.filter(pl.col("manner") == Manner.RENT)
    assert rents["at"].dt.day().is_between(1, 5).all()
    habits = rents.group_by("payer").agg(pl.col("payee").n_unique(), pl.col("cny").n_unique())
    assert (habits["payee"] == 1).all()
    assert (habits["cny"] == 1).all()


def test_pensions_come_in_the_middle_of_the_month(
    history: pl.DataFrame, people: Population
) -> None:
    pensions = history.filter(pl.col("manner") == Manner.PENSION)
    assert pensions["at"].dt.day().is_between(13, 15).all()
    assert set(pensions["payee"].to_list()) == set(people.block(Role.ELDERLY).tolist())


def test_people_shop_by_day_and_more_at_weekends(history: pl.DataFrame) -> None:
    bought = history.filter(pl.col("manner").is_in([Manner.QUICK_PURCHASE, Manner.POS_PURCHASE]))
    night = bought["at"].dt.hour().is_between(1, 5).mean()
    assert night < 0.05  # type: ignore[operator]
    days = bought.group_by(pl.col("at").dt.date()).len().sort("at")[1:-1]
    weekend = days.filter(pl.col("at").dt.weekday() >= 6)["len"].mean()
    weekdays = days.filter(pl.col("at").dt.weekday() < 5)["len"].mean()
    assert weekend > 1.15 * weekdays  # type: ignore[operator]


def test_persons_have_few_habitual_counterparties(
    history: pl.DataFrame, people: Population
) -> None:
    paid = history.filter((pl.col("payer") < people.persons) & (pl.col("payee") != NOBODY))
    habits = paid.group_by("payer").agg(pl.len(), pl.col("payee").n_unique())
    busy = habits.filter(pl.col("len") >= 20)
    assert busy.height > 300
    assert (busy["payee"] / busy["len"]).median() < 0.62  # type: ignore[operator]


def test_dormant_accounts_have_one_or_two_movements_half_a_year_ago(
    history: pl.DataFrame, people: Population
) -> None:
    woken = history.filter(pl.col("story") >= 0)
    touched = {*woken["payer"].to_list(), *woken["payee"].to_list()}
    honest = history.filter(pl.col("story") < 0)
    half_a_year_ago = ENDS_AT_MS - 180 * 86_400_000
    for account in set(people.block(Role.DORMANT).tolist()) - touched:
        mine = honest.filter((pl.col("payer") == account) | (pl.col("payee") == account))
        assert 1 <= mine.height <= 2
        assert mine["occurred_at_ms"][-1] < half_a_year_ago


def test_a_person_seldom_empties_the_account_within_the_hour(
    history: pl.DataFrame, people: Population
) -> None:
    honest = history.filter((pl.col("story") < 0) & (pl.col("cny") >= 5_000))
    persons = set(range(people.persons))
    received = honest.filter(pl.col("payee").is_in(persons)).select(
        pl.col("payee").alias("who"), "at", pl.col("cny").alias("got")
    )
    paid = honest.filter(pl.col("payer").is_in(persons)).select(
        pl.col("payer").alias("who"), pl.col("at").alias("paid_at"), pl.col("cny").alias("gave")
    )
    hour = pl.col("paid_at").is_between(pl.col("at"), pl.col("at") + pl.duration(hours=1))
    emptied = received.join(paid, on="who").filter(hour & (pl.col("gave") > 0.8 * pl.col("got")))
    assert emptied.height < 0.002 * received.height


def test_live_meets_the_rate_evenly_and_in_order(live: list[Chunk]) -> None:
    assert sum(map(len, live)) == pytest.approx(60_000, abs=100)
    for second, chunk in enumerate(live):
        times = chunk.movements.occurred_at_ms
        begins = ENDS_AT_MS + 100 * second
        assert chunk.until_ms == begins + 100
        assert times.min() >= begins
        assert times.max() < chunk.until_ms
        assert (np.diff(times) >= 0).all()
        assert len(chunk) == pytest.approx(200, abs=25)


def test_live_does_not_depend_on_the_history() -> None:
    one, other = City(3, ACCOUNTS), City(3, ACCOUNTS)
    list(one.history(2_000, ENDS_AT_MS))
    assert digest(seconds_of(one, 1)) == digest(seconds_of(other, 1))


def planted_of(chunks: list[Chunk]) -> list[dict[str, Any]]:
    lines = b"".join(chunk.truth_ndjson() for chunk in chunks).splitlines()
    return [json.loads(line) for line in lines]


def test_frauds_are_a_few_in_a_thousand_and_several_of_each_kind_end_in_30_s(
    live: list[Chunk],
) -> None:
    truth = planted_of(live)
    assert 0.002 < len(truth) / 60_000 < 0.006
    told: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in truth:
        told[entry["story"]].append(entry)
    ended = Counter(
        entries[0]["scenario"]
        for entries in told.values()
        if len(entries) == entries[0]["movements"]
    )
    assert set(ended) == set(Scenario)
    assert min(ended.values()) >= 2
    first = {entry["scenario"]: entry["occurred_at_ms"] for entry in reversed(truth)}
    assert max(first.values()) < ENDS_AT_MS + 3_000
    for entries in told.values():
        begins, ends = entries[0]["occurred_at_ms"], entries[-1]["occurred_at_ms"]
        assert ends - begins <= 18_000


def test_the_history_holds_every_kind_of_fraud(chunks: list[Chunk]) -> None:
    truth = planted_of(chunks)
    assert {entry["scenario"] for entry in truth} == set(Scenario)
    sizes = Counter(entry["story"] for entry in truth)
    assert all(sizes[entry["story"]] == entry["movements"] for entry in truth)


def test_the_truth_names_transactions_that_were_sent(live: list[Chunk]) -> None:
    sent = {json.loads(value)["id"] for chunk in live for _, value in chunk.messages()}
    truth = [planted for chunk in live for planted in chunk.truth]
    assert truth
    assert isinstance(truth[0], Planted)
    assert {planted.transaction for planted in truth} <= sent
    assert [planted[0] for planted in truth] == [entry["id"] for entry in planted_of(live)]


@pytest.fixture(scope="module")
def cast(people: Population) -> Cast:
    return Cast(np.random.default_rng(5), people, past=False)


def told(cast: Cast, scenario: Scenario, times: int = 40) -> list[list[Movement]]:
    return [tell(scenario, cast) for _ in range(times)]


def test_stories_move_plausible_sums_in_order(cast: Cast) -> None:
    for scenario in Scenario:
        for story in told(cast, scenario, 20):
            assert all(one.minute <= two.minute for one, two in pairwise(story))
            assert all(movement.payer != movement.payee for movement in story)
            assert 3_000_00 <= max(movement.amount_minor for movement in story) <= 300_000_00
            assert min(movement.amount_minor for movement in story) > 0


def test_nobody_in_a_story_pays_out_more_than_came_in(cast: Cast, people: Population) -> None:
    for scenario in set(Scenario) - {Scenario.STRUCTURING}:
        for story in told(cast, scenario, 20):
            held: Counter[int] = Counter()
            payees = {movement.payee for movement in story}
            for movement in story:
                held[movement.payee] += movement.amount_minor
                held[movement.payer] -= movement.amount_minor
                if movement.payer in payees and movement.payer >= people.persons:
                    assert held[movement.payer] >= 0


def test_a_mule_chain_splits_the_money_and_fetches_it_in_cash(cast: Cast) -> None:
    for story in told(cast, Scenario.MULE_CHAIN):
        first = story[0].payee
        split = [movement for movement in story if movement.payer == first]
        cash = [movement for movement in story if movement.payee == NOBODY]
        assert 2 <= len({movement.payee for movement in split}) <= 3
        assert cash
        assert all(movement.amount_minor <= 49_900_00 for movement in cash)
        assert story[-1].minute <= 120


def test_scatter_gather_goes_by_many_hands_to_one(cast: Cast) -> None:
    for story in told(cast, Scenario.SCATTER_GATHER):
        source = story[0].payee
        hands = {movement.payee for movement in story if movement.payer == source}
        collectors = {movement.payee for movement in story if movement.payer in hands}
        assert 5 <= len(hands) <= 9
        assert len(collectors) == 1


def test_a_dormant_account_is_woken_only_once(people: Population) -> None:
    cast = Cast(np.random.default_rng(5), people, past=False)
    dormant = set(people.block(Role.DORMANT).tolist())
    woken = []
    for story in told(cast, Scenario.DORMANT_WOKEN, 30):
        sleeper = story[-1].payer
        assert sleeper in dormant
        assert max(movement.amount_minor for movement in story) >= 9_000_00
        woken.append(sleeper)
    assert len(set(woken)) == 30


def test_a_test_payment_is_followed_by_a_large_one_to_the_same_payee(cast: Cast) -> None:
    for story in told(cast, Scenario.TEST_THEN_LARGE):
        pair = [movement for movement in story if movement.payer == story[0].payer]
        assert len({movement.payee for movement in pair}) == 1
        assert pair[0].amount_minor <= 20_00
        assert pair[-1].amount_minor >= 4_000_00


def test_structuring_stays_below_the_lines(cast: Cast) -> None:
    for story in told(cast, Scenario.STRUCTURING):
        below = [
            movement
            for movement in story
            if 9_000_00 <= movement.amount_minor < 10_000_00
            or 49_000_00 <= movement.amount_minor < 50_000_00
        ]
        assert len(below) >= 6


def test_pass_through_keeps_a_commission_of_a_few_percent(cast: Cast) -> None:
    for story in told(cast, Scenario.PASS_THROUGH_COMMISSION):
        for paid_in, paid_out in zip(story[::2], story[1::2], strict=True):
            assert paid_in.payee == paid_out.payer
            assert 0.93 < paid_out.amount_minor / paid_in.amount_minor < 0.995


def test_a_hastened_story_is_the_same_story(cast: Cast) -> None:
    story = tell(Scenario.MULE_CHAIN, cast)
    quick = hastened(story, 0.25)
    assert quick[0].minute == 0
    assert quick[-1].minute == pytest.approx(0.25)
    assert [one.amount_minor for one in quick] == [one.amount_minor for one in story]


def test_history_and_live_cast_different_accounts(people: Population) -> None:
    rng = np.random.default_rng(5)
    past, now = Cast(rng, people, past=True), Cast(rng, people, past=False)
    assert set(past.mules(20)).isdisjoint(now.mules(150))


def test_the_honest_look_alikes_are_there(live: list[Chunk], people: Population) -> None:
    manner = np.concatenate([chunk.movements.manner for chunk in live])
    payer = np.concatenate([chunk.movements.payer for chunk in live])
    for like in (Manner.SALARY, Manner.RENT, Manner.HOUSE, Manner.SAVE):
        assert (manner == like).any()
    assert np.isin(payer[manner == Manner.SALARY], people.block(Role.COMPANY)).all()


def test_a_file_holds_the_stream_and_its_truth(tmp_path: Path, city: City) -> None:
    out, truth = tmp_path / "stream.ndjson", tmp_path / "truth.ndjson"
    written = write_ndjson(out, city.history(5_000, ENDS_AT_MS), truth)
    lines = out.read_bytes().splitlines()
    assert written == len(lines) == 5_000
    ids = {json.loads(line)["id"] for line in lines}
    assert {json.loads(line)["id"] for line in truth.read_bytes().splitlines()} <= ids
    assert write_ndjson(out, city.history(10, ENDS_AT_MS)) == 10


def test_the_benchmark_is_always_the_same() -> None:
    batches = list(bench_stream(1, 3_000, ACCOUNTS))
    assert sum(map(len, batches)) == 3_000
    assert batches == list(bench_stream(1, 3_000, ACCOUNTS))
    last = json.loads(batches[-1][-1][1])["occurred_at"]
    begin = datetime.fromisoformat("2025-07-01T00:00+08:00")
    assert 1.4 < (datetime.fromisoformat(last) - begin).total_seconds() <= 1.5  # 2,000 a second


def test_a_city_too_small_for_its_stories_is_refused() -> None:
    with pytest.raises(Problem, match="too small"):
        City(1, 100)
