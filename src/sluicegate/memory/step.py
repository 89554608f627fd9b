"""The loops over legs: find the row, judge, remember. Everything that scores calls these.

`step_legs` is the worker's: departures and arrivals of one legs partition, each departure giving
the arrival to send on. `step_transactions` is for files: departure and arrival in one go.
`judge_legs` reads and changes nothing.
"""

from typing import Final

import numba as nb
import numpy as np
from numba import types as nt

from sluicegate.memory.directives import (
    DIRECTIVE_TYPE,
    INVOLVED,
    PUNISHED,
    observe_directives,
    suppress,
)
from sluicegate.memory.features import FEATURE_INDEX, FEATURES
from sluicegate.memory.kernel import (
    ROW_TYPE,
    fingerprint,
    is_too_late,
    observe,
    remember,
    remember_score,
)
from sluicegate.memory.population import POPULATION_TYPE, observe_rarity
from sluicegate.memory.prefetch import CACHE_LINE, prefetch
from sluicegate.memory.row import (
    ARRIVAL,
    DEPARTURE,
    FLAG_INVOLVED,
    FLAG_OUTSIDE,
    FLAG_PUNISHED,
    LEG,
    PROFILE,
)

STRENGTHS: Final = nt.float64(nt.int64, nt.float64[::1], nt.float64[::1])
"""Signature of a compiled pattern set: (side, features, strengths out) -> score in [0, 1]."""

_CARRIED: Final = np.array(
    [
        FEATURE_INDEX[feature.name.removeprefix("payer_")] if feature.name != "payer_score" else -1
        for feature in FEATURES
        if feature.provenance
    ],
    np.int64,
)

_leg_type = nb.from_dtype(LEG)
_strengths_type = nt.FunctionType(STRENGTHS)
_legs = nt.Array(_leg_type, 1, "C")
_legs_read = nt.Array(_leg_type, 1, "C", readonly=True)
_rows = nt.Array(ROW_TYPE, 1, "C")
_rows_read = nt.Array(ROW_TYPE, 1, "C", readonly=True)
_profiles_read = nt.Array(nb.from_dtype(PROFILE), 1, "C", readonly=True)
_directives = nt.Array(DIRECTIVE_TYPE, 1, "C")
_population = nt.Array(POPULATION_TYPE, 1, "C")
_accounts_read = nt.Array(nt.uint64, 2, "C", readonly=True)
_i8 = nt.int64[::1]
_f8 = nt.float64[::1]
_f8x2 = nt.float64[:, ::1]
_u8 = nt.uint64[::1]
_u1 = nt.uint8[::1]
_i4 = nt.int32[::1]
_u4 = nt.uint32[::1]

# meta: [rows in use, legs later than the anchor, legs too late for their local day,
#        legs on which a whitelist took a pattern out of the score]
META: Final = 4


LOOK_AHEAD: Final = 4
"""Legs ahead for which the row is asked for, so that it has come from memory when it is needed."""
FOUND_TOGETHER: Final = 128
"""Legs whose rows are found before the first of them is stepped."""
LEARNS: Final = True
COUNTS_NOTHING: Final = False


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _fetch_row(rows, dirty, heads, row):
    for byte in range(0, rows.itemsize, CACHE_LINE):
        prefetch(rows, row, byte)
    prefetch(dirty, row, 0)
    prefetch(heads, row, 0)


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _is_of(row, account):
    same = True
    for w in range(account.shape[0]):
        same &= row.account[w] == account[w]
    return same


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _find(rows, slots, account):
    """Row of an account, or -1 - slot where it would go."""
    mask = slots.shape[0] - 1
    tag = np.uint64(fingerprint(account))
    at = np.int64(tag) & mask
    while True:
        entry = slots[at]
        if entry == 0:
            return -1 - at
        if entry >> np.uint64(32) == tag:
            row = np.int64(entry & np.uint64(0xFFFFFFFF)) - 1
            if _is_of(rows[row], account):
                return row
        at = (at + 1) & mask


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _add(rows, slots, meta, account, missed):
    """The new row of an account, which `_find` `missed`."""
    row, at = meta[0], -1 - missed
    slots[at] = np.uint64(fingerprint(account)) << np.uint64(32) | np.uint64(row + 1)
    meta[0] = row + 1
    for w in range(account.shape[0]):
        rows[row].account[w] = account[w]
    return row


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _find_or_add(rows, slots, meta, account):
    row = _find(rows, slots, account)
    return row if row >= 0 else _add(rows, slots, meta, account, row)


