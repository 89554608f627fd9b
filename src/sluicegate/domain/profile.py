"""The profile: the contract of the `accounts` topic, what a bank tells of an account's holder."""

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from sluicegate.domain.fields import (
    DIALECT,
    Account,
    AmountMinor,
    Contract,
    Rules,
    ShortText,
    TimeMs,
    cut,
    nullable,
    one_of,
    parse,
    refuse,
    string,
    texts,
    texts_schema,
)
from sluicegate.domain.message import JsonNumber, json_type
from sluicegate.domain.refusal import Refusal, Refused

MOST_DEVICES: Final = 32
EARLIEST_BIRTH: Final = 1850
LATEST_BIRTH: Final = 2100
HIGHEST_TIER: Final = 30


class HolderKind(StrEnum):
    """Who holds the account. The order is the code, from 1."""

    PERSON = "person"
    ENTERPRISE = "enterprise"
    SHOP = "shop"


class EnterpriseStatus(StrEnum):
    """Standing of an enterprise in the register. The order is the code, from 1."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    REVOKED = "revoked"


HOLDER_CODES: Final = {kind: code for code, kind in enumerate(HolderKind, 1)}
STATUS_CODES: Final = {status: code for code, status in enumerate(EnterpriseStatus, 1)}


def _whole(value: object, lowest: int, highest: int) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        number = value
    elif isinstance(value, JsonNumber) and re.fullmatch(r"-?[0-9]{1,9}", value.literal):
        number = int(value.literal)
    else:
        refuse(Refusal.WRONG_TYPE, f"must be a whole number, is {json_type(value)}")
    if number is not None and not lowest <= number <= highest:
        refuse(Refusal.NUMBER_OUT_OF_RANGE, f"is not within {lowest} to {highest}")
    return number


def _date(value: object) -> date | None:
    if value is None or isinstance(value, date):
        return value
    text = string(value)
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        refuse(Refusal.DATE_MALFORMED, f"{cut(text)} is not a date like 2026-03-01")


def _number(lowest: int, highest: int) -> dict[str, object]:
    return {"type": ["integer", "null"], "minimum": lowest, "maximum": highest}


AnyHolder = Annotated[
    HolderKind | None,
    BeforeValidator(lambda value: one_of(HolderKind, value)),
    WithJsonSchema(nullable(HolderKind)),
]
AnyStatus = Annotated[
    EnterpriseStatus | None,
    BeforeValidator(lambda value: one_of(EnterpriseStatus, value)),
    WithJsonSchema(nullable(EnterpriseStatus)),
]
BirthYear = Annotated[
    int | None,
    BeforeValidator(lambda value: _whole(value, EARLIEST_BIRTH, LATEST_BIRTH)),
    WithJsonSchema(_number(EARLIEST_BIRTH, LATEST_BIRTH)),
]
Tier = Annotated[
    int | None,
    BeforeValidator(lambda value: _whole(value, 0, HIGHEST_TIER)),
    WithJsonSchema(_number(0, HIGHEST_TIER)),
]
Day = Annotated[
    date | None,
    BeforeValidator(_date),
    PlainSerializer(lambda day: day and day.isoformat(), return_type=str | None),
    WithJsonSchema({"type": ["string", "null"], "format": "date"}),
]
Devices = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: texts(value, MOST_DEVICES)),
    WithJsonSchema(texts_schema(MOST_DEVICES)),
]


class Profile(Contract):
    """What the bank tells of one account: one flat JSON object a message, keyed by the account.

    A later message of the same account takes the place of the earlier one, as a whole: what it
    leaves out is not known any more. Unknown fields are ignored.
    """

    account: Account
    holder_id: ShortText | None = Field(default=None, description="Hashed.")
    holder_kind: AnyHolder = None
    birth_year: BirthYear = None
    opened_at_ms: TimeMs | None = Field(default=None, alias="opened_at")
    opener_agent: ShortText | None = Field(
        default=None, description="Who opened it for the holder."
    )
    branch: ShortText | None = None
    region: ShortText | None = None
    phone_hash: ShortText | None = None
    address_hash: ShortText | None = None
    device_hashes: Devices = ()
    declared_monthly_income_minor: AmountMinor | None = Field(
        default=None, alias="declared_monthly_income"
    )
    documents_expire_on: Day = Field(default=None, description="The last day of validity.")
    enterprise_status: AnyStatus = None
    tier: Tier = None


def parse_profile(raw: bytes | None, recorded_at_ms: int, rules: Rules) -> Profile | Refused:
    """Read one message of the `accounts` topic. Never raises."""
    return parse(Profile, raw, recorded_at_ms, rules, whole="account")


def profile_schema() -> dict[str, Any]:
    """The JSON Schema of a message, as published in docs/schemas."""
    return DIALECT | Profile.model_json_schema()
