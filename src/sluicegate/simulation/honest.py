"""What honest people do over the months of a history."""

from typing import Final

import numpy as np

from sluicegate.simulation.movements import NOBODY, Manner, Movements, join, movements
from sluicegate.simulation.population import RELATIVES, SHOPS, Population, Role
from sluicegate.simulation.rhythm import (
    DAY_MS,
    EVENING,
    MORNING,
    OFFICE,
    OFFSET_MS,
    PRIVATE,
    SHOPPING,
    Calendar,
    Floats,
    Ints,
)

PURCHASES: Final = np.array(
    [Manner.QUICK_PURCHASE, Manner.POS_PURCHASE, Manner.TAKEAWAY, Manner.ONLINE_PURCHASE]
)
PURCHASE_SHARES: Final = np.array([0.52, 0.22, 0.14, 0.12])
_LOYALTY: Final = np.array([0.48, 0.24, 0.14, 0.08, 0.06])
"""How the purchases of a person spread over the preferred shops."""
_DORMANT_DAYS: Final = (200, 260)
"""A dormant account was opened so many days before the history ends."""
_THIN_DAYS: Final = (20, 60)
_OPENING_SPAN_DAYS: Final = 9


def minor(cny: Floats, step: float = 0.01) -> Ints:
    """CNY to minor units, rounded to a multiple of `step` CNY, at least one step."""
    unit = max(round(step * 100), 1)
    rounded: Ints = np.maximum(np.rint(cny * 100 / unit), 1).astype(np.int64) * unit
    return rounded


