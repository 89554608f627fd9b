"""The transaction: the contract of the `transactions` topic, and the reading of one message.

`Transaction` is the contract; `parse_transaction` decides for every input, accepted or refused by
name. The columnar decoder in `streaming` is a faster way to say the same and is tested to agree.
"""

import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, NoReturn, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
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

__all__ = [
    "CHANNEL_CODES",
    "KIND_CODES",
    "Channel",
    "Kind",
    "Refusal",
    "Refused",
    "Rules",
    "Transaction",
    "parse_transaction",
    "transaction_schema",
]

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


class Channel(StrEnum):
    """Where the customer acted. The order is the code."""

    COUNTER = "counter"
    MOBILE = "mobile"
    ONLINE = "online"
    ATM = "atm"
    POS = "pos"
    QUICK_PAY = "quick_pay"
    GATEWAY = "gateway"
    BATCH = "batch"
    OTHER = "other"


class Kind(StrEnum):
    """What the movement is. The order is the code."""

    TRANSFER = "transfer"
    CASH_DEPOSIT = "cash_deposit"
    CASH_WITHDRAWAL = "cash_withdrawal"
    PURCHASE = "purchase"
    SALARY = "salary"
    REFUND = "refund"
    FEE = "fee"
    OTHER = "other"


CHANNEL_CODES: Final = {channel: code for code, channel in enumerate(Channel)}
KIND_CODES: Final = {kind: code for code, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the bank configures about its transactions."""

    base_currency: str = "CNY"
    max_ahead_ms: int = 300_000
    max_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class _Reading:
    """The context a message is validated in."""

    rules: Rules = Rules()
    recorded_at_ms: int | None = None


def _reading(info: ValidationInfo) -> _Reading:
    return info.context if isinstance(info.context, _Reading) else _Reading()


def _refuse(refusal: Refusal, detail: str) -> NoReturn:
    raise PydanticCustomError(refusal.value, "{detail}", {"detail": detail})


def _cut(text: str, limit: int = 32) -> str:
    """The text for a detail: short, printable, long numbers masked (they may be accounts)."""
    masked = re.sub(r"[0-9]{9,}", lambda number: number[0][:4] + "***", text[: limit + 1])
    return repr(masked if len(text) <= limit else masked[:limit] + "...")


def _string(value: object) -> str:
    if not isinstance(value, str):
        _refuse(Refusal.WRONG_TYPE, f"must be a string, is {json_type(value)}")
    return value


def _amount(value: object) -> int:
    match value:
        case JsonNumber(literal):
            amount = amount_of_number(literal)
        case str(literal):
            amount = amount_of_text(literal)
        case _:
            _refuse(Refusal.WRONG_TYPE, f"must be a string or a number, is {json_type(value)}")
    if isinstance(amount, Refusal):
        _refuse(amount, f"{_cut(literal)} {_AMOUNT_DETAILS[amount]}")
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


def _occurred_at(value: object, info: ValidationInfo) -> int:
    text = _string(value)
    occurred_at_ms = _epoch_ms(text)
    if not EARLIEST_MS <= occurred_at_ms < LATEST_MS:
        _refuse(Refusal.TIME_OUT_OF_RANGE, f"{_cut(text)} is not within 1970-01-02 to 2099-12-31")
    reading = _reading(info)
    recorded_at_ms = reading.recorded_at_ms
    if recorded_at_ms is not None and occurred_at_ms - reading.rules.max_ahead_ms > recorded_at_ms:
        ahead_s = (occurred_at_ms - recorded_at_ms) // 1000
        _refuse(Refusal.TIME_IN_FUTURE, f"is {ahead_s} s ahead of the record's own timestamp")
    return occurred_at_ms


def _epoch_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; finer fractions are cut off.

    Leap seconds (:60) are refused: the epoch has no number for them.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        _refuse(Refusal.TIME_MALFORMED, f"{_cut(text)} is not an RFC 3339 time")
    *moment, fraction, zulu, sign, offset_hours, offset_minutes = match.groups()
    if zulu is None and sign is None:
        _refuse(Refusal.TIME_WITHOUT_OFFSET, f"{_cut(text)} has no offset from UTC")
    year, month, day, hour, minute, second = map(int, moment)
    ahead_h, ahead_min = int(offset_hours or 0), int(offset_minutes or 0)
    try:
        local = datetime(max(year, 1), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        _refuse(Refusal.TIME_MALFORMED, f"{_cut(text)}: {error}")
    if ahead_h > 23 or ahead_min > 59:
        _refuse(Refusal.TIME_MALFORMED, f"{_cut(text)} has no valid offset from UTC")
    since = local - _EPOCH
    ahead_s = (ahead_h * 3600 + ahead_min * 60) * (-1 if sign == "-" else 1)
    milliseconds = int((fraction or "")[:3].ljust(3, "0"))
    return (since.days * 86_400 + since.seconds - ahead_s) * 1000 + milliseconds


def _time_text(occurred_at_ms: int) -> str:
    moment = datetime.fromtimestamp(occurred_at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{occurred_at_ms % 1000:03d}Z"


def _currency(value: object, info: ValidationInfo) -> str:
    accepted = _reading(info).rules.base_currency
    currency = accepted if value is None else _string(value)
    if currency != accepted:
        _refuse(Refusal.CURRENCY_NOT_ACCEPTED, f"{_cut(currency)} is not {accepted}")
    return currency


def _channel(value: object) -> Channel:
    name = Channel.OTHER if value is None else _string(value)
    if name not in CHANNEL_CODES:
        _refuse(Refusal.UNKNOWN_CHANNEL, f"{_cut(name)} is not one of {', '.join(Channel)}")
    return Channel(name)


def _kind(value: object) -> Kind:
    name = Kind.OTHER if value is None else _string(value)
    if name not in KIND_CODES:
        _refuse(Refusal.UNKNOWN_KIND, f"{_cut(name)} is not one of {', '.join(Kind)}")
    return Kind(name)


def _without_nul(text: str) -> str:
    # PostgreSQL stores no U+0000 in text: refused here, where the bank can still see why.
    if "\0" in text:
        _refuse(Refusal.NOT_TEXT, "holds the character U+0000")
    return text


def _nullable(names: type[StrEnum]) -> dict[str, object]:
    return {"enum": [*(name.value for name in names), None]}


_PRINTABLE = r"^[ -~]+$"
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

IdText = Annotated[str, StringConstraints(min_length=1, max_length=ID_LENGTH, pattern=_PRINTABLE)]
Account = Annotated[
    str, StringConstraints(min_length=1, max_length=ACCOUNT_LENGTH, pattern=_PRINTABLE)
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
OccurredAtMs = Annotated[
    int,
    BeforeValidator(_occurred_at),
    PlainSerializer(_time_text, return_type=str),
    WithJsonSchema(_TIME_SCHEMA),
]
Currency = Annotated[str, BeforeValidator(_currency), WithJsonSchema({"type": ["string", "null"]})]
AnyChannel = Annotated[
    Channel, BeforeValidator(_channel), WithJsonSchema(_nullable(Channel) | {"default": "other"})
]
AnyKind = Annotated[
    Kind, BeforeValidator(_kind), WithJsonSchema(_nullable(Kind) | {"default": "other"})
]


class Transaction(BaseModel):
    """One movement of money as the bank reports it: one flat JSON object a message.

    Unknown fields are ignored. No object may name a field twice. For every optional field null
    means the same as leaving it out.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: IdText = Field(description="Unique at the bank; printable ASCII.")
    occurred_at_ms: OccurredAtMs = Field(alias="occurred_at")
    amount_minor: AmountMinor = Field(alias="amount")
    currency: Currency = Field(
        default=cast("str", None),  # the base currency, filled in by the validator
        validate_default=True,
        description="ISO 4217. Only the configured base currency (CNY) is accepted, and meant "
        "when left out.",
    )
    payer_account: Account | None = Field(
        default=None,
        description="Printable ASCII, unique across banks. One account may be null, as for cash; "
        "never both.",
    )
    payee_account: Account | None = Field(default=None, description="As payer_account.")
    payer_bank: BankText | None = None
    payee_bank: BankText | None = None
    channel: AnyChannel = Channel.OTHER
    kind: AnyKind = Kind.OTHER
    payer_region: ShortText | None = None
    payee_region: ShortText | None = None
    device_id: ShortText | None = None
    ip: ShortText | None = None
    branch: ShortText | None = None
    memo: MemoText | None = None

    @model_validator(mode="after")
    def _has_an_account(self) -> Self:
        if self.payer_account is None and self.payee_account is None:
            _refuse(Refusal.NO_ACCOUNT, "payer_account and payee_account are both null")
        return self

    def wire(self) -> bytes:
        """The message that says this transaction, as UTF-8 JSON without nulls."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def parse_transaction(
    raw: bytes | None, recorded_at_ms: int, rules: Rules
) -> Transaction | Refused:
    """Read one message: the transaction, or why it is refused. Never raises.

    `recorded_at_ms` is the Kafka record's own timestamp, so that a replay decides the same.
    """
    if raw is None:
        return Refused(Refusal.NULL_MESSAGE, None, "the message has no value")
    if len(raw) > rules.max_bytes:
        detail = f"{len(raw)} bytes, at most {rules.max_bytes}"
        return Refused(Refusal.MESSAGE_TOO_LARGE, None, detail)
    fields = read_object(raw)
    if isinstance(fields, Refused):
        return fields
    try:
        return Transaction.model_validate(fields, context=_Reading(rules, recorded_at_ms))
    except ValidationError as error:
        return _first_refusal(error.errors(include_url=False)[0])


_REFUSALS = {
    "missing": (Refusal.MISSING_FIELD, "is required"),
    "string_type": (Refusal.WRONG_TYPE, "must be a string, is {type}"),
    "string_too_short": (Refusal.EMPTY, "is empty"),
    "string_too_long": (Refusal.TOO_LONG, "{length} characters, at most {max_length}"),
    "string_pattern_mismatch": (Refusal.NOT_PRINTABLE_ASCII, "holds other than printable ASCII"),
    "string_unicode": (Refusal.NOT_TEXT, "holds half of a surrogate pair"),
}


def _first_refusal(error: ErrorDetails) -> Refused:
    # Only the check of the whole has no place of its own: one account has to be there.
    field = str(error["loc"][0]) if error["loc"] else "payer_account"
    if error["type"] not in _REFUSALS:
        return Refused(Refusal(error["type"]), field, error["msg"])
    refusal, detail = _REFUSALS[error["type"]]
    value = error["input"]
    length = len(value) if isinstance(value, str) else 0
    limits = error.get("ctx", {})
    return Refused(refusal, field, detail.format(type=json_type(value), length=length, **limits))


def transaction_schema() -> dict[str, Any]:
    """The JSON Schema of a message, as published in docs/schemas."""
    schema = Transaction.model_json_schema()
    some_account = [
        {"required": [field], "properties": {field: {"type": "string"}}}
        for field in ("payer_account", "payee_account")
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": some_account,
    }


if __name__ == "__main__":
    # python -m sluicegate.domain.transaction > docs/schemas/transaction.schema.json
    sys.stdout.write(json.dumps(transaction_schema(), indent=2) + "\n")
