"""Remembers, over restarts, that a hole in a log stopped the worker, until it is past the hole.

A worker that finds a hole ends at once, and its figures with it: only its next life can show it.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.partition import Gap, Partition

SUFFIX: Final = ".gaps.json"


class Gaps:
    """The holes found by one worker slot: the first offset behind each, by partition."""

    def __init__(self, folder: Path, slot: str, figures: WorkerFigures) -> None:
        self._file = folder / f"{slot}{SUFFIX}"
        self._figures = figures
        self._open = self._read()
        for partition in self._open:
            figures.gap(partition)

    def found(self, gap: Gap) -> None:
        """The worker stops because of it."""
        self._open[gap.partition] = gap.offset
        self._figures.gap(gap.partition)
        self._write()

    def look(self, partitions: Iterable[Partition]) -> None:
        """Forgets the holes that are behind these partitions by now."""
        past = [
            partition.number
            for partition in partitions
            if partition.place.applied >= self._open.get(partition.number, 1 << 62)
        ]
        for number in past:
            del self._open[number]
            self._figures.gap_repaired(number)
        if past:
            self._write()

    def _read(self) -> dict[int, int]:
        try:
            told = json.loads(self._file.read_text(encoding="utf-8"))
            return {int(partition): int(offset) for partition, offset in told.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write(self) -> None:
        with suppress(OSError):  # it decides nothing, and must not hide why the worker stops
            self._file.write_text(json.dumps(self._open), encoding="utf-8")
