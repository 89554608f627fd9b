"""Who lives in the city: accounts by role, with their habits.

An account is an index 0 .. accounts - 1. Roles are contiguous blocks of indices; account numbers
are scattered, so the block does not show in them.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sluicegate.errors import Problem
from sluicegate.simulation.rhythm import Floats, Ints

SMALLEST_CITY: Final = 4_000
"""Below this a story would run out of accounts to play in it."""


class Role(Enum):
    """What an account is for."""

    WORKER = auto()
    ELDERLY = auto()
    YOUNG = auto()
    SAVINGS = auto()
    LANDLORD = auto()
    SHOP = auto()
    COMPANY = auto()
    UTILITY = auto()
    PENSION_FUND = auto()
    DORMANT = auto()
    THIN = auto()


_SHARES: Final = {
    Role.ELDERLY: 0.14,
    Role.YOUNG: 0.10,
    Role.SAVINGS: 0.05,
    Role.LANDLORD: 0.01,
    Role.SHOP: 0.05,
    Role.COMPANY: 0.015,
    Role.UTILITY: 0.0003,
    Role.PENSION_FUND: 0.00005,
    Role.DORMANT: 0.04,
    Role.THIN: 0.025,
}
"""Shares of all accounts; workers are the rest. Thin: opened lately, with two or three movements.
Dormant: opened half a year ago and more, one or two movements, then nothing."""

_LEAST: Final = {Role.UTILITY: 4, Role.PENSION_FUND: 1, Role.COMPANY: 8, Role.LANDLORD: 4}

RELATIVES: Final = 3
SHOPS: Final = 5


@dataclass(frozen=True, slots=True)
class Bank:
    """A bank: code, first digits and length of its account numbers, share of the accounts."""

    code: str
    prefix: str
    digits: int
    share: float


BANKS: Final = (
    Bank("ICBC", "622202", 19, 0.20),
    Bank("CCB", "621700", 19, 0.18),
    Bank("ABC", "622848", 19, 0.17),
    Bank("BOC", "621661", 19, 0.11),
    Bank("PSBC", "621098", 19, 0.10),
    Bank("BOCOM", "622260", 19, 0.06),
    Bank("CMB", "621485", 16, 0.08),
    Bank("SPDB", "622521", 16, 0.04),
    Bank("CITIC", "622690", 16, 0.03),
    Bank("RCU", "622909", 18, 0.03),
)
REGIONS: Final = ("330102", "330106", "330108", "330109", "330110", "330281", "320105", "310115")


@dataclass(frozen=True, slots=True)
class Directory:
    """Account numbers, unique, 16 to 19 digits with a Luhn check digit; bank and region of each."""

    numbers: tuple[str, ...]
    keys: tuple[bytes, ...]
    as_payer: pl.Series
    as_payee: pl.Series
    """JSON fragments of each account as either side; the last row is nobody (cash)."""


def _luhn(body: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Check digits of rows of digits."""
    digits = body.astype(np.int64)
    digits[:, ::-2] *= 2
    total = np.where(digits > 9, digits - 9, digits).sum(axis=1)
    check: NDArray[np.uint8] = (-total % 10).astype(np.uint8)
    return check


