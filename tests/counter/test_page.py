"""The tellers' page in a real Chromium, mostly without JavaScript, and by keyboard alone."""

from __future__ import annotations

import re
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.chromium import SCREENSHOTS, needs_chromium
from tests.counter.counter import ROOT, RunningCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluicegate.streaming.scoring import Scoring

PAYER, PAYEE, VICTIM = "6222021234567890123", "6217009876543210987", "6222020000000000022"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, scoring: Scoring) -> Iterator[RunningCounter]:
    with RunningCounter(tmp_path_factory.mktemp("counter"), scoring) as counter:
        for n in range(4):
            counter.held.paid(scoring, PAYER, VICTIM, 15_000, ago_s=600 - n)
        yield counter


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(
        java_script_enabled=False, viewport={"width": 1100, "height": 900}, locale="zh-CN"
    )
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, running: RunningCounter) -> Page:
    """A teller's browser, signed in."""
    made = context.new_page()
    made.goto(f"{running.client.base_url}/counter")
    made.get_by_label("网点密钥").fill(running.key()["Authorization"].removeprefix("Bearer "))
    made.get_by_role("button", name="登录").click()
    expect(made.get_by_role("heading", name="柜面核查")).to_be_visible()
    return made


def fill(page: Page, amount: str, payer: str = "6222029999999999999") -> None:
    page.get_by_label("付款账户").fill(payer)
    page.get_by_label("收款账户").fill(PAYEE)
    page.get_by_label("金额").fill(amount)


def ask_as_elderly(page: Page) -> None:
    fill(page, "98,000.00")
    page.get_by_label(re.compile("70.79")).check()
    page.get_by_label("公司").check()
    page.get_by_label("收款人与客户的关系").select_option("met_online")
    page.get_by_label("用途").fill("投资养老项目")
    page.get_by_label("提前支取了定期存款").check()
    page.get_by_role("button", name="核查", exact=True).click()


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png", full_page=True)


