"""The mathematics of one account row: `observe` reads it, `remember` updates it.

`observe(row, leg, peer, offset, f)` fills the feature vector of a leg, but for what directives and
the population say, and changes nothing;
`remember(row, leg, peer, offset, f)` then folds the leg in, with the numbers `observe` just made.
Both are numba functions of plain records; the feature table in `features` says what they mean.
"""

from typing import Final

import numba as nb
import numpy as np

from sluicegate.memory.features import (
    BANDS_MINOR,
    DAY,
    DECAY_SECONDS,
    FEATURE_COUNT,
    FEATURE_INDEX,
    HOUR,
    LARGE_MINOR,
    NIGHT,
    PROBE_MINOR,
    PROVENANCE_COUNT,
    ROUND_MINOR,
    SMALL_MINOR,
)
from sluicegate.memory.lanes import (
    ALL,
    between,
    count_of,
    equal_to,
    first_since,
    highest,
    since,
    sum_of,
)
from sluicegate.memory.row import (
    BLOCK_DAYS,
    BLOCKS,
    CLOSED,
    DAYS,
    FLAG_INVOLVED,
    FLAG_PUNISHED,
    PAIR_SLOTS,
    RING,
    ROW,
    SCALES,
    TIER_UNIT,
)

NAN: Final = np.nan
BENFORD: Final = np.log10(1.0 + 1.0 / np.arange(1, 10))
LEAST_DIGITS: Final = 50
MOST_DIGITS: Final = 65_535
MINOR: Final = 100.0
THREE_DAYS: Final = 3 * DAY
FIVE_DAYS: Final = 5 * DAY
SEVEN_DAYS: Final = 7 * DAY
TEN_DAYS: Final = 10 * DAY
EIGHT_HOURS: Final = 8 * HOUR
BAND_LOW: Final = np.array([low for low, _ in BANDS_MINOR], np.int64)
BAND_HIGH: Final = np.array([high for _, high in BANDS_MINOR], np.int64)
TAU: Final = np.array(list(DECAY_SECONDS.values()), np.float64)
# Linear counting: with z of 64 bits unset, about 64 ln(64 / z) distinct counterparties were seen
# (Whang, Vander-Zanden, Taylor 1990); all bits set says "at least 266".
DISTINCT: Final = 64.0 * np.log(64.0 / np.maximum(64.0 - np.arange(65), 1.0))

