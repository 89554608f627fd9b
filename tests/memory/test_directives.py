"""What the bank told of holders and what directives say, against the oracle and one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import NOON_MS, UTC_8, directive, profile, records, scorer
from tests.memory.oracle import DAY, Holder, Leg, Oracle, Order
from tests.memory.test_features_against_the_oracle import assert_near

from sluicegate.memory.accounts import AccountMemory, Scorer
from sluicegate.memory.features import FEATURE_INDEX
from sluicegate.memory.row import FLAG_INVOLVED, FLAG_PUNISHED
from sluicegate.memory.words import name_hash

NOON_S = NOON_MS // 1000
NEW_YEAR_S = 1_798_732_800  # 2026-12-31 16:00 UTC is New Year in China
OF_FACTS = {
    *("holder_kind", "holder_age", "open_days", "tier", "declared_income", "documents_expired"),
    *("enterprise_closed", "involved", "punished", "watched"),
    *("counterparty_involved", "counterparty_punished"),
}

ACCOUNTS = st.sampled_from(["A", "B"])
SECONDS = st.one_of(
    st.integers(NOON_S - 40 * DAY, NOON_S + 400 * DAY),
    st.sampled_from([NEW_YEAR_S - 1, NEW_YEAR_S, 951_782_400, 4_102_444_799]),
)


def maybe(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), values)


HOLDERS = st.builds(
    Holder,
    kind=maybe(st.integers(1, 3)),
    birth_year=maybe(st.integers(1900, 2026)),
    opened_day=maybe(SECONDS.map(lambda second: second // DAY)),
    tier=maybe(st.integers(0, 9)),
    income=maybe(st.integers(1, 1_000_000)),
    documents_day=maybe(SECONDS.map(lambda second: second // DAY)),
    status=maybe(st.integers(1, 4)),
)
ORDERS = st.builds(
    Order,
    id=st.sampled_from(["1", "2", "3"]),
    account=ACCOUNTS,
    kind=st.sampled_from(["involved", "punished", "watched", "whitelisted"]),
    until_s=maybe(SECONDS),
    ended=st.booleans(),
)
LEGS = st.builds(
    Leg,
    account=ACCOUNTS,
    other=st.sampled_from([None, "X"]),
    inflow=st.booleans(),
    at_ms=SECONDS.map(lambda second: second * 1000),
    minor=st.just(100),
    other_involved=st.booleans(),
    other_punished=st.booleans(),
)


@given(st.lists(st.one_of(LEGS, ORDERS, st.tuples(ACCOUNTS, HOLDERS)), max_size=25))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_what_is_told_of_accounts_is_seen_as_the_oracle_sees_it(
    events: list[Leg | Order | tuple[str, Holder]],
) -> None:
    memory, oracle = AccountMemory(5), Oracle(UTC_8)
    for event in events:
        match event:
            case Leg():
                stepped = memory.step(records([event]), scorer(), partition=0, log_offset=0)
                assert_near(stepped.hit_features[0], oracle.features(event), OF_FACTS)
                oracle.remember(event)
            case Order():
                memory.direct(directive(event))
                oracle.orders[event.account, event.id] = event
            case (account, holder):
                memory.learn(profile(account, holder))
                oracle.holders[account] = holder
    assert len(memory.directives) == len(oracle.orders)


def out(account: str, other: str | None, at_s: int = NOON_S, minor: int = 200_000) -> Leg:
    return Leg(account, other, inflow=False, at_ms=at_s * 1000, minor=minor)


def judged(memory: AccountMemory, leg: Leg, by: Scorer) -> float:
    return float(memory.judge(records([leg]), by)[0][0])


NAMED = Scorer(scorer().kernel, 1, 0.0, UTC_8, np.array([name_hash("above-a-thousand")], np.uint32))


def whitelist(id_: str = "w", **changed: object) -> Order:
    said: dict[str, object] = {
        "id": id_,
        "account": "A",
        "kind": "whitelisted",
        "patterns": ("above-a-thousand",),
        **changed,
    }
    return Order(**said)  # type: ignore[arg-type]


def test_a_whitelist_suppresses_the_patterns_it_names() -> None:
    memory = AccountMemory(5)
    assert judged(memory, out("A", "X"), NAMED) == 0.5
    memory.direct(directive(whitelist(patterns=("another", "above-a-thousand"))))
    scores, _, strengths = memory.judge(records([out("A", "X"), out("B", "X")]), NAMED)
    assert scores.tolist() == [0.0, 0.5]
    assert strengths[:, 0].tolist() == [0.0, 0.5]
    memory.direct(directive(whitelist(patterns=("another",))))
    assert judged(memory, out("A", "X"), NAMED) == 0.5


def test_it_is_counted_where_a_whitelist_changed_a_score() -> None:
    memory = AccountMemory(5)
    memory.direct(directive(whitelist(patterns=("above-a-thousand",))))
    memory.judge(records([out("A", "X")]), NAMED)
    assert memory.suppressed_legs == 0  # asked, not stepped
    memory.step(records([out("A", "X"), out("B", "X")]), NAMED, partition=0, log_offset=0)
    assert memory.suppressed_legs == 1


def test_a_whitelisted_pair_is_that_pair_alone() -> None:
    memory = AccountMemory(5)
    memory.direct(directive(whitelist(other="X")))
    assert judged(memory, out("A", "X"), NAMED) == 0.0
    assert judged(memory, out("A", "Y"), NAMED) == 0.5
    assert judged(memory, out("A", None), NAMED) == 0.5


def test_a_whitelist_expires_by_event_time_and_is_ended_by_its_own_id() -> None:
    memory = AccountMemory(5)
    memory.direct(directive(whitelist("1", until_s=NOON_S + 10)))
    assert judged(memory, out("A", "X", NOON_S + 9), NAMED) == 0.0
    assert judged(memory, out("A", "X", NOON_S + 10), NAMED) == 0.5
    memory.direct(directive(whitelist("2")))
    memory.direct(directive(whitelist("1", ended=True)))
    assert judged(memory, out("A", "X", NOON_S), NAMED) == 0.0
    memory.direct(directive(whitelist("2", ended=True)))
    assert judged(memory, out("A", "X", NOON_S), NAMED) == 0.5


def test_an_arrival_says_that_its_payer_is_involved_or_punished() -> None:
    memory = AccountMemory(5)
    memory.direct(directive(Order("1", "A", "involved")))
    memory.direct(directive(Order("2", "B", "punished", until_s=NOON_S)))
    legs = records([out("A", "X"), out("B", "X", NOON_S - 1), out("B", "X"), out("C", "X")])
    arrivals = memory.step(legs, scorer(), partition=0, log_offset=0).arrivals
    assert arrivals["flags"].tolist() == [FLAG_INVOLVED, FLAG_PUNISHED, 0, 0]


def test_an_account_that_is_only_known_by_name_has_no_past() -> None:
    """A profile may come before the first leg, and directives for accounts of other banks."""
    memory = AccountMemory(5)
    memory.learn(profile("A", Holder(kind=1)))
    memory.direct(directive(Order("1", "B", "watched")))
    assert len(memory) == 2
    for account in "AB":
        _, features, _ = memory.judge(records([out(account, "X")]), scorer())
        assert np.isnan(features[0][FEATURE_INDEX["age_days"]])


def test_what_changed_is_taken_once_and_all_of_it_after_a_mark() -> None:
    memory = AccountMemory(50)
    for number in range(40):
        memory.direct(directive(Order(str(number), f"A{number % 7}", "watched")))
    parts = list(memory.directives.take_dirty(25))
    assert [len(part) for part in parts] == [25, 15]
    assert list(memory.directives.take_dirty(25)) == []
    memory.direct(directive(Order("3", "A3", "watched", ended=True)))
    (part,) = memory.directives.take_dirty(25)
    assert part["is_ended"].tolist() == [1]
    memory.directives.mark()
    assert sum(map(len, memory.directives.take_dirty(25))) == 40


def test_the_digest_holds_what_is_known_and_not_the_order_in_which_it_came() -> None:
    orders = [Order("1", "A", "involved"), Order("2", "A", "watched"), Order("1", "B", "punished")]
    memories = [AccountMemory(5), AccountMemory(5)]
    for memory, told in zip(memories, (orders, orders[::-1]), strict=True):
        for order in told:
            memory.direct(directive(order))
    assert memories[0].digest() == memories[1].digest()
    before = memories[0].digest()
    memories[0].direct(directive(Order("2", "A", "watched", ended=True)))
    ended = memories[0].digest()
    assert ended != before
    memories[0].learn(profile("A", Holder(tier=0)))
    assert memories[0].digest() != ended
