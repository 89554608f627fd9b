"""What is found out counts in a file from when it was issued, and not before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from sluicegate.domain.directive import Directive
from sluicegate.history.events import read_events
from sluicegate.history.score import Confirmed, score_events, score_file
from sluicegate.history.walk import CHUNK
from sluicegate.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2026, 3, 2, 2, tzinfo=UTC)
PAYMENTS = CHUNK + 40


def at(minutes: float) -> str:
    return (BEGIN + timedelta(minutes=minutes)).isoformat()


def told(id_: str, minutes: float, **more: str) -> Directive:
    said = {"id": id_, "account": "TERMINAL", "kind": "involved", "issued_at": at(minutes)}
    return Directive.model_validate({**said, "reason": "case 7", **more})


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One payment a minute to a terminal, over more than a chunk."""
    file = tmp_path_factory.mktemp("feedback") / "bank.csv"
    lines = [f"T{n},{at(n)},20.00,P{n % 50},TERMINAL" for n in range(PAYMENTS)]
    head = "id,occurred_at,amount,payer_account,payee_account"
    file.write_text("\n".join([head, *lines]), encoding="utf-8")
    return file


def named(scores: pl.DataFrame, pattern: str) -> list[int]:
    """The payments on which a pattern fired."""
    reasons = scores["reasons"].to_list()
    return [n for n, each in enumerate(reasons) if pattern in {one["pattern"] for one in each}]


def test_an_account_found_out_is_known_from_then_on_until_it_is_ended(payments: Path) -> None:
    directives = [
        told("I1", CHUNK + 10, action="end"),
        told("I1", CHUNK - 5),
        told("I2", CHUNK + 20.5, expires_at=at(CHUNK + 30)),
    ]
    events = read_events(payments)
    scores = score_events(Settings(), events, directives=directives)
    found_out = [*range(CHUNK - 5, CHUNK + 10), *range(CHUNK + 21, CHUNK + 30)]
    assert named(scores, "pays-involved-account") == found_out
    assert named(scores, "involved-account-moves") == found_out
    plain = score_events(Settings(), events)
    assert named(plain, "pays-involved-account") == []
    before = CHUNK - 5
    assert scores[:before].equals(plain[:before])


def written(folder: Path, *lines: str) -> Path:
    file = folder / "labels.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_whom_a_confirmed_fraud_paid_is_known_from_when_the_label_was(
    payments: Path, tmp_path: Path
) -> None:
    def found_by(labels: Path, delay_ms: int) -> list[int]:
        out = tmp_path / "scores.parquet"
        score_file(Settings(), payments, out, confirmed=Confirmed(labels, delay_ms))
        return named(pl.read_parquet(out), "pays-involved-account")

    hour_ms = 3_600_000
    plain = written(tmp_path, "id,label", "T100,1", "T90,0")
    assert found_by(plain, hour_ms) == list(range(160, PAYMENTS))
    timed = written(tmp_path, "id,label,known_at", f"T100,1,{at(400)}", "T300,1,")
    assert found_by(timed, hour_ms) == list(range(360, PAYMENTS))
    early = written(tmp_path, "id,label,known_at", f"T100,1,{at(200)}", f"T300,1,{at(500)}")
    assert found_by(early, hour_ms) == list(range(200, PAYMENTS))


def test_what_is_issued_after_the_last_payment_changes_nothing(payments: Path) -> None:
    events = read_events(payments)
    late = score_events(Settings(), events, directives=[told("I1", PAYMENTS)])
    assert late.equals(score_events(Settings(), events))