AMOUNT: Final = FEATURE_INDEX["amount"]
IS_CASH: Final = FEATURE_INDEX["is_cash"]
LOCAL_HOUR: Final = FEATURE_INDEX["local_hour"]
PAIR_NEW: Final = FEATURE_INDEX["pair_new"]
AGE_DAYS: Final = FEATURE_INDEX["age_days"]
SILENT_DAYS: Final = FEATURE_INDEX["silent_days"]
SINCE_INFLOW_S: Final = FEATURE_INDEX["since_inflow_s"]
SINCE_OUTFLOW_S: Final = FEATURE_INDEX["since_outflow_s"]
INFLOW_COUNT: Final = FEATURE_INDEX["inflow_count"]
OUTFLOW_COUNT: Final = FEATURE_INDEX["outflow_count"]
INFLOW_1H: Final = FEATURE_INDEX["inflow_1h"]
INFLOW_24H: Final = FEATURE_INDEX["inflow_24h"]
INFLOW_COUNT_1H: Final = FEATURE_INDEX["inflow_count_1h"]
INFLOW_COUNT_24H: Final = FEATURE_INDEX["inflow_count_24h"]
SOURCES_8H: Final = FEATURE_INDEX["sources_8h"]
SOURCES_24H: Final = FEATURE_INDEX["sources_24h"]
SMALL_SAME_PAIR_24H: Final = FEATURE_INDEX["small_same_pair_24h"]
PASS_GAP: Final = FEATURE_INDEX["pass_through_gap_24h"]
PASS_LEGS: Final = FEATURE_INDEX["pass_through_legs_24h"]
RETURNED_24H: Final = FEATURE_INDEX["returned_24h"]
COVERED_1H: Final = FEATURE_INDEX["covered_1h"]
COVERED_24H: Final = FEATURE_INDEX["covered_24h"]
COVERED_3D: Final = FEATURE_INDEX["covered_3d"]
PASSED_ON_1H: Final = FEATURE_INDEX["passed_on_1h"]
CHAIN_DEPTH: Final = FEATURE_INDEX["chain_depth"]
INFLOW_7D: Final = FEATURE_INDEX["inflow_7d"]
OUTFLOW_7D: Final = FEATURE_INDEX["outflow_7d"]
INFLOW_COUNT_7D: Final = FEATURE_INDEX["inflow_count_7d"]
OUTFLOW_COUNT_7D: Final = FEATURE_INDEX["outflow_count_7d"]
LARGE_INFLOWS_10D: Final = FEATURE_INDEX["large_inflows_10d"]
LARGE_OUTFLOWS_10D: Final = FEATURE_INDEX["large_outflows_10d"]
BAND_INFLOWS_10D: Final = FEATURE_INDEX["band_inflows_10d"]
BAND_OUTFLOWS_10D: Final = FEATURE_INDEX["band_outflows_10d"]
LARGEST_INFLOW: Final = FEATURE_INDEX["largest_inflow_91d"]
LARGEST_OUTFLOW: Final = FEATURE_INDEX["largest_outflow_91d"]
DECAYED: Final = FEATURE_INDEX["inflow_count_decayed_1h"]  # 20 in the order of ROW["decayed"]
AMOUNT_Z: Final = FEATURE_INDEX["amount_z"]
NEW_SOURCE_SHARE: Final = FEATURE_INDEX["new_source_share"]
NEW_TARGET_SHARE: Final = FEATURE_INDEX["new_target_share"]
SUSPICION_IN: Final = FEATURE_INDEX["suspicion_in"]
SUSPICION_OUT: Final = FEATURE_INDEX["suspicion_out"]
SOURCES_60D: Final = FEATURE_INDEX["sources_60d"]
TARGETS_60D: Final = FEATURE_INDEX["targets_60d"]
CIRCLE: Final = FEATURE_INDEX["circle"]
PAST_SCORE: Final = FEATURE_INDEX["past_score"]
SOURCES_1H: Final = FEATURE_INDEX["sources_1h"]
SOURCES_10D: Final = FEATURE_INDEX["sources_10d"]
SAME_PAIR_5D: Final = FEATURE_INDEX["same_pair_5d"]
SAME_PAIR_NEAR_7D: Final = FEATURE_INDEX["same_pair_near_7d"]
SIMILAR_24H: Final = FEATURE_INDEX["similar_24h"]
SIMILAR_LAST_3: Final = FEATURE_INDEX["similar_last_3"]
SMALL_LEGS_1H: Final = FEATURE_INDEX["small_legs_1h"]
BURST_10D: Final = FEATURE_INDEX["burst_10d"]
BURST_LEGS_10D: Final = FEATURE_INDEX["burst_legs_10d"]
TURNOVER_30D: Final = FEATURE_INDEX["turnover_30d"]  # and the two blocks before
DAY_COUNT_Z: Final = FEATURE_INDEX["day_count_z"]
NIGHT_SHARE: Final = FEATURE_INDEX["night_share"]
ROUND_SHARE: Final = FEATURE_INDEX["round_share"]
BENFORD_CHI: Final = FEATURE_INDEX["benford"]
HOLDER_KIND: Final = FEATURE_INDEX["holder_kind"]
HOLDER_AGE: Final = FEATURE_INDEX["holder_age"]
OPEN_DAYS: Final = FEATURE_INDEX["open_days"]
TIER: Final = FEATURE_INDEX["tier"]
DECLARED_INCOME: Final = FEATURE_INDEX["declared_income"]
DOCUMENTS_EXPIRED: Final = FEATURE_INDEX["documents_expired"]
ENTERPRISE_CLOSED: Final = FEATURE_INDEX["enterprise_closed"]
INVOLVED: Final = FEATURE_INDEX["involved"]
COUNTERPARTY_INVOLVED: Final = FEATURE_INDEX["counterparty_involved"]
COUNTERPARTY_PUNISHED: Final = FEATURE_INDEX["counterparty_punished"]
PROVENANCE: Final = FEATURE_INDEX["payer_score"]  # the last PROVENANCE_COUNT features
PAYER_COVERED_3D: Final = FEATURE_INDEX["payer_covered_3d"]
PAYER_CHAIN_DEPTH: Final = FEATURE_INDEX["payer_chain_depth"]

if PROVENANCE + PROVENANCE_COUNT != FEATURE_COUNT:
    raise AssertionError("provenance closes the feature table")

# `_nrt=False`: records and views of their fields would be counted references, an atomic operation
# for each use, several times the cost of the arithmetic. Nothing here allocates.
_jit = nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)


@_jit
def hash_words(words):
    """64-bit hash of an account's words (multiply and xor-shift, after splitmix64)."""
    h = np.uint64(0x9E3779B97F4A7C15)
    for word in words:
        h ^= word
        h *= np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
        h *= np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(32)
    return h


@_jit
def fingerprint(words):
    """32 bits that stand for a counterparty in rings; 0 means none."""
    if words[0] == 0:
        return np.uint32(0)
    h = np.uint32(hash_words(words) >> np.uint64(32))
    return h if h != 0 else np.uint32(1)