@nb.njit(cache=True, nogil=True, _nrt=False)
def _is_followed(leg):
    """Whether an arrival follows."""
    return leg.side == DEPARTURE and leg.flags & FLAG_OUTSIDE == 0


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _ask_for_slot(slots, account):
    """Where the search for an account begins."""
    tag = np.int64(fingerprint(account))
    prefetch(slots, tag & (slots.shape[0] - 1), 0)
    return tag


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _ask_for_row(rows, slots, tag):
    """The row that the search would most likely end with, or -1."""
    entry = slots[tag & (slots.shape[0] - 1)]
    if entry >> np.uint64(32) != np.uint64(tag):
        return -1
    row = np.int64(entry & np.uint64(0xFFFFFFFF)) - 1
    prefetch(rows, row, 0)
    return row


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _confirm(rows, slots, account, likely):
    """As `_find`, where the search would most likely end with this row."""
    is_his = likely >= 0 and _is_of(rows[likely], account)
    return likely if is_his else _find(rows, slots, account)


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _confirm_or_add(rows, slots, meta, account, likely):
    row = _confirm(rows, slots, account, likely)
    return row if row >= 0 else _add(rows, slots, meta, account, row)


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _find_more(rows, slots, meta, legs, begin, found):
    """The rows of the accounts of some legs from one on; returns the first leg not looked at.

    In three passes, so that slots and rows come from memory while others are looked at.
    """
    end = min(begin + FOUND_TOGETHER, legs.shape[0])
    for i in range(begin, end):
        found[i] = _ask_for_slot(slots, legs[i].account)
    for i in range(begin, end):
        found[i] = _ask_for_row(rows, slots, found[i])
    for i in range(begin, end):
        found[i] = _confirm_or_add(rows, slots, meta, legs[i].account, found[i])
    return end


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _find_more_of_both(rows, slots, meta, legs, begin, found):
    """As `_find_more`, of both accounts; -1 for the one that gets no arrival."""
    end = min(begin + FOUND_TOGETHER, legs.shape[0])
    for i in range(begin, end):
        found[i, 0] = _ask_for_slot(slots, legs[i].account)
        found[i, 1] = _ask_for_slot(slots, legs[i].counterparty)
    for i in range(begin, end):
        found[i, 0] = _ask_for_row(rows, slots, found[i, 0])
        found[i, 1] = _ask_for_row(rows, slots, found[i, 1])
    for i in range(begin, end):
        leg = legs[i]
        found[i, 0] = _confirm_or_add(rows, slots, meta, leg.account, found[i, 0])
        if _is_followed(leg):
            found[i, 1] = _confirm_or_add(rows, slots, meta, leg.counterparty, found[i, 1])
        else:
            found[i, 1] = -1
    return end


@nb.njit(nt.int64[::1](_rows, _u8, _accounts_read), cache=True, nogil=True)
def find_rows(rows, slots, accounts):
    """The row of each account (words of shape `[n, 5]`), negative where it has none."""
    count = accounts.shape[0]
    found = np.empty(count, np.int64)
    for begin in range(0, count, FOUND_TOGETHER):
        end = min(begin + FOUND_TOGETHER, count)
        for i in range(begin, end):
            found[i] = _ask_for_slot(slots, accounts[i])
        for i in range(begin, end):
            found[i] = _ask_for_row(rows, slots, found[i])
        for i in range(begin, end):
            found[i] = _confirm(rows, slots, accounts[i], found[i])
    return found


@nb.njit(nt.void(_u8, _u8), cache=True, nogil=True, _nrt=False)
def regrow(old, new):
    """Moves the index into a larger one (a power of two); rows are not touched."""
    mask = new.shape[0] - 1
    for entry in old:
        if entry != 0:
            at = np.int64(entry >> np.uint64(32)) & mask
            while new[at] != 0:
                at = (at + 1) & mask
            new[at] = entry


@nb.njit(cache=True, nogil=True, _nrt=False)
def _ends_somewhere(leg):
    """Whether a departure names who gets its arrival, or says that none follows."""
    return leg.counterparty[0] != 0 or leg.flags & FLAG_OUTSIDE != 0


@nb.njit(nt.int64(_legs_read), cache=True, nogil=True, _nrt=False)
def first_invalid(legs):
    """Index of the first leg that the kernel must not see, or -1."""
    for i in range(legs.shape[0]):
        leg = legs[i]
        ok = (
            leg.account[0] != 0
            and leg.amount_minor > 0
            and 0 <= leg.occurred_at_ms < 4_294_967_296_000
            and (leg.side == ARRIVAL or (leg.side == DEPARTURE and _ends_somewhere(leg)))
        )
        if not ok:
            return i
    return -1


