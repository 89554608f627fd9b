"""Messages of the transactions topic, many at a time, straight into columns.

The scanner's kernel reads what it is sure of; the model, `parse_transaction`, decides the rest one
by one. So both accept and refuse exactly the same (docs/decisions/0002-own-columnar-decoder.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.domain.money import MAX_AMOUNT_MINOR
from sluicegate.domain.transaction import (
    ACCOUNT_LENGTH,
    BANK_LENGTH,
    CHANNEL_CODES,
    EARLIEST_MS,
    ID_LENGTH,
    KIND_CODES,
    LATEST_MS,
    MEMO_LENGTH,
    TEXT_LENGTH,
    Channel,
    Kind,
    Refused,
    Rules,
    Transaction,
    parse_transaction,
)
from sluicegate.memory.words import ACCOUNT_WORDS, TRANSACTION_WORDS, Words, text_words, texts_words
from sluicegate.streaming.scanner import (
    NAME_SLOT_BITS,
    Columns,
    Field,
    Grammar,
    Names,
    scan,
)
from sluicegate.streaming.texts import Texts


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The accepted messages of a batch as columns, in order, and the refused ones by name.

    `m` accepted rows; words are zero-padded ASCII, all zero for null.
    """

    row_index: npt.NDArray[np.int64]
    """`[m]`: which message of the batch each row is."""
    transaction: Words
    """`[m, 8]`: the id."""
    payer: Words
    """`[m, 5]`"""
    payee: Words
    """`[m, 5]`"""
    amount_minor: npt.NDArray[np.int64]
    occurred_at_ms: npt.NDArray[np.int64]
    channel: npt.NDArray[np.uint8]
    """Codes of `CHANNEL_CODES`."""
    kind: npt.NDArray[np.uint8]
    """Codes of `KIND_CODES`."""
    refused: tuple[tuple[int, Refused], ...]
    """Each refused message's place in the batch, and why."""
    unsure: int
    """How many messages the kernel left to the model: what the slow path costs, for metrics."""


