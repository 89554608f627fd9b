"""A small town's payments: everyday ones, and mules who pass stolen money on within minutes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

PEOPLE = 120
STEP_MS = 30_000
STORY_EVERY = 20


@dataclass
class Town:
    """Makes transactions in the order of their times; the same seed makes the same ones."""

    seed: int
    at_ms: int
    """Time of the next transaction."""
    step_ms: int = STEP_MS
    made: int = 0
    _due: list[tuple[str, str | None, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def transactions(self, count: int) -> list[bytes]:
        """The next ones, as the bank writes them."""
        return [self._next() for _ in range(count)]

    def _next(self) -> bytes:
        if self.made % STORY_EVERY == STORY_EVERY - 5:
            self._due += self._story()
        payer, payee, minor = self._due.pop(0) if self._due else self._everyday()
        return self._written(payer, payee, minor)

    def _everyday(self) -> tuple[str | None, str | None, int]:
        payer, payee = self._random.sample(range(PEOPLE), 2)
        minor = round(self._random.lognormvariate(8.5, 1.2))
        cash = self._random.randrange(12)
        return (
            None if cash == 0 else f"622202{payer:013}",
            None if cash == 1 else f"622202{payee:013}",
            max(1, minor),
        )

    def _story(self) -> list[tuple[str, str | None, int]]:
        return self._collected() if self.made % (3 * STORY_EVERY) < STORY_EVERY else self._passed()

    def _collected(self) -> list[tuple[str, str | None, int]]:
        """Eight strangers pay one account of whom nobody has heard, which sends it all on."""
        victims = self._random.sample(range(PEOPLE), 8)
        mule = f"621700{self.made:06}9"
        paid = [
            (f"622202{victim:013}", mule, self._random.randrange(6_000_00, 9_000_00, 100_00))
            for victim in victims
        ]
        total = sum(minor for _, _, minor in paid)
        return [*paid, (mule, f"621700{self.made:06}8", total - 500_00)]

    def _passed(self) -> list[tuple[str, str | None, int]]:
        """A victim pays, three mules pass it on, less a commission; the last one draws it."""
        victim = f"622202{self._random.randrange(PEOPLE):013}"
        mules = [f"621700{self.made:06}{hop}" for hop in range(3)]
        minor = self._random.randrange(20_000_00, 90_000_00, 100_00)
        ways = zip([victim, *mules], [*mules, None], strict=True)
        return [
            (payer, payee, minor * (100 - hop) // 100) for hop, (payer, payee) in enumerate(ways)
        ]

    def _written(self, payer: str | None, payee: str | None, minor: int) -> bytes:
        moment = datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        self.at_ms += self.step_ms
        self.made += 1
        transaction = {
            "id": f"T{self.seed}-{self.made}",
            "occurred_at": moment,
            "amount": f"{minor // 100}.{minor % 100:02}",
            "payer_account": payer,
            "payee_account": payee,
            "channel": "mobile",
        }
        return json.dumps(transaction).encode()
