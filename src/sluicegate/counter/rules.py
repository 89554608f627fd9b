"""What the counter decides beside the patterns: rules over what the customer says, and policies.

Declared in config/counter.toml. A rule is a condition over customer facts and two judged features
(the amount, and whether the payee was ever paid before); its strength joins the payer's score.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluicegate.counter.contract import CustomerFacts, PayeeKind, Relation
from sluicegate.counter.verdict import Verdict
from sluicegate.domain.alert import Reason
from sluicegate.domain.money import MINOR_PER_MAJOR
from sluicegate.domain.transaction import Channel, Transaction
from sluicegate.errors import Problem
from sluicegate.judging.declared import read_declared
from sluicegate.judging.patterns import Questions, Text, Words
from sluicegate.judging.templates import Template, parse_template

_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)
_TOLD: Final = frozenset({"amount"})
"""Features that a reason of a rule can name."""


class Rule(BaseModel):
    """A rule as it is declared; a condition that is left out holds for everybody."""

    model_config = _STRICT
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    title: Words
    least_age: Annotated[int | None, Field(ge=0, le=150)] = None
    least_amount: Annotated[float | None, Field(gt=0)] = None
    """In major units."""
    payee_is_new: bool | None = None
    """The payer has never dealt with the payee, as far as is remembered."""
    payee_is_company: bool | None = None
    deposit_broken_early: bool | None = None
    strength: Annotated[float, Field(gt=0, lt=1)]
    reason: Words
    questions: Questions = Questions()
    say: Questions = Questions()
    """Plain words for the customer, sentence by sentence."""
    source: Text

    @model_validator(mode="after")
    def _says_only_what_is_known(self) -> "Rule":
        conditions = ("least_age", "least_amount", "payee_is_new", "payee_is_company")
        if all(getattr(self, name) is None for name in (*conditions, "deposit_broken_early")):
            raise ValueError("has no condition: it would hold for every check")
        unknown = (self.templates["zh"].features | self.templates["en"].features) - _TOLD
        if unknown:
            raise ValueError(f'the reason can tell "amount", not "{min(unknown)}"')
        return self

    @cached_property
    def templates(self) -> Mapping[str, Template]:
        """The reason in Chinese and English."""
        try:
            return {
                "zh": parse_template(self.reason.zh, "zh"),
                "en": parse_template(self.reason.en, "en"),
            }
        except Problem as problem:
            raise ValueError(str(problem)) from problem

    def reason_for(self, amount_minor: int) -> Reason:
        """The reason in words, as an alert carries it."""

        def amount(_: int) -> float:
            return amount_minor / MINOR_PER_MAJOR

        return Reason(
            pattern=self.name,
            strength=self.strength,
            zh=self.templates["zh"].fill(amount),
            en=self.templates["en"].fill(amount),
        )


class RuleFile(BaseModel):
    """The whole of config/counter.toml."""

    model_config = _STRICT
    when_not_judged: dict[
        Annotated[Channel, Field(strict=False)], Annotated[Verdict, Field(strict=False)]
    ] = {}
    """The verdict by channel while a side cannot be judged; `verify` for those not named."""
    questions: Questions
    """Asked when there is something to verify and no reason has questions of its own."""
    next_steps: dict[Annotated[Verdict, Field(strict=False)], Words]
    """What the teller does next, by verdict."""
    rule: list[Rule] = []

    @model_validator(mode="after")
    def _is_whole(self) -> "RuleFile":
        silent = [channel for channel, each in self.when_not_judged.items() if not _is_heard(each)]
        if silent:
            raise ValueError(f"when_not_judged.{silent[0]} must not be allow: nobody would know")
        if missing := [each for each in Verdict if each not in self.next_steps]:
            raise ValueError(f"next_steps.{missing[0]} is missing")
        names = [rule.name for rule in self.rule]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f'rule "{min(twice)}": the name is used twice')
        return self

    def verdict_for(self, channel: Channel) -> Verdict:
        """What is answered on a channel while a side cannot be judged."""
        return self.when_not_judged.get(channel, Verdict.VERIFY)


_ENTRIES: Final = frozenset[str]().union(
    *(model.model_fields for model in (RuleFile, Rule, Words, Questions))
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the facts of a customer add to a check."""

    rules: tuple[Rule, ...]
    reasons: tuple[Reason, ...]
    facts: Mapping[str, float]
    """The features behind the reasons."""

    @property
    def questions(self) -> tuple[Words, ...]:
        """The questions of the rules that hold."""
        return pairs(rule.questions for rule in self.rules)

    @property
    def words(self) -> tuple[Words, ...]:
        """What the teller can say to the customer."""
        return pairs(rule.say for rule in self.rules)

    def joined(self, score: float) -> float:
        """The score with the strengths of the reasons."""
        if not self.reasons:
            return score
        return 1 - (1 - score) * prod(1 - reason.strength for reason in self.reasons)


def load_rules(path: Path) -> RuleFile:
    """Reads and checks the file of rules.

    Raises:
        Problem: names the file, and the entry that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            f"{path}: cannot be read", str(error), "counter.rules_file names the file"
        ) from error
    return read_declared(RuleFile, text, str(path), table="rule", entries=_ENTRIES)


def said_by(
    rules: RuleFile, transaction: Transaction, customer: CustomerFacts, pair_new: float | None
) -> Said:
    """The rules that hold; `pair_new` is as judged, None where nobody could say."""
    new = _is_new_payee(transaction, customer, pair_new)
    holding = tuple(rule for rule in rules.rule if _holds(rule, transaction, customer, new=new))
    reasons = tuple(rule.reason_for(transaction.amount_minor) for rule in holding)
    facts = {"amount": transaction.amount_minor / MINOR_PER_MAJOR} if holding else {}
    return Said(holding, reasons, facts)


def pairs(said: Iterable[Questions]) -> tuple[Words, ...]:
    """Sentences in both languages, each once."""
    both = (pair for each in said for pair in zip(each.zh, each.en, strict=True))
    return tuple(Words(zh=zh, en=en) for zh, en in dict.fromkeys(both))


def _is_new_payee(
    transaction: Transaction, customer: CustomerFacts, pair_new: float | None
) -> bool:
    """Where nothing is known of the pair, a payee counts as new.

    Cash paid in has no payer to remember; into the customer's own account it is nothing new.
    """
    if transaction.payee_account is None:
        return False
    if transaction.payer_account is None and customer.relation is Relation.SELF:
        return False
    return pair_new is None or pair_new == 1.0


def _holds(rule: Rule, transaction: Transaction, customer: CustomerFacts, *, new: bool) -> bool:
    company = None if customer.payee_kind is None else customer.payee_kind is PayeeKind.COMPANY
    amount = transaction.amount_minor / MINOR_PER_MAJOR
    return (
        (rule.least_age is None or (customer.age is not None and customer.age >= rule.least_age))
        and (rule.least_amount is None or amount >= rule.least_amount)
        and rule.payee_is_new in (None, new)
        and rule.payee_is_company in (None, company)
        and rule.deposit_broken_early in (None, customer.deposit_broken_early)
    )


def _is_heard(verdict: Verdict) -> bool:
    return verdict is not Verdict.ALLOW
