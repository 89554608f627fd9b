"""Profiles and directives as records of the legs log, and the marks that the router sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.domain.test_told import PROFILE, WHITELIST
from tests.memory.legs import NOON_MS, directive, records
from tests.memory.oracle import Leg, Order

from sluicegate.domain.directive import Directive, parse_directive
from sluicegate.domain.fields import Rules
from sluicegate.domain.profile import Profile, parse_profile
from sluicegate.memory.row import FLAG_INVOLVED, FLAG_PUNISHED, FOR_EVER
from sluicegate.memory.words import name_hash, words_text
from sluicegate.streaming.flagged import Flagged
from sluicegate.streaming.legs import RecordType, Source, unpack
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.routing import Chains
from sluicegate.streaming.telling import directive_records, no_profile, profile_record

if TYPE_CHECKING:
    from sluicegate.memory.accounts import Records

NOON_S = NOON_MS // 1000
UTC_8 = 8 * 3_600


def profiled(**changed: object) -> Records:
    read = parse_profile(json.dumps({**PROFILE, **changed}).encode(), 0, Rules())
    assert isinstance(read, Profile)
    return profile_record(read, 2, 17, UTC_8)


def directed(before: str | None = None, **changed: object) -> Records:
    read = parse_directive(json.dumps({**WHITELIST, **changed}).encode(), 0, Rules())
    assert isinstance(read, Directive)
    return directive_records(read, 2, 17, before)


def test_a_profile_becomes_a_record() -> None:
    (record,) = profiled(enterprise_status="cancelled")
    assert words_text(record["account"][None]) == [PROFILE["account"]]
    assert (record["position"], record["source_partition"]) == (17, 2)
    assert (record["birth_year"], record["income"], record["holder_kind"]) == (1951, 4_200, 1)
    assert record["standing"] == 3 + 8 * 3
    assert record["opened_day"] == 18_020
    assert profiled(opened_at="2019-05-04T15:59:59Z")["opened_day"] == 18_020
    assert profiled(opened_at="2019-05-04T16:00:00Z")["opened_day"] == 18_021
    assert record["documents_day"] == 22_310
    assert profiled(documents_expire_on="1950-01-01")["documents_day"] == 1
    assert profiled(documents_expire_on="2999-12-31")["documents_day"] == 65_535


def test_of_a_deleted_profile_nothing_is_known() -> None:
    (record,) = no_profile("A", 1, 5)
    nothing = ("income", "opened_day", "documents_day", "birth_year", "holder_kind", "standing")
    assert [record[name] for name in nothing] == [0] * 6


def test_a_whitelisted_pair_is_told_to_both_accounts() -> None:
    own, mirrored = directed()
    accounts = [WHITELIST["account"], WHITELIST["counterparty"]]
    assert words_text(np.stack([own["account"], own["counterparty"]])) == accounts
    assert words_text(np.stack([mirrored["counterparty"], mirrored["account"]])) == accounts
    for record in (own, mirrored):
        assert record["until_s"] == 1_780_243_200
        assert record["patterns"].tolist() == [name_hash("far-above-own-largest"), *[0] * 7]
        assert not record["is_ended"]


def test_an_end_without_the_other_account_ends_it_there_too() -> None:
    own, mirrored = directed(WHITELIST["counterparty"], action="end", counterparty=None)
    assert words_text(mirrored["account"][None]) == [WHITELIST["counterparty"]]
    assert (own["is_ended"], mirrored["is_ended"]) == (1, 1)


def test_a_pair_that_is_changed_ends_with_the_account_before() -> None:
    made = directed(before="OLD")
    ended = dict(zip(words_text(made["account"]), made["is_ended"].tolist(), strict=True))
    assert ended == {WHITELIST["account"]: 0, WHITELIST["counterparty"]: 0, "OLD": 1}


def test_what_never_expires_holds_for_ever() -> None:
    (record,) = directed(kind="involved", patterns=None, counterparty=None, expires_at=None)
    assert record["until_s"] == FOR_EVER


def test_what_is_told_goes_to_its_accounts_partitions_and_is_chained() -> None:
    chains = Chains(3, Source.DIRECTIVES)
    seen: dict[int, int] = {}
    for position in range(40):
        order = directive(Order(str(position), f"A{position % 9}", "watched"))
        order["position"], order["source_partition"] = position, 1
        for target, value in chains.told(RecordType.DIRECTIVES, order):
            batch = unpack(value)
            assert (batch.type, batch.source) == (RecordType.DIRECTIVES, Source.DIRECTIVES)
            assert {partition_of(a, 3) for a in words_text(batch.records["account"])} == {target}
            (link,) = batch.links
            assert (link.first, link.last, link.previous) == (
                position,
                position,
                seen.get(target, -1),
            )
            seen[target] = position
            assert not batch.has_legs


ORDERS = st.builds(
    Order,
    id=st.sampled_from(["1", "2"]),
    account=st.sampled_from(["A", "B", "C"]),
    kind=st.sampled_from(["involved", "punished", "watched"]),
    until_s=st.one_of(st.none(), st.integers(NOON_S - 2, NOON_S + 2)),
    ended=st.booleans(),
)


@given(st.lists(ORDERS, max_size=12), st.integers(NOON_S - 3, NOON_S + 3))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_legs_are_marked_by_what_holds_of_their_counterparty(
    orders: list[Order], second: int
) -> None:
    flagged = Flagged()
    last: dict[tuple[str, str], Order] = {}
    for order in orders:
        flagged.take(directive(order))
        last[order.account, order.id] = order
    legs = [
        Leg("X", other, inflow=False, at_ms=second * 1000, minor=1)
        for other in ("A", "B", "C", "D", None)
    ]
    made = records(legs)
    before = made["flags"].copy()
    flagged.mark(made)
    for leg, flags in zip(legs, (made["flags"] ^ before).tolist(), strict=True):
        kinds = {
            each.kind for each in last.values() if each.account == leg.other and each.holds(leg)
        }
        expected = FLAG_INVOLVED * ("involved" in kinds) | FLAG_PUNISHED * ("punished" in kinds)
        assert flags == expected
