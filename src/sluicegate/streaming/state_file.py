"""The checkpointed state as a parquet file, and back into empty changelogs.

The file has a row an account: a few columns to read, and the account row as it is. What it needs
to be read again (layout, places, topics) is in its metadata. Only what is checkpointed goes into
it: what was applied since may have sent arrivals that are not yet safe, and is applied again.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source
from pydantic import Base64Bytes, BaseModel, ValidationError

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.row import DAYS, DIRECTIVE, LAYOUT_VERSION, ROW, opaque
from sluicegate.memory.words import words_bytes, words_text
from sluicegate.settings import Settings
from sluicegate.streaming.checkpoint import Place, chunks, claim, new_owner, with_population
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.partitioning import partitions_of
from sluicegate.streaming.state import PartitionState, Progress, StateReader
from sluicegate.streaming.state_quiet import require_nobody, worker_group
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.table import Changelog
from sluicegate.streaming.topics import Topics

METADATA: Final = "sluicegate"
SLOT: Final = "state-import"
"""In whose name the claims are."""
ROWS_AT_ONCE: Final = 20_000
_MOMENT: Final = pl.Datetime("ms", "UTC")
SCHEMA: Final[dict[str, Any]] = {
    "account": pl.String,
    "partition": pl.Int32,
    "first_at": _MOMENT,
    "last_at": _MOMENT,
    "inflow_count": pl.UInt32,
    "outflow_count": pl.UInt32,
    "inflow_10d_minor": pl.Int64,
    "outflow_10d_minor": pl.Int64,
    "suspicion_in": pl.Float32,
    "suspicion_out": pl.Float32,
    "row": pl.Binary,
}


class Manifest(BaseModel):
    """What the file says of itself."""

    layout: int
    row_bytes: int
    topics: dict[str, str]
    """Ids of the cluster and of the legs topic that were there when it was written."""
    places: list[Place]
    """By partition."""
    accounts: list[int]
    """By partition; the rows of the file are in this order."""
    directives: list[Base64Bytes]
    """By partition."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What an export or import came to."""

    accounts: int
    partitions: int
    is_same_log: bool = True
    """Whether an imported state was made from the legs logs that are there."""


# Out.


