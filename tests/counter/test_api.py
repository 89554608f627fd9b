"""The HTTP interface, over real HTTP, with a worker's own pages behind it."""

from __future__ import annotations

import logging
import sqlite3
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.counter.counter import ROOT, RunningCounter
from tests.postgresql import postgresql

from sluicegate.counter.database import revoke_key
from sluicegate.counter.keys import RELOAD_SECONDS, Scope
from sluicegate.judging.patterns import parse_patterns
from sluicegate.settings import Settings
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.scoring import scoring_by

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.streaming.scoring import Scoring

PAYER, PAYEE, VICTIM = "6222021234567890123", "6217009876543210987", "6222020000000000022"
SMALL: dict[str, Any] = {"amount": "200.00", "payer_account": PAYER, "payee_account": PAYEE}
ELDERLY = {**SMALL, "amount": "98000.00", "customer": {"age": 67}}


def ask(counter: RunningCounter, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = counter.client.post("/v1/checks", json=body, headers={**counter.key(), **headers})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def problem(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["type"] == f"urn:sluicegate:problem:{name}"
    assert told["status"] == status
    return told


def make_a_mule(counter: RunningCounter, scoring: Scoring) -> None:
    """Four payments came in within the hour."""
    for n in range(4):
        counter.held.paid(scoring, PAYER, VICTIM, 15_000, ago_s=600 - n)


def test_an_everyday_payment_is_allowed_with_both_sides_judged(counter: RunningCounter) -> None:
    told = ask(counter, SMALL)
    assert told["verdict"] == "allow"
    assert [(side["account"], side["side"]) for side in told["sides"]] == [
        (PAYER, "outflow"),
        (PAYEE, "inflow"),
    ]
    assert told["degraded"] is False
    assert told["pattern_set_version"]
    assert told["took_ms"] > 0


def test_money_that_has_just_come_in_is_asked_about(
    counter: RunningCounter, scoring: Scoring
) -> None:
    make_a_mule(counter, scoring)
    told = ask(counter, {**SMALL, "amount": 59_500})
    assert told["verdict"] in ("verify", "refer")
    payer = told["sides"][0]
    assert {reason["pattern"] for reason in payer["reasons"]} >= {"fast-in-fast-out"}
    assert told["questions"][0]["zh"]
    assert told["next_step"]["en"]
    assert told["desk_phone"] == "0512-110"


def test_nothing_is_remembered_by_a_check(counter: RunningCounter, scoring: Scoring) -> None:
    make_a_mule(counter, scoring)
    memories = [each.memory for each in counter.held.partitions.values()]
    before = [memory.digest() for memory in memories]
    first = ask(counter, {**SMALL, "amount": 59_500})
    second = ask(counter, {**SMALL, "amount": 59_500})
    assert first["score"] == pytest.approx(second["score"], abs=1e-3)  # the minutes pass
    assert [memory.digest() for memory in memories] == before


def test_an_elderly_customer_and_a_new_payee_is_verified_with_plain_words(
    counter: RunningCounter,
) -> None:
    told = ask(counter, ELDERLY)
    assert told["verdict"] == "verify"
    assert told["sides"][0]["reasons"][0]["pattern"] == "elderly-new-payee"
    assert any("安全账户" in each["zh"] for each in told["say"])
    younger = ask(counter, {**ELDERLY, "customer": {"age": 40}})
    assert younger["verdict"] == "allow"


def test_the_thresholds_are_those_of_the_set_that_judges(tmp_path: Path) -> None:
    """Another than the configured file, once one is published."""
    shipped = (ROOT / "config" / "patterns.toml").read_text(encoding="utf-8")
    lenient = shipped.replace("verify = 0.5\n", "").replace("delay = 0.65\n", "delay = 0.74\n")
    published = scoring_by(parse_patterns(lenient, "lenient"), Settings())
    with RunningCounter(tmp_path, published) as counter:
        told = ask(counter, ELDERLY)
    assert told["pattern_set_version"] == published.pattern_set.version
    assert told["sides"][0]["reasons"][0]["pattern"] == "elderly-new-payee"
    assert (told["verdict"], told["measure"]) == ("allow", "watch")


def test_a_broken_deposit_for_an_unknown_company_is_referred_and_becomes_an_alert(
    counter: RunningCounter,
) -> None:
    facts = {"age": 71, "payee_kind": "company", "deposit_broken_early": True}
    told = ask(counter, {**ELDERLY, "customer": facts})
    assert told["verdict"] == "refer"
    with counter.engine.connect() as connection:
        rows = connection.execute(text("SELECT account, value FROM counter_alerts")).all()
    assert [row.account for row in rows] == [PAYER]
    assert '"origin":"counter"' in rows[0].value


def test_with_certificates_it_speaks_tls(tmp_path: Path, scoring: Scoring) -> None:
    certificates = ROOT / "tests" / "streaming" / "certificates"
    files = {"cert_file": certificates / "node.pem", "key_file": certificates / "node.key"}
    with RunningCounter(tmp_path, scoring, **files) as counter:
        url = f"https://127.0.0.1:{counter.port}/healthz"
        trust = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        assert httpx.get(url, verify=trust).text == "ok"
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


# Without the worker.


def test_while_the_worker_is_away_the_policy_answers_and_says_so(counter: RunningCounter) -> None:
    counter.stop_worker()
    told = ask(counter, SMALL)
    assert (told["verdict"], told["degraded"]) == ("verify", True)
    assert told["degraded_because"] == ["away"]
    assert told["sides"] == []
    assert told["questions"]
    counter.start_worker()
    counter.ask_workers()
    assert ask(counter, SMALL)["degraded"] is False


def test_a_side_that_is_restored_or_lags_is_answered_by_the_policy(counter: RunningCounter) -> None:
    number = partition_of(PAYEE, 3)
    for lag, why in ((None, "restoring"), (60_000, "lagging")):
        counter.held.lags = {number: lag}
        told = ask(counter, SMALL)
        assert told["verdict"] == "verify"
        assert told["degraded_because"] in ([why], ["away"])  # by now the workers may be asked
        assert PAYEE not in [side["account"] for side in told["sides"]]


def test_a_worker_that_does_not_answer_costs_no_more_than_the_deadline(
    counter: RunningCounter,
) -> None:
    counter.held.delay_seconds = 20.0
    told = ask(counter, SMALL)
    assert told["degraded_because"] == ["deadline"]
    assert told["verdict"] == "verify"
    assert 300 <= told["took_ms"] < 3_000


def test_a_worker_that_is_slow_to_say_what_it_holds_is_asked_all_the_same(
    counter: RunningCounter,
) -> None:
    counter.held.standing_delay_seconds = 20.0
    counter.ask_workers()
    assert ask(counter, SMALL)["degraded"] is False


def test_a_partition_that_has_moved_is_found_again(counter: RunningCounter) -> None:
    held = counter.held.partitions.pop(partition_of(PAYER, 3))
    assert ask(counter, SMALL)["degraded"] is True
    counter.held.partitions[held.number] = held
    counter.ask_workers()
    assert ask(counter, SMALL)["degraded"] is False


# The contract.


def test_a_check_needs_only_an_amount_and_an_account(counter: RunningCounter) -> None:
    told = ask(counter, {"amount": 5, "payer_account": PAYER})
    assert [side["side"] for side in told["sides"]] == ["outflow"]
    assert told["transaction_id"] == told["check_id"]
    told = ask(counter, {"amount": 5, "payee_account": PAYEE})
    assert [side["side"] for side in told["sides"]] == ["inflow"]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"amount": "12.345"}, "amount", "AMOUNT_TOO_PRECISE"),
        ({"amount": 0}, "amount", "AMOUNT_NOT_POSITIVE"),
        ({"currency": "USD"}, "currency", "CURRENCY_NOT_ACCEPTED"),
        ({"payer_account": None, "payee_account": None}, "payer_account", "NO_ACCOUNT"),
        ({"occurred_at": "tomorrow"}, "occurred_at", "TIME_MALFORMED"),
        ({"customer": {"age": -1}}, "customer.age", "WRONG_TYPE"),
        ({"customer": {"agee": 60}}, "customer.agee", "WRONG_TYPE"),
        ({"customer": []}, "customer", "WRONG_TYPE"),
    ],
)
def test_a_field_that_breaks_the_contract_is_named(
    counter: RunningCounter, change: dict[str, Any], field: str, reason: str
) -> None:
    answer = counter.client.post("/v1/checks", json={**SMALL, **change}, headers=counter.key())
    (error,) = problem(answer, 422, "invalid")["errors"]
    assert (error["field"], error["reason"]) == (field, reason)


