"""Rules over customer facts, each edge of the shipped ones, and mistakes in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.counter.counter import ROOT

from sluicegate.counter.contract import CustomerFacts, PayeeKind, Relation
from sluicegate.counter.rules import RuleFile, load_rules, said_by
from sluicegate.counter.verdict import Verdict
from sluicegate.domain.transaction import Channel, Rules, Transaction, transaction_of
from sluicegate.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = ROOT / "config" / "counter.toml"
NOW_MS = 1_772_942_400_000


@pytest.fixture(scope="module")
def rules() -> RuleFile:
    return load_rules(SHIPPED)


def paying(amount: str, payer: str | None = "A", payee: str | None = "B") -> Transaction:
    fields = {
        "id": "T",
        "occurred_at": "2026-03-08T04:00:00Z",
        "amount": amount,
        "payer_account": payer,
        "payee_account": payee,
    }
    made = transaction_of(fields, NOW_MS, Rules())
    assert isinstance(made, Transaction)
    return made


@pytest.mark.parametrize(
    ("age", "amount", "pair_new", "fires"),
    [
        (60, "50000.00", 1.0, True),
        (59, "50000.00", 1.0, False),
        (None, "50000.00", 1.0, False),
        (60, "49999.99", 1.0, False),
        (60, "50000.00", 0.0, False),
        (88, "900000", None, True),  # nobody could say: prudently new
    ],
)
def test_elderly_new_payee(
    rules: RuleFile, age: int | None, amount: str, pair_new: float | None, *, fires: bool
) -> None:
    said = said_by(rules, paying(amount), CustomerFacts(age=age), pair_new)
    assert [rule.name for rule in said.rules] == ["elderly-new-payee"] * fires
    assert bool(said.words) == fires


@pytest.mark.parametrize(
    ("facts", "fires"),
    [
        ({}, True),
        ({"deposit_broken_early": False}, False),
        ({"deposit_broken_early": None}, False),
        ({"payee_kind": PayeeKind.PERSON}, False),
        ({"payee_kind": None}, False),
        ({"age": 59}, False),
    ],
)
def test_elderly_broken_deposit(rules: RuleFile, facts: dict[str, object], *, fires: bool) -> None:
    whole = {"age": 60, "payee_kind": PayeeKind.COMPANY, "deposit_broken_early": True, **facts}
    said = said_by(rules, paying("10.00"), CustomerFacts.model_validate(whole), 1.0)
    assert [rule.name for rule in said.rules] == ["elderly-broken-deposit"] * fires


def test_both_together_are_referred_and_each_alone_is_verified(rules: RuleFile) -> None:
    """By the shipped thresholds: verify from 0.5, limit, which is referred, from 0.75."""
    alone = said_by(rules, paying("50000"), CustomerFacts(age=60), 1.0)
    assert 0.5 <= alone.joined(0.0) < 0.75
    facts = CustomerFacts(age=60, payee_kind=PayeeKind.COMPANY, deposit_broken_early=True)
    assert said_by(rules, paying("50000"), facts, 1.0).joined(0.0) >= 0.75
    assert 0.5 <= said_by(rules, paying("5000"), facts, 1.0).joined(0.0) < 0.75


def test_cash_is_new_only_where_it_goes_to_somebody_else(rules: RuleFile) -> None:
    own = CustomerFacts(age=70, relation=Relation.SELF)
    stranger = CustomerFacts(age=70, relation=Relation.MET_ONLINE)
    paid_in, drawn = paying("60000", payer=None), paying("60000", payee=None)
    assert not said_by(rules, paid_in, own, None).rules
    assert said_by(rules, paid_in, stranger, None).rules
    assert not said_by(rules, drawn, stranger, None).rules


def test_a_reason_tells_the_amount_in_both_languages(rules: RuleFile) -> None:
    (reason,) = said_by(rules, paying("98000"), CustomerFacts(age=67), 1.0).reasons
    assert "98,000.00" in reason.zh
    assert "98,000.00" in reason.en


def test_a_channel_that_is_not_named_is_verified(rules: RuleFile) -> None:
    assert rules.verdict_for(Channel.COUNTER) is Verdict.VERIFY
    assert Channel.POS not in rules.when_not_judged
    assert rules.verdict_for(Channel.POS) is Verdict.VERIFY


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        ('counter = "verify"', 'counter = "allow"', "when_not_judged.counter must not be allow"),
        ("least_age = 60", "leest_age = 60", 'rule "elderly-new-payee": unknown entry "leest_age"'),
        ("strength = 0.5", "strength = 1.5", 'rule "elderly-new-payee": strength: Input should'),
        ("{amount:money}", "{inflow_24h:money}", 'can tell "amount", not "inflow_24h"'),
        ("{amount:money}", "{amnt:money}", 'unknown feature "amnt"'),
        ('name = "elderly-broken-deposit"', 'name = "elderly-new-payee"', "used twice"),
        ("[next_steps.refer]", "[next_steps.pay]", "next_steps"),
        ("[questions]", "[questions", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_names_itself(tmp_path: Path, old: str, new: str, fact: str) -> None:
    file = tmp_path / "counter.toml"
    text = SHIPPED.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(Problem) as caught:
        load_rules(file)
    assert str(file) in str(caught.value)
    assert fact in str(caught.value)
