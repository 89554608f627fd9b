"""Sends dead letters in again after a fix, each once.

A transaction goes back into `transactions`, into the partition where it was, so that the router
recognises it should it be sent in twice. A judgement that failed is made again, and its alert goes
to `stop-payment`. After either a marker is written into `dead-letter`, by which the next replay
knows.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from sluicegate.errors import Problem
from sluicegate.operations.dead_letter import (
    REPLAYED,
    DeadLetterTopic,
    Filters,
    Found,
    Letter,
    Progress,
)
from sluicegate.operations.post import Post
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.scoring import Scoring
from sluicegate.streaming.topics import Topics
from sluicegate.streaming.unjudged import JUDGEMENT_FAILED, judge_again

AT_ONCE: Final = 500
"""Dead letters that are sent in, acknowledged and marked together."""


@dataclass
class Replayed:
    """What a replay did."""

    transactions: int = 0
    judged: int = 0
    """Judgements made again, those that gave no alert included."""
    alerts: int = 0
    skipped: int = 0
    """Sent in again before."""
    refused: list[tuple[Letter, str]] = field(default_factory=list)
    """What could not be sent in, and why."""

    def sentence(self, *, dry: bool = False) -> str:
        """The result for people."""
        what = [
            f"{self.transactions:,} transactions {'would be ' if dry else ''}sent again",
            f"{self.judged:,} judgements {'would be ' if dry else ''}made again"
            + (f", {self.alerts:,} alerts" if not dry and self.judged else ""),
            f"{self.skipped:,} were replayed before",
            f"{len(self.refused):,} cannot be replayed",
        ]
        return "; ".join(what)


def replay(
    settings: Settings,
    bootstrap: str,
    filters: Filters,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Replayed:
    """Sends in again what is meant and was not yet; `progress` counts dead letters.

    Raises:
        Problem: an offset asked for is not there, or the broker does not take what is sent.
    """
    done = Replayed()
    with closing(DeadLetterTopic(settings, bootstrap)) as topic:
        found = topic.find(filters)
        _require_all(filters.offsets, found)
        transactions = Topics.of(settings).transactions
        wanted = set()
        for letter in found.letters:
            hindrance = _hindrance(letter, transactions)
            if letter.offset in found.replayed:
                done.skipped += 1
            elif hindrance:
                done.refused.append((letter, hindrance))
            else:
                wanted.add(letter.offset)
        if dry_run:
            judged = sum(
                one.reason == JUDGEMENT_FAILED for one in found.letters if one.offset in wanted
            )
            done.judged, done.transactions = judged, len(wanted) - judged
        elif wanted:
            _Replay(settings, bootstrap, done).run(topic.these(wanted, progress))
    return done


def _require_all(offsets: Iterable[int], found: Found) -> None:
    missing = sorted(set(offsets) - {letter.offset for letter in found.letters})
    if missing:
        raise Problem(
            f"no dead letter at {', '.join(map(str, missing))}",
            "or not one that the filters let through; nothing was sent",
            "`sluicegate dead-letter list` shows the positions",
        )


def _hindrance(letter: Letter, transactions: str) -> str:
    """Why this one cannot be sent in; empty if it can."""
    if letter.is_cut:
        length = int(letter.headers.get("length", 0))
        return f"of its {length:,} bytes only the first are here: the bank has to send it again"
    if letter.value is None:
        return "it has no value"
    source = letter.headers.get("source_topic")
    if letter.reason != JUDGEMENT_FAILED and source != transactions:
        return f"it came from {source or 'nowhere known'}, not from {transactions}"
    return ""


class _Replay:
    """Sends letters in, a few hundred at a time: first what they hold, then their markers."""

    def __init__(self, settings: Settings, bootstrap: str, done: Replayed) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._topics = Topics.of(settings)
        self._done = done
        self._post = Post(settings, bootstrap, "what is marked is not sent twice")

    @cached_property
    def _scoring(self) -> Scoring:
        """The set published last, compiled only if a judgement is to be made."""
        config = confluent_config(self._settings.broker, self._bootstrap)
        return ActiveSets(self._settings, config).latest()

    def run(self, letters: Iterable[Letter]) -> None:
        """Sends them all.

        Raises:
            Problem: the broker did not take something; what is marked is safe, the rest can be
                replayed again.
        """
        waiting: list[tuple[Letter, str]] = []
        for letter in letters:
            detail = self._send(letter)
            if detail:
                waiting.append((letter, detail))
            if len(waiting) == AT_ONCE:
                self._mark(waiting)
                waiting = []
        self._mark(waiting)

    def _send(self, letter: Letter) -> str:
        """Sends what it holds; gives what is to be noted, or nothing if it could not be."""
        if letter.reason == JUDGEMENT_FAILED:
            return self._judge(letter)
        count = self._post.partitions(self._topics.transactions)
        # Repeats are recognised within a partition, so it must not be left to chance.
        partition = int(letter.headers.get("source_partition") or 0) % count
        self._post.send(self._topics.transactions, partition, letter.key, letter.value)
        self._done.transactions += 1
        return f"sent again into partition {partition} of {self._topics.transactions}"

    def _judge(self, letter: Letter) -> str:
        try:
            alert = judge_again(self._scoring, letter.value or b"")
        except Problem as problem:
            self._done.refused.append((letter, str(problem)))
            return ""
        self._done.judged += 1
        if alert is None:
            return "judged again: no alert"
        self._done.alerts += 1
        partition = partition_of(alert.account, self._settings.topics.partitions)
        value = alert.model_dump_json().encode()
        self._post.send(self._topics.stop_payment, partition, alert.account.encode(), value)
        return f"judged again: alert {alert.id}"

    def _mark(self, letters: Iterable[tuple[Letter, str]]) -> None:
        self._post.flush()  # a crash after this only means that they are sent once more
        for letter, detail in letters:
            headers = {
                "reason": REPLAYED,
                "replayed_offset": str(letter.offset),
                "detail": detail,
            }
            self._post.send(self._topics.dead_letter, 0, None, None, headers)
        self._post.flush()
