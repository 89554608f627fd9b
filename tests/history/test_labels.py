"""Labels: which are read, how they find their transactions, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from sluicegate.errors import Problem
from sluicegate.history.events import Events, read_events
from sluicegate.history.known import History
from sluicegate.history.labels import Labels, read_labels

if TYPE_CHECKING:
    from pathlib import Path


def events(folder: Path, ids: str = "abc") -> Events:
    path = folder / "events.csv"
    pl.DataFrame(
        {
            "id": list(ids),
            "occurred_at": [f"2026-03-01T09:00:0{9 - at}Z" for at in range(len(ids))],
            "amount": ["1.00"] * len(ids),
            "payer_account": ["P"] * len(ids),
        }
    ).write_csv(path)
    return read_events(path)


def labels(folder: Path, columns: str | None = None, **given: Any) -> Labels:
    path = folder / "labels.parquet"
    pl.DataFrame(given).write_parquet(path)
    return read_labels(path, events(folder), columns=columns)


def test_labels_come_in_the_order_of_the_transactions(tmp_path: Path) -> None:
    found = labels(tmp_path, id=["a", "b", "c"], label=[1, 0, 0], scenario=["cycle", "x", "x"])
    assert found.fraud.tolist() == [False, False, True]  # a is the last in time
    assert found.scenario.to_list() == [None, None, "cycle"]
    assert found.sentences() == ["1 of 3 transactions are fraud"]


@pytest.mark.parametrize(
    "values", [[1, 0, 0], [1.0, 0.0, 0.0], [True, False, False], ["Fraud", "normal", " no "]]
)
def test_a_label_can_be_written_in_several_ways(tmp_path: Path, values: list[Any]) -> None:
    found = labels(tmp_path, id=["a", "b", "c"], label=values)
    assert found.fraud.tolist() == [False, False, True]
    assert found.scenario.null_count() == 3


def test_what_has_no_label_is_honest_and_counted(tmp_path: Path) -> None:
    found = labels(tmp_path, id=["b", "z"], label=[1, 1])
    assert found.fraud.tolist() == [False, True, False]
    assert (found.unlabelled, found.unmatched) == (2, 1)
    assert found.sentences()[1:] == [
        "2 transactions without a label, taken as honest",
        "1 labels of transactions that are not in the file",
    ]


def test_a_label_given_twice_counts_once_unless_it_differs(tmp_path: Path) -> None:
    assert labels(tmp_path, id=["a", "a"], label=[1, 1]).fraud.sum() == 1
    with pytest.raises(Problem, match="'a' is labelled both as fraud and as honest"):
        labels(tmp_path, id=["a", "a"], label=[1, 0])


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    found = labels(tmp_path, "txn=id,is_fraud=label", txn=["a"], is_fraud=[1])
    assert found.fraud.sum() == 1


def test_the_map_of_the_transactions_serves_for_the_id_of_the_labels(tmp_path: Path) -> None:
    events(tmp_path)
    path = tmp_path / "labels.csv"
    pl.DataFrame({"txn": ["a"], "label": [1]}).write_csv(path)
    raw = pl.read_csv(tmp_path / "events.csv").rename({"id": "txn"})
    raw.write_csv(tmp_path / "renamed.csv")
    _, found = History(tmp_path / "renamed.csv", path, columns="txn=id").read()
    assert found.fraud.sum() == 1


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"id": ["a"], "label": ["maybe"]}, "1 rows have no readable label"),
        ({"id": ["a"], "label": [None]}, "1 rows have no readable label"),
        ({"id": ["a"], "label": [2]}, "1 rows have no readable label"),
        ({"txn": ["a"], "label": [1]}, "no column for id"),
        ({"id": ["z"], "label": [1]}, "no label names a transaction of the file"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    tmp_path: Path, given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Problem, match=complaint):
        labels(tmp_path, **given)
