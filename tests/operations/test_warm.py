"""Warming the kernels: what is run there is what runs live."""

from __future__ import annotations

from sluicegate.operations.warm import TRANSACTIONS, warm
from sluicegate.settings import Settings


def test_a_small_city_goes_all_the_way_through_the_kernels() -> None:
    judged = warm(Settings())
    assert TRANSACTIONS < judged <= 2 * TRANSACTIONS
