"""The contract of the counter: what is asked, what is answered, and how a request is read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from sluicegate.counter.verdict import Verdict
from sluicegate.domain.alert import Moment, Reason, Side, json_moment
from sluicegate.domain.measure import Measure
from sluicegate.domain.message import JsonNumber
from sluicegate.domain.refusal import Refusal, Refused
from sluicegate.domain.transaction import (
    Channel,
    Rules,
    Transaction,
    transaction_of,
    transaction_schema,
)
from sluicegate.judging.patterns import Words

MOST_CHECKS: Final = 500
PURPOSE_LENGTH: Final = 200
NOTE_LENGTH: Final = 1_000
ANSWER_LENGTH: Final = 500
"""Of a question, and of what was answered."""
MOST_ANSWERS: Final = 50
_ASKED: Final = ConfigDict(frozen=True, extra="forbid")
_TOLD: Final = ConfigDict(frozen=True, extra="ignore")


def _text(longest: int) -> StringConstraints:
    # PostgreSQL stores no U+0000 in text.
    return StringConstraints(max_length=longest, pattern=r"^[^\x00]*$")


class Relation(StrEnum):
    """What the payee is to the customer, as the customer says."""

    SELF = "self"
    FAMILY = "family"
    FRIEND = "friend"
    BUSINESS = "business"
    MET_ONLINE = "met_online"
    STRANGER = "stranger"
    OTHER = "other"


class PayeeKind(StrEnum):
    """Whether the money goes to a person or to a company."""

    PERSON = "person"
    COMPANY = "company"


class CustomerFacts(BaseModel):
    """What the teller sees and the customer says; all of it may be left out."""

    model_config = _ASKED
    age: Annotated[int | None, Field(strict=True, ge=0, le=150)] = None
    relation: Relation | None = Field(default=None, description="Of the customer to the payee.")
    purpose: Annotated[str, _text(PURPOSE_LENGTH)] | None = None
    payee_kind: PayeeKind | None = None
    deposit_broken_early: Annotated[
        bool | None, Field(strict=True, description="A time deposit is broken to pay this.")
    ] = None


class OutcomeKind(StrEnum):
    """How it ended: a label for patterns and models."""

    PAID = "paid"
    REFUSED = "refused"
    REFERRED_TO_POLICE = "referred_to_police"
    CUSTOMER_PERSUADED = "customer_persuaded"


class OutcomeAsked(BaseModel):
    """How a check ended; several may follow each other, and none is ever changed."""

    model_config = _ASKED
    outcome: OutcomeKind
    note: Annotated[str, _text(NOTE_LENGTH)] = ""
    answers: Annotated[
        dict[Annotated[str, _text(ANSWER_LENGTH)], Annotated[str, _text(ANSWER_LENGTH)]],
        Field(
            default_factory=dict,
            max_length=MOST_ANSWERS,
            description="Question, and what was answered.",
        ),
    ]


class OutcomeTold(OutcomeAsked):
    """An outcome as it is kept."""

    at: Moment


class SideTold(BaseModel):
    """The judgement of one side."""

    model_config = _TOLD
    account: str
    side: Side
    score: Annotated[float, Field(ge=0, le=1)]
    measure: Measure
    reasons: tuple[Reason, ...]


class CheckTold(BaseModel):
    """The answer to a check."""

    model_config = _TOLD
    check_id: str
    transaction_id: str
    verdict: Verdict
    score: Annotated[float, Field(ge=0, le=1, description="The higher one of the sides.")]
    measure: Annotated[Measure, Field(description="Recommended for the side of that score.")]
    sides: tuple[SideTold, ...] = Field(description="Those that could be judged.")
    questions: tuple[Words, ...] = Field(description="To ask the customer.")
    say: tuple[Words, ...] = Field(description="Plain words to say to the customer.")
    next_step: Words
    desk_phone: str = Field(description="Of the liaison desk; empty if none is configured.")
    degraded: bool = Field(description="A side could not be judged: the policy answered.")
    degraded_because: tuple[str, ...] = Field(
        description="away, not_owner, restoring, lagging, deadline or failed."
    )
    pattern_set_version: str | None
    took_ms: float


class CheckKept(BaseModel):
    """A check as the audit has it: what was asked, what was answered, how it ended."""

    model_config = _TOLD
    at: Moment
    branch: str
    transaction: dict[str, Any]
    customer: CustomerFacts
    answer: CheckTold
    outcomes: tuple[OutcomeTold, ...]


@dataclass(frozen=True, slots=True)
class Intended:
    """A check that was asked for."""

    check_id: str
    transaction: Transaction
    customer: CustomerFacts
    digest: str
    """Of what was asked, so that a key for another question is noticed."""


def read_intended(
    fields: Mapping[str, object], *, check_id: str, now_ms: int, rules: Rules
) -> Intended | Refused:
    """A check from the fields of its JSON object; `id`, `occurred_at` and `channel` are optional.

    Numbers come as `JsonNumber`, so that an amount is never a float.
    """
    own = dict(fields)
    facts = own.pop("customer", None)
    _fill(own, "id", check_id)
    _fill(own, "occurred_at", json_moment(now_ms))
    _fill(own, "channel", Channel.COUNTER.value)
    transaction = transaction_of(own, now_ms, rules)
    if isinstance(transaction, Refused):
        return transaction
    customer = _customer(facts)
    if isinstance(customer, Refused):
        return customer
    return Intended(check_id, transaction, customer, _digest(fields))


def _fill(fields: dict[str, object], name: str, value: str) -> None:
    if fields.get(name) is None:
        fields[name] = value


def _customer(facts: object) -> CustomerFacts | Refused:
    try:
        return CustomerFacts.model_validate({} if facts is None else _plain(facts))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(("customer", *map(str, first["loc"])))
        return Refused(Refusal.WRONG_TYPE, field, first["msg"])


def _plain(value: object) -> object:
    """The value with its numbers as Python has them; only whole ones are asked for here."""
    match value:
        case JsonNumber(literal):
            return int(literal) if literal.lstrip("-").isdigit() else float(literal)
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def _digest(fields: Mapping[str, object]) -> str:
    text = json.dumps(_plain(dict(fields)), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_schema() -> dict[str, Any]:
    """The JSON Schema of a check: the transaction, with fewer fields required, and the facts."""
    schema = transaction_schema()
    del schema["$schema"]
    facts = CustomerFacts.model_json_schema(ref_template="#/components/schemas/{model}")
    facts.pop("$defs", None)
    schema["properties"]["customer"] = {"anyOf": [facts, {"type": "null"}]}
    for name in ("id", "occurred_at"):
        own = schema["properties"][name]
        schema["properties"][name] = {"anyOf": [own, {"type": "null"}], "description": _LEFT[name]}
    schema["required"] = ["amount"]
    schema["title"] = "Check"
    return schema


_LEFT: Final = {
    "id": "The id that the transaction will have, if it is known by now.",
    "occurred_at": "Left out: now.",
}
