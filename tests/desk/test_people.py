"""Signing in: passwords, lock-out, one-time codes, sessions, forms of other sites."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pyotp
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.desk.desk import PASSWORD, RunningDesk

from sluicegate.desk.attempts import locked_addresses
from sluicegate.desk.people import (
    Doorway,
    NotIn,
    Person,
    Weak,
    confirm_secret,
    new_secret,
    reset_password,
    weakness,
)
from sluicegate.desk.people import sign_in as sign_in_here
from sluicegate.desk.roles import Role
from sluicegate.desk.sealing import seal_anew, sealing_of
from sluicegate.desk.tables import AuditRow, PersonRow, SessionRow
from sluicegate.errors import Problem
from sluicegate.liaison.schema import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def http(desk: RunningDesk) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=desk.base, timeout=30) as client:
        yield client
    desk.ahead = timedelta()


def sign_in(http: httpx.Client, name: str, password: str, code: str = "") -> httpx.Response:
    fields = {"name": name, "password": password, "code": code}
    return http.post("/desk/sign-in", data=fields)


def token_of(answer: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("short", Weak.SHORT),
        ("x" * 129, Weak.LONG),
        ("aaaaaaaaaaaaaaaa", Weak.COMMON),
        ("Password12345678", Weak.COMMON),
        ("my li.wei and me", Weak.NAME),
        ("plain but long words", None),
    ],
)
def test_a_password_is_refused_for_a_named_reason(password: str, weak: Weak | None) -> None:
    assert weakness(password, "li.wei") is weak


def test_the_cookie_is_hard_to_steal_and_the_database_does_not_hold_it(
    desk: RunningDesk, http: httpx.Client
) -> None:
    answer = sign_in(http, desk.person(Role.BANK_OFFICER), PASSWORD)
    cookie = answer.headers["set-cookie"].lower()
    assert all(each in cookie for each in ("httponly", "samesite=strict", "path=/desk"))
    value = http.cookies["sluicegate_desk"]
    with Session(desk.engine) as session:
        assert value not in list(session.scalars(select(SessionRow.id)))
        hashes = session.scalars(select(PersonRow.password_hash))
        assert all(each.startswith("$argon2id$") for each in hashes)


def test_five_wrong_passwords_lock_a_name_and_nothing_tells_which_part_was_wrong(
    desk: RunningDesk, http: httpx.Client
) -> None:
    name = desk.person(Role.BANK_OFFICER, "locked.out")
    unknown = sign_in(http, "nobody.here", "wrong")
    for _ in range(5):
        wrong = sign_in(http, name, "wrong")
        assert wrong.status_code == 403
        assert wrong.text.replace(name, "") == unknown.text.replace("nobody.here", "")
    assert "15 分钟" in sign_in(http, name, PASSWORD).text
    desk.ahead = timedelta(minutes=15, seconds=1)
    assert sign_in(http, name, PASSWORD).status_code == 303


def test_nobody_is_locked_out_from_elsewhere(desk: RunningDesk) -> None:
    name = desk.person(Role.ADMINISTRATOR, "not.locked")
    at = desk.now()

    def knock(password: str, address: str, minutes: float = 0) -> Person | NotIn:
        door = Doorway(address, at + timedelta(minutes=minutes))
        with writing(desk.engine) as session:
            return sign_in_here(session, name, password, "", door)

    assert isinstance(knock(PASSWORD, "10.0.0.1"), Person)
    for n in range(20):  # twenty addresses with five wrong ones each: a hundred in the hour
        for _ in range(5):
            assert knock("wrong", f"10.9.0.{n}", 1) is NotIn.WRONG
    assert knock(PASSWORD, "10.9.0.1", 2) is NotIn.LOCKED
    assert knock(PASSWORD, "10.7.0.7", 2) is NotIn.LOCKED  # never seen before
    assert isinstance(knock(PASSWORD, "10.0.0.1", 2), Person)
    with Session(desk.engine) as session:
        found = locked_addresses(session, desk.person_id(name), at + timedelta(minutes=3))
        assert len(found) == 20
    assert isinstance(knock(PASSWORD, "10.7.0.7", 70), Person)


def test_an_address_is_what_a_trusted_proxy_says_and_nobody_else(
    tmp_path: Path,
) -> None:
    with RunningDesk(tmp_path, proxies="127.0.0.1") as behind:
        name = behind.person(Role.BANK_OFFICER)
        with httpx.Client(base_url=behind.base) as http:
            for _ in range(6):
                fields = {"name": name, "password": "wrong"}
                told = {"X-Forwarded-For": "10.0.0.99, 10.1.1.1"}  # its own word, then the proxy's
                http.post("/desk/sign-in", data=fields, headers=told)
        with Session(behind.engine) as session:
            found = locked_addresses(session, behind.person_id(name), behind.now())
        assert found == ["10.1.1.1"]
        with behind.signed_in(Role.BANK_OFFICER):
            pass


def test_a_one_time_password_must_be_changed_before_anything_else(
    desk: RunningDesk, http: httpx.Client
) -> None:
    with desk.signed_in(Role.ADMINISTRATOR) as admin:
        fields = {"name": "new.officer", "full_name": "新人", "role": "bank_officer"}
        made = admin.post("/desk/people", **fields)
        once = re.search(r"<code>([a-z0-9-]+)</code>", made.text)
        assert once is not None
        assert "已有这个用户名" in admin.post("/desk/people", **fields).text
    assert sign_in(http, "new.officer", once[1]).headers["location"] == "/desk/me/password"
    assert http.get("/desk").headers["location"] == "/desk/me/password"
    token = token_of(http.get("/desk/me/password"))
    fields = {"csrf": token, "old": once[1], "new": PASSWORD, "again": PASSWORD}
    refused = http.post("/desk/me/password", data={**fields, "again": "otherwise"})
    assert "两次输入的新密码不一样" in refused.text
    assert http.post("/desk/me/password", data=fields).status_code == 303
    assert http.get("/desk").status_code == 200
    assert sign_in(http, "new.officer", once[1]).status_code == 403


def test_a_code_works_once_and_the_password_alone_not_any_more(
    desk: RunningDesk, http: httpx.Client
) -> None:
    name = desk.person(Role.SUPERVISOR, "with.code")
    sign_in(http, name, PASSWORD)
    page = http.get("/desk/me/code")
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", page.text)
    assert secret is not None
    assert "<svg" in page.text
    totp = pyotp.TOTP(secret[1])
    fields = {"csrf": token_of(page), "secret": secret[1], "code": "000000"}
    assert "动态码不对" in http.post("/desk/me/code", data=fields).text
    now = desk.now()
    fields["code"] = totp.at(now)
    assert http.post("/desk/me/code", data=fields).status_code == 303
    http.cookies.clear()
    assert sign_in(http, name, PASSWORD).status_code == 403
    assert sign_in(http, name, PASSWORD, totp.at(now)).status_code == 403  # used before
    desk.ahead = timedelta(seconds=90)
    assert sign_in(http, name, PASSWORD, totp.at(desk.now())).status_code == 303


def test_a_session_ends_after_half_an_hour_of_silence_and_when_its_person_is_disabled(
    desk: RunningDesk, http: httpx.Client
) -> None:
    name = desk.person(Role.BANK_OFFICER, "comes.and.goes")
    sign_in(http, name, PASSWORD)
    for minutes in (29, 58):
        desk.ahead = timedelta(minutes=minutes)
        assert http.get("/desk").status_code == 200
    desk.ahead = timedelta(minutes=80)
    # What the page asks for by itself keeps nobody signed in.
    assert http.get("/desk/rows", headers={"HX-Request": "true"}).status_code == 200
    desk.ahead = timedelta(minutes=89)
    assert http.get("/desk").status_code == 303
    desk.ahead = timedelta()
    sign_in(http, name, PASSWORD)
    with desk.signed_in(Role.ADMINISTRATOR) as admin:
        admin.post(f"/desk/people/{desk.person_id(name)}/disable")
        mine = desk.person_id(desk.person(Role.ADMINISTRATOR))
        assert admin.post(f"/desk/people/{mine}/disable").status_code == 409
    assert http.get("/desk").status_code == 303
    assert sign_in(http, name, PASSWORD).status_code == 403


def test_a_form_of_another_site_or_without_the_token_changes_nothing(
    desk: RunningDesk, http: httpx.Client
) -> None:
    case_id = desk.case("6222000000000000301")
    sign_in(http, desk.person(Role.BANK_OFFICER), PASSWORD)
    token = token_of(http.get("/desk/me"))
    claim = f"/desk/cases/{case_id}/claim"
    assert http.post(claim).status_code == 403
    assert http.post(claim, data={"csrf": "wrong"}).status_code == 403
    elsewhere = {"Origin": "http://elsewhere"}
    assert http.post(claim, data={"csrf": token}, headers=elsewhere).status_code == 403
    assert desk.case_row(case_id).state == "waiting"
    assert http.post(claim, data={"csrf": token}).status_code == 303
    assert desk.case_row(case_id).state == "claimed"


def test_signing_out_ends_the_session_and_going_back_leads_nowhere_else(
    desk: RunningDesk, http: httpx.Client
) -> None:
    sign_in(http, desk.person(Role.BANK_OFFICER), PASSWORD)
    token = token_of(http.get("/desk/me"))
    for back in ("//elsewhere/desk", "https://elsewhere/desk", "/v1"):
        answer = http.post("/desk/language", data={"language": "en", "back": back})
        assert answer.headers["location"] == "/desk"
    cookies = dict(http.cookies)
    http.post("/desk/sign-out", data={"csrf": token})
    http.cookies.update(cookies)
    assert http.get("/desk").status_code == 303


def test_every_answer_forbids_scripts_of_others_and_frames(http: httpx.Client) -> None:
    for path in ("/desk", "/desk/sign-in", "/desk/static/desk.js", "/desk/live", "/nowhere"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_audit_knows_of_all_this(desk: RunningDesk) -> None:
    with Session(desk.engine) as session:
        actions = set(session.scalars(select(AuditRow.action)))
    assert {"signed-in", "sign-in-refused", "password-changed", "codes-begun"} <= actions


def test_a_refused_page_is_in_the_audit(desk: RunningDesk) -> None:
    with desk.signed_in(Role.ANALYST) as analyst:
        assert analyst.get("/desk/people").status_code == 403
    with Session(desk.engine) as session:
        row = session.scalars(
            select(AuditRow).where(AuditRow.action == "refused", AuditRow.person == "analyst")
        ).one()
    assert (row.subject, row.details["path"]) == ("GET /desk/people", "/desk/people")


def test_secrets_of_codes_are_sealed_by_a_key_and_change_to_a_newer_one(
    desk: RunningDesk, tmp_path: Path
) -> None:
    name = desk.person(Role.AUDITOR, "sealed.code")
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    file, secret, at = tmp_path / "keys", new_secret(), desk.now()

    def kept() -> str:
        with Session(desk.engine) as session:
            return session.get_one(PersonRow, desk.person_id(name)).totp_secret or ""

    with writing(desk.engine) as session:
        row = session.get_one(PersonRow, desk.person_id(name))
        assert confirm_secret(row, secret, pyotp.TOTP(secret).at(at), Doorway("", at))
    assert kept() == secret  # there is no key yet
    for keys in (old, f"{new}\n{old}", new):
        file.write_text(keys, "ascii")
        before = kept()
        with writing(desk.engine) as session:
            seal_anew(session, sealing_of(file))
        assert kept().startswith("fernet:")
        assert kept() != before
    later = at + timedelta(minutes=2)
    with writing(desk.engine) as session:
        code = pyotp.TOTP(secret).at(later)
        door = Doorway("10.0.0.1", later, sealing_of(file))
        assert isinstance(sign_in_here(session, name, PASSWORD, code, door), Person)
    file.write_text(old, "ascii")
    with Session(desk.engine) as session:
        for wrong in (sealing_of(file), sealing_of(None)):
            with pytest.raises(Problem, match="does not open"):
                seal_anew(session, wrong)
        person = session.get_one(PersonRow, desk.person_id(name))
        reset_password(session, person)  # else no other test could seal
        session.commit()
    for text in ("", "not a key"):
        file.write_text(text, "ascii")
        with pytest.raises(Problem):
            sealing_of(file)
