"""The feature table: every number a pattern may ask for, with its unit, definition and source.

A feature vector is `float64[FEATURE_COUNT]` for one leg of one account: the account row as it was
before the leg, plus the leg. NULL is NaN. Windows end at the anchor, the later of the leg's time
and the account's latest event time, and are compared in whole seconds: a leg at second `s` lies in
a window of `w` seconds when `anchor - s <= w`. "Ring" means the 16 latest legs of that side in
order of arrival, plus this leg: exact up to 16, a lower bound beyond (a gap: an upper bound).
"Newest" means latest in order of arrival. Pass-through walks the ring of inflows too. Sums and
counts include this leg; largest amounts and slow statistics do not. Rests of inflows and largest
amounts are held in single precision: exact to 167,772.16, to 7 digits beyond. A day counts up to
255 large and 255 band legs of a side.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

HOUR: Final = 3_600
DAY: Final = 86_400

DECAY_SECONDS: Final = {"1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
"""Time constants of the decayed counts and sums: after this long a leg weighs 1/e."""

PROBE_MINOR: Final = 1_000_00
"""A leg below 1,000.00 can be a probe."""
ROUND_MINOR: Final = 1_000_00
"""A round amount is a multiple of 1,000.00."""
NIGHT: Final = (23 * HOUR, 5 * HOUR)
"""Local seconds of day: from the first on, and before the second."""
SMALL_MINOR: Final = 100_00
"""A leg of at most 100.00 can be a test payment."""
LARGE_MINOR: Final = 10_000_00
"""A movement above 10,000.00 counts as large (Yinfa 2017 no. 99, structuring)."""
CIRCLE_OF_INSTITUTION: Final = 40.0
"""With so many counterparties in 60 days an account is a shop, a payroll, a utility, a broker."""
BANDS_MINOR: Final = ((9_000_00, 10_000_00), (19_000_00, 20_000_00), (49_000_00, 50_000_00))
"""Half-open bands just below reporting lines, where structured amounts gather."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the feature table."""

    name: str
    unit: str
    definition: str
    source: str
    provenance: bool = False


def _decayed() -> list[Feature]:
    return [
        Feature(
            f"{side}_{what}_decayed_{scale}",
            "CNY" if what == "sum" else "legs",
            f"{what} of {side}s, each weighing exp(-age / {scale}), this leg included",
            "decayed rates at several scales",
        )
        for scale in DECAY_SECONDS
        for what in ("count", "sum")
        for side in ("inflow", "outflow")
    ]


def _provenance() -> list[Feature]:
    carried = {
        "score": ("score in [0, 1]", "judgement of the departure"),
        "covered_1h": ("share", "covered_1h of the payer at the departure"),
        "covered_3d": ("share", "covered_3d of the payer at the departure"),
        "chain_depth": ("hops", "chain_depth of the payer at the departure"),
        "sources_24h": ("accounts", "sources_24h of the payer at the departure"),
        "targets_24h": ("accounts", "targets_24h of the payer at the departure"),
        "age_days": ("days", "age_days of the payer at the departure"),
        "pair_new": ("0 or 1", "pair_new as the payer's row sees it"),
        "amount_z": ("standard deviations", "amount_z of the payer at the departure"),
        "pass_through_gap_24h": ("share", "pass_through_gap_24h of the payer at the departure"),
        "suspicion_out": ("share", "suspicion_out of the payer before the departure"),
        "silent_days": ("days", "silent_days of the payer at the departure"),
        "mule": ("powers of ten", "mule of the payer at the departure"),
        "collector": ("powers of ten", "collector of the payer at the departure"),
        "sleeper": ("powers of ten", "sleeper of the payer at the departure"),
        "circle": ("accounts", "circle of the payer at the departure"),
    }
    return [
        Feature(
            f"payer_{name}",
            unit,
            f"{definition}; NULL on a departure and for cash in",
            "provenance",
            provenance=True,
        )
        for name, (unit, definition) in carried.items()
    ]


