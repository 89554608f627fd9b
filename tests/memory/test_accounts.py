"""Laws of the account memory: what must be the same, what must not change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import NOON_MS, records, scorer, step_all
from tests.memory.oracle import DAY, Leg

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.features import FEATURE_INDEX
from sluicegate.memory.kernel import hash_words
from sluicegate.memory.row import FLAG_OUTSIDE, LEG
from sluicegate.memory.step import FOUND_TOGETHER
from sluicegate.memory.words import ACCOUNT_WORDS, words_text

ACCOUNTS = ["A", "B", "C", "D"]
STEPS = st.tuples(
    st.sampled_from(ACCOUNTS),
    st.sampled_from([None, *ACCOUNTS, "X", "Y"]),
    st.booleans(),
    st.integers(-2 * DAY, 40 * DAY),
    st.integers(1, 50_000_00),
)


def stream(steps: Sequence[tuple[str, str | None, bool, int, int]]) -> list[Leg]:
    clock, legs = NOON_MS, []
    for account, other, inflow, gap, minor in steps:
        legs.append(Leg(account, other, inflow, clock + gap * 1000, minor))
        clock += max(gap, 0) * 1000
    return legs


STREAMS = st.lists(STEPS, min_size=1, max_size=40).map(stream)
RECORDS = STREAMS.map(records)
TRANSACTIONS = STREAMS.map(
    lambda legs: records([replace(leg, inflow=leg.inflow and leg.other is None) for leg in legs])
)

law = settings(derandomize=True, deadline=None, max_examples=50)


def remembering(legs: Records) -> AccountMemory:
    memory = AccountMemory(2 * len(legs) + 10)
    step_all(memory, legs)
    return memory


def changed_rows(memory: AccountMemory) -> list[Records]:
    return list(memory.take_dirty(3))


@given(RECORDS, st.data())
@law
def test_splitting_a_stream_into_batches_changes_nothing(
    legs: Records, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(legs)), max_size=6).map(sorted))
    whole, split = AccountMemory(50), AccountMemory(50)
    at_once = whole.step(legs, scorer(), partition=3, log_offset=7)
    parts = [
        split.step(legs[start:end], scorer(), partition=3, log_offset=7)
        for start, end in zip([0, *cuts], [*cuts, len(legs)], strict=True)
    ]
    assert split.digest() == whole.digest()
    assert (split.late_legs, split.too_late_legs) == (whole.late_legs, whole.too_late_legs)
    for name in ("scores", "hit_features", "hit_strengths"):
        pieces = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(pieces, getattr(at_once, name))
    sent = np.concatenate([part.arrivals for part in parts])
    for name in set(LEG.names or ()) - {"position"}:  # a position counts from its batch
        np.testing.assert_array_equal(sent[name], at_once.arrivals[name])


@given(TRANSACTIONS)
@law
def test_whole_transactions_do_what_departures_and_their_arrivals_do(legs: Records) -> None:
    followed, stepped = AccountMemory(50), AccountMemory(50)
    result = followed.follow(legs, scorer())
    payers, payees, features, sides = [], [], [], []
    for number in range(len(legs)):
        first = stepped.step(legs[number : number + 1], scorer(), partition=0, log_offset=0)
        then = stepped.step(first.arrivals, scorer(), partition=0, log_offset=0)
        outgoing = legs[number]["side"] < 0
        payers.append(first.scores[0] if outgoing else np.nan)
        arrived = then.scores if outgoing else first.scores
        payees.append(arrived[0] if len(arrived) else np.nan)
        features += [*first.hit_features, *then.hit_features]
        sides += [legs[number]["side"], *then.scores.size * [1]]
    assert followed.digest() == stepped.digest()
    np.testing.assert_array_equal(result.payer_scores, payers)
    np.testing.assert_array_equal(result.payee_scores, payees)
    np.testing.assert_array_equal(result.hit_features, features)
    assert result.hit_sides.tolist() == sides


def long_stream(count: int) -> Records:
    """Departures and cash paid in, among accounts that come again soon, late, or never."""
    rng = np.random.default_rng(7)
    accounts = rng.integers(count // 3, size=(count, 2))
    cash, paid_in = rng.random((2, count)) < 0.4
    amounts = rng.integers(1, 50_000_00, count).tolist()
    return records(
        stream(
            [
                (f"P{payer}", None if no_payee else f"P{payee}", bool(no_payee and is_in), 7, minor)
                for (payer, payee), no_payee, is_in, minor in zip(
                    accounts, cash, paid_in, amounts, strict=True
                )
            ]
        )
    )


def test_one_large_batch_does_what_many_small_ones_do() -> None:
    legs = long_stream(5 * FOUND_TOGETHER + 3)
    parts = [legs[start : start + 5] for start in range(0, len(legs), 5)]
    for move in (AccountMemory.follow, partial(AccountMemory.step, partition=0, log_offset=0)):
        whole, split = AccountMemory(2 * len(legs)), AccountMemory(2 * len(legs))
        at_once = move(whole, legs, scorer())
        pieces = [move(split, part, scorer()).hit_features for part in parts]
        np.testing.assert_array_equal(at_once.hit_features, np.concatenate(pieces))
        assert whole.digest() == split.digest()


@given(RECORDS, RECORDS)
@law
def test_judging_changes_nothing(before: Records, legs: Records) -> None:
    memory = remembering(before)
    changed_rows(memory)
    digest, held = memory.digest(), len(memory)
    memory.judge(legs, scorer())
    assert (memory.digest(), len(memory), changed_rows(memory)) == (digest, held, [])


@given(RECORDS, RECORDS)
@law
def test_restored_rows_are_the_rows_and_go_on_as_they_would(first: Records, later: Records) -> None:
    live, restored = remembering(first), AccountMemory(100)
    for rows in changed_rows(live):
        restored.put(rows)
    restored.put_population(live.population_bytes)
    assert restored.digest() == live.digest()
    assert changed_rows(restored) == []
    np.testing.assert_array_equal(step_all(restored, later), step_all(live, later))
    assert restored.digest() == live.digest()


@given(RECORDS, RECORDS)
@law
def test_only_changed_rows_are_taken_and_newer_rows_win(first: Records, later: Records) -> None:
    live, restored = remembering(first), AccountMemory(100)
    older = changed_rows(live)
    step_all(live, later)
    newer = changed_rows(live)
    touched = {row.tobytes() for rows in newer for row in rows["account"]}
    assert touched == {name.tobytes() for name in later["account"]}
    for rows in [*older, *newer]:
        restored.put(rows)
    restored.put_population(live.population_bytes)
    assert restored.digest() == live.digest()
    assert len(restored) == len(live)


def test_a_restored_row_is_not_a_change() -> None:
    legs = transfers(("A", "X"), ("B", "X"))
    memory = remembering(legs)
    memory.put(remembering(legs[:1]).rows)
    (rows,) = changed_rows(memory)
    assert words_text(rows["account"]) == ["B"]


@given(RECORDS, st.permutations(ACCOUNTS))
@law
def test_the_digest_does_not_know_in_which_order_accounts_came(
    legs: Records, order: list[str]
) -> None:
    live = remembering(legs)
    rows = live.rows
    names = words_text(rows["account"])
    again = AccountMemory(10)
    again.put_population(live.population_bytes)
    for name in order:
        again.put(rows[[held == name for held in names]])
    assert again.digest() == live.digest()


@given(RECORDS, st.data())
@law
def test_accounts_do_not_touch_each_other(legs: Records, data: st.DataObject) -> None:
    """The legs of one account alone give the row that they give among others."""
    chosen = data.draw(st.integers(0, len(legs) - 1))
    mine = (legs["account"] == legs["account"][chosen]).all(axis=1)
    among, alone = remembering(legs).rows, remembering(legs[mine]).rows
    same = (among["account"] == legs["account"][chosen]).all(axis=1)
    assert among[same].tobytes() == alone.tobytes()


def test_the_index_survives_growth_to_200000_accounts() -> None:
    count, batch = 200_000, 20_000
    memory = AccountMemory(count)
    legs: Records = np.zeros(count, LEG)
    legs["account"][:, 0] = np.arange(1, count + 1)
    legs["occurred_at_ms"], legs["amount_minor"], legs["side"] = NOON_MS, 100, 1
    quiet = scorer(threshold=2.0)
    for start in range(0, count, batch):
        memory.step(legs[start : start + batch], quiet, partition=0, log_offset=0)
    assert len(memory) == count
    np.testing.assert_array_equal(memory.rows["account"], legs["account"])
    np.testing.assert_array_equal(memory.rows["in_count"], 1)
    for start in range(0, count, batch):
        features = memory.judge(legs[start : start + batch], quiet)[1]
        np.testing.assert_array_equal(features[:, FEATURE_INDEX["inflow_count"]], 2)


def fingerprints(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Upper half of the hash of accounts of shape `[n, 5]`."""
    hashes: npt.NDArray[np.uint64] = hash_words.py_func(list(words.T))
    return hashes >> np.uint64(32)


