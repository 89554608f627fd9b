"""A desk over real HTTP, with people, cases and a clock that can be put forward."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.app import create_app, shell_of
from sluicegate.desk.clocks import utc_now
from sluicegate.desk.live import Pulse
from sluicegate.desk.pages.shell import Desk
from sluicegate.desk.people import add_person, change_password
from sluicegate.desk.roles import Role
from sluicegate.desk.sealing import sealing_of
from sluicegate.desk.serving import server_of_desk, titles_of
from sluicegate.desk.tables import PersonRow
from sluicegate.domain.alert import Alert, Reason, alert_id
from sluicegate.domain.measure import Measure
from sluicegate.domain.transaction import Channel, Kind
from sluicegate.liaison.cases import USUAL, CaseAlertRow, CaseRow, group_alerts
from sluicegate.liaison.database import open_database, store_alerts
from sluicegate.liaison.schema import prepare_tables, writing
from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.broker import free_port
from sluicegate.operations.metrics import Metrics, Part
from sluicegate.settings import Settings
from sluicegate.streaming.judge_contract import IntendedLeg
from sluicegate.streaming.judge_web import records_of
from sluicegate.streaming.scoring import scoring_of
from sluicegate.streaming.state import row_of
from sluicegate.streaming.state_view import view_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from sqlalchemy import Engine

ROOT = Path(__file__).parents[2]
PASSWORD = "long enough to be a passphrase"  # noqa: S105 - of people made up here
FULL_NAMES = {
    Role.BANK_OFFICER: "银行甲",
    Role.POLICE_OFFICER: "警务乙",
    Role.SUPERVISOR: "主管丙",
    Role.ANALYST: "分析丁",
    Role.AUDITOR: "审计戊",
    Role.ADMINISTRATOR: "管理己",
}
REASONS = {
    "pass-through": {"zh": "24 小时内的转入合计与这笔转出几乎相等", "en": "24 h in equals out"},
    "fast-in-fast-out": {
        "zh": "资金到账 1 小时内转出超过八成",
        "en": "more than 80 % left within 1 h",
    },
    "convergence": {"zh": "24 小时内多个对手汇入", "en": "many paid in within 24 h"},
}
_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


def an_alert(  # noqa: PLR0917 - an alert's facts
    number: int,
    account: str,
    at: datetime,
    minor: int = 5_000_000,
    measure: Measure = Measure.DELAY,
    side: str = "inflow",
    **patterns: float,
) -> Alert:
    """An alert; `patterns` are strengths by the pattern's name, with _ for -."""
    strengths = {name.replace("_", "-"): each for name, each in patterns.items()}
    strengths = strengths or {"pass-through": 0.8}
    rest = 1.0
    for each in strengths.values():
        rest *= 1 - each
    return Alert(
        id=alert_id(f"T{number}", account, "inflow"),
        transaction_id=f"T{number}",
        account=account,
        side=side,  # type: ignore[arg-type]  # one of two
        counterparty=f"62170000{number:011}",
        amount_minor=minor,
        currency="CNY",
        score=1 - rest,
        measure=measure,
        reasons=tuple(
            Reason(pattern=name, strength=each, **REASONS.get(name, {"zh": name, "en": name}))
            for name, each in strengths.items()
        ),
        facts={"inflow_1h": float(minor)},
        occurred_at=at,
        recorded_at=at,
        detected_at=at,
        pattern_set_version="0123456789abcdef",
        origin="stream",
    )


@dataclass
class Browser:
    """Somebody's connection: keeps cookies, sends the form's token along."""

    http: httpx.Client
    role: Role
    token: str = ""

    def get(self, path: str, **options: Any) -> httpx.Response:
        answer = self.http.get(path, **options)
        if found := _TOKEN.search(answer.text):
            self.token = found[1]
        return answer

    def post(self, path: str, files: Any = None, **fields: Any) -> httpx.Response:
        return self.http.post(path, data={"csrf": self.token, **fields}, files=files)