def _rarities() -> list[Feature]:
    of_mule = "covered_1h, chain_depth, 1 - pass_through_gap_24h of at most 4 legs, amount_z, all of a departure, and amount_z of the arrival, each x 0.3 unless pair_new; returned_24h"
    of_collector = "similar_24h and the burst of counterparties in 24 h over the account's own month, of either side, each x 0.3 unless pair_new; same_pair_near_7d of the departure"
    of_sleeper = "how few outflows the payer has had in its life, x 0.3 unless pair_new"
    sums = {"mule": of_mule, "collector": of_collector, "sleeper": of_sleeper}
    return [
        Feature(
            name,
            "powers of ten",
            f"sum over signs of how much rarer than one leg in e each is in the population, an arrival's with what its departure had: {signs}",
            "population",
        )
        for name, signs in sums.items()
    ] + [
        Feature(
            f"{name}_rarity",
            "powers of ten",
            f"-log10 of the share of legs of this side lately counted in the population with as much of {name} or more, at most 4; 0 until 1,000 are counted",
            "population",
        )
        for name in sums
    ]


FEATURES: Final[tuple[Feature, ...]] = (
    Feature("amount", "CNY", "amount of this leg", "transaction"),
    Feature("is_cash", "0 or 1", "1 when the transaction has no other account", "transaction"),
    Feature("local_hour", "hours", "local time of day of this leg, 0 up to 24", "transaction"),
    Feature(
        "pair_new",
        "0 or 1",
        "1 when no leg with this counterparty is remembered, either way (64 slots and the rings: never 1 for one of the 16 latest legs of a side); NULL for cash",
        "pair",
    ),
    Feature(
        "age_days",
        "days",
        "from the earliest leg of the account to the anchor; NULL on the first",
        "activity",
    ),
    Feature(
        "silent_days",
        "days",
        "from the latest leg of the account to the anchor, so 0 for a late leg; NULL on the first",
        "activity",
    ),
    Feature(
        "since_inflow_s",
        "s",
        "from the latest earlier inflow to the anchor; NULL without one",
        "activity",
    ),
    Feature(
        "since_outflow_s",
        "s",
        "from the latest earlier outflow to the anchor; NULL without one",
        "activity",
    ),
    Feature("inflow_count", "legs", "inflows in the life of the account", "activity"),
    Feature("outflow_count", "legs", "outflows in the life of the account", "activity"),
    Feature("inflow_1h", "CNY", "inflows of the last 1 h", "ring"),
    Feature("outflow_1h", "CNY", "outflows of the last 1 h", "ring"),
    Feature("inflow_24h", "CNY", "inflows of the last 24 h", "ring"),
    Feature("outflow_24h", "CNY", "outflows of the last 24 h", "ring"),
    Feature("inflow_count_1h", "legs", "number of inflows of the last 1 h", "ring"),
    Feature("outflow_count_1h", "legs", "number of outflows of the last 1 h", "ring"),
    Feature("inflow_count_24h", "legs", "number of inflows of the last 24 h", "ring"),
    Feature("outflow_count_24h", "legs", "number of outflows of the last 24 h", "ring"),
    Feature("sources_8h", "accounts", "distinct payers of the last 8 h, cash not counted", "ring"),
    Feature("targets_8h", "accounts", "distinct payees of the last 8 h, cash not counted", "ring"),
    Feature(
        "sources_24h", "accounts", "distinct payers of the last 24 h, cash not counted", "ring"
    ),
    Feature(
        "targets_24h", "accounts", "distinct payees of the last 24 h, cash not counted", "ring"
    ),
    Feature(
        "small_same_pair_24h",
        "legs",
        "earlier legs of this side with this counterparty in the last 24 h of at most 100.00; 0 for cash",
        "ring",
    ),
    Feature(
        "pass_through_gap_24h",
        "share",
        "newest opposite legs of the last 24 h, summed one after another: the smallest |sum - amount| / amount; NULL without one",
        "ring",
    ),
    Feature(
        "pass_through_legs_24h",
        "legs",
        "the fewest of the newest opposite legs that give that smallest gap; NULL without one",
        "ring",
    ),
    Feature(
        "covered_1h",
        "share",
        "share of this outflow that inflows of the last 1 h, not yet passed on, cover (newest first); NULL on an inflow",
        "pass-through",
    ),
    Feature("covered_24h", "share", "the same for inflows of the last 24 h", "pass-through"),
    Feature("covered_3d", "share", "the same for inflows of the last 3 d", "pass-through"),
    Feature(
        "passed_on_1h",
        "share",
        "share of the inflows of the last 1 h that has left again, this leg included; NULL without an inflow",
        "pass-through",
    ),
    Feature(
        "chain_depth",
        "hops",
        "hops that the money of this outflow has made within 1 h each: 1 + the deepest covering inflow when covered_1h >= 0.5, else 0; on an inflow: the depth it arrives with (remembered up to 255), 0 when that is NULL",
        "pass-through",
    ),
    Feature(
        "inflow_7d",
        "CNY",
        "inflows of today and the 6 local days before (5 working days)",
        "daily buckets",
    ),
    Feature(
        "outflow_7d",
        "CNY",
        "outflows of today and the 6 local days before (5 working days)",
        "daily buckets",
    ),
    Feature(
        "inflow_count_7d",
        "legs",
        "number of inflows of today and the 6 local days before",
        "daily buckets",
    ),
    Feature(
        "outflow_count_7d",
        "legs",
        "number of outflows of today and the 6 local days before",
        "daily buckets",
    ),
    Feature(
        "large_inflows_10d",
        "legs",
        "inflows above 10,000.00 of today and the 9 local days before",
        "daily buckets",
    ),
    Feature(
        "large_outflows_10d",
        "legs",
        "outflows above 10,000.00 of today and the 9 local days before",
        "daily buckets",
    ),
    Feature(
        "band_inflows_10d",
        "legs",
        "inflows in [9,000, 10,000), [19,000, 20,000) or [49,000, 50,000) of today and the 9 local days before",
        "daily buckets",
    ),
    Feature(
        "band_outflows_10d",
        "legs",
        "outflows in [9,000, 10,000), [19,000, 20,000) or [49,000, 50,000) of today and the 9 local days before",
        "daily buckets",
    ),
    Feature(
        "largest_inflow_91d",
        "CNY",
        "largest earlier inflow of this 30-day block and the 3 before (90 to 120 d); NULL without one",
        "blocks of 30 days",
    ),
    Feature(
        "largest_outflow_91d",
        "CNY",
        "largest earlier outflow of this 30-day block and the 3 before (90 to 120 d); NULL without one",
        "blocks of 30 days",
    ),
    *_decayed(),
    Feature(
        "amount_z",
        "standard deviations",
        "log amount of this leg against the account's own EWMA (0.1) mean and deviation of that side before it; NULL with fewer than 5 earlier legs or a deviation below 0.05",
        "slow statistics",
    ),
    Feature(
        "new_source_share",
        "share",
        "EWMA (0.1, from 0) of pair_new over inflows before this leg, cash not counted",
        "slow statistics",
    ),
    Feature(
        "new_target_share",
        "share",
        "EWMA (0.1, from 0) of pair_new over outflows before this leg, cash not counted",
        "slow statistics",
    ),
    Feature(
        "suspicion_in",
        "share",
        "EWMA (0.05, from 0) of payer_covered_3d x pair_new over inflows before this leg, NULL not counted",
        "slow statistics",
    ),
    Feature(
        "suspicion_out",
        "share",
        "EWMA (0.05, from 0) of covered_3d x pair_new over outflows before this leg, cash not counted",
        "slow statistics",
    ),
    Feature(
        "sources_60d",
        "accounts",
        "estimate of distinct payers of this 30-day block and the one before, cash not counted",
        "sketch of 64 bits a block",
    ),
    Feature(
        "targets_60d",
        "accounts",
        "estimate of distinct payees of this 30-day block and the one before, cash not counted",
        "sketch of 64 bits a block",
    ),
    Feature(
        "circle",
        "accounts",
        "the larger of sources_60d and targets_60d",
        "sketch of 64 bits a block",
    ),
    Feature(
        "returned_24h",
        "share",
        "share of this outflow that its payee had paid to the account in the last 24 h, at most 1; NULL on an inflow and for cash",
        "ring",
    ),
    Feature(
        "sources_1h", "accounts", "distinct payers of the last 1 h, cash not counted", "long ring"
    ),
    Feature(
        "targets_1h", "accounts", "distinct payees of the last 1 h, cash not counted", "long ring"
    ),
    Feature(
        "sources_10d", "accounts", "distinct payers of the last 10 d, cash not counted", "long ring"
    ),
    Feature(
        "targets_10d", "accounts", "distinct payees of the last 10 d, cash not counted", "long ring"
    ),
    Feature(
        "same_pair_5d",
        "CNY",
        "legs of this side with this counterparty in the last 5 d, this one included; 0 for cash",
        "long ring",
    ),
    Feature(
        "same_pair_near_7d",
        "legs",
        "earlier legs of this side with this counterparty in the last 7 d, within 5 % of this amount; 0 for cash",
        "long ring",
    ),
    Feature(
        "similar_24h",
        "legs",
        "earlier legs of this side in the last 24 h, within 10 % of this amount",
        "long ring",
    ),
    Feature(
        "similar_last_3",
        "legs",
        "of the 3 newest earlier legs of this side, those within 10 % of this amount",
        "long ring",
    ),
    Feature(
        "small_legs_1h",
        "legs",
        "legs of this side under 1,000.00 in the last 1 h, this one included",
        "long ring",
    ),
    Feature(
        "burst_10d",
        "CNY",
        "moved either way in the 10 d up to the account's latest earlier event",
        "long ring",
    ),
    Feature(
        "burst_legs_10d",
        "legs",
        "number of legs either way in the 10 d up to the account's latest earlier event",
        "long ring",
    ),
    Feature(
        "turnover_30d",
        "CNY",
        "moved either way in this 30-day block, this leg included",
        "blocks of 30 days",
    ),
    Feature(
        "turnover_before_30d",
        "CNY",
        "moved either way in the 30-day block before this one",
        "blocks of 30 days",
    ),
    Feature(
        "turnover_before_60d",
        "CNY",
        "moved either way in the 30-day block before that",
        "blocks of 30 days",
    ),
    Feature(
        "day_count_z",
        "standard deviations",
        "number of legs of the anchor's local day, this one included, against the EWMA (0.1) mean and deviation of earlier days that had any, each as when a later one began; NULL with fewer than 5 of them or a deviation below 0.5",
        "slow statistics",
    ),
    Feature(
        "night_share",
        "share",
        "EWMA (0.05, from 0) of 1 for legs from 23:00 to 05:00 local time, over legs before this one",
        "slow statistics",
    ),
    Feature(
        "round_share",
        "share",
        "EWMA (0.05, from 0) of 1 for legs of whole thousands, over legs before this one",
        "slow statistics",
    ),
    Feature(
        "benford",
        "chi-squared",
        "leading digits of the amounts of all legs, this one included, against Benford's law, 8 degrees of freedom (a digit counts up to 65,535); NULL below 50 legs",
        "leading digits",
    ),
    Feature(
        "holder_kind", "code", "1 a person, 2 an enterprise, 3 a shop; NULL unknown", "profile"
    ),
    Feature(
        "holder_age",
        "years",
        "local year of the anchor less the holder's year of birth; NULL unknown",
        "profile",
    ),
    Feature(
        "open_days",
        "days",
        "local days from the opening of the account to the anchor, not below 0; NULL unknown",
        "profile",
    ),
    Feature("tier", "tier", "tier of the account; NULL unknown", "profile"),
    Feature(
        "declared_income", "CNY", "income a month that the holder declared; NULL unknown", "profile"
    ),
    Feature(
        "documents_expired",
        "0 or 1",
        "1 when the local day of the anchor is after the last on which the holder's documents are valid; NULL unknown",
        "profile",
    ),
    Feature(
        "enterprise_closed",
        "0 or 1",
        "1 when the enterprise is cancelled or its licence revoked; NULL unknown",
        "profile",
    ),
    Feature("involved", "0 or 1", "1 when a directive says: involved in a case", "directive"),
    Feature("punished", "0 or 1", "1 when a directive says: punished", "directive"),
    Feature("watched", "0 or 1", "1 when a directive says: watched", "directive"),
    Feature(
        "counterparty_involved",
        "0 or 1",
        "1 when a directive says so of the counterparty, as known when the leg was written",
        "directive",
    ),
    Feature(
        "counterparty_punished",
        "0 or 1",
        "1 when a directive says so of the counterparty, as known when the leg was written",
        "directive",
    ),
    Feature(
        "past_score",
        "score in [0, 1]",
        "highest score of an earlier leg of the account, each halved every 7 d up to the anchor; 0 without one",
        "judgement",
    ),
    *_rarities(),
    *_provenance(),
)

FEATURE_COUNT: Final = len(FEATURES)
FEATURE_INDEX: Final = {feature.name: index for index, feature in enumerate(FEATURES)}
PROVENANCE_COUNT: Final = sum(feature.provenance for feature in FEATURES)


def feature_table_version() -> str:
    """First 16 hex digits of the SHA-256 of names, units and definitions, in their order."""
    table = "\n".join(f"{each.name}\t{each.unit}\t{each.definition}" for each in FEATURES)
    return hashlib.sha256(table.encode()).hexdigest()[:16]
