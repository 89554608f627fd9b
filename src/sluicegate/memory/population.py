"""What is usual at this bank, and how rare a leg is by it: judged without labels.

Three plain ideas of fraud, each a few signs: a **mule** passes fresh money on, a **collector**
gathers or spreads, a **sleeper** has hardly been used. A sign is as rare as the share of lately
seen legs that show at least as much of it; an idea is as rare as the sum of the logarithms of its
signs, told by the sums lately seen. Legs of institutions are not counted: their habits are not
people's. One population a legs partition, updated in the order of its log, so that a replay finds
the same.
"""

from typing import Final

import numba as nb
import numpy as np

from sluicegate.memory.features import CIRCLE_OF_INSTITUTION, FEATURE_INDEX

BINS: Final = 64
EVERY: Final = 4_096
"""Legs after which the rarities are told anew."""
KEPT: Final = 0.95
"""What a count weighs after that: some 80,000 legs are remembered."""
LEAST: Final = 1_000
"""With fewer counted, nothing is rare."""
RAREST: Final = 1e-4
"""A lower share is not told from so few."""
COMMON: Final = np.log10(np.e)
"""A sign adds to an idea by how much rarer it is than one leg in e."""
KNOWN_PAIR: Final = 0.3
"""What most signs count for with a counterparty that the account knows."""
MOST_LEGS: Final = 4.0
"""From more inflows than this some sum matches nearly any amount."""

UNUSED_BY: Final = BINS - 1.0 - 6.0 * np.log2(np.maximum(np.arange(2_048), 1))
"""How unused an account is, by its outflows; with more than these not at all."""

COVERED, DEPTH, MATCH, RETURNED, AMOUNT_OUT, ALIKE_OUT, REPEATED, BURST_OUT, UNUSED = range(9)
AMOUNT_IN, ALIKE_IN, BURST_IN = range(9, 12)
IDEAS_OUT: Final = 12
IDEAS_IN: Final = 15
TABLES: Final = 18

POPULATION: Final = np.dtype(
    [
        ("counts", "<f4", (TABLES, BINS)),
        ("rarity", "<f4", (TABLES, BINS)),  # -log10 of the share that reaches the bin
        ("fresh", "<u4"),  # legs counted since the rarities were told
        ("spare", "<u4"),
    ]
)
POPULATION_TYPE: Final = nb.from_dtype(POPULATION)

_I: Final = FEATURE_INDEX
PAIR_NEW: Final = _I["pair_new"]
AGE_DAYS: Final = _I["age_days"]
COVERED_1H: Final = _I["covered_1h"]
CHAIN_DEPTH: Final = _I["chain_depth"]
GAP: Final = _I["pass_through_gap_24h"]
GAP_LEGS: Final = _I["pass_through_legs_24h"]
RETURNED_24H: Final = _I["returned_24h"]
AMOUNT_Z: Final = _I["amount_z"]
SIMILAR_24H: Final = _I["similar_24h"]
SAME_PAIR_NEAR: Final = _I["same_pair_near_7d"]
OUTFLOW_COUNT: Final = _I["outflow_count"]
OUT_24H: Final = _I["outflow_count_24h"]
OUT_30D: Final = _I["outflow_count_decayed_30d"]
TARGETS_24H: Final = _I["targets_24h"]
IN_24H: Final = _I["inflow_count_24h"]
IN_30D: Final = _I["inflow_count_decayed_30d"]
SOURCES_24H: Final = _I["sources_24h"]
CIRCLE: Final = _I["circle"]
MULE: Final = _I["mule"]  # then collector, sleeper, and the rarity of each
MULE_RARITY: Final = _I["mule_rarity"]
PAYER_MULE: Final = _I["payer_mule"]  # then payer_collector, payer_sleeper
PAYER_CIRCLE: Final = _I["payer_circle"]
IDEAS: Final = 3
MONTH_DAYS: Final = 30.0

_jit = nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)


@_jit
def _bin(value):
    """The bin of a value that is not below 0; -1 for NULL."""
    return np.int64(min(max(value, 0.0), BINS - 1.0)) if value == value else np.int64(-1)


@_jit
def _rarity(population, table, at, learns):
    """How rare the bin is in a table, in which it is counted if asked."""
    if at < 0:
        return 0.0
    if learns:
        population.counts[table, at] += np.float32(1.0)
    return np.float64(population.rarity[table, at])