def test_what_is_not_an_object_or_too_long_is_refused(counter: RunningCounter) -> None:
    headers = counter.key()
    for body in (b"", b"[]", b'{"amount": NaN}', b"\xff"):
        problem(counter.client.post("/v1/checks", content=body, headers=headers), 400, "not-json")
    long = b'{"memo": "' + b"x" * 20_000 + b'"}'
    problem(counter.client.post("/v1/checks", content=long, headers=headers), 413, "too-large")


def test_an_unknown_path_and_method_are_problems_too(counter: RunningCounter) -> None:
    for answer, status in (
        (counter.client.get("/v2"), 404),
        (counter.client.delete("/v1/checks"), 405),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_batch_is_answered_in_order_at_one_moment(counter: RunningCounter) -> None:
    asked = [{**SMALL, "payer_account": f"62220200000{n:08}"} for n in range(99)]
    answer = counter.client.post("/v1/checks/batch", json={"checks": asked}, headers=counter.key())
    told = answer.json()["checks"]
    assert [each["sides"][0]["account"] for each in told] == [e["payer_account"] for e in asked]
    wrong = [*asked[:2], {**SMALL, "amount": -1}]
    answer = counter.client.post("/v1/checks/batch", json={"checks": wrong}, headers=counter.key())
    (error,) = problem(answer, 422, "invalid")["errors"]
    assert error["field"] == "checks.2.amount"


@pytest.mark.parametrize("body", [{}, {"checks": []}, {"checks": [1]}, {"checks": [SMALL] * 501}])
def test_what_is_no_batch_is_refused(counter: RunningCounter, body: dict[str, Any]) -> None:
    answer = counter.client.post("/v1/checks/batch", json=body, headers=counter.key())
    problem(answer, 422, "invalid")


# Idempotency.


def test_the_same_key_gives_the_same_answer(counter: RunningCounter) -> None:
    headers = {**counter.key(), "Idempotency-Key": "teller-7-0001"}
    first, again = (
        counter.client.post("/v1/checks", json=SMALL, headers=headers).json() for _ in range(2)
    )
    assert first == again
    other = counter.client.post("/v1/checks", json=ELDERLY, headers=headers)
    problem(other, 422, "idempotency-key-reused")
    elsewhere = {**counter.key("0202"), "Idempotency-Key": "teller-7-0001"}
    told = counter.client.post("/v1/checks", json=SMALL, headers=elsewhere).json()
    assert told["check_id"] != first["check_id"]


# Keys.


def test_without_a_good_key_nothing_is_told(counter: RunningCounter) -> None:
    good = counter.key()["Authorization"]
    for shown in ("", "Bearer x", "Bearer sg-000000000000-x", good[:-1] + "_", "Basic eDp5"):
        headers = {"Authorization": shown} if shown else {}
        answer = counter.client.post("/v1/checks", json=SMALL, headers=headers)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_does_only_what_its_scopes_say(counter: RunningCounter) -> None:
    headers = counter.key(scopes=frozenset({Scope.SUMMARY}))
    problem(counter.client.post("/v1/checks", json=SMALL, headers=headers), 403, "forbidden")


def test_a_revoked_key_is_refused_within_two_seconds(counter: RunningCounter) -> None:
    headers = counter.key()
    assert counter.client.post("/v1/checks", json=SMALL, headers=headers).status_code == 200
    key_id = headers["Authorization"].split("-")[1]
    assert revoke_key(counter.engine, key_id, datetime.now(UTC))
    time.sleep(RELOAD_SECONDS + 0.5)
    problem(counter.client.post("/v1/checks", json=SMALL, headers=headers), 401, "unauthorized")


def test_the_database_holds_no_key(counter: RunningCounter, tmp_path: Path) -> None:
    secret = counter.key()["Authorization"].split("-", 2)[2]  # it may hold hyphens of its own
    assert len(secret) > 30
    with sqlite3.connect(tmp_path / "counter.db") as database:
        rows = database.execute("SELECT * FROM counter_keys").fetchall()
    assert rows
    assert secret not in str(rows)
    assert "$argon2id$" in str(rows)


def test_a_key_that_asks_too_much_waits(tmp_path: Path, scoring: Scoring) -> None:
    with RunningCounter(tmp_path, scoring, key_checks_per_second=2) as counter:
        headers = counter.key()
        answers = [counter.client.post("/v1/checks", json=SMALL, headers=headers) for _ in range(6)]
        assert [each.status_code for each in answers[:4]] == [200] * 4
        problem(answers[-1], 429, "rate-limited")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert ask(counter, SMALL)  # another key is not held up


def test_more_than_is_worked_on_at_once_is_shed(tmp_path: Path, scoring: Scoring) -> None:
    with RunningCounter(tmp_path, scoring, max_in_flight=1) as counter:
        counter.held.delay_seconds = 0.2
        headers = counter.key()
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda _: counter.client.post("/v1/checks", json=SMALL, headers=headers),
                    range(8),
                )
            )
        codes = sorted(each.status_code for each in answers)
        assert codes[0] == 200
        assert codes[-1] == 503
        shed = next(each for each in answers if each.status_code == 503)
        problem(shed, 503, "overloaded")
        assert shed.headers["retry-after"] == "1"


