"""The messages of the topic `progress`: how far a worker has applied its legs logs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Progress:
    """One word of a worker about where its partitions stand."""

    worker: str
    """Its slot."""
    at_ms: int
    applied: Mapping[int, int]
    """Legs offset by partition; -1 before the first."""

    def message(self) -> bytes:
        """The value of the Kafka record."""
        said = {"worker": self.worker, "at_ms": self.at_ms, "applied": self.applied}
        return json.dumps(said).encode()

    @classmethod
    def read(cls, value: bytes | None) -> Self:
        """What such a value says."""
        said = json.loads(value or b"{}")
        applied = said.get("applied", {})
        return cls(
            said.get("worker", ""),
            said.get("at_ms", 0),
            {int(number): int(offset) for number, offset in applied.items()},
        )


def first_judged_ms(said: Iterable[Progress]) -> int | None:
    """When a worker had judged its first leg, by what it said since its start; None: not yet.

    It says where its partitions stand when it has restored them, and again after each stretch of
    legs: the first place that is further than the first one of its partition tells.
    """
    first: dict[int, int] = {}
    for word in said:
        for number, applied in word.applied.items():
            if applied > first.setdefault(number, applied):
                return word.at_ms
    return None