@_jit
def _sign(population, table, at, learns):
    """What a sign adds to its idea."""
    return max(0.0, _rarity(population, table, at, learns) - COMMON)


@_jit
def _burst(distinct, today, decayed_30d, age_days):
    """Nats by which as many counterparties in a day are unlikely, by the account's own month.

    Chernoff's bound of a Poisson count; the habit is at least one leg a month.
    """
    if distinct < 2.0:
        return 0.0
    age = age_days if age_days == age_days else 0.0
    known_days = MONTH_DAYS * max(1.0 - np.exp(-age / MONTH_DAYS), 1.0 / MONTH_DAYS)
    habit = max((decayed_30d - today) / known_days, 1.0 / MONTH_DAYS)
    return distinct * np.log(distinct / habit) - distinct + habit if distinct > habit else 0.0


@_jit
def _observe_departure(population, f, learns):
    """The ideas by the payer's signs."""
    stranger = 1.0 if f[PAIR_NEW] > 0 else KNOWN_PAIR
    matched = 50.0 * (1.0 - f[GAP]) if f[GAP_LEGS] <= MOST_LEGS else 0.0
    burst = _burst(f[TARGETS_24H], f[OUT_24H], f[OUT_30D], f[AGE_DAYS])
    unused = UNUSED_BY[np.int64(min(f[OUTFLOW_COUNT], 2_047.0))]
    f[MULE] = stranger * (
        _sign(population, COVERED, _bin(16.0 * f[COVERED_1H]), learns)
        + _sign(population, DEPTH, _bin(f[CHAIN_DEPTH]), learns)
        + _sign(population, MATCH, _bin(matched), learns)
        + _sign(population, AMOUNT_OUT, _bin(4.0 * f[AMOUNT_Z] + 8.0), learns)
    ) + _sign(population, RETURNED, _bin(16.0 * f[RETURNED_24H]), learns)
    f[MULE + 1] = stranger * (
        _sign(population, ALIKE_OUT, _bin(f[SIMILAR_24H]), learns)
        + _sign(population, BURST_OUT, _bin(2.0 * burst), learns)
    ) + _sign(population, REPEATED, _bin(f[SAME_PAIR_NEAR]), learns)
    f[MULE + 2] = stranger * _sign(population, UNUSED, _bin(unused), learns)


@_jit
def _observe_arrival(population, f, learns):
    """The ideas by the payee's signs, beside what the arrival brings of the payer's."""
    stranger = 1.0 if f[PAIR_NEW] > 0 else KNOWN_PAIR
    for k in range(IDEAS):
        brought = f[PAYER_MULE + k]
        f[MULE + k] = brought if brought == brought else 0.0
    burst = _burst(f[SOURCES_24H], f[IN_24H], f[IN_30D], f[AGE_DAYS])
    f[MULE] += stranger * _sign(population, AMOUNT_IN, _bin(4.0 * f[AMOUNT_Z] + 8.0), learns)
    f[MULE + 1] += stranger * (
        _sign(population, ALIKE_IN, _bin(f[SIMILAR_24H]), learns)
        + _sign(population, BURST_IN, _bin(2.0 * burst), learns)
    )


@_jit
def _tell_anew(population):
    """Rarities by the counts as they are; then the counts fade."""
    for table in range(TABLES):
        total = 0.0
        for at in range(BINS):
            total += population.counts[table, at]
        reached = 0.0
        for back in range(BINS):
            at = BINS - 1 - back
            reached += population.counts[table, at]
            share = max(reached / total, RAREST) if total >= LEAST else 1.0
            population.rarity[table, at] = 0.0 - np.log10(share)
            population.counts[table, at] *= np.float32(KEPT)
    population.fresh = 0


@_jit
def observe_rarity(population, inflow, f, learns):
    """Fills ideas and rarities of a leg whose other features are there; counts it if asked."""
    learns = learns and f[CIRCLE] < CIRCLE_OF_INSTITUTION
    if inflow:
        learns = learns and not f[PAYER_CIRCLE] >= CIRCLE_OF_INSTITUTION
        _observe_arrival(population, f, learns)
    else:
        _observe_departure(population, f, learns)
    first = IDEAS_IN if inflow else IDEAS_OUT
    for k in range(IDEAS):
        f[MULE_RARITY + k] = _rarity(population, first + k, _bin(7.0 * f[MULE + k]), learns)
    if learns:
        population.fresh += np.uint32(1)
        if population.fresh >= EVERY:
            _tell_anew(population)
