"""Files of transactions: every format, every way to write a time and an amount."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.domain.transaction import Rules, Transaction, parse_transaction
from sluicegate.errors import Problem
from sluicegate.history.events import Events, _amounts, read_events

if TYPE_CHECKING:
    from pathlib import Path

MAP = "txn_id=id,ts=occurred_at,payer=payer_account,payee=payee_account,type=kind"
ROWS: dict[str, list[Any]] = {
    "txn_id": ["T2", "T1", "T3"],
    "ts": ["2026-03-01T09:30:01+08:00", "2026-03-01T09:30:00.125+08:00", "2026-03-01T01:30:02Z"],
    "payer": ["A1", "A2", None],
    "payee": ["B1", "B2", "B3"],
    "amount": ["12.50", "1000", "0.07"],
    "type": ["TRANSFER", "Salary", "CASH_IN"],
}


def write(folder: Path, suffix: str, rows: dict[str, list[Any]] | None = None) -> Path:
    path = folder / f"events{suffix}"
    frame = pl.DataFrame(ROWS if rows is None else rows)
    match suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".csv":
            frame.write_csv(path)
        case ".csv.gz":
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
        case _:
            frame.write_ndjson(path)
    return path


def read(folder: Path, timezone: str = "UTC", **changes: list[Any]) -> Events:
    """Read a parquet file of one valid row for each of the values given."""
    number = max((len(values) for values in changes.values()), default=1)
    rows: dict[str, list[Any]] = {
        "id": [f"T{each}" for each in range(number)],
        "occurred_at": ["2026-03-01T01:30:00Z"] * number,
        "amount": ["1.00"] * number,
        "payer_account": ["A1"] * number,
    }
    return read_events(write(folder, ".parquet", rows | changes), timezone=timezone)


def texts(events: Events) -> list[dict[str, Any]]:
    return [json.loads(value) for chunk in events.messages() for _, value in chunk]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".ndjson", ".jsonl"])
def test_each_format_gives_the_same_transactions_in_time_order(tmp_path: Path, suffix: str) -> None:
    events = read_events(write(tmp_path, suffix), columns=MAP)
    [messages] = events.messages()
    assert [key for key, _ in messages] == [b"A2", b"A1", b"B3"]
    read_back = [parse_transaction(value, 1_800_000_000_000, Rules()) for _, value in messages]
    assert all(isinstance(each, Transaction) for each in read_back)
    assert [
        (each.id, each.occurred_at_ms, each.amount_minor, each.payer_account, each.kind.value)
        for each in read_back
        if isinstance(each, Transaction)
    ] == [
        ("T1", 1_772_328_600_125, 100_000, "A2", "salary"),
        ("T2", 1_772_328_601_000, 1_250, "A1", "transfer"),
        ("T3", 1_772_328_602_000, 7, None, "other"),
    ]
    assert events.summary.sentences() == [
        "3 transactions, 2026-03-01 01:30 to 2026-03-01 01:30 UTC",
        "1 of a kind that is unknown, taken as other",
    ]


def test_transactions_of_the_same_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    names = [f"T{each * 7919 % 1_000:03}" for each in range(1_000)]
    assert read(tmp_path, id=names).frame["id"].to_list() == names


def test_messages_come_in_chunks_and_none_is_left_out(tmp_path: Path) -> None:
    events = read(tmp_path, id=[f"T{each}" for each in range(7)])
    assert [len(chunk) for chunk in events.messages(3)] == [3, 3, 1]


def test_all_fields_of_the_contract_pass_and_other_columns_do_not(tmp_path: Path) -> None:
    events = read(
        tmp_path,
        memo=['say "字"\n'],
        channel=["ATM"],
        currency=["CNY"],
        payee_bank=[102],
        label=[1],
        branch=[""],
    )
    assert texts(events) == [
        {
            "id": "T0",
            "payer_account": "A1",
            "payee_account": None,
            "memo": 'say "字"\n',
            "channel": "atm",
            "currency": "CNY",
            "payee_bank": "102",
            "branch": None,
            "kind": "other",
            "occurred_at": "2026-03-01T01:30:00.000Z",
            "amount": "1.00",
        }
    ]


def test_an_unknown_channel_becomes_other_and_is_counted(tmp_path: Path) -> None:
    events = read(tmp_path, channel=["telex", None, "mobile"])
    assert events.frame["channel"].to_list() == ["other", "other", "mobile"]
    assert events.summary.other_channels == 1


@pytest.mark.parametrize(
    ("amount", "minor", "rounded"),
    [
        ("12", 1200, 0),
        ("12.", 1200, 0),
        ("-3.5", -350, 0),
        ("0.125", 12, 1),
        ("0.135", 14, 1),
        ("1.500", 150, 0),
        (" 7.10 ", 710, 0),
        ("1e3", 100_000, 0),
        (12, 1200, 0),
        (0.1 + 0.2, 30, 1),
        (2.675, 268, 1),  # the float lies below, its shortest decimal does not
        (0.125, 12, 1),
        (113623.43, 11_362_343, 0),
        (1e15, 10**17, 0),
        (Decimal("1.005"), 100, 1),
        (Decimal("1.0051"), 101, 1),
    ],
)
def test_an_amount_is_rounded_half_to_even_on_its_decimals(
    tmp_path: Path, amount: object, minor: int, rounded: int
) -> None:
    events = read(tmp_path, amount=[amount])
    assert events.frame["amount_minor"].to_list() == [minor]
    assert events.summary.rounded_amounts == rounded


@given(st.lists(st.floats(allow_nan=False, min_value=-1e16, max_value=1e16), min_size=1))
def test_a_float_is_the_shortest_decimal_that_names_it(amounts: list[float]) -> None:
    minor, _ = _amounts(None, pl.Series("amount", amounts))  # type: ignore[arg-type]
    cent = Decimal("0.01")
    expected = [Decimal(str(each)).quantize(cent, ROUND_HALF_EVEN) * 100 for each in amounts]
    assert minor.to_list() == expected


@given(st.lists(st.decimals(-(10**15), 10**15, places=2), min_size=1))
def test_two_decimals_survive_as_text_and_as_float(amounts: list[Decimal]) -> None:
    expected = [int(each * 100) for each in amounts]
    as_text, rounded = _amounts(None, pl.Series([str(each) for each in amounts]))  # type: ignore[arg-type]
    assert (as_text.to_list(), rounded) == (expected, 0)
    small = [each for each in amounts if abs(each) < 10**13] or [Decimal(0)]
    as_float, rounded = _amounts(None, pl.Series([float(each) for each in small]))  # type: ignore[arg-type]
    assert (as_float.to_list(), rounded) == ([int(each * 100) for each in small], 0)


@pytest.mark.parametrize("amount", ["12,5", "", None, "nan", "1e40", float("inf"), float("nan")])
def test_an_amount_that_is_none_names_its_row(tmp_path: Path, amount: object) -> None:
    good = "1.00" if isinstance(amount, str | None) else 1.0
    with pytest.raises(Problem, match="no readable amount") as caught:
        read(tmp_path, amount=[good, amount, amount])
    assert "2 rows" in str(caught.value)
    assert "row 2" in str(caught.value)


@pytest.mark.parametrize(
    ("time", "expected", "assumed"),
    [
        ("2026-03-01T09:30:00+08:00", "2026-03-01T01:30:00.000Z", 0),
        ("2026-03-01 09:30:00 +0800", "2026-03-01T01:30:00.000Z", 0),
        ("2026-03-01T01:30:00z", "2026-03-01T01:30:00.000Z", 0),
        ("2026-03-01 09:30:00", "2026-03-01T01:30:00.000Z", 1),
        ("2026-03-01T09:30:00.1259", "2026-03-01T01:30:00.125Z", 1),
        (datetime(2026, 3, 1, 9, 30, 0, 125_999), "2026-03-01T01:30:00.125Z", 1),  # noqa: DTZ001
        (datetime(2026, 3, 1, 1, 30, tzinfo=UTC), "2026-03-01T01:30:00.000Z", 0),
        (date(2026, 3, 1), "2026-02-28T16:00:00.000Z", 1),
    ],
)
def test_a_time_without_an_offset_is_of_the_zone_given(
    tmp_path: Path, time: object, expected: str, assumed: int
) -> None:
    events = read(tmp_path, timezone="Asia/Shanghai", occurred_at=[time])
    assert [each["occurred_at"] for each in texts(events)] == [expected]
    assert events.summary.times_without_offset == assumed


def test_of_an_hour_that_comes_twice_the_first_is_meant(tmp_path: Path) -> None:
    events = read(tmp_path, timezone="America/New_York", occurred_at=["2026-11-01 01:30:00"])
    assert texts(events)[0]["occurred_at"] == "2026-11-01T05:30:00.000Z"


@pytest.mark.parametrize("time", ["01/03/2026 09:30", "2026-02-30T01:00:00Z", "2026-03-01", None])
def test_a_time_that_is_none_names_its_row(tmp_path: Path, time: object) -> None:
    with pytest.raises(Problem, match="row 2"):
        read(tmp_path, occurred_at=["2026-03-01T01:30:00Z", time])


def test_a_time_that_the_zone_leaves_out_is_no_time(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no readable occurred_at"):
        read(tmp_path, timezone="America/New_York", occurred_at=["2026-03-08 02:30:00"])


def test_a_number_is_no_time(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="Int64, not a time"):
        read(tmp_path, occurred_at=[1_772_328_600])


def test_an_unknown_zone_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="did you mean 'Asia/Shanghai'"):
        read(tmp_path, timezone="Asia/Shanghia")


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ("txn_id", "'txn_id' is not name=field"),
        ("txn_id=idd", "did you mean 'id'"),
        ("txnid=id", "did you mean 'txn_id'"),
        ("txn_id=id,payer=id", "id is mapped twice"),
        ("txn_id=id", "no column for occurred_at, payer_account, payee_account"),
        (None, "--columns, such as txn_id=id"),
    ],
)
def test_a_mistake_in_the_column_map_is_named(
    tmp_path: Path, columns: str | None, part: str
) -> None:
    with pytest.raises(Problem) as caught:
        read_events(write(tmp_path, ".csv"), columns=columns)
    assert part in str(caught.value)


def test_the_map_wins_over_a_column_that_has_the_name_already(tmp_path: Path) -> None:
    path = write(tmp_path, ".csv", ROWS | {"id": ["1", "2", "3"]})
    assert read_events(path, columns=MAP).frame["id"].to_list() == ["T1", "T2", "T3"]


def test_a_file_that_is_not_what_its_name_says_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    path.write_text("id,amount\n")
    with pytest.raises(Problem, match="cannot be read"):
        read_events(path)


@pytest.mark.parametrize(
    ("name", "part"), [("events.xlsx", "known are .parquet"), ("events.parqet", "'.parquet'")]
)
def test_an_unknown_format_is_a_problem(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(Problem, match="unknown format") as caught:
        read_events(tmp_path / name)
    assert part in str(caught.value)


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no such file"):
        read_events(tmp_path / "events.csv")


def test_a_file_without_transactions_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("id,occurred_at,amount,payer_account\n")
    events = read_events(path)
    assert list(events.messages()) == []
    assert events.summary.sentences() == ["no transactions"]
