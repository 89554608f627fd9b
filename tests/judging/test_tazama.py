"""Where a rule of Tazama corresponds to what is counted here, both draw the line at one place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from tests.judging.test_shipped_patterns import CASES, strength
from tests.memory.legs import NOON_MS, records, step_all
from tests.memory.oracle import Leg

from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.features import FEATURE_INDEX

if TYPE_CHECKING:
    from sluicegate.judging.kernels import CompiledPatterns

FOLDER: Final = Path(__file__).parent / "tazama"
VELOCITY: Final = json.loads((FOLDER / "velocity_cases.json").read_text(encoding="utf-8"))
BANDS: Final = {
    rule["id"][:3]: rule["config"]["bands"]
    for rule in json.loads((FOLDER / "rule_bands.json").read_text(encoding="utf-8"))
}
SETTLED: Final = "ACCC"
SETTLED_CASES: Final = [case for case in VELOCITY if case["trigger_status"] == SETTLED]


@pytest.mark.parametrize("case", SETTLED_CASES, ids=lambda case: f"{case['rule']} {case['case']}")
def test_as_many_are_counted_in_a_day(case: dict[str, Any]) -> None:
    """A later transaction comes later; another tenant's account is another account."""
    inflow = case["rule"] == "902"
    legs = [Leg("own", "other 0", inflow, NOON_MS, 100)]
    for number, past in enumerate(case["history"], 1):
        account = "own" if past["tenant"] == "DEFAULT" else f"own of {past['tenant']}"
        other = "other 0" if past["same_counterparty"] else f"other {number}"
        at_ms = NOON_MS - 1000 * past["seconds_before_trigger"]
        legs.append(Leg(account, other, inflow, at_ms, 100))
    legs = [leg for leg in sorted(legs, key=lambda leg: leg.at_ms) if leg.at_ms <= NOON_MS]
    features = step_all(AccountMemory(10), records(legs))
    counted = features[-1, FEATURE_INDEX["inflow_count_24h" if inflow else "outflow_count_24h"]]
    assert counted == case["expected_count"]


def test_what_is_not_settled_is_no_movement_and_never_comes() -> None:
    left_out = [case for case in VELOCITY if case not in SETTLED_CASES]
    assert {case["expected_count"] for case in left_out} == {0}
    assert len(SETTLED_CASES) == 16


class Same(NamedTuple):
    """A rule, and what draws the same line here: `scale` units of the feature are one of its."""

    rule: str
    pattern: str
    feature: str
    scale: float = 1.0
    step: float = 1.0
    at_most: bool = False
    """Fires up to the line, not from it on."""


SAME: Final = (
    Same("016", "convergence", "sources_24h"),
    Same("017", "divergence", "targets_8h"),
    Same("018", "far-above-own-largest", "amount", scale=10_000, step=0.01),
    Same("048", "above-own-habit", "amount_z", step=0.01),
    Same("054", "unnatural-digits", "benford", step=-0.001),
    Same("076", "follow-up", "since_outflow_s", scale=1e-3, step=1.0, at_most=True),
)


@pytest.mark.parametrize("same", SAME, ids=lambda same: f"{same.rule} {same.pattern}")
def test_a_pattern_fires_from_the_line_of_the_rule_on(
    shipped: CompiledPatterns, same: Same
) -> None:
    """Benford's rule counts the line itself in; here it is what a chance of 5 % goes beyond."""
    (line,) = {band["lowerLimit"] for band in BANDS[same.rule] if "lowerLimit" in band}
    fires = next(case.fires for case in CASES if case.pattern == same.pattern)
    at = line * same.scale
    inside, outside = (at, at + same.step) if same.at_most else (at, at - same.step)
    if same.step < 0:
        inside, outside = outside, inside
    assert strength(shipped, same.pattern, fires | {same.feature: inside}) > 0
    assert strength(shipped, same.pattern, fires | {same.feature: outside}) == 0


def test_dormant_is_three_months_as_that_rule_has_it(shipped: CompiledPatterns) -> None:
    """Its quarter of a year is 91.3 days; three months of 30 days here, a little earlier."""
    (line,) = {band["lowerLimit"] for band in BANDS["004"] if "lowerLimit" in band}
    days = line / 86_400_000
    assert 90 <= days < 92
    assert strength(shipped, "dormant-wakes", {"silent_days": days, "amount": 5_000.0}) > 0
