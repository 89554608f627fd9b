"""What a bank sends, what must become of it, and what a log with a hole must come to."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from hypothesis import event
from tests.streaming.flow import Sighting
from tests.streaming.world import (
    CAPACITY,
    PUBLISHED,
    REACH,
    SETS,
    TOPICS,
    Record,
)

from sluicegate.errors import Problem
from sluicegate.judging.patterns import version_of
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.words import words_text
from sluicegate.streaming.legs import unpack
from sluicegate.streaming.partition import Partition

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


ACCOUNTS = ["A", "B", "C", "D", "E", "F", "G"]


class Told(NamedTuple):
    """One record of the bank: a payment, or what goes wrong with one."""

    what: str
    payer: str | None
    payee: str | None
    minor: int
    back: int


def story_of(draw: random.Random) -> list[Told]:
    """What a bank sends on one partition."""
    return [
        Told(
            draw.choice(["new"] * 8 + ["again", "reused", "junk"]),
            draw.choice([*ACCOUNTS, None]),
            draw.choice(ACCOUNTS),
            draw.choice([1, 5_000, 90_000, 2_000_000]),
            draw.randint(1, REACH + 2),
        )
        for _ in range(draw.randint(6, 20))
    ]


def transactions_of(source: int, story: Sequence[Told]) -> list[Record]:
    """The story as a partition of the transactions topic."""
    records: list[Record] = []
    for at, told in enumerate(story):
        earlier = records[max(0, at - told.back)].body if at else b"{}"
        if told.what == "new":
            body = _payment(f"{source}-{at}", at, told)
        elif told.what == "again":
            body = earlier
        elif told.what == "reused":
            name = json.loads(earlier).get("id", "R") if earlier != b"{junk" else "R"
            body = _payment(name, at, told)
        else:
            body = b"{junk"
        records.append(Record(source, at, body))
    return records


def _payment(name: str, at: int, told: Told) -> bytes:
    return json.dumps(
        {
            "id": name,
            "occurred_at": f"2026-03-08T{10 + at // 60:02}:{at % 60:02}:00+08:00",
            "amount": f"{told.minor // 100}.{told.minor % 100:02}",
            "payer_account": told.payer,
            "payee_account": told.payee if told.payee != told.payer else None,
        }
    ).encode()


class Books(NamedTuple):
    """What must become of the bank's records."""

    legs: Counter[Sighting]
    dead: set[tuple[int, int, str]]


def told_in(draw: random.Random) -> list[Record]:
    """Profiles, directives that are added, changed and ended, and sets that are published."""
    told, counts = [], Counter[str]()
    for at in range(draw.randint(0, 12)):
        topic = draw.choice([TOPICS.accounts, *2 * [TOPICS.directives], TOPICS.patterns])
        if topic == TOPICS.patterns:
            content = draw.choice(sorted(PUBLISHED))
            told.append(Record(0, counts[topic], content, topic))
            counts[topic] += 1
            continue
        account = draw.choice(ACCOUNTS)
        if topic == TOPICS.accounts:
            body = {"account": account, "birth_year": 1950 + at}
        else:
            kind = draw.choice(["involved", "whitelisted"])
            other = draw.choice([each for each in ACCOUNTS if each != account])
            body = {
                "id": draw.choice(["1", "2"]),
                "account": account,
                "kind": kind,
                "action": draw.choice(["add", "add", "end"]),
                "reason": "a story",
                "issued_at": "2026-03-08T00:00:00Z",
                "expires_at": "2026-03-09T00:00:00Z",
                **({"counterparty": other, "patterns": ["p"]} if kind == "whitelisted" else {}),
            }
        told.append(Record(0, counts[topic], json.dumps(body).encode(), topic))
        counts[topic] += 1
    return told


def active_of(told: Sequence[Record]) -> str:
    """The set that was published last; "" if none was."""
    published = [record.body.decode() for record in told if record.topic() == TOPICS.patterns]
    return version_of(published[-1]) if published else ""


