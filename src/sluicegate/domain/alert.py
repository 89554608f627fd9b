"""The alert: the contract of the `stop-payment` topic, keyed by account."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final, Literal, TypedDict

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from sluicegate.domain.measure import Measure

Side = Literal["outflow", "inflow"]
Origin = Literal["stream", "counter"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# An alert has three moments, and those of one message the same ones again: a look-up is a tenth.
@lru_cache(maxsize=1024)
def moment_of(at_ms: int) -> datetime:
    """The UTC time of milliseconds since the epoch, without a detour over floats."""
    return _EPOCH + timedelta(milliseconds=at_ms)


@lru_cache(maxsize=1024)
def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: 2026-03-01T10:02:00.000Z."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    # strftime leaves out the leading zeros of early years on some systems; isoformat does not.
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def json_moment(at_ms: int) -> str:
    """RFC 3339 in UTC of milliseconds since the epoch."""
    return moment_text(moment_of(at_ms))


def alert_id(transaction_id: str, account: str, side: Side) -> str:
    """32 hex digits that are the same whenever and wherever the leg is judged again."""
    # No field can hold a NUL, so different triples never give the same text.
    text = f"{transaction_id}\0{account}\0{side}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


Moment = Annotated[
    AwareDatetime,
    PlainSerializer(moment_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_CONTRACT: Final = ConfigDict(frozen=True, extra="ignore")


class Reason(BaseModel):
    """A pattern that fired: its strength and its sentence in Chinese and English."""

    model_config = _CONTRACT
    pattern: Annotated[str, Field(min_length=1, description="Name of the pattern.")]
    strength: Annotated[Share, Field(description="What it adds: score = 1 - prod(1 - strength).")]
    zh: str
    en: str


class Alert(BaseModel):
    """A judgement at or above the alert threshold; JSON on `stop-payment`, keyed by account.

    Fields that a later version adds are ignored by an earlier reader.
    """

    model_config = _CONTRACT
    id: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{32}$",
            description="BLAKE2b-128 of transaction id, account and side: a repeat has it again.",
        ),
    ]
    transaction_id: Annotated[str, Field(min_length=1, max_length=64)]
    account: Annotated[str, Field(min_length=1, max_length=34)]
    side: Annotated[
        Side, Field(description="outflow: the account pays; inflow: it is paid, both sides known.")
    ]
    counterparty: Annotated[
        str | None, Field(max_length=34, description="The other account; null for cash.")
    ]
    amount_minor: Annotated[int, Field(gt=0, description="Amount in minor units (fen).")]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    score: Annotated[Share, Field(description="1 - prod(1 - strength) over the reasons.")]
    measure: Annotated[Measure, Field(description="The recommended measure, not a decision.")]
    reasons: Annotated[tuple[Reason, ...], Field(description="Strongest first.")]
    facts: Annotated[
        dict[str, Finite],
        Field(description="Values of the features behind the reasons; NULLs are left out."),
    ]
    occurred_at: Annotated[Moment, Field(description="When the bank says the money moved.")]
    recorded_at: Annotated[Moment, Field(description="Kafka timestamp of the source record.")]
    detected_at: Annotated[Moment, Field(description="Kafka timestamp of the judged leg.")]
    pattern_set_version: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    model_version: Annotated[
        str | None,
        Field(pattern="^[0-9a-f]{16}$", description="Of the fitted model; null without one."),
    ] = None
    origin: Origin


class ReasonFields(TypedDict):
    """A `Reason` as it stands in JSON."""

    pattern: str
    strength: float
    zh: str
    en: str


class AlertFields(TypedDict):
    """An `Alert` as it stands in JSON.

    A worker in a backlog writes thousands a second, and making models of them would take most of
    the time: whoever reads them has them checked.
    """

    id: str
    transaction_id: str
    account: str
    side: Side
    counterparty: str | None
    amount_minor: int
    currency: str
    score: float
    measure: Measure
    reasons: list[ReasonFields]
    facts: dict[str, float]
    occurred_at: str
    recorded_at: str
    detected_at: str
    pattern_set_version: str
    model_version: str | None
    origin: Origin
