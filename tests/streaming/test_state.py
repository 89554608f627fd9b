"""The state read offline: what a worker has, or what its checkpoints say."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import UTC_8, records, scorer, step_all
from tests.memory.oracle import Leg
from tests.streaming.shelf import PARTITIONS, Shelf, checkpointed_flow, some_payments
from typer.testing import CliRunner

from sluicegate.cli import app
from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.features import FEATURE_INDEX
from sluicegate.streaming.checkpoint import Place, claim, renewal
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.state import PartitionState, StateReader, digest_of_all, row_of
from sluicegate.streaming.state_view import AccountView, in_words, view_of
from sluicegate.streaming.stretch import Stretch

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

NOON_MS = 1_772_942_400_000
STEP_MS = 20 * 60_000


def legs_of(seed: int, count: int) -> list[Leg]:
    """Legs of account P, in and out."""
    random = np.random.default_rng(seed)
    return [
        Leg(
            account="P",
            inflow=bool(random.integers(2)),
            other=None if random.integers(6) == 0 else f"Q{random.integers(5)}",
            minor=int(random.integers(100, 10**8)),
            at_ms=NOON_MS + int(random.integers(200)) * STEP_MS,
        )
        for _ in range(count)
    ]


def viewed(legs: list[Leg]) -> tuple[AccountMemory, AccountView]:
    memory = AccountMemory(10)
    step_all(memory, records(legs))
    row = row_of(memory, "P")
    assert row is not None
    return memory, view_of("P", row, memory)


# One account in words.


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_windows_shown_are_those_of_the_features(seed: int, count: int) -> None:
    memory, view = viewed(legs_of(seed, count))
    probe = Leg(account="P", inflow=True, other=None, minor=1, at_ms=view.last_s * 1000)
    features = memory.judge(records([probe]), scorer(utc_offset_s=UTC_8))[1][0]

    def feature(name: str) -> float:
        return float(features[FEATURE_INDEX[name]])

    windows = {window.name: window for window in view.windows}
    for name, span in (("1 h", "1h"), ("24 h", "24h"), ("7 local days", "7d")):
        window = windows[name]
        assert window.inflow_count + 1 == feature(f"inflow_count_{span}")
        assert window.outflow_count == feature(f"outflow_count_{span}")
        assert window.inflow_minor + 1 == round(100 * feature(f"inflow_{span}"))
        assert window.outflow_minor == round(100 * feature(f"outflow_{span}"))
    for window in view.decayed:
        assert window.inflow_count + 1 == feature(f"inflow_count_decayed_{window.name}")
        assert window.outflow_minor / 100 == feature(f"outflow_sum_decayed_{window.name}")
    assert view.large_days_10["large_outflows"] == feature("large_outflows_10d")
    assert view.inflow_count + 1 == feature("inflow_count")


def test_the_ring_is_told_newest_first_with_what_is_left_of_it() -> None:
    came = Leg(account="P", inflow=True, other="Q1", minor=50_000_00, at_ms=NOON_MS)
    left = Leg(account="P", inflow=False, other=None, minor=20_000_00, at_ms=NOON_MS + 60_000)
    _, view = viewed([came, left])
    state = PartitionState(
        4, AccountMemory(1), Place(applied=7, sources={"t0": 1234}), "w3", 5, 1,
        Stretch("c", 4, 0, 9), Stretch("l", 4, 0, 8),
    )  # fmt: skip
    said = list(in_words(view, state, "CNY", 8))
    assert said[1] == "partition   4, claimed last by worker w3"
    assert said[2] == "applied     legs offset 7; checkpoint at 5, the log ends at 8"
    newest, oldest = (" ".join(line.split()) for line in said[-2:])
    assert newest == "2026-03-08 12:01:00+08:00 out 20,000.00 to - cash"
    assert oldest.startswith("2026-03-08 12:00:00+08:00 in 50,000.00 from ")
    assert oldest.endswith(" 30,000.00 not yet passed on")
    assert any("50,000.00" in line and "last 24 h" in line for line in said)


def test_a_full_ring_says_that_there_may_have_been_more() -> None:
    legs = [
        Leg(account="P", inflow=True, other="Q1", minor=100, at_ms=NOON_MS + number)
        for number in range(17)
    ]
    _, view = viewed(legs)
    assert [(window.inflow_count, window.is_least) for window in view.windows] == [
        (16, True), (16, True), (17, False), (17, False),
    ]  # fmt: skip


def test_a_row_is_found_by_the_whole_account_alone() -> None:
    memory, _ = viewed(legs_of(1, 3))
    assert row_of(memory, "P1") is None
    assert row_of(AccountMemory(1), "P") is None


def test_the_digest_of_all_is_that_of_the_rows_sorted_by_account() -> None:
    one, other, both = AccountMemory(500), AccountMemory(500), AccountMemory(500)
    legs = [
        Leg(account=f"A{number}", inflow=True, other=None, minor=100, at_ms=NOON_MS)
        for number in (5, 300, 7, *range(100, 200))
    ]
    step_all(both, records(legs))
    step_all(one, records(legs[::2]))
    step_all(other, records(legs[1::2]))
    for memory in (one, other, both):  # each partition has its own
        memory.put_population(b"")
    assert digest_of_all([one, other]) == digest_of_all([other, one]) == both.digest()
    assert digest_of_all([AccountMemory(1)]) == hashlib.sha256().hexdigest()


# On a broker.


@pytest.mark.broker
def test_the_state_read_is_that_of_checkpoint_and_log(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    shelf = Shelf(broker, topic_prefix)
    flow = checkpointed_flow(shelf.identity)
    before = [place.applied for place in (each.place for each in flow.partitions)]
    shelf.lay(flow)
    digests = shelf.digests()
    assert [each.digest for each in digests.partitions] == [
        partition.memory.digest() for partition in flow.partitions
    ]
    assert [each.applied for each in digests.partitions] == before
    assert digests.digest == digest_of_all([each.memory for each in flow.partitions])

    older = shelf.digests(checkpointed=True)
    flow.crash_worker()
    assert [each.digest for each in older.partitions] == [
        partition.memory.digest() for partition in flow.partitions
    ]
    assert older != digests


@pytest.mark.broker
def test_an_account_is_shown_by_the_command(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    shelf = Shelf(broker, topic_prefix)
    shelf.lay(checkpointed_flow(shelf.identity))
    config = tmp_path / "sluicegate.toml"
    config.write_text(f'[topics]\nprefix = "{topic_prefix}"\npartitions = {PARTITIONS}\n')

    def asked(*arguments: str) -> str:
        where = ["--config", str(config), "state", *arguments, "--broker", shelf.bootstrap]
        result = CliRunner().invoke(app, where)
        if result.exception:
            raise result.exception
        return result.stdout

    said = asked("show", "A3")
    assert f"partition   {partition_of('A3', PARTITIONS)}, claimed last by worker w0" in said
    shown = json.loads(asked("show", "A3", "--json"))
    in_and_out = [payment for payment in some_payments() if "A3" in (payment.payer, payment.payee)]
    assert shown["inflow_count"] + shown["outflow_count"] == len(in_and_out)
    assert len(shown["recent"]) == len(in_and_out)
    assert shown["profile"] == {"birth_year": 1950, "opened_on": "2020-01-01", "tier": 0}
    assert [each["id"] for each in shown["directives"]] == ["here", "pair"]
    assert "holder      birth year 1950, opened on 2020-01-01, tier 0\n" in said
    assert "directive   involved (here)\n" in said
    assert "directive   whitelisted with A4 until 2026-03-08T04:00:00+00:00 (pair)\n" in said
    with pytest.raises(Problem, match="account A99 is not remembered"):
        asked("show", "A99")
    lines = asked("digest").splitlines()
    assert len(lines) == PARTITIONS + 1
    assert lines[-1].startswith("all partitions: 30 accounts, ")
    digests = json.loads(asked("digest", "--json"))
    assert lines[-1].endswith(digests["digest"])
    assert digests["accounts"] == 30


@pytest.mark.broker
def test_a_state_of_another_log_is_not_read_on(broker: EmbeddedBroker, topic_prefix: str) -> None:
    shelf = Shelf(broker, topic_prefix)
    shelf.lay(checkpointed_flow({"cluster": "another"}))
    with pytest.raises(Problem, match="is not the one that the account memory was made from"):
        shelf.digests()
    assert len(shelf.digests(checkpointed=True).partitions) == PARTITIONS


@pytest.mark.broker
def test_another_number_of_partitions_is_refused(broker: EmbeddedBroker, topic_prefix: str) -> None:
    shelf = Shelf(broker, topic_prefix)
    topics = shelf.settings.topics.model_copy(update={"partitions": 5})
    other = shelf.settings.model_copy(update={"topics": topics})
    with (
        closing(StateReader(other, shelf.bootstrap)) as reader,
        pytest.raises(Problem, match="has 3 partitions, and 5 are configured"),
    ):
        list(reader.read_all())


@pytest.mark.broker
def test_the_owner_is_known_of_a_trimmed_changelog_and_is_no_zombie(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    shelf = Shelf(broker, topic_prefix)
    owner, successor = b"A" * 16, b"B" * 16
    shelf.write(shelf.topics.changelog, 0, [renewal(owner, "w3")])
    assert slot_of(shelf, 0) == "w3"
    shelf.write(shelf.topics.changelog, 0, [claim(successor, "w4"), renewal(owner, "w3")])
    assert slot_of(shelf, 0) == "w4"


def slot_of(shelf: Shelf, number: int) -> str:
    with closing(StateReader(shelf.settings, shelf.bootstrap)) as reader:
        return reader.read(number, checkpointed=True).slot
