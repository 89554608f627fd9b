"""Where to read a legs log on; and when the state must not be read on from this log."""

from contextlib import closing
from typing import Any

from sluicegate.errors import Problem
from sluicegate.streaming.checkpoint import REBUILD, Place
from sluicegate.streaming.partition import Gap
from sluicegate.streaming.stretch import StretchReader


def next_offset(
    place: Place, number: int, topic: str, identity: dict[str, str], bounds: tuple[int, int]
) -> int:
    """The offset after the last one applied; a fresh partition begins at the log's start, 0.

    `bounds` are first offset and end of the log of partition `number`; `identity` says which
    log it is.

    Raises:
        Problem: the log is another one, or does not hold that offset.
    """
    low, high = bounds
    if place.applied < 0 and not place.topics:
        if low > 0:
            raise Problem(
                f"there is no state of partition {number}, and topic {topic} begins at {low}",
                "the changelog was emptied, or legs were deleted before any worker read them",
                REBUILD,
            )
        place.topics = identity
    where = f"the state of partition {number} stands at offset {place.applied}"
    if place.topics != identity:
        raise Problem(
            f"topic {topic} is not the one that the account memory was made from",
            f"{where} of {place.topics}; the topic there now is {identity}",
            f"{REBUILD}; if the logs were moved here as they are, `sluicegate state adopt`",
        )
    if place.applied + 1 < low:
        raise Gap(
            f"topic {topic} has lost legs that were not yet applied",
            f"{where}, but the log begins at {low}",
            f"{REBUILD}; keep legs for longer (retention)",
            partition=number,
            offset=low,
        )
    if place.applied + 1 > high:
        raise Problem(
            f"topic {topic} is shorter than what was applied from it",
            f"{where}, but the log ends at {high}",
            f"the topic was emptied or restored: {REBUILD}",
        )
    return place.applied + 1


def log_bounds(
    config: dict[str, Any], topic: str, partitions: list[int]
) -> dict[int, tuple[int, int]]:
    """First offset and end of each partition of a topic."""
    with closing(StretchReader(config)) as reader:
        whole = {number: reader.whole(topic, number) for number in partitions}
    return {number: (stretch.start, stretch.end) for number, stretch in whole.items()}
