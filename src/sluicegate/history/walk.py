"""Through a file of transactions with the live step function: memory, rules, and each judgement."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sluicegate.domain.directive import Directive
from sluicegate.domain.refusal import Refusal
from sluicegate.domain.transaction import LATEST_MS, Rules
from sluicegate.history.events import Events
from sluicegate.history.feedback import Feedback
from sluicegate.memory.accounts import AccountMemory, Followed, Ints
from sluicegate.settings import Settings
from sluicegate.streaming.decoder import Decoder
from sluicegate.streaming.repeats import Repeats, Verdict
from sluicegate.streaming.routing import Places, first_legs
from sluicegate.streaming.scoring import Scoring

CHUNK: Final = 10_000
REPEAT: Final = "REPEAT"
ANY_SCORE: Final = float(np.nextafter(0, 1))
"""Every score above nothing has reasons worth telling."""
EVERY_LEG: Final = -1.0
"""The threshold that every leg reaches: their features are wanted."""

Progress = Callable[[int, int], None]
"""Told how many transactions are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The next `n` transactions of a file, judged and remembered."""

    start: int
    """Which transaction of the file is the first."""
    followed: Followed
    at: Ints
    """`[k]`: which of the `n` each of the judged ones is."""
    refused: list[str | None]
    """`[n]`: why a transaction was not judged."""


def walk(
    settings: Settings,
    events: Events,
    scoring: Scoring,
    progress: Progress = lambda _done, _total: None,
    directives: Sequence[Directive] = (),
) -> Iterator[Stretch]:
    """Steps events in their order with an empty memory, `CHUNK` at a time.

    Directives count from when they were issued.
    """
    accounts = 2 * (len(events.frame) + len(directives)) + 1
    walker = _Walker(settings, scoring, accounts, Feedback(directives))
    done = 0
    for messages in events.messages(CHUNK):
        yield walker.step(done, [value for _, value in messages])
        done += len(messages)
        progress(done, len(events.frame))


class _Walker:
    """The memory as of a place in the file, and the rules by which messages get there."""

    def __init__(
        self, settings: Settings, scoring: Scoring, accounts: int, feedback: Feedback
    ) -> None:
        self._feedback = feedback
        contract = settings.contract
        self._scorer = scoring.scorer
        self._memory = AccountMemory(accounts)
        self._decoder = Decoder(Rules(contract.base_currency, 0, contract.max_bytes))
        self._repeats = Repeats(settings.router.repeat_reach)

    def step(self, start: int, values: list[bytes]) -> Stretch:
        # A file has no Kafka timestamp against which a time could lie ahead.
        decoded = self._decoder.decode(values, np.full(len(values), LATEST_MS))
        positions = decoded.row_index + start
        rows = np.arange(len(positions))
        verdicts = self._repeats.judge(decoded, positions, rows)
        fresh = rows[verdicts == Verdict.NEW]
        places = Places(np.zeros_like(positions), positions, decoded.occurred_at_ms)
        refused: list[str | None] = [None] * len(values)
        for index, refusal in decoded.refused:
            refused[index] = refusal.refusal.value
        for row in rows[verdicts != Verdict.NEW].tolist():
            reused = verdicts[row] == Verdict.ID_REUSED
            refused[int(decoded.row_index[row])] = Refusal.ID_REUSED.value if reused else REPEAT
        legs = first_legs(decoded, places, fresh)
        followed = self._feedback.follow(self._memory, legs, self._scorer)
        return Stretch(start, followed, decoded.row_index[fresh], refused)