def export_state(
    settings: Settings, bootstrap: str, file: Path, progress: Progress | None = None
) -> Moved:
    """Writes the checkpointed state of all partitions; a file of that name is replaced at the end.

    Raises:
        Problem: the state cannot be read, or the file cannot be written.
    """
    if not file.parent.is_dir():
        raise Problem(f"{file} cannot be written", f"there is no folder {file.parent}")
    with closing(StateReader(settings, bootstrap, progress)) as reader:
        identity = reader.identity
        states = list(reader.read_all(checkpointed=True))
    manifest = Manifest(
        layout=LAYOUT_VERSION,
        row_bytes=ROW.itemsize,
        topics=identity,
        places=[with_population(state.place, state.memory) for state in states],
        accounts=[len(state.memory) for state in states],
        directives=[b64encode(state.memory.directives.records.tobytes()) for state in states],
    )
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        # Frame by frame: all rows as one column would double the memory.
        register_io_source(lambda *_: _frames(states), schema=SCHEMA).sink_parquet(
            unfinished, metadata={METADATA: manifest.model_dump_json()}, row_group_size=ROWS_AT_ONCE
        )
        unfinished.replace(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise Problem(f"{file} cannot be written", str(error)) from error
    return Moved(sum(manifest.accounts), len(states))


def _frames(states: Sequence[PartitionState]) -> Iterator[pl.DataFrame]:
    yield pl.DataFrame(schema=SCHEMA)
    for state in states:
        rows = state.memory.rows
        order = np.argsort(words_bytes(rows["account"]), kind="stable")
        for start in range(0, len(order), ROWS_AT_ONCE):
            chosen = order[start : start + ROWS_AT_ONCE]
            yield _frame(opaque(rows)[chosen].view(ROW), state.number)


def _frame(rows: Records, partition: int) -> pl.DataFrame:
    columns = {
        "account": words_text(rows["account"]),
        "partition": np.full(len(rows), partition, np.int32),
        "first_at": rows["first_s"].astype(np.int64) * 1000,
        "last_at": rows["last_s"].astype(np.int64) * 1000,
        "inflow_count": rows["in_count"],
        "outflow_count": rows["out_count"],
        # the slots are the 10 local days up to the account's latest
        f"inflow_{DAYS}d_minor": rows["day_in_sum"].sum(axis=1),
        f"outflow_{DAYS}d_minor": rows["day_out_sum"].sum(axis=1),
        "suspicion_in": rows["suspicion_in"],
        "suspicion_out": rows["suspicion_out"],
        "row": opaque(np.ascontiguousarray(rows)).tolist(),
    }
    plain = {
        name: np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values
        for name, values in columns.items()
    }
    return pl.DataFrame(plain, schema_overrides={"row": pl.Binary}).cast(pl.Schema(SCHEMA))


# In.


def import_state(
    settings: Settings,
    bootstrap: str,
    file: Path,
    *,
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> Moved:
    """Writes the state of `file` into the changelogs, which must be empty.

    The whole file is checked before anything is written. `progress` counts accounts, twice.

    Raises:
        Problem: the file does not fit this version or these topics, the changelogs are not empty,
            or workers run.
    """
    manifest = read_manifest(file)
    config = confluent_config(settings.broker, bootstrap)
    require_nobody(settings, config, [worker_group(settings)], say)
    topics = Topics.of(settings)
    _require_empty(config, topics.changelog, manifest)
    source = _Source(file, manifest, settings, progress)
    for number in range(len(manifest.places)):
        source.partition(number)
    changelog = Changelog(config, topics.changelog)
    for number, place in enumerate(manifest.places):
        if place.applied < 0 and not manifest.accounts[number]:
            continue  # never begun: its first worker begins it
        memory = source.partition(number)
        memory.mark(range(len(memory)))
        memory.directives.mark()
        owner = new_owner()
        values = chain([claim(owner, SLOT)], chunks(memory, place, owner, 1))
        changelog.write(number, values)
    made_from = [place.topics for place in manifest.places if place.topics]
    now = topic_identity(config, topics.legs)
    return Moved(
        sum(manifest.accounts), len(manifest.places), all(each == now for each in made_from)
    )


def read_manifest(file: Path) -> Manifest:
    """What the file says of itself, checked against this version.

    Raises:
        Problem: it is no such file, or of another row layout.
    """
    try:
        said = pl.read_parquet_metadata(file).get(METADATA)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Problem(f"{file} cannot be read", str(error)) from error
    try:
        manifest = Manifest.model_validate_json(said or "null")
    except ValidationError as error:
        raise Problem(
            f"{file} is not a state that `sluicegate state export` wrote",
            "its metadata does not say what it holds",
        ) from error
    if (manifest.layout, manifest.row_bytes) != (LAYOUT_VERSION, ROW.itemsize):
        raise Problem(
            f"{file} has row layout {manifest.layout}, this version reads {LAYOUT_VERSION}",
            "account rows of another layout are never guessed at",
            "import it with the version that wrote it, or `sluicegate state rebuild`",
        )
    return manifest


def _require_empty(config: dict[str, Any], topic: str, manifest: Manifest) -> None:
    with closing(StretchReader(config)) as reader:
        partitions = reader.partitions(topic)
        if len(partitions) != len(manifest.places):
            raise Problem(
                f"the file holds {len(manifest.places)} partitions, {topic} has {len(partitions)}",
                "which account belongs to which partition hangs on the number",
                "set topics.partitions to that of the file, and make the topics under a new prefix",
            )
        held = (reader.whole(topic, number) for number in partitions)
        filled = [stretch.partition for stretch in held if stretch.start < stretch.end]
    if filled:
        raise Problem(
            f"{topic} is not empty",
            f"partitions {', '.join(map(str, filled))} hold a state, or claims of workers",
            f"delete the topic {topic} with Kafka's own tools, make it anew with "
            f"`sluicegate topics create`, and import before any worker starts",
        )


class _Source:
    """The rows of a file, by partition."""

    def __init__(
        self, file: Path, manifest: Manifest, settings: Settings, progress: Progress | None
    ) -> None:
        self._file = file
        self._frame = pl.scan_parquet(file)
        self._manifest = manifest
        self._room = settings.worker.accounts_per_partition
        self._progress = progress
        self._done = 0

    def partition(self, number: int) -> AccountMemory:
        """The accounts of one partition.

        Raises:
            Problem: a row is not what it should be.
        """
        accounts = self._manifest.accounts
        memory = AccountMemory(self._room)
        begin = sum(accounts[:number])
        for start in range(0, accounts[number], ROWS_AT_ONCE):
            length = min(ROWS_AT_ONCE, accounts[number] - start)
            frame = self._frame.slice(begin + start, length).select("account", "row").collect()
            memory.put(self._rows(frame, number))
            self._done += length
            if self._progress is not None:
                self._progress(self._done, 2 * sum(accounts))
        memory.put_directives(np.frombuffer(self._manifest.directives[number], DIRECTIVE))
        memory.put_population(self._manifest.places[number].population)
        if len(memory) != accounts[number]:
            raise self._broken(f"partition {number} has {len(memory):,} accounts")
        return memory

    def _rows(self, frame: pl.DataFrame, number: int) -> Records:
        values = frame["row"].to_list()
        if any(value is None or len(value) != ROW.itemsize for value in values):
            raise self._broken(f"a row of partition {number} has another length")
        rows: Records = np.frombuffer(b"".join(values), ROW)
        if words_text(rows["account"]) != frame["account"].to_list():
            raise self._broken(f"a row of partition {number} is of another account than it says")
        own = partitions_of(rows["account"], len(self._manifest.places))
        if (own != number).any():
            raise self._broken(f"an account does not belong to partition {number}")
        return rows

    def _broken(self, detail: str) -> Problem:
        return Problem(
            f"{self._file} is not as it was exported", detail, "nothing was written from it"
        )
