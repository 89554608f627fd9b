"""What workers say of where they stand, and when the first leg after a start was judged."""

from __future__ import annotations

import json

from sluicegate.streaming.progress import Progress, first_judged_ms


def test_a_progress_is_read_as_it_was_written() -> None:
    progress = Progress("w0", 1_772_942_400_000, {0: -1, 7: 41})
    assert Progress.read(progress.message()) == progress
    assert json.loads(progress.message()) == {
        "worker": "w0",
        "at_ms": 1_772_942_400_000,
        "applied": {"0": -1, "7": 41},
    }


def test_a_record_without_a_word_says_nothing() -> None:
    assert Progress.read(None).applied == {}


def test_the_first_leg_is_judged_when_a_partition_is_further_than_it_was_restored() -> None:
    said = [Progress("w0", 5, {0: 3}), Progress("w0", 6, {0: 3, 1: 9}), Progress("w0", 7, {1: 10})]
    assert first_judged_ms(said) == 7
    assert first_judged_ms(said[:2]) is None
