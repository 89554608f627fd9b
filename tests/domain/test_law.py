"""The law of the ladder, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.domain.law import (
    Act,
    Basis,
    Breach,
    Document,
    Ground,
    Held,
    Proposal,
    breaches,
    ends_at,
    may_decide,
    needs_two,
    police_code,
    reply_code,
)
from sluicegate.domain.measure import Measure

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
STOPPED = Held("s1", Measure.STOP_PAYMENT, is_in_force=True, expires_at=NOW + timedelta(hours=3))
FROZEN = Held("f1", Measure.FREEZE, is_in_force=True, expires_at=NOW + timedelta(days=9))
LIMITED = Held("l1", Measure.LIMIT, is_in_force=True)
OVER = Held("o1", Measure.STOP_PAYMENT, is_in_force=False)


def proposal(measure: Measure, act: Act = Act.IMPOSE, **changes: object) -> Proposal:
    """One that the law has nothing against, but for `changes`."""
    papers = {
        Measure.STOP_PAYMENT: Document.STOP_PAYMENT,
        Measure.FREEZE: Document.FREEZE,
    }.get(measure)
    hours = {Measure.STOP_PAYMENT: 48, Measure.FREEZE: 4_000, Measure.DELAY: 24}.get(measure)
    usual: dict[str, object] = {
        "act": act,
        "measure": measure,
        "basis": Basis.POLICE if papers else Basis.BANK,
        "reason": "涉嫌电信诈骗转移资金",
        "hours": None if act is Act.RELEASE else hours,
        "amount_minor": 5_000_000 if measure in (Measure.FREEZE, Measure.LIMIT) else None,
        "document": papers,
        "document_number": "苏公止2026-118号" if papers else "",
        "has_file": papers is not None,
        "ground": Ground.CLEARED if act is Act.RELEASE else None,
        "of_id": {Measure.STOP_PAYMENT: "s1", Measure.FREEZE: "f1", Measure.LIMIT: "l1"}.get(
            measure
        ),
    }
    return Proposal(**{**usual, **changes})  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("measure", [each for each in Measure if each is not Measure.NONE])
def test_each_step_of_the_ladder_can_be_taken_lawfully(measure: Measure) -> None:
    assert breaches(proposal(measure), []) == []


def test_a_step_that_is_none_is_no_measure() -> None:
    assert breaches(proposal(Measure.NONE), []) == [Breach.NOT_A_MEASURE]


STOP, FREEZE = Measure.STOP_PAYMENT, Measure.FREEZE


@pytest.mark.parametrize(
    ("asked", "held", "found"),
    [
        # Reason, for everybody.
        (proposal(Measure.WATCH, reason=" 无 "), [], [Breach.REASON_MISSING]),
        # Stop-payment: 48 hours, twice, police or emergency.
        (proposal(STOP, hours=49), [], [Breach.TOO_LONG]),
        (proposal(STOP, hours=0), [], [Breach.TOO_LONG]),
        (proposal(STOP, hours=None), [], [Breach.HOURS_MISSING]),
        (proposal(STOP), [OVER], []),
        (proposal(STOP), [OVER, OVER], [Breach.STOPPED_TWICE]),
        (proposal(STOP), [Held("o", STOP, is_in_force=False, stops=2)], [Breach.STOPPED_TWICE]),
        (proposal(STOP), [STOPPED], [Breach.ALREADY_HOLDS]),
        (proposal(STOP, basis=Basis.BANK), [], [Breach.BASIS_WRONG]),
        (proposal(STOP, has_file=False), [], [Breach.DOCUMENT_MISSING]),
        (proposal(STOP, document_number=" "), [], [Breach.DOCUMENT_MISSING]),
        (proposal(STOP, document=Document.QUERY), [], [Breach.DOCUMENT_WRONG]),
        (proposal(STOP, basis=Basis.EMERGENCY, document=None, has_file=False), [], []),
        # Its extension is the second; there is no third.
        (proposal(STOP, Act.EXTEND), [STOPPED], []),
        (proposal(STOP, Act.EXTEND), [OVER, STOPPED], [Breach.STOPPED_TWICE]),
        (proposal(STOP, Act.EXTEND), [OVER], [Breach.NOTHING_TO_CHANGE]),
        (proposal(STOP, Act.EXTEND, hours=72), [STOPPED], [Breach.TOO_LONG]),
        (proposal(STOP, Act.EXTEND, basis=Basis.EMERGENCY), [STOPPED], [Breach.BASIS_WRONG]),
        (proposal(STOP, Act.RELEASE), [STOPPED], []),
        (proposal(STOP, Act.RELEASE, document=None), [STOPPED], []),
        (proposal(STOP, Act.RELEASE, ground=None), [STOPPED], [Breach.GROUND_MISSING]),
        (proposal(STOP, Act.RELEASE), [LIMITED], [Breach.NOTHING_TO_CHANGE]),
        # Freeze: of the police, with document, an amount before the whole.
        (proposal(FREEZE, basis=Basis.BANK), [], [Breach.BASIS_WRONG]),
        (proposal(FREEZE, basis=Basis.EMERGENCY), [], [Breach.BASIS_WRONG]),
        (proposal(FREEZE, has_file=False), [], [Breach.DOCUMENT_MISSING]),
        (proposal(FREEZE, document=Document.STOP_PAYMENT), [], [Breach.DOCUMENT_WRONG]),
        (proposal(FREEZE, amount_minor=None), [], [Breach.AMOUNT_PREFERRED]),
        (proposal(FREEZE, amount_minor=None, whole_because="专户专用资金不明"), [], []),
        (proposal(FREEZE, hours=183 * 24 + 1), [], [Breach.TOO_LONG]),
        (proposal(FREEZE, Act.EXTEND), [FROZEN], []),
        (proposal(FREEZE, Act.EXTEND), [FROZEN, OVER, OVER], []),
        (proposal(FREEZE, Act.RELEASE), [FROZEN], []),
        (
            proposal(FREEZE, Act.RELEASE, basis=Basis.BANK, document=None),
            [FROZEN],
            [Breach.BASIS_WRONG, Breach.DOCUMENT_MISSING],
        ),
        # The rest.
        (proposal(Measure.LIMIT, amount_minor=None), [], [Breach.AMOUNT_MISSING]),
        (proposal(Measure.LIMIT), [LIMITED], [Breach.ALREADY_HOLDS]),
        (
            proposal(Measure.LIMIT),
            [Held("l2", Measure.LIMIT, is_in_force=False, is_proposed=True)],
            [Breach.ALREADY_HOLDS],
        ),
        (proposal(Measure.LIMIT, Act.EXTEND), [LIMITED], [Breach.NOT_EXTENDABLE]),
        (proposal(Measure.LIMIT, Act.RELEASE, ground=Ground.ERROR), [LIMITED], []),
        (proposal(Measure.DELAY, hours=25), [], [Breach.TOO_LONG]),
        (proposal(Measure.RECEIVE_ONLY), [STOPPED, LIMITED], []),
    ],
)
def test_what_the_law_has_against_it(
    asked: Proposal, held: list[Held], found: list[Breach]
) -> None:
    assert breaches(asked, held) == found


def test_two_people_from_receive_only_on_and_never_the_same_one() -> None:
    two = {each for each in Measure if needs_two(each)}
    assert two == {Measure.RECEIVE_ONLY, Measure.FREEZE_BOTH, STOP, FREEZE}
    assert may_decide(1, 2)
    assert not may_decide(1, 1)


def test_a_stop_payment_ends_after_its_hours_and_an_extension_goes_on_from_there() -> None:
    assert ends_at(proposal(STOP), [], NOW) == NOW + timedelta(hours=48)
    extended = ends_at(proposal(STOP, Act.EXTEND), [STOPPED], NOW)
    assert extended == NOW + timedelta(hours=3 + 48)
    assert ends_at(proposal(Measure.LIMIT), [], NOW) is None


@pytest.mark.parametrize(
    ("measure", "act", "request_code", "reply"),
    [
        (STOP, Act.IMPOSE, "0101", "0102"),
        (STOP, Act.RELEASE, "0103", "0104"),
        (STOP, Act.EXTEND, "0105", "0106"),
        (FREEZE, Act.IMPOSE, "0201", "0202"),
        (FREEZE, Act.RELEASE, "0203", "0204"),
        (FREEZE, Act.EXTEND, "0205", "0206"),
        (Measure.WATCH, Act.IMPOSE, "0305", "0306"),
        (Measure.WATCH, Act.RELEASE, "0307", "0308"),
    ],
)
def test_messages_of_the_police_have_their_codes(
    measure: Measure, act: Act, request_code: str, reply: str
) -> None:
    assert police_code(measure, act, Basis.POLICE) == request_code
    assert reply_code(request_code) == reply


def test_what_is_the_banks_own_has_no_code_of_the_police() -> None:
    assert police_code(Measure.WATCH, Act.IMPOSE, Basis.BANK) is None
    assert police_code(Measure.LIMIT, Act.IMPOSE, Basis.POLICE) is None
