"""Which source records were refused lately, by what `dead-letter` says of them.

A router that starts reads a stretch again to remember the ids that it has sent. What was refused
then may be accepted by the rules of now; it was not sent, so its id must not be remembered: the
bank may send it again, or people replay it from `dead-letter`.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from confluent_kafka import Message

from sluicegate.streaming.stretch import Stretch, StretchReader
from sluicegate.streaming.topics import Topics

AT_ONCE: Final = 5_000


def refused_among(
    config: dict[str, Any], topics: Topics, stretches: Mapping[int, range]
) -> dict[int, list[int]]:
    """The refused offsets among these of the transactions topic, by partition.

    Dead letters lie in the order of their sources, but for what a restart wrote again, so they are
    read from their end back, until a whole part of them is older than all that is asked for.
    """
    found: dict[int, list[int]] = {number: [] for number in stretches}
    with closing(StretchReader(config)) as reader:
        all_of_it = reader.whole(topics.dead_letter, 0)
        end = all_of_it.end
        while end > all_of_it.start and any(map(len, stretches.values())):
            start = max(all_of_it.start, end - AT_ONCE)
            part = Stretch(topics.dead_letter, 0, start, end)
            places = [_source(message, topics.transactions) for message in reader.read(part)]
            known = [place for place in places if place is not None]
            asked = [(number, at) for number, at in known if at in stretches.get(number, ())]
            for number, at in asked:
                found[number].append(at)
            if known and not asked:
                break
            end = start
    return found


def _source(message: Message, topic: str) -> tuple[int, int] | None:
    """Partition and offset of the refused record; None if it is of another topic, or a mark."""
    headers = dict(message.headers() or [])
    if headers.get("source_topic") != topic.encode():
        return None
    try:
        return int(headers["source_partition"] or b""), int(headers["source_offset"] or b"")
    except (KeyError, ValueError):
        return None
