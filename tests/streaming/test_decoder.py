"""The columnar decoder says what the model says, for any bytes at all."""

import json
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluicegate.domain.money import MAX_AMOUNT_MINOR, amount_text
from sluicegate.domain.transaction import (
    CHANNEL_CODES,
    KIND_CODES,
    Channel,
    Kind,
    Refusal,
    Refused,
    Rules,
    Transaction,
    parse_transaction,
)
from sluicegate.memory.words import words_text
from sluicegate.streaming.decoder import Decoded, Decoder
from sluicegate.streaming.scanner import Field

RECORDED_AT_MS = 1_772_328_600_125
RULES = Rules(max_bytes=2_000)
DECODER = Decoder(RULES)

GOOD = {
    "id": '"T-1"',
    "occurred_at": '"2026-03-01T09:30:00.125+08:00"',
    "amount": '"12.50"',
    "payer_account": '"6222020200112233445"',
    "payee_account": '"6217000010012345678"',
}


def write(fields: dict[str, str], **changes: str) -> bytes:
    members = ",".join(f'"{name}":{value}' for name, value in {**fields, **changes}.items())
    return f"{{{members}}}".encode()


def decode(values: Sequence[bytes | None], recorded_at_ms: int = RECORDED_AT_MS) -> Decoded:
    return DECODER.decode(values, np.full(len(values), recorded_at_ms, np.int64))


def rows(decoded: Decoded) -> list[tuple[object, ...]]:
    columns = (
        decoded.row_index.tolist(),
        words_text(decoded.transaction),
        words_text(decoded.payer),
        words_text(decoded.payee),
        decoded.amount_minor.tolist(),
        decoded.occurred_at_ms.tolist(),
        decoded.channel.tolist(),
        decoded.kind.tolist(),
    )
    return list(zip(*columns, strict=True))


def row(index: int, transaction: Transaction) -> tuple[object, ...]:
    return (
        index,
        transaction.id,
        transaction.payer_account or "",
        transaction.payee_account or "",
        transaction.amount_minor,
        transaction.occurred_at_ms,
        CHANNEL_CODES[transaction.channel],
        KIND_CODES[transaction.kind],
    )


def assert_as_the_model(values: Sequence[bytes | None]) -> Decoded:
    decoded = decode(values)
    read = [parse_transaction(value, RECORDED_AT_MS, RULES) for value in values]
    expected = [row(i, each) for i, each in enumerate(read) if isinstance(each, Transaction)]
    assert rows(decoded) == expected
    refused = tuple((i, each) for i, each in enumerate(read) if isinstance(each, Refused))
    assert decoded.refused == refused
    return decoded


def quoted(texts: Sequence[str]) -> list[str]:
    return [json.dumps(text, ensure_ascii=False) for text in texts]


