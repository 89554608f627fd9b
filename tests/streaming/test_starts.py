"""The state says where to read on, or that it cannot: it never starts elsewhere by itself."""

from __future__ import annotations

import pytest

from sluicegate.errors import Problem
from sluicegate.streaming.checkpoint import Place
from sluicegate.streaming.starts import next_offset

TOPIC = "legs"
HERE = {"cluster": "C", TOPIC: "T"}


def start(place: Place, low: int, high: int, identity: dict[str, str] | None = None) -> int:
    return next_offset(place, 3, TOPIC, identity or HERE, (low, high))


@pytest.mark.parametrize("high", [0, 9])
def test_a_fresh_partition_starts_at_the_logs_first_offset(high: int) -> None:
    place = Place()
    assert start(place, 0, high) == 0
    assert place == Place(applied=-1, topics=HERE)


@pytest.mark.parametrize("high", [7, 9])
def test_a_log_without_its_beginning_makes_no_fresh_state(high: int) -> None:
    """The changelog was emptied: what was remembered is gone, and nobody may pass over that."""
    with pytest.raises(
        Problem, match="no state of partition 3, and topic legs begins at 7"
    ) as told:
        start(Place(), 7, high)
    assert "state rebuild" in told.value.hint


def test_a_fresh_partition_that_was_checkpointed_starts_there_again() -> None:
    """Its log was empty: it has read nothing, and knows of which log."""
    place = Place(applied=-1, topics=HERE)
    assert start(place, 0, 5) == 0


@pytest.mark.parametrize(("low", "high"), [(0, 100), (42, 43), (43, 43), (0, 43)])
def test_a_state_goes_on_after_the_last_offset_applied(low: int, high: int) -> None:
    assert start(Place(applied=42, topics=HERE), low, high) == 43


def refused(place: Place, low: int, high: int, identity: dict[str, str] | None = None) -> Problem:
    before = place.model_copy(deep=True)
    with pytest.raises(Problem) as problem:
        start(place, low, high, identity)
    assert place == before
    assert "partition 3 stands at offset 42" in problem.value.detail
    assert "`sluicegate state rebuild`" in problem.value.hint
    return problem.value


def test_a_log_that_lost_what_comes_next_is_refused() -> None:
    problem = refused(Place(applied=42, topics=HERE), low=44, high=60)
    assert "has lost legs that were not yet applied" in problem.fact
    assert "the log begins at 44" in problem.detail


def test_a_log_that_ends_before_the_state_is_refused() -> None:
    problem = refused(Place(applied=42, topics=HERE), low=0, high=42)
    assert "shorter than what was applied" in problem.fact
    assert "the log ends at 42" in problem.detail


@pytest.mark.parametrize("other", [{"cluster": "C", TOPIC: "T2"}, {"cluster": "C2", TOPIC: "T"}])
def test_a_log_of_another_topic_or_cluster_is_refused(other: dict[str, str]) -> None:
    problem = refused(Place(applied=42, topics=HERE), low=0, high=60, identity=other)
    assert "is not the one" in problem.fact
    assert "`sluicegate state adopt`" in problem.hint
