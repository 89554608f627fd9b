"""The law of the ladder: which measure may be taken on an account, by whom, for how long.

Sources: Yinfa 2016 no. 86 (stop-payment: 48 hours, at most twice for an account, on request of
the police or in an emergency), Yinfa 2016 no. 261, the Anti-Telecom-Fraud Law of 2022 (reason and
appeal for everybody who is limited). All are functions of values: `now` comes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sluicegate.domain.measure import Measure

STOP_HOURS: Final = 48
MOST_STOPS: Final = 2
"""Stop-payments of one account, an extension counted as another."""
DELAY_HOURS: Final = 24
FREEZE_HOURS: Final = 183 * 24
"""Six months; a freeze that is to last longer is extended, with a new document."""
LEAST_REASON: Final = 4
"""Characters: every limited customer is told why."""
TWO_PEOPLE_FROM: Final = Measure.RECEIVE_ONLY


class Act(StrEnum):
    """What is done with a measure."""

    IMPOSE = "impose"
    EXTEND = "extend"
    RELEASE = "release"


class Basis(StrEnum):
    """On whose word."""

    BANK = "bank"
    """The bank's own control of risk."""
    POLICE = "police"
    EMERGENCY = "emergency"
    """The bank's, because the police cannot be waited for."""


class Ground(StrEnum):
    """Why a measure is released."""

    CLEARED = "cleared"
    APPEAL = "appeal"
    """The customer was heard, and was right."""
    ERROR = "error"
    """It should not have been."""
    POLICE = "police"
    EXPIRED = "expired"
    """It ran out, and nobody decided anything: no person gives this one."""


class Document(StrEnum):
    """Attachment codes of the police's messages."""

    POLICE_ID = "01"
    FREEZE = "02"
    STOP_PAYMENT = "03"
    IDENTITY_CARD = "04"
    QUERY = "05"


class Breach(StrEnum):
    """Why a measure may not be taken so."""

    NOT_A_MEASURE = "not_a_measure"
    REASON_MISSING = "reason_missing"
    GROUND_MISSING = "ground_missing"
    HOURS_MISSING = "hours_missing"
    TOO_LONG = "too_long"
    STOPPED_TWICE = "stopped_twice"
    BASIS_WRONG = "basis_wrong"
    DOCUMENT_MISSING = "document_missing"
    DOCUMENT_WRONG = "document_wrong"
    AMOUNT_MISSING = "amount_missing"
    AMOUNT_PREFERRED = "amount_preferred"
    ALREADY_HOLDS = "already_holds"
    NOTHING_TO_CHANGE = "nothing_to_change"
    NOT_EXTENDABLE = "not_extendable"


@dataclass(frozen=True, slots=True)
class Held:
    """A measure of the account, as it was imposed; `stops` counts it and its extensions."""

    id: str
    measure: Measure
    is_in_force: bool
    is_proposed: bool = False
    """Waits for a second person."""
    expires_at: datetime | None = None
    stops: int = 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody asks for."""

    act: Act
    measure: Measure
    basis: Basis
    reason: str
    hours: int | None = None
    """None: until it is released."""
    amount_minor: int | None = None
    """Of a limit: up to which amount; of a freeze: how much is frozen, None for the whole."""
    whole_because: str = ""
    """Of a freeze of the whole account: why an amount is not enough."""
    document: Document | None = None
    document_number: str = ""
    has_file: bool = False
    of_id: str | None = None
    """Of an extension or a release: which measure."""
    ground: Ground | None = None


_CODES: Final = {
    (Measure.STOP_PAYMENT, Act.IMPOSE): "0101",
    (Measure.STOP_PAYMENT, Act.RELEASE): "0103",
    (Measure.STOP_PAYMENT, Act.EXTEND): "0105",
    (Measure.FREEZE, Act.IMPOSE): "0201",
    (Measure.FREEZE, Act.RELEASE): "0203",
    (Measure.FREEZE, Act.EXTEND): "0205",
    (Measure.WATCH, Act.IMPOSE): "0305",
    (Measure.WATCH, Act.RELEASE): "0307",
}
_LONGEST: Final = {
    Measure.STOP_PAYMENT: STOP_HOURS,
    Measure.FREEZE: FREEZE_HOURS,
    Measure.DELAY: DELAY_HOURS,
}


def police_code(measure: Measure, act: Act, basis: Basis) -> str | None:
    """The code of the police's message that this is, or would be told by; None: there is none."""
    if measure is Measure.WATCH and basis is not Basis.POLICE:
        return None
    return _CODES.get((measure, act))


def reply_code(request: str) -> str:
    """The code of a reply: the one after its request."""
    return f"{int(request) + 1:04}"


def needs_two(measure: Measure) -> bool:
    """Whether a second person has to approve."""
    return measure.severity >= TWO_PEOPLE_FROM.severity


