"""Stories at the desk in a real Chromium: with the mouse, with keys alone, without JavaScript."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import update
from sqlalchemy.orm import Session
from tests.chromium import SCREENSHOTS, needs_chromium
from tests.desk.desk import PASSWORD, RunningDesk, a_mules_view, an_alert

from sluicegate.desk.keeper import keep
from sluicegate.desk.roles import Role
from sluicegate.domain.measure import Measure
from sluicegate.liaison.cases import CaseRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MULE, OTHER = "6217000000000000017", "6222020000000000044"
YUAN = 100
expect.set_options(timeout=30_000)

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    with RunningDesk(tmp_path_factory.mktemp("desk")) as running:
        for role in Role:
            running.person(role)
        yield running


@pytest.fixture(autouse=True)
def cases(desk: RunningDesk) -> None:
    """What waits at the beginning of each story."""
    desk.ahead = timedelta()
    with Session(desk.engine) as session, session.begin():
        session.execute(update(CaseRow).values(state="closed"))
    for n in range(6):
        desk.case(
            f"62220200000000010{desk.count:02}", (n + 1) * 1_000 * YUAN, pass_through=0.6 + n / 20
        )


@pytest.fixture
def contexts() -> Iterator[list[BrowserContext]]:
    made: list[BrowserContext] = []
    yield made
    for each in made:
        each.close()


class Desks:
    """Opens the desk for people, each in a browser of their own."""

    def __init__(self, browser: Browser, desk: RunningDesk, made: list[BrowserContext]) -> None:
        self._browser, self._desk, self._made = browser, desk, made

    def __call__(self, role: Role, *, scripts: bool = True, axe: bool = False) -> Page:
        context = self._browser.new_context(
            java_script_enabled=scripts,
            bypass_csp=axe,
            viewport={"width": 1360, "height": 900},
            locale="zh-CN",
        )
        self._made.append(context)
        page = context.new_page()
        page.goto(f"{self._desk.base}/desk")
        page.get_by_label("用户名").fill(role.value.replace("_", "."))
        page.get_by_label("密码", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="登录").click()
        expect(page.get_by_role("button", name="退出")).to_be_visible()
        return page


@pytest.fixture
def seat(browser: Browser, desk: RunningDesk, contexts: list[BrowserContext]) -> Desks:
    return Desks(browser, desk, contexts)


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png", full_page=False)


def a_mule(desk: RunningDesk) -> str:
    """A case with something to see: the worst of all."""
    at = desk.now() - timedelta(minutes=9)
    account = f"62170000000000{desk.count:05}"
    desk.count += 10
    alerts = [
        an_alert(
            9_000 + desk.count + n, account, at + timedelta(minutes=n), (n + 5) * 900_000 * YUAN,
            Measure.STOP_PAYMENT, "inflow", fast_in_fast_out=0.8, convergence=0.5 + n / 10,
        )
        for n in range(4)
    ]  # fmt: skip
    desk.alerts(*alerts, at=at)
    desk.views[account] = a_mules_view(account, at, alerts)
    return account


def test_the_queue_says_what_is_worst_and_one_click_claims_it(
    desk: RunningDesk, seat: Desks
) -> None:
    account = a_mule(desk)
    page = seat(Role.BANK_OFFICER)
    first = page.locator("table.queue tbody tr").first
    expect(first.locator("td.account")).to_have_text(f"{account[:4]}…{account[-4:]}")
    expect(first.locator(".clock.out")).to_contain_text("超时")
    expect(page.locator(".live.on")).to_have_text("实时更新")
    picture(page, "desk-queue")
    page.get_by_role("button", name="接办最紧急的").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(account[-4:])
    expect(page.get_by_text("办理中")).to_be_visible()
    expect(page.get_by_text("账户记忆实时查得")).to_be_visible()
    expect(page.locator("svg.chart")).to_have_count(2)
    expect(page.locator("tr.alerted")).to_have_count(4)
    picture(page, "desk-case")


def test_a_new_case_comes_into_the_queue_by_itself(desk: RunningDesk, seat: Desks) -> None:
    page = seat(Role.BANK_OFFICER)
    expect(page.locator(".live.on")).to_be_visible()
    desk.case("6217000000000007788")
    expect(page.locator("td.account", has_text="7788")).to_be_visible()
    assert page.evaluate("performance.getEntriesByType('navigation').length") == 1


def test_a_stop_payment_needs_a_second_person_and_expires_by_itself(
    desk: RunningDesk, seat: Desks, tmp_path: Path
) -> None:
    account = a_mule(desk)
    papers = tmp_path / "stop.pdf"
    papers.write_bytes(b"%PDF-1.7 application")
    officer, second = seat(Role.BANK_OFFICER), seat(Role.POLICE_OFFICER)
    officer.get_by_role("button", name="接办最紧急的").click()
    measures = officer.locator("#measures")
    measures.get_by_label("措施", exact=True).select_option("stop_payment")
    measures.get_by_label("依据", exact=True).select_option("police")
    measures.get_by_label("理由", exact=True).fill("受害人报警，资金正在转移")  # noqa: RUF001 - Chinese
    measures.get_by_label("时长").fill("49")
    measures.get_by_role("button", name="提交").click()
    expect(officer.get_by_role("alert")).to_contain_text("时长超过规定")
    expect(measures.get_by_label("理由", exact=True)).to_have_value(re.compile("受害人报警"))
    measures.get_by_label("时长").fill("48")
    measures.get_by_label("种类").select_option("03")
    measures.get_by_label("文号").fill("苏公止118")
    measures.get_by_label("文件").set_input_files(papers)
    measures.get_by_role("button", name="提交").click()
    expect(officer.get_by_role("status").first).to_contain_text("等待另一位同事审批")
    expect(measures.get_by_text("须由另一位同事审批")).to_be_visible()

    second.get_by_role("link", name="措施").click()
    waiting = second.locator("section.card", has_text=account[-4:])
    expect(waiting).to_contain_text("0101")
    picture(second, "desk-approve")
    waiting.get_by_role("button", name="同意").click()
    expect(second.get_by_role("status").first).to_contain_text("已发往核心系统")
    officer.reload()
    expect(measures.get_by_text("已发出，待答复")).to_be_visible()  # noqa: RUF001 - Chinese

    ends = desk.now() + timedelta(hours=48, minutes=1)
    keep(desk.engine, desk.settings, ends)
    officer.reload()
    expect(measures.get_by_text("已结束")).to_be_visible()
    expect(officer.locator(".timeline")).to_contain_text("措施到期，自动解除")  # noqa: RUF001


def test_the_keyboard_is_enough(desk: RunningDesk, seat: Desks) -> None:
    """From the queue to a decided measure without a mouse."""
    account = a_mule(desk)
    page = seat(Role.SUPERVISOR)
    keys = page.keyboard
    keys.press("j")
    keys.press("j")
    keys.press("k")
    expect(page.locator("tr.current td.account")).to_contain_text(account[-4:])
    keys.press("x")
    expect(page.locator("#chosen-count")).to_have_text("(1)")
    keys.press("c")
    expect(page.get_by_role("heading", level=1)).to_contain_text(account[-4:])
    keys.press("m")
    expect(page.locator("#new-measure")).to_be_focused()
    keys.type("延迟")
    page.locator("#new-measure").select_option("delay")
    keys.press("Tab")
    keys.press("Tab")
    keys.type("先核实再放行")
    keys.press("Tab")
    keys.type("24")
    keys.press("Enter")
    expect(page.locator("details.measure")).to_contain_text("已发出")
    page.goto(f"{desk.base}/desk")
    keys.press("/")
    expect(page.get_by_label("账户", exact=True)).to_be_focused()
    keys.type(account)
    keys.press("Enter")
    expect(page.locator("table.queue tbody tr")).to_have_count(1)
    keys.press("j")
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(account[-4:])


def test_without_javascript_everything_can_be_done(desk: RunningDesk, seat: Desks) -> None:
    account = a_mule(desk)
    page = seat(Role.BANK_OFFICER, scripts=False)
    expect(page.get_by_text("刷新页面可更新")).to_be_visible()
    page.get_by_label("账户", exact=True).fill(account)
    page.get_by_role("button", name="查看").click()
    page.get_by_role("button", name="接办", exact=True).click()
    expect(page.get_by_text("办理中")).to_be_visible()
    measures = page.locator("#measures")
    measures.get_by_label("措施", exact=True).select_option("limit")
    measures.get_by_label("理由", exact=True).fill("先限额再核实")
    measures.get_by_label("金额").fill("5,000.00")
    measures.get_by_role("button", name="提交").click()
    expect(page.get_by_role("status").first).to_contain_text("已决定")
    page.get_by_label("写一条记录").fill("已联系客户")
    page.get_by_role("button", name="添加记录").click()
    expect(page.locator(".timeline")).to_contain_text("已联系客户")
    page.get_by_role("button", name="显示完整账号").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(account)
    page.get_by_role("button", name="办结").click()
    expect(page.get_by_role("status").first).to_contain_text("已办结")


def test_many_false_alarms_are_dismissed_at_once(desk: RunningDesk, seat: Desks) -> None:
    page = seat(Role.BANK_OFFICER)
    rows = page.locator("table.queue tbody tr")
    chosen = [str(rows.nth(n).get_attribute("data-case")) for n in (1, 2)]
    for each in chosen:
        page.locator(f"tr[data-case='{each}']").get_by_role("checkbox").check()
    page.get_by_label("排除原因").select_option("false_alarm")
    page.get_by_role("button", name="排除勾选的").click()
    expect(page.get_by_role("status").first).to_contain_text("已排除")
    assert [desk.case_row(each).outcome for each in chosen] == ["false_alarm"] * 2


def test_english_stays_chosen(seat: Desks) -> None:
    page = seat(Role.ANALYST)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    page.locator("td.account a").first.click()
    expect(page.get_by_role("heading", name="Reasons", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("h1 .account")).to_have_text("••••")
    picture(page, "desk-english")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


def test_axe_finds_nothing_serious(desk: RunningDesk, seat: Desks) -> None:
    a_mule(desk)
    axe = Axe()

    def look(page: Page, where: str) -> None:
        found = axe.run(page).response["violations"]
        serious = [
            (each["id"], [node["html"][:120] for node in each["nodes"]])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert not serious, f"{where}: {serious}"

    officer = seat(Role.SUPERVISOR, axe=True)
    look(officer, "queue")
    officer.get_by_role("button", name="接办最紧急的").click()
    look(officer, "case")
    for path in (
        *("measures", "lists", "audit", "me", "me/code", "me/password"),
        *("identity", "figures", "handover", "wall", "nowhere/else"),
    ):
        officer.goto(f"{desk.base}/desk/{path}")
        if not path.startswith("nowhere"):
            look(officer, path)
    officer.goto(f"{desk.base}/desk/cases/0")
    look(officer, "refused")
    admin = seat(Role.ADMINISTRATOR, axe=True)
    look(admin, "people")
    expect(admin).to_have_url(re.compile("/desk/people$"))