def colliding() -> Records:
    """Legs of accounts with equal fingerprints: among 2^18 random names about 8 pairs have."""
    words = np.zeros((1 << 18, ACCOUNT_WORDS), np.uint64)
    words[:, :2] = np.random.default_rng(1).integers(1, 2**63, (len(words), 2))
    prints = fingerprints(words)
    order = np.argsort(prints)
    same = np.flatnonzero(prints[order][1:] == prints[order][:-1])
    pairs = words[order[np.stack([same, same + 1], axis=1)]]
    legs: Records = np.zeros(2 * len(same), LEG)
    legs["account"] = pairs.reshape(-1, ACCOUNT_WORDS)
    legs["occurred_at_ms"], legs["side"] = NOON_MS, 1
    legs["amount_minor"] = np.arange(1, len(legs) + 1)
    return legs


def test_accounts_with_equal_fingerprints_keep_their_own_rows() -> None:
    legs = colliding()
    assert len(legs) >= 4
    memory = AccountMemory(len(legs))
    step_all(memory, legs)
    step_all(memory, legs[::-1].copy())
    assert len(memory) == len(legs)
    np.testing.assert_array_equal(memory.rows["account"], legs["account"])
    np.testing.assert_array_equal(memory.rows["in_amount"][:, 0], legs["amount_minor"])
    np.testing.assert_array_equal(memory.rows["in_amount"][:, 1], legs["amount_minor"])
    np.testing.assert_array_equal(memory.rows["in_count"], 2)