def may_decide(proposed_by: int, decided_by: int) -> bool:
    """Nobody approves or rejects their own."""
    return proposed_by != decided_by


def breaches(proposal: Proposal, held: Sequence[Held]) -> list[Breach]:
    """What the law has against it; [] if nothing. `held` are all measures of the account."""
    found = []
    if proposal.measure is Measure.NONE:
        return [Breach.NOT_A_MEASURE]
    if len(proposal.reason.strip()) < LEAST_REASON:
        found.append(Breach.REASON_MISSING)
    match proposal.act:
        case Act.IMPOSE:
            found += _imposing(proposal, held)
        case Act.EXTEND:
            found += _extending(proposal, held)
        case Act.RELEASE:
            found += _releasing(proposal, held)
    return found


def ends_at(proposal: Proposal, held: Sequence[Held], now: datetime) -> datetime | None:
    """When it expires by itself if it begins now; an extension goes on from the end before."""
    if proposal.hours is None:
        return None
    begins = now
    if proposal.act is Act.EXTEND:
        before = _of(proposal, held)
        begins = before.expires_at if before and before.expires_at else now
    return begins + timedelta(hours=proposal.hours)


def _imposing(proposal: Proposal, held: Sequence[Held]) -> list[Breach]:
    found = _time(proposal)
    measure = proposal.measure
    if any((each.is_in_force or each.is_proposed) and each.measure is measure for each in held):
        found.append(Breach.ALREADY_HOLDS)
    if measure is Measure.STOP_PAYMENT:
        if _stops(held) >= MOST_STOPS:
            found.append(Breach.STOPPED_TWICE)
        if proposal.basis is Basis.BANK:
            found.append(Breach.BASIS_WRONG)
        if proposal.basis is Basis.POLICE:
            found += _papers(proposal, Document.STOP_PAYMENT)
    elif measure is Measure.FREEZE:
        if proposal.basis is not Basis.POLICE:
            found.append(Breach.BASIS_WRONG)
        found += _papers(proposal, Document.FREEZE)
        if proposal.amount_minor is None and len(proposal.whole_because.strip()) < LEAST_REASON:
            found.append(Breach.AMOUNT_PREFERRED)
    elif measure is Measure.LIMIT and proposal.amount_minor is None:
        found.append(Breach.AMOUNT_MISSING)
    return found


def _extending(proposal: Proposal, held: Sequence[Held]) -> list[Breach]:
    if proposal.measure not in (Measure.STOP_PAYMENT, Measure.FREEZE):
        return [Breach.NOT_EXTENDABLE]
    before = _of(proposal, held)
    if before is None:
        return [Breach.NOTHING_TO_CHANGE]
    found = _time(proposal)
    is_stop = proposal.measure is Measure.STOP_PAYMENT
    if is_stop and _stops(held) >= MOST_STOPS:
        found.append(Breach.STOPPED_TWICE)
    if proposal.basis is not Basis.POLICE:
        found.append(Breach.BASIS_WRONG)
    return found + _papers(proposal, Document.STOP_PAYMENT if is_stop else Document.FREEZE)


def _releasing(proposal: Proposal, held: Sequence[Held]) -> list[Breach]:
    if _of(proposal, held) is None:
        return [Breach.NOTHING_TO_CHANGE]
    found = [] if proposal.ground is not None else [Breach.GROUND_MISSING]
    if proposal.measure is Measure.FREEZE:  # the police's own: the bank does not lift it
        if proposal.basis is not Basis.POLICE:
            found.append(Breach.BASIS_WRONG)
        found += _papers(proposal, Document.FREEZE)
    return found


def _time(proposal: Proposal) -> list[Breach]:
    longest = _LONGEST.get(proposal.measure)
    if longest is None:
        return [Breach.TOO_LONG] if proposal.hours is not None and proposal.hours <= 0 else []
    if proposal.hours is None:
        return [Breach.HOURS_MISSING]
    return [] if 0 < proposal.hours <= longest else [Breach.TOO_LONG]


def _papers(proposal: Proposal, wanted: Document) -> list[Breach]:
    if proposal.document is None or not proposal.document_number.strip() or not proposal.has_file:
        return [Breach.DOCUMENT_MISSING]
    return [] if proposal.document is wanted else [Breach.DOCUMENT_WRONG]


def _stops(held: Sequence[Held]) -> int:
    return sum(each.stops for each in held if each.measure is Measure.STOP_PAYMENT)


def _of(proposal: Proposal, held: Sequence[Held]) -> Held | None:
    """The measure that is to be changed, while it is in force."""
    for each in held:
        if each.id == proposal.of_id and each.measure is proposal.measure and each.is_in_force:
            return each
    return None