@_jit
def _in_band(amount_minor):
    for i in range(BAND_LOW.shape[0]):
        if BAND_LOW[i] <= amount_minor < BAND_HIGH[i]:
            return 1
    return 0


@_jit
def _pair_slot(peer):
    return np.int64(peer & np.uint32(PAIR_SLOTS - 1))


@_jit
def _pair_tag(peer):
    return np.uint8((peer >> np.uint32(6)) % np.uint32(255) + np.uint32(1))


@_jit
def _knows(row, peer):
    """Whether a leg with this counterparty is remembered, either way."""
    if row.pair_tags[_pair_slot(peer)] == _pair_tag(peer):
        return True
    return equal_to(row.in_peer, peer) | equal_to(row.out_peer, peer) != 0


@_jit
def _held(count):
    """The places of a ring that hold one of the `count` legs of its side."""
    return ALL if count >= RING else (1 << count) - 1


@_jit
def _newest(count, legs):
    """The places of the newest legs."""
    chosen = 0
    for k in range(min(count, legs)):
        chosen |= 1 << ((count - 1 - k) % RING)
    return chosen


@_jit
def _turned(chosen, count):
    """The chosen places in order of arrival: bit b is the place (b + count) % RING, 15 the newest.

    A walk over what is chosen takes a fraction of one over the ring that asks each place.
    """
    oldest = count % RING
    return (chosen >> oldest | chosen << (RING - oldest)) & ALL


@_jit
def _not_before(times, second):
    """The places whose time is not before a second."""
    return since(times, np.uint32(max(second, 0)))


@_jit
def _distinct(times, peers, named, same, second, with_own):
    """Counterparties from a second on; this leg's own, at the places `same`, if so asked."""
    chosen = named & _not_before(times, second)
    if with_own:
        chosen &= ~same
    return count_of(chosen & first_since(peers, times, np.uint32(max(second, 0)))) + np.int64(
        with_own
    )


@_jit
def _observe_ring(times, peers, amounts, count, anchor, leg_s, peer, amount, own, f, first):
    """Sums, counts and distinct counterparties of one side; `first` is its first feature.

    `own` says that this leg belongs to the side. Returns how many earlier legs of the last 24 h
    went the same way with the same counterparty and were small.
    """
    held = _held(count)
    in_1h = held & _not_before(times, anchor - HOUR)
    in_24h = held & _not_before(times, anchor - DAY)
    own_age = anchor - leg_s if own else TEN_DAYS + 1
    own_1h, own_24h = np.int64(own_age <= HOUR), np.int64(own_age <= DAY)
    same = held & equal_to(peers, peer) if peer != 0 else 0
    named = held & ~equal_to(peers, np.uint32(0))
    age = own_age if peer != 0 else TEN_DAYS + 1
    # all of these before anything is written: then the compiler compares the places only once
    distinct_1h = _distinct(times, peers, named, same, anchor - HOUR, age <= HOUR)
    distinct_8h = _distinct(times, peers, named, same, anchor - EIGHT_HOURS, age <= EIGHT_HOURS)
    distinct_24h = _distinct(times, peers, named, same, anchor - DAY, age <= DAY)
    distinct_10d = _distinct(times, peers, named, same, anchor - TEN_DAYS, age <= TEN_DAYS)
    small = count_of(same & in_24h & between(amounts, 0, SMALL_MINOR))
    sum_1h = sum_of(amounts, in_1h) + own_1h * amount
    sum_24h = sum_of(amounts, in_24h) + own_24h * amount
    f[INFLOW_1H + first] = sum_1h / MINOR
    f[INFLOW_24H + first] = sum_24h / MINOR
    f[INFLOW_COUNT_1H + first] = count_of(in_1h) + own_1h
    f[INFLOW_COUNT_24H + first] = count_of(in_24h) + own_24h
    f[SOURCES_1H + first] = distinct_1h
    f[SOURCES_8H + first] = distinct_8h
    f[SOURCES_24H + first] = distinct_24h
    f[SOURCES_10D + first] = distinct_10d
    return small


