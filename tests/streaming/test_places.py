"""A router's place knows its topic and its chains, and is not taken for another's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.errors import Problem
from sluicegate.streaming.legs import NOTHING_BEFORE
from sluicegate.streaming.places import pack_place, unpack_place

ID = "vPzN-xQ0T6u_7bJ8o1m2Aw"


@given(st.lists(st.integers(NOTHING_BEFORE, 10**12), min_size=1, max_size=16), st.data())
def test_a_place_says_what_was_put_in(last: list[int], data: st.DataObject) -> None:
    offset = data.draw(st.integers(max(last) + 1, 10**13))
    text = pack_place(ID, np.array(last), offset)
    assert unpack_place(text, "transactions", ID, offset, len(last)).tolist() == last


def test_the_place_of_another_topic_is_refused() -> None:
    text = pack_place(ID, np.array([1, 2]), 9)
    with pytest.raises(Problem, match="not the one that was routed so far") as told:
        unpack_place(text, "transactions", "other", 9, 2)
    assert ID in told.value.detail
    assert "state rebuild" in told.value.hint


@pytest.mark.parametrize("text", ["", "1,2"])
def test_a_place_without_a_topic_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="not the one that was routed"):
        unpack_place(text, "transactions", ID, 9, 2)


def test_another_number_of_chains_is_refused() -> None:
    text = pack_place(ID, np.array([1, 2]), 9)
    with pytest.raises(Problem, match="another number of legs partitions"):
        unpack_place(text, "transactions", ID, 9, 3)
