"""The city: one seed gives one stream of transactions, with its history and its frauds.

`City(seed, accounts)` then `history(...)` for months that end at a given moment, and `live(...)`
for an endless stream from a given moment on. Nothing here reads a clock. Same arguments, same
bytes; the live stream does not depend on which history was drawn.
"""

import hashlib
import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from sluicegate.simulation.honest import History
from sluicegate.simulation.live import LiveMix
from sluicegate.simulation.movements import HONEST, Chunk, Movements, StoryTitle, join
from sluicegate.simulation.population import make_directory, settle
from sluicegate.simulation.rhythm import OFFICE, SECOND_MS, Calendar, Ints, local_day
from sluicegate.simulation.typologies import Cast, Episodes, Movement, Scenario, hastened, tell

DEFAULT_ACCOUNTS: Final = 40_000
FILE_MOMENT_MS: Final = 1_751_299_200_000
BENCH_RATE: Final = 2_000
"""2025-07-01 00:00 UTC+8: the benchmark's months are always the same ones."""

_HISTORY_CHUNK: Final = 20_000
_A_DAY: Final = 0.25
"""Transactions an account and day: a city of 40,000 makes 1,000,000 in 100 days."""
_DAYS: Final = (30, 180)
_A_STORY_OF_EACH: Final = 125_000
"""In the history: one story of each scenario for so many transactions."""
_STORY_DAYS: Final = 15
"""Stories of the history lie within its last days, when thin accounts have been opened."""

_FRAUD_SHARE: Final = 0.004
_FIRST_STORIES_S: Final = 2.4
"""The first story of each scenario begins within this time, at 1,000 a second and more."""
DEMO_STORY_SECONDS: Final = (8.0, 18.0)
REAL_STORY_SECONDS: Final = (240.0, 720.0)
_EPISODE_SHARES: Final = {"payroll": 0.006, "rents": 0.002, "house": 0.0003}

_Pending = tuple[int, int, Movement, int]
"""Moment in ms, order of arrival, movement, story index."""


