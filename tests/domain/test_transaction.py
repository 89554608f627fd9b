import json
from collections.abc import Mapping

import jsonschema  # type: ignore[import-untyped]
import pytest

from sluicegate.domain.transaction import (
    Channel,
    Kind,
    Refusal,
    Refused,
    Rules,
    Transaction,
    parse_transaction,
    transaction_schema,
)

RULES = Rules()
RECORDED_AT_MS = 1_772_328_600_125
USUAL: Mapping[str, object] = {
    "id": "T-1",
    "occurred_at": "2026-03-01T09:30:00.125+08:00",
    "amount": "12.50",
    "currency": "CNY",
    "payer_account": "6222020200112233445",
    "payee_account": "6217000010012345678",
    "channel": "mobile",
    "kind": "transfer",
}


def message(**changes: object) -> bytes:
    return json.dumps({**USUAL, **changes}).encode()


def without(*fields: str) -> bytes:
    return json.dumps({name: USUAL[name] for name in USUAL if name not in fields}).encode()


def read(raw: bytes | None) -> Transaction | Refused:
    return parse_transaction(raw, RECORDED_AT_MS, RULES)


def accepted(raw: bytes) -> Transaction:
    transaction = read(raw)
    assert isinstance(transaction, Transaction), transaction
    return transaction


def test_a_usual_message_is_accepted_with_its_values() -> None:
    transaction = accepted(message(memo="\u623f\u79df", unknown={"a": [1, {"b": None}]}))
    assert transaction == Transaction.model_validate(
        {
            **USUAL,
            "occurred_at": "2026-03-01T01:30:00.125Z",
            "amount": "12.5",
            "memo": "\u623f\u79df",
        }
    )
    assert (transaction.channel, transaction.kind) == (Channel.MOBILE, Kind.TRANSFER)
    assert (transaction.amount_minor, transaction.occurred_at_ms) == (12_50, RECORDED_AT_MS)


def test_what_is_written_reads_back_the_same() -> None:
    transaction = accepted(message(memo='"\\\n', ip="::1", payer_bank="102100099996", kind="fee"))
    assert accepted(transaction.wire()) == transaction


def test_left_out_and_null_mean_the_same() -> None:
    optional = set(Transaction.model_fields) - {"id", "occurred_at_ms", "amount_minor"}
    nulls = dict.fromkeys(optional - {"payer_account"})
    left_out = without("currency", "payee_account", "channel", "kind")
    assert accepted(message(**nulls)) == accepted(left_out)
    assert accepted(left_out).channel is Channel.OTHER
    assert accepted(left_out).currency == "CNY"


def test_the_base_currency_is_what_no_currency_means() -> None:
    euros = Rules(base_currency="EUR")
    transaction = parse_transaction(without("currency"), RECORDED_AT_MS, euros)
    assert isinstance(transaction, Transaction)
    assert transaction.currency == "EUR"
    refused = parse_transaction(message(), RECORDED_AT_MS, euros)
    assert refused == Refused(Refusal.CURRENCY_NOT_ACCEPTED, "currency", "'CNY' is not EUR")


@pytest.mark.parametrize(
    ("text", "occurred_at_ms"),
    [
        ("1970-01-02T00:00:00Z", 86_400_000),
        ("1970-01-01T23:59:00-00:01", 86_400_000),
        ("2024-02-29T23:59:59.999+00:00", 1_709_251_199_999),
        ("2024-02-29t23:59:59.9999999999z", 1_709_251_199_999),
        ("2025-12-31T16:00:00.5-08:00", 1_767_225_600_500),
        ("2026-03-01T01:35:00.125Z", RECORDED_AT_MS + 300_000),
    ],
)
def test_a_time_is_cut_to_milliseconds_utc(text: str, occurred_at_ms: int) -> None:
    assert accepted(message(occurred_at=text)).occurred_at_ms == occurred_at_ms


def test_the_limits_themselves_are_accepted() -> None:
    longest = dict.fromkeys(
        ("payer_region", "payee_region", "device_id", "ip", "branch"), "中" * 64
    )
    banks = {"payer_bank": "1" * 14, "payee_bank": "\u4e2d" * 14}
    accounts = {"payer_account": "1" * 34, "payee_account": "~ !"}
    accepted(message(id="x" * 64, memo="\U0001f600" * 512, **longest, **banks, **accounts))
    short = message()
    assert isinstance(parse_transaction(short, 0, Rules(max_ahead_ms=10**15)), Transaction)
    assert isinstance(accepted(short + b" " * (RULES.max_bytes - len(short))), Transaction)