# All but those near the record's timestamp are past, or their own fault would not decide.
TIMES = quoted(
    [
        "1970-01-02T00:00:00Z",
        "1970-01-01T23:59:59.999Z",
        "1970-01-02T07:59:59+08:00",
        "1970-01-02T08:00:00+08:00",
        "2025-03-01T09:30:00-24:00",
        "2025-03-01T09:30:00+24:00",
        "2025-03-01T09:30:00+23:59",
        "1999-12-31T23:59:59.999999999-23:59",
        "2000-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-02-29T12:00:00.1-00:00",
        "2025-02-29T00:00:00Z",
        "2025-04-31T00:00:00Z",
        "2025-08-31T00:00:00.12Z",
        "2026-03-01T09:35:00.125+08:00",
        "2026-03-01T09:35:00.126+08:00",
        "2026-03-01T09:35:00.1259+08:00",
        "2025-03-01t09:30:00z",
        "2025-03-01T09:30:00",
        "2025-03-01T09:30Z",
        "2025-03-01T09:30:60Z",
        "2025-03-01T24:00:00Z",
        "2025-03-01T09:30:00.Z",
        "2025-03-01T09:30:00,5Z",
        "2025-03-01 09:30:00Z",
        "2025-03-01T09:30:00+0800",
        "2025-03-01T09:30:00+08:60",
        "2025-03-01T09:30:00Z ",
        "20x5-03-01T09:30:00Z",
        "2025-13-01T09:30:00Z",
        "2025-00-01T09:30:00Z",
        "2025-01-00T09:30:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2099-12-31T23:59:59.999Z",
        "2100-01-01T00:00:00Z",
        "",
    ]
)
AMOUNT_TEXTS = [
    "0.01",
    "0.1",
    "00.10",
    "007",
    "1.100",
    "1.101",
    "1.005",
    "1.",
    ".5",
    "-1",
    "-0",
    "+1",
    "0",
    "0.00",
    "1e2",
    "1.5E+1",
    "1e-2",
    "1e-3",
    "1e",
    "1E400",
    "-1e999999999999999999",
    amount_text(MAX_AMOUNT_MINOR),
    amount_text(MAX_AMOUNT_MINOR + 1),
    "9223372036854775808",
    "92233720368547758.08",
    "184467440737095516.17",
    "9" * 40,
    "0" * 40 + "5",
    "5." + "0" * 40,
    "",
    "12a",
    "1 2",
    "0x10",
    "\u0665",
]
AMOUNTS = AMOUNT_TEXTS + quoted(AMOUNT_TEXTS)
TEXTS = [
    *quoted(["", "a", "x" * 14, "x" * 15, "x" * 34, "x" * 35, "x" * 64, "x" * 65, "~ !", "\x7f"]),
    *quoted(["\u623f\u79df", "\u4e2d" * 64, "\u4e2d" * 65, "\U0001f600" * 64, "\xe9\u07ff\uffff"]),
    *quoted(["x" * 512, "x" * 513, "\u4e2d" * 512, "a" * 7 + "\u4e2d", "line\nfeed", 'a"b\\c']),
    r'"\u623f\u79df"',
    r'"\ud83d\ude00"',
    r'"\ud83d"',
    r'"\ude00"',
    r'"\ud83d\u0041"',
    r'"\ud83d\ud83d"',
    r'"\ud83d\ue000"',
    r'"\ud83dx\ude00"',
    r'"\u0000"',
    r'"\u00e9\/\b\f\n\r\t\"\\"',
    r'"\U0041"',
    r'"\u004"',
    r'"\x41"',
    '"\\',
    '"' + r"\u4E2D" * 64 + '"',
    '"' + r"\u4e2d" * 65 + '"',
    '"' + r"\ud83d\ude00" * 512 + '"',
    '"tab\t"',
    '"unclosed',
]
OTHERS = [
    *("null", "true", "false", "nul", "nullx", "True", "NaN", "Infinity", "-", "-0", "-0.5e-7"),
    *("0", "01", "1.5", "1e5", "1.e5", "[]", "{}", "[1]", '{"id":1}', '{"a":1,"a":2}', "", "'x'"),
]
CODES = quoted([*Channel, *Kind, "CNY", "USD", "cny", "CNY ", "Mobile", "transfers"])
NAMES = [
    *(field.alias or name for name, field in Transaction.model_fields.items()),
    *("extra", "amount_minor", "Id", "", "x" * 16, "payer_account_no", "payee_account_and_more"),
    *(r"\u0069d", r"i\u0064", "\u5907\u6ce8", "\x7f"),
    *(f"unknown_{i}" for i in range(20)),
]
VALUES = TIMES + AMOUNTS + TEXTS + OTHERS + CODES
SPACES = ["", "", "", " ", "\n", "\t\r ", "\x0b", "\xa0", "//"]