def assert_all_is_held(told: Sequence[Record], memories: Sequence[AccountMemory]) -> None:
    """The last word of each profile and directive is in memory, whoever died on its way."""
    born: dict[str, int] = {}
    holds: dict[tuple[str, str, str], bool] = {}
    pairs: dict[tuple[str, str], str] = {}
    for record in told:
        if record.topic() == TOPICS.patterns:
            continue
        said = json.loads(record.body)
        account = said["account"]
        if record.topic() == TOPICS.accounts:
            born[account] = said["birth_year"]
            continue
        key, added = (account, said["id"]), said["action"] == "add"
        if before := pairs.pop(key, None):
            holds[before, said["id"], account] = False
        holds[*key, ""] = added
        if said["kind"] == "whitelisted":
            holds[said["counterparty"], said["id"], account] = added
            if added:
                pairs[key] = said["counterparty"]
    found_born: dict[str, int] = {}
    found: dict[tuple[str, ...], bool] = {}
    for memory in memories:
        years = memory.rows["birth_year"].tolist()
        found_born |= dict(zip(words_text(memory.rows["account"]), years, strict=True))
        records = memory.directives.records
        mirrors = np.where(records["is_mirrored"][:, None], records["counterparty"], 0)
        texts = (records["account"], records["id"], np.ascontiguousarray(mirrors))
        names = zip(*map(words_text, texts), strict=True)
        found |= dict(zip(names, (records["is_ended"] == 0).tolist(), strict=True))
    assert {account: year for account, year in found_born.items() if year} == born
    assert found == holds


def books_of(transactions: Sequence[Sequence[Record]]) -> Books:
    """By the rule as it is written: the same id within reach is a repeat, or a reuse."""
    books = Books(Counter(), set())
    for records in transactions:
        last: dict[str, tuple[int, dict[str, Any]]] = {}
        for record in records:
            if record.body in {b"{junk", b"{}"}:
                reason = "NOT_JSON" if record.body == b"{junk" else "MISSING_FIELD"
                books.dead.add((record.number, record.at, reason))
                continue
            content = json.loads(record.body)
            before = last.get(content["id"])
            last[content["id"]] = record.at, content
            if before is None or record.at - before[0] > REACH:
                _enter(books.legs, content)
            elif before[1] != content:
                books.dead.add((record.number, record.at, "ID_REUSED"))
    return books


def _enter(legs: Counter[Sighting], content: dict[str, Any]) -> None:
    for account, side in ((content["payer_account"], -1), (content["payee_account"], 1)):
        if account is not None:
            legs[Sighting(content["id"], account, side)] += 1


def assert_a_hole_is_refused(number: int, log: Sequence[bytes], at: int) -> None:
    """Without one message, a log is refused where it misses it, or loses an end and no more."""
    if not log:
        return
    lost = at % len(log)
    partition = Partition(number, AccountMemory(CAPACITY))
    seen: dict[tuple[int, int], list[int]] = defaultdict(list)
    for offset, value in enumerate([*log[:lost], *log[lost + 1 :]]):
        before = partition.memory.digest(), partition.place.model_dump_json()
        try:
            applied = partition.apply(offset, value, SETS[partition.place.activated])
        except Problem as problem:
            assert "has a hole" in problem.fact  # noqa: PT017
            assert (partition.memory.digest(), partition.place.model_dump_json()) == before
            event("a hole was refused")
            return
        assert applied is not None
        _note(seen, value, applied.legs)
    whole: dict[tuple[int, int], set[int]] = defaultdict(set)
    for value in log:
        _note_all(whole, value)
    for source, positions in whole.items():
        assert sorted(positions)[: len(seen[source])] == seen[source]


def _note(seen: dict[tuple[int, int], list[int]], value: bytes, legs: Any) -> None:
    source = int(unpack(value).source)
    for leg in legs:
        seen[source, int(leg["source_partition"])].append(int(leg["position"]))


def _note_all(whole: dict[tuple[int, int], set[int]], value: bytes) -> None:
    batch = unpack(value)
    for leg in batch.records:
        whole[int(batch.source), int(leg["source_partition"])].add(int(leg["position"]))