OBJECT = [
    (None, Refusal.NULL_MESSAGE),
    (b" " * (RULES.max_bytes + 1), Refusal.MESSAGE_TOO_LARGE),
    (b'{"id":"\xff"}', Refusal.NOT_UTF8),
    (b'{"id":"\xed\xa0\x80"}', Refusal.NOT_UTF8),
    (b'{"id":"\xc0\x80"}', Refusal.NOT_UTF8),
    (message().decode().encode("utf-16"), Refusal.NOT_UTF8),
    (b"", Refusal.NOT_JSON),
    (b"\xef\xbb\xbf" + message(), Refusal.NOT_JSON),
    (message()[:-1], Refusal.NOT_JSON),
    (message() + b"{}", Refusal.NOT_JSON),
    (message().replace(b'"12.50"', b"12."), Refusal.NOT_JSON),
    (message().replace(b'"12.50"', b"012"), Refusal.NOT_JSON),
    (message().replace(b'"12.50"', b"NaN"), Refusal.NOT_JSON),
    (message().replace(b'"12.50"', b"-Infinity"), Refusal.NOT_JSON),
    (message().replace(b"T-1", b"T\n1"), Refusal.NOT_JSON),
    (message().replace(b"T-1", rb"T\x1"), Refusal.NOT_JSON),
    (b"'id'", Refusal.NOT_JSON),
    (b"[" * 1_000_000, Refusal.NESTED_TOO_DEEP),
    (b'{"a":' * 33 + b"1" + b"}" * 33, Refusal.NESTED_TOO_DEEP),
    (b"[]", Refusal.NOT_AN_OBJECT),
    (b"null", Refusal.NOT_AN_OBJECT),
    (b'"text"', Refusal.NOT_AN_OBJECT),
    (b"9" * 10_000, Refusal.NOT_AN_OBJECT),
]


@pytest.mark.parametrize(("raw", "refusal"), OBJECT, ids=range(len(OBJECT)))
def test_a_message_that_is_no_object_is_refused_as_a_whole(
    raw: bytes | None, refusal: Refusal
) -> None:
    refused = read(raw)
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.field) == (refusal, None)


FIELDS = [
    (message().replace(b'"id"', b'"id":"A","id"'), "id", Refusal.DUPLICATE_FIELD),
    (message().replace(b'"id"', rb'"\u0069d":"A","id"'), "id", Refusal.DUPLICATE_FIELD),
    (message(x=1).replace(b'"x"', b'"x":1,"x"'), "x", Refusal.DUPLICATE_FIELD),
    (message(x=1).replace(b'"x": 1', b'"x":{"y":1,"y":1}'), "y", Refusal.DUPLICATE_FIELD),
    (b"{}", "id", Refusal.MISSING_FIELD),
    (without("amount"), "amount", Refusal.MISSING_FIELD),
    (without("occurred_at"), "occurred_at", Refusal.MISSING_FIELD),
    (message(id=None), "id", Refusal.WRONG_TYPE),
    (message(id=7), "id", Refusal.WRONG_TYPE),
    (message(payer_account=6222020200112233445), "payer_account", Refusal.WRONG_TYPE),
    (message(amount=True), "amount", Refusal.WRONG_TYPE),
    (message(amount=None), "amount", Refusal.WRONG_TYPE),
    (message(amount=["1"]), "amount", Refusal.WRONG_TYPE),
    (message(occurred_at=1772328600), "occurred_at", Refusal.WRONG_TYPE),
    (message(currency=156), "currency", Refusal.WRONG_TYPE),
    (message(channel=0), "channel", Refusal.WRONG_TYPE),
    (message(kind=[]), "kind", Refusal.WRONG_TYPE),
    (message(memo={}), "memo", Refusal.WRONG_TYPE),
    (message(id=""), "id", Refusal.EMPTY),
    (message(payee_account=""), "payee_account", Refusal.EMPTY),
    (message(id="x" * 65), "id", Refusal.TOO_LONG),
    (message(payer_account="1" * 35), "payer_account", Refusal.TOO_LONG),
    (message(payer_bank="1" * 15), "payer_bank", Refusal.TOO_LONG),
    (message(ip="1" * 65), "ip", Refusal.TOO_LONG),
    (message(memo="\u623f" * 513), "memo", Refusal.TOO_LONG),
    (message(memo="\ud800"), "memo", Refusal.NOT_TEXT),
    (message(memo="a\0"), "memo", Refusal.NOT_TEXT),
    (message(id="\udfff"), "id", Refusal.NOT_TEXT),
    (message(id="\u623f"), "id", Refusal.NOT_PRINTABLE_ASCII),
    (message(id="T\x7f"), "id", Refusal.NOT_PRINTABLE_ASCII),
    (message(payer_account="1\n"), "payer_account", Refusal.NOT_PRINTABLE_ASCII),
    (message(amount="twelve"), "amount", Refusal.AMOUNT_MALFORMED),
    (message(amount="0.00"), "amount", Refusal.AMOUNT_NOT_POSITIVE),
    (message(amount=-1), "amount", Refusal.AMOUNT_NOT_POSITIVE),
    (message(amount=0.001), "amount", Refusal.AMOUNT_TOO_PRECISE),
    (message(amount=1e14), "amount", Refusal.AMOUNT_TOO_LARGE),
    (message(occurred_at="2026-03-01"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01 09:30:00Z"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-02-29T00:00:00Z"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01T24:00:00Z"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2016-12-31T23:59:60Z"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01T00:00:00+24:00"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01T00:00:00+08:60"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01T00:00:00.Z"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01T00:00:00Z\n"), "occurred_at", Refusal.TIME_MALFORMED),
    (message(occurred_at="2026-03-01T00:00:00"), "occurred_at", Refusal.TIME_WITHOUT_OFFSET),
    (message(occurred_at="0000-01-01T00:00:00Z"), "occurred_at", Refusal.TIME_OUT_OF_RANGE),
    (message(occurred_at="1970-01-01T23:59:59Z"), "occurred_at", Refusal.TIME_OUT_OF_RANGE),
    (message(occurred_at="2100-01-01T00:00:00Z"), "occurred_at", Refusal.TIME_OUT_OF_RANGE),
    (message(occurred_at="9999-12-31T23:59:59-23:59"), "occurred_at", Refusal.TIME_OUT_OF_RANGE),
    (message(occurred_at="2026-03-01T01:35:00.126Z"), "occurred_at", Refusal.TIME_IN_FUTURE),
    (message(currency="USD"), "currency", Refusal.CURRENCY_NOT_ACCEPTED),
    (message(currency="cny"), "currency", Refusal.CURRENCY_NOT_ACCEPTED),
    (message(channel="Mobile"), "channel", Refusal.UNKNOWN_CHANNEL),
    (message(kind=""), "kind", Refusal.UNKNOWN_KIND),
    (message(payer_account=None, payee_account=None), "payer_account", Refusal.NO_ACCOUNT),
    (without("payer_account", "payee_account"), "payer_account", Refusal.NO_ACCOUNT),
]


