"""The money on the page of a case: what is still there, movements, flow and counterparties."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.accounts import BEFORE, View, still_there
from sluicegate.desk.charts import Day, Peer, flow_chart, peer_graph
from sluicegate.desk.pages.shell import Asked, Shell
from sluicegate.desk.pages.words import WORDS
from sluicegate.liaison.cases import CaseAlertRow, CaseRow
from sluicegate.liaison.database import AlertRow

MOST_MOVEMENTS: Final = 60
LEAST_DAYS: Final = 7
MOST_DAYS: Final = 10
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of the list: as the worker remembers it, as an alert told it, or both."""

    at: datetime
    side: str
    amount_minor: int
    counterparty: str | None
    """Number, where an alert told it."""
    fingerprint: str
    alert: AlertRow | None


def add_flows(shell: Shell) -> None:
    """Adds its part to the page of a case."""
    shell.case_parts.append(_shown)


def _shown(asked: Asked, session: Session, case: CaseRow) -> dict[str, object]:
    alerts = list(
        session.scalars(
            select(AlertRow)
            .join(CaseAlertRow, CaseAlertRow.alert_id == AlertRow.id)
            .where(CaseAlertRow.case_id == case.id)
            .order_by(AlertRow.occurred_at.desc())
            .limit(MOST_MOVEMENTS)
        )
    )
    view = asked.desk.view(case.account)
    words = WORDS[asked.language]
    sees_numbers = asked.sees_numbers(session, case.id)
    days = days_of(view) if view else days_of_alerts(alerts, asked.desk.zone.utcoffset(None))
    names = (words["side_inflow"], words["side_outflow"], words["kept"])
    return {
        "movements": movements_of(view, alerts),
        "there_now": still_there(view, case.first_at - BEFORE) if view else None,
        "flow": flow_chart(days, words["flow"], names) if days else "",
        "graph": peer_graph(
            peers_of(alerts, asked.shown_account(sees_numbers=sees_numbers), words["cash"]),
            words["peers"],
            words["this_account"],
        ),
    }


def movements_of(view: View | None, alerts: Sequence[AlertRow]) -> list[Movement]:
    """Newest first; what the worker remembers is joined to its alert by time, side and amount."""
    by_leg: dict[tuple[int, str, int], AlertRow] = {
        (int(each.occurred_at.timestamp()), each.side, each.amount_minor): each for each in alerts
    }
    found = []
    for leg in view["recent"] if view else ():
        side = "inflow" if leg["side"] == "in" else "outflow"
        alert = by_leg.pop((leg["at_s"], side, leg["amount_minor"]), None)
        at = datetime.fromtimestamp(leg["at_s"], UTC)
        number = alert.counterparty if alert else None
        found.append(Movement(at, side, leg["amount_minor"], number, leg["counterparty"], alert))
    found += [
        Movement(each.occurred_at, each.side, each.amount_minor, each.counterparty, "", each)
        for each in by_leg.values()
    ]
    return sorted(found, key=lambda each: each.at, reverse=True)[:MOST_MOVEMENTS]


def days_of(view: View) -> list[Day]:
    """The last local days, as the worker remembers them."""
    return [
        Day(_label(each["day"]), each["inflow_minor"], each["outflow_minor"])
        for each in view["days"]
    ]


def days_of_alerts(alerts: Sequence[AlertRow], offset: timedelta) -> list[Day]:
    """The same of what alerts told, where the worker is away."""
    sums: dict[int, dict[str, int]] = {}
    for each in alerts:
        day = ((each.occurred_at + offset).date() - _EPOCH).days
        sides = sums.setdefault(day, {"inflow": 0, "outflow": 0})
        sides[each.side] += each.amount_minor
    last = max(sums, default=0)
    none = {"inflow": 0, "outflow": 0}
    week = range(min(last - LEAST_DAYS + 1, *sums), last + 1) if sums else ()
    return [
        Day(_label(day), sums.get(day, none)["inflow"], sums.get(day, none)["outflow"])
        for day in week[-MOST_DAYS:]
    ]


def peers_of(
    alerts: Sequence[AlertRow], shown: Callable[[str | None], str], cash: str
) -> list[Peer]:
    """Who paid and who was paid, as the alerts tell it."""
    sums: dict[tuple[str | None, bool], list[int]] = {}
    for each in alerts:
        sums.setdefault((each.counterparty, each.side == "inflow"), []).append(each.amount_minor)
    return [
        Peer(shown(account) or cash, sum(amounts), len(amounts), is_payer)
        for (account, is_payer), amounts in sums.items()
    ]


def _label(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%m-%d}"
