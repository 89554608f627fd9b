"""One account row in words: what is remembered, as of the account's latest event."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import numpy as np

from sluicegate.domain.money import amount_display
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.features import DAY, DECAY_SECONDS, HOUR
from sluicegate.memory.row import DAYS, RING
from sluicegate.streaming.state import PartitionState
from sluicegate.streaming.told_view import directives_of, profile_of, told_in_words

_RING_WINDOWS: Final = {"1 h": HOUR, "24 h": DAY}
_DAY_WINDOWS: Final = {"7 local days": 7, "10 local days": DAYS}
_SIDES: Final = (("in", "inflow"), ("out", "outflow"))


@dataclass(frozen=True, slots=True)
class Window:
    """Counts and sums of one window; amounts in minor units."""

    name: str
    inflow_count: float
    outflow_count: float
    inflow_minor: float
    outflow_minor: float
    is_least: bool = False
    """Whether there may have been more: the ring holds 16 legs of a side."""


@dataclass(frozen=True, slots=True)
class DaySums:
    """What came in and went out on one local day; amounts in minor units."""

    day: int
    """Local days since 1970-01-01."""
    inflow_minor: int
    outflow_minor: int


@dataclass(frozen=True, slots=True)
class RecentLeg:
    """A leg of the ring."""

    at_s: int
    side: str
    amount_minor: int
    counterparty: str
    """Fingerprint, 8 hex digits; empty for cash."""
    rest_minor: float | None
    """Of an inflow: what has not yet been passed on."""
    depth: int | None
    """Of an inflow: hops that its money had made."""


@dataclass(frozen=True, slots=True)
class AccountView:
    """What is remembered of one account."""

    account: str
    first_s: int
    last_s: int
    inflow_count: int
    outflow_count: int
    windows: tuple[Window, ...]
    decayed: tuple[Window, ...]
    """Each leg weighs exp(-age / scale)."""
    days: tuple[DaySums, ...]
    """The last local days up to the account's latest leg, the oldest first."""
    recent: tuple[RecentLeg, ...]
    """Newest first."""
    large_days_10: dict[str, int]
    """Legs above 10,000.00, and in the bands below reporting lines, of 10 local days."""
    largest_minor: dict[str, float]
    """Of 90 to 120 days, by side."""
    typical_minor: dict[str, float]
    """Slow geometric mean, by side."""
    shares: dict[str, float]
    """New counterparties and running suspicion, 0 to 1."""
    profile: dict[str, str | int | float]
    """What is known of the holder."""
    directives: list[dict[str, Any]]
    """Those that have not ended."""


def view_of(account: str, row: Records, memory: AccountMemory) -> AccountView:
    """The row (shape `[1]`) of this account, taken apart, and what directives say of it."""
    one = row[0]
    return AccountView(
        account=account,
        first_s=int(one["first_s"]),
        last_s=int(one["last_s"]),
        inflow_count=int(one["in_count"]),
        outflow_count=int(one["out_count"]),
        windows=(*_ring_windows(one), *_day_windows(one)),
        decayed=tuple(_decayed(one)),
        days=tuple(_days(one)),
        recent=tuple(sorted(_recent(one), key=lambda leg: -leg.at_s)),
        large_days_10={
            f"{what}_{long}s": int(one[f"day_{side}_{what}"].sum())
            for what in ("large", "band")
            for side, long in _SIDES
        },
        largest_minor={long: float(one[f"largest_{side}"].max()) for side, long in _SIDES},
        typical_minor={
            long: math.exp(one[f"{side}_mean"]) if one[f"{side}_count"] else 0.0
            for side, long in _SIDES
        },
        shares={
            name: float(one[name])
            for name in ("new_source_share", "new_target_share", "suspicion_in", "suspicion_out")
        },
        profile=profile_of(one),
        directives=directives_of(memory, account),
    )


def _held(one: Any, side: str) -> int:  # noqa: ANN401 - a numpy record
    return min(int(one[f"{side}_count"]), RING)


def _ring_windows(one: Any) -> Iterator[Window]:  # noqa: ANN401 - a numpy record
    last = int(one["last_s"])
    for name, seconds in _RING_WINDOWS.items():
        counts, sums, full = [], [], False
        for side, _ in _SIDES:
            held = _held(one, side)
            within = last - one[f"{side}_time"][:held].astype(np.int64) <= seconds
            counts.append(int(within.sum()))
            sums.append(int(one[f"{side}_amount"][:held][within].sum()))
            full |= counts[-1] == RING
        yield Window(name, counts[0], counts[1], sums[0], sums[1], is_least=full)


def _day_windows(one: Any) -> Iterator[Window]:  # noqa: ANN401 - a numpy record
    for name, days in _DAY_WINDOWS.items():
        slots = [(int(one["day_last"]) - back) % DAYS for back in range(days)]
        counts = [int(one[f"day_{side}_count"][slots].sum()) for side, _ in _SIDES]
        sums = [int(one[f"day_{side}_sum"][slots].sum()) for side, _ in _SIDES]
        yield Window(name, counts[0], counts[1], sums[0], sums[1])


