"""Identity queries: answered from profiles, on paper, counted, logged, read by who may."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from tests.desk.desk import RunningDesk

from sluicegate.desk import holders
from sluicegate.desk.pages.forms import FILE_BYTES
from sluicegate.desk.roles import Role
from sluicegate.desk.tables import AuditRow, HolderRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from tests.desk.desk import Browser

ACCOUNT, SECOND, OTHER = "6217000000000020001", "6217000000000020002", "6217000000000020003"
PDF = {"document_file": ("查询.pdf", b"%PDF-1.7 query", "application/pdf")}
PAPER = {"case_number": "A32050120260001", "document": "05", "document_number": "苏公查7"}


def told(account: str, **fields: Any) -> tuple[bytes, bytes, int]:
    return account.encode(), json.dumps({"account": account, **fields}).encode(), 0


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    folder = tmp_path_factory.mktemp("identity")
    with RunningDesk(folder, identity_queries_an_hour=6) as running:
        yield running


@pytest.fixture(autouse=True)
def profiles(desk: RunningDesk) -> None:
    messages = [
        told(ACCOUNT, holder_id="h-77", holder_kind="person", birth_year=1954, branch="城南支行"),
        told(SECOND, holder_id="h-77", holder_kind="person", documents_expire_on="2027-01-31"),
        told(OTHER, holder_id="h-78", holder_kind="enterprise", enterprise_status="active"),
    ]
    holders.keep(desk.engine, holders.latest(messages))


@pytest.fixture
def police(desk: RunningDesk) -> Iterator[Browser]:
    with desk.signed_in(Role.POLICE_OFFICER) as browser:
        yield browser


def ask(police: Browser, kind: str, subject: str, /, **changed: Any) -> httpx.Response:
    fields: dict[str, Any] = {"files": PDF, "kind": kind, "subject": subject, **PAPER} | changed
    answer = police.post("/desk/identity", **fields)
    return police.get(answer.headers["location"]) if answer.status_code == 303 else answer


def test_the_police_learn_who_holds_an_account_and_what_else_they_hold(police: Browser) -> None:
    holder = ask(police, "holder", ACCOUNT).text
    assert "0303 → 0304" in holder
    assert "h-77" in holder
    assert "1954" in holder
    assert "城南支行" in holder
    assert SECOND not in holder
    for kind, subject in (("accounts", ACCOUNT), ("accounts_of", "h-77")):
        both = ask(police, kind, subject).text
        assert ACCOUNT in both
        assert SECOND in both
        assert OTHER not in both
    assert "没有查到" in ask(police, "holder", "6217000000000099999").text


@pytest.mark.parametrize("missing", ["subject", "case_number", "document_number", "files"])
def test_without_case_number_and_document_nothing_is_answered(
    police: Browser, missing: str
) -> None:
    answer = ask(police, "holder", ACCOUNT, **{missing: "" if missing != "files" else None})
    assert answer.status_code == 422
    assert "h-77" not in answer.text


@pytest.mark.parametrize(
    ("content", "status"), [(b"<script>", 422), (b"%PDF-" + b"x" * FILE_BYTES, 413)]
)
def test_a_file_is_what_its_first_bytes_say_and_not_too_long(
    police: Browser, content: bytes, status: int
) -> None:
    files = {"document_file": ("a.pdf", content, "application/pdf")}
    assert ask(police, "holder", ACCOUNT, files=files).status_code == status


def test_others_read_queries_masked_and_the_police_only_their_own(
    desk: RunningDesk, police: Browser
) -> None:
    receipt = ask(police, "accounts", ACCOUNT).url.path
    with desk.signed_in(Role.AUDITOR) as auditor:
        assert "A32050120260001" in auditor.get("/desk/identity").text
        page = auditor.get(receipt).text
        assert "6217…0001" in page
        assert ACCOUNT not in page
        assert auditor.get(f"{receipt}/file").content == b"%PDF-1.7 query"
    with desk.signed_in(Role.POLICE_OFFICER, "police.other") as other:
        assert other.get(receipt).status_code == 404
        assert other.get(f"{receipt}/file").status_code == 404
        assert receipt not in other.get("/desk/identity").text
    with Session(desk.engine) as session:
        asked = session.scalars(select(AuditRow).where(AuditRow.subject == receipt[-32:])).first()
    assert asked is not None
    assert asked.action == "identity-asked"
    assert asked.details["case_number"] == "A32050120260001"
    assert asked.details["about"] == "6217…0001"


def test_one_person_may_ask_so_often_in_an_hour(desk: RunningDesk) -> None:
    most = desk.settings.desk.identity_queries_an_hour
    with desk.signed_in(Role.POLICE_OFFICER, "police.eager") as eager:
        statuses = [ask(eager, "holder", ACCOUNT).status_code for _ in range(most + 1)]
        assert statuses == [200] * most + [429]
        desk.ahead = timedelta(minutes=61)
    with desk.signed_in(Role.POLICE_OFFICER, "police.eager") as eager:
        assert ask(eager, "holder", ACCOUNT).status_code == 200
    desk.ahead = timedelta()
    with Session(desk.engine) as session:
        refused = select(func.count()).where(AuditRow.action == "identity-refused")
        assert session.scalar(refused) == 1


def test_what_the_bank_says_last_counts_and_what_is_no_profile_changes_nothing(
    desk: RunningDesk,
) -> None:
    batch = [told("X1", holder_id="a"), told("X2", holder_id="b"), told("X1", holder_id="c")]
    holders.keep(desk.engine, holders.latest(batch))
    again = holders.latest([(b"X2", None, 0), (b"X1", b"no profile", 0)])
    holders.keep(desk.engine, again)
    holders.keep(desk.engine, {})
    with Session(desk.engine) as session:
        found = session.scalars(select(HolderRow).where(HolderRow.account.in_(["X1", "X2"])))
        assert [(each.account, each.holder_id) for each in found] == [("X1", "c")]
