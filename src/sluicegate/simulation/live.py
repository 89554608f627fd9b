"""The honest mix of a live stream: a city in fast motion."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from sluicegate.simulation.honest import (
    PURCHASE_SHARES,
    PURCHASES,
    baskets,
    gifts,
    minor,
    shop_level,
)
from sluicegate.simulation.movements import NOBODY, Manner, Movements, join, movements
from sluicegate.simulation.population import Population, Role
from sluicegate.simulation.rhythm import Ints


class Deck:
    """Cards in a fixed shuffled order, dealt round and round: nobody twice before everyone once."""

    def __init__(self, rng: np.random.Generator, cards: Ints) -> None:
        self._cards = rng.permutation(cards)
        self._next = 0

    def deal(self, count: int) -> Ints:
        """The next `count` cards."""
        places = (self._next + np.arange(count)) % len(self._cards)
        self._next = (self._next + count) % len(self._cards)
        return self._cards[places]


@dataclass(frozen=True, slots=True)
class _Share:
    name: str
    share: float


_LIVE_SHARES: Final = (
    _Share("purchase", 0.850),
    _Share("bill", 0.050),
    _Share("family", 0.040),
    _Share("withdrawal", 0.020),
    _Share("shop_cash", 0.012),
    _Share("saving", 0.006),
    _Share("goods", 0.003),
    _Share("invoice", 0.002),
    _Share("elderly_cash", 0.017),
)


class LiveMix:
    """Honest movements at a rate far above a city's own, by habits only.

    A live stream runs the city in fast motion: at 2,000 a second everyone moves every few
    seconds. So that this does not look like thousands of bursts, payers take turns, keep to their
    two first shops and one relative, and money does not go round: whoever is given money in the
    mix passes none on.
    """

    def __init__(self, rng: np.random.Generator, people: Population) -> None:
        self._rng = rng
        self._people = people
        self._chances = np.array([entry.share for entry in _LIVE_SHARES])
        self._chances /= self._chances.sum()
        persons = np.arange(people.persons)
        workers, companies = people.block(Role.WORKER), people.block(Role.COMPANY)
        dependants = np.concatenate([people.block(Role.ELDERLY), people.block(Role.YOUNG)])
        supported = dependants[people.relatives[dependants, 0] < len(workers)]
        shops = people.block(Role.SHOP) - people.blocks[Role.SHOP].start
        half = len(companies) // 2
        self._decks = {
            "purchase": Deck(rng, persons),
            "bill": Deck(rng, persons),
            "family": Deck(rng, supported),
            "withdrawal": Deck(rng, workers),
            "elderly_cash": Deck(rng, people.block(Role.ELDERLY)),
            "shop_cash": Deck(rng, shops),
            "goods": Deck(rng, shops),
            "saving": Deck(rng, np.arange(len(people.saver))),
            "invoice": Deck(rng, companies[:half]),
        }
        self._sellers = companies[half:]

    def draw(self, occurred_at_ms: Ints) -> Movements:
        """One honest movement at each of the moments."""
        rng = self._rng
        counts = rng.multinomial(len(occurred_at_ms), self._chances)
        drawn = []
        at = rng.permutation(occurred_at_ms)
        start = 0
        for entry, count in zip(_LIVE_SHARES, counts.tolist(), strict=True):
            if count:
                who = self._decks[entry.name].deal(count)
                drawn.append(getattr(self, f"_{entry.name}")(at[start : start + count], who))
            start += count
        return join(drawn)

    def _purchase(self, at: Ints, who: Ints) -> Movements:
        people, rng = self._people, self._rng
        shop = people.shops[who, (rng.random(len(who)) < 0.3).astype(np.int64)]
        manner = rng.choice(PURCHASES, len(who), p=PURCHASE_SHARES)
        return movements(at, who, shop, baskets(rng, people, who), manner)

    def _bill(self, at: Ints, who: Ints) -> Movements:
        amount = minor(self._rng.gamma(5, 25, len(who)))
        return movements(at, who, self._people.utilities[who, 0], amount, Manner.UTILITY_BILL)

    def _family(self, at: Ints, who: Ints) -> Movements:
        people = self._people
        amount = gifts(self._rng, people, who)
        return movements(at, people.relatives[who, 0], who, amount, Manner.FAMILY)

    def _withdrawal(self, at: Ints, who: Ints) -> Movements:
        usual = np.minimum(self._people.gift[who] * self._rng.uniform(0.4, 1.2, len(who)), 5_000)
        return movements(at, who, NOBODY, minor(usual, 100), Manner.ATM_WITHDRAWAL)

    def _elderly_cash(self, at: Ints, who: Ints) -> Movements:
        usual = self._rng.uniform(300, 1_200, len(who))
        return movements(at, who, NOBODY, minor(usual, 100), Manner.COUNTER_WITHDRAWAL)

    def _shop_cash(self, at: Ints, who: Ints) -> Movements:
        people = self._people
        amount = minor(shop_level(people)[who] * self._rng.uniform(0.05, 0.3, len(who)), 100)
        shop = people.blocks[Role.SHOP].start + who
        return movements(at, NOBODY, shop, amount, Manner.COUNTER_DEPOSIT)

    def _goods(self, at: Ints, who: Ints) -> Movements:
        people = self._people
        amount = minor(shop_level(people)[who] * self._rng.uniform(0.8, 1.2, len(who)), 10)
        shop = people.blocks[Role.SHOP].start + who
        return movements(at, shop, people.suppliers[who, 0], amount, Manner.GOODS)

    def _saving(self, at: Ints, who: Ints) -> Movements:
        people = self._people
        account = people.blocks[Role.SAVINGS].start + who
        return movements(at, people.saver[who], account, people.saving[who], Manner.SAVE)

    def _invoice(self, at: Ints, who: Ints) -> Movements:
        row = who - self._people.blocks[Role.COMPANY].start
        seller = self._sellers[row % len(self._sellers)]
        amount = minor(np.clip(self._rng.lognormal(np.log(28_000), 0.6, len(who)), 800, 300_000))
        return movements(at, who, seller, amount, Manner.INVOICE)