@nb.njit(nt.uint8(_f8), cache=True, nogil=True, error_model="numpy", _nrt=False)
def flags_of(f):
    """What the arrival says of its payer, by the features of the judged departure."""
    flags = 0
    if f[INVOLVED] != 0:
        flags |= FLAG_INVOLVED
    if f[PUNISHED] != 0:
        flags |= FLAG_PUNISHED
    return flags


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _arrival_of(leg, score, f, arrival):
    """Writes the arrival that follows a departure, with what the payer's row knows."""
    for w in range(5):
        arrival.account[w] = leg.counterparty[w]
        arrival.counterparty[w] = leg.account[w]
    for w in range(8):
        arrival.transaction[w] = leg.transaction[w]
    arrival.occurred_at_ms = leg.occurred_at_ms
    arrival.recorded_at_ms = leg.recorded_at_ms
    arrival.amount_minor = leg.amount_minor
    arrival.side = ARRIVAL
    arrival.channel = leg.channel
    arrival.kind = leg.kind
    arrival.flags = flags_of(f)
    arrival.provenance[0] = score
    for k in range(1, _CARRIED.shape[0]):
        arrival.provenance[k] = f[_CARRIED[k]]


def provenance_of(score, features):
    """What the arrival of a judged departure carries: float32[PROVENANCE_COUNT]."""
    carried = features[_CARRIED].astype(np.float32)
    carried[0] = score
    return carried


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _weigh(
    row, heads, nexts, directives, population, learns, at, leg, peer, patterns, offset, f, s
):  # fmt: skip
    """Features and strengths of one leg; returns its score before any whitelist.

    The leg is counted in the population if that `learns`.
    """
    observe(row, leg, peer, offset, f)
    observe_directives(heads, nexts, directives, at, leg, f)
    observe_rarity(population[0], leg.side > 0, f, learns)
    return patterns(np.int64(leg.side), f, s)


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _judge(
    row, heads, nexts, directives, population, at, leg, patterns, names, offset, f, s
):  # fmt: skip
    """Judges one leg against a row, which is the account's if `at` is not -1."""
    score = _weigh(
        row, heads, nexts, directives, population, COUNTS_NOTHING, at, leg,
        fingerprint(leg.counterparty), patterns, offset, f, s,
    )  # fmt: skip
    if at >= 0 and heads[at]:
        return suppress(heads, nexts, directives, at, leg, names, score, s)
    return score


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _step(
    rows, dirty, meta, heads, nexts, directives, population, at, leg, patterns, names, offset, f, s
):  # fmt: skip
    """Judges one leg against its account's row, then remembers it."""
    row = rows[at]
    peer = fingerprint(leg.counterparty)
    score = _weigh(
        row, heads, nexts, directives, population, LEARNS, at, leg, peer, patterns, offset, f, s
    )  # fmt: skip
    if heads[at]:
        left = suppress(heads, nexts, directives, at, leg, names, score, s)
        meta[3] += left < score
        score = left
    leg_s = leg.occurred_at_ms // 1000
    if leg_s < np.int64(row.last_s):
        meta[1] += 1
        meta[2] += is_too_late(row, (leg_s + offset) // 86_400)
    remember(row, leg, peer, offset, f)
    remember_score(row, f, score)
    dirty[at] = 1
    return score


@nb.njit(
    nt.Tuple((nt.int64, nt.int64))(
        _rows, _u1, _u8, _i8, _i4, _i4, _directives, _population,
        _legs_read, _strengths_type, _u4, nt.int64, nt.float64,
        nt.int64, nt.int64, _i8, _legs, _f8, _i8, _f8x2, _f8x2, _i8, _i8,
    ),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def step_legs(
    rows, dirty, slots, meta, heads, nexts, directives, population,
    legs, patterns, names, offset, threshold,
    partition, log_offset, found, arrivals, scores, hits, hit_features, hit_strengths,
    shadows, shadow_fired,
):  # fmt: skip
    """Steps the legs of one message; returns how many arrivals and how many hits it wrote.

    A hit is a leg whose score reaches the threshold, or whose judgement failed (not a number).
    Features and strengths are written where the next hit's would lie, so there is one row more of
    them than legs. `found` is scratch. How often each of the patterns `shadows` fired is added to
    `shadow_fired`.
    """
    sent = 0
    hit = 0
    count = legs.shape[0]
    found_until = 0
    for i in range(count):
        if i + LOOK_AHEAD >= found_until:
            found_until = _find_more(rows, slots, meta, legs, found_until, found)
        if i + LOOK_AHEAD < count:
            _fetch_row(rows, dirty, heads, found[i + LOOK_AHEAD])
        leg = legs[i]
        f = hit_features[hit]
        score = _step(
            rows, dirty, meta, heads, nexts, directives, population, found[i], leg,
            patterns, names, offset, f, hit_strengths[hit],
        )  # fmt: skip
        scores[i] = score
        for k in range(shadows.shape[0]):
            shadow_fired[k] += hit_strengths[hit, shadows[k]] < 0
        if _is_followed(leg):
            arrival = arrivals[sent]
            _arrival_of(leg, score, f, arrival)
            arrival.position = (log_offset << 16) | i
            arrival.source_partition = partition
            sent += 1
        if not score < threshold:
            hits[hit] = i
            hit += 1
    return sent, hit


@nb.njit(
    nt.int64(
        _rows, _u1, _u8, _i8, _i4, _i4, _directives, _population,
        _legs_read, _strengths_type, _u4, nt.int64, nt.float64,
        nt.int64[:, ::1], _legs, _f8, _f8, _i8, nt.int8[::1], _f8x2, _f8x2,
    ),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def step_transactions(
    rows, dirty, slots, meta, heads, nexts, directives, population,
    legs, patterns, names, offset, threshold,
    found, follow, payer_scores, payee_scores, hits, hit_sides, hit_features, hit_strengths,
):  # fmt: skip
    """Steps first legs and, at once, the arrivals that follow; returns how many hits it wrote.

    A score of a side that does not exist is NaN. `found` and `follow` are scratch, and so is the
    row of features and strengths behind the last hit.
    """
    hit = 0
    count = legs.shape[0]
    found_until = 0
    for i in range(count):
        if i + LOOK_AHEAD >= found_until:
            found_until = _find_more_of_both(rows, slots, meta, legs, found_until, found)
        leg = legs[i]
        payer_scores[i] = np.nan
        payee_scores[i] = np.nan
        side = np.int64(leg.side)
        while side != 0:
            first = side == leg.side
            current = leg if first else follow[0]
            which = 0 if first else 1
            at = found[i, which]
            if i + LOOK_AHEAD < count and found[i + LOOK_AHEAD, which] >= 0:
                _fetch_row(rows, dirty, heads, found[i + LOOK_AHEAD, which])
            f = hit_features[hit]
            score = _step(
                rows, dirty, meta, heads, nexts, directives, population, at, current,
                patterns, names, offset, f, hit_strengths[hit],
            )  # fmt: skip
            if side == DEPARTURE:
                payer_scores[i] = score
            else:
                payee_scores[i] = score
            if not score < threshold:
                hits[hit] = i
                hit_sides[hit] = side
                hit += 1
            if first and found[i, 1] >= 0:
                _arrival_of(leg, score, f, follow[0])
                side = ARRIVAL
            else:
                side = 0
    return hit


@nb.njit(
    nt.void(
        _rows, _rows, _u8, _i4, _i4, _directives, _population,
        _legs_read, _strengths_type, _u4, nt.int64, _f8, _f8x2, _f8x2,
    ),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def judge_legs(
    rows, unknown, slots, heads, nexts, directives, population, legs, patterns, names, offset,
    scores, features, strengths,
):  # fmt: skip
    """Judges each leg against the rows as they are, or an `unknown` account's; changes nothing."""
    for i in range(legs.shape[0]):
        at = _find(rows, slots, legs[i].account)
        row = rows[at] if at >= 0 else unknown[0]
        scores[i] = _judge(
            row, heads, nexts, directives, population, at, legs[i],
            patterns, names, offset, features[i], strengths[i],
        )  # fmt: skip


@nb.njit(nt.void(_rows, _u1, _u8, _i8, _rows_read), cache=True, nogil=True, _nrt=False)
def put_rows(rows, dirty, slots, meta, restored):
    """Writes rows of a checkpoint over what is held of their accounts."""
    for i in range(restored.shape[0]):
        at = _find_or_add(rows, slots, meta, restored[i].account)
        rows[at] = restored[i]
        dirty[at] = 0


@nb.njit(nt.void(_rows, _u1, _u8, _i8, _profiles_read), cache=True, nogil=True, _nrt=False)
def learn_profiles(rows, dirty, slots, meta, profiles):
    """Writes what the bank told of holders into their rows, known or new."""
    for i in range(profiles.shape[0]):
        profile = profiles[i]
        at = _find_or_add(rows, slots, meta, profile.account)
        row = rows[at]
        row.income = profile.income
        row.opened_day = profile.opened_day
        row.documents_day = profile.documents_day
        row.birth_year = profile.birth_year
        row.holder_kind = profile.holder_kind
        row.standing = profile.standing
        dirty[at] = 1


@nb.njit(nt.void(_rows, _u1, _u8, _i8, _accounts_read, _i8), cache=True, nogil=True, _nrt=False)
def find_or_add(rows, dirty, slots, meta, accounts, found):
    """Rows of accounts (words of shape `[n, 5]`), known or new."""
    for i in range(accounts.shape[0]):
        before = meta[0]
        found[i] = _find_or_add(rows, slots, meta, accounts[i])
        if meta[0] != before:
            dirty[found[i]] = 1
