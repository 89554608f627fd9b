"""What the messages of all topics have in common: texts, amounts, times, and how one is read.

A message is one JSON object of one pydantic model. Every rule refuses by name (`Refusal`), so that
what goes to dead-letter says what is wrong with which field.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from sluicegate.domain.message import JsonNumber, json_type, read_object
from sluicegate.domain.money import (
    MAX_AMOUNT_MINOR,
    MINOR_PER_MAJOR,
    amount_of_number,
    amount_of_text,
    amount_text,
)
from sluicegate.domain.refusal import Refusal, Refused

DIALECT: Final = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


class Contract(BaseModel):
    """What every message has in common."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    def wire(self) -> bytes:
        """The message that says this, as UTF-8 JSON without nulls."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


Message = TypeVar("Message", bound=Contract)

ID_LENGTH: Final = 64
ACCOUNT_LENGTH: Final = 34
"""As long as an IBAN may be."""
BANK_LENGTH: Final = 14
"""CNAPS codes have 12 digits, LEI-free BIC 11 characters, CIPS codes 14."""
TEXT_LENGTH: Final = 64
MEMO_LENGTH: Final = 512
EARLIEST_MS: Final = 86_400_000
"""1970-01-02T00:00:00Z, inclusive: account memory holds seconds unsigned, 0 meaning never."""
LATEST_MS: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z, exclusive."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the bank configures about its transactions."""

    base_currency: str = "CNY"
    max_ahead_ms: int = 300_000
    max_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Reading:
    """The context a message is validated in."""

    rules: Rules = Rules()
    recorded_at_ms: int | None = None


def reading_of(info: ValidationInfo) -> Reading:
    """What the message is read by."""
    return info.context if isinstance(info.context, Reading) else Reading()


def refuse(refusal: Refusal, detail: str) -> NoReturn:
    """Refuse the field that is being validated."""
    raise PydanticCustomError(refusal.value, "{detail}", {"detail": detail})


def cut(text: str, limit: int = 32) -> str:
    """The text for a detail: short, printable, long numbers masked (they may be accounts)."""
    masked = re.sub(r"[0-9]{9,}", lambda number: number[0][:4] + "***", text[: limit + 1])
    return repr(masked if len(text) <= limit else masked[:limit] + "...")


def string(value: object) -> str:
    """The value, which must be a string."""
    if not isinstance(value, str):
        refuse(Refusal.WRONG_TYPE, f"must be a string, is {json_type(value)}")
    return value


def _amount(value: object) -> int:
    match value:
        case JsonNumber(literal):
            amount = amount_of_number(literal)
        case str(literal):
            amount = amount_of_text(literal)
        case _:
            refuse(Refusal.WRONG_TYPE, f"must be a string or a number, is {json_type(value)}")
    if isinstance(amount, Refusal):
        refuse(amount, f"{cut(literal)} {_AMOUNT_DETAILS[amount]}")
    return amount


_AMOUNT_DETAILS = {
    Refusal.AMOUNT_MALFORMED: "is not a decimal number",
    Refusal.AMOUNT_NOT_POSITIVE: "is not above zero",
    Refusal.AMOUNT_TOO_PRECISE: "has more than 2 decimals",
    Refusal.AMOUNT_TOO_LARGE: f"is above {amount_text(MAX_AMOUNT_MINOR)}",
}

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([-+])([0-9]{2}):([0-9]{2}))?",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def one_of(names: type[StrEnum], value: object) -> StrEnum | None:
    """The member of that name; None for null."""
    if value is None:
        return None
    if string(value) not in set(names):
        refuse(Refusal.UNKNOWN_VALUE, f"{cut(str(value))} is not one of {', '.join(names)}")
    return names(str(value))


