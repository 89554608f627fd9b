"""One Kafka message as a JSON object: strict RFC 8259, the same answer on every interpreter."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final, NoReturn

from sluicegate.domain.refusal import Refusal, Refused

MAX_DEPTH: Final = 32
"""Levels of nesting, the object itself included. Fixed, so that no interpreter's stack decides."""


@dataclass(frozen=True, slots=True)
class JsonNumber:
    """A JSON number as it was written: never a float, never a number of unbounded size."""

    literal: str


def read_object(raw: bytes) -> dict[str, object] | Refused:
    """The fields of a message, numbers as they were written."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Refused(Refusal.NOT_UTF8, None, f"{error.reason} at byte {error.start}")
    if _nested_too_deep(text):
        return Refused(Refusal.NESTED_TOO_DEEP, None, f"more than {MAX_DEPTH} levels")
    try:
        value = _JSON.decode(text)
    except json.JSONDecodeError as error:
        return Refused(Refusal.NOT_JSON, None, f"{error.msg} at character {error.pos}")
    except _NotJson as error:
        return error.refused
    if not isinstance(value, dict):
        return Refused(Refusal.NOT_AN_OBJECT, None, f"the message is {json_type(value)}")
    return value


def json_type(value: object) -> str:
    """What a value of `read_object` is called in a detail for people."""
    names = {
        type(None): "null",
        bool: "a boolean",
        str: "a string",
        JsonNumber: "a number",
        dict: "an object",
    }
    return names.get(type(value), "an array")


class _NotJson(ValueError):  # noqa: N818 - a refusal on its way out, not a programming error
    """Carries a refusal out of the JSON reader's hooks."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _NotJson(Refused(Refusal.DUPLICATE_FIELD, _repeated(pairs), "appears more than once"))
    return fields


def _repeated(pairs: list[tuple[str, object]]) -> str:
    counts = Counter(name for name, _ in pairs)
    name = max(counts, key=counts.__getitem__)
    return name[:64].encode("utf-8", "backslashreplace").decode()  # half surrogates made visible


def _constant(name: str) -> NoReturn:
    raise _NotJson(Refused(Refusal.NOT_JSON, None, f"{name} is not JSON"))


_JSON = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=JsonNumber,
    parse_int=JsonNumber,
    parse_constant=_constant,
)
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def _nested_too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _BRACKETS.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            return True
    return False
