"""The byte budget of an account, and that records are laid out as documented."""

import re
from typing import TYPE_CHECKING

import pytest

from sluicegate.memory import row as layout
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.population import POPULATION
from sluicegate.memory.prefetch import CACHE_LINE
from sluicegate.memory.row import DIRECTIVE, LEG, PROFILE, ROW

if TYPE_CHECKING:
    import numpy as np

ALL_IN_BYTES = 1_280
INDEX_BYTES = 32
"""8 bytes a slot, doubled when half full: 16 to 32 an account."""

PARTS = {
    "who, when, how many": ["account", "first_s", "last_s", "last_in_s", "last_out_s",
                            "in_count", "out_count"],
    "decayed counts and sums, 5 scales": ["decayed"],
    "slow statistics": ["in_mean", "in_variance", "out_mean", "out_variance",
                        "new_source_share", "new_target_share", "suspicion_in", "suspicion_out",
                        "day_mean", "day_variance", "night_share", "round_share"],
    "ring of 16 inflows": ["in_time", "in_peer", "in_amount", "in_rest", "in_depth"],
    "ring of 16 outflows": ["out_time", "out_peer", "out_amount"],
    "10 local days": ["day_in_sum", "day_out_sum", "day_in_count", "day_out_count",
                      "day_in_large", "day_out_large", "day_in_band", "day_out_band", "day_last"],
    "4 blocks of 30 days, largest, sums": ["largest_in", "largest_out", "turnover"],
    "sketches of distinct counterparties": ["sketch_in", "sketch_out"],
    "pairs known, 64 slots": ["pair_tags"],
    "profile": [
        *("income", "opened_day", "documents_day", "birth_year", "holder_kind", "standing"),
    ],
    "leading digits, active days": ["digits", "active_days"],
    "own past score": ["past_score"],
    "what a fitted model said": ["said"],
}  # fmt: skip


def documented() -> dict[str, int]:
    """The byte table in the module's docstring."""
    lines = re.findall(r"^ {4}(\S.*?) +([\d,]+)(?= {2}|$)", layout.__doc__ or "", re.MULTILINE)
    return {part: int(size.replace(",", "")) for part, size in lines}


def size_of(dtype: "np.dtype[np.void]", names: list[str]) -> int:
    assert dtype.fields is not None
    return sum(dtype.fields[name][0].itemsize for name in names)


def test_a_row_takes_1216_bytes() -> None:
    assert ROW.itemsize == 1_216


def test_the_byte_table_says_what_the_fields_take() -> None:
    table = documented()
    assert {part: size_of(ROW, names) for part, names in PARTS.items()} == {
        part: table[part] for part in PARTS
    }
    assert sorted(name for names in PARTS.values() for name in names) == sorted(ROW.names or ())


def test_the_byte_table_adds_up() -> None:
    table = documented()
    assert sum(table[part] for part in PARTS) == table["row"] == ROW.itemsize


def test_an_account_takes_at_most_1280_bytes_all_in() -> None:
    dirty_and_swept, head_of_directives = 2, 4
    assert ROW.itemsize + INDEX_BYTES + dirty_and_swept + head_of_directives <= ALL_IN_BYTES


def test_a_row_is_whole_cache_lines() -> None:
    assert ROW.itemsize % CACHE_LINE == 0
    for capacity in (1, 1_000, 1_000_000):
        assert AccountMemory(capacity).rows.ctypes.data % CACHE_LINE == 0


@pytest.mark.parametrize("dtype", [ROW, LEG, PROFILE, DIRECTIVE, POPULATION])
def test_no_byte_is_padding_and_every_number_is_aligned(dtype: "np.dtype[np.void]") -> None:
    assert dtype.fields is not None
    assert size_of(dtype, list(dtype.fields)) == dtype.itemsize
    for name, (field, offset, *_) in dtype.fields.items():
        assert offset % field.base.itemsize == 0, name


def test_a_leg_takes_248_bytes() -> None:
    assert LEG.itemsize == 248
