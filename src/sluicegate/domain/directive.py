"""The directive: the contract of the `directives` topic, an instruction how to judge an account."""

from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from sluicegate.domain.fields import (
    DIALECT,
    Account,
    Contract,
    IdText,
    MemoText,
    Rules,
    ShortText,
    TimeMs,
    one_of,
    parse,
    refuse,
    string,
    texts,
    texts_schema,
)
from sluicegate.domain.refusal import Refusal, Refused

MOST_PATTERNS: Final = 8


class DirectiveKind(StrEnum):
    """What is said of the account. The order is the code, from 1."""

    INVOLVED = "involved"
    """涉案: it belongs to a case of the police."""
    PUNISHED = "punished"
    """惩戒: its holder sold or lent accounts."""
    WHITELISTED = "whitelisted"
    """白名单: named patterns do not count, for it or for a pair."""
    WATCHED = "watched"
    """关注: it is looked at more closely."""


class Action(StrEnum):
    """Whether a directive begins or ends."""

    ADD = "add"
    END = "end"


DIRECTIVE_CODES: Final = {kind: code for code, kind in enumerate(DirectiveKind, 1)}


AnyKind = Annotated[
    DirectiveKind,
    BeforeValidator(lambda value: one_of(DirectiveKind, string(value))),
    WithJsonSchema({"enum": list(DirectiveKind)}),
]
AnyAction = Annotated[
    Action,
    BeforeValidator(lambda value: one_of(Action, string(value))),
    WithJsonSchema({"enum": list(Action), "default": "add"}),
]
Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: texts(value, MOST_PATTERNS)),
    WithJsonSchema(texts_schema(MOST_PATTERNS)),
]


class Directive(Contract):
    """An instruction about one account: one flat JSON object a message, keyed by the account.

    Several may hold for one account, each with an id of its own, by which it is ended. One that is
    added again takes the place of the earlier one of that account and id. It holds from the next
    leg on, for legs that occur before it expires. Unknown fields are ignored.
    """

    id: IdText
    account: Account
    kind: AnyKind
    action: AnyAction = Action.ADD
    issued_at_ms: TimeMs = Field(alias="issued_at")
    expires_at_ms: TimeMs | None = Field(
        default=None, alias="expires_at", description="Null: until it is ended."
    )
    counterparty: Account | None = Field(
        default=None, description="Of a whitelisted pair: the other account, either way."
    )
    patterns: Patterns = Field(
        default=(), description="Of a whitelist: the patterns that do not count, by name."
    )
    reason: MemoText | None = Field(default=None, description="Required when it is added.")
    issued_by: ShortText | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        whitelists = self.kind is DirectiveKind.WHITELISTED
        if not whitelists and (self.patterns or self.counterparty):
            refuse(
                Refusal.DIRECTIVE_CONTRADICTORY,
                "patterns and counterparty belong to a whitelist alone",
            )
        if self.counterparty == self.account:
            refuse(Refusal.DIRECTIVE_CONTRADICTORY, "account and counterparty are the same")
        if self.action is Action.ADD:
            missing = [
                name
                for name, value, wanted in (
                    ("reason", self.reason, True),
                    ("patterns", self.patterns, whitelists),
                    ("expires_at", self.expires_at_ms, whitelists),
                )
                if wanted and not value
            ]
            if missing:
                refuse(
                    Refusal.DIRECTIVE_INCOMPLETE,
                    f"one that is added needs: {', '.join(missing)}",
                )
        return self


def parse_directive(raw: bytes | None, recorded_at_ms: int, rules: Rules) -> Directive | Refused:
    """Read one message of the `directives` topic. Never raises."""
    return parse(Directive, raw, recorded_at_ms, rules, whole="kind")


def directive_schema() -> dict[str, Any]:
    """The JSON Schema of a message, as published in docs/schemas."""
    return DIALECT | Directive.model_json_schema()
