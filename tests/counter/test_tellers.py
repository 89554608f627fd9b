"""The load of the counter's benchmark: every check that is due is asked, and none is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.operations.broker import free_port
from sluicegate.operations.tellers import Tellers, request_of

if TYPE_CHECKING:
    from tests.counter.counter import RunningCounter

CHECK = {"amount": "200.00", "payer_account": "6222020000000000022"}


def test_every_check_is_asked_and_answered(counter: RunningCounter) -> None:
    address = ("127.0.0.1", counter.port)
    key = counter.key()["Authorization"].removeprefix("Bearer ")
    good = request_of(address, "/v1/checks", key, CHECK)
    bad = request_of(address, "/v1/checks", "no key", CHECK)
    tellers = Tellers(address)
    tellers.ask([good, good, bad], per_second=100, seconds=0.3)
    assert sorted(each.status for each in tellers.answered) == [200] * 20 + [401] * 10
    for each in tellers.answered:
        assert each.due <= each.sent <= each.answered
        assert each.status == 401 or each.told["verdict"] == "allow"


def test_what_nobody_answers_is_counted_as_lost() -> None:
    tellers = Tellers(("127.0.0.1", free_port()))
    tellers.ask([b"x"], per_second=100, seconds=0.1)
    assert [each.status for each in tellers.answered] == [0] * 10
