"""The transaction: the contract of the `transactions` topic, and the reading of one message.

`Transaction` is the contract; `parse_transaction` decides for every input, accepted or refused by
name. The columnar decoder in `streaming` is a faster way to say the same and is tested to agree.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self, cast

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from sluicegate.domain.fields import (
    ACCOUNT_LENGTH,
    BANK_LENGTH,
    DIALECT,
    EARLIEST_MS,
    ID_LENGTH,
    LATEST_MS,
    MEMO_LENGTH,
    TEXT_LENGTH,
    Account,
    AmountMinor,
    BankText,
    Contract,
    IdText,
    MemoText,
    OccurredAtMs,
    Rules,
    ShortText,
    cut,
    nullable,
    parse,
    parse_fields,
    reading_of,
    refuse,
    string,
)
from sluicegate.domain.refusal import Refusal, Refused

__all__ = [
    "ACCOUNT_LENGTH",
    "BANK_LENGTH",
    "CHANNEL_CODES",
    "EARLIEST_MS",
    "ID_LENGTH",
    "KIND_CODES",
    "LATEST_MS",
    "MEMO_LENGTH",
    "TEXT_LENGTH",
    "Channel",
    "Kind",
    "Refusal",
    "Refused",
    "Rules",
    "Transaction",
    "parse_transaction",
    "transaction_of",
    "transaction_schema",
]


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


def _currency(value: object, info: ValidationInfo) -> str:
    accepted = reading_of(info).rules.base_currency
    currency = accepted if value is None else string(value)
    if currency != accepted:
        refuse(Refusal.CURRENCY_NOT_ACCEPTED, f"{cut(currency)} is not {accepted}")
    return currency


def _channel(value: object) -> Channel:
    name = Channel.OTHER if value is None else string(value)
    if name not in CHANNEL_CODES:
        refuse(Refusal.UNKNOWN_CHANNEL, f"{cut(name)} is not one of {', '.join(Channel)}")
    return Channel(name)


def _kind(value: object) -> Kind:
    name = Kind.OTHER if value is None else string(value)
    if name not in KIND_CODES:
        refuse(Refusal.UNKNOWN_KIND, f"{cut(name)} is not one of {', '.join(Kind)}")
    return Kind(name)


Currency = Annotated[str, BeforeValidator(_currency), WithJsonSchema({"type": ["string", "null"]})]
AnyChannel = Annotated[
    Channel, BeforeValidator(_channel), WithJsonSchema(nullable(Channel) | {"default": "other"})
]
AnyKind = Annotated[
    Kind, BeforeValidator(_kind), WithJsonSchema(nullable(Kind) | {"default": "other"})
]


class Transaction(Contract):
    """One movement of money as the bank reports it: one flat JSON object a message.

    Unknown fields are ignored. No object may name a field twice. For every optional field null
    means the same as leaving it out.
    """

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
            refuse(Refusal.NO_ACCOUNT, "payer_account and payee_account are both null")
        return self


def parse_transaction(
    raw: bytes | None, recorded_at_ms: int, rules: Rules
) -> Transaction | Refused:
    """Read one message: the transaction, or why it is refused. Never raises.

    `recorded_at_ms` is the Kafka record's own timestamp, so that a replay decides the same.
    """
    return parse(Transaction, raw, recorded_at_ms, rules, whole="payer_account")


def transaction_of(
    fields: Mapping[str, object], recorded_at_ms: int, rules: Rules
) -> Transaction | Refused:
    """The transaction that the fields of `read_object` say, or why it is refused. Never raises."""
    return parse_fields(Transaction, fields, recorded_at_ms, rules, whole="payer_account")


def transaction_schema() -> dict[str, Any]:
    """The JSON Schema of a message, as published in docs/schemas."""
    schema = Transaction.model_json_schema()
    some_account = [
        {"required": [field], "properties": {field: {"type": "string"}}}
        for field in ("payer_account", "payee_account")
    ]
    return {
        **DIALECT,
        **schema,
        "anyOf": some_account,
    }