class City:
    """A population of `accounts`, drawn from `seed`."""

    def __init__(self, seed: int, accounts: int = DEFAULT_ACCOUNTS) -> None:
        self._seed = seed
        self._accounts = accounts
        rng = self._generator("population")
        self._people = settle(rng, accounts)
        self._directory = make_directory(rng, accounts)

    def history(self, transactions: int, ends_at_ms: int) -> Iterator[Chunk]:
        """Exactly `transactions` in order of time, the last before `ends_at_ms`."""
        rng = self._generator("history")
        days = int(np.clip(transactions / (self._accounts * _A_DAY), *_DAYS))
        calendar = Calendar(local_day(ends_at_ms - 1) - days + 1, ends_at_ms)
        told, titles = self._told(rng, transactions, calendar)
        honest = History(rng, self._people, calendar)
        kept = join([told, honest.openings()]).take(slice(transactions))
        habits = _thinned(rng, honest.habits(), transactions - len(kept))
        rest = honest.purchases(transactions - len(kept) - len(habits))
        everything = join([kept, habits, rest]).in_order()
        run = self._run("history", transactions, ends_at_ms)
        for start in range(0, transactions, _HISTORY_CHUNK):
            part = everything.take(slice(start, start + _HISTORY_CHUNK))
            until = int(part.occurred_at_ms[-1])
            yield Chunk(part, until, start, run, self._directory, titles)

    def live(
        self,
        starts_at_ms: int,
        rate: float,
        story_seconds: tuple[float, float] = DEMO_STORY_SECONDS,
        chunk_ms: int = 100,
    ) -> Iterator[Chunk]:
        """For ever: chunks of `chunk_ms`, `rate` transactions a second, about 0.4 % planted.

        Each planted story is told within so many seconds: as short as a demonstration needs by
        default, `REAL_STORY_SECONDS` as rings take. Honest episodes of people, such as the
        rents of a house, keep the same pace.
        """
        rng = self._generator("live")
        stage = _Stage(rng, self._people_cast, rate, starts_at_ms, story_seconds)
        run = self._run("live", starts_at_ms, rate)
        sent = 0
        for tick in count(1):
            until = starts_at_ms + tick * chunk_ms
            due = max(int(rate * tick * chunk_ms / SECOND_MS) - sent, 0)
            part = stage.play(until, due)
            yield Chunk(part, until, sent, run, self._directory, stage.titles)
            sent += len(part)

    def _people_cast(self, rng: np.random.Generator) -> tuple[Cast, Episodes, LiveMix]:
        people = self._people
        return Cast(rng, people, past=False), Episodes(rng, people), LiveMix(rng, people)

    def _told(
        self, rng: np.random.Generator, transactions: int, calendar: Calendar
    ) -> tuple[Movements, dict[int, StoryTitle]]:
        """The stories of the history: they begin in office hours, when victims can be called."""
        cast = Cast(rng, self._people, past=True)
        rounds = max(transactions // _A_STORY_OF_EACH, 1)
        pending: list[_Pending] = []
        titles: dict[int, StoryTitle] = {}
        for index, scenario in enumerate(list(Scenario) * rounds):
            if scenario is Scenario.DORMANT_WOKEN and not cast.sleepers_left:
                continue
            told = tell(scenario, cast)
            latest = calendar.ends_at_ms - round(told[-1].minute * 60_000) - SECOND_MS
            day = local_day(latest) - int(rng.integers(1, _STORY_DAYS))
            begin = int(calendar.moments(rng, np.array([day]), OFFICE)[0])
            titles[index] = StoryTitle(scenario, f"{scenario}-past-{index:04d}", len(told))
            pending += [_pending(begin, movement, index) for movement in told]
        return _columns(pending), titles

    def _generator(self, part: str) -> np.random.Generator:
        """Each part draws from a stream of its own, so that one does not shift another."""
        spawn = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=4).digest())
        return np.random.default_rng([self._seed, spawn])

    def _run(self, *what: str | float) -> str:
        """Six characters in every id that tell this stream from another."""
        named = repr((self._seed, self._accounts, what)).encode()
        return hashlib.blake2b(named, digest_size=3).hexdigest()


class _Stage:
    """Mixes planted stories and honest episodes into the honest mix of a live stream."""

    def __init__(
        self,
        rng: np.random.Generator,
        cast: Callable[[np.random.Generator], tuple[Cast, Episodes, LiveMix]],
        rate: float,
        starts_at_ms: int,
        story_seconds: tuple[float, float],
    ) -> None:
        self._rng = rng
        self._story_seconds = story_seconds
        self._slowness = sum(story_seconds) / sum(DEMO_STORY_SECONDS)
        self._cast, self._episodes, self._mix = cast(rng)
        self._rate = rate
        self._now_ms = starts_at_ms
        self._pending: list[_Pending] = []
        self._arrivals = count()
        self._stories = count()
        self.titles: dict[int, StoryTitle] = {}
        self._programme: list[Scenario] = []
        gap = _FIRST_STORIES_S / len(Scenario) * max(1_000 / rate, 1.0)
        self._first_gaps_ms = [gap * SECOND_MS] * len(Scenario)
        self._next_story_ms = starts_at_ms + gap * SECOND_MS / 2
        self._next_episode_ms = {
            name: starts_at_ms + rng.uniform(1, 5) * SECOND_MS for name in _EPISODE_SHARES
        }

    def play(self, until_ms: int, due: int) -> Movements:
        """What happens up to `until_ms`: all that is planted, then honest movements up to `due`."""
        self._open_stories(until_ms)
        self._open_episodes(until_ms)
        planted: list[_Pending] = []
        while self._pending and self._pending[0][0] < until_ms:
            planted.append(heapq.heappop(self._pending))
        honest = max(due - len(planted), 0)
        parts = [self._mix.draw(_evenly(self._now_ms, until_ms, honest))] if honest else []
        parts.append(_columns(planted))
        self._now_ms = until_ms
        return join(parts).in_order()

    def _open_stories(self, until_ms: int) -> None:
        while self._next_story_ms < until_ms:
            scenario = self._next_scenario()
            told = hastened(
                tell(scenario, self._cast), self._rng.uniform(*self._story_seconds) / 60
            )
            index = next(self._stories)
            self.titles[index] = StoryTitle(scenario, f"{scenario}-live-{index:06d}", len(told))
            self._plan(int(self._next_story_ms), told, index)
            steady = len(told) / (_FRAUD_SHARE * self._rate) * SECOND_MS
            self._next_story_ms += self._first_gaps_ms.pop() if self._first_gaps_ms else steady

    def _next_scenario(self) -> Scenario:
        """Each scenario once in every round, in changing order, while the cast allows it."""
        if not self._programme:
            self._programme = [list(Scenario)[row] for row in self._rng.permutation(len(Scenario))]
        scenario = self._programme.pop()
        if scenario is Scenario.DORMANT_WOKEN and not self._cast.sleepers_left:
            return self._next_scenario()
        return scenario

    def _open_episodes(self, until_ms: int) -> None:
        for name, share in _EPISODE_SHARES.items():
            while self._next_episode_ms[name] < until_ms:
                told: list[Movement] = getattr(self._episodes, name)()
                if name != "payroll":  # wages are paid by a computer, all the rest by people
                    told = [replace(each, minute=each.minute * self._slowness) for each in told]
                self._plan(int(self._next_episode_ms[name]), told, HONEST)
                self._next_episode_ms[name] += len(told) / (share * self._rate) * SECOND_MS

    def _plan(self, begin_ms: int, told: list[Movement], story: int) -> None:
        for movement in told:
            at, _, moved, index = _pending(begin_ms, movement, story)
            heapq.heappush(self._pending, (at, next(self._arrivals), moved, index))


