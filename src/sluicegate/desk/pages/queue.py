"""The queue's pages: the live list, claiming, dismissing many, reassigning, saved views."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fastapi import Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sluicegate.desk import measures, queue
from sluicegate.desk.clocks import allowed, clock_of
from sluicegate.desk.pages.people import people_with
from sluicegate.desk.pages.shell import PREFIX, Asked, Shell
from sluicegate.desk.queue import DISMISSALS, PAGE_CASES, Filters, Outcome, Whose
from sluicegate.desk.roles import Right
from sluicegate.desk.tables import PersonRow, ViewRow
from sluicegate.domain.measure import Measure
from sluicegate.liaison.cases import CaseRow, CaseState

FRESH_SECONDS: Final = 1.0
"""So long the order of a page of the queue holds: by then fifty browsers may have asked."""
MOST_VIEWS: Final = 20
MOST_AT_ONCE: Final = 200


@dataclass(frozen=True)
class Ranked:
    """A page of the queue as it was ranked."""

    at: float
    ids: tuple[str, ...]
    count: int
    drawn: dict[tuple[object, ...], tuple[int, Markup]] = field(default_factory=dict)
    """The rows as HTML, by who may see them so, and after how many writes they were drawn."""


_Key = tuple[Filters, int]


class Ranking:
    """Ranks each page of the queue at most once a second."""

    def __init__(self) -> None:
        self._kept: dict[_Key, Ranked] = {}
        self._turns: dict[_Key, threading.Lock] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def ranked(self, asked: Asked, session: Session, filters: Filters) -> Ranked:
        """The page of these filters."""
        person_id = asked.person.id if filters.whose is Whose.MINE else 0
        key = (filters, person_id)
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # who asks for the same waits for the one who ranks; others do not
            kept = self._kept.get(key)
            if kept is not None and time.monotonic() - kept.at < FRESH_SECONDS:
                return kept
            forgotten = self._forgotten
            ids = queue.worst_ids(session, filters, person_id, asked.now)
            number = queue.count(session, filters, person_id)
            made = Ranked(time.monotonic(), tuple(ids), number)
            with self._lock:
                self._forget_old(made.at)
                if forgotten == self._forgotten:  # else it may be from before the change
                    self._kept[key] = made
            return made

    def _forget_old(self, now: float) -> None:
        old = [key for key, each in self._kept.items() if now - each.at >= FRESH_SECONDS]
        for key in old:
            del self._kept[key]
            self._turns.pop(key, None)

    def forget(self) -> None:
        """Something was changed: rank anew."""
        with self._lock:
            self._forgotten += 1
            self._kept.clear()


class QueuePages:
    """The handlers, and the ranking that they share."""

    def __init__(self, shell: Shell) -> None:
        self._ranking = Ranking()
        shell.on_change.append(self._ranking.forget)
        shell.get("", self._queue, Right.SEE_CASES)
        shell.get("/rows", self._rows, Right.SEE_CASES)
        shell.post("/next", self._next, Right.CLAIM)
        shell.post("/bulk", self._bulk, Right.DISMISS)
        shell.post("/reassign", self._reassign, Right.REASSIGN)
        shell.post("/views", self._save_view, Right.SEE_CASES)
        shell.post("/views/{view_id}/delete", self._drop_view, Right.SEE_CASES)

    def _queue(self, asked: Asked) -> Response:
        filters = Filters.of(asked.query)
        with asked.reading() as session:
            views = session.scalars(
                select(ViewRow).where(ViewRow.person_id == asked.person.id).order_by(ViewRow.name)
            )
            return asked.show(
                "queue.html",
                filters=filters,
                rows=self._drawn(asked, session, filters),
                views=list(views),
                patterns=sorted(asked.desk.patterns, key=asked.titled),
                measures=[each for each in Measure if each is not Measure.NONE],
                dismissals=DISMISSALS,
                whoses=list(Whose),
                officers=people_with(session, Right.CLAIM)
                if asked.person.may(Right.REASSIGN)
                else [],
            )

    def _rows(self, asked: Asked) -> Response:
        with asked.reading() as session:
            drawn = self._drawn(asked, session, Filters.of(asked.query))
        return HTMLResponse(str(drawn))

    def _drawn(self, asked: Asked, session: Session, filters: Filters) -> Markup:
        """The rows, drawn once for all who see the same, until somebody here writes anything."""
        ranked = self._ranking.ranked(asked, session, filters)
        may = (asked.person.may(Right.CLAIM), asked.person.may(Right.UNMASK))
        writes, seen = asked.desk.writes, (asked.language, *may)
        found = ranked.drawn.get(seen)
        if found is None or found[0] != writes:
            shown = self._listed(asked, session, filters, ranked)
            found = ranked.drawn[seen] = (writes, asked.draw("rows.html", shown))
        return found[1]

    def _listed(
        self, asked: Asked, session: Session, filters: Filters, ranked: Ranked
    ) -> dict[str, object]:
        rows = session.scalars(
            select(CaseRow).where(CaseRow.id.in_(ranked.ids), CaseRow.state != CaseState.CLOSED)
        )
        place = {each: number for number, each in enumerate(ranked.ids)}
        cases = sorted(rows, key=lambda row: place[row.id])
        return {
            "filters": filters,
            "news": measures.news(session, asked.now),
            "cases": cases,
            "count": ranked.count,
            "pages": -(-ranked.count // PAGE_CASES),
            "names": names_of(session, [each.assignee for each in cases]),
            "clocks": clocks_of(asked, cases),
            "earlier": filters.query(page=filters.page - 1) if filters.page else None,
            "later": filters.query(page=filters.page + 1)
            if (filters.page + 1) * PAGE_CASES < ranked.count
            else None,
        }

    def _next(self, asked: Asked) -> Response:
        """Claims the worst case that nobody works on: what others have taken is skipped."""
        with asked.writing() as write:
            case = queue.next_waiting(write.session, asked.now)
            if case is not None:
                queue.claim(write.session, case.id, asked.person.id, asked.now)
                write.note("claimed", case.id)
        self._ranking.forget()
        if case is None:
            return asked.away(PREFIX, "nothing_waits")
        return asked.away(f"{PREFIX}/cases/{case.id}")

    def _bulk(self, asked: Asked) -> Response:
        reason = asked.form["outcome"]
        chosen = asked.form.lists.get("case", ())[:MOST_AT_ONCE]
        if reason not in DISMISSALS or not chosen:
            raise asked.refuse("bulk_incomplete", 422)
        outcome, note = Outcome(reason), asked.form["note"][:500]
        with asked.writing() as write:
            for each in chosen:
                if queue.close(write.session, each, asked.person.id, outcome, asked.now):
                    write.note("dismissed", each, outcome=reason, note=note, bulk=True)
        self._ranking.forget()
        return asked.away(back_to_queue(asked), "dismissed")

    def _reassign(self, asked: Asked) -> Response:
        chosen, to = asked.form.lists.get("case", ())[:MOST_AT_ONCE], asked.form["to"]
        with asked.writing() as write:
            officers = {row.id: row for row in people_with(write.session, Right.CLAIM)}
            if not chosen or not to.isdigit() or int(to) not in officers:
                raise asked.refuse("reassign_incomplete", 422)
            for each in chosen:
                if queue.reassign(write.session, each, int(to), asked.now):
                    write.note("reassigned", each, to=officers[int(to)].name)
        self._ranking.forget()
        return asked.away(back_to_queue(asked), "reassigned")

    def _save_view(self, asked: Asked) -> Response:
        name = asked.form["name"][:64]
        if not name:
            raise asked.refuse("view_incomplete", 422)
        filters = replace(Filters.of(asked.form.fields), page=0)
        with asked.writing() as write:
            mine = ViewRow.person_id == asked.person.id
            write.session.execute(delete(ViewRow).where(mine, ViewRow.name == name))
            ids = list(write.session.scalars(select(ViewRow.id).where(mine)))
            if len(ids) >= MOST_VIEWS:
                raise asked.refuse("view_too_many", 422)
            row = ViewRow(person_id=asked.person.id, name=name, query=filters.query())
            write.session.add(row)
            write.note("view-saved", name, query=row.query)
        return asked.away(f"{PREFIX}?{filters.query()}", "view_saved")

    def _drop_view(self, asked: Asked) -> Response:
        number = asked.path("view_id")
        with asked.writing() as write:
            mine = ViewRow.person_id == asked.person.id
            chosen = ViewRow.id == (int(number) if number.isdigit() else 0)
            write.session.execute(delete(ViewRow).where(mine, chosen))
            write.note("view-deleted", number)
        return asked.away(PREFIX)


def add_queue(shell: Shell) -> None:
    """Adds these pages."""
    QueuePages(shell)


def back_to_queue(asked: Asked) -> str:
    """The queue with the filters that the form remembers."""
    query = Filters.of(asked.form.fields).query()
    return f"{PREFIX}?{query}" if query else PREFIX


def names_of(session: Session, ids: Sequence[int | None]) -> Mapping[int, str]:
    """Full names of people, by id."""
    wanted = {each for each in ids if each is not None}
    if not wanted:
        return {}
    rows = session.execute(
        select(PersonRow.id, PersonRow.full_name).where(PersonRow.id.in_(wanted))
    )
    return {row.id: row.full_name for row in rows}


def clocks_of(asked: Asked, cases: Sequence[CaseRow]) -> Mapping[str, tuple[str, str, int]]:
    """By case: which clock runs, its state, and seconds left."""
    rules = asked.desk.settings.desk
    shown = {}
    for case in cases:
        clock = clock_of(case, rules)
        if clock is not None:
            state = clock.state(asked.now, allowed(clock.level, rules))
            left = int(clock.left(asked.now).total_seconds())
            shown[case.id] = (clock.level.value, state, left)
    return shown