@needs_chromium
def test_an_everyday_payment_may_be_paid(page: Page) -> None:
    picture(page, "1-ask")
    fill(page, "200")
    page.get_by_role("button", name="核查", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("可以办理")
    expect(page.get_by_text("没有发现可疑之处")).to_be_visible()
    picture(page, "2-allow")


@needs_chromium
def test_money_that_has_just_come_in_is_verified_or_referred_with_reasons(page: Page) -> None:
    fill(page, "59500", payer=PAYER)
    page.get_by_role("button", name="核查", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("先核实|暂不办理"))
    expect(page.get_by_text("1 小时内转入 4 笔")).to_be_visible()
    expect(page.get_by_role("heading", name="请逐项询问")).to_be_visible()
    expect(page.get_by_role("link", name="0512-110")).to_be_visible()
    picture(page, "3-verify")


@needs_chromium
def test_an_elderly_customer_is_spoken_to_plainly_and_the_outcome_is_kept(
    page: Page, running: RunningCounter
) -> None:
    ask_as_elderly(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("暂不办理")
    expect(page.get_by_role("heading", name="请这样对客户说")).to_be_visible()
    expect(page.get_by_text("阿姨/叔叔，您别着急", exact=False)).to_be_visible()  # noqa: RUF001 - Chinese
    picture(page, "4-elderly")
    first = page.locator("fieldset.question").first
    first.get_by_label("有疑点").check()
    page.get_by_label("备注").fill("已联系女儿")
    page.get_by_role("button", name="客户已劝阻").click()
    expect(page.get_by_role("status")).to_contain_text("已记录： 客户已劝阻")  # noqa: RUF001 - Chinese
    expect(first.get_by_label("有疑点")).to_be_checked()
    check_id = page.url.rpartition("/")[2].partition("#")[0]
    kept = running.client.get(f"/v1/checks/{check_id}", headers=running.key()).json()
    (outcome,) = kept["outcomes"]
    assert outcome["note"] == "已联系女儿"
    assert next(iter(outcome["answers"].values())) == "doubt"
    assert kept["customer"]["age"] == 70
    page.get_by_role("link", name="打印版").click()
    expect(page.get_by_text("主管签字")).to_be_visible()
    picture(page, "5-print")


@needs_chromium
def test_english_and_large_type_stay_chosen(page: Page) -> None:
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Counter check")).to_be_visible()
    before = page.get_by_label("Amount").bounding_box()
    page.get_by_role("button", name="Large type").click()
    after = page.get_by_label("Amount").bounding_box()
    assert before is not None
    assert after is not None
    assert after["height"] > 1.3 * before["height"]
    page.get_by_label("Payer's account").fill(PAYER)
    page.get_by_label("Amount").fill("59500")
    page.get_by_label("Payee's account").fill(PAYEE)
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_text("inflows of 1 h totalling")).to_be_visible()
    picture(page, "6-large-english")


@needs_chromium
def test_mistakes_are_named_at_their_fields_and_nothing_typed_is_lost(page: Page) -> None:
    page.get_by_label("金额").fill("12.345")
    page.get_by_label("用途").fill("货款")
    page.get_by_role("button", name="核查", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("请改正")
    expect(page.get_by_label("金额")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("用途")).to_have_value("货款")
    page.get_by_label("金额").fill("12.34")
    page.get_by_role("button", name="核查", exact=True).click()
    expect(page.locator("#payer_account-error")).to_be_visible()
    picture(page, "7-mistake")


@needs_chromium
def test_the_keyboard_is_enough(page: Page) -> None:
    """From the address to the verdict and its outcome without a mouse."""
    keys = page.keyboard  # the first field has the focus
    for text in ("6222029999999999999", PAYEE, "98000"):
        keys.type(text)
        keys.press("Tab")
    keys.press("Tab")  # over the kind of business
    for _ in range(3):
        keys.press("ArrowDown")  # age: 70 to 79
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("先核实")
    expect(page.get_by_text("客户年满 60 岁")).to_be_visible()
    keys.press("Tab")
    while page.locator(":focus").text_content() != "未办理":
        keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("未办理")


@needs_chromium
def test_while_the_worker_is_away_the_page_says_that_this_is_no_permission(
    page: Page, running: RunningCounter
) -> None:
    running.stop_worker()
    try:
        fill(page, "200")
        page.get_by_role("button", name="核查", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("先核实")
        expect(page.get_by_role("heading", name="没有全部核查到")).to_be_visible()
        expect(page.get_by_text("没有发现可疑之处")).to_have_count(0)
        picture(page, "8-degraded")
    finally:
        running.start_worker()
        running.ask_workers()


@needs_chromium
def test_axe_finds_nothing_serious(browser: Browser, running: RunningCounter) -> None:
    """On every page, in both sizes of type; axe itself is a script, so here there are scripts."""
    context = browser.new_context(bypass_csp=True, locale="zh-CN")
    page = context.new_page()
    base = f"{running.client.base_url}/counter"

    def look(where: str) -> None:
        found = Axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, f"{where}: {serious}"

    page.goto(base)
    look("sign-in")
    page.get_by_label("网点密钥").fill(running.key()["Authorization"].removeprefix("Bearer "))
    page.get_by_role("button", name="登录").click()
    look("ask")
    page.get_by_label("金额").fill("1.234")
    page.get_by_role("button", name="核查", exact=True).click()
    look("mistake")
    ask_as_elderly(page)
    look("refer")
    page.get_by_role("button", name="大字").click()
    look("large")
    page.goto(f"{page.url}?view=print")
    look("print")
    page.goto(base)
    fill(page, "200")
    page.get_by_role("button", name="核查", exact=True).click()
    look("allow")
    context.close()


# Over plain HTTP.


def test_without_signing_in_there_is_only_the_way_to_sign_in(counter: RunningCounter) -> None:
    for answer in (
        counter.client.get("/counter"),
        counter.client.post("/counter", data={"amount": "1"}),
        counter.client.get("/counter/checks/c0"),
    ):
        assert answer.status_code == 303
        assert answer.headers["location"] == "/counter/sign-in"


@contextmanager
def signed_in(counter: RunningCounter) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=counter.client.base_url) as client:
        key = counter.key()["Authorization"].removeprefix("Bearer ")
        answer = client.post("/counter/sign-in", data={"key": key})
        assert answer.headers["location"] == "/counter"
        cookie = answer.headers["set-cookie"].lower()
        assert all(each in cookie for each in ("httponly", "samesite=strict", "path=/counter"))
        assert key not in cookie
        yield client


def test_a_form_sent_twice_is_one_check(counter: RunningCounter) -> None:
    with signed_in(counter) as client:
        once = re.search(r'name="once" value="(\w+)"', client.get("/counter").text)
        assert once is not None
        fields = {"amount": "5", "payer_account": PAYER, "once": once[1]}
        first, again = (client.post("/counter", data=fields) for _ in range(2))
        assert first.headers["location"] == again.headers["location"]
        changed = client.post("/counter", data={**fields, "amount": "6"})
        assert changed.headers["location"] != first.headers["location"]


def test_a_form_of_another_site_is_not_taken(counter: RunningCounter) -> None:
    with signed_in(counter) as client:
        fields = {"amount": "5", "payer_account": PAYER}
        bad = client.post("/counter", data=fields, headers={"Origin": "http://elsewhere"})
        assert bad.headers["location"] == "/counter/sign-in"
        good = client.post("/counter", data=fields)
        assert good.headers["location"].startswith("/counter/checks/c")


def test_what_was_typed_is_text_and_nothing_else(counter: RunningCounter) -> None:
    with signed_in(counter) as client:
        evil = '"><script>alert(1)</script>'
        fields = {"amount": "5", "payer_account": PAYER, "purpose": evil}
        told = client.post("/counter", data=fields, follow_redirects=True)
        assert told.status_code == 200
        assert "<script" not in told.text
        assert "&lt;script&gt;" in told.text
        assert "default-src 'none'" in told.headers["content-security-policy"]
        assert told.headers["cache-control"] == "no-store"


def test_signing_out_and_revoking_end_a_session(counter: RunningCounter) -> None:
    with signed_in(counter) as client:
        assert client.get("/counter").status_code == 200
        client.post("/counter/sign-out")
        assert client.get("/counter").status_code == 303


def test_going_back_leads_nowhere_else(counter: RunningCounter) -> None:
    for back in ("//elsewhere/counter", "https://elsewhere/counter", "/v1/checks", "/counter"):
        answer = counter.client.post("/counter/choose", data={"lang": "en", "back": back})
        assert answer.headers["location"] == "/counter"


def test_both_languages_say_the_same_things() -> None:
    file = ROOT / "src" / "sluicegate" / "counter" / "page" / "messages.toml"
    messages = tomllib.loads(file.read_text("utf-8"))
    assert list(messages["zh"]) == list(messages["en"])