def _pending(begin_ms: int, movement: Movement, story: int) -> _Pending:
    return begin_ms + round(movement.minute * 60_000), 0, movement, story


def _columns(pending: list[_Pending]) -> Movements:
    def column(values: Iterable[int]) -> Ints:
        return np.fromiter(values, dtype=np.int64, count=len(pending))

    return Movements(
        occurred_at_ms=column(at for at, *_ in pending),
        payer=column(moved.payer for _, _, moved, _ in pending),
        payee=column(moved.payee for _, _, moved, _ in pending),
        amount_minor=column(moved.amount_minor for _, _, moved, _ in pending),
        manner=column(moved.manner for _, _, moved, _ in pending),
        story=column(story for *_, story in pending),
    )


def _evenly(from_ms: int, until_ms: int, moments: int) -> Ints:
    return from_ms + np.arange(moments) * (until_ms - from_ms) // max(moments, 1)


def _thinned(rng: np.random.Generator, habits: Movements, most: int) -> Movements:
    """By chance so few of the movements that at most `most` are left."""
    if len(habits) <= most:
        return habits
    return habits.take(np.sort(rng.permutation(len(habits))[:most]))


def write_ndjson(path: Path, chunks: Iterable[Chunk], truth: Path | None = None) -> int:
    """Write the messages one a line, the truth of the planted ones beside; how many there were."""
    written = 0
    with path.open("wb") as out, (truth or Path(os.devnull)).open("wb") as truth_out:
        for chunk in chunks:
            out.write(chunk.ndjson())
            truth_out.write(chunk.truth_ndjson())
            written += len(chunk)
    return written


def bench_stream(
    seed: int = 1, transactions: int = 2_000_000, accounts: int = 100_000
) -> Iterator[list[tuple[bytes, bytes]]]:
    """Messages for a benchmark, always the same: what waits after an outage of a busy bank.

    2,000 transactions a second of event time, stories and episodes at the pace of real ones.
    """
    left = transactions
    city = City(seed, accounts)
    chunks = city.live(FILE_MOMENT_MS, BENCH_RATE, REAL_STORY_SECONDS, chunk_ms=5_000)
    for chunk in chunks:
        messages = chunk.messages()[:left]
        left -= len(messages)
        yield messages
        if not left:
            return
