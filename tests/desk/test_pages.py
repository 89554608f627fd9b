"""Stories at the desk in a real Chromium: with the mouse, with keys alone, without JavaScript."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from tests.chromium import SCREENSHOTS, needs_chromium
from tests.desk.desk import PASSWORD, RunningDesk, a_mules_view, an_alert

from sluicegate.desk import holders
from sluicegate.desk.keeper import keep
from sluicegate.desk.measures import take_answer
from sluicegate.desk.roles import Role
from sluicegate.desk.tables import MeasureRow
from sluicegate.domain.decision import Answer, MeasureAnswer
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

    second.get_by_role("link", name="措施", exact=True).click()
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


def in_both_languages(page: Page, name: str) -> None:
    """Leaves a picture of the page in Chinese, and one in English."""
    picture(page, name)
    if SCREENSHOTS:
        page.get_by_role("button", name="English").click()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        picture(page, f"{name}-en")
        page.get_by_role("button", name="中文").click()


def test_a_shift_is_handed_over_and_signed_by_both(desk: RunningDesk, seat: Desks) -> None:
    account = a_mule(desk)
    going, coming = seat(Role.BANK_OFFICER), seat(Role.SUPERVISOR, axe=True)
    going.get_by_role("button", name="接办最紧急的").click()
    going.get_by_label("写一条记录").fill("客户称在医院，待回电")  # noqa: RUF001 - Chinese
    going.get_by_role("button", name="添加记录").click()
    going.get_by_role("link", name="交接班").click()
    going.get_by_label("交班说明").fill("2 号窗口的客户 15 时再来；止付须盯到 18 时。")  # noqa: RUF001 - Chinese
    going.get_by_label("再次输入密码").fill("not the password")
    going.get_by_role("button", name="签字交班").click()
    expect(going.get_by_role("alert")).to_contain_text("密码")
    expect(going.get_by_label("交班说明")).to_have_value(re.compile("2 号窗口"))
    going.get_by_label("再次输入密码").fill(PASSWORD)
    going.get_by_role("button", name="签字交班").click()
    expect(going.get_by_text("客户称在医院")).to_be_visible()
    expect(going.get_by_role("button", name="签字接班")).to_have_count(0)

    coming.get_by_role("link", name="交接班").click()
    coming.locator("section.warning a").first.click()
    axe_is_content(coming, "handover of one")
    in_both_languages(coming, "desk-handover")
    coming.get_by_label("再次输入密码").fill(PASSWORD)
    coming.get_by_role("button", name="签字接班").click()
    signed = coming.locator("dl").first
    expect(signed).to_contain_text("银行甲")
    expect(signed).to_contain_text("主管丙")
    coming.goto(f"{desk.base}/desk?whose=mine")
    expect(coming.locator("td.account").first).to_contain_text(account[-4:])


def test_the_police_ask_who_holds_an_account_and_print_the_receipt(
    desk: RunningDesk, seat: Desks, tmp_path: Path
) -> None:
    account, paper = "6217000000000020001", tmp_path / "query.pdf"
    paper.write_bytes(b"%PDF-1.7 query")
    told = {"account": account, "holder_id": "9f2c41", "holder_kind": "person",
            "birth_year": 1954, "branch": "城南支行"}  # fmt: skip
    other = told | {"account": "6217000000000020002", "branch": "城北支行"}
    messages = [(str(each["account"]).encode(), json.dumps(each).encode(), 0)
                for each in (told, other)]  # fmt: skip
    holders.keep(desk.engine, holders.latest(messages))
    page = seat(Role.POLICE_OFFICER, axe=True)
    page.get_by_role("link", name="身份查询").click()
    page.get_by_label("查询内容").select_option("accounts")
    page.get_by_label("账号或持有人编号").fill(account)
    page.get_by_label("案件编号").fill("A32050120260001")
    page.get_by_label("文号").fill("苏公查7")
    page.get_by_label("附件").set_input_files(paper)
    page.get_by_role("button", name="查询", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("dl")).to_contain_text("0309 → 0310")
    axe_is_content(page, "receipt")
    in_both_languages(page, "desk-receipt")
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="退出")).to_be_hidden()
    expect(page.locator("tbody")).to_contain_text("城北支行")
    assert page.pdf().startswith(b"%PDF-")


def test_before_a_measure_runs_out_the_desk_warns_and_then_releases_it(
    desk: RunningDesk, seat: Desks
) -> None:
    account = a_mule(desk)
    page = seat(Role.BANK_OFFICER)
    page.get_by_role("button", name="接办最紧急的").click()
    measures = page.locator("#measures")
    measures.get_by_label("措施", exact=True).select_option("delay")
    measures.get_by_label("理由", exact=True).fill("先核实再放行")
    measures.get_by_label("时长").fill("24")
    measures.get_by_role("button", name="提交").click()
    expect(page.get_by_role("status").first).to_contain_text("已决定")
    case = page.url.partition("#")[0]
    with Session(desk.engine) as session, session.begin():
        row = session.scalars(select(MeasureRow).where(MeasureRow.account == account)).one()
        done = MeasureAnswer(id=row.id, answer=Answer.DONE, answered_at=desk.now())
        take_answer(session, row, done, desk.now())

    desk.ahead = timedelta(hours=22, minutes=30)
    keep(desk.engine, desk.settings, desk.now())
    page = seat(Role.BANK_OFFICER, axe=True)
    page.locator(".news a.expiring").click()
    soon = page.locator("section.card", has_text=account[-4:])
    expect(soon).to_contain_text("延迟")
    axe_is_content(page, "expiring measures")
    in_both_languages(page, "desk-expiry")
    desk.ahead = timedelta(hours=24, minutes=1)
    keep(desk.engine, desk.settings, desk.now())
    page = seat(Role.BANK_OFFICER)
    page.get_by_role("link", name="措施", exact=True).click()
    expect(page.get_by_role("heading", name="即将到期")).to_have_count(0)
    page.goto(case)
    expect(page.locator(".timeline")).to_contain_text("措施到期，自动解除")  # noqa: RUF001
    in_both_languages(page, "desk-expired")
    desk.ahead = timedelta()


def axe_is_content(page: Page, where: str) -> None:
    """Nothing serious on the page; it needs a seat with `axe`."""
    serious = [
        (each["id"], [node["html"][:120] for node in each["nodes"]])
        for each in Axe().run(page).response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{where}: {serious}"


def test_axe_finds_nothing_serious(desk: RunningDesk, seat: Desks) -> None:
    a_mule(desk)
    officer = seat(Role.SUPERVISOR, axe=True)
    axe_is_content(officer, "queue")
    officer.get_by_role("button", name="接办最紧急的").click()
    axe_is_content(officer, "case")
    for path in (
        *("measures", "lists", "audit", "me", "me/code", "me/password"),
        *("identity", "figures", "handover", "wall", "nowhere/else"),
    ):
        officer.goto(f"{desk.base}/desk/{path}")
        if not path.startswith("nowhere"):
            axe_is_content(officer, path)
    officer.goto(f"{desk.base}/desk/cases/0")
    axe_is_content(officer, "refused")
    admin = seat(Role.ADMINISTRATOR, axe=True)
    axe_is_content(admin, "people")
    expect(admin).to_have_url(re.compile("/desk/people$"))
