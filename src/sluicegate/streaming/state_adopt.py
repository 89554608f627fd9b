"""Takes over a state whose logs were moved as they are: a mirrored cluster, topics given back.

A claim and a checkpoint without rows are written to each changelog; its place names the topics
that are there now.
"""

from collections.abc import Callable
from contextlib import closing

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.settings import Settings
from sluicegate.streaming.checkpoint import REBUILD, chunks, claim, new_owner
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.legs import unpack
from sluicegate.streaming.partition import SOURCE_KEY
from sluicegate.streaming.state import PartitionState, Progress, StateReader
from sluicegate.streaming.state_quiet import require_nobody, worker_group
from sluicegate.streaming.stretch import Stretch
from sluicegate.streaming.table import Changelog
from sluicegate.streaming.topics import Topics

SLOT = "state-adopt"
"""In whose name the claims are."""


def adopt(
    settings: Settings,
    bootstrap: str,
    *,
    say: Callable[[str], None],
    progress: Progress | None = None,
) -> list[int]:
    """Gives the partitions whose state now belongs to the logs that are there.

    Nothing is written before all partitions have been found to fit.

    Raises:
        Problem: workers run, or a log is not the one that the state was made from.
    """
    config = confluent_config(settings.broker, bootstrap)
    require_nobody(settings, config, [worker_group(settings)], say)
    moved = []
    with closing(StateReader(settings, bootstrap, progress)) as reader:
        identity = reader.identity
        for state in reader.read_all(checkpointed=True):
            if state.place.topics and state.place.topics != identity:
                _require_same_log(reader, state)
                rowless = AccountMemory(1)
                rowless.put_population(state.memory.population_bytes)
                moved.append((state.number, rowless, state.place, state.checkpoint_number))
    changelog = Changelog(config, Topics.of(settings).changelog)
    for number, rowless, place, checkpoint_number in moved:
        owner = new_owner()
        place.topics = identity
        values = chunks(rowless, place, owner, checkpoint_number + 1)
        changelog.write(number, [claim(owner, SLOT), *values])
    return [number for number, *_ in moved]


def _require_same_log(reader: StateReader, state: PartitionState) -> None:
    """What the log holds at the state's place must be what the state was made from."""
    legs, applied = state.legs, state.place.applied
    where = f"the state of partition {state.number} stands at offset {applied}"
    if not legs.start <= applied + 1 <= legs.end:
        raise Problem(
            f"topic {legs.topic} is not a copy of the log that the state was made from",
            f"{where}, but this log holds {legs.start} up to, not including, {legs.end}",
            REBUILD,
        )
    if applied < legs.start:
        return
    links = _last_positions(
        reader.first_of(Stretch(legs.topic, legs.partition, applied, applied + 1))
    )
    known = state.place.sources
    strange = [key for key, last in links.items() if last > known.get(key, -1)]
    if strange:
        raise Problem(
            f"topic {legs.topic} is not a copy of the log that the state was made from",
            f"{where}, but the batch there goes beyond what was applied from {strange[0]}",
            REBUILD,
        )


def _last_positions(value: bytes | None) -> dict[str, int]:
    """The last position of each source in a batch, by the source's key in a `Place`."""
    batch = unpack(value)
    return {f"{SOURCE_KEY[batch.source]}{link.partition}": link.last for link in batch.links}