class History:
    """Draws the honest months, one behaviour after another."""

    def __init__(self, rng: np.random.Generator, people: Population, calendar: Calendar) -> None:
        self._rng = rng
        self._people = people
        self._calendar = calendar

    def habits(self) -> Movements:
        """Everything but shopping, which fills what is left."""
        drawn = [
            self._salaries(),
            self._pensions(),
            self._rents(),
            self._bills(),
            self._family(),
            self._allowances(),
            self._pension_cash(),
            self._cash(),
            self._savings(),
            self._shop_payments(),
            self._shop_cash(),
            self._invoices(),
            self._houses(),
        ]
        return join(drawn).before(self._calendar.ends_at_ms)

    def openings(self) -> Movements:
        """The only movements of dormant and of thin accounts, also from before the span."""
        dormant = self._people.block(Role.DORMANT)
        thin = self._people.block(Role.THIN)
        return join(
            [
                self._opened(dormant, self._days_ago(len(dormant), _DORMANT_DAYS)),
                self._opened(thin, self._days_ago(len(thin), _THIN_DAYS)),
            ]
        ).before(self._calendar.ends_at_ms)

    def purchases(self, count: int) -> Movements:
        """Exactly so many purchases and a few refunds."""
        people, rng = self._people, self._rng
        appetite = people.appetite * np.where(_is_elderly(people), 0.45, 1.0)
        who = _weighted(rng, appetite, count)
        shop = people.shops[who, rng.choice(SHOPS, count, p=_LOYALTY)]
        away = rng.random(count) < 0.08
        anywhere = people.block(Role.SHOP)
        shop[away] = anywhere[_weighted(rng, people.takings, int(away.sum()))]
        day = self._calendar.random_days(rng, count, SHOPPING)
        at = self._calendar.moments(rng, day, SHOPPING, elapsed=True)
        bought = movements(
            at,
            who,
            shop,
            baskets(rng, people, who),
            rng.choice(PURCHASES, count, p=PURCHASE_SHARES),
        )
        returned = rng.random(count) < 0.004
        return Movements(
            occurred_at_ms=at,
            payer=np.where(returned, shop, who),
            payee=np.where(returned, who, shop),
            amount_minor=bought.amount_minor,
            manner=np.where(returned, Manner.REFUND, bought.manner),
            story=bought.story,
        )

    def _days_ago(self, count: int, between: tuple[int, int]) -> Ints:
        return self._calendar.last_day - self._rng.integers(*between, size=count)

    def _opened(self, accounts: Ints, day: Ints) -> Movements:
        """Opened with a little cash, and every other one tried once more."""
        rng = self._rng
        deposit = movements(
            self._calendar.moments(rng, day, OFFICE),
            NOBODY,
            accounts,
            minor(rng.uniform(10, 500, len(accounts)), 10),
            Manner.COUNTER_DEPOSIT,
        )
        tried = np.nonzero(rng.random(len(accounts)) < 0.55)[0]
        later = day[tried] + rng.integers(1, _OPENING_SPAN_DAYS, len(tried))
        purchase = movements(
            self._calendar.moments(rng, later, SHOPPING),
            accounts[tried],
            rng.choice(self._people.block(Role.SHOP), len(tried)),
            minor(rng.uniform(5, 60, len(tried))),
            Manner.QUICK_PURCHASE,
        )
        return join([deposit, purchase])

    def _salaries(self) -> Movements:
        people, rng = self._people, self._rng
        company = people.employer - people.blocks[Role.COMPANY].start
        who, day = self._calendar.monthly(people.payday[company], workday=True)
        # a company pays all of its people within minutes, at its own hour
        no_day = np.zeros(len(people.payday), dtype=np.int64)
        hour = self._calendar.moments(rng, no_day, MORNING)
        at = day * DAY_MS + hour[company[who]] + rng.integers(0, 240_000, len(who))
        amount = minor(people.salary[who] / 100 * rng.normal(1.0, 0.03, len(who)).clip(0.9, 1.1))
        return movements(at, people.employer[who], who, amount, Manner.SALARY)

    def _pensions(self) -> Movements:
        people, rng = self._people, self._rng
        elderly = people.block(Role.ELDERLY)
        who, day = self._calendar.monthly(np.full(len(elderly), 15), workday=True)
        at = day * DAY_MS - OFFSET_MS + 7 * 3_600_000 + rng.integers(0, 3_600_000, len(who))
        fund = people.block(Role.PENSION_FUND)
        return movements(
            at, fund[who % len(fund)], elderly[who], people.pension[who], Manner.PENSION
        )

    def _rents(self) -> Movements:
        people, rng = self._people, self._rng
        tenants = np.nonzero(people.landlord >= 0)[0]
        row, day = self._calendar.monthly(people.rent_day[tenants])
        who = tenants[row]
        at = self._calendar.moments(rng, day, EVENING)
        return movements(at, who, people.landlord[who], people.rent[who], Manner.RENT)

    def _bills(self) -> Movements:
        people, rng = self._people, self._rng
        who, day = self._calendar.monthly(people.bill_day)
        which = rng.integers(2, size=len(who))
        amount = minor(np.where(which == 0, rng.gamma(4, 45, len(who)), rng.gamma(6, 10, len(who))))
        manner = np.where(which == 0, Manner.UTILITY_BILL, Manner.PHONE_BILL)
        at = self._calendar.moments(rng, day, PRIVATE)
        return movements(at, who, people.utilities[who, which], amount, manner)

    def _family(self) -> Movements:
        people, rng = self._people, self._rng
        who, day = self._calendar.scattered(rng, np.full(people.persons, 0.75))
        relative = people.relatives[who, rng.integers(RELATIVES, size=len(who))]
        return movements(
            self._calendar.moments(rng, day, PRIVATE),
            who,
            relative,
            gifts(rng, people, who),
            rng.choice([Manner.FAMILY, Manner.RED_PACKET, Manner.TRANSFER], len(who)),
        )

    def _allowances(self) -> Movements:
        people, rng = self._people, self._rng
        young = people.block(Role.YOUNG)
        row, day = self._calendar.monthly(people.bill_day[young])
        child = young[row]
        parent = people.relatives[child, 0]
        amount = minor(people.gift[child] * 2.2, 100)
        at = self._calendar.moments(rng, day, EVENING)
        return movements(at, parent, child, amount, Manner.ALLOWANCE)

    def _pension_cash(self) -> Movements:
        people, rng = self._people, self._rng
        elderly = people.block(Role.ELDERLY)
        row, day = self._calendar.monthly(16 + np.arange(len(elderly)) % 6)
        amount = minor(people.pension[row] / 100 * rng.uniform(0.25, 0.6, len(row)), 100)
        manner = rng.choice([Manner.COUNTER_WITHDRAWAL, Manner.ATM_WITHDRAWAL], len(row))
        at = self._calendar.moments(rng, day, OFFICE)
        return movements(at, elderly[row], NOBODY, amount, manner)

    def _cash(self) -> Movements:
        people, rng = self._people, self._rng
        who, day = self._calendar.scattered(rng, np.full(people.persons, 0.35))
        at = self._calendar.moments(rng, day, PRIVATE)
        paid_in = rng.random(len(who)) < 0.25
        amount = minor(np.minimum(people.gift[who] * rng.uniform(0.5, 2.5, len(who)), 9_000), 100)
        out = movements(at, who, NOBODY, amount, Manner.ATM_WITHDRAWAL).take(
            np.nonzero(~paid_in)[0]
        )
        into = movements(at, NOBODY, who, amount, Manner.ATM_DEPOSIT).take(np.nonzero(paid_in)[0])
        return join([out, into])

    def _savings(self) -> Movements:
        """Money put aside days after the salary, and now and then some of it taken back."""
        people, rng = self._people, self._rng
        accounts = people.block(Role.SAVINGS)
        company = people.employer[people.saver] - people.blocks[Role.COMPANY].start
        row, day = self._calendar.monthly(np.minimum(people.payday[company] + 3, 28))
        at = self._calendar.moments(rng, day, EVENING)
        put = movements(at, people.saver[row], accounts[row], people.saving[row], Manner.SAVE)
        row, day = self._calendar.scattered(rng, np.full(len(accounts), 0.2))
        amount = minor(people.saving[row] / 100 * rng.uniform(0.3, 1.6, len(row)), 100)
        at = self._calendar.moments(rng, day, PRIVATE)
        return join([put, movements(at, accounts[row], people.saver[row], amount, Manner.UNSAVE)])

    def _shop_payments(self) -> Movements:
        """Each week a shop pays its supplier, each month its owner."""
        people, rng = self._people, self._rng
        shops = people.block(Role.SHOP)
        row, day = self._calendar.weekly(np.arange(len(shops)) % 5)
        level = shop_level(people)[row]
        supplier = people.suppliers[row, rng.integers(2, size=len(row))]
        amount = minor(level * rng.normal(1.0, 0.15, len(row)).clip(0.6, 1.4), 10)
        at = self._calendar.moments(rng, day, OFFICE)
        goods = movements(at, shops[row], supplier, amount, Manner.GOODS)
        row, day = self._calendar.monthly(np.arange(len(shops)) % 28 + 1)
        amount = minor(shop_level(people)[row] * rng.uniform(0.6, 1.2, len(row)), 100)
        at = self._calendar.moments(rng, day, EVENING)
        return join([goods, movements(at, shops[row], people.owner[row], amount, Manner.DRAWINGS)])

    def _shop_cash(self) -> Movements:
        people, rng = self._people, self._rng
        shops = people.block(Role.SHOP)
        row, day = self._calendar.scattered(rng, np.full(len(shops), 1.2))
        amount = minor(shop_level(people)[row] * rng.uniform(0.05, 0.3, len(row)), 100)
        at = self._calendar.moments(rng, day, OFFICE)
        return movements(at, NOBODY, shops[row], amount, Manner.COUNTER_DEPOSIT)

    def _invoices(self) -> Movements:
        people, rng = self._people, self._rng
        companies = people.block(Role.COMPANY)
        row, day = self._calendar.scattered(rng, np.full(len(companies), 5.0))
        workday = day - np.maximum((day + 3) % 7 - 4, 0)
        at = self._calendar.moments(rng, workday, OFFICE)
        return movements(
            at,
            companies[row],
            people.partners[row, rng.integers(3, size=len(row))],
            minor(np.clip(rng.lognormal(np.log(28_000), 0.9, len(row)), 800, 900_000)),
            Manner.INVOICE,
        )

    def _houses(self) -> Movements:
        """The family puts money together over days, then the deposit of a flat is paid."""
        people, rng = self._people, self._rng
        workers = people.blocks[Role.WORKER].stop
        count = rng.poisson(workers / 4_000 * self._calendar.months)
        buyer = rng.integers(workers, size=count)
        day = self._calendar.random_days(rng, count, OFFICE)
        given = minor(rng.uniform(30_000, 150_000, (count, RELATIVES)), 10_000)
        gifts = movements(
            self._calendar.moments(
                rng, np.repeat(day, RELATIVES) - rng.integers(1, 6, 3 * count), PRIVATE
            ),
            people.relatives[buyer].ravel(),
            np.repeat(buyer, RELATIVES),
            given.ravel(),
            Manner.LOAN,
        )
        price = given.sum(axis=1) + minor(rng.uniform(50_000, 500_000, count), 10_000)
        developer = rng.choice(people.block(Role.COMPANY), count)
        at = self._calendar.moments(rng, day, OFFICE)
        return join([gifts, movements(at, buyer, developer, price, Manner.HOUSE)])


def shop_level(people: Population) -> Floats:
    """What a shop pays its supplier in a week, CNY: grows slower than its takings."""
    relative = people.takings * len(people.takings)
    return np.clip(3_500 * relative**0.8, 900, 90_000)


def _is_elderly(people: Population) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    span = people.blocks[Role.ELDERLY]
    index = np.arange(people.persons)
    return (index >= span.start) & (index < span.stop)


def _weighted(rng: np.random.Generator, weights: Floats, count: int) -> Ints:
    cumulative = np.cumsum(weights)
    drawn = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    picked: Ints = np.minimum(drawn, len(weights) - 1)
    return picked


def baskets(rng: np.random.Generator, people: Population, who: Ints) -> Ints:
    """Purchases around the usual one of each person, minor units."""
    return minor(np.clip(people.basket[who] * rng.lognormal(0.0, 0.6, len(who)), 1.5, 2_500))


def gifts(rng: np.random.Generator, people: Population, who: Ints) -> Ints:
    """Round sums around the usual one of each, as people send them."""
    usual = people.gift[who] * rng.lognormal(0.0, 0.3, len(who))
    given: Ints = np.where(usual < 400, minor(usual, 20), minor(usual, 100))
    return given
