"""Account memory: the rows of one partition, an index by account, and what changed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sluicegate.errors import Problem
from sluicegate.memory.directive_table import DirectiveTable, sorted_bytes
from sluicegate.memory.features import FEATURE_COUNT
from sluicegate.memory.past_scores import PAST, Singles, follow_accounts
from sluicegate.memory.population import POPULATION
from sluicegate.memory.prefetch import CACHE_LINE
from sluicegate.memory.row import DEPARTURE, FLAG_OUTSIDE, LEG, ROW
from sluicegate.memory.step import (
    META,
    find_or_add,
    find_rows,
    first_invalid,
    judge_legs,
    learn_profiles,
    put_rows,
    regrow,
    step_legs,
    step_transactions,
)
from sluicegate.memory.taken import Taken
from sluicegate.memory.words import Words, words_bytes

if TYPE_CHECKING:
    from sluicegate.judging.model import Model
    from sluicegate.judging.opinion import Opinion

Records = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kernel = Callable[[int, Floats, Floats], float]

_FIRST_SLOTS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Scorer:
    """What judges: a compiled pattern set, how many patterns it has, and what counts as a hit."""

    kernel: Kernel
    pattern_count: int
    threshold: float
    utc_offset_s: int
    pattern_names: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    """Hashes of the patterns' names, by which whitelists name them."""
    shadows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Which of the patterns are shadows: judged and counted, no part of a score."""
    model: "Model | None" = None
    """A fitted model that judges beside the patterns (`judging.opinion`)."""
    least_said: float = 0.0
    """Probabilities below this need not be known: the model's trees are not asked to the end."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """Result of stepping `n` legs; `h` of them are hits (score at or above the threshold)."""

    scores: Floats  # float64[n]
    arrivals: Records  # LEG[m], in the order of their departures
    hits: Ints  # int64[h], indexes into the legs
    hit_features: Floats  # float64[h, FEATURE_COUNT]
    hit_strengths: Floats  # float64[h, patterns]
    late: int  # legs older than their account's latest event
    too_late: int  # those of them that no local day covers any more
    shadow_fired: Ints  # int64[shadows of the scorer]: how often each fired
    carried: Singles | None = None  # float32[m, ...]: what the arrivals bring for a model
    opinion: "Opinion | None" = None  # of a model, on the hits


@dataclass(frozen=True, slots=True)
class Followed:
    """Result of stepping `n` whole transactions; NaN where a side does not exist."""

    payer_scores: Floats
    payee_scores: Floats
    hits: Ints
    hit_sides: npt.NDArray[np.int8]
    hit_features: Floats
    hit_strengths: Floats


