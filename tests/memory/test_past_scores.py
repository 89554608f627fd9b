"""What accounts remember of their past scores, against the same written plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.memory.past_scores import HALF_LIFE_S, LEAST_REMEMBERED, PAST, PastScores, Singles

ACCOUNTS = 4
HALF_LIFE_MS = 1000 * HALF_LIFE_S
MOVEMENTS = st.lists(
    st.tuples(
        st.integers(0, 3_000 * HALF_LIFE_S).map(lambda second: 1000 * second),
        st.integers(-1, ACCOUNTS - 1),
        st.integers(-1, ACCOUNTS - 1),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=25,
)
Movement = tuple[int, int, int, float, float]


def follow(memory: PastScores, movements: list[Movement]) -> tuple[Singles, Singles]:
    at, payer, payee, leaving, coming = (np.array(each) for each in zip(*movements, strict=True))
    return memory.follow(at, payer, payee, leaving.astype(float), coming.astype(float))


def test_a_score_is_remembered_on_its_side_and_halves_in_a_week() -> None:
    memory = PastScores(2)
    payer, payee = follow(memory, [(0, 0, 1, 0.8, 0.6), (HALF_LIFE_MS, 0, 1, 0.0, 0.0)])
    assert payer[0].tolist() == [0, 0]
    assert payer[1].tolist() == pytest.approx([0.4, 0], rel=1e-3)
    assert payee[1].tolist() == pytest.approx([0, 0.3], rel=1e-3)


def test_scores_add_up() -> None:
    payer, _ = follow(PastScores(1), [(0, 0, -1, s, 0.0) for s in (0.5, 0.2, 0.1)])
    assert payer[2].tolist() == pytest.approx([0.7, 0], rel=1e-3)


def test_a_low_score_is_not_remembered() -> None:
    low = np.nextafter(LEAST_REMEMBERED, 0)
    payer, _ = follow(PastScores(1), [(0, 0, -1, s, 0.0) for s in (low, LEAST_REMEMBERED, 0.0)])
    assert payer[:2].tolist() == [[0, 0]] * 2
    assert payer[2].tolist() == pytest.approx([LEAST_REMEMBERED, 0], rel=1e-3)


def test_nobody_remembers_nothing() -> None:
    payer, payee = follow(PastScores(1), [(0, -1, 0, 0.5, 0.5)])
    assert np.isnan(payer).all()
    assert payee[0].tolist() == [0, 0]


def test_an_account_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="account 3 of 2"):
        follow(PastScores(2), [(0, 3, -1, 0.1, 0.1)])


@given(MOVEMENTS, st.integers(0, 25))
def test_splitting_a_file_changes_nothing(movements: list[Movement], split: int) -> None:
    movements = sorted(movements)
    whole = follow(PastScores(ACCOUNTS), movements)
    memory = PastScores(ACCOUNTS)
    parts = [follow(memory, part) for part in (movements[:split], movements[split:]) if part]
    for side in range(2):
        together = np.concatenate([part[side] for part in parts])
        np.testing.assert_array_equal(together, whole[side])


@given(MOVEMENTS)
def test_memory_is_what_was_said_of_each_earlier_movement(movements: list[Movement]) -> None:
    movements = sorted(movements)
    payer, payee = follow(PastScores(ACCOUNTS), movements)
    held: dict[int, list[tuple[int, int, float]]] = {}
    for at, movement in enumerate(movements):
        moment, *accounts = movement[:3]
        for side, seen in ((0, payer), (1, payee)):
            account = accounts[side]
            if account < 0:
                continue
            earlier = held.setdefault(account, [])
            faded = [
                (s, score * 0.5 ** ((moment - t) / HALF_LIFE_MS))
                for t, s, score in earlier
                if score >= LEAST_REMEMBERED
            ]
            expected = [sum(score for s, score in faded if s == each) for each in (0, 1)]
            assert seen[at].tolist() == pytest.approx(expected, rel=0.01, abs=1e-30)
            assert len(expected) == len(PAST)
            earlier.append((moment, side, movement[3 + side]))