@_jit
def _observe_likeness(times, peers, amounts, count, anchor, leg_s, peer, amount, f):
    """How like the leg is to earlier ones of its side."""
    held = _held(count)
    pair = held & equal_to(peers, peer) if peer != 0 else 0
    pair_sum = sum_of(amounts, pair & _not_before(times, anchor - FIVE_DAYS))
    if peer != 0 and anchor - leg_s <= FIVE_DAYS:
        pair_sum += amount
    near = between(amounts, amount - amount // 20, amount + amount // 20)
    like = held & between(amounts, amount - amount // 10, amount + amount // 10)
    in_1h = held & _not_before(times, anchor - HOUR)
    small = np.int64(amount < PROBE_MINOR and anchor - leg_s <= HOUR)
    f[SAME_PAIR_5D] = pair_sum / MINOR
    f[SAME_PAIR_NEAR_7D] = count_of(pair & near & _not_before(times, anchor - SEVEN_DAYS))
    f[SIMILAR_24H] = count_of(like & _not_before(times, anchor - DAY))
    f[SIMILAR_LAST_3] = count_of(like & _newest(count, 3))
    f[SMALL_LEGS_1H] = small + count_of(in_1h & between(amounts, 0, PROBE_MINOR - 1))


@_jit
def _observe_burst(row, last, f):
    """What the rings hold of the 10 days up to the latest earlier event."""
    ins = _held(np.int64(row.in_count)) & _not_before(row.in_time, last - TEN_DAYS)
    outs = _held(np.int64(row.out_count)) & _not_before(row.out_time, last - TEN_DAYS)
    total = sum_of(row.in_amount, ins) + sum_of(row.out_amount, outs)
    f[BURST_10D] = total / MINOR
    f[BURST_LEGS_10D] = count_of(ins) + count_of(outs)


@_jit
def _observe_match(times, amounts, count, anchor, amount, f):
    """The newest opposite legs of 24 h, summed one after another, against this amount."""
    best = NAN
    legs = NAN
    total = 0
    taken = 0
    left = _turned(_held(count) & _not_before(times, anchor - DAY), count)
    while left:
        bit = highest(left)
        left ^= 1 << bit
        total += amounts[(bit + count) % RING]
        taken += 1
        gap = abs(total - amount) / amount
        if not best <= gap:
            best = gap
            legs = taken
        if total > 2 * amount and best <= gap:
            break  # sums only grow: no later one is nearer
    f[PASS_GAP] = best
    f[PASS_LEGS] = legs


@_jit
def _returned(row, anchor, peer, amount):
    """Share of an outflow that its payee had paid in 24 h."""
    if peer == 0:
        return NAN
    his = _held(np.int64(row.in_count)) & equal_to(row.in_peer, peer)
    total = sum_of(row.in_amount, his & _not_before(row.in_time, anchor - DAY))
    return min(total / amount, 1.0)


@_jit
def _pass_on(row, anchor, amount, f):
    """How inflows that are still there cover this outflow, newest first; the row is unchanged."""
    count = np.int64(row.in_count)
    there = _turned(_held(count) & _not_before(row.in_time, anchor - THREE_DAYS), count)
    left = np.float64(amount)
    in_1h = 0.0
    in_24h = 0.0
    in_3d = 0.0
    total_1h = 0
    rest_1h = 0.0
    depth = 0
    while there:
        bit = highest(there)
        there ^= 1 << bit
        i = (bit + count) % RING
        age = anchor - np.int64(row.in_time[i])
        rest = np.float64(row.in_rest[i])
        take = min(rest, left)
        left -= take
        in_3d += take
        if age <= DAY:
            in_24h += take
        if age <= HOUR:
            in_1h += take
            total_1h += row.in_amount[i]
            rest_1h += rest - take
            if take > 0 and row.in_depth[i] > depth:
                depth = np.int64(row.in_depth[i])
    f[COVERED_1H] = in_1h / amount
    f[COVERED_24H] = in_24h / amount
    f[COVERED_3D] = in_3d / amount
    f[PASSED_ON_1H] = 1.0 - rest_1h / total_1h if total_1h > 0 else NAN
    f[CHAIN_DEPTH] = 1 + depth if 2 * in_1h >= amount else 0


@_jit
def _observe_arrived(row, anchor, leg_s, amount, depth, f):
    """The same features on an inflow: nothing is covered, its own money has all arrived."""
    total_1h = 0
    rest_1h = 0.0
    if anchor - leg_s <= HOUR:
        total_1h = amount
        rest_1h = np.float64(amount)
    in_1h = _held(np.int64(row.in_count)) & _not_before(row.in_time, anchor - HOUR)
    total_1h += sum_of(row.in_amount, in_1h)
    while in_1h:
        place = highest(in_1h)
        in_1h ^= 1 << place
        rest_1h += np.float64(row.in_rest[place])
    f[COVERED_1H] = NAN
    f[COVERED_24H] = NAN
    f[COVERED_3D] = NAN
    f[PASSED_ON_1H] = 1.0 - rest_1h / total_1h if total_1h > 0 else NAN
    f[CHAIN_DEPTH] = depth if depth == depth else 0.0


@_jit
def _observe_days(row, inflow, anchor_day, leg_day, amount, known, f):
    """Sums and counts of local days, this leg included."""
    sum_in = 0
    sum_out = 0
    count_in = 0
    count_out = 0
    large_in = 0
    large_out = 0
    band_in = 0
    band_out = 0
    last = np.int64(row.day_last)
    if known:
        first = max(anchor_day - DAYS, last - DAYS) + 1
        i = first % DAYS
        for day in range(first, last + 1):
            large_in += row.day_in_large[i]
            large_out += row.day_out_large[i]
            band_in += row.day_in_band[i]
            band_out += row.day_out_band[i]
            if day > anchor_day - 7:
                sum_in += row.day_in_sum[i]
                sum_out += row.day_out_sum[i]
                count_in += row.day_in_count[i]
                count_out += row.day_out_count[i]
            i = i + 1 if i + 1 < DAYS else 0
    large = np.int64(amount > LARGE_MINOR)
    band = _in_band(amount)
    if leg_day > anchor_day - DAYS:
        if inflow:
            large_in += large
            band_in += band
        else:
            large_out += large
            band_out += band
    if leg_day > anchor_day - 7:
        if inflow:
            sum_in += amount
            count_in += 1
        else:
            sum_out += amount
            count_out += 1
    f[INFLOW_7D] = sum_in / MINOR
    f[OUTFLOW_7D] = sum_out / MINOR
    f[INFLOW_COUNT_7D] = count_in
    f[OUTFLOW_COUNT_7D] = count_out
    f[LARGE_INFLOWS_10D] = large_in
    f[LARGE_OUTFLOWS_10D] = large_out
    f[BAND_INFLOWS_10D] = band_in
    f[BAND_OUTFLOWS_10D] = band_out


@_jit
def _observe_blocks(row, inflow, anchor_day, leg_day, peer, amount, known, f):
    """Of blocks of 30 days: largest amounts of four, sums of three, counterparties of two."""
    largest_in = NAN
    largest_out = NAN
    sketch_in = np.uint64(0)
    sketch_out = np.uint64(0)
    block = anchor_day // BLOCK_DAYS
    last = np.int64(row.day_last) // BLOCK_DAYS
    if known:
        for b in range(max(block - BLOCKS, last - BLOCKS) + 1, last + 1):
            value = np.float64(row.largest_in[b % BLOCKS])
            if value > 0 and not value <= largest_in:
                largest_in = value
            value = np.float64(row.largest_out[b % BLOCKS])
            if value > 0 and not value <= largest_out:
                largest_out = value
        for b in range(max(block - 2, last - 2) + 1, last + 1):
            sketch_in |= row.sketch_in[b % 2]
            sketch_out |= row.sketch_out[b % 2]
    if peer != 0 and leg_day // BLOCK_DAYS > block - 2:
        bit = np.uint64(1) << np.uint64(peer >> np.uint32(26))
        if inflow:
            sketch_in |= bit
        else:
            sketch_out |= bit
    for back in range(3):
        turnover = amount / MINOR if leg_day // BLOCK_DAYS == block - back else 0.0
        if known and last - BLOCKS < block - back <= last:
            turnover += row.turnover[(block - back) % BLOCKS]
        f[TURNOVER_30D + back] = turnover
    f[LARGEST_INFLOW] = largest_in / MINOR
    f[LARGEST_OUTFLOW] = largest_out / MINOR
    f[SOURCES_60D] = DISTINCT[count_of(np.int64(sketch_in))]
    f[TARGETS_60D] = DISTINCT[count_of(np.int64(sketch_out))]
    f[CIRCLE] = max(f[SOURCES_60D], f[TARGETS_60D])


@_jit
def _observe_decayed(row, inflow, anchor, leg_s, amount, known, f):
    """Decayed counts and sums at the anchor, this leg included."""
    elapsed = anchor - np.int64(row.last_s) if known else 0
    late = anchor - leg_s
    side = 0 if inflow else 1
    for k in range(SCALES):
        fade = np.exp(-elapsed / TAU[k]) if elapsed else 1.0
        weight = np.exp(-late / TAU[k]) if late else 1.0
        at = DECAYED + 4 * k
        for j in range(4):
            f[at + j] = row.decayed[k, j] * fade
        f[at + side] += weight
        f[at + 2 + side] += weight * (amount / MINOR)


@_jit
def _legs_of_day(row, day):
    """Number of legs of a local day that is still covered."""
    i = day % DAYS
    return np.int64(row.day_in_count[i]) + np.int64(row.day_out_count[i])


@_jit
def _folded_day(row):
    """Number of active days, mean and variance of their legs, the latest day included."""
    days = np.int64(row.active_days)
    legs = np.float64(_legs_of_day(row, np.int64(row.day_last)))
    if days == 0:
        return 1, legs, 0.0
    off = legs - row.day_mean
    mean = row.day_mean + 0.1 * off
    return days + 1, mean, 0.9 * (row.day_variance + 0.1 * off * off)


@_jit
def _observe_character(row, anchor_day, leg_day, amount, known, f):
    """What the account is usually like: its days, nights, round amounts and leading digits."""
    today = np.float64(leg_day == anchor_day)
    days = np.int64(row.active_days)
    mean = np.float64(row.day_mean)
    variance = np.float64(row.day_variance)
    if known:
        if anchor_day > np.int64(row.day_last):
            days, mean, variance = _folded_day(row)
        else:
            today += _legs_of_day(row, anchor_day)
    f[DAY_COUNT_Z] = (today - mean) / np.sqrt(variance) if days >= 5 and variance >= 0.25 else NAN
    f[NIGHT_SHARE] = row.night_share
    f[ROUND_SHARE] = row.round_share
    total = 1
    for d in range(9):
        total += np.int64(row.digits[d])
    f[BENFORD_CHI] = _benford(row, amount, total) if total >= LEAST_DIGITS else NAN


@_jit
def _benford(row, amount, total):
    """Chi-squared of the leading digits of `total` amounts, this one included."""
    chi = 0.0
    leading = _leading_digit(amount)
    for d in range(9):
        expected = total * BENFORD[d]
        off = np.int64(row.digits[d]) + (d + 1 == leading) - expected
        chi += off * off / expected
    return chi


@_jit
def _leading_digit(amount):
    while amount >= 10:
        amount //= 10
    return amount


@_jit
def _z(mean, variance, count, log_amount):
    if count < 5 or variance < 0.0025:
        return NAN
    return (log_amount - mean) / np.sqrt(variance)


@_jit
def _year(day):
    """Year of the Gregorian calendar in which a day since the epoch lies (after H. Hinnant)."""
    z = day + 719_468
    era = z // 146_097
    of_era = z - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return year + era * 400 + (1 if of_year >= 306 else 0)  # years begin in March here


@_jit
def _observe_profile(row, anchor_day, f):
    """What the bank told of the holder."""
    f[HOLDER_KIND] = row.holder_kind or NAN
    f[HOLDER_AGE] = _year(anchor_day) - np.int64(row.birth_year) if row.birth_year else NAN
    f[OPEN_DAYS] = max(0, anchor_day - np.int64(row.opened_day)) if row.opened_day else NAN
    tier = np.int64(row.standing) // TIER_UNIT
    f[TIER] = tier - 1 if tier else NAN
    f[DECLARED_INCOME] = row.income or NAN
    f[DOCUMENTS_EXPIRED] = (
        np.float64(anchor_day > np.int64(row.documents_day)) if row.documents_day else NAN
    )
    status = np.int64(row.standing) % TIER_UNIT
    f[ENTERPRISE_CLOSED] = np.float64(status >= CLOSED) if status else NAN


@_jit
def observe(row, leg, peer, offset, f):
    """Fills `f` (float64[FEATURE_COUNT]) for this leg.

    `peer` is its counterparty's fingerprint, `offset` local time minus UTC in s.
    """
    inflow = leg.side > 0
    amount = leg.amount_minor
    leg_s = leg.occurred_at_ms // 1000
    known = row.in_count + row.out_count > 0
    last = np.int64(row.last_s)
    anchor = max(last, leg_s) if known else leg_s
    anchor_day = (anchor + offset) // DAY
    leg_day = (leg_s + offset) // DAY

    f[AMOUNT] = amount / MINOR
    f[IS_CASH] = peer == 0
    f[LOCAL_HOUR] = ((leg_s + offset) % DAY) / HOUR
    f[PAIR_NEW] = NAN if peer == 0 else (0.0 if _knows(row, peer) else 1.0)
    f[AGE_DAYS] = (anchor - np.int64(row.first_s)) / DAY if known else NAN
    f[SILENT_DAYS] = (anchor - last) / DAY if known else NAN
    f[SINCE_INFLOW_S] = anchor - np.int64(row.last_in_s) if row.in_count else NAN
    f[SINCE_OUTFLOW_S] = anchor - np.int64(row.last_out_s) if row.out_count else NAN
    f[INFLOW_COUNT] = row.in_count + (1 if inflow else 0)
    f[OUTFLOW_COUNT] = row.out_count + (0 if inflow else 1)

    in_count = np.int64(row.in_count)
    out_count = np.int64(row.out_count)
    small_in = _observe_ring(
        row.in_time, row.in_peer, row.in_amount, in_count, anchor, leg_s, peer, amount, inflow, f, 0
    )
    small_out = _observe_ring(
        row.out_time, row.out_peer, row.out_amount, out_count,
        anchor, leg_s, peer, amount, not inflow, f, 1,
    )  # fmt: skip
    f[SMALL_SAME_PAIR_24H] = small_in if inflow else small_out

    for k in range(PROVENANCE_COUNT):
        f[PROVENANCE + k] = leg.provenance[k] if inflow and peer != 0 else NAN
    _observe_burst(row, last, f)

    log_amount = np.log(amount)
    # the ring of the leg's own side and the other, chosen here so that the code is there once
    if inflow:
        times, peers, amounts, count = row.in_time, row.in_peer, row.in_amount, in_count
        their_times, their_amounts, their_count = row.out_time, row.out_amount, out_count
        mean, variance = row.in_mean, row.in_variance
    else:
        times, peers, amounts, count = row.out_time, row.out_peer, row.out_amount, out_count
        their_times, their_amounts, their_count = row.in_time, row.in_amount, in_count
        mean, variance = row.out_mean, row.out_variance
    _observe_likeness(times, peers, amounts, count, anchor, leg_s, peer, amount, f)
    _observe_match(their_times, their_amounts, their_count, anchor, amount, f)
    f[AMOUNT_Z] = _z(mean, variance, count, log_amount)
    if inflow:
        _observe_arrived(row, anchor, leg_s, amount, f[PAYER_CHAIN_DEPTH], f)
        f[RETURNED_24H] = NAN
    else:
        _pass_on(row, anchor, amount, f)
        f[RETURNED_24H] = _returned(row, anchor, peer, amount)
    _observe_days(row, inflow, anchor_day, leg_day, amount, known, f)
    _observe_blocks(row, inflow, anchor_day, leg_day, peer, amount, known, f)
    _observe_decayed(row, inflow, anchor, leg_s, amount, known, f)
    f[NEW_SOURCE_SHARE] = row.new_source_share
    f[NEW_TARGET_SHARE] = row.new_target_share
    f[SUSPICION_IN] = row.suspicion_in
    f[SUSPICION_OUT] = row.suspicion_out
    _observe_character(row, anchor_day, leg_day, amount, known, f)
    _observe_profile(row, anchor_day, f)
    f[COUNTERPARTY_INVOLVED] = leg.flags & FLAG_INVOLVED != 0
    f[COUNTERPARTY_PUNISHED] = leg.flags & FLAG_PUNISHED != 0
    f[PAST_SCORE] = row.past_score
    if row.past_score > 0:  # most have none, and a power takes its time
        f[PAST_SCORE] *= 0.5 ** ((anchor - last) / SEVEN_DAYS)


@_jit
def _open_days(row, day, known):
    """Moves the latest local day forward and empties what it passes."""
    last = np.int64(row.day_last)
    if known and day <= last:
        return
    if known:
        days, mean, variance = _folded_day(row)
        row.active_days = min(days, 65_535)
        row.day_mean = mean
        row.day_variance = variance
        for d in range(max(last, day - DAYS) + 1, day + 1):
            i = d % DAYS
            row.day_in_sum[i] = 0
            row.day_out_sum[i] = 0
            row.day_in_count[i] = 0
            row.day_out_count[i] = 0
            row.day_in_large[i] = 0
            row.day_out_large[i] = 0
            row.day_in_band[i] = 0
            row.day_out_band[i] = 0
        block = day // BLOCK_DAYS
        for b in range(max(last // BLOCK_DAYS, block - BLOCKS) + 1, block + 1):
            row.largest_in[b % BLOCKS] = 0
            row.largest_out[b % BLOCKS] = 0
            row.turnover[b % BLOCKS] = 0
            row.sketch_in[b % 2] = 0
            row.sketch_out[b % 2] = 0
    row.day_last = day


@_jit
def is_too_late(row, leg_day):
    """Whether the leg's local day is covered no longer."""
    return leg_day <= np.int64(row.day_last) - DAYS


@_jit
def _remember_day(row, inflow, leg_day, amount):
    """Adds the leg to its own local day and block, where they are still covered."""
    last = np.int64(row.day_last)
    if not is_too_late(row, leg_day):
        i = leg_day % DAYS
        large = np.uint8(amount > LARGE_MINOR)
        band = np.uint8(_in_band(amount))
        if inflow:
            row.day_in_sum[i] += amount
            row.day_in_count[i] = min(np.int64(row.day_in_count[i]) + 1, 65_535)
            row.day_in_large[i] = min(np.int64(row.day_in_large[i]) + large, 255)
            row.day_in_band[i] = min(np.int64(row.day_in_band[i]) + band, 255)
        else:
            row.day_out_sum[i] += amount
            row.day_out_count[i] = min(np.int64(row.day_out_count[i]) + 1, 65_535)
            row.day_out_large[i] = min(np.int64(row.day_out_large[i]) + large, 255)
            row.day_out_band[i] = min(np.int64(row.day_out_band[i]) + band, 255)
    block = leg_day // BLOCK_DAYS
    if block > last // BLOCK_DAYS - BLOCKS:
        value = np.float32(amount)
        row.turnover[block % BLOCKS] += amount / MINOR
        if inflow:
            row.largest_in[block % BLOCKS] = max(row.largest_in[block % BLOCKS], value)
        else:
            row.largest_out[block % BLOCKS] = max(row.largest_out[block % BLOCKS], value)


@_jit
def _remember_pair(row, inflow, leg_day, peer, pair_new, covered):
    """Keeps the counterparty: pair, sketch, share of new ones, running suspicion."""
    row.pair_tags[_pair_slot(peer)] = _pair_tag(peer)
    block = leg_day // BLOCK_DAYS
    if block > np.int64(row.day_last) // BLOCK_DAYS - 2:
        bit = np.uint64(1) << np.uint64(peer >> np.uint32(26))
        if inflow:
            row.sketch_in[block % 2] |= bit
        else:
            row.sketch_out[block % 2] |= bit
    if inflow:
        row.new_source_share += 0.1 * (pair_new - row.new_source_share)
        if covered == covered:
            row.suspicion_in += 0.05 * (covered * pair_new - row.suspicion_in)
    else:
        row.new_target_share += 0.1 * (pair_new - row.new_target_share)
        row.suspicion_out += 0.05 * (covered * pair_new - row.suspicion_out)


@_jit
def _remember_inflow(row, leg_s, peer, amount, depth):
    i = np.int64(row.in_count) % RING
    row.in_time[i] = leg_s
    row.in_peer[i] = peer
    row.in_amount[i] = amount
    row.in_rest[i] = amount
    row.in_depth[i] = min(depth, 255.0)
    x = np.log(amount)
    if row.in_count == 0:
        row.in_mean = x
    else:
        d = x - row.in_mean
        row.in_mean += 0.1 * d
        row.in_variance = 0.9 * (row.in_variance + 0.1 * d * d)
    row.last_in_s = max(np.int64(row.last_in_s), leg_s)
    row.in_count += 1


@_jit
def _remember_outflow(row, anchor, leg_s, peer, amount):
    count = np.int64(row.in_count)
    there = _turned(_held(count) & _not_before(row.in_time, anchor - THREE_DAYS), count)
    left = np.float64(amount)
    while there:  # the same walk as `_pass_on`
        bit = highest(there)
        there ^= 1 << bit
        i = (bit + count) % RING
        take = min(np.float64(row.in_rest[i]), left)
        left -= take
        row.in_rest[i] -= take
        if left <= 0:
            break
    i = np.int64(row.out_count) % RING
    row.out_time[i] = leg_s
    row.out_peer[i] = peer
    row.out_amount[i] = amount
    x = np.log(amount)
    if row.out_count == 0:
        row.out_mean = x
    else:
        d = x - row.out_mean
        row.out_mean += 0.1 * d
        row.out_variance = 0.9 * (row.out_variance + 0.1 * d * d)
    row.last_out_s = max(np.int64(row.last_out_s), leg_s)
    row.out_count += 1


@_jit
def _is_night(leg_s, offset):
    second = (leg_s + offset) % DAY
    return np.float64(second >= NIGHT[0] or second < NIGHT[1])


@_jit
def remember(row, leg, peer, offset, f):
    """Folds the leg into the row; `f` is what `observe` made of the same row and leg."""
    inflow = leg.side > 0
    amount = leg.amount_minor
    leg_s = leg.occurred_at_ms // 1000
    known = row.in_count + row.out_count > 0
    anchor = max(np.int64(row.last_s), leg_s) if known else leg_s
    leg_day = (leg_s + offset) // DAY

    row.first_s = min(np.int64(row.first_s), leg_s) if known else leg_s
    row.last_s = anchor
    _open_days(row, (anchor + offset) // DAY, known)
    _remember_day(row, inflow, leg_day, amount)
    row.night_share += 0.05 * (_is_night(leg_s, offset) - row.night_share)
    row.round_share += 0.05 * ((amount % ROUND_MINOR == 0) - row.round_share)
    digit = _leading_digit(amount) - 1
    row.digits[digit] = min(np.int64(row.digits[digit]) + 1, MOST_DIGITS)
    for k in range(SCALES):
        for j in range(4):
            row.decayed[k, j] = f[DECAYED + 4 * k + j]
    if peer != 0:
        covered = f[PAYER_COVERED_3D] if inflow else f[COVERED_3D]
        _remember_pair(row, inflow, leg_day, peer, f[PAIR_NEW], covered)
    if inflow:
        _remember_inflow(row, leg_s, peer, amount, f[CHAIN_DEPTH])
    else:
        _remember_outflow(row, anchor, leg_s, peer, amount)


@_jit
def remember_score(row, f, score):
    """Keeps the leg's score; one that is not a number, of a failed judgement, is not kept."""
    row.past_score = max(f[PAST_SCORE], score)


ROW_TYPE: Final = nb.from_dtype(ROW)
