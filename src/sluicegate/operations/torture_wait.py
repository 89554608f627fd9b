"""What a deed waits for, so that it hits on a slow machine too what it is meant to hit. Pure."""

from collections.abc import Collection, Mapping, Sequence

from sluicegate.operations.torture_parts import Life
from sluicegate.operations.torture_schedule import ROUTERS, WORKERS, Deed, Kind, Step
from sluicegate.streaming.progress import Progress

LEAVES = {Deed.STOP, Deed.KILL, Deed.FREEZE, Deed.FREEZE_IN_CHECKPOINT}


def awaits_members(step: Step) -> bool:
    """Who leaves a group shall leave one that all have joined."""
    return (
        step.kind in {Kind.REBALANCE, Kind.ZOMBIE}
        and step.deed in LEAVES
        and step.target in WORKERS
    )


def awaits_successor(step: Step) -> bool:
    """A zombie comes back when another has its place."""
    return step.deed is Deed.THAW and step.target in {*WORKERS, *ROUTERS}


def have_joined(slots: Collection[str], lives: Sequence[Life], said: Sequence[Progress]) -> bool:
    """Whether each of these workers has said, since its start, where a partition stands."""
    began: Mapping[str, int] = {life.slot: life.began_ms for life in lives}
    spoke = {
        word.worker for word in said if word.applied and word.at_ms >= began.get(word.worker, 0)
    }
    return set(slots) <= spoke


def have_taken_over(
    slots: Collection[str], partitions: int, since_ms: int, said: Sequence[Progress]
) -> bool:
    """Whether since then these workers have spoken of all partitions."""
    held = {
        number
        for word in said
        if word.worker in slots and word.at_ms >= since_ms
        for number in word.applied
    }
    return len(held) == partitions