class Decoder:
    """Decodes batches under one set of rules; compiled, or loaded, when it is made."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._grammar = _grammar(rules)
        self.decode([], np.zeros(0, np.int64))

    def decode(
        self, values: Texts | Sequence[bytes | None], recorded_at_ms: npt.NDArray[np.int64]
    ) -> Decoded:
        """Decode message values with the timestamps (`[n]`, int64) of their Kafka records."""
        texts = values if isinstance(values, Texts) else Texts.of(values)
        # Another layout or a readonly array would be another type, and compiled anew.
        recorded_at_ms = np.require(recorded_at_ms, np.int64, ["C", "W"])
        if recorded_at_ms.shape != (len(values),):
            raise ValueError(f"{len(values)} messages, {recorded_at_ms.shape} timestamps")
        columns = _empty_columns(len(texts))
        unsure = scan(texts.octets, texts.starts, recorded_at_ms, self._grammar, columns)
        refused = self._ask_the_model(texts, recorded_at_ms, columns) if unsure else ()
        return _accepted(columns, refused, unsure)

    def _ask_the_model(
        self, texts: Texts, recorded_at_ms: npt.NDArray[np.int64], columns: Columns
    ) -> tuple[tuple[int, Refused], ...]:
        """Complete the rows that are not sure; the refused ones stay so."""
        refused = []
        for row in np.flatnonzero(~columns.sure).tolist():
            read = parse_transaction(texts[row], int(recorded_at_ms[row]), self._rules)
            if isinstance(read, Refused):
                refused.append((row, read))
            else:
                _store(read, row, columns)
        return tuple(refused)


def _empty_columns(rows: int) -> Columns:
    return Columns(
        transaction=np.empty((rows, TRANSACTION_WORDS), np.uint64),
        payer=np.empty((rows, ACCOUNT_WORDS), np.uint64),
        payee=np.empty((rows, ACCOUNT_WORDS), np.uint64),
        amount_minor=np.empty(rows, np.int64),
        occurred_at_ms=np.empty(rows, np.int64),
        channel=np.empty(rows, np.uint8),
        kind=np.empty(rows, np.uint8),
        sure=np.empty(rows, np.bool_),
    )


def _store(transaction: Transaction, row: int, columns: Columns) -> None:
    columns.transaction[row] = text_words(transaction.id, TRANSACTION_WORDS)
    columns.payer[row] = text_words(transaction.payer_account, ACCOUNT_WORDS)
    columns.payee[row] = text_words(transaction.payee_account, ACCOUNT_WORDS)
    columns.amount_minor[row] = transaction.amount_minor
    columns.occurred_at_ms[row] = transaction.occurred_at_ms
    columns.channel[row] = CHANNEL_CODES[transaction.channel]
    columns.kind[row] = KIND_CODES[transaction.kind]
    columns.sure[row] = True


def _accepted(columns: Columns, refused: tuple[tuple[int, Refused], ...], unsure: int) -> Decoded:
    rows = np.flatnonzero(columns.sure)
    kept = rows if refused else slice(None)  # mostly all: then nothing is copied
    return Decoded(
        row_index=rows,
        transaction=columns.transaction[kept],
        payer=columns.payer[kept],
        payee=columns.payee[kept],
        amount_minor=columns.amount_minor[kept],
        occurred_at_ms=columns.occurred_at_ms[kept],
        channel=columns.channel[kept],
        kind=columns.kind[kept],
        refused=refused,
        unsure=unsure,
    )


_LIMITS: Final = {
    Field.ID: ID_LENGTH,
    Field.PAYER_ACCOUNT: ACCOUNT_LENGTH,
    Field.PAYEE_ACCOUNT: ACCOUNT_LENGTH,
    Field.PAYER_BANK: BANK_LENGTH,
    Field.PAYEE_BANK: BANK_LENGTH,
    Field.PAYER_REGION: TEXT_LENGTH,
    Field.PAYEE_REGION: TEXT_LENGTH,
    Field.DEVICE_ID: TEXT_LENGTH,
    Field.IP: TEXT_LENGTH,
    Field.BRANCH: TEXT_LENGTH,
    Field.MEMO: MEMO_LENGTH,
}


def _grammar(rules: Rules) -> Grammar:
    """The contract, in the scanner's terms."""
    return Grammar(
        fields=_names({field.name.lower(): field.value for field in Field}),
        channels=_names(CHANNEL_CODES),
        kinds=_names(KIND_CODES),
        currencies=_names({rules.base_currency: 0}),
        limits=np.array([_LIMITS.get(field, 0) for field in Field], np.int64),
        default_channel=CHANNEL_CODES[Channel.OTHER],
        default_kind=KIND_CODES[Kind.OTHER],
        max_amount_minor=MAX_AMOUNT_MINOR,
        earliest_ms=EARLIEST_MS,
        latest_ms=LATEST_MS,
        max_ahead_ms=rules.max_ahead_ms,
        max_bytes=rules.max_bytes,
    )


def _names(codes: Mapping[str, int] | Mapping[Channel, int] | Mapping[Kind, int]) -> Names:
    """A table of names without collisions.

    Raises:
        ValueError: a name is empty, longer than 16 bytes, or not ASCII.
    """
    words = texts_words(list(codes), 2)
    if not words[:, 0].all():
        raise ValueError("an empty name")
    slots = np.zeros(len(codes), np.int64)
    multiplier = 0
    draw = np.random.default_rng(0)  # any multiplier without a collision will do
    while not multiplier or len(np.unique(slots)) < len(codes):
        multiplier = int(draw.integers(2**63, 2**64, dtype=np.uint64)) | 1
        mixed = (words[:, 0] ^ words[:, 1]) * np.uint64(multiplier)
        slots = (mixed >> np.uint64(64 - NAME_SLOT_BITS)).astype(np.int64)
    table = np.zeros((1 << NAME_SLOT_BITS, 2), np.uint64)
    table[slots] = words
    found = np.full(1 << NAME_SLOT_BITS, -1, np.int64)
    found[slots] = list(codes.values())
    return Names(np.uint64(multiplier), table, found)