named_values = st.one_of(
    st.tuples(st.just("occurred_at"), st.sampled_from(TIMES)),
    st.tuples(st.just("amount"), st.sampled_from(AMOUNTS)),
    st.tuples(st.sampled_from(["channel", "kind", "currency"]), st.sampled_from(CODES)),
    st.tuples(st.sampled_from(NAMES), st.sampled_from(TEXTS)),
    st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)),
    st.tuples(st.sampled_from(NAMES), st.text(max_size=70).map(lambda text: quoted([text])[0])),
    st.tuples(
        st.just("occurred_at"),
        st.datetimes(timezones=st.timezones()).map(lambda time: f'"{time.isoformat()}"'),
    ),
    st.tuples(st.just("amount"), st.decimals(0, 10**14, places=2).map(lambda n: f"{n:f}")),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    members = list(draw(st.permutations(list(GOOD.items()))))
    for name, value in draw(st.lists(named_values, max_size=4)):
        present = [i for i, (known, _) in enumerate(members) if known == name]
        if present and draw(st.integers(0, 9)) > 0:
            members[present[0]] = (name, value)
        else:
            members.insert(draw(st.integers(0, len(members))), (name, value))
    if draw(st.integers(0, 5)) == 0:
        members.pop(draw(st.integers(0, len(members) - 1)))
    space = draw(st.sampled_from(SPACES))
    body = f"{space},".join(f'{space}"{name}"{space}:{value}' for name, value in members)
    raw = f"{space}{{{body}{space}}}{space}".encode("utf-8", "surrogatepass")
    return draw(st.one_of(st.just(raw), st.just(raw), damaged(raw)))


def damaged(raw: bytes) -> st.SearchStrategy[bytes]:
    def splice(where: tuple[int, int, bytes]) -> bytes:
        start, length, instead = where
        return raw[:start] + instead + raw[start + length :]

    place: st.SearchStrategy[int] = st.integers(0, len(raw))
    octets = st.binary(max_size=4)
    return st.tuples(place, st.one_of(st.integers(0, 3), place), octets).map(splice)


