"""Figures of a ranking: how well scores put what is fraud before what is not.

`scores` and `fraud` have one entry for each transaction, or for each account. What was judged
alike is ranked alike: where a figure depends on an order among equals, it says which is taken.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

CURVE_POINTS: Final = 200
DAY_MS: Final = 86_400_000


def precision_recall(scores: Floats, fraud: Bools) -> tuple[Floats, Floats, Floats]:
    """Thresholds, falling, with precision and recall of all that reaches each of them.

    There is one entry for each different score; empty when nothing is fraud.
    """
    if not fraud.any():
        return np.empty(0), np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    caught = np.cumsum(fraud[order])[last]
    return ranked[last], caught / (last + 1), caught / caught[-1]


def average_precision(scores: Floats, fraud: Bools) -> float | None:
    """Area under precision against recall, in steps; None when nothing is fraud."""
    _, precision, recall = precision_recall(scores, fraud)
    if not len(recall):
        return None
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def roc_auc(scores: Floats, fraud: Bools) -> float | None:
    """Chance that fraud ranks before what is honest, equals counting half; None without either."""
    positive = int(fraud.sum())
    negative = len(fraud) - positive
    if not positive or not negative:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # mean rank, from 1, of each different score
    ranks = float(middle[inverse[fraud]].sum())
    return (ranks - positive * (positive + 1) / 2) / (positive * negative)


def curve(scores: Floats, fraud: Bools) -> list[tuple[float, float, float]]:
    """At most `CURVE_POINTS` points (threshold, precision, recall), evenly spread over recall."""
    thresholds, precision, recall = precision_recall(scores, fraud)
    if not len(recall):
        return []
    wanted = np.searchsorted(recall, np.linspace(0, 1, CURVE_POINTS))
    chosen = np.unique(np.minimum(wanted, len(recall) - 1))
    points = zip(thresholds[chosen], precision[chosen], recall[chosen], strict=True)
    return [(float(t), float(p), float(r)) for t, p, r in points]


def highest(scores: Floats, most: int) -> Bools:
    """Which are alerted when at most `most` may be: the highest; of equals the earlier.

    A score of 0 has no reason and is never alerted.
    """
    chosen = np.zeros(len(scores), np.bool_)
    chosen[np.argsort(-scores, kind="stable")[:most]] = True
    return chosen & (scores > 0)


def highest_each_day(scores: Floats, local_day: Ints, most: int) -> Bools:
    """The same for each local day: what a desk that can look at `most` a day gets to see."""
    order = np.lexsort((np.arange(len(scores)), -scores, local_day))
    days = local_day[order]
    first = np.searchsorted(days, days, side="left")
    chosen = np.zeros(len(scores), np.bool_)
    chosen[order[np.arange(len(scores)) - first < most]] = True
    return chosen & (scores > 0)


def share(part: float, whole: float) -> float | None:
    """`part / whole`; None of nothing."""
    return part / whole if whole else None
