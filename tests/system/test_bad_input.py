"""Whatever the bank sends: refused by name or scored, the stream goes on, the books balance."""

from __future__ import annotations

import hashlib
import json
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from confluent_kafka import Message
    from tests.system.pipeline import Pipeline, Value

pytestmark = pytest.mark.broker

NOW = datetime.now(UTC)
MEBIBYTE = 2**20


def paid(name: str, **changes: object) -> dict[str, object]:
    return {
        "id": name,
        "occurred_at": NOW.isoformat(timespec="milliseconds"),
        "amount": "12.50",
        "payer_account": "6222020200112233445",
        "payee_account": "6217000010012345678",
        **changes,
    }


def written(name: str, **changes: object) -> bytes:
    return json.dumps(paid(name, **changes)).encode()


class Bad(NamedTuple):
    """A message that must be refused, with the reason and the field."""

    value: Value
    reason: str
    field: str = ""


BAD = [
    Bad(None, "NULL_MESSAGE"),
    Bad(b"", "NOT_JSON"),
    Bad(b'{"id": "X1", "amount": ', "NOT_JSON"),
    Bad(b"{'id': 'X2'}", "NOT_JSON"),
    Bad(written("X3") + b"}", "NOT_JSON"),
    Bad(b'{"id": "X4\xff"}', "NOT_UTF8"),
    Bad(b"\xfe\xff\x00{", "NOT_UTF8"),
    Bad(b"[1, 2]", "NOT_AN_OBJECT"),
    Bad(b'"T"', "NOT_AN_OBJECT"),
    Bad(b"[" * 5_000, "NESTED_TOO_DEEP"),
    Bad(
        b'{"id": "A", "id": "B"' + written("X5")[1:].replace(b'"id"', b', "x"', 1),
        "DUPLICATE_FIELD",
        "id",
    ),
    Bad(written("X6")[:-1] + b', "amount": "1.00"}', "DUPLICATE_FIELD", "amount"),
    Bad(b"{}", "MISSING_FIELD", "id"),
    Bad(written("", amount="1.00"), "EMPTY", "id"),
    Bad(written("X" * 65), "TOO_LONG", "id"),
    Bad(written("\u4ea4\u6613"), "NOT_PRINTABLE_ASCII", "id"),
    Bad(json.dumps({**paid("X7"), "id": 7}).encode(), "WRONG_TYPE", "id"),
    Bad(written("X8", amount=True), "WRONG_TYPE", "amount"),
    Bad(written("X9", payer_account=["A"]), "WRONG_TYPE", "payer_account"),
    Bad(written("X10", occurred_at=1_772_328_600), "WRONG_TYPE", "occurred_at"),
    Bad(written("X11", amount="-12.50"), "AMOUNT_NOT_POSITIVE", "amount"),
    Bad(written("X12", amount=0), "AMOUNT_NOT_POSITIVE", "amount"),
    Bad(written("X13", amount="0.001"), "AMOUNT_TOO_PRECISE", "amount"),
    Bad(written("X14", amount="12.505"), "AMOUNT_TOO_PRECISE", "amount"),
    Bad(written("X15", amount="a lot"), "AMOUNT_MALFORMED", "amount"),
    Bad(written("X16", amount="9" * 30), "AMOUNT_TOO_LARGE", "amount"),
    Bad(written("X17", amount="1e9"), "AMOUNT_MALFORMED", "amount"),
    Bad(written("X30", amount=1).replace(b": 1,", b": 1e999999,"), "AMOUNT_TOO_LARGE", "amount"),
    Bad(written("X18", occurred_at="yesterday"), "TIME_MALFORMED", "occurred_at"),
    Bad(written("X19", occurred_at="2026-03-01T09:30:00"), "TIME_WITHOUT_OFFSET", "occurred_at"),
    Bad(written("X20", occurred_at="1873-03-01T09:30:00Z"), "TIME_OUT_OF_RANGE", "occurred_at"),
    Bad(
        written("X21", occurred_at=(NOW + timedelta(hours=2)).isoformat()),
        "TIME_IN_FUTURE",
        "occurred_at",
    ),
    Bad(written("X22", currency="USD"), "CURRENCY_NOT_ACCEPTED", "currency"),
    Bad(written("X23", channel="pigeon"), "UNKNOWN_CHANNEL", "channel"),
    Bad(written("X24", kind="gift"), "UNKNOWN_KIND", "kind"),
    Bad(written("X25", payer_account=None, payee_account=None), "NO_ACCOUNT", "payer_account"),
    Bad(written("X26", payer_account="6222 \u4e2d"), "NOT_PRINTABLE_ASCII", "payer_account"),
    Bad(written("X27", payee_account="9" * 35), "TOO_LONG", "payee_account"),
    Bad(written("X28", memo="x" * MEBIBYTE)[:MEBIBYTE], "NOT_JSON"),
    Bad(written("X29", memo="x" * MEBIBYTE), "MESSAGE_TOO_LARGE"),
]
GOOD = [
    written("G1"),
    written("G2", amount=9_007_199_254_740_993 / 2**53, amount_text="ignored"),
    written("G3", payer_account=None, kind="cash_deposit"),
    written("G4", payee_account=None, kind="cash_withdrawal"),
    written("G5", payer_account="~" * 34, payee_account="!" * 34),
    written("G6", occurred_at="1999-12-31T23:59:59+08:00"),
    json.dumps(paid("G7", note={"nested": [1, {"deep": None}]}), indent=2).encode(),
]
"""The second amount is the float 1.0: read by its text, as every number is."""


