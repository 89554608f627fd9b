"""Messages for the fuzzer: transactions as a bank may write them, and all that may go wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from sluicegate.domain.transaction import Channel, Kind, Rules, Transaction

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

RULES: Final = Rules()
LARGE_EVERY: Final = 4_000
"""One message in so many is about as large as a message may be."""
NOW_MS: Final = 1_772_328_600_125
"""2026-03-01 01:30:00.125 UTC: when the Kafka records were written, give or take a day."""


class Message(NamedTuple):
    """One Kafka record to decode."""

    value: bytes | None
    recorded_at_ms: int


# What is made: well-formed members, spoilt members, and then spoilt bytes.

Members = list[tuple[str, str]]
"""Names as written between quotes, values as JSON."""

_TEXTS: Final = [
    "", "a", "rent", "房租 三月", "\U0001f600", "é\u07ff\uffff", "x" * 34, "x" * 35,
    "x" * 64, "x" * 65, "x" * 512, "中" * 512, "中" * 513, 'a"b\\c', "line\nfeed",
    "\x7f", "tab\there", "\x00", "~ !", " ", "\u2028", "e\u0301",
]  # fmt: skip
_OTHERS: Final = [
    "null", "true", "false", "NaN", "Infinity", "-Infinity", "nul", "TRUE", "-", "-0", "0", "01",
    "1.", ".5", "1e5", "1e400", "-1e-400", "9" * 40, "9" * 5_000, "0." + "0" * 400 + "1", "1.5e",
    "[]", "{}", "[1,[2,[3]]]", '{"id":1}', '{"a":1,"a":2}', "", "'x'", "undefined", "0x10",
    "[" * 31 + "]" * 31, "[" * 32 + "]" * 32, '{"a":' * 40 + "1" + "}" * 40, '"\\ud83d"',
    '"\\ud83d\\ude00"', '"\\ude00"', '"\\u0000"', '"\\u00e9\\n"', '"\\x41"', '"\\u12"', '"open',
    "18446744073709551616", "9223372036854775807", "-9223372036854775808", "1E+2", "12.345",
]  # fmt: skip
_AMOUNTS: Final = [
    "0.01", "0.1", "00.10", "007", "1.100", "1.101", "0", "0.00", "-1", "-0", "+1", "1e2", "1e-2",
    "1e-3", "1.5E+1", "10000000000000.00", "10000000000000.01", "92233720368547758.08", "1,000",
    "184467440737095516.17", "\u0665", "5." + "0" * 60, "0" * 60 + "5", "12a", " 1", "1 ", "", "1.",
]  # fmt: skip
_NAMES: Final = [
    *(each.alias or name for name, each in Transaction.model_fields.items()),
    "extra", "amount_minor", "Id", "ID", "", "x" * 16, "x" * 17, "payer_account_no", "备注",
    "\\u0069d", "i\\u0064", "occurred_at ", "\\ud83d", "\\n", "a\\\\b",
]  # fmt: skip
_SPACES: Final = ["", "", "", "", " ", "\n", "\t", "\r\n", "  ", "\x0b", "\xa0", "\ufeff", "//"]
_OCTETS: Final = [b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"0", b"e", b"\x00", b"\x80"]
_UTF8: Final = ["é", "中", "\U0001f600"]


def _quoted(draw: random.Random, text: str) -> str:
    return json.dumps(text, ensure_ascii=draw.random() < 0.3)


def _account(draw: random.Random) -> str:
    return str(draw.randrange(10**15, 10**19))


def _moment(draw: random.Random) -> datetime:
    near = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    spread_s = draw.choice([1, 600, 86_400, 3 * 10**8, 17 * 10**8])
    ahead = draw.choice([0, 0, 0, 0, 1, 1.4])
    return near + timedelta(seconds=draw.uniform(-1, ahead) * spread_s)


def time_text(draw: random.Random) -> str:
    """A time as RFC 3339 has it, in all its shapes; one in eight is not quite that."""
    moment = _moment(draw)
    day, clock = f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}"
    fraction = draw.choice(["", "", ".1", ".12", ".125", ".1259", ".000000001", ".999999999999"])
    offset = draw.choice(["Z", "+08:00", "+08:00", "-00:00", "+23:59", "-11:30", "z", "+05:45"])
    mark = "T"
    if draw.random() < 0.12:
        match draw.randrange(8):
            case 0:
                mark = draw.choice(["t", " ", "_", ""])
            case 1:
                offset = draw.choice(["", "+24:00", "+08:60", "+0800", "+8", "Z ", "UTC", "+-8:00"])
            case 2:
                clock = draw.choice(["24:00:00", "23:59:60", "23:60:00", "9:30:00", "09:30", "::"])
            case 3:
                fraction = draw.choice([".", ",5", ".1a", "." + "9" * 80, ".-1", "..5"])
            case 4:
                day = draw.choice(["2025-02-29", "1900-02-29", "2024-02-29", "2000-02-29"])
            case 5:
                day = draw.choice(
                    ["2025-13-01", "2025-00-10", "2025-04-31", "25-04-30", "20250430"]
                )
            case 6:
                day = draw.choice(["1970-01-01", "1970-01-02", "2099-12-31", "2100-01-01"])
            case _:
                day = draw.choice(["0000-01-01", "9999-12-31", "0001-01-01", "12025-01-01", ""])
    return f"{day}{mark}{clock}{fraction}{offset}"


def _members(draw: random.Random) -> Members:
    """A transaction as a bank may write it."""
    amount = f"{draw.randrange(10 ** draw.randrange(1, 10))}.{draw.randrange(100):02}"
    members = [
        ("id", f'"T-{draw.randrange(10**9)}"'),
        ("occurred_at", f'"{time_text(draw)}"'),
        ("amount", amount if draw.random() < 0.3 else f'"{amount}"'),
        ("payer_account", f'"{_account(draw)}"' if draw.random() < 0.9 else "null"),
        ("payee_account", f'"{_account(draw)}"'),
    ]
    if draw.random() < 0.5:
        members.append(("channel", f'"{draw.choice(list(Channel))}"'))
        members.append(("kind", f'"{draw.choice(list(Kind))}"'))
    if draw.random() < 0.3:
        members.append(("currency", draw.choice(['"CNY"'] * 6 + ["null", '"USD"', '"cny"'])))
    if draw.random() < 0.4:
        members.append((draw.choice(["memo", "branch", "ip"]), _quoted(draw, draw.choice(_TEXTS))))
    return members


def _other_value(draw: random.Random, members: Members) -> None:
    at = draw.randrange(len(members))
    members[at] = (members[at][0], draw.choice(_OTHERS))


def _other_text(draw: random.Random, members: Members) -> None:
    at = draw.randrange(len(members))
    members[at] = (members[at][0], _quoted(draw, draw.choice(_TEXTS)))


def _other_amount(draw: random.Random, members: Members) -> None:
    amount = draw.choice(_AMOUNTS)
    members[2:3] = [("amount", amount if draw.random() < 0.5 else f'"{amount}"')]


def _swapped(draw: random.Random, members: Members) -> None:
    """The values of two fields change places."""
    a, b = draw.randrange(len(members)), draw.randrange(len(members))
    (name_a, value_a), (name_b, value_b) = members[a], members[b]
    members[a], members[b] = (name_a, value_b), (name_b, value_a)


def _doubled(draw: random.Random, members: Members) -> None:
    """A field comes twice, perhaps with its name escaped."""
    name, value = draw.choice(members)
    if name and draw.random() < 0.3:
        name = f"\\u{ord(name[0]):04x}{name[1:]}"
    members.insert(draw.randrange(len(members) + 1), (name, draw.choice([value, "null", "1"])))


def _lost(draw: random.Random, members: Members) -> None:
    del members[draw.randrange(len(members))]


def _renamed(draw: random.Random, members: Members) -> None:
    at = draw.randrange(len(members))
    members[at] = (draw.choice(_NAMES), members[at][1])


def _unknown(draw: random.Random, members: Members) -> None:
    """Fields nobody knows, sometimes more than the kernel keeps apart."""
    for number in range(draw.choice([1, 1, 2, 16, 17, 40])):
        value = draw.choice(_OTHERS) if draw.random() < 0.3 else _quoted(draw, draw.choice(_TEXTS))
        members.insert(draw.randrange(len(members) + 1), (f"unknown_{number}", value))


def _escaped(draw: random.Random, members: Members) -> None:
    """A value written in escapes where it need not be."""
    at = draw.randrange(len(members))
    name, value = members[at]
    if value.startswith('"') and len(value) > 2 and "\\" not in value:
        place = draw.randrange(1, len(value) - 1)
        if value[place] < "\U00010000":
            value = f"{value[:place]}\\u{ord(value[place]):04X}{value[place + 1 :]}"
    members[at] = name, value


def _shuffled(draw: random.Random, members: Members) -> None:
    draw.shuffle(members)


SPOIL: Final[list[Callable[[random.Random, Members], None]]] = [
    _other_value, _other_text, _other_amount, _swapped, _doubled, _lost, _renamed, _unknown,
    _escaped, _shuffled,
]  # fmt: skip


def _written(draw: random.Random, members: Members) -> bytes:
    if draw.random() < 0.6:
        text = "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"
    else:
        spaces = [draw.choice(_SPACES[:9] if draw.random() < 0.98 else _SPACES) for _ in range(5)]
        colon = f"{spaces[0]}:{spaces[1]}"
        body = f",{spaces[2]}".join(f'"{name}"{colon}{value}' for name, value in members)
        text = f"{spaces[3]}{{{body}}}{spaces[4]}"
    return text.encode("utf-8", "surrogatepass")


def _flipped(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << draw.randrange(8))]) + raw[at + 1 :]


def _replaced(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw))
    octet = draw.choice(_OCTETS) if draw.random() < 0.7 else bytes([draw.randrange(256)])
    return raw[:at] + octet + raw[at + draw.choice([0, 1, 1, 2, 5]) :]


def _cut(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw))
    return raw[:at] if draw.random() < 0.5 else raw[:at] + raw[at + draw.randrange(1, 30) :]


def _repeated(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw))
    return raw[:at] + raw[at : at + draw.randrange(1, 30)] * 2 + raw[at:]


def _broken_utf8(draw: random.Random, raw: bytes) -> bytes:
    """Part of a character, a surrogate, or a form that is too long, in the middle of text."""
    whole = draw.choice(_UTF8).encode()
    piece = draw.choice(
        [whole, whole[:-1], whole[1:], b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xff"]
    )
    at = raw.rfind(b'"') if draw.random() < 0.5 else draw.randrange(len(raw))
    return raw[:at] + piece + raw[at:]


def _joined(draw: random.Random, raw: bytes) -> bytes:
    return raw + draw.choice([raw, b"x", b"\x00", b"\n", b",", b"}", b"null", b"\xef\xbb\xbf"])


DAMAGE: Final[list[Callable[[random.Random, bytes], bytes]]] = [
    _flipped, _replaced, _cut, _repeated, _broken_utf8, _joined,
]  # fmt: skip


def _large(draw: random.Random) -> bytes:
    """About as large as a message may be, in one of its fields or around them."""
    members = _members(draw)
    raw = _written(draw, members)
    room = RULES.max_bytes - len(raw) + draw.choice([-100, -20, -1, 0, 1, 50])
    match draw.randrange(4):
        case 0:
            return raw + b" " * room
        case 1:
            filling = "9" * max(1, room - 10)
            return _written(draw, [*members, ("extra", filling)])
        case 2:
            filling = draw.choice(["x", "中"])
            text = filling * max(1, (room - 12) // len(filling.encode()))
            return _written(draw, [*members, (draw.choice(["memo", "extra"]), f'"{text}"')])
        case _:
            return _written(draw, [*members, ("extra", "[" * (room // 2) + "]" * (room // 2))])


def make_message(draw: random.Random) -> Message:
    """One message: nothing, noise, or a transaction with nothing to several things wrong."""
    recorded_at_ms = NOW_MS + draw.choice([0] * 6 + [-1, 1, -86_400_000, 86_400_000])
    kind = draw.random()
    if kind < 1 / LARGE_EVERY:
        return Message(_large(draw), recorded_at_ms)
    if kind < 0.01:
        noise = draw.choice([None, b"", b"{}", b"[]", b"null", b'"x"', draw.randbytes(40)])
        return Message(noise, recorded_at_ms)
    members = _members(draw)
    for _ in range(draw.choice([0, 0, 0, 0, 1, 1, 2])):
        draw.choice(SPOIL)(draw, members or [("id", "1")])
    raw = _written(draw, members)
    for _ in range(draw.choice([0, 0, 0, 0, 0, 1, 1, 2])):
        raw = draw.choice(DAMAGE)(draw, raw or b"{}")
    return Message(raw, recorded_at_ms)
