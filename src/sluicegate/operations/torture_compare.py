"""Compares what the pipeline wrote with what a replay of its logs says it should have. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.domain.alert import Alert
from sluicegate.memory.accounts import Ints, Records
from sluicegate.memory.row import LEG, opaque

EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """How much is missing, and how much is there that should not be, or not so."""

    missing: int = 0
    extra: int = 0
    examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(
            self.missing + other.missing,
            self.extra + other.extra,
            (*self.examples, *other.examples)[:EXAMPLES],
        )


@dataclass(frozen=True, slots=True)
class Stand:
    """Where the state of a partition stands: restored from its changelog, or replayed."""

    applied: int
    digest: str
    sources: Mapping[str, int]


def compare_alerts(
    expected: Mapping[str, Alert], found: Iterable[Alert], *, once: bool = False
) -> Difference:
    """By id; every one found must be equal in every field, and with `once`, there is only one."""
    seen: set[str] = set()
    wrong: list[str] = []
    for alert in found:
        wanted = expected.get(alert.id)
        if wanted is None:
            wrong.append(f"alert {alert.id} is in no replay")
        elif wanted != alert:
            wrong.append(f"alert {alert.id} differs in {', '.join(_fields(wanted, alert))}")
        elif once and alert.id in seen:
            wrong.append(f"alert {alert.id} is there twice")
        seen.add(alert.id)
    missing = [f"alert {name} is missing" for name in expected if name not in seen]
    return Difference(len(missing), len(wrong), (*missing, *wrong)[:EXAMPLES])


def compare_stands(
    expected: Mapping[int, Stand], found: Mapping[int, Stand]
) -> tuple[bool, tuple[str, ...]]:
    """Whether each partition's state is equal, and what is not."""
    wrong = [
        f"partition {number}: replayed {expected.get(number)}, restored {found.get(number)}"
        for number in sorted(expected.keys() | found.keys())
        if expected.get(number) != found.get(number)
    ]
    return bool(expected) and not wrong, tuple(wrong)


def compare_arrivals(expected: Sequence[Records], found: Sequence[Records]) -> Difference:
    """Arrivals of one legs partition: those that departures gave, and those that are there.

    An arrival is known by its source partition and position. It may be there several times, but
    every time with the very same bytes.
    """
    wanted, there = _joined(expected), _joined(found)
    wanted = wanted[np.argsort(_keys(wanted), kind="stable")]
    keys, found_keys = _keys(wanted), _keys(there)
    if not len(keys):
        return _difference(keys, found_keys)
    row = np.minimum(np.searchsorted(keys, found_keys), len(keys) - 1)
    is_known = keys[row] == found_keys
    is_equal = is_known.copy()
    is_equal[is_known] = _are_equal(wanted[row[is_known]], there[is_known])
    return _difference(np.setdiff1d(keys, found_keys[is_known]), found_keys[~is_equal])


def _difference(missing: Ints, extra: Ints) -> Difference:
    examples = [f"arrival {_place(key)} is missing" for key in missing[:EXAMPLES].tolist()]
    examples += [f"arrival {_place(key)} is not so" for key in extra[:EXAMPLES].tolist()]
    return Difference(len(missing), len(extra), tuple(examples[:EXAMPLES]))


def _joined(parts: Sequence[Records]) -> Records:
    if not parts:
        return np.empty(0, LEG)
    return np.concatenate([opaque(part) for part in parts]).view(LEG)


_PARTITION_SHIFT: Final = 52
"""Positions are offsets of 36 bits and an index of 16; partitions are fewer than 2,048."""


def _keys(legs: Records) -> Ints:
    keys: Ints = (legs["source_partition"].astype(np.int64) << _PARTITION_SHIFT) + legs["position"]
    return keys


def _place(key: int) -> str:
    position = key & ((1 << _PARTITION_SHIFT) - 1)
    return f"of legs[{key >> _PARTITION_SHIFT}]@{position >> 16} record {position & 0xFFFF}"


def _are_equal(some: Records, others: Records) -> npt.NDArray[np.bool_]:
    """Row by row, in every byte."""
    bytes_of = [
        np.frombuffer(legs.tobytes(), np.uint8).reshape(len(legs), LEG.itemsize)
        for legs in (some, others)
    ]
    equal: npt.NDArray[np.bool_] = (bytes_of[0] == bytes_of[1]).all(axis=1)
    return equal


def _fields(wanted: Alert, found: Alert) -> list[str]:
    return [
        name for name in type(wanted).model_fields if getattr(wanted, name) != getattr(found, name)
    ]