def headers_of(message: Message) -> dict[str, str]:
    headers = dict(message.headers() or [])
    return {
        name: value.decode() if isinstance(value, bytes) else value or ""
        for name, value in headers.items()
    }


def test_each_bad_message_is_in_dead_letter_by_name_and_the_books_balance(
    pipeline: Pipeline,
) -> None:
    repeated = [written("R1"), written("R1"), written("R1", amount=12.5)]
    reused = Bad(written("R1", amount="13.00"), "ID_REUSED", "id")
    bad, good = [*BAD, reused], [*GOOD, repeated[0]]
    halves = (len(bad) + 1) // 2
    mixed: list[Value] = []
    for at in range(halves):
        mixed += [each.value for each in bad[2 * at : 2 * at + 2]]
        mixed += good[at : at + 1] + (repeated[1:] if at == len(good) - 1 else [])
    router, worker = pipeline.start("router"), pipeline.start("worker")
    pipeline.send(mixed)
    books = pipeline.until_settled(len(mixed))

    assert (books.sent, books.scored) == (len(bad) + len(good) + 2, len(good))
    assert (books.dead_lettered, books.repeats) == (len(bad), 2)
    assert (books.lost, books.doubled, books.holes, books.orphans) == (0, 0, 0, 0)
    assert_dead_letters(pipeline, mixed, bad)
    assert [part.stop() for part in (router, worker)] == [0, 0]


def assert_dead_letters(pipeline: Pipeline, sent: list[Value], bad: list[Bad]) -> None:
    letters = pipeline.messages(pipeline.topics.dead_letter)
    told = {int(headers_of(letter)["source_offset"]): letter for letter in letters}
    assert len(told) == len(letters) == len(bad)
    for offset, letter in told.items():
        headers, value = headers_of(letter), letter.value()
        refused = next(each for each in bad if each.value == sent[offset])
        assert (headers["reason"], headers["field"]) == (refused.reason, refused.field), refused
        assert headers["source_topic"] == pipeline.topics.transactions
        assert headers["source_partition"] == "0"
        assert headers["detail"] or refused.reason in {"NULL_MESSAGE", "NOT_UTF8"}
        if "length" in headers:
            whole = sent[offset] or b""
            assert headers["length"] == str(len(whole))
            assert headers["sha256"] == hashlib.sha256(whole).hexdigest()
            assert whole.startswith(value or b"-")
        else:
            assert value == sent[offset]


def test_what_was_refused_is_refused_once_though_the_router_dies(pipeline: Pipeline) -> None:
    """It reads the stretch before its last commit again, to know the bank's repeats."""
    router, worker = pipeline.start("router"), pipeline.start("worker")
    first = [written("T1"), b"bad", written("T2"), written("T1")]
    pipeline.send(first)
    pipeline.until_settled(len(first))
    router.stop()
    pipeline.send([written("T2"), written("T1", amount="1.00"), b"bad too", written("T3")])
    again = pipeline.start("router")
    books = pipeline.until_settled(len(first) + 4)
    assert (books.scored, books.repeats, books.dead_lettered) == (3, 2, 3)
    assert (books.lost, books.doubled) == (0, 0)
    offsets = [
        headers_of(letter)["source_offset"]
        for letter in pipeline.messages(pipeline.topics.dead_letter)
    ]
    assert sorted(offsets) == ["1", "5", "6"]
    assert again.stop() == 0
    assert worker.stop() in {0, -signal.SIGTERM}
