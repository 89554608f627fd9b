"""Frauds as they happen, and honest episodes that look like them.

A story is told in minutes of real time; a live stream tells it in seconds, in the same order.
Sources: card farms with splitting and cash-out (Yinfa 2016 no. 261 was written against them),
scatter-gather (suspicious-transaction features 3006, 3007), accounts bought and woken, test
payments, structuring under the lines of 10,000 and 50,000, and laundering for a commission.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from sluicegate.simulation.live import Deck
from sluicegate.simulation.movements import NOBODY, Manner
from sluicegate.simulation.population import Population, Role


class Scenario(StrEnum):
    """The kinds of fraud that are planted."""

    MULE_CHAIN = "mule_chain"
    SCATTER_GATHER = "scatter_gather"
    DORMANT_WOKEN = "dormant_woken"
    TEST_THEN_LARGE = "test_then_large"
    STRUCTURING = "structuring"
    PASS_THROUGH_COMMISSION = "pass_through_commission"  # noqa: S105 - no password


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of a story: minutes after its begin, account indices, whole CNY or fen."""

    minute: float
    payer: int
    payee: int
    amount_minor: int
    manner: Manner


class Cast:
    """Who plays in the stories: history and live stream deal from separate parts of the city.

    Mules are accounts opened lately and hardly used, half of the dormant ones, and some of young
    people who let theirs. A sleeper is dormant and wakes only once. Victims are persons.
    """

    def __init__(self, rng: np.random.Generator, people: Population, *, past: bool) -> None:
        self.rng = rng
        self.people = people
        # a fixed cut, so that the live cast does not depend on what the history used
        cut = np.random.default_rng(0)
        dormant = cut.permutation(people.block(Role.DORMANT))
        thin = cut.permutation(people.block(Role.THIN))
        young = cut.permutation(people.block(Role.YOUNG))
        letting = young[: len(young) // 20]
        sleepers, bought = np.array_split(dormant, 2)
        mules = [_part(cards, past=past) for cards in (thin, bought, letting)]
        workers, elderly = people.block(Role.WORKER), people.block(Role.ELDERLY)
        self._mules = Deck(rng, np.concatenate(mules))
        self._sleepers = rng.permutation(_part(sleepers, past=past)).tolist()
        self._victims = Deck(rng, np.concatenate([rng.choice(workers, len(elderly)), elderly]))

    @property
    def sleepers_left(self) -> int:
        """How many accounts are still dormant."""
        return len(self._sleepers)

    def mules(self, count: int) -> list[int]:
        """Distinct accounts that others control."""
        return [int(account) for account in self._mules.deal(count)]

    def victims(self, count: int) -> list[int]:
        """Persons who are deceived."""
        return [int(account) for account in self._victims.deal(count)]

    def sleeper(self) -> int:
        """A dormant account that nobody has woken yet."""
        return int(self._sleepers.pop())

    def between(self, low: float, high: float) -> float:
        """A number, evenly."""
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """True in that share of the cases."""
        return bool(self.rng.random() < share)

    def sum_minor(self, median: float, low: float, high: float) -> int:
        """What a victim loses: mostly thousands, sometimes the odd rest of the account."""
        cny = float(np.clip(self.rng.lognormal(np.log(median), 0.6), low, high))
        step = 1_000 if cny > 10_000 and self.chance(0.6) else 100
        return max(round(cny / step), 1) * step * 100

    def split(self, amount_minor: int, parts: int) -> list[int]:
        """Uneven shares that add up, whole hundreds but for the last."""
        shares = self.rng.dirichlet(np.full(parts, 6.0))[:-1]
        cuts = [max(int(share * amount_minor) // 100_00, 1) * 100_00 for share in shares]
        return [*cuts, max(amount_minor - sum(cuts), 100)]


def _part(
    cards: np.ndarray[tuple[int], np.dtype[np.int64]], *, past: bool
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The first eighth plays in the history, the rest in the live stream."""
    cut = max(len(cards) // 8, 1)
    return cards[:cut] if past else cards[cut:]


def _paid_in(cast: Cast, payee: int, victims: int, total: int, minute: float) -> list[Movement]:
    """Victims pay, each in one to three instalments, from `minute` on."""
    told: list[Movement] = []
    for victim, loss in zip(cast.victims(victims), cast.split(total, victims), strict=True):
        manner = Manner(
            cast.rng.choice(
                [Manner.TRANSFER, Manner.ONLINE_TRANSFER, Manner.COUNTER_TRANSFER],
                p=[0.6, 0.2, 0.2],
            )
        )
        instalments = 1 if loss < 20_000_00 else cast.count(1, 2)
        for amount in cast.split(loss, instalments):
            told.append(Movement(minute, victim, payee, amount, manner))
            minute += cast.between(1, 4)
    return told


def _cashed_out(cast: Cast, account: int, amount: int, minute: float) -> list[Movement]:
    """Machines give at most 20,000 a card and day; more than that is fetched at a counter."""
    told: list[Movement] = []
    if amount > 20_000_00:
        at_counter = min(amount // 100_00 * 100_00, 49_900_00)
        told.append(Movement(minute, account, NOBODY, at_counter, Manner.COUNTER_WITHDRAWAL))
        amount -= at_counter
        minute += cast.between(3, 9)
    rest = min(amount // 100_00 * 100_00, 20_000_00)
    for part in cast.split(rest, 1 if rest < 5_000_00 else 2) if rest > 0 else []:
        told.append(Movement(minute, account, NOBODY, part, Manner.ATM_WITHDRAWAL))
        minute += cast.between(1, 3)
    return told


def _mule_chain(cast: Cast) -> list[Movement]:
    """A card farm: into a rented account, split, split again or fetched in cash."""
    first, *seconds = cast.mules(1 + cast.count(2, 3))
    told = _paid_in(cast, first, cast.count(1, 2), cast.sum_minor(70_000, 12_000, 280_000), 0)
    received = sum(movement.amount_minor for movement in told)
    minute = told[-1].minute + cast.between(2, 8)
    kept = round(received * cast.between(0, 0.02))
    for second, share in zip(seconds, cast.split(received - kept, len(seconds)), strict=True):
        told.append(Movement(minute, first, second, share, Manner.TRANSFER))
        told += _passed_or_cashed(cast, second, share, minute + cast.between(3, 12))
        minute += cast.between(1, 3)
    return told


def _passed_or_cashed(cast: Cast, account: int, amount: int, minute: float) -> list[Movement]:
    if cast.chance(0.5):
        return _cashed_out(cast, account, amount, minute)
    (third,) = cast.mules(1)
    passed = amount - round(amount * cast.between(0, 0.015) / 100) * 100
    onward = Movement(minute, account, third, passed, Manner.TRANSFER)
    return [onward, *_cashed_out(cast, third, passed, minute + cast.between(4, 15))]


def _scatter_gather(cast: Cast) -> list[Movement]:
    """One account spreads the money over many, and all of them pay the same one."""
    source, collector, *hands = cast.mules(2 + cast.count(5, 9))
    told = _paid_in(cast, source, cast.count(1, 2), cast.sum_minor(120_000, 40_000, 300_000), 0)
    received = sum(movement.amount_minor for movement in told)
    minute = told[-1].minute + cast.between(3, 10)
    gathered = 0
    for hand, share in zip(hands, cast.split(received, len(hands)), strict=True):
        onward = share - round(share * cast.between(0, 0.03) / 100) * 100
        later = minute + cast.between(8, 30)
        told.append(Movement(minute, source, hand, share, Manner.TRANSFER))
        told.append(Movement(later, hand, collector, onward, Manner.TRANSFER))
        gathered += onward
        minute += cast.between(0.5, 3)
    last = max(movement.minute for movement in told) + cast.between(5, 20)
    return [*told, *_cashed_out(cast, collector, gathered, last)]


def _dormant_woken(cast: Cast) -> list[Movement]:
    """An account bought from its holder: tried with a little, then large sums run through it."""
    sleeper = cast.sleeper()
    targets = cast.mules(cast.count(1, 3))
    told: list[Movement] = []
    if cast.chance(0.4):
        little = cast.count(1, 100) * 100
        told.append(Movement(0, NOBODY, sleeper, little, Manner.ATM_DEPOSIT))
    begin = cast.between(5, 20)
    total = cast.sum_minor(150_000, 55_000, 300_000)
    told += _paid_in(cast, sleeper, cast.count(1, 3), total, begin)
    minute = told[-1].minute + cast.between(2, 12)
    left = total - round(total * cast.between(0, 0.04) / 100) * 100
    for target, share in zip(targets, cast.split(left, len(targets)), strict=True):
        told.append(Movement(minute, sleeper, target, share, Manner.ONLINE_TRANSFER))
        minute += cast.between(1, 6)
    return told


def _test_then_large(cast: Cast) -> list[Movement]:
    """A taken-over account pays a stranger a little, and again, then all that is there."""
    (victim,) = cast.victims(1)
    thief, behind = cast.mules(2)
    told: list[Movement] = []
    minute = 0.0
    for _ in range(int(cast.rng.choice([1, 2, 3, 4], p=[0.12, 0.45, 0.33, 0.10]))):
        told.append(Movement(minute, victim, thief, cast.count(1, 2_000), Manner.TRANSFER))
        minute += cast.between(2, 15)
    total = cast.sum_minor(45_000, 11_000, 200_000)
    for amount in cast.split(total, 1 if total < 50_000_00 else 2):
        told.append(Movement(minute, victim, thief, amount, Manner.TRANSFER))
        minute += cast.between(1, 5)
    onward = round(total * cast.between(0.9, 1) / 100) * 100
    minute += cast.between(2, 20)
    return [*told, Movement(minute, thief, behind, onward, Manner.ONLINE_TRANSFER)]


def _structuring(cast: Cast) -> list[Movement]:
    """Sums that stay just below the lines of 10,000 or 50,000, again and again."""
    line, most = (10_000, 12) if cast.chance(0.65) else (50_000, 7)
    account, *others = cast.mules(1 + cast.count(1, 3))
    cash = cast.chance(0.4)
    told: list[Movement] = []
    minute = 0.0
    for place in range(cast.count(6, most)):
        below = cast.between(0.004, 0.07) * min(line, 14_000)
        amount = max(round((line - below) / 10), 1) * 10 * 100
        other = others[place % len(others)]
        if cash:
            manner = Manner.COUNTER_DEPOSIT if cast.chance(0.5) else Manner.ATM_DEPOSIT
            told.append(Movement(minute, NOBODY, account, amount, manner))
        else:
            told.append(Movement(minute, account, other, amount, Manner.TRANSFER))
        minute += cast.between(10, 150)
    if cash:
        paid_in = sum(movement.amount_minor for movement in told)
        told.append(Movement(minute, account, others[0], paid_in, Manner.ONLINE_TRANSFER))
    return told


def _pass_through_commission(cast: Cast) -> list[Movement]:
    """In, and out again less a few percent, several times over."""
    middle, target = cast.mules(2)
    told: list[Movement] = []
    minute = 0.0
    for _ in range(cast.count(2, 4)):
        amount = cast.sum_minor(35_000, 5_000, 150_000)
        payer = cast.victims(1)[0] if cast.chance(0.7) else cast.mules(1)[0]
        told.append(Movement(minute, payer, middle, amount, Manner.TRANSFER))
        minute += cast.between(2, 25)
        onward = round(amount * (1 - cast.between(0.01, 0.06)) / 100) * 100
        told.append(Movement(minute, middle, target, onward, Manner.ONLINE_TRANSFER))
        minute += cast.between(10, 60)
        if cast.chance(0.3):
            (target,) = cast.mules(1)
    return told


_TELLERS: Final[dict[Scenario, Callable[[Cast], list[Movement]]]] = {
    Scenario.MULE_CHAIN: _mule_chain,
    Scenario.SCATTER_GATHER: _scatter_gather,
    Scenario.DORMANT_WOKEN: _dormant_woken,
    Scenario.TEST_THEN_LARGE: _test_then_large,
    Scenario.STRUCTURING: _structuring,
    Scenario.PASS_THROUGH_COMMISSION: _pass_through_commission,
}


def tell(scenario: Scenario, cast: Cast) -> list[Movement]:
    """One story of that kind, in order of time."""
    return sorted(_TELLERS[scenario](cast), key=lambda movement: movement.minute)


def hastened(told: list[Movement], minutes: float) -> list[Movement]:
    """The same story in so many minutes from the first movement to the last."""
    first, last = told[0].minute, told[-1].minute
    pace = minutes / max(last - first, 1e-9)
    return [replace(movement, minute=(movement.minute - first) * pace) for movement in told]


class Episodes:
    """Honest things that look like fraud: a payroll run, a flat bought, rents coming in."""

    def __init__(self, rng: np.random.Generator, people: Population) -> None:
        self._rng = rng
        self._people = people
        heads = np.bincount(people.employer, minlength=people.blocks[Role.UTILITY].start)
        companies = people.block(Role.COMPANY)
        employing = companies[heads[companies] > 0]
        homes = np.bincount(people.landlord[people.landlord >= 0], minlength=companies[0])
        landlords = people.block(Role.LANDLORD)
        self._companies = Deck(rng, employing)
        self._landlords = Deck(rng, landlords[homes[landlords] > 0])
        self._buyers = Deck(rng, people.block(Role.WORKER))

    def payroll(self) -> list[Movement]:
        """A company pays up to 150 of its people, 40 a second."""
        company = int(self._companies.deal(1)[0])
        staff = np.nonzero(self._people.employer == company)[0][:150]
        return [
            Movement(row / 2_400, company, int(who), int(self._people.salary[who]), Manner.SALARY)
            for row, who in enumerate(staff)
        ]

    def rents(self) -> list[Movement]:
        """The tenants of a landlord pay, one every half second in fast motion."""
        landlord = int(self._landlords.deal(1)[0])
        tenants = np.nonzero(self._people.landlord == landlord)[0][:12]
        return [
            Movement(row / 120, int(who), landlord, int(self._people.rent[who]), Manner.RENT)
            for row, who in enumerate(tenants)
        ]

    def house(self) -> list[Movement]:
        """The family gives, the buyer adds the savings of years, the developer is paid."""
        buyer = int(self._buyers.deal(1)[0])
        developer = int(self._rng.choice(self._people.block(Role.COMPANY)))
        given = [int(part) * 10_000_00 for part in self._rng.integers(3, 15, 3)]
        price = sum(given) + int(self._rng.integers(5, 50)) * 10_000_00
        gifts = [
            Movement(row / 12, int(relative), buyer, amount, Manner.LOAN)
            for row, (relative, amount) in enumerate(
                zip(self._people.relatives[buyer], given, strict=True)
            )
        ]
        return [*gifts, Movement(0.4, buyer, developer, price, Manner.HOUSE)]