def transfers(*pairs: tuple[str, str]) -> Records:
    return records(
        [Leg(payer, payee, inflow=False, at_ms=NOON_MS, minor=100) for payer, payee in pairs]
    )


def test_a_full_memory_refuses_a_new_account_and_changes_nothing() -> None:
    memory = AccountMemory(2)
    step_all(memory, transfers(("A", "X"), ("B", "X")))
    before = memory.digest()
    with pytest.raises(Problem, match="full\n2 accounts are held, room is for 2"):
        step_all(memory, transfers(("A", "X"), ("C", "X")))
    with pytest.raises(Problem, match="full"):
        memory.follow(transfers(("A", "B"), ("B", "C")), scorer())
    with pytest.raises(Problem, match="full"):
        memory.put(remembering(transfers(("C", "X"))).rows)
    assert memory.digest() == before
    assert len(memory) == 2
    assert memory.late_legs == 0


def test_a_full_memory_goes_on_with_the_accounts_it_has() -> None:
    memory = AccountMemory(3)
    step_all(memory, transfers(*[("A", "X"), ("B", "X")] * 20))
    memory.follow(transfers(*[("A", "C"), ("C", "B")] * 20), scorer())
    memory.put(memory.rows.copy())
    assert len(memory) == 3
    assert memory.rows["out_count"].tolist() == [40, 20, 20]
    assert memory.rows["in_count"].tolist() == [0, 20, 20]


def _no_account(leg: Records) -> None:
    leg["account"] = 0


def _no_counterparty(leg: Records) -> None:
    leg["counterparty"] = 0


def _no_amount(leg: Records) -> None:
    leg["amount_minor"] = 0


def _negative_amount(leg: Records) -> None:
    leg["amount_minor"] = -1


def _before_1970(leg: Records) -> None:
    leg["occurred_at_ms"] = -1


def _after_2106(leg: Records) -> None:
    leg["occurred_at_ms"] = 2**32 * 1000


def _no_side(leg: Records) -> None:
    leg["side"] = 0


@pytest.mark.parametrize(
    "breaks",
    [
        _no_account,
        _no_counterparty,
        _no_amount,
        _negative_amount,
        _before_1970,
        _after_2106,
        _no_side,
    ],
)
def test_a_leg_that_breaks_the_contract_is_refused_and_changes_nothing(
    breaks: Callable[[Records], None],
) -> None:
    memory = remembering(transfers(("A", "B")))
    before = memory.digest()
    legs = transfers(("A", "B"), ("C", "D"), ("A", "B"))
    breaks(legs[1:2])
    for attempt in (
        lambda: memory.step(legs, scorer(), partition=0, log_offset=0),
        lambda: memory.follow(legs, scorer()),
        lambda: memory.judge(legs, scorer()),
    ):
        with pytest.raises(Problem, match="breaks the contract of the legs log\nrecord 1: side"):
            attempt()
    assert memory.digest() == before
    assert len(memory) == 1


def test_cash_needs_no_counterparty() -> None:
    cash = records(
        [
            Leg("A", None, inflow=False, at_ms=NOON_MS, minor=100),
            Leg("A", None, inflow=True, at_ms=NOON_MS, minor=100),
        ]
    )
    assert cash["flags"].tolist() == [FLAG_OUTSIDE, 0]
    memory = AccountMemory(2)
    stepped = memory.step(cash, scorer(), partition=0, log_offset=0)
    assert len(stepped.arrivals) == 0
    assert memory.follow(cash, scorer()).payee_scores.tolist()[1:] == [0.0]
    assert len(memory) == 1


