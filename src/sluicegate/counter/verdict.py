"""What the teller is told to do: three verdicts, and which measure leads to which."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from sluicegate.domain.measure import Measure


class Verdict(StrEnum):
    """The answer to a check; the order of the members is the order of severity."""

    ALLOW = "allow"
    VERIFY = "verify"
    REFER = "refer"


VERDICTS: Final = {
    Measure.NONE: Verdict.ALLOW,
    Measure.WATCH: Verdict.ALLOW,
    Measure.VERIFY: Verdict.VERIFY,
    Measure.DELAY: Verdict.VERIFY,
    Measure.LIMIT: Verdict.REFER,
    Measure.SUSPEND_NON_COUNTER: Verdict.REFER,
    Measure.RECEIVE_ONLY: Verdict.REFER,
    Measure.FREEZE_BOTH: Verdict.REFER,
    Measure.STOP_PAYMENT: Verdict.REFER,
    Measure.FREEZE: Verdict.REFER,
}
"""Up to `delay` the branch decides; from `limit` on it is the desk of bank and police."""

_SEVERITY: Final = {verdict: step for step, verdict in enumerate(Verdict)}


def heaviest(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe of them; allow, if there is none."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.ALLOW)