def texts(value: object, most: int) -> tuple[str, ...]:
    """An array of at most so many short texts; none for null."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        refuse(Refusal.WRONG_TYPE, f"must be an array of strings, is {json_type(value)}")
    if len(value) > most:
        refuse(Refusal.TOO_LONG, f"{len(value)} entries, at most {most}")
    if any(len(string(each)) > TEXT_LENGTH or not each.strip() for each in value):
        refuse(Refusal.TOO_LONG, f"an entry is empty or has more than {TEXT_LENGTH} characters")
    return tuple(value)


def texts_schema(most: int) -> dict[str, object]:
    """The JSON Schema of `texts`."""
    text = {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH}
    return {"type": ["array", "null"], "items": text, "maxItems": most}


def nullable(names: type[StrEnum]) -> dict[str, object]:
    """The JSON Schema of an optional member."""
    return {"enum": [*(name.value for name in names), None]}


def _time(value: object) -> int:
    text = string(value)
    time_ms = epoch_ms(text)
    if not EARLIEST_MS <= time_ms < LATEST_MS:
        refuse(Refusal.TIME_OUT_OF_RANGE, f"{cut(text)} is not within 1970-01-02 to 2099-12-31")
    return time_ms


def _occurred_at(value: object, info: ValidationInfo) -> int:
    occurred_at_ms = _time(value)
    reading = reading_of(info)
    recorded_at_ms = reading.recorded_at_ms
    if recorded_at_ms is not None and occurred_at_ms - reading.rules.max_ahead_ms > recorded_at_ms:
        ahead_s = (occurred_at_ms - recorded_at_ms) // 1000
        refuse(Refusal.TIME_IN_FUTURE, f"is {ahead_s} s ahead of the record's own timestamp")
    return occurred_at_ms


def epoch_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; finer fractions are cut off.

    Leap seconds (:60) are refused: the epoch has no number for them.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        refuse(Refusal.TIME_MALFORMED, f"{cut(text)} is not an RFC 3339 time")
    *moment, fraction, zulu, sign, offset_hours, offset_minutes = match.groups()
    if zulu is None and sign is None:
        refuse(Refusal.TIME_WITHOUT_OFFSET, f"{cut(text)} has no offset from UTC")
    year, month, day, hour, minute, second = map(int, moment)
    ahead_h, ahead_min = int(offset_hours or 0), int(offset_minutes or 0)
    try:
        local = datetime(max(year, 1), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        refuse(Refusal.TIME_MALFORMED, f"{cut(text)}: {error}")
    if ahead_h > 23 or ahead_min > 59:
        refuse(Refusal.TIME_MALFORMED, f"{cut(text)} has no valid offset from UTC")
    since = local - _EPOCH
    ahead_s = (ahead_h * 3600 + ahead_min * 60) * (-1 if sign == "-" else 1)
    milliseconds = int((fraction or "")[:3].ljust(3, "0"))
    return (since.days * 86_400 + since.seconds - ahead_s) * 1000 + milliseconds


def time_text(occurred_at_ms: int) -> str:
    """RFC 3339, UTC, to the millisecond."""
    moment = datetime.fromtimestamp(occurred_at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{occurred_at_ms % 1000:03d}Z"


def _without_nul(text: str) -> str:
    # PostgreSQL stores no U+0000 in text: refused here, where the bank can still see why.
    if "\0" in text:
        refuse(Refusal.NOT_TEXT, "holds the character U+0000")
    return text


PRINTABLE = r"^[ -~]+$"
_AMOUNT_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^0*[0-9]{1,14}(\.[0-9]{1,2}0*)?$"},
        {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": MAX_AMOUNT_MINOR // MINOR_PER_MAJOR,
        },
    ],
    "description": "In major units, above zero, a whole number of minor units (1/100). A string "
    "is digits with at most one point, no sign, no exponent; a number may have an exponent.",
    "examples": ["12.50", 12.5],
}
_TIME_SCHEMA = {
    "type": "string",
    "format": "date-time",
    "description": "RFC 3339 with offset, from 1970-01-02 to 2099-12-31 UTC, no leap second; "
    "finer than a millisecond is cut off. Not further ahead of the record's own timestamp than "
    "configured (5 minutes).",
    "examples": ["2026-03-01T09:30:00.125+08:00"],
}

IdText = Annotated[str, StringConstraints(min_length=1, max_length=ID_LENGTH, pattern=PRINTABLE)]
Account = Annotated[
    str, StringConstraints(min_length=1, max_length=ACCOUNT_LENGTH, pattern=PRINTABLE)
]
BankText = Annotated[str, StringConstraints(max_length=BANK_LENGTH), AfterValidator(_without_nul)]
ShortText = Annotated[str, StringConstraints(max_length=TEXT_LENGTH), AfterValidator(_without_nul)]
MemoText = Annotated[str, StringConstraints(max_length=MEMO_LENGTH), AfterValidator(_without_nul)]
AmountMinor = Annotated[
    int,
    BeforeValidator(_amount),
    PlainSerializer(amount_text, return_type=str),
    WithJsonSchema(_AMOUNT_SCHEMA),
]
TimeMs = Annotated[
    int,
    BeforeValidator(_time),
    PlainSerializer(time_text, return_type=str),
    WithJsonSchema({**_TIME_SCHEMA, "description": "RFC 3339 with offset."}),
]
OccurredAtMs = Annotated[
    int,
    BeforeValidator(_occurred_at),
    PlainSerializer(time_text, return_type=str),
    WithJsonSchema(_TIME_SCHEMA),
]

_REFUSALS = {
    "missing": (Refusal.MISSING_FIELD, "is required"),
    "string_type": (Refusal.WRONG_TYPE, "must be a string, is {type}"),
    "string_too_short": (Refusal.EMPTY, "is empty"),
    "string_too_long": (Refusal.TOO_LONG, "{length} characters, at most {max_length}"),
    "string_pattern_mismatch": (Refusal.NOT_PRINTABLE_ASCII, "holds other than printable ASCII"),
    "string_unicode": (Refusal.NOT_TEXT, "holds half of a surrogate pair"),
}


def _first_refusal(error: ErrorDetails, whole: str) -> Refused:
    field = str(error["loc"][0]) if error["loc"] else whole
    if error["type"] not in _REFUSALS:
        return Refused(Refusal(error["type"]), field, error["msg"])
    refusal, detail = _REFUSALS[error["type"]]
    value = error["input"]
    length = len(value) if isinstance(value, str) else 0
    limits = error.get("ctx", {})
    return Refused(refusal, field, detail.format(type=json_type(value), length=length, **limits))


def parse(
    model: type[Message], raw: bytes | None, recorded_at_ms: int, rules: Rules, *, whole: str
) -> Message | Refused:
    """Read one message: what it says, or why it is refused. Never raises.

    `recorded_at_ms` is the Kafka record's own timestamp, so that a replay decides the same.
    `whole` is the field that a rule about several of them names.
    """
    if raw is None:
        return Refused(Refusal.NULL_MESSAGE, None, "the message has no value")
    if len(raw) > rules.max_bytes:
        detail = f"{len(raw)} bytes, at most {rules.max_bytes}"
        return Refused(Refusal.MESSAGE_TOO_LARGE, None, detail)
    fields = read_object(raw)
    if isinstance(fields, Refused):
        return fields
    return parse_fields(model, fields, recorded_at_ms, rules, whole=whole)


def parse_fields(
    model: type[Message],
    fields: Mapping[str, object],
    recorded_at_ms: int,
    rules: Rules,
    *,
    whole: str,
) -> Message | Refused:
    """The same of the fields of `read_object`."""
    try:
        return model.model_validate(fields, context=Reading(rules, recorded_at_ms))
    except ValidationError as error:
        return _first_refusal(error.errors(include_url=False)[0], whole)