@pytest.mark.parametrize(("raw", "field", "refusal"), FIELDS, ids=range(len(FIELDS)))
def test_a_bad_field_is_refused_by_name(raw: bytes, field: str, refusal: Refusal) -> None:
    refused = read(raw)
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.field) == (refusal, field)
    assert 0 < len(refused.detail) < 120


def test_every_refusal_has_its_example() -> None:
    shown = {refusal for _, refusal in OBJECT} | {refusal for *_, refusal in FIELDS}
    of_others = {Refusal.UNKNOWN_VALUE, Refusal.NUMBER_OUT_OF_RANGE, Refusal.DATE_MALFORMED}
    of_others |= {Refusal.DIRECTIVE_INCOMPLETE, Refusal.DIRECTIVE_CONTRADICTORY}
    assert shown == set(Refusal) - of_others - {Refusal.ID_REUSED}  # which only the router sees


@pytest.mark.parametrize("field", ["id", "amount", "occurred_at", "currency", "channel", "kind"])
def test_an_account_number_in_the_wrong_field_is_not_repeated_in_full(field: str) -> None:
    refused = read(message(**{field: "6222020200112233445" * 4}))
    assert isinstance(refused, Refused)
    assert "62220202" not in refused.detail


def test_a_refusal_can_always_be_written_as_utf8() -> None:
    refused = read(rb'{"a\ud800":1,"a\ud800":2}')
    assert isinstance(refused, Refused)
    assert (refused.field or "").encode() == rb"a\ud800"


def test_the_schema_describes_the_message() -> None:
    validator = jsonschema.Draft202012Validator(transaction_schema())
    validator.check_schema(transaction_schema())
    for good in (USUAL, {**USUAL, "amount": 12.5, "payer_account": None, "x": []}):
        assert validator.is_valid(good)
    for bad in (
        {**USUAL, "amount": "1.005"},
        {**USUAL, "amount": 0},
        {**USUAL, "occurred_at": 0},
        {**USUAL, "id": "\u623f"},
        {**USUAL, "channel": "fax"},
        {**USUAL, "payer_account": None, "payee_account": None},
        {name: value for name, value in USUAL.items() if name != "amount"},
    ):
        assert not validator.is_valid(bad), bad
