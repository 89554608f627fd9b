"""Decided measures and core banking's answers: contracts of `measures`, `measures-acknowledged`."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from sluicegate.domain.alert import Moment
from sluicegate.domain.fields import DIALECT
from sluicegate.domain.law import Act, Basis, Document, Ground
from sluicegate.domain.measure import Measure

_CONTRACT: Final = ConfigDict(frozen=True, extra="ignore")
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
AccountText = Annotated[str, Field(min_length=1, max_length=34)]


class DecidedMeasure(BaseModel):
    """What core banking is to do; JSON on `measures`, keyed by account.

    The same id is the same order: one that comes again is to change nothing.
    """

    model_config = _CONTRACT
    id: Id
    account: AccountText
    act: Act
    measure: Measure
    of_id: Annotated[
        Id | None, Field(description="Of an extension or a release: the order that it changes.")
    ] = None
    amount_minor: Annotated[
        int | None,
        Field(gt=0, description="Of a limit or an amount freeze, in minor units; null: the whole."),
    ] = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    basis: Basis
    ground: Ground | None = None
    police_code: Annotated[
        str | None, Field(pattern="^[0-9]{4}$", description="Code of the police's message.")
    ] = None
    document_kind: Document | None = None
    document_number: str | None = None
    reason: Annotated[str, Field(description="What the customer is told.")]
    case_id: Id
    proposed_by: Annotated[str, Field(description="Name at the desk; `-` for the desk itself.")]
    approved_by: str | None = None
    decided_at: Moment
    expires_at: Annotated[Moment | None, Field(description="Null: until it is released.")] = None


class Answer(StrEnum):
    """What became of an order."""

    DONE = "done"
    FAILED = "failed"


class MeasureAnswer(BaseModel):
    """What core banking did; JSON on `measures-acknowledged`, keyed by account."""

    model_config = _CONTRACT
    id: Annotated[Id, Field(description="Of the order.")]
    answer: Answer
    answered_at: Moment
    code: Annotated[
        str | None,
        Field(pattern="^[0-9]{4}$", description="Of a police message: the code of the reply."),
    ] = None
    detail: Annotated[str, Field(max_length=500)] = ""
    held_minor: Annotated[
        int | None, Field(ge=0, description="How much is held, in minor units.")
    ] = None


def measure_schema() -> dict[str, Any]:
    """The JSON Schema of an order, as published in docs/schemas."""
    return DIALECT | DecidedMeasure.model_json_schema()


def answer_schema() -> dict[str, Any]:
    """The JSON Schema of an answer, as published in docs/schemas."""
    return DIALECT | MeasureAnswer.model_json_schema()
