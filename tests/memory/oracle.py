"""The feature table once more: plain Python over every leg an account ever had, slow and plain.

It shares no code with the kernel and keeps no rings, sketches or running values. Two things it
takes from the definitions, because they are definitions: local days with blocks of 30 of them, and
"Ring": the 16 latest legs of a side in order of arrival. `reach=None` looks past the ring.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

HOUR = 3_600
DAY = 86_400
SCALES = {"1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
BANDS_MINOR = ((900_000, 1_000_000), (1_900_000, 2_000_000), (4_900_000, 5_000_000))
SKETCH_BITS = 64
DEEPEST = 255
RING = 16
NULL = math.nan

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg; `other` is None for cash; `provenance` is by feature name, what lacks is NULL."""

    account: str
    other: str | None
    inflow: bool
    at_ms: int
    minor: int
    provenance: Mapping[str, float] = field(default_factory=dict)
    other_involved: bool = False
    other_punished: bool = False

    @property
    def second(self) -> int:
        return self.at_ms // 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """What the bank told of an account's holder; None is not known."""

    kind: int | None = None
    birth_year: int | None = None
    opened_day: int | None = None
    tier: int | None = None
    income: float | None = None
    documents_day: int | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A directive; `until_s` None holds for ever, `other` and `patterns` are a whitelist's."""

    id: str
    account: str
    kind: str
    until_s: int | None = None
    ended: bool = False
    other: str | None = None
    patterns: tuple[str, ...] = ()

    def holds(self, leg: Leg) -> bool:
        return not self.ended and (self.until_s is None or leg.second < self.until_s)


@dataclass(slots=True)
class Past:
    """A leg that is remembered, with what was known when it came."""

    leg: Leg
    pair_new: float
    covered: float  # covered_3d of an outflow, payer_covered_3d of an inflow
    depth: float  # of an inflow
    rest: int  # minor units of an inflow that have not left again


