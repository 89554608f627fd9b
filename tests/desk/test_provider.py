"""Signing in through an OpenID provider, a real one that the test runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser, expect
from pydantic import SecretStr, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from tests.chromium import needs_chromium
from tests.desk.desk import RunningDesk
from tests.desk.provider import CLIENT, SECRET, RunningProvider

from sluicegate.desk.roles import Role
from sluicegate.desk.tables import AuditRow
from sluicegate.settings import DeskSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN, BACK = "/desk/sign-in/provider", "/desk/sign-in/provider/back"


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with RunningProvider() as running:
        yield running


@pytest.fixture(scope="module")
def desk(
    provider: RunningProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDesk]:
    with RunningDesk(
        tmp_path_factory.mktemp("desk"),
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SecretStr(SECRET),
        oidc_button="统一认证",
    ) as running:
        running.person(Role.POLICE_OFFICER, "li.wei", "李伟")
        yield running


@pytest.fixture
def http(desk: RunningDesk, provider: RunningProvider) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=desk.base, timeout=30) as client:
        yield client
    provider.told, provider.signs, provider.declines = {}, None, False
    provider.person = {"sub": "248289761001", "preferred_username": "li.wei"}


def go(http: httpx.Client) -> httpx.Response:
    """To the provider and back, as a browser goes."""
    left = http.get(BEGIN)
    assert left.status_code == 303
    sent_back = httpx.get(left.headers["location"])
    return http.get(sent_back.headers["location"])


def last_entry(desk: RunningDesk) -> AuditRow:
    with Session(desk.engine) as session:
        row = session.scalars(select(AuditRow).order_by(AuditRow.seq.desc())).first()
        assert row is not None
        session.expunge(row)
        return row


def test_who_was_added_signs_in_with_the_role_that_the_desk_gave(
    desk: RunningDesk, provider: RunningProvider, http: httpx.Client
) -> None:
    assert "统一认证" in http.get("/desk/sign-in").text
    provider.told = {"role": "administrator", "groups": ["administrator"]}
    answer = go(http)
    assert answer.status_code == 200
    cookie = next(
        each for each in answer.headers.get_list("set-cookie") if "sluicegate_desk=" in each
    )
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    assert http.get("/desk").status_code == 200
    assert http.get("/desk/people").status_code == 403
    entry = last_entry(desk)
    assert (entry.person, entry.action, entry.details["why"]) == ("li.wei", "refused", "no_right")
    with Session(desk.engine) as session:
        by = session.scalars(select(AuditRow.details).where(AuditRow.action == "signed-in")).all()
    assert by[-1]["by"] == "provider"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"nonce": "of somebody else"}, "provider-token"),
        ({"exp": 1_700_000_000}, "provider-token"),
        ({"aud": "another-client"}, "provider-token"),
        ({"iss": "https://elsewhere.example"}, "provider-token"),
        ({"preferred_username": ""}, "provider-token"),
        ({"preferred_username": "nobody.here"}, "provider-unknown"),
        ({"sub": "another"}, "provider-somebody_else"),
    ],
    ids=["nonce", "expired", "audience", "issuer", "no-name", "unknown", "name-given-anew"],
)
def test_a_token_that_is_not_what_was_asked_for_signs_nobody_in(
    desk: RunningDesk,
    provider: RunningProvider,
    http: httpx.Client,
    told: dict[str, Any],
    why: str,
) -> None:
    if why == "provider-somebody_else":
        assert go(http).status_code == 200  # ties the name to its person
        http.cookies.clear()
    provider.told = told
    assert go(http).status_code == 403
    assert last_entry(desk).details["why"] == why
    assert http.get("/desk").status_code == 303


def test_a_forged_signature_signs_nobody_in_and_a_new_key_of_the_provider_does(
    desk: RunningDesk, provider: RunningProvider, http: httpx.Client
) -> None:
    assert go(http).status_code == 200
    http.cookies.clear()
    provider.signs = RSAKey.generate_key(2048, {"kid": provider.key.kid or ""})
    assert go(http).status_code == 403
    assert last_entry(desk).details["why"] == "provider-token"
    provider.signs = None
    provider.rotate()
    time.sleep(1.1)  # so often at most the keys are asked for
    assert go(http).status_code == 200


def test_an_answer_counts_once_and_only_in_the_browser_that_asked(
    desk: RunningDesk, provider: RunningProvider, http: httpx.Client
) -> None:
    sent_back = httpx.get(http.get(BEGIN).headers["location"]).headers["location"]
    with httpx.Client(base_url=desk.base) as other:
        assert other.get(sent_back).status_code == 403
        assert last_entry(desk).details["why"] == "provider-other_browser"
    binder = http.cookies["sluicegate_desk_provider"]
    assert http.get(sent_back).status_code == 200
    http.cookies.clear()
    http.cookies.set("sluicegate_desk_provider", binder, domain="127.0.0.1", path=BACK)
    assert http.get(sent_back).status_code == 403  # the provider takes a code once
    assert last_entry(desk).details["detail"] == "400"
    provider.declines = True
    assert go(http).status_code == 403
    assert last_entry(desk).details == {
        "why": "provider-declined", "detail": "access_denied", "address": "127.0.0.1"
    }  # fmt: skip


def test_who_is_disabled_here_stays_out_and_a_reset_unties_the_name(
    desk: RunningDesk, provider: RunningProvider, http: httpx.Client
) -> None:
    provider.person = {"sub": "1", "preferred_username": "wang.fang"}
    name = desk.person(Role.BANK_OFFICER, "wang.fang")
    assert go(http).status_code == 200
    with desk.signed_in(Role.ADMINISTRATOR) as admin:
        admin.post(f"/desk/people/{desk.person_id(name)}/disable")
        assert http.get("/desk").status_code == 303
        assert go(http).status_code == 403
        admin.post(f"/desk/people/{desk.person_id(name)}/enable")
        provider.person["sub"] = "2"
        assert go(http).status_code == 403
        admin.post(f"/desk/people/{desk.person_id(name)}/reset")
        assert "/desk/me/password" in go(http).text


def test_while_the_provider_is_away_passwords_still_do(tmp_path: Any) -> None:
    with (
        RunningDesk(tmp_path, oidc_issuer="http://localhost:1", oidc_client_id=CLIENT) as desk,
        httpx.Client(base_url=desk.base, timeout=30) as http,
    ):
        answer = http.get(BEGIN)
        assert answer.status_code == 403
        assert "没有应答" in answer.text
        with desk.signed_in(Role.BANK_OFFICER) as officer:
            assert officer.get("/desk").status_code == 200


def test_a_provider_is_reached_by_tls_and_knows_the_desk() -> None:
    for wrong in ({"oidc_client_id": "desk"}, {}):
        with pytest.raises(ValidationError):
            DeskSettings(oidc_issuer="http://idp.bank.example", **wrong)  # type: ignore[arg-type]


@needs_chromium
def test_a_browser_comes_back_from_another_site_signed_in(
    desk: RunningDesk, http: httpx.Client, browser: Browser
) -> None:
    """With strict cookies a redirect from there would look as if nobody had signed in."""
    del http  # puts the provider right afterwards
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(f"{desk.base}/desk")
    page.get_by_role("link", name="统一认证").click()
    expect(page.get_by_role("heading", name="队列")).to_be_visible()
    expect(page.get_by_text("李伟")).to_be_visible()
    context.close()
