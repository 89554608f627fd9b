"""What was found out under way: directives that count in a file from when they were issued."""

from collections.abc import Sequence

import numpy as np

from sluicegate.domain.directive import Action, Directive
from sluicegate.memory.accounts import AccountMemory, Followed, Records, Scorer
from sluicegate.streaming.flagged import Flagged
from sluicegate.streaming.telling import directive_records


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
