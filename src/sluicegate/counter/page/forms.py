"""From what a teller typed to a check, and from a refusal to the field that it is about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.counter.contract import (
    ANSWER_LENGTH,
    MOST_ANSWERS,
    NOTE_LENGTH,
    OutcomeAsked,
    OutcomeKind,
    PayeeKind,
    Relation,
)
from sluicegate.counter.problems import ApiProblem

FIELDS: Final = (
    *("payer_account", "payee_account", "amount", "kind"),
    *("age", "relation", "purpose", "payee_kind", "broken"),
)
KINDS: Final = ("transfer", "cash_deposit", "cash_withdrawal")
AGES: Final = ("18", "60", "70", "80")
"""Lower bounds of the bands: what is kept as the age."""
RELATIONS: Final = tuple(Relation)
PAYEE_KINDS: Final = tuple(PayeeKind)
ANSWERS: Final = ("fine", "doubt", "none")

_WORDS_OF: Final = {
    "amount": "error_amount",
    "payer_account": "error_account",
    "payee_account": "error_account",
    "purpose": "error_purpose",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in the fields, and which of them are wrong (field to message)."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


def values_of(posted: Mapping[str, Any]) -> dict[str, str]:
    """The fields of the form as text, without spaces around."""
    return {name: str(posted.get(name, "")).strip() for name in FIELDS}


def check_of(values: Mapping[str, str]) -> dict[str, object]:
    """The check as the interface takes it; what was left empty is left out."""
    facts: dict[str, object] = {
        "relation": values["relation"],
        "purpose": values["purpose"],
        "payee_kind": values["payee_kind"],
    }
    customer: dict[str, object] = {name: each for name, each in facts.items() if each}
    if values["age"] in AGES:
        customer["age"] = int(values["age"])
    if values["broken"]:
        customer["deposit_broken_early"] = True
    # Tellers copy numbers with the separators of people.
    accounts = {
        name: re.sub(r"\s", "", values[name]) for name in ("payer_account", "payee_account")
    }
    asked: dict[str, object] = {name: each for name, each in accounts.items() if each}
    asked["amount"] = re.sub(r"[,，\s]", "", values["amount"])  # noqa: RUF001 - Chinese comma
    if values["kind"]:
        asked["kind"] = values["kind"]
    return {**asked, "customer": customer}


def errors_of(problem: ApiProblem) -> dict[str, str]:
    """Fields that the interface refused, with the name of the message for each."""
    names = [each["field"].removeprefix("customer.") for each in problem.errors or ()]
    return {name: _WORDS_OF.get(name, "error_contract") for name in names}


def outcome_of(posted: Mapping[str, Any]) -> OutcomeAsked | None:
    """How it ended with the answers to the questions; None if no outcome was chosen."""
    if posted.get("outcome") not in set(OutcomeKind):
        return None
    questions = {
        name.removeprefix("question_"): str(text)[:ANSWER_LENGTH]
        for name, text in posted.items()
        if name.startswith("question_")
    }
    answers = {
        text: str(posted.get(f"answer_{index}", "none"))[:ANSWER_LENGTH]
        for index, text in questions.items()
    }
    return OutcomeAsked(
        outcome=OutcomeKind(str(posted["outcome"])),
        note=str(posted.get("note", "")).replace("\0", "").strip()[:NOTE_LENGTH],
        answers=dict(list(answers.items())[:MOST_ANSWERS]),
    )