@given(st.lists(st.one_of(messages(), messages(), st.binary(max_size=40), st.none()), max_size=6))
@settings(
    derandomize=True,
    deadline=None,
    max_examples=600,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_decoder_and_model_agree_on_any_bytes(values: list[bytes | None]) -> None:
    assert_as_the_model(values)


@pytest.mark.parametrize("name", NAMES)
def test_decoder_and_model_agree_on_every_value_in_every_field(name: str) -> None:
    values = [write({**GOOD, name: value}) for value in VALUES]
    values += [write(dict(reversed({**GOOD, name: value}.items()))) for value in VALUES]
    assert_as_the_model(values)


def mutated(raw: bytes, draw: random.Random) -> bytes:
    """One small change to a message: an octet, a piece lost, doubled or moved."""
    start = draw.randrange(len(raw))
    piece = raw[start : start + draw.choice([1, 1, 2, 5, 30])]
    octet = draw.choice([b'"', b"\\", b",", b":", b"{", b"}", b"0", b"\x00", b"\x7f", b"\x80"])
    octet = draw.choice([octet, bytes([draw.randrange(256)])])
    instead = draw.choice([b"", octet, piece + piece, piece + octet, octet + piece])
    return raw[:start] + instead + raw[start + len(piece) :]


def test_decoder_and_model_agree_on_seeded_mutations() -> None:
    draw = random.Random(20260301)
    full = write(
        GOOD,
        currency='"CNY"',
        channel='"quick_pay"',
        kind='"cash_withdrawal"',
        payer_bank='"102100099996"',
        memo='"\u623f\u79df \U0001f600 \xe9"',
        device_id=r'"\u623f\ud83d\ude00\n"',
        seen='{"a":[1]}',
    )
    for seed in (write(GOOD), write(GOOD, memo='"\u623f\u79df"', extra="-1.5e7"), full):
        values: list[bytes] = []
        for _ in range(10_000):
            raw = mutated(seed, draw)
            values.append(mutated(raw, draw) if raw and draw.random() < 0.3 else raw)
        assert_as_the_model(values)


@pytest.mark.parametrize("lead", range(0x80, 0x100))
def test_decoder_and_model_agree_on_what_utf8_is(lead: int) -> None:
    edges = (0x22, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    tails = [b"", *(bytes([a]) for a in edges), *(bytes([a, b]) for a in edges for b in edges)]
    tails += [bytes([a, b, 0x80]) for a in edges for b in (0x7F, 0x80, 0xBF, 0xC0)]
    memo = write(GOOD, memo='"%"')
    assert_as_the_model([memo.replace(b"%", b"ab" + bytes([lead]) + tail) for tail in tails])


USUAL = [
    write(GOOD),
    write(GOOD, memo='"\u623f\u79df\U0001f600"', extra="null", more="-1.5e-7", flag="false"),
    write(GOOD, memo=r'"\u623f\u79df \"\ud83d\ude00\""'),
    write(GOOD, payer_account="null", channel="null", kind='"cash_deposit"', currency='"CNY"'),
    write(GOOD, memo='"' + "\u4e2d" * 512 + '"'),
    write(GOOD, branch='"' + r"\ud83d\ude00" * 64 + '"'),
    write(GOOD, amount="0.5"),
    write(GOOD, amount='"10000000000000.00"', occurred_at='"2026-03-01T01:30:00.123456789Z"'),
    json.dumps(json.loads(write(GOOD, ip='"::1"', branch='"440300"')), indent=2).encode(),
    write(dict(reversed(GOOD.items())), **{f"unknown_{i}": str(i) for i in range(16)}),
]


@pytest.mark.parametrize("raw", USUAL, ids=range(len(USUAL)))
def test_the_kernel_is_sure_of_usual_messages(raw: bytes) -> None:
    assert assert_as_the_model([raw]).unsure == 0


def test_the_kernel_knows_every_field_of_the_model() -> None:
    wire_names = [field.alias or name for name, field in Transaction.model_fields.items()]
    assert sorted(field.name.lower() for field in Field) == sorted(wire_names)


def test_refused_and_slow_messages_keep_their_places_in_a_batch() -> None:
    nested = write(GOOD, id='"nested"', extra="{}")
    values = [None, write(GOOD, id='"first"'), b"", nested, b"[]", write(GOOD, id='"last"')]
    decoded = assert_as_the_model(values)
    assert decoded.row_index.tolist() == [1, 3, 5]
    assert words_text(decoded.transaction) == ["first", "nested", "last"]
    reasons = [(place, refused.refusal) for place, refused in decoded.refused]
    assert reasons == [
        (0, Refusal.NULL_MESSAGE),
        (2, Refusal.NOT_JSON),
        (4, Refusal.NOT_AN_OBJECT),
    ]
    assert decoded.unsure == 4


def test_a_time_is_measured_against_the_timestamp_of_its_own_record() -> None:
    recorded = np.array([RECORDED_AT_MS - 300_001, RECORDED_AT_MS - 300_000], np.int64)
    decoded = DECODER.decode([write(GOOD), write(GOOD)], recorded)
    assert decoded.row_index.tolist() == [1]
    assert [refused.refusal for _, refused in decoded.refused] == [Refusal.TIME_IN_FUTURE]


def test_a_message_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    raw = write(GOOD)
    largest = raw + b" " * (RULES.max_bytes - len(raw))
    decoded = assert_as_the_model([largest, largest + b" "])
    assert decoded.row_index.tolist() == [0]
    assert [refused.refusal for _, refused in decoded.refused] == [Refusal.MESSAGE_TOO_LARGE]


def test_an_earlier_batch_is_not_changed_by_a_later_one() -> None:
    first = decode([write(GOOD, id='"first"')])
    decode([write(GOOD, id='"second"')])
    assert words_text(first.transaction) == ["first"]


def test_another_base_currency_is_the_one_accepted() -> None:
    euros = Decoder(Rules(base_currency="EUR"))
    values = [write(GOOD, currency='"EUR"'), write(GOOD), write(GOOD, currency='"CNY"')]
    decoded = euros.decode(values, np.full(3, RECORDED_AT_MS, np.int64))
    assert decoded.row_index.tolist() == [0, 1]
    assert decoded.unsure == 1


def test_timestamps_must_match_the_messages() -> None:
    with pytest.raises(ValueError, match="2 messages"):
        DECODER.decode([b"", b""], np.zeros(1, np.int64))
