"""Why a message was refused: closed names for machines, a short detail for people."""

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """The name under which a message goes to dead-letter."""

    # The message as a whole
    NULL_MESSAGE = "NULL_MESSAGE"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    NOT_UTF8 = "NOT_UTF8"
    NOT_JSON = "NOT_JSON"
    NESTED_TOO_DEEP = "NESTED_TOO_DEEP"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    # Any field
    DUPLICATE_FIELD = "DUPLICATE_FIELD"
    MISSING_FIELD = "MISSING_FIELD"
    WRONG_TYPE = "WRONG_TYPE"
    EMPTY = "EMPTY"
    TOO_LONG = "TOO_LONG"
    NOT_TEXT = "NOT_TEXT"
    NOT_PRINTABLE_ASCII = "NOT_PRINTABLE_ASCII"
    UNKNOWN_VALUE = "UNKNOWN_VALUE"
    NUMBER_OUT_OF_RANGE = "NUMBER_OUT_OF_RANGE"
    DATE_MALFORMED = "DATE_MALFORMED"
    # One field
    AMOUNT_MALFORMED = "AMOUNT_MALFORMED"
    AMOUNT_NOT_POSITIVE = "AMOUNT_NOT_POSITIVE"
    AMOUNT_TOO_PRECISE = "AMOUNT_TOO_PRECISE"
    AMOUNT_TOO_LARGE = "AMOUNT_TOO_LARGE"
    TIME_MALFORMED = "TIME_MALFORMED"
    TIME_WITHOUT_OFFSET = "TIME_WITHOUT_OFFSET"
    TIME_OUT_OF_RANGE = "TIME_OUT_OF_RANGE"
    TIME_IN_FUTURE = "TIME_IN_FUTURE"
    CURRENCY_NOT_ACCEPTED = "CURRENCY_NOT_ACCEPTED"
    UNKNOWN_CHANNEL = "UNKNOWN_CHANNEL"
    UNKNOWN_KIND = "UNKNOWN_KIND"
    NO_ACCOUNT = "NO_ACCOUNT"
    DIRECTIVE_INCOMPLETE = "DIRECTIVE_INCOMPLETE"
    DIRECTIVE_CONTRADICTORY = "DIRECTIVE_CONTRADICTORY"
    # Against what came before: named by the router
    ID_REUSED = "ID_REUSED"


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, the field it is about (None: the message as a whole) and a detail for people.

    The detail never holds an account number.
    """

    refusal: Refusal
    field: str | None = None
    detail: str = ""
