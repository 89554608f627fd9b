"""A saved state comes back as it was or not at all; only the same log, moved, is adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from tests.streaming.shelf import PARTITIONS, Shelf, checkpointed_flow

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.row import LAYOUT_VERSION
from sluicegate.streaming.checkpoint import chunks, claim
from sluicegate.streaming.state_adopt import adopt
from sluicegate.streaming.state_file import METADATA, Manifest, export_state, import_state

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

ANOTHER = {"cluster": "another", "legs": "log"}


@pytest.fixture
def shelf(broker: EmbeddedBroker, topic_prefix: str) -> Shelf:
    return Shelf(broker, topic_prefix)


@pytest.fixture
def other(broker: EmbeddedBroker, topic_prefix: str) -> Shelf:
    """Another installation on the same cluster."""
    return Shelf(broker, f"{topic_prefix}b-")


def quiet(_: str) -> None:
    """Nothing is to be waited for."""


def exported(shelf: Shelf, folder: Path) -> Path:
    file = folder / "state.parquet"
    shelf.lay(checkpointed_flow(shelf.identity))
    export_state(shelf.settings, shelf.bootstrap, file)
    return file


def rewritten(file: Path, frame: pl.DataFrame, **changes: object) -> None:
    """The file with other rows, or with something else said of it."""
    said = Manifest.model_validate_json(pl.read_parquet_metadata(file)[METADATA])
    frame.write_parquet(
        file, metadata={METADATA: said.model_copy(update=changes).model_dump_json()}
    )


def test_an_imported_state_is_the_one_that_was_exported(
    shelf: Shelf, other: Shelf, tmp_path: Path
) -> None:
    file = exported(shelf, tmp_path)
    moved = import_state(other.settings, other.bootstrap, file, say=quiet)
    assert (moved.accounts, moved.partitions, moved.is_same_log) == (30, PARTITIONS, False)
    assert other.digests(checkpointed=True) == shelf.digests(checkpointed=True)


def test_the_file_can_be_read_by_others(shelf: Shelf, tmp_path: Path) -> None:
    file = exported(shelf, tmp_path)
    frame = pl.read_parquet(file)
    assert sorted(frame["account"]) == sorted(f"A{number}" for number in range(30))
    assert frame["partition"].is_sorted()
    assert frame["first_at"].dt.year().unique().to_list() == [2026]
    manifest = Manifest.model_validate_json(pl.read_parquet_metadata(file)[METADATA])
    assert manifest.layout == LAYOUT_VERSION
    assert manifest.topics == shelf.identity
    assert sum(manifest.accounts) == 30
    assert [file.name] == [each.name for each in tmp_path.iterdir()]


def test_a_changelog_that_holds_anything_is_not_written_to(shelf: Shelf, tmp_path: Path) -> None:
    file = exported(shelf, tmp_path)
    before = shelf.digests(checkpointed=True)
    with pytest.raises(Problem, match="is not empty") as refused:
        import_state(shelf.settings, shelf.bootstrap, file, say=quiet)
    assert "topics create" in refused.value.hint
    assert shelf.digests(checkpointed=True) == before


def test_another_layout_is_refused_and_never_misread(
    shelf: Shelf, other: Shelf, tmp_path: Path
) -> None:
    file = exported(shelf, tmp_path)
    rewritten(file, pl.read_parquet(file), layout=LAYOUT_VERSION + 1)
    with pytest.raises(Problem, match=f"row layout {LAYOUT_VERSION + 1}"):
        import_state(other.settings, other.bootstrap, file, say=quiet)


def test_a_file_that_was_changed_is_refused_before_anything_is_written(
    shelf: Shelf, other: Shelf, tmp_path: Path
) -> None:
    file = exported(shelf, tmp_path)
    frame = pl.read_parquet(file)
    for broken, said in (
        (frame.with_columns(account=pl.lit("A0")), "of another account"),
        (frame.with_columns(row=pl.lit(b"short")), "has another length"),
        (frame.reverse(), "does not belong to partition"),
        (frame.head(29), "accounts"),
    ):
        rewritten(file, broken)
        with pytest.raises(Problem, match="is not as it was exported") as refused:
            import_state(other.settings, other.bootstrap, file, say=quiet)
        assert said in refused.value.detail
        assert all(not each.accounts for each in other.digests(checkpointed=True).partitions)
        import_stays_possible = [each.applied for each in other.digests().partitions]
        assert import_stays_possible == [-1] * PARTITIONS


def test_another_number_of_partitions_is_refused(
    shelf: Shelf, broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    file = exported(shelf, tmp_path)
    five = Shelf(broker, f"{topic_prefix}five-", partitions=5)
    with pytest.raises(Problem, match="the file holds 3 partitions"):
        import_state(five.settings, five.bootstrap, file, say=quiet)


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_what_is_no_state_is_refused(shelf: Shelf, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "state.parquet"
    if content is None:
        pl.DataFrame({"a": [1]}).write_parquet(file)
    else:
        file.write_bytes(content)
    with pytest.raises(Problem, match=r"state\.parquet"):
        import_state(shelf.settings, shelf.bootstrap, file, say=quiet)


# Adopting.


def test_the_state_of_a_moved_log_is_adopted(shelf: Shelf) -> None:
    flow = checkpointed_flow(ANOTHER)
    shelf.lay(flow)
    before = shelf.digests(checkpointed=True)
    assert adopt(shelf.settings, shelf.bootstrap, say=quiet) == list(range(PARTITIONS))
    assert shelf.digests(checkpointed=True) == before
    assert [each.digest for each in shelf.digests().partitions] == [
        partition.memory.digest() for partition in flow.partitions
    ]
    assert adopt(shelf.settings, shelf.bootstrap, say=quiet) == []


def test_a_log_that_ends_before_the_state_is_not_adopted(shelf: Shelf) -> None:
    flow = checkpointed_flow(ANOTHER, later=0)
    flow.logs = [log[:-1] for log in flow.logs]
    shelf.lay(flow)
    refused(shelf, "this log holds 0 up to")


def test_a_log_that_begins_after_the_state_is_not_adopted(shelf: Shelf) -> None:
    flow = checkpointed_flow(ANOTHER)
    shelf.lay(flow)
    admin = AdminClient(shelf.config)
    places = [TopicPartition(shelf.topics.legs, 1, len(flow.logs[1]))]
    for deleted in admin.delete_records(places).values():
        deleted.result()
    refused(shelf, "stands at offset")


def test_another_log_of_the_same_length_is_not_adopted(shelf: Shelf) -> None:
    flow = checkpointed_flow(ANOTHER, later=0)
    shelf.lay_legs(flow)
    for number, partition in enumerate(flow.partitions):
        place = partition.place.model_copy(update={"sources": {}})
        state = chunks(AccountMemory(1), place, b"A" * 16, 1)
        shelf.write(shelf.topics.changelog, number, [claim(b"A" * 16, "w0"), *state])
    refused(shelf, "goes beyond what was applied from")


def refused(shelf: Shelf, said: str) -> None:
    """Nothing is written unless all partitions fit."""
    before = shelf.digests(checkpointed=True)
    with pytest.raises(Problem, match="is not a copy of the log") as problem:
        adopt(shelf.settings, shelf.bootstrap, say=quiet)
    assert said in problem.value.detail
    assert shelf.digests(checkpointed=True) == before
    with pytest.raises(Problem):
        shelf.digests()