def test_late_legs_are_counted_and_those_that_no_local_day_covers_once_more() -> None:
    days_ago = [0, 9, 10, 40, 0]
    legs = [
        Leg("A", "B", inflow=True, at_ms=NOON_MS - days * DAY * 1000, minor=100)
        for days in days_ago
    ]
    memory = remembering(records(legs))
    assert (memory.late_legs, memory.too_late_legs) == (3, 2)
    assert memory.rows["in_count"].tolist() == [5]
    assert memory.rows["day_in_count"].sum() == 3


def test_an_arrival_carries_what_the_payers_row_knows() -> None:
    memory = remembering(records([Leg("A", "Z", inflow=True, at_ms=NOON_MS, minor=2_000_00)]))
    departure = Leg("A", "B", inflow=False, at_ms=NOON_MS + 60_000, minor=1_500_00)
    legs = records([Leg("A", None, inflow=False, at_ms=NOON_MS, minor=1), departure])
    legs["transaction"][1] = 77
    stepped = memory.step(legs, scorer(), partition=5, log_offset=9)
    (arrival,) = stepped.arrivals
    assert words_text(stepped.arrivals["account"]) == ["B"]
    assert words_text(stepped.arrivals["counterparty"]) == ["A"]
    assert arrival["transaction"].tolist() == [77] * 8
    assert (arrival["side"], arrival["amount_minor"]) == (1, 1_500_00)
    assert (arrival["position"], arrival["source_partition"]) == ((9 << 16) | 1, 5)
    assert arrival["occurred_at_ms"] == departure.at_ms
    payee = AccountMemory(1).judge(stepped.arrivals, scorer())[1][0]
    payer = stepped.hit_features[1]
    assert payee[FEATURE_INDEX["payer_score"]] == stepped.scores[1] == 0.5
    for name in FEATURE_INDEX:
        if name.startswith("payer_") and name != "payer_score":
            carried = payer[FEATURE_INDEX[name.removeprefix("payer_")]]
            np.testing.assert_equal(payee[FEATURE_INDEX[name]], np.float32(carried), name)


def test_hits_are_legs_whose_score_reaches_the_threshold() -> None:
    legs = records(
        [
            Leg("A", "B", inflow=True, at_ms=NOON_MS, minor=minor)
            for minor in (1_000_00, 1_000_01, 5)
        ]
    )
    stepped = AccountMemory(5).step(legs, scorer(threshold=0.5), partition=0, log_offset=0)
    assert stepped.scores.tolist() == [0.0, 0.5, 0.0]
    assert stepped.hits.tolist() == [1]
    assert stepped.hit_strengths.tolist() == [[0.5]]
    assert stepped.hit_features[:, FEATURE_INDEX["amount"]].tolist() == [1_000.01]


def test_a_sweep_takes_each_row_once_more_but_those_that_were_taken_since() -> None:
    memory = AccountMemory(10)
    step_all(
        memory, records([Leg(name, None, inflow=True, at_ms=NOON_MS, minor=1) for name in "ABCD"])
    )
    assert memory.changed == 4
    list(memory.take_dirty(10))
    memory.begin_sweep()
    step_all(memory, records([Leg("B", None, inflow=True, at_ms=NOON_MS, minor=1)]))
    (taken,) = memory.take_dirty(10)
    assert words_text(taken["account"]) == ["B"]
    memory.mark(range(3))
    assert memory.changed == 2
    (taken,) = memory.take_dirty(10)
    assert words_text(taken["account"]) == ["A", "C"]
    memory.mark(range(4))
    (taken,) = memory.take_dirty(10)
    assert words_text(taken["account"]) == ["D"]


def test_a_part_that_was_given_back_is_used_again_and_holds_the_new_rows() -> None:
    memory = AccountMemory(10)
    legs = [Leg(name, None, inflow=True, at_ms=NOON_MS, minor=1) for name in "ABCD"]
    step_all(memory, records(legs))
    taken = memory.take_dirty(3)
    first = next(taken)
    assert words_text(first["account"]) == ["A", "B", "C"]
    taken.give_back(first)
    second = next(taken)
    assert words_text(second["account"]) == ["D"]
    assert np.shares_memory(first, second)
    step_all(memory, records(legs[1:3]))
    (third,) = memory.take_dirty(3)
    assert words_text(third["account"]) == ["B", "C"]
    assert not np.shares_memory(second, third)
