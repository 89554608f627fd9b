"""What a branch may see of an account: windows for all, single legs as the key's scopes allow."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel

from sluicegate.domain.alert import Moment, moment_of
from sluicegate.domain.money import MINOR_PER_MAJOR, amount_text

BANDS: Final = (0, 1_000, 10_000, 50_000, 200_000, 1_000_000)
"""Lower bounds, in major units, of what is told of an amount that is masked."""


class WindowTold(BaseModel):
    """Counts and sums of one window; sums in minor units."""

    name: str
    inflow_count: float
    outflow_count: float
    inflow_minor: float
    outflow_minor: float
    is_least: bool


class LegTold(BaseModel):
    """One of the latest legs; masked, the amount is a band and the counterparty left out."""

    at: Moment
    side: str
    amount: str
    counterparty: str | None
    """Eight hex digits that are the same for the same account; never its number."""


class AccountTold(BaseModel):
    """What is remembered of an account."""

    account: str
    first_at: Moment
    last_at: Moment
    inflow_count: int
    outflow_count: int
    windows: tuple[WindowTold, ...]
    recent: tuple[LegTold, ...]
    masked: bool
    applied: int
    lag_ms: int


def account_told(view: Mapping[str, Any], *, masked: bool) -> AccountTold:
    """The worker's view of an account as a branch may see it."""
    return AccountTold(
        account=view["account"],
        first_at=moment_of(1000 * view["first_s"]),
        last_at=moment_of(1000 * view["last_s"]),
        inflow_count=view["inflow_count"],
        outflow_count=view["outflow_count"],
        windows=tuple(WindowTold.model_validate(each) for each in view["windows"]),
        recent=tuple(_leg(each, masked=masked) for each in view["recent"]),
        masked=masked,
        applied=view["applied"],
        lag_ms=view["lag_ms"],
    )


def _leg(leg: Mapping[str, Any], *, masked: bool) -> LegTold:
    return LegTold(
        at=moment_of(1000 * leg["at_s"]),
        side="inflow" if leg["side"] == "in" else "outflow",
        amount=band_of(leg["amount_minor"]) if masked else amount_text(leg["amount_minor"]),
        counterparty=None if masked else leg["counterparty"] or None,
    )


def band_of(amount_minor: int) -> str:
    """The band of an amount: `1000-10000`, `1000000-`."""
    for low, high in pairwise(BANDS):
        if amount_minor < high * MINOR_PER_MAJOR:
            return f"{low}-{high}"
    return f"{BANDS[-1]}-"