# What is kept.


def test_a_check_is_kept_with_its_outcomes_for_its_branch(counter: RunningCounter) -> None:
    headers = counter.key("0101")
    told = counter.client.post("/v1/checks", json=ELDERLY, headers=headers).json()
    path = f"/v1/checks/{told['check_id']}"
    outcome = {"outcome": "customer_persuaded", "note": "daughter called", "answers": {"?": "no"}}
    answer = counter.client.post(f"{path}/outcome", json=outcome, headers=headers)
    assert answer.status_code == 201
    kept = counter.client.get(path, headers=headers).json()
    assert kept["answer"] == told
    assert kept["transaction"]["amount"] == "98000.00"
    assert kept["customer"]["age"] == 67
    assert [each["outcome"] for each in kept["outcomes"]] == ["customer_persuaded"]
    problem(counter.client.get(path, headers=counter.key("0202")), 404, "not-found")
    assert counter.client.get(path, headers=counter.key("*")).status_code == 200


def test_on_postgresql_a_check_is_answered_once_and_kept_with_its_outcome(
    tmp_path: Path, scoring: Scoring
) -> None:
    with (
        postgresql() as url,
        RunningCounter(tmp_path, scoring, database_url=url) as counter,
    ):
        headers = {**counter.key(), "Idempotency-Key": "once"}
        first, again = (
            counter.client.post("/v1/checks", json=ELDERLY, headers=headers).json()
            for _ in range(2)
        )
        assert first == again
        path = f"/v1/checks/{first['check_id']}"
        counter.client.post(f"{path}/outcome", json={"outcome": "refused"}, headers=headers)
        kept = counter.client.get(path, headers=headers).json()
        assert kept["answer"] == first
        assert [each["outcome"] for each in kept["outcomes"]] == ["refused"]


