"""Dead letters for people: a line each, or one with all it holds; account numbers masked."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from sluicegate.domain.alert import json_moment
from sluicegate.operations.dead_letter import Found, Letter

PREVIEW_CHARACTERS: Final = 120
PREVIEW_BYTES: Final = 2 * PREVIEW_CHARACTERS
_SHOWN: Final = 4
"""Last characters of an account number that are shown."""
_FIGURE: Final = r'"(?:id|transaction_id|amount|position|\w*_at|\w*_ms|\w*_minor)"'
_ACCOUNT: Final = r'"(?:payer_account|payee_account|account|counterparty)"'
_TEXT: Final = r'"(?:[^"\\]|\\.)*"?'
_SENSITIVE: Final = re.compile(
    rf"(?P<figure>{_FIGURE}\s*:\s*(?:{_TEXT}|[^\s,}}\]]+))"
    rf"|(?P<name>{_ACCOUNT}\s*:\s*)(?P<account>{_TEXT}|[^\s,}}\]]+)"
    r"|(?<![\d.])(?P<digits>\d{9,})(?!\d|\.\d)"
)
"""Accounts by their field, and whatever else has nine digits or more, but for known figures."""
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
"""Of JSON."""
_HEAD: Final = ("position", "when (UTC)", "reason", "field", "from", "replayed", "value")


def masked(text: str) -> str:
    """The text with account numbers cut to their last characters."""
    return _SENSITIVE.sub(_mask, text)


def masked_account(account: str) -> str:
    """Such as ****1234; of a short one nothing is left."""
    return "****" + (account[-_SHOWN:] if len(account) > _SHOWN else "")


def _mask(found: re.Match[str]) -> str:
    if found["figure"] is not None:
        return found["figure"]
    if found["digits"] is not None:
        return masked_account(found["digits"])
    account = found["account"]
    if account == "null":
        return found[0]
    if not account.startswith('"'):
        return found["name"] + masked_account(account)
    closed = '"' if len(account) > 1 and account.endswith('"') else ""
    return f'{found["name"]}"{masked_account(account.strip(chr(34)))}{closed}'


def table(found: Found) -> list[str]:
    """Lines for a terminal: a head, then one dead letter each, newest last."""
    rows = [_HEAD, *(_row(letter, letter.offset in found.replayed) for letter in found.letters)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def summary(found: Found) -> str:
    """How many, and where there are none, what there is instead."""
    if found.letters:
        return f"{len(found.letters):,} of {found.reasons.total():,} dead letters"
    others = ", ".join(f"{reason} {count:,}" for reason, count in found.reasons.most_common())
    return f"no such dead letter; there are {others}" if others else "no dead letters"


def as_json(letter: Letter, *, replayed: bool) -> dict[str, Any]:
    """One dead letter of a list, for programs; masked as the table is."""
    return {
        "position": letter.offset,
        "at": json_moment(letter.at_ms),
        "reason": letter.reason,
        "field": letter.headers.get("field", ""),
        "detail": letter.headers.get("detail", ""),
        "from": letter.source,
        "replayed": replayed,
        "cut": letter.is_cut,
        "value": _preview(letter.value),
    }


def shown(letter: Letter, *, reveal: bool) -> Iterator[str]:
    """All that one dead letter holds, in lines."""
    yield f"position: {letter.offset}"
    yield f"when: {json_moment(letter.at_ms)}"
    for name, text in letter.headers.items():
        yield f"{name}: {_printable(text)}"
    if letter.key is not None:
        key = _printable(letter.key.decode("utf-8", "backslashreplace"))
        yield f"key: {key if reveal else masked_account(key)}"
    yield ""
    text = _pretty(letter.value)
    yield text if reveal else masked(text)
    if letter.is_cut:
        yield f"(cut: the original has {int(letter.headers.get('length', 0)):,} bytes)"


def _row(letter: Letter, replayed: bool) -> tuple[str, ...]:  # noqa: FBT001 - a column like others
    return (
        str(letter.offset),
        json_moment(letter.at_ms),
        _printable(letter.reason),
        _printable(letter.headers.get("field", "")) or "-",
        _printable(letter.source),
        "yes" if replayed else "-",
        _preview(letter.value),
    )


def _preview(value: bytes | None) -> str:
    if value is None:
        return "(no value)"
    text = masked(_printable(value[:PREVIEW_BYTES].decode("utf-8", "backslashreplace")))
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _pretty(value: bytes | None) -> str:
    """JSON a field a line, every number and name as it was written; else the text as it is."""
    if value is None:
        return "(no value)"
    text = value.decode("utf-8", "backslashreplace")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "\n".join(map(_printable, text.split("\n")))
    return "".join(_laid_out(_TOKEN.findall(text)))


def _laid_out(tokens: list[str]) -> Iterator[str]:
    """The tokens of valid JSON with lines and indents; reading and writing it would change it."""
    depth, before = 0, ""
    for part in tokens:
        closes = part in ("}", "]")
        depth -= closes
        is_empty = closes and before in ("{", "[")
        if (closes or before in ("{", "[", ",")) and not is_empty:
            yield "\n" + "  " * depth
        yield ": " if part == ":" else _printable(part)
        depth += part in ("{", "[")
        before = part


def _printable(text: str) -> str:
    """Nothing of a stranger's bytes may steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
