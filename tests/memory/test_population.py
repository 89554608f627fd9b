"""How rare a leg is equals what a plain count of all the legs before says."""

import math
from collections import defaultdict

import numba as nb
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.memory.legs import NOON_MS, PROVENANCE, UTC_8, records, scorer, step_all
from tests.memory.oracle import DAY, Leg

from sluicegate.memory.accounts import AccountMemory, Floats, Scorer
from sluicegate.memory.features import FEATURE_COUNT, FEATURE_INDEX, FEATURES
from sluicegate.memory.population import BINS, POPULATION, observe_rarity
from sluicegate.memory.step import STRENGTHS

IDEAS = ("mule", "collector", "sleeper")
TOLD = [FEATURE_INDEX[name] for idea in IDEAS for name in (idea, f"{idea}_rarity")]


@nb.njit
def observe_all(
    population: NDArray[np.void], inflows: NDArray[np.bool_], features: Floats
) -> None:  # pragma: no cover - compiled
    for i in range(len(features)):
        observe_rarity(population[0], inflows[i], features[i], 1)


class SlowPopulation:
    """By the definitions: a count of all that was seen, faded every 4,096 legs."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        self.known: dict[str, dict[int, float]] = {}
        self.fresh = 0

    def rarity(self, table: str, value: float, *, counted: bool) -> float:
        if math.isnan(value):
            return 0.0
        at = int(min(max(value, 0), BINS - 1))
        if counted:
            self.counts[table][at] += 1
        known = self.known.get(table, {})
        total = sum(known.values())
        if total < 1_000:
            return 0.0
        reached = sum(weight for other, weight in known.items() if other >= at)
        return -math.log10(max(reached / total, 1e-4))

    def judge(self, f: dict[str, float], *, inflow: bool) -> dict[str, float]:
        counted = f["circle"] < 40 and not (inflow and f["payer_circle"] >= 40)
        side = "in" if inflow else "out"

        def sign(name: str, value: float) -> float:
            rarity = self.rarity(f"{name} {side}", value, counted=counted)
            return max(0.0, rarity - math.log10(math.e))

        stranger = 1.0 if f["pair_new"] == 1 else 0.3
        crowd = burst(f, *(("sources", "inflow") if inflow else ("targets", "outflow")))
        alike = sign("alike", f["similar_24h"]) + sign("burst", 2 * crowd)
        amount = sign("amount", 4 * f["amount_z"] + 8)
        if inflow:
            mule, collector, sleeper = (
                0.0 if math.isnan(x := f[f"payer_{idea}"]) else x for idea in IDEAS
            )
            mule += stranger * amount
            collector += stranger * alike
        else:
            few = f["pass_through_legs_24h"] <= 4
            match = 50 * (1 - f["pass_through_gap_24h"]) if few else 0.0
            fresh = sign("covered", 16 * f["covered_1h"]) + sign("depth", f["chain_depth"])
            mule = stranger * (fresh + sign("match", match) + amount)
            mule += sign("returned", 16 * f["returned_24h"])
            collector = stranger * alike + sign("repeated", f["same_pair_near_7d"])
            sleeper = stranger * sign("unused", 63 - 6 * math.log2(f["outflow_count"]))
        found = {"mule": mule, "collector": collector, "sleeper": sleeper}
        rarities = {
            f"{idea}_rarity": self.rarity(f"{idea} {side}", 7 * value, counted=counted)
            for idea, value in found.items()
        }
        self._learn(counted=counted)
        return {**found, **rarities}

    def _learn(self, *, counted: bool) -> None:
        self.fresh += counted
        if self.fresh == 4_096:
            self.fresh = 0
            self.known = {name: dict(counts) for name, counts in self.counts.items()}
            for counts in self.counts.values():
                for at in counts:
                    counts[at] *= 0.95


def burst(f: dict[str, float], who: str, way: str) -> float:
    """Chernoff's bound, in nats, of so many counterparties in a day by the month's habit."""
    distinct = f[f"{who}_24h"]
    age = 0.0 if math.isnan(f["age_days"]) else f["age_days"]
    days = 30 * max(1 - math.exp(-age / 30), 1 / 30)
    habit = max((f[f"{way}_count_decayed_30d"] - f[f"{way}_count_24h"]) / days, 1 / 30)
    if distinct < 2 or distinct <= habit:
        return 0.0
    return distinct * math.log(distinct / habit) - distinct + habit


def drawn(rng: np.random.Generator, count: int) -> Floats:
    """Feature vectors that are not of one piece, NULLs among them, in the ranges that occur."""
    features = rng.gamma(1.0, 2.0, (count, FEATURE_COUNT))
    for feature in FEATURES:
        at = FEATURE_INDEX[feature.name]
        if feature.unit in {"legs", "accounts", "hops"}:
            features[:, at] = np.floor(features[:, at])
        elif feature.unit in {"share", "0 or 1"}:
            features[:, at] = np.round(rng.beta(0.5, 3.0, count), 2)
        if feature.provenance or feature.unit in {"share", "standard deviations", "days"}:
            features[rng.random(count) < 0.1, at] = np.nan
    features[:, FEATURE_INDEX["pair_new"]] = rng.integers(0, 2, count)
    features[:, FEATURE_INDEX["outflow_count"]] = rng.integers(1, 300, count)
    for name in ("circle", "payer_circle"):
        features[:, FEATURE_INDEX[name]] = rng.choice([3.0, 39.9, 40.0, 266.0], count)
    return features


def test_rarities_equal_a_plain_count() -> None:
    rng = np.random.default_rng(7)
    features, inflows = drawn(rng, 30_000), rng.random(30_000) < 0.5
    population, slow = np.zeros(1, POPULATION), SlowPopulation()
    said = features.copy()
    observe_all(population, inflows, said)
    rare = 0
    for at in range(len(features)):
        f = {name: float(features[at, index]) for name, index in FEATURE_INDEX.items()}
        expected = slow.judge(f, inflow=bool(inflows[at]))
        found = {name: said[at, FEATURE_INDEX[name]] for name in expected}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4), at
        rare += max(expected[f"{idea}_rarity"] for idea in IDEAS) > 2
    assert rare > 100
    changed = said != features
    changed &= ~(np.isnan(said) & np.isnan(features))
    assert not np.delete(changed, TOLD, axis=1).any()


def test_to_judge_counts_nothing_and_to_step_counts_each_leg_once() -> None:
    memory = AccountMemory(10)
    legs = records([Leg("me", "B", inflow=False, at_ms=NOON_MS + n, minor=100) for n in range(5)])
    memory.judge(legs, scorer())
    assert memory.population_bytes == b""
    step_all(memory, legs)
    assert memory.population["fresh"][0] == 5


def test_legs_of_institutions_are_not_counted() -> None:
    memory = AccountMemory(1)
    paid = [Leg("shop", f"N{n}", inflow=True, at_ms=NOON_MS, minor=100) for n in range(200)]
    step_all(memory, records(paid))
    assert 30 < memory.population["fresh"][0] < 60
    carried = {"payer_circle": 50.0}
    by_institution = Leg("me", "shop", inflow=True, at_ms=NOON_MS, minor=100, provenance=carried)
    before = memory.population_bytes
    other = AccountMemory(1)
    other.put_population(before)
    step_all(other, records([by_institution]))
    assert other.population_bytes == before


@nb.njit(STRENGTHS, cache=False)
def as_large(_side: int, features: Floats, strengths: Floats) -> float:  # pragma: no cover
    """The score is the amount in CNY, beyond 1 it fails."""
    strengths[0] = features[0] if features[0] <= 1.0 else np.nan
    return float(strengths[0])


def test_an_account_remembers_its_highest_score_which_halves_in_a_week() -> None:
    by = Scorer(as_large, 1, 0.0, UTC_8)
    memory = AccountMemory(1)
    story = [(0, 80), (7, 10), (14, 30), (14, 500), (21, 1)]
    seen = []
    for day, minor in story:
        leg = Leg("me", "B", inflow=True, at_ms=NOON_MS + day * DAY * 1000, minor=minor)
        stepped = memory.step(records([leg]), by, partition=0, log_offset=0)
        seen.append(float(stepped.hit_features[0, FEATURE_INDEX["past_score"]]))
    assert seen == pytest.approx([0, 0.4, 0.2, 0.3, 0.15], rel=1e-6)


def test_a_restored_population_goes_on_the_same() -> None:
    rng = np.random.default_rng(1)
    whole, first = np.zeros(1, POPULATION), np.zeros(1, POPULATION)
    features, inflows = drawn(rng, 9_000), rng.random(9_000) < 0.5
    at_once, in_parts = features.copy(), features.copy()
    observe_all(whole, inflows, at_once)
    observe_all(first, inflows[:5_000], in_parts[:5_000])
    memory = AccountMemory(1)
    memory.population = first
    other = AccountMemory(1)
    other.put_population(memory.population_bytes)
    observe_all(other.population, inflows[5_000:], in_parts[5_000:])
    np.testing.assert_array_equal(at_once, in_parts)
    assert other.population.tobytes() == whole.tobytes()
    assert len(PROVENANCE) == 16
