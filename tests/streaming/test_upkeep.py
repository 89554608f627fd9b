"""Sweeps: every row is written again over a period, or sooner where much is written anyway."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.streaming.upkeep import FASTEST, Sweep

PERIOD = 100.0


@given(st.integers(0, 5_000), st.lists(st.floats(0, 40), min_size=1, max_size=30))
def test_a_sweep_gives_out_each_row_once(rows: int, pauses: list[float]) -> None:
    sweep, now = Sweep(rows, 7.0), 7.0
    given_out: list[int] = []
    for pause in pauses:
        now += pause
        given_out += sweep.share(now, PERIOD)
        assert sweep.is_complete(now, PERIOD) == (now - 7.0 >= PERIOD)
    assert given_out == list(range(len(given_out)))
    if now - 7.0 >= PERIOD:
        assert len(given_out) == rows


def test_a_sweep_goes_on_in_step_with_time() -> None:
    sweep = Sweep(1_000, 0.0)
    assert sweep.share(25.0, PERIOD) == range(250)
    assert sweep.share(26.0, PERIOD) == range(250, 260)
    assert not sweep.is_complete(99.0, PERIOD)
    assert sweep.share(250.0, PERIOD) == range(260, 1_000)
    assert sweep.is_complete(250.0, PERIOD)


@given(st.integers(1, 3_000), st.lists(st.integers(0, 2_000), min_size=1, max_size=40))
def test_a_sweep_ends_early_where_rows_are_written_as_often(rows: int, writes: list[int]) -> None:
    """So the changelog holds little more than the rows twice, however many change."""
    sweep = Sweep(rows, 0.0)
    soon = PERIOD / FASTEST + 1e-6
    for step, changed in enumerate(writes):
        now = soon + step * 1e-6
        complete = sweep.written >= rows
        sweep.share(now, PERIOD)
        assert sweep.is_complete(now, PERIOD) == complete
        if complete:
            assert sweep.next_row == rows
        sweep.written += changed


def test_a_sweep_is_not_faster_than_so() -> None:
    sweep = Sweep(1_000, 0.0, written=10**9)
    assert sweep.share(PERIOD / FASTEST / 2, PERIOD) == range(500)
    assert not sweep.is_complete(PERIOD / FASTEST / 2, PERIOD)
