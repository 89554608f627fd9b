"""Figures read back from the pages of parts: sums, rates and quantiles as Prometheus computes them.

A reading is what one part shows at one moment; several of them are asked together.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """The samples of one page, by name."""

    at: float
    """When it was read, seconds by any clock."""
    samples: Mapping[str, list[tuple[Labels, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, at: float) -> "Reading":
        """A page in Prometheus' text format.

        Raises:
            ValueError: it is something else.
        """
        samples: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name].append((sample.labels, float(sample.value)))
        return cls(at, samples)

    def each(self, name: str) -> list[tuple[Labels, float]]:
        """The samples of this name, with their labels."""
        return list(self.samples.get(name, ()))


class Readings:
    """The readings of several parts, taken together."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = list(readings)

    def values(self, name: str, **labels: str) -> list[float]:
        """All samples of this name that have these label values."""
        return [value for _, value in self._samples(name, labels)]

    def total(self, name: str, **labels: str) -> float | None:
        """Their sum; None if there are none."""
        values = self.values(name, **labels)
        return sum(values) if values else None

    def most(self, name: str, **labels: str) -> float | None:
        """The largest of them; None if there are none."""
        return max(self.values(name, **labels), default=None)

    def by(self, label: str, name: str) -> dict[str, float]:
        """Their sums by the value of a label, largest first."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self._samples(name, {}):
            sums[labels.get(label, "")] += value
        return dict(sorted(sums.items(), key=lambda pair: -pair[1]))

    def buckets(self, name: str) -> list[tuple[float, float]]:
        """Of a histogram: upper bound and how many lie at or below it, in order."""
        sums = self.by("le", f"{name}_bucket")
        return sorted((float(bound), count) for bound, count in sums.items())

    def _samples(self, name: str, asked: Labels) -> Iterator[tuple[Labels, float]]:
        for reading in self._readings:
            for labels, value in reading.each(name):
                if asked.items() <= labels.items():
                    yield labels, value


def rate(before: float | None, after: float | None, seconds: float) -> float | None:
    """How much a counter rises in a second; None if it is not known, or began anew in between."""
    if before is None or after is None or after < before or seconds <= 0:
        return None
    return (after - before) / seconds


def quantile(share: float, buckets: list[tuple[float, float]]) -> float | None:
    """The quantile of a histogram, taken as even within a bucket; None if it is empty."""
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    wanted, low, before = share * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            if math.isinf(bound):
                return low
            inside = (wanted - before) / (count - before) if count > before else 1.0
            return low + (bound - low) * inside
        low, before = bound, count
    return low


def share_within(bound: float, buckets: list[tuple[float, float]]) -> float | None:
    """Share of a histogram at or below one of its bounds; None if it is empty."""
    total = buckets[-1][1] if buckets else 0.0
    return dict(buckets)[bound] / total if total else None
