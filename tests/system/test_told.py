"""What banks and police tell of accounts, through a pipeline at work, whoever is killed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition
from tests.system.test_state_tools import asked, digest, said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.pipeline import Part, Pipeline

pytestmark = pytest.mark.broker

VICTIM, MULE, SHOP, OLD = "6222020000000000001", "6217000000000000009", "SHOP", "OLD"


class Teller:
    """Sends payments one by one, each with an id of its own, and reads what was said of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.sent = 0

    def pay(self, payer: str, payee: str, amount: str) -> str:
        """Sends one payment and waits until it is scored; its id."""
        self.sent += 1
        name = f"P{self.sent}"
        payment = {
            "id": name,
            "occurred_at": datetime.now(UTC).isoformat(),
            "amount": amount,
            "payer_account": payer,
            "payee_account": payee,
        }
        self.pipeline.send([json.dumps(payment).encode()], partition=self.sent % 4)
        self.pipeline.until_scored(self.sent)
        return name

    def patterns(self, name: str) -> dict[str, set[str]]:
        """The patterns of the alerts on that payment, by the alert's account."""
        return {
            alert.account: {reason.pattern for reason in alert.reasons}
            for alert in self.pipeline.alerts().values()
            if alert.transaction_id == name
        }


def until_told(pipeline: Pipeline) -> None:
    """Waits until the router has passed on all that is told, and the worker has it."""
    topics = pipeline.topics
    group = f"{pipeline.settings.topics.prefix}{pipeline.settings.router.group}"
    asking = Consumer({"bootstrap.servers": pipeline.bootstrap, "group.id": group})
    places = [
        TopicPartition(topic, number)
        for topic in (topics.accounts, topics.directives)
        for number in range(pipeline.settings.topics.partitions)
    ]
    places.append(TopicPartition(topics.patterns, 0))

    def is_passed_on() -> bool:
        return all(
            max(place.offset, 0) == pipeline.end_of(place.topic, place.partition)[1]
            for place in asking.committed(places, timeout=10)
        )

    def is_applied() -> bool:
        applied = pipeline.progress()
        return all(
            applied.get(number, -1) + 1 >= pipeline.end_of(topics.legs, number)[1]
            for number in range(pipeline.settings.topics.partitions)
        )

    pipeline.until(is_passed_on, "the router to pass on what is told")
    pipeline.until(is_applied, "the worker to take what is told")
    asking.close()


def restart(pipeline: Pipeline, part: Part, name: str) -> Part:
    part.kill()
    return pipeline.start(name)


def test_what_is_told_counts_from_the_next_payment_on(pipeline: Pipeline, tmp_path: Path) -> None:
    router, worker = pipeline.start("router"), pipeline.start("worker")
    teller = Teller(pipeline)
    assert teller.patterns(teller.pay(VICTIM, MULE, "100.00")) == {}

    said(pipeline, "directives", "add", MULE, "involved", "--reason", "case 7", "--id", "I1")
    until_told(pipeline)
    named = teller.patterns(teller.pay(VICTIM, MULE, "100.00"))
    assert named == {VICTIM: {"pays-involved-account"}, MULE: {"involved-account-moves"}}
    passed_on = teller.patterns(teller.pay(MULE, SHOP, "100.00"))
    assert "paid-by-involved-account" in passed_on[SHOP]

    # whoever dies: the router reads again who is involved, the worker restores it
    router = restart(pipeline, router, "router")
    worker = restart(pipeline, worker, "worker")
    assert teller.patterns(teller.pay(VICTIM, MULE, "100.00")) == named

    profiles = tmp_path / "profiles.csv"
    profiles.write_text(f"account,holder_kind,birth_year\n{OLD},person,1950\n", encoding="utf-8")
    assert said(pipeline, "accounts", "import", str(profiles)) == "1 profiles sent\n"
    pipeline.send(
        [b'{"account": "OLD", "birth_year": "x"}', b"{"],
        topic=pipeline.topics.accounts,
        key=OLD,
    )
    until_told(pipeline)
    for _ in range(5):
        teller.pay(OLD, SHOP, "20.00")
    warned = teller.patterns(teller.pay(OLD, "STRANGER", "60000.00"))
    assert warned[OLD] >= {"elderly-pays-stranger", "far-above-own-largest"}

    said(
        *(pipeline, "directives", "add", OLD, "whitelisted", "--counterparty", "HOUSE"),
        *("--pattern", "elderly-pays-stranger", "--pattern", "far-above-own-largest"),
        *("--until", "1d", "--reason", "buys a house", "--id", "W1"),
    )
    said(pipeline, "directives", "end", "I1")
    until_told(pipeline)
    assert teller.patterns(teller.pay(OLD, "HOUSE", "900000.00")).get(OLD) is None
    assert teller.patterns(teller.pay(VICTIM, MULE, "100.00")) == {}

    listed = json.loads(said(pipeline, "directives", "list", "--all", "--json"))
    assert [(each["id"], each["action"], each["in_force"]) for each in listed] == [
        ("W1", "add", True),
        ("I1", "end", False),
    ]
    refused = pipeline.messages(pipeline.topics.dead_letter)
    assert [dict(each.headers() or [])["reason"] for each in refused] == [
        b"WRONG_TYPE",
        b"NOT_JSON",
    ]
    books = pipeline.until_settled(teller.sent)
    assert (books.dead_lettered, books.lost) == (0, 0)

    live = digest(pipeline)
    for part in (router, worker):
        assert part.stop() == 0
    assert digest(pipeline, "--checkpointed") == live
    for number in range(3):
        state = pipeline.checkpointed(number)
        assert state == pipeline.replayed(number, state.applied)[0]


def test_a_command_that_cannot_mean_it_sends_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    some = tmp_path / "some.ndjson"
    some.write_text('{"account": "A"}\n{"account": "B", "tier": 99}\n', encoding="utf-8")
    refused = asked(pipeline, "accounts", "import", str(some))
    assert refused.returncode == 1
    assert "row 2 is refused, so nothing was sent" in refused.stderr
    assert pipeline.end_of(pipeline.topics.accounts) == (0, 0)

    for arguments, told in (
        (("add", "A", "whitelisted", "--reason", "r", "--until", "1d"), "needs: patterns"),
        (
            *(("add", "A", "whitelisted", "--reason", "r", "--until", "1d", "--pattern", "dorm"),),
            "there is no pattern 'dorm'",
        ),
        (("end", "nothing"), "there is no directive 'nothing' to end"),
        (("import", str(tmp_path / "none.csv")), "there is no such file"),
    ):
        done = asked(pipeline, "directives", *arguments)
        assert done.returncode == 1, done.stdout
        assert told in done.stderr
    wrong = asked(pipeline, "directives", "add", "A", "hated", "--reason", "r")
    assert wrong.returncode == 2