def _days(one: Any) -> Iterator[DaySums]:  # noqa: ANN401 - a numpy record
    last = int(one["day_last"])
    for day in range(max(0, last - DAYS + 1), last + 1):
        slot = day % DAYS
        yield DaySums(day, int(one["day_in_sum"][slot]), int(one["day_out_sum"][slot]))


def _decayed(one: Any) -> Iterator[Window]:  # noqa: ANN401 - a numpy record
    for scale, values in zip(DECAY_SECONDS, one["decayed"].tolist(), strict=True):
        count_in, count_out, sum_in, sum_out = values
        yield Window(scale, count_in, count_out, 100 * sum_in, 100 * sum_out)


def _recent(one: Any) -> Iterator[RecentLeg]:  # noqa: ANN401 - a numpy record
    for side, _ in _SIDES:
        for slot in range(_held(one, side)):
            peer = int(one[f"{side}_peer"][slot])
            inflow = side == "in"
            yield RecentLeg(
                at_s=int(one[f"{side}_time"][slot]),
                side=side,
                amount_minor=int(one[f"{side}_amount"][slot]),
                counterparty=f"{peer:08x}" if peer else "",
                rest_minor=float(one["in_rest"][slot]) if inflow else None,
                depth=int(one["in_depth"][slot]) if inflow else None,
            )


def as_json(view: AccountView, state: PartitionState) -> dict[str, Any]:
    """For programs; times are seconds since the epoch, amounts minor units."""
    return {
        "partition": state.number,
        "worker": state.slot,
        "applied": state.place.applied,
        "checkpointed": state.checkpointed,
        "legs_end": state.legs.end,
        "sources": state.place.sources,
        "pattern_set": state.place.pattern_set,
        **asdict(view),
    }


def in_words(
    view: AccountView, state: PartitionState, currency: str, utc_offset_hours: float
) -> Iterator[str]:
    """Lines for a terminal; times are local, with their offset."""
    zone = timezone(timedelta(hours=utc_offset_hours))
    yield f"account     {view.account}"
    yield f"partition   {state.number}, claimed last by worker {state.slot or '(nobody)'}"
    yield (
        f"applied     legs offset {state.place.applied:,}; checkpoint at {state.checkpointed:,}, "
        f"the log ends at {state.legs.end:,}"
    )
    sources = ", ".join(f"{name} up to {at:,}" for name, at in sorted(state.place.sources.items()))
    yield f"sources     {sources or 'none'}"
    yield f"seen        {_time(view.first_s, zone)} to {_time(view.last_s, zone)}"
    yield f"life        {view.inflow_count:,} inflows, {view.outflow_count:,} outflows"
    yield from told_in_words(view.profile, view.directives)
    yield ""
    yield f"as of the latest event, {currency:20}{'in':>8}{'':18}{'out':>8}"
    for window in view.windows:
        yield _window_line(f"  last {window.name}", window, "{:,.0f}")
    for window in view.decayed:
        yield _window_line(f"  decayed over {window.name}", window, "{:,.2f}")
    yield ""
    yield from _character(view)
    yield ""
    yield "recent legs, newest first"
    for leg in view.recent:
        yield "  " + _leg_line(leg, zone)


def _window_line(name: str, window: Window, count: str) -> str:
    least = "  at least" if window.is_least else ""
    sides = (
        f"{count.format(number):>10} legs {_amount(minor):>20}"
        for number, minor in (
            (window.inflow_count, window.inflow_minor),
            (window.outflow_count, window.outflow_minor),
        )
    )
    return f"{name:22}" + "".join(sides) + least


def _character(view: AccountView) -> Iterator[str]:
    largest, typical, shares = view.largest_minor, view.typical_minor, view.shares
    for long in ("inflow", "outflow"):
        yield (
            f"{long:11} typically {_amount(typical[long])}, "
            f"largest of 90 to 120 days {_amount(largest[long])}; of 10 local days "
            f"{view.large_days_10[f'large_{long}s']} large, {view.large_days_10[f'band_{long}s']} "
            f"just below a reporting line"
        )
    yield (
        f"shares      new payers {shares['new_source_share']:.2f}, "
        f"new payees {shares['new_target_share']:.2f}; suspicion "
        f"in {shares['suspicion_in']:.2f}, out {shares['suspicion_out']:.2f}"
    )


def _leg_line(leg: RecentLeg, zone: timezone) -> str:
    flags = ["cash"] if not leg.counterparty else []
    if leg.rest_minor:
        flags.append(f"{_amount(leg.rest_minor)} not yet passed on")
    if leg.depth:
        flags.append(f"hop {leg.depth}")
    way = f"{'from' if leg.side == 'in' else 'to':4} {leg.counterparty or '-':8}"
    line = f"{_time(leg.at_s, zone)}  {leg.side:3} {_amount(leg.amount_minor):>20}  {way}"
    return f"{line}  {', '.join(flags)}".rstrip()


def _time(seconds: int, zone: timezone) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.astimezone(zone).isoformat(sep=" ")


def _amount(minor: float) -> str:
    return amount_display(round(minor))