def _numbers(bank: Bank, serials: Ints) -> list[str]:
    width = bank.digits - len(bank.prefix) - 1
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    serial_digits = (serials[:, None] // powers % 10).astype(np.uint8)
    prefix = np.array([int(digit) for digit in bank.prefix], dtype=np.uint8)
    body = np.hstack([np.tile(prefix, (len(serials), 1)), serial_digits])
    complete = np.hstack([body, _luhn(body)[:, None]]) + ord("0")
    text = complete.astype(np.uint8).tobytes().decode("ascii")
    return [text[at : at + bank.digits] for at in range(0, len(text), bank.digits)]


def make_directory(rng: np.random.Generator, accounts: int) -> Directory:
    """Draw bank, region and number of every account."""
    bank = rng.choice(len(BANKS), accounts, p=np.array([bank.share for bank in BANKS]))
    region = rng.choice(len(REGIONS), accounts, p=1 / np.arange(1, 9) / np.sum(1 / np.arange(1, 9)))
    numbers = np.empty(accounts, dtype=object)
    for index, entry in enumerate(BANKS):
        mine = np.nonzero(bank == index)[0]
        space = 10 ** (entry.digits - len(entry.prefix) - 1)
        # an odd step that 5 does not divide visits every serial once: numbers are unique
        step = int(rng.integers(space // 40)) * 10 + 3
        serials = [(int(place) * step) % space for place in mine]
        numbers[mine] = _numbers(entry, np.array(serials, dtype=np.int64))
    entries = list(zip(numbers, bank.tolist(), region.tolist(), strict=True))
    return Directory(
        numbers=tuple(numbers),
        keys=tuple(number.encode("ascii") for number in numbers),
        as_payer=_fragments("payer", entries),
        as_payee=_fragments("payee", entries),
    )


def _fragments(side: str, entries: list[tuple[str, int, int]]) -> pl.Series:
    filled = [
        f'"{side}_account":"{number}","{side}_bank":"{BANKS[bank].code}",'
        f'"{side}_region":"{REGIONS[region]}",'
        for number, bank, region in entries
    ]
    return pl.Series([*filled, f'"{side}_account":null,'])


@dataclass(frozen=True, slots=True)
class Population:
    """Everyone's habits. Persons (workers, elderly, young) are the indices below `persons`.

    Money in minor units. Arrays over persons unless said otherwise; shapes in brackets.
    """

    blocks: dict[Role, range]
    persons: int
    employer: Ints  # [workers] index of a company account
    salary: Ints  # [workers]
    payday: Ints  # [companies] day of the month
    pension: Ints  # [elderly]
    landlord: Ints  # -1: owns the home
    rent: Ints
    rent_day: Ints
    utilities: Ints  # [persons, 2]
    bill_day: Ints
    relatives: Ints  # [persons, 3] the household
    shops: Ints  # [persons, 5] preferred first
    appetite: Floats  # purchases relative to the mean person
    basket: Floats  # usual purchase, CNY
    gift: Floats  # usual family transfer, CNY
    saver: Ints  # [savings] the worker who owns it
    saving: Ints  # [savings] moved each month
    owner: Ints  # [shops] the person behind it
    suppliers: Ints  # [shops, 2] companies
    takings: Floats  # [shops] share of all purchases that the shop attracts
    partners: Ints  # [companies, 3] companies it buys from

    def block(self, role: Role) -> Ints:
        """The accounts of a role."""
        span = self.blocks[role]
        return np.arange(span.start, span.stop)


def _blocks(accounts: int) -> dict[Role, range]:
    if accounts < SMALLEST_CITY:
        raise Problem(
            f"a city of {accounts} accounts is too small",
            hint=f"ask for at least {SMALLEST_CITY}",
        )
    sizes = {
        role: max(_LEAST.get(role, 1), round(share * accounts)) for role, share in _SHARES.items()
    }
    sizes = {Role.WORKER: accounts - sum(sizes.values()), **sizes}
    blocks, start = {}, 0
    for role, size in sizes.items():
        blocks[role] = range(start, start + size)
        start += size
    return blocks


def _zipf(rng: np.random.Generator, count: int, exponent: float) -> Floats:
    weights: Floats = rng.permutation(np.arange(1, count + 1) ** -exponent)
    shares: Floats = weights / weights.sum()
    return shares


def _households(rng: np.random.Generator, persons: int) -> Ints:
    """Households of four by chance; the last ones borrow members, so that everyone has three."""
    order = rng.permutation(persons)
    order = np.concatenate([order, order[: -persons % 4]]).reshape(-1, 4)
    relatives = np.empty((persons, RELATIVES), dtype=np.int64)
    for seat in range(4):
        relatives[order[:, seat]] = np.delete(order, seat, axis=1)
    return relatives


def _yuan(amounts: Floats, step: int = 1) -> Ints:
    """Round to a multiple of `step` CNY, at least one step; minor units."""
    rounded: Ints = np.maximum(np.rint(amounts / step), 1).astype(np.int64) * step * 100
    return rounded


def settle(rng: np.random.Generator, accounts: int) -> Population:
    """Draw a population with its habits."""
    blocks = _blocks(accounts)
    count = {role: len(span) for role, span in blocks.items()}
    start = {role: span.start for role, span in blocks.items()}
    workers, persons = count[Role.WORKER], blocks[Role.YOUNG].stop
    takings = _zipf(rng, count[Role.SHOP], 0.7)
    rents = rng.random(persons) < np.where(np.arange(persons) < workers, 0.28, 0.05)
    companies = start[Role.COMPANY]
    return Population(
        blocks=blocks,
        persons=persons,
        employer=companies
        + rng.choice(count[Role.COMPANY], workers, p=_zipf(rng, count[Role.COMPANY], 0.6)),
        salary=_yuan(np.clip(rng.lognormal(np.log(7_200), 0.42, workers), 2_500, 60_000)),
        payday=rng.choice([5, 8, 10, 10, 15, 15, 20, 25], count[Role.COMPANY]),
        pension=_yuan(np.clip(rng.normal(3_600, 900, count[Role.ELDERLY]), 1_200, 9_000)),
        landlord=np.where(
            rents,
            start[Role.LANDLORD] + rng.integers(count[Role.LANDLORD], size=persons),
            -1,
        ),
        rent=_yuan(np.clip(rng.lognormal(np.log(2_400), 0.35, persons), 800, 9_000), 100),
        rent_day=rng.integers(1, 6, persons),
        utilities=start[Role.UTILITY] + rng.integers(count[Role.UTILITY], size=(persons, 2)),
        bill_day=rng.integers(1, 29, persons),
        relatives=_households(rng, persons),
        shops=start[Role.SHOP] + rng.choice(count[Role.SHOP], (persons, SHOPS), p=takings),
        appetite=rng.gamma(3.0, 1 / 3.0, persons) + 0.15,
        basket=rng.lognormal(np.log(42), 0.35, persons),
        gift=rng.lognormal(np.log(600), 0.5, persons),
        saver=rng.choice(workers, count[Role.SAVINGS], replace=False),
        saving=_yuan(rng.lognormal(np.log(2_500), 0.5, count[Role.SAVINGS]), 100),
        owner=rng.integers(workers, size=count[Role.SHOP]),
        suppliers=companies + rng.integers(count[Role.COMPANY], size=(count[Role.SHOP], 2)),
        takings=takings,
        partners=companies + rng.integers(count[Role.COMPANY], size=(count[Role.COMPANY], 3)),
    )
