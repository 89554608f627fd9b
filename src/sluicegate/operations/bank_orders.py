"""What the demo and its bank say to each other, a JSON object a line."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

GO_LIVE: Final = "live\n"
"""To the bank: the present shall begin."""


@dataclass(frozen=True)
class Orders:
    """To the bank, first: what it shall send."""

    seed: int
    history: int
    rate: float
    truth: str

    def line(self) -> str:
        """As it is said."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Self:
        """As it is understood."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Told:
    """From the bank, now and then: what it has done so far."""

    sent: int = 0
    history_done: bool = False
    live_from_ms: int | None = None

    def line(self) -> str:
        """As it is said."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Self:
        """As it is understood."""
        return cls(**json.loads(line))
