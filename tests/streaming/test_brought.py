"""What arrivals bring for a model is read bit for bit as it was written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sluicegate.streaming.brought import NotBroughtError, lengthen, shorten

FEW = st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, 2.5])
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 6))


@given(
    SHAPES.flatmap(
        lambda shape: arrays(np.float32, shape, elements=FEW | st.floats(width=32), fill=FEW)
    )
)
@settings(deadline=None)
def test_what_is_read_is_what_was_written(brought: np.ndarray) -> None:
    found = lengthen(shorten(brought), len(brought))
    np.testing.assert_array_equal(found.view(np.uint32), brought.view(np.uint32))


def test_a_column_of_more_values_than_a_byte_names_is_kept_as_it_is() -> None:
    brought = np.zeros((600, 3), np.float32)
    brought[:, 0] = np.arange(600)
    brought[:, 1] = np.arange(600) % 256
    value = shorten(brought)
    np.testing.assert_array_equal(lengthen(value, 600), brought)
    head, values, plain, coded = 8 + 3 * 4, (256 + 1) * 4, 600 * 4, 600
    assert len(value) == head + values + plain + coded


@pytest.mark.parametrize("cut", [1, 7, 30, -1])
def test_other_bytes_are_refused(cut: int) -> None:
    value = shorten(np.array([[1, 2], [3, 4], [3, np.nan]], np.float32))
    with pytest.raises(NotBroughtError):
        lengthen(value[:cut], 3)
    with pytest.raises(NotBroughtError, match="has not"):
        lengthen(value[:-1] + b"\xff", 3)
