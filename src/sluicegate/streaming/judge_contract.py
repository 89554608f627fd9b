"""What the counter asks a worker, and what the worker answers: JSON between two own processes."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluicegate.domain.alert import Reason, Side
from sluicegate.domain.fields import Account
from sluicegate.domain.measure import Measure
from sluicegate.domain.money import MAX_AMOUNT_MINOR
from sluicegate.domain.transaction import EARLIEST_MS, ID_LENGTH, LATEST_MS, Channel, Kind
from sluicegate.judging.patterns import Thresholds, Words
from sluicegate.memory.features import PROVENANCE_COUNT
from sluicegate.memory.row import FLAG_INVOLVED, FLAG_PUNISHED

MOST_LEGS: Final = 500
JUDGE_PATH: Final = "/v1/judge"
ACCOUNT_PATH: Final = "/v1/account"
STANDING_PATH: Final = "/v1/standing"

Provenance = Annotated[
    tuple[float | None, ...], Field(min_length=PROVENANCE_COUNT, max_length=PROVENANCE_COUNT)
]
"""What an arrival carries of its payer; null is NULL."""
_FROZEN: Final = ConfigDict(frozen=True, extra="ignore")


class IntendedLeg(BaseModel):
    """One side of a transaction that has not happened."""

    model_config = _FROZEN
    account: Account
    counterparty: Account | None
    side: Side
    amount_minor: Annotated[int, Field(gt=0, le=MAX_AMOUNT_MINOR)]
    occurred_at_ms: Annotated[int, Field(ge=EARLIEST_MS, lt=LATEST_MS)]
    transaction: Annotated[str, Field(min_length=1, max_length=ID_LENGTH)]
    channel: Channel
    kind: Kind
    provenance: Provenance | None = None
    """Of an inflow, as the judgement of its outflow gave it; null: cash, or not judged."""
    flags: Annotated[int, Field(ge=0, le=FLAG_INVOLVED | FLAG_PUNISHED)] = 0
    """What directives say of the counterparty, as its own judgement told."""


class Question(BaseModel):
    """The legs to judge, of accounts of any partitions."""

    model_config = _FROZEN
    legs: Annotated[tuple[IntendedLeg, ...], Field(min_length=1, max_length=MOST_LEGS)]


class AccountQuestion(BaseModel):
    """Whose memory is to be shown; the number is in no path and so in no log."""

    model_config = _FROZEN
    account: Account


class Standing(BaseModel):
    """How far a partition is: the state that judged is that of the log up to `applied`."""

    model_config = _FROZEN
    applied: int
    lag_ms: int
    """How old the last applied message is while more wait; 0 at the end of the log."""
    accounts: int


class JudgedLeg(BaseModel):
    """The judgement of one leg."""

    model_config = _FROZEN
    partition: int
    score: Annotated[float, Field(ge=0, le=1)]
    measure: Measure
    reasons: tuple[Reason, ...]
    questions: tuple[Words, ...]
    facts: dict[str, float]
    pair_new: float | None
    """1: this account and its counterparty have no history; null for cash."""
    provenance: Provenance
    flags: int
    """What directives say of this account, for the leg of the other side."""
    arrival: "JudgedLeg | None" = None
    """Of an outflow: the judgement of the arrival that would follow, where this worker owns the
    payee's account too."""


class NotJudged(BaseModel):
    """Why this worker judges the leg not."""

    model_config = _FROZEN
    partition: int
    why: Literal["not_owner", "restoring", "failed"]


class Standings(BaseModel):
    """Who answers, and how far the partitions that it holds are."""

    model_config = _FROZEN
    slot: str
    pattern_set_version: str
    thresholds: Thresholds
    """Of that set: from which score on each measure is recommended."""
    partitions: dict[int, Standing]


class Judgements(Standings):
    """A judgement, or why there is none, for each leg in order."""

    judged: tuple[JudgedLeg | NotJudged, ...]
