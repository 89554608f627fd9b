"""Planted frauds against alerts: what was caught, what was missed, what was a false alarm."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from sluicegate.simulation.formats import Alert, Hashes, hash_ids


@dataclass
class _Story:
    scenario: str
    movements: int = 0
    transactions: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    begins_at_ms: int = 2**62


@dataclass(frozen=True, slots=True)
class Verdict:
    """Stories by scenario, and distinct alerts that touch none."""

    planted: dict[str, int]
    """Stories of which every transaction was sent."""
    caught: dict[str, int]
    """Those with an alert on one of their transactions, or later on one of their accounts."""
    missed: dict[str, int]
    false_alarms: int


class Verdicts:
    """Gathers the truth and the alerts."""

    def __init__(self, live_from_ms: int | None = None) -> None:
        self.live_from_ms = live_from_ms
        """Alerts recorded from then on count for the latency; None: all."""
        self.repeated = 0
        """Alerts that were there before."""
        self._alerts: dict[str, Alert] = {}
        self._delays_ms: dict[str, int] = {}
        self._stories: dict[str, _Story] = {}

    def __len__(self) -> int:
        return len(self._alerts)

    def add_truth(self, lines: Iterable[bytes]) -> None:
        """Planted transactions, JSON, one a line; `live_from_ms` may stand in a line of its own."""
        for line in lines:
            entry = json.loads(line)
            if "live_from_ms" in entry:
                self.live_from_ms = int(entry["live_from_ms"])
            if "id" not in entry:
                continue
            story = self._stories.setdefault(entry["story"], _Story(entry["scenario"]))
            story.transactions.add(entry["id"])
            story.movements = int(entry.get("movements", len(story.transactions)))
            story.begins_at_ms = min(story.begins_at_ms, int(entry.get("occurred_at_ms", 0)))
            sides = (entry.get("payer_account"), entry.get("payee_account"))
            story.accounts.update(account for account in sides if account)

    def add_alert(self, timestamp_ms: int, alert: Alert) -> None:
        """An alert with the time at which its record was written."""
        if alert.id in self._alerts:
            self.repeated += 1
            return
        self._alerts[alert.id] = alert
        self._delays_ms[alert.id] = timestamp_ms - alert.recorded_at_ms

    def judged(self, sent_among: Callable[[Hashes], set[int]]) -> Verdict:
        """The verdict; `sent_among` says which of some id hashes were sent."""
        planted = self._planted(sent_among)
        count_planted = Counter(self._stories[name].scenario for name in planted)
        count_caught = Counter(self._stories[name].scenario for name in planted & self._caught())
        kinds = sorted({story.scenario for story in self._stories.values()})
        return Verdict(
            planted={kind: count_planted[kind] for kind in kinds},
            caught={kind: count_caught[kind] for kind in kinds},
            missed={kind: count_planted[kind] - count_caught[kind] for kind in kinds},
            false_alarms=self._false_alarms(),
        )

    def latency_ms(self) -> dict[str, float | None]:
        """From the timestamp of the source record to that of the alert: quantiles, ms."""
        begin = self.live_from_ms or 0
        live = [name for name, alert in self._alerts.items() if alert.recorded_at_ms >= begin]
        quantiles = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
        if not live:
            return dict.fromkeys(quantiles)
        delays = [self._delays_ms[name] for name in live]
        return {name: round(float(np.percentile(delays, q)), 1) for name, q in quantiles.items()}

    def _planted(self, sent_among: Callable[[Hashes], set[int]]) -> set[str]:
        ids = [each for story in self._stories.values() for each in story.transactions]
        hashes = hash_ids(ids)
        sent = sent_among(hashes)
        unsent = {
            each for each, hashed in zip(ids, hashes.tolist(), strict=True) if hashed not in sent
        }
        return {
            name
            for name, story in self._stories.items()
            if len(story.transactions) == story.movements and unsent.isdisjoint(story.transactions)
        }

    def _caught(self) -> set[str]:
        alarmed = {alert.transaction for alert in self._alerts.values()}
        latest: dict[str, int] = {}
        for alert in self._alerts.values():
            known = latest.get(alert.account, alert.occurred_at_ms)
            latest[alert.account] = max(known, alert.occurred_at_ms)
        return {
            name
            for name, story in self._stories.items()
            if not alarmed.isdisjoint(story.transactions)
            or any(latest.get(each, -1) >= story.begins_at_ms for each in story.accounts)
        }

    def _false_alarms(self) -> int:
        stories = self._stories.values()
        planted = {each for story in stories for each in story.transactions}
        accounts = {each for story in stories for each in story.accounts}
        return sum(
            alert.transaction not in planted and alert.account not in accounts
            for alert in self._alerts.values()
        )
