"""Accounts of a file by number."""

import polars as pl

from sluicegate.history.events import Events
from sluicegate.history.metrics import Ints
from sluicegate.history.outcomes import NOBODY


def account_numbers(events: Events) -> tuple[Ints, Ints]:
    """A number for each account, from 0; payers and payees, NOBODY for cash."""
    sides = pl.concat([events.frame["payer_account"], events.frame["payee_account"]])
    ranks = sides.rank("dense").cast(pl.Int64) - 1
    numbers = ranks.fill_null(NOBODY).to_numpy()
    return numbers[: len(events.frame)], numbers[len(events.frame) :]
