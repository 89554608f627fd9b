"""`sluicegate status --html`: one page that needs nothing else, drawn from the parts' figures."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sluicegate.operations.rendering import templates_of
from sluicegate.operations.status import (
    CHECKED_WITHIN_SECONDS,
    JUDGED_WITHIN_SECONDS,
    Status,
)
from sluicegate.operations.status_view import duration, messages, part_cells, written

MOST_BARS: Final = 10

Bar = dict[str, Any]


def as_page(status: Status) -> str:
    """The page in HTML: zh-CN first, en beside it."""
    templates = templates_of("sluicegate.operations")
    return templates.get_template("status.html.j2").render(
        status=status,
        words=messages(),
        at=f"{datetime.fromtimestamp(status.at).astimezone():%Y-%m-%d %H:%M:%S %z}",
        parts=[(part, part_cells(part)) for part in status.parts],
        groups=_groups(status),
        charts=_charts(status),
    )


def _groups(status: Status) -> list[dict[str, Any]]:
    catalogue = messages()
    return [
        {
            "title": title,
            "figures": [
                (figure, written(status.figures[key], figure["as"]))
                for key, figure in catalogue["figures"].items()
                if figure["group"] == group
            ],
        }
        for group, title in catalogue["groups"].items()
    ]


def _charts(status: Status) -> list[dict[str, Any]]:
    words = messages()["page"]
    return [
        {"title": words["latency"], "bars": _ages(status.latency, JUDGED_WITHIN_SECONDS)},
        {"title": words["lag"], "bars": _bars(status.lag_seconds, 2)},
        {"title": words["measures"], "bars": _bars(status.measures)},
        {"title": words["patterns"], "bars": _bars(status.patterns)},
        {
            "title": words["check_latency"],
            "bars": _ages(status.check_latency, CHECKED_WITHIN_SECONDS),
        },
        {"title": words["refusals"], "bars": _bars(status.refusals)},
    ]


def _bars(values: Mapping[str, float], digits: int = 0) -> list[Bar]:
    most = max(values.values(), default=0.0) or 1.0
    return [
        {
            "name": name,
            "value": f"{value:,.{digits}f}",
            "percent": 100 * value / most,
            "late": False,
        }
        for name, value in list(values.items())[:MOST_BARS]
    ]


def _ages(buckets: Sequence[tuple[float, float]], promised: float) -> list[Bar]:
    """How many lie between two bounds, from the first that has any to the last."""
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return []
    bounds = [0.0, *(bound for bound, _ in buckets)]
    counts = [0.0, *(count for _, count in buckets)]
    inside = [(bound, counts[index + 1] - counts[index]) for index, bound in enumerate(bounds[1:])]
    there = [index for index, (_, count) in enumerate(inside) if count]
    shown = inside[there[0] : there[-1] + 1]
    most = max(count for _, count in shown)
    return [
        {
            "name": f"> {duration(bounds[-2])}" if math.isinf(bound) else f"≤ {duration(bound)}",
            "value": f"{100 * count / total:.2f} %",
            "percent": 100 * count / most,
            "late": bound > promised,
        }
        for bound, count in shown
    ]