def test_the_audit_can_only_be_added_to(counter: RunningCounter) -> None:
    ask(counter, SMALL)
    for statement in ("UPDATE counter_checks SET verdict = 'allow'", "DELETE FROM counter_checks"):
        with (
            pytest.raises(IntegrityError, match="only ever added"),
            counter.engine.begin() as connection,
        ):
            connection.execute(text(statement))


def test_no_verdict_is_told_that_is_not_in_the_audit(counter: RunningCounter) -> None:
    headers = counter.key()
    with counter.engine.begin() as connection:
        connection.execute(text("ALTER TABLE counter_checks RENAME TO elsewhere"))
    answer = counter.client.post("/v1/checks", json=SMALL, headers=headers)
    problem(answer, 503, "audit-unavailable")


def test_own_log_lines_mask_accounts(
    counter: RunningCounter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        told = ask(counter, ELDERLY)
        counter.client.get(f"/v1/accounts/{PAYER}/summary", headers=counter.key())
    assert told["check_id"] in caplog.text
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("sluicegate")]
    assert not [line for line in ours if PAYER in line]
    assert "***************0123" in "".join(ours)


# Accounts.


def test_the_summary_of_an_account_masks_single_legs(
    counter: RunningCounter, scoring: Scoring
) -> None:
    make_a_mule(counter, scoring)
    path = f"/v1/accounts/{PAYER}/summary"
    masked = counter.client.get(path, headers=counter.key(scopes=frozenset({Scope.SUMMARY}))).json()
    assert masked["inflow_count"] == 4
    assert {leg["amount"] for leg in masked["recent"]} == {"10000-50000"}
    assert {leg["counterparty"] for leg in masked["recent"]} == {None}
    plain = counter.client.get(path, headers=counter.key()).json()
    assert {leg["amount"] for leg in plain["recent"]} == {"15000.00"}
    assert plain["recent"][0]["counterparty"]
    unknown = counter.client.get("/v1/accounts/nobody/summary", headers=counter.key())
    problem(unknown, 404, "not-found")
    counter.stop_worker()
    problem(counter.client.get(path, headers=counter.key()), 503, "account-unavailable")


def test_an_account_with_a_slash_has_a_summary(counter: RunningCounter, scoring: Scoring) -> None:
    counter.held.paid(scoring, "GB/12", VICTIM, 5, ago_s=9)
    answer = counter.client.get("/v1/accounts/GB%2F12/summary", headers=counter.key())
    assert answer.json()["account"] == "GB/12"


def test_figures_are_counted(counter: RunningCounter) -> None:
    ask(counter, SMALL)
    value = counter.metrics.registry.get_sample_value
    assert value("sluicegate_counter_checks_total", {"verdict": "allow"}) == 1
    assert value("sluicegate_counter_check_seconds_count") == 1
