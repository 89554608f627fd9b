"""What was found out under way: directives that count in a file from when they were issued.

Confirmed frauds become directives too: whoever was paid by one, a terminal or a payee, is involved
from when the fraud was known.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from sluicegate.domain.alert import json_moment
from sluicegate.domain.directive import Action, Directive, DirectiveKind
from sluicegate.history.events import Events
from sluicegate.history.labels import Labels
from sluicegate.memory.accounts import AccountMemory, Followed, Records, Scorer
from sluicegate.streaming.flagged import Flagged
from sluicegate.streaming.telling import directive_records


def found_out(events: Events, labels: Labels, delay_ms: int) -> list[Directive]:
    """The directives that confirmed frauds come to, one for each payee.

    A fraud is known when its label says so, else `delay_ms` after it happened.
    """
    frauds = (
        events.frame.select(
            pl.col("payee_account").alias("account"),
            pl.coalesce(labels.known_at_ms, pl.col("occurred_at_ms") + delay_ms).alias("known_ms"),
            pl.Series("fraud", labels.fraud),
        )
        .filter("fraud", pl.col("account").is_not_null())
        .group_by("account")
        .agg(pl.col("known_ms").min())
        .sort("known_ms", "account")
    )
    return [
        Directive.model_validate(
            {
                "id": "label",
                "account": account,
                "kind": DirectiveKind.INVOLVED.value,
                "issued_at": json_moment(known_ms),
                "reason": "was paid by a confirmed fraud",
            }
        )
        for account, known_ms in frauds.iter_rows()
    ]


class Feedback:
    """Directives on their way into a memory; legs must come in the order of their times."""

    def __init__(self, directives: Sequence[Directive]) -> None:
        self._waiting = sorted(directives, key=lambda each: each.issued_at_ms)
        self._pairs: dict[tuple[str, str], str] = {}
        self._flagged = Flagged()
        self._taken = 0

    def follow(self, memory: AccountMemory, legs: Records, scorer: Scorer) -> Followed:
        """As `memory.follow`, each leg with the directives issued up to its time.

        Raises:
            Problem: as `memory.follow`.
        """
        parts: list[Followed] = []
        starts: list[int] = []
        start = 0
        while start < len(legs) or not parts:
            end = self._take(memory, legs, start)
            part = legs[start:end]
            self._flagged.mark(part)
            parts.append(memory.follow(part, scorer))
            starts.append(start)
            start = end
        return parts[0] if len(parts) == 1 else _joined(parts, starts)

    def _take(self, memory: AccountMemory, legs: Records, start: int) -> int:
        """Takes what is known at the leg `start`; the first leg at which more is known."""
        occurred = legs["occurred_at_ms"]
        while self._taken < len(self._waiting) and start < len(legs):
            directive = self._waiting[self._taken]
            if directive.issued_at_ms > occurred[start]:
                later = np.searchsorted(occurred[start:], directive.issued_at_ms)
                return start + int(later)
            self._direct(memory, directive)
            self._taken += 1
        return len(legs)

    def _direct(self, memory: AccountMemory, directive: Directive) -> None:
        key = directive.account, directive.id
        before = self._pairs.pop(key, None)
        if directive.action is Action.ADD and directive.counterparty is not None:
            self._pairs[key] = directive.counterparty
        records = directive_records(directive, 0, self._taken, before)
        memory.direct(records)
        self._flagged.take(records)


def _joined(parts: Sequence[Followed], starts: Sequence[int]) -> Followed:
    return Followed(
        np.concatenate([part.payer_scores for part in parts]),
        np.concatenate([part.payee_scores for part in parts]),
        np.concatenate([part.hits + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.hit_sides for part in parts]),
        np.concatenate([part.hit_features for part in parts]),
        np.concatenate([part.hit_strengths for part in parts]),
    )
