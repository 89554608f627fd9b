"""Movements of money in columns, and their rendering as the bank's JSON messages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from sluicegate.simulation.population import Directory
from sluicegate.simulation.rhythm import DAY_MS, DAY_SECONDS, OFFSET_MS, SECOND_MS, Ints

NOBODY: Final = -1
"""The other side of cash."""
HONEST: Final = -1
"""The story index of a movement that belongs to no fraud."""


class Manner(IntEnum):
    """How money moves: channel, kind and memo that go together."""

    SALARY = 0
    PENSION = auto()
    RENT = auto()
    UTILITY_BILL = auto()
    PHONE_BILL = auto()
    QUICK_PURCHASE = auto()
    POS_PURCHASE = auto()
    TAKEAWAY = auto()
    ONLINE_PURCHASE = auto()
    REFUND = auto()
    FAMILY = auto()
    ALLOWANCE = auto()
    RED_PACKET = auto()
    TRANSFER = auto()
    ONLINE_TRANSFER = auto()
    COUNTER_TRANSFER = auto()
    SAVE = auto()
    UNSAVE = auto()
    ATM_WITHDRAWAL = auto()
    COUNTER_WITHDRAWAL = auto()
    ATM_DEPOSIT = auto()
    COUNTER_DEPOSIT = auto()
    GOODS = auto()
    INVOICE = auto()
    DRAWINGS = auto()
    HOUSE = auto()
    LOAN = auto()


_MANNERS: Final = {
    Manner.SALARY: ("batch", "salary", "工资"),
    Manner.PENSION: ("batch", "salary", "养老金"),
    Manner.RENT: ("mobile", "transfer", "房租"),
    Manner.UTILITY_BILL: ("quick_pay", "purchase", "水电费"),
    Manner.PHONE_BILL: ("online", "purchase", "话费"),
    Manner.QUICK_PURCHASE: ("quick_pay", "purchase", ""),
    Manner.POS_PURCHASE: ("pos", "purchase", ""),
    Manner.TAKEAWAY: ("quick_pay", "purchase", "外卖"),
    Manner.ONLINE_PURCHASE: ("gateway", "purchase", "网购"),
    Manner.REFUND: ("gateway", "refund", "退款"),
    Manner.FAMILY: ("mobile", "transfer", "家用"),
    Manner.ALLOWANCE: ("mobile", "transfer", "生活费"),
    Manner.RED_PACKET: ("quick_pay", "transfer", "红包"),
    Manner.TRANSFER: ("mobile", "transfer", "转账"),
    Manner.ONLINE_TRANSFER: ("online", "transfer", "转账"),
    Manner.COUNTER_TRANSFER: ("counter", "transfer", "汇款"),
    Manner.SAVE: ("mobile", "transfer", "存款"),
    Manner.UNSAVE: ("mobile", "transfer", "取回"),
    Manner.ATM_WITHDRAWAL: ("atm", "cash_withdrawal", ""),
    Manner.COUNTER_WITHDRAWAL: ("counter", "cash_withdrawal", "取现"),
    Manner.ATM_DEPOSIT: ("atm", "cash_deposit", ""),
    Manner.COUNTER_DEPOSIT: ("counter", "cash_deposit", "存现"),
    Manner.GOODS: ("online", "transfer", "货款"),
    Manner.INVOICE: ("online", "transfer", "合同款"),
    Manner.DRAWINGS: ("mobile", "transfer", "经营所得"),
    Manner.HOUSE: ("counter", "transfer", "购房款"),
    Manner.LOAN: ("mobile", "transfer", "借款"),
}


def _ending(channel: str, kind: str, memo: str) -> str:
    remark = f',"memo":"{memo}"' if memo else ""
    return f'"channel":"{channel}","kind":"{kind}"{remark}}}'


_ENDINGS: Final = pl.Series([_ending(*_MANNERS[manner]) for manner in Manner])
_CLOCK: Final = pl.Series(
    [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}." for s in range(DAY_SECONDS)]
)
_MILLISECONDS: Final = pl.Series([f'{ms:03d}+08:00","amount":"' for ms in range(SECOND_MS)])
_CENTS: Final = pl.Series([f'.{cents:02d}",' for cents in range(100)])


@dataclass(frozen=True, slots=True)
class Movements:
    """Columns of equal length: ms UTC, account indices, minor units, Manner, story index."""

    occurred_at_ms: Ints
    payer: Ints
    payee: Ints
    amount_minor: Ints
    manner: Ints
    story: Ints

    def __len__(self) -> int:
        return len(self.payer)

    def take(self, rows: Ints | slice) -> "Movements":
        """The rows asked for, in that order."""
        return Movements(*(getattr(self, name)[rows] for name in _COLUMNS))

    def in_order(self) -> "Movements":
        """Sorted by time; equal times keep their order."""
        return self.take(np.argsort(self.occurred_at_ms, kind="stable"))

    def before(self, ends_at_ms: int) -> "Movements":
        """Those that happen before the end; nobody pays himself."""
        keep = (self.occurred_at_ms < ends_at_ms) & (self.payer != self.payee)
        return self.take(np.nonzero(keep)[0])


_COLUMNS: Final = tuple(Movements.__dataclass_fields__)


def movements(
    occurred_at_ms: Ints,
    payer: Ints | int,
    payee: Ints | int,
    amount_minor: Ints,
    manner: Ints | Manner,
) -> Movements:
    """Honest movements; a single payer, payee or manner holds for all."""
    count = len(occurred_at_ms)

    def column(values: Ints | int) -> Ints:
        return np.broadcast_to(np.asarray(values, dtype=np.int64), count)

    return Movements(
        occurred_at_ms=occurred_at_ms,
        payer=column(payer),
        payee=column(payee),
        amount_minor=amount_minor,
        manner=column(manner),
        story=column(HONEST),
    )


def join(parts: Sequence[Movements]) -> Movements:
    """One after another."""
    return Movements(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS)
    )


class Planted(NamedTuple):
    """The truth about one transaction."""

    transaction: str
    scenario: str
    story: str


class StoryTitle(NamedTuple):
    """What a story index stands for: its scenario, its id, how many transactions it has."""

    scenario: str
    story: str
    movements: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of the stream, in order of time.

    `until_ms`: every later chunk lies at or after this moment, so a live sender waits until then.
    `first_number`: the running number of the first transaction, part of its id; `run`: the part
    of all ids that tells this stream from others.
    """

    movements: Movements
    until_ms: int
    first_number: int
    run: str
    directory: Directory
    titles: dict[int, StoryTitle]

    def __len__(self) -> int:
        return len(self.movements)

    def messages(self) -> list[tuple[bytes, bytes]]:
        """Key (the payer's account, the payee's for cash in) and value (JSON) of each."""
        moved = self.movements
        keyed_by = np.where(moved.payer == NOBODY, moved.payee, moved.payer).tolist()
        keys = self.directory.keys
        values = self._lines().cast(pl.Binary).to_list()
        return [(keys[account], value) for account, value in zip(keyed_by, values, strict=True)]

    def ndjson(self) -> bytes:
        """The values, one a line."""
        return b"".join(value + b"\n" for value in self._lines().cast(pl.Binary).to_list())

    @property
    def truth(self) -> list[Planted]:
        """The planted transactions of this chunk."""
        return [
            Planted(self._id(row), title.scenario, title.story) for row, title in self._planted()
        ]

    def truth_ndjson(self) -> bytes:
        """The same with what an auditor needs: size of the story, accounts and time; JSON lines."""
        return b"".join(
            json.dumps(self._truth_entry(row, title)).encode() + b"\n"
            for row, title in self._planted()
        )

    def _truth_entry(self, row: int, title: StoryTitle) -> dict[str, str | int | None]:
        moved, numbers = self.movements, self.directory.numbers
        payer, payee = int(moved.payer[row]), int(moved.payee[row])
        return {
            "id": self._id(row),
            "scenario": title.scenario,
            "story": title.story,
            "movements": title.movements,
            "payer_account": None if payer == NOBODY else numbers[payer],
            "payee_account": None if payee == NOBODY else numbers[payee],
            "occurred_at_ms": int(moved.occurred_at_ms[row]),
        }

    def _planted(self) -> list[tuple[int, StoryTitle]]:
        story = self.movements.story
        rows = np.nonzero(story != HONEST)[0].tolist()
        return [(row, self.titles[int(story[row])]) for row in rows]

    def _id(self, row: int) -> str:
        day = (int(self.movements.occurred_at_ms[row]) + OFFSET_MS) // DAY_MS
        return f"T{_date(day).replace('-', '')}{self.run}{self.first_number + row:09d}"

    def _lines(self) -> pl.Series:
        """JSON texts put together from prepared fragments: about 3 us each."""
        moved, directory = self.movements, self.directory
        local = moved.occurred_at_ms + OFFSET_MS
        day, in_day = np.divmod(local, DAY_MS)
        second, millisecond = np.divmod(in_day, SECOND_MS)
        yuan, cents = np.divmod(moved.amount_minor, 100)
        days, day_row = np.unique(day, return_inverse=True)
        dates = [_date(int(entry)) for entry in days]
        heads = pl.Series([f'{{"id":"T{date.replace("-", "")}{self.run}' for date in dates])
        middles = pl.Series([f'","occurred_at":"{date}T' for date in dates])
        nobody = len(directory.numbers)
        number = np.arange(self.first_number, self.first_number + len(moved))
        parts = (
            heads.gather(day_row),
            pl.Series(number).cast(pl.String).str.zfill(9),
            middles.gather(day_row),
            _CLOCK.gather(second),
            _MILLISECONDS.gather(millisecond),
            pl.Series(yuan).cast(pl.String),
            _CENTS.gather(cents),
            directory.as_payer.gather(np.where(moved.payer == NOBODY, nobody, moved.payer)),
            directory.as_payee.gather(np.where(moved.payee == NOBODY, nobody, moved.payee)),
            _ENDINGS.gather(moved.manner),
        )
        frame = pl.DataFrame([part.alias(str(place)) for place, part in enumerate(parts)])
        return frame.select(pl.concat_str(pl.all())).to_series()


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))