@dataclass(frozen=True)
class Moment:
    """A leg, and all that its account remembers when it comes, in order of arrival."""

    leg: Leg
    past: Sequence[Past]
    utc_offset_s: int
    reach: int | None

    @cached_property
    def anchor(self) -> int:
        return max(self.leg.second, *(p.leg.second for p in self.past), self.leg.second)

    def age(self, leg: Leg) -> int:
        return self.anchor - leg.second

    def side(self, *, inflow: bool) -> list[Past]:
        return [p for p in self.past if p.leg.inflow == inflow]

    def ring(self, *, inflow: bool) -> list[Past]:
        side = self.side(inflow=inflow)
        return side if self.reach is None else side[-self.reach :]

    def ring_legs(self, *, inflow: bool, within: int) -> list[Leg]:
        """Legs of one side in the ring, this leg included, of the last `within` seconds."""
        legs = [p.leg for p in self.ring(inflow=inflow)]
        legs += [self.leg] * (self.leg.inflow == inflow)
        return [leg for leg in legs if self.age(leg) <= within]

    def day(self, second: int) -> int:
        return (second + self.utc_offset_s) // DAY

    def day_legs(self, *, inflow: bool, days: int) -> list[Leg]:
        """Legs of one side, this leg included, of today and the `days - 1` local days before."""
        legs = [p.leg for p in self.past] + [self.leg]
        first = self.day(self.anchor) - days + 1
        return [leg for leg in legs if leg.inflow == inflow and self.day(leg.second) >= first]

    def of_blocks(self, legs: Iterable[Leg], blocks: int) -> list[Leg]:
        """Those of this block of 30 local days and the `blocks - 1` before."""
        first = self.day(self.anchor) // 30 - blocks + 1
        return [leg for leg in legs if self.day(leg.second) // 30 >= first]


class Oracle:
    """Remembers legs of all accounts and tells the features of the next one."""

    def __init__(self, utc_offset_s: int, reach: int | None = None) -> None:
        self.utc_offset_s = utc_offset_s
        self.reach = reach
        self.accounts: dict[str, list[Past]] = {}
        self.holders: dict[str, Holder] = {}
        self.orders: dict[tuple[str, str], Order] = {}
        """By account and id: a later one of the same id takes the place of the earlier."""
        self.past_scores: dict[str, tuple[float, int]] = {}
        """By account: the highest of late, and the anchor at which it was so much."""

    def moment(self, leg: Leg) -> Moment:
        return Moment(leg, self.accounts.get(leg.account, []), self.utc_offset_s, self.reach)

    def features(self, leg: Leg) -> Values:
        """Every feature of the table for this leg, by name."""
        moment = self.moment(leg)
        provenance = _provenance(leg)
        return {
            **_transaction(moment),
            **_activity(moment),
            **_sums(moment),
            **_counterparties(moment),
            **_match(moment),
            **_pass_through(moment),
            **_days(moment),
            **_largest(moment),
            **_decayed(moment),
            **_slow(moment),
            **_estimates(moment),
            **_long_ring(moment),
            **_blocks(moment),
            **_character(moment),
            **_holder(moment, self.holders.get(leg.account, Holder())),
            **_orders(
                leg,
                [order for (account, _), order in self.orders.items() if account == leg.account],
            ),
            **_unrivalled(leg),
            "returned_24h": _returned(moment),
            "past_score": self._past_score(moment),
            **provenance,
        }

    def remember(self, leg: Leg) -> None:
        """Adds the leg to its account; an outflow takes from the inflows that cover it."""
        features = self.features(leg)
        for inflow, taken in _covering(self.moment(leg)) if not leg.inflow else []:
            inflow.rest -= taken
        covered = features["payer_covered_3d" if leg.inflow else "covered_3d"]
        depth = min(features["chain_depth"], DEEPEST) if leg.inflow else NULL
        past = Past(leg, features["pair_new"], covered, depth, leg.minor if leg.inflow else 0)
        score = 0.5 if leg.minor > 1_000_00 else 0.0  # the pattern of the tests
        self.past_scores[leg.account] = max(features["past_score"], score), self.moment(leg).anchor
        self.accounts.setdefault(leg.account, []).append(past)

    def _past_score(self, moment: Moment) -> float:
        highest, at = self.past_scores.get(moment.leg.account, (0.0, moment.anchor))
        return float(highest * 0.5 ** ((moment.anchor - at) / (7 * DAY)))


def _holder(moment: Moment, holder: Holder) -> Values:
    day = moment.day(moment.anchor)
    year = (dt.date(1970, 1, 1) + dt.timedelta(days=day)).year
    opened, born, valid, status = (
        holder.opened_day,
        holder.birth_year,
        holder.documents_day,
        holder.status,
    )
    return {
        "holder_kind": _or_null(holder.kind),
        "holder_age": NULL if born is None else year - born,
        "open_days": NULL if opened is None else float(max(0, day - opened)),
        "tier": _or_null(holder.tier),
        "declared_income": _or_null(holder.income),
        "documents_expired": NULL if valid is None else float(day > valid),
        "enterprise_closed": NULL if status is None else float(status in {3, 4}),
    }


def _orders(leg: Leg, orders: Sequence[Order]) -> Values:
    kinds = {order.kind for order in orders if order.holds(leg)}
    return {
        **{kind: float(kind in kinds) for kind in ("involved", "punished", "watched")},
        "counterparty_involved": float(leg.other_involved),
        "counterparty_punished": float(leg.other_punished),
    }


def _or_null(value: float | None) -> float:
    return NULL if value is None else float(value)


def deviation(moment: Moment) -> float:
    """The standard deviation behind amount_z."""
    return _mean_and_deviation(_logs(moment))[1]


def _yuan(minor: int) -> float:
    return minor / 100


def _transaction(moment: Moment) -> Values:
    leg = moment.leg
    met = {p.leg.other for p in moment.past}
    return {
        "amount": _yuan(leg.minor),
        "is_cash": float(leg.other is None),
        "local_hour": (leg.second + moment.utc_offset_s) % DAY / HOUR,
        "pair_new": NULL if leg.other is None else float(leg.other not in met),
    }


def _activity(moment: Moment) -> Values:
    seconds = [p.leg.second for p in moment.past]
    inflows = [p.leg.second for p in moment.side(inflow=True)]
    outflows = [p.leg.second for p in moment.side(inflow=False)]

    def since(times: list[int], which: Callable[[list[int]], int]) -> float:
        return float(moment.anchor - which(times)) if times else NULL

    return {
        "age_days": since(seconds, min) / DAY,
        "silent_days": since(seconds, max) / DAY,
        "since_inflow_s": since(inflows, max),
        "since_outflow_s": since(outflows, max),
        "inflow_count": float(len(inflows) + moment.leg.inflow),
        "outflow_count": float(len(outflows) + (not moment.leg.inflow)),
    }


def _sums(moment: Moment) -> Values:
    values = {}
    for name, inflow in (("inflow", True), ("outflow", False)):
        for window, seconds in (("1h", HOUR), ("24h", DAY)):
            legs = moment.ring_legs(inflow=inflow, within=seconds)
            values[f"{name}_{window}"] = _yuan(sum(leg.minor for leg in legs))
            values[f"{name}_count_{window}"] = float(len(legs))
    return values


def _counterparties(moment: Moment) -> Values:
    values = {}
    for name, inflow in (("sources", True), ("targets", False)):
        for window, seconds in (("8h", 8 * HOUR), ("24h", DAY)):
            legs = moment.ring_legs(inflow=inflow, within=seconds)
            values[f"{name}_{window}"] = float(len({leg.other for leg in legs} - {None}))
    earlier = [p.leg for p in moment.ring(inflow=moment.leg.inflow)]
    values["small_same_pair_24h"] = float(
        sum(
            leg.other is not None
            and leg.other == moment.leg.other
            and moment.age(leg) <= DAY
            and leg.minor <= 100_00
            for leg in earlier
        )
    )
    return values


def _match(moment: Moment) -> Values:
    opposite = [p.leg for p in reversed(moment.ring(inflow=not moment.leg.inflow))]
    newest = [leg.minor for leg in opposite if moment.age(leg) <= DAY]
    amount = moment.leg.minor
    gaps = [abs(sum(newest[:n]) - amount) / amount for n in range(1, len(newest) + 1)]
    smallest = min(gaps, default=NULL)
    return {
        "pass_through_gap_24h": smallest,
        "pass_through_legs_24h": float(gaps.index(smallest) + 1) if gaps else NULL,
    }


def _covering(moment: Moment) -> list[tuple[Past, int]]:
    """Inflows of the last 3 days, newest first, and how much this outflow takes from each."""
    left = moment.leg.minor
    takes = []
    for inflow in reversed(moment.ring(inflow=True)):
        if moment.age(inflow.leg) <= 3 * DAY:
            taken = min(inflow.rest, left)
            left -= taken
            takes.append((inflow, taken))
    return takes


def _pass_through(moment: Moment) -> Values:
    leg = moment.leg
    takes = [] if leg.inflow else _covering(moment)
    taken = {id(inflow): amount for inflow, amount in takes}
    hour = [p for p in moment.ring(inflow=True) if moment.age(p.leg) <= HOUR]
    total = sum(p.leg.minor for p in hour)
    rest = sum(p.rest - taken.get(id(p), 0) for p in hour)
    if leg.inflow and moment.age(leg) <= HOUR:
        total, rest = total + leg.minor, rest + leg.minor

    def covered(seconds: int) -> float:
        return sum(n for p, n in takes if moment.age(p.leg) <= seconds) / leg.minor

    if leg.inflow:
        arrives_with = _provenance(leg)["payer_chain_depth"]
        depth = 0.0 if math.isnan(arrives_with) else arrives_with
    elif covered(HOUR) >= 0.5:
        depth = 1 + max(p.depth for p, n in takes if n > 0 and moment.age(p.leg) <= HOUR)
    else:
        depth = 0.0
    return {
        "covered_1h": NULL if leg.inflow else covered(HOUR),
        "covered_24h": NULL if leg.inflow else covered(DAY),
        "covered_3d": NULL if leg.inflow else covered(3 * DAY),
        "passed_on_1h": (total - rest) / total if total else NULL,
        "chain_depth": depth,
    }


def _days(moment: Moment) -> Values:
    values = {}
    for name, inflow in (("inflow", True), ("outflow", False)):
        week = moment.day_legs(inflow=inflow, days=7)
        ten = [leg.minor for leg in moment.day_legs(inflow=inflow, days=10)]
        values[f"{name}_7d"] = _yuan(sum(leg.minor for leg in week))
        values[f"{name}_count_7d"] = float(len(week))
        values[f"large_{name}s_10d"] = float(sum(minor > 1_000_000 for minor in ten))
        values[f"band_{name}s_10d"] = float(
            sum(low <= minor < high for minor in ten for low, high in BANDS_MINOR)
        )
    return values


def _largest(moment: Moment) -> Values:
    values = {}
    for name, inflow in (("inflow", True), ("outflow", False)):
        legs = moment.of_blocks((p.leg for p in moment.side(inflow=inflow)), blocks=4)
        values[f"largest_{name}_91d"] = max((_yuan(leg.minor) for leg in legs), default=NULL)
    return values


def _decayed(moment: Moment) -> Values:
    values = {}
    for scale, tau in SCALES.items():
        for name, inflow in (("inflow", True), ("outflow", False)):
            legs = [p.leg for p in moment.side(inflow=inflow)]
            legs += [moment.leg] * (moment.leg.inflow == inflow)
            weights = [math.exp(-moment.age(leg) / tau) for leg in legs]
            values[f"{name}_count_decayed_{scale}"] = sum(weights, start=0.0)
            values[f"{name}_sum_decayed_{scale}"] = sum(
                (w * _yuan(leg.minor) for w, leg in zip(weights, legs, strict=True)), start=0.0
            )
    return values


def _logs(moment: Moment) -> list[float]:
    return [math.log(p.leg.minor) for p in moment.side(inflow=moment.leg.inflow)]


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """EWMA mean and deviation with weight 0.1, from the first value and 0."""
    if not values:
        return NULL, 0.0
    mean, variance = values[0], 0.0
    for value in values[1:]:
        off = value - mean
        mean += 0.1 * off
        variance = 0.9 * (variance + 0.1 * off**2)
    return mean, math.sqrt(variance)


def _ewma(weight: float, values: Iterable[float]) -> float:
    """Running share from 0; what is NULL is left out."""
    share = 0.0
    for value in values:
        if not math.isnan(value):
            share += weight * (value - share)
    return share


def _slow(moment: Moment) -> Values:
    logs = _logs(moment)
    mean, spread = _mean_and_deviation(logs)
    z = (math.log(moment.leg.minor) - mean) / spread if len(logs) >= 5 and spread >= 0.05 else NULL
    inflows, outflows = moment.side(inflow=True), moment.side(inflow=False)
    return {
        "amount_z": z,
        "new_source_share": _ewma(0.1, (p.pair_new for p in inflows)),
        "new_target_share": _ewma(0.1, (p.pair_new for p in outflows)),
        "suspicion_in": _ewma(0.05, (p.covered * p.pair_new for p in inflows)),
        "suspicion_out": _ewma(0.05, (p.covered * p.pair_new for p in outflows)),
    }


def _estimates(moment: Moment) -> Values:
    """What linear counting says of that many counterparties when no two share a bit."""
    values = {}
    legs = [p.leg for p in moment.past] + [moment.leg]
    for name, inflow in (("sources", True), ("targets", False)):
        side = (leg for leg in moment.of_blocks(legs, blocks=2) if leg.inflow == inflow)
        distinct = len({leg.other for leg in side} - {None})
        values[f"{name}_60d"] = SKETCH_BITS * math.log(SKETCH_BITS / (SKETCH_BITS - distinct))
    return {**values, "circle": max(values.values())}


def _returned(moment: Moment) -> float:
    leg = moment.leg
    if leg.inflow or leg.other is None:
        return NULL
    back = [p.leg for p in moment.ring(inflow=True) if p.leg.other == leg.other]
    return min(sum(each.minor for each in back if moment.age(each) <= DAY) / leg.minor, 1.0)


def _unrivalled(leg: Leg) -> Values:
    """Ideas where the population has too few legs for anything to be rare: what is brought."""
    brought = _provenance(leg)
    ideas = ("mule", "collector", "sleeper")
    return {
        **{idea: 0.0 if math.isnan(x := brought[f"payer_{idea}"]) else x for idea in ideas},
        **{f"{idea}_rarity": 0.0 for idea in ideas},
    }


def _long_ring(moment: Moment) -> Values:
    leg, inflow = moment.leg, moment.leg.inflow
    values = {}
    for name, side in (("sources", True), ("targets", False)):
        for window, seconds in (("1h", HOUR), ("10d", 10 * DAY)):
            legs = moment.ring_legs(inflow=side, within=seconds)
            values[f"{name}_{window}"] = float(len({each.other for each in legs} - {None}))
    earlier = [p.leg for p in moment.ring(inflow=inflow)]

    def like(legs: Iterable[Leg], share: float) -> float:
        return float(sum(abs(each.minor - leg.minor) <= share * leg.minor for each in legs))

    pair = [each for each in earlier if leg.other is not None and each.other == leg.other]
    paid = [each.minor for each in [*pair, leg] if moment.age(each) <= 5 * DAY]
    latest = max((p.leg.second for p in moment.past), default=0)
    burst = [
        p.leg.minor
        for side in (True, False)
        for p in moment.ring(inflow=side)
        if latest - p.leg.second <= 10 * DAY
    ]
    hour = moment.ring_legs(inflow=inflow, within=HOUR)
    return {
        **values,
        "same_pair_5d": _yuan(sum(paid)) if leg.other is not None else 0.0,
        "same_pair_near_7d": like((e for e in pair if moment.age(e) <= 7 * DAY), 0.05),
        "similar_24h": like((e for e in earlier if moment.age(e) <= DAY), 0.1),
        "similar_last_3": like(earlier[-3:], 0.1),
        "small_legs_1h": float(sum(each.minor < 1_000_00 for each in hour)),
        "burst_10d": _yuan(sum(burst)),
        "burst_legs_10d": float(len(burst)),
    }


def _blocks(moment: Moment) -> Values:
    legs = [p.leg for p in moment.past] + [moment.leg]
    this = moment.day(moment.anchor) // 30
    names = ("turnover_30d", "turnover_before_30d", "turnover_before_60d")
    return {
        name: _yuan(sum(e.minor for e in legs if moment.day(e.second) // 30 == this - back))
        for back, name in enumerate(names)
    }


def _character(moment: Moment) -> Values:
    past = [p.leg for p in moment.past]
    digits = Counter(str(leg.minor)[0] for leg in [*past, moment.leg])
    total = sum(digits.values())
    chi = sum(
        (digits[str(d)] - total * math.log10(1 + 1 / d)) ** 2 / (total * math.log10(1 + 1 / d))
        for d in range(1, 10)
    )
    local = [(leg.second + moment.utc_offset_s) % DAY for leg in past]
    return {
        "day_count_z": _day_count_z(moment),
        "night_share": _ewma(0.05, (float(not 5 * HOUR <= each < 23 * HOUR) for each in local)),
        "round_share": _ewma(0.05, (float(leg.minor % 100_000 == 0) for leg in past)),
        "benford": chi if total >= 50 else NULL,
    }


def _day_count_z(moment: Moment) -> float:
    """Counts of days in order of arrival: one is over when a leg of a later one comes."""
    counts: Counter[int] = Counter()
    over: list[float] = []
    latest: int | None = None
    for leg in [*(p.leg for p in moment.past), moment.leg]:
        day = moment.day(leg.second)
        if latest is not None and day > latest:
            over.append(float(counts[latest]))
        latest = day if latest is None else max(latest, day)
        counts[day] += 1
    mean, spread = _mean_and_deviation(over)
    today = float(counts[moment.day(moment.anchor)])
    return (today - mean) / spread if len(over) >= 5 and spread >= 0.5 else NULL


def _provenance(leg: Leg) -> Values:
    names = (
        "score", "covered_1h", "covered_3d", "chain_depth", "sources_24h", "targets_24h",
        "age_days", "pair_new", "amount_z", "pass_through_gap_24h", "suspicion_out", "silent_days",
        "mule", "collector", "sleeper", "circle",
    )  # fmt: skip
    known = leg.provenance if leg.inflow and leg.other is not None else {}
    return {f"payer_{name}": known.get(f"payer_{name}", NULL) for name in names}
