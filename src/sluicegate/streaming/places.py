"""What a committed source offset says besides itself: of which topic, and how far its chains went.

It travels as the metadata of the routers' committed offsets. Pure.
"""

import numpy as np
import numpy.typing as npt

from sluicegate.errors import Problem
from sluicegate.streaming.legs import NOTHING_BEFORE

Ints = npt.NDArray[np.int64]


def pack_place(topic_id: str, last: Ints, offset: int) -> str:
    """The topic's id, and how far before `offset` the last position of each legs partition lies."""
    chains = ",".join("" if at < 0 else f"{offset - at:x}" for at in last.tolist())
    return f"{topic_id} {chains}"


def unpack_place(text: str, topic: str, topic_id: str, offset: int, partitions: int) -> Ints:
    """The last position sent to each legs partition, `[partitions]`.

    Raises:
        Problem: the place is of another topic, or another number of partitions.
    """
    written_for, _, chains = text.partition(" ")
    if written_for != topic_id:
        raise Problem(
            f"the topic {topic} is not the one that was routed so far",
            f"the places of the routers' group are of topic id {written_for or 'unknown'}, "
            f"the topic there now has {topic_id}",
            "`sluicegate state rebuild` begins anew from what the topic holds; "
            "or use another router.group and topic prefix",
        )
    parts = chains.split(",")
    if len(parts) != partitions:
        raise Problem(
            "the routers' group holds places of another number of legs partitions",
            f"{len(parts)} chains, {partitions} partitions",
            "use another router.group, or topics.partitions as they were",
        )
    return np.array([offset - int(part, 16) if part else NOTHING_BEFORE for part in parts])