class RunningDesk:
    """The application on a port, in a thread, on a database of its own."""

    def __init__(self, folder: Path, url: str = "", **desk: Any) -> None:
        self.port = free_port()
        self.settings = Settings().changed(
            patterns={"file": ROOT / "config" / "patterns.toml"},
            liaison={"database_url": url or f"sqlite:///{folder / 'desk.db'}"},
            desk={"port": self.port, **desk},
        )
        self.engine: Engine = open_database(self.settings.liaison.url)
        prepare_tables(self.engine)
        self.ahead = timedelta()
        self.views: dict[str, dict[str, Any]] = {}
        self.metrics = Metrics(Part.DESK)
        self.desk = Desk(
            self.settings,
            self.engine,
            self.metrics,
            titles_of(self.settings),
            self.now,
            self.views.get,
            sealing=sealing_of(self.settings.desk.secrets_key_file),
        )
        self.shell = shell_of(self.desk)
        pulse = Pulse(self.engine, self.metrics.gauge("sluicegate_desk_live_clients"))
        self._pulse = pulse
        self._server = server_of_desk(create_app(self.desk, pulse), self.settings.desk)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.base = f"http://127.0.0.1:{self.port}"
        self.count = 0
        """Alerts made so far."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._pulse.close)
        self._server.should_exit = True
        self._await(self._ends())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.engine.dispose()

    def now(self) -> datetime:
        """The desk's clock."""
        return utc_now() + self.ahead

    # People.

    def person(self, role: Role, name: str = "", full_name: str = "") -> str:
        """Makes somebody who has set a password; gives the name."""
        name = name or role.value.replace("_", ".")
        with writing(self.engine) as session:
            known = session.scalar(select(PersonRow.id).where(PersonRow.name == name))
            if known is None:
                row, once = add_person(
                    session, name, full_name or FULL_NAMES[role], role, self.now()
                )
                assert change_password(row, once, PASSWORD) is None
        return name

    def person_id(self, name: str) -> int:
        with Session(self.engine) as session:
            return session.scalars(select(PersonRow.id).where(PersonRow.name == name)).one()

    @contextmanager
    def signed_in(self, role: Role, name: str = "") -> Iterator[Browser]:
        """A connection of somebody of this role."""
        name = self.person(role, name)
        with httpx.Client(base_url=self.base, timeout=30) as http:
            answer = http.post("/desk/sign-in", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            browser = Browser(http, role)
            browser.get("/desk/me")
            yield browser

    # Cases.

    def alerts(self, *alerts: Alert, at: datetime | None = None) -> None:
        """The consumer stores these."""
        moment = at or self.now()

        def group(session: Session, new: Sequence[Alert]) -> None:
            group_alerts(session, new, moment, USUAL)

        store_alerts(self.engine, alerts, moment, group)

    def case(self, account: str, minor: int = 5_000_000, **patterns: float) -> str:
        """A new case of one alert; its id."""
        self.count += 1
        alert = an_alert(
            self.count, account, self.now(), minor, Measure.DELAY, "inflow", **patterns
        )
        self.alerts(alert)
        with Session(self.engine) as session:
            return session.scalars(
                select(CaseAlertRow.case_id).where(CaseAlertRow.alert_id == alert.id)
            ).one()

    def case_row(self, case_id: str) -> CaseRow:
        """A case as it stands."""
        with Session(self.engine) as session:
            row = session.get_one(CaseRow, case_id)
            session.expunge(row)
            return row

    # The thread.

    async def _start(self) -> None:
        self._serving = asyncio.ensure_future(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def _ends(self) -> None:
        await self._serving
        # What sse-starlette leaves running; asyncio.run would end it.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _await(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def a_mules_view(account: str, at: datetime, alerts: Sequence[Alert]) -> dict[str, Any]:
    """What a worker remembers of an account that was paid as these alerts say, among others."""
    memory = AccountMemory(100)
    scoring = scoring_of(Settings().changed(patterns={"file": ROOT / "config" / "patterns.toml"}))
    flow = [
        ("inflow", 2_000 + 100 * days, at - timedelta(days=days, hours=3))
        for days in range(8, 0, -1)
    ]
    flow += [("outflow", 1_500, at - timedelta(days=days, hours=1)) for days in range(8, 0, -2)]
    moved = [(side, yuan * 100, when) for side, yuan, when in flow]
    moved += [("inflow", each.amount_minor, each.occurred_at) for each in alerts]
    moved.append(("outflow", alerts[0].amount_minor, alerts[-1].occurred_at))
    for number, (side, minor, when) in enumerate(sorted(moved, key=lambda each: each[2])):
        leg = IntendedLeg(
            account=account,
            counterparty=f"62280000000{number:08}",
            side=side,  # type: ignore[arg-type]  # one of two
            amount_minor=minor,
            occurred_at_ms=int(when.timestamp() * 1000),
            transaction=f"V{number}",
            channel=Channel.MOBILE,
            kind=Kind.TRANSFER,
        )
        memory.step(records_of([leg]), scoring.scorer, partition=0, log_offset=number)
    row = row_of(memory, account)
    assert row is not None
    return asdict(view_of(account, row, memory))