class AccountMemory:
    """Rows of up to `capacity` accounts; address space is reserved, pages come as rows do.

    Rows never move: the operating system backs the reserved array page by page, so growing costs
    nothing and copies nothing. Only the index (8 bytes a slot, at most half full) is moved.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        try:
            self._rows = _on_cache_lines(capacity, ROW)
            self._dirty = np.zeros(capacity, np.uint8)
            self._swept = np.zeros(capacity, np.uint8)
            self.directives = DirectiveTable(capacity)
        except MemoryError as error:
            raise Problem(
                "the system does not reserve memory for a partition's accounts",
                f"{capacity:,} accounts are {capacity * ROW.itemsize / 2**30:.1f} GiB of addresses",
                "lower worker.accounts_per_partition",
            ) from error
        self.population: Records = np.zeros(1, POPULATION)
        self._slots = np.zeros(_FIRST_SLOTS, np.uint64)
        self._meta = np.zeros(META, np.int64)
        self._taken: Taken | None = None
        """Rows that are being copied as they were; None when none waits."""

    def __len__(self) -> int:
        """Number of accounts remembered."""
        return int(self._meta[0])

    @property
    def late_legs(self) -> int:
        """Legs that were older than their account's latest event, since this memory began."""
        return int(self._meta[1])

    @property
    def too_late_legs(self) -> int:
        """Legs of those that no local day covers any more."""
        return int(self._meta[2])

    @property
    def suppressed_legs(self) -> int:
        """Legs on which a whitelist took a pattern out of the score, since this memory began."""
        return int(self._meta[3])

    @property
    def bytes_in_use(self) -> int:
        """Bytes of the rows that there are, with what is kept beside each, and of the index."""
        beside = sum(each.itemsize for each in (self._dirty, self._swept, self.directives.heads))
        held = len(self) * (ROW.itemsize + beside) + self._slots.nbytes
        return int(held + self.directives.bytes_in_use)

    @property
    def table_load(self) -> float:
        """Share of the index's slots that are in use."""
        return len(self) / len(self._slots)

    @property
    def rows(self) -> Records:
        """The rows in use, in order of first appearance (a view)."""
        return self._rows[: len(self)]

    def step(self, legs: Records, scorer: Scorer, *, partition: int, log_offset: int) -> Stepped:
        """Judges and remembers the legs of one legs message, in order.

        Raises:
            Problem: a leg that the kernel must not see, or no room for more accounts; nothing
                has been changed then.
        """
        self._validate(legs)
        self._before(legs["account"])
        n = len(legs)
        arrivals: Records = np.zeros(n, LEG)
        scores = np.empty(n)
        hits = np.empty(n, np.int64)
        features = np.empty((n + 1, FEATURE_COUNT))
        strengths = np.empty((n + 1, scorer.pattern_count))
        fired = np.zeros(len(scorer.shadows), np.int64)
        late, too_late = self.late_legs, self.too_late_legs
        sent, hit = step_legs(
            *self._state(), *self._lists(), self.population, legs,
            scorer.kernel, scorer.pattern_names, scorer.utc_offset_s, scorer.threshold,
            partition, log_offset, np.empty(n, np.int64), arrivals, scores, hits,
            features, strengths, scorer.shadows, fired,
        )  # fmt: skip
        return Stepped(
            scores, arrivals[:sent], hits[:hit], features[:hit], strengths[:hit],
            self.late_legs - late, self.too_late_legs - too_late,
            fired,
        )  # fmt: skip

    def follow(self, legs: Records, scorer: Scorer) -> Followed:
        """Steps whole transactions: each first leg and, at once, the arrival that follows it.

        Raises:
            Problem: as `step`.
        """
        self._validate(legs)
        followed = (legs["side"] == DEPARTURE) & (legs["flags"] & FLAG_OUTSIDE == 0)
        self._before(legs["account"], legs["counterparty"][followed])
        n = len(legs)
        payer_scores, payee_scores = np.empty(n), np.empty(n)
        hits, sides = np.empty(2 * n, np.int64), np.empty(2 * n, np.int8)
        features = np.empty((2 * n + 1, FEATURE_COUNT))
        strengths = np.empty((2 * n + 1, scorer.pattern_count))
        hit = step_transactions(
            *self._state(), *self._lists(), self.population, legs,
            scorer.kernel, scorer.pattern_names, scorer.utc_offset_s, scorer.threshold,
            np.empty((n, 2), np.int64), np.zeros(1, LEG), payer_scores, payee_scores,
            hits, sides, features, strengths,
        )  # fmt: skip
        return Followed(
            payer_scores, payee_scores, hits[:hit], sides[:hit], features[:hit], strengths[:hit]
        )

    def judge(self, legs: Records, scorer: Scorer) -> tuple[Floats, Floats, Floats]:
        """Scores, features and strengths of legs against the memory as it is; changes nothing."""
        self._validate(legs)
        n = len(legs)
        scores = np.empty(n)
        features = np.empty((n, FEATURE_COUNT))
        strengths = np.empty((n, scorer.pattern_count))
        judge_legs(
            self._rows, np.zeros(1, ROW), self._slots, *self._lists(), self.population, legs,
            scorer.kernel, scorer.pattern_names, scorer.utc_offset_s, scores, features, strengths,
        )  # fmt: skip
        return scores, features, strengths

    def follow_said(self, legs: Records, scores: Floats) -> Singles:
        """What accounts remember of a model's scores as of before each leg (`[n, PAST]`).

        The legs have been stepped; their scores (`[n]`) are then remembered.
        """
        seen = np.empty((len(legs), len(PAST)), np.float32)
        found = find_rows(self._rows, self._slots, np.ascontiguousarray(legs["account"]))
        occurred, sides = legs["occurred_at_ms"].copy(), legs["side"].copy()
        follow_accounts(self._rows, found, occurred, sides, scores, seen)
        return seen

    def learn(self, profiles: Records) -> None:
        """Writes what the bank told of holders (`PROFILE`) into their rows, from the next leg on.

        Raises:
            Problem: no room for more accounts; nothing has been changed then.
        """
        self._before(profiles["account"])
        learn_profiles(*self._state(), profiles)

    def direct(self, directives: Records) -> None:
        """Takes directives (`DIRECTIVE`), in force from the next leg on.

        Raises:
            Problem: as `learn`.
        """
        self._before(directives["account"])
        found = np.empty(len(directives), np.int64)
        find_or_add(*self._state(), np.ascontiguousarray(directives["account"]), found)
        for record, row in zip(directives, found.tolist(), strict=True):
            self.directives.put(record, row)

    def row_of(self, account: Words) -> Records | None:
        """A copy of the row of an account (shape `[1]`), or None; `account` has shape `[5]`."""
        number = self._number_of(account)
        return self._rows[number : number + 1].copy() if number >= 0 else None

    def directives_of(self, account: Words) -> Records:
        """Copies of the directives (`DIRECTIVE`) of an account, ended ones too."""
        number = self._number_of(account)
        return self.directives.of(number) if number >= 0 else self.directives.records[:0]

    def take_dirty(self, most: int) -> Taken:
        """The rows changed since the last take, as they are now, `most` at a time.

        They count as clean. They are copied by `copy_taken`, when they are asked for, or before
        they change.
        """
        while not self.copy_taken(most):
            pass
        waiting, self._dirty = self._dirty[: len(self)], np.zeros(self.capacity, np.uint8)
        self._swept[: len(self)] |= waiting
        self._taken = Taken(self._rows, waiting, most)
        return self._taken

    def copy_taken(self, most: int) -> bool:
        """Copies up to so many more of the rows and directives taken; whether all are copied."""
        if self._taken is not None and self._taken.copy(most):
            self._taken = None
        return self._taken is None and self.directives.copy_taken(most)

    @property
    def changed(self) -> int:
        """Number of rows that the next take has."""
        return int(np.count_nonzero(self._dirty[: len(self)]))

    def begin_sweep(self) -> None:
        """From now on it is noted which rows were taken; the directives are all taken once."""
        self._swept[: len(self)] = 0
        self.directives.mark()

    def mark(self, rows: range) -> None:
        """Has the next take take these rows, by number, but for those taken in this sweep."""
        part = slice(rows.start, rows.stop)
        self._dirty[part] |= self._swept[part] ^ 1

    def put(self, rows: Records) -> None:
        """Writes checkpointed rows over what is held of their accounts."""
        self._before(rows["account"])
        put_rows(*self._state(), rows)

    def put_directives(self, directives: Records) -> None:
        """Writes checkpointed directives, whose accounts have their rows."""
        self.direct(directives)
        self.directives.clean()

    def digest(self) -> str:
        """Equal digests: equal rows, directives, population, in whatever order they appeared."""
        rows = self.rows
        order = np.argsort(np.ascontiguousarray(rows["account"]).view("S40")[:, 0], kind="stable")
        found = hashlib.sha256(rows[order].tobytes())
        found.update(sorted_bytes([self.directives]))
        found.update(self.population_bytes)
        return found.hexdigest()

    @property
    def population_bytes(self) -> bytes:
        """What is usual among the accounts (`POPULATION`); empty before the first leg counted."""
        return self.population.tobytes() if self.population["counts"].any() else b""

    def put_population(self, told: bytes) -> None:
        """Writes a checkpointed population over what is held."""
        self.population = (
            np.frombuffer(told, POPULATION).copy() if told else np.zeros(1, POPULATION)
        )

    def _state(self) -> tuple[Any, ...]:
        return self._rows, self._dirty, self._slots, self._meta

    def _number_of(self, account: Words) -> int:
        return int(find_rows(self._rows, self._slots, account.reshape(1, -1))[0])

    def _lists(self) -> tuple[Any, ...]:
        return self.directives.heads, self.directives.nexts, self.directives.slots

    @staticmethod
    def _validate(legs: Records) -> None:
        bad = int(first_invalid(legs))
        if bad >= 0:
            raise Problem(
                "a leg breaks the contract of the legs log",
                f"record {bad}: side {legs[bad]['side']}, amount {legs[bad]['amount_minor']}, "
                f"time {legs[bad]['occurred_at_ms']}",
                "the log was written by something else than the router or a worker",
            )

    def _before(self, *accounts: Words) -> None:
        """Makes ready for changes to these accounts, some of which may be new."""
        self._make_room(*accounts)
        if self._taken is not None:
            for each in accounts:
                found = find_rows(self._rows, self._slots, np.ascontiguousarray(each))
                self._taken.keep(found)

    def _make_room(self, *accounts: Words) -> None:
        needed = len(self) + sum(map(len, accounts))
        if needed > self.capacity:  # only then is it worth counting which of them are new
            needed = len(self) + self._count_new(np.concatenate(accounts))
        if needed > self.capacity:
            raise Problem(
                "the account memory of a partition is full",
                f"{len(self):,} accounts are held, room is for {self.capacity:,}",
                "raise worker.accounts_per_partition, or use more partitions",
            )
        while 2 * needed > len(self._slots):
            larger = np.zeros(2 * len(self._slots), np.uint64)
            regrow(self._slots, larger)
            self._slots = larger

    def _count_new(self, accounts: Words) -> int:
        unknown = find_rows(self._rows, self._slots, accounts) < 0
        return len(np.unique(words_bytes(accounts[unknown])))


def _on_cache_lines(count: int, dtype: np.dtype[np.void]) -> Records:
    """Zeros of which the first begins a cache line: of whole lines each, none lies on one more."""
    octets = np.zeros(count * dtype.itemsize + CACHE_LINE - 1, np.uint8)
    begin = -octets.ctypes.data % CACHE_LINE
    return octets[begin : begin + count * dtype.itemsize].view(dtype)
