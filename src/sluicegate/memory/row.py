"""The records of the legs log and of the memory: row, leg, profile, directive, activation.

Byte budget of an account (kept by a test):

    who, when, how many                 64
    decayed counts and sums, 5 scales   80
    slow statistics                     48
    ring of 16 inflows                 336   time, counterparty, amount, rest, depth
    ring of 16 outflows                256   time, counterparty, amount
    10 local days                      244
    4 blocks of 30 days, largest, sums  48
    sketches of distinct counterparties 32
    pairs known, 64 slots               64
    profile                             12
    leading digits, active days         20
    own past score                       4
    what a fitted model said             8
    row                              1,216
    index, at most half full            16 to 32
    changed, swept, head of directives   6
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sluicegate.memory.features import DECAY_SECONDS, PROVENANCE_COUNT

LAYOUT_VERSION: Final = 3
"""Raised when ROW changes: a checkpoint of another version is refused, never misread."""

RING: Final = 16
DAYS: Final = 10
BLOCKS: Final = 4
BLOCK_DAYS: Final = 30
PAIR_SLOTS: Final = 64
SCALES: Final = len(DECAY_SECONDS)

DEPARTURE: Final = -1
ARRIVAL: Final = 1
FLAG_OUTSIDE: Final = 1
"""The transaction ends with this departure: no arrival follows."""
FLAG_INVOLVED: Final = 2
"""The counterparty is involved in a case, as the writer of this leg knows."""
FLAG_PUNISHED: Final = 4
"""The counterparty is punished, as the writer of this leg knows."""

INVOLVED: Final = 1
PUNISHED: Final = 2
WHITELISTED: Final = 3
WATCHED: Final = 4
FOR_EVER: Final = 2**32 - 1
"""Expiry of a directive that has none."""
MOST_NAMES: Final = 8
"""Patterns that one whitelist can name."""

SAID: Final[list[Any]] = [
    # what a fitted model gave to legs, out and in: see past_scores; 0: nothing
    ("said", "<f4", (2,)),
]

ROW: Final = np.dtype(
    [
        ("account", "<u8", (5,)),
        ("first_s", "<u4"),
        ("last_s", "<u4"),
        ("last_in_s", "<u4"),
        ("last_out_s", "<u4"),
        ("in_count", "<u4"),
        ("out_count", "<u4"),
        # [scale][count in, count out, sum in, sum out], valued at last_s; sums in CNY
        ("decayed", "<f4", (SCALES, 4)),
        ("in_mean", "<f4"),
        ("in_variance", "<f4"),
        ("out_mean", "<f4"),
        ("out_variance", "<f4"),
        ("new_source_share", "<f4"),
        ("new_target_share", "<f4"),
        ("suspicion_in", "<f4"),
        ("suspicion_out", "<f4"),
        # rings: the leg number n of a side (from 0) lies at n % 16
        ("in_time", "<u4", (RING,)),
        ("in_peer", "<u4", (RING,)),
        ("in_amount", "<i8", (RING,)),
        ("in_rest", "<f4", (RING,)),  # minor units not yet passed on
        ("in_depth", "u1", (RING,)),
        ("out_time", "<u4", (RING,)),
        ("out_peer", "<u4", (RING,)),
        ("out_amount", "<i8", (RING,)),
        # local days: the day d lies at d % 10
        ("day_in_sum", "<i8", (DAYS,)),
        ("day_out_sum", "<i8", (DAYS,)),
        ("day_in_count", "<u2", (DAYS,)),
        ("day_out_count", "<u2", (DAYS,)),
        ("day_in_large", "u1", (DAYS,)),
        ("day_out_large", "u1", (DAYS,)),
        ("day_in_band", "u1", (DAYS,)),
        ("day_out_band", "u1", (DAYS,)),
        ("day_last", "<u4"),
        ("income", "<f4"),  # declared, CNY a month; 0: not known, as in all of the profile
        # blocks of 30 local days: the block b lies at b % 4, its sketch at b % 2
        ("sketch_in", "<u8", (2,)),
        ("sketch_out", "<u8", (2,)),
        ("largest_in", "<f4", (BLOCKS,)),
        ("largest_out", "<f4", (BLOCKS,)),
        ("turnover", "<f4", (BLOCKS,)),  # CNY, both sides
        # number of legs of the local days on which there were any
        ("day_mean", "<f4"),
        ("day_variance", "<f4"),
        ("night_share", "<f4"),
        ("round_share", "<f4"),
        ("pair_tags", "u1", (PAIR_SLOTS,)),
        ("opened_day", "<u2"),  # days since the epoch, local
        ("documents_day", "<u2"),  # the last on which they are valid, likewise
        ("birth_year", "<u2"),
        ("holder_kind", "u1"),
        ("standing", "u1"),  # enterprise status, and 8 times one more than the tier
        ("digits", "<u2", (9,)),  # legs by the leading digit of their amount
        ("active_days", "<u2"),
        ("past_score", "<f4"),  # highest of late, valued at last_s
        *SAID,
    ]
)

CLOSED: Final = 3
"""From this enterprise status on the enterprise is gone: cancelled, revoked."""
TIER_UNIT: Final = 8
"""What a tier counts in `standing`; below it is the enterprise status."""

PROFILE: Final = np.dtype(
    [
        ("account", "<u8", (5,)),
        ("position", "<i8"),
        ("source_partition", "<u4"),
        ("income", "<f4"),  # from here on as in the row
        ("opened_day", "<u2"),
        ("documents_day", "<u2"),
        ("birth_year", "<u2"),
        ("holder_kind", "u1"),
        ("standing", "u1"),
    ]
)

DIRECTIVE: Final = np.dtype(
    [
        ("id", "<u8", (8,)),
        ("account", "<u8", (5,)),
        ("counterparty", "<u8", (5,)),  # of a whitelisted pair
        ("position", "<i8"),
        ("source_partition", "<u4"),
        ("until_s", "<u4"),  # holds for legs before this
        ("patterns", "<u4", (MOST_NAMES,)),  # whitelisted: hashes of their names, then zeros
        ("kind", "u1"),
        ("is_ended", "u1"),
        ("is_mirrored", "u1"),  # told of the other account of the pair
        ("spare", "u1", (5,)),
    ]
)

ACTIVATION: Final = np.dtype(
    [
        ("version", "S16"),  # of the pattern set that judges from here on
        ("position", "<i8"),
        ("source_partition", "<u4"),
        ("spare", "<u4"),
    ]
)

LEG: Final = np.dtype(
    [
        ("account", "<u8", (5,)),
        ("counterparty", "<u8", (5,)),
        ("transaction", "<u8", (8,)),
        ("position", "<i8"),
        ("occurred_at_ms", "<i8"),
        ("recorded_at_ms", "<i8"),
        ("amount_minor", "<i8"),
        ("source_partition", "<u4"),
        ("side", "i1"),
        ("channel", "u1"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("provenance", "<f4", (PROVENANCE_COUNT,)),
    ]
)


def opaque(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The same records without fields: numpy takes and joins them ten times as fast."""
    return records.view(np.dtype((np.void, records.dtype.itemsize)))
