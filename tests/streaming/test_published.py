"""A published pattern set takes effect at one place of each log, and again there in a replay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from tests.memory.legs import NOON_MS, scorer
from tests.streaming.flow import Payment, hits_of, messages_of, new_partition

from sluicegate.errors import Problem
from sluicegate.judging.kernels import compile_patterns
from sluicegate.judging.patterns import parse_patterns, published_patterns, version_of
from sluicegate.settings import Settings
from sluicegate.streaming.checkpoint import Restorer, chunks, claim
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.legs import RecordType, Source
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.routing import Chains
from sluicegate.streaming.scoring import scoring_by
from sluicegate.streaming.telling import activation_record
from sluicegate.streaming.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.streaming.flow import Hit

    from sluicegate.memory.accounts import Scorer
    from sluicegate.operations.broker import EmbeddedBroker

OWNER: Final = b"o" * 16
STRICT: Final = "0123456789abcdef"
SETS: Final = {"": scorer(threshold=0.4), STRICT: scorer(threshold=0.0)}
"""By the second each leg is a hit."""

TEXT: Final = """
[thresholds]
alert = 0.5
[terms]
half = "amount / 2"
[[pattern]]
name = "large"
title = { zh = "大", en = "Large" }
side = "payer"
when = "half > 500"
weight = 0.6
reason = { zh = "大", en = "{amount:money}" }
source = "test"
"""
SHADOW: Final = TEXT + TEXT[TEXT.index("[[pattern]]") :].replace("large", "small").replace(
    "half > 500", "half > 1"
).replace("weight", "shadow = true\nweight")


def log_of() -> list[bytes]:
    """Departures, an activation, departures, the activation again as after a crash, departures."""
    payments = Chains(1)
    patterns = Chains(1, Source.PATTERNS)
    values = []
    for turn in range(3):
        paid = [
            Payment(
                f"T{turn}-{n}", f"P{n % 3}", f"Q{n % 2}", 90_000 + 20_000 * (n % 2), NOON_MS + turn
            )
            for n in range(6)
        ]
        places = range(6 * turn, 6 * turn + 6)
        values += [value for _, value in messages_of(payments, paid, [0] * 6, list(places))]
        if turn == 0:
            record = activation_record(STRICT, 0, 4)
            told = [value for _, value in patterns.to_all(RecordType.ACTIVATIONS, record)]
            values += told
    return [*values, told[0]]


def apply(partition: Partition, values: Sequence[bytes], first: int = 0) -> list[list[Hit]]:
    hits = []
    for offset, value in enumerate(values, first):
        applied = partition.apply(offset, value, SETS[partition.place.activated])
        assert applied is not None
        hits.append(hits_of(applied))
    return hits


def test_what_follows_the_record_is_judged_by_the_set_and_what_is_before_is_not() -> None:
    partition = new_partition()
    before, activation, after, later, again = apply(partition, log_of())
    assert [len(before), len(activation), len(after), len(later), len(again)] == [3, 0, 6, 6, 0]
    assert partition.place.activated == STRICT
    assert partition.place.sources["p0"] == 4


@pytest.mark.parametrize("cut", range(5))
def test_a_replay_and_a_restored_state_change_at_the_same_place(cut: int) -> None:
    log = log_of()
    whole, first = new_partition(), new_partition()
    hits = apply(whole, log)
    assert apply(first, log[:cut]) == hits[:cut]
    restorer = Restorer(new_partition().memory)
    for value in [claim(OWNER, "w"), *chunks(first.memory, first.place, OWNER, 1)]:
        restorer.feed(value)
    restored = Partition(0, restorer.memory, restorer.place)
    assert restored.place.activated == first.place.activated
    assert apply(restored, log[cut:], cut) == hits[cut:]
    assert restored.memory.digest() == whole.memory.digest()
    assert restored.place == whole.place


def test_a_lost_activation_is_noticed() -> None:
    patterns = Chains(2, Source.PATTERNS)
    list(patterns.to_all(RecordType.ACTIVATIONS, activation_record(STRICT, 0, 4)))
    (_, second), _ = patterns.to_all(RecordType.ACTIVATIONS, activation_record(STRICT, 0, 9))
    with pytest.raises(Problem, match="has a hole"):
        new_partition().apply(0, second, SETS[""])


def test_every_partition_is_told_the_same() -> None:
    patterns = Chains(3, Source.PATTERNS)
    told = dict(patterns.to_all(RecordType.ACTIVATIONS, activation_record(STRICT, 0, 4)))
    assert sorted(told) == [0, 1, 2]
    assert len(set(told.values())) == 1


def test_what_is_published_is_the_set_again() -> None:
    written = parse_patterns(TEXT, "new.toml")
    read = published_patterns(written.content, written.version)
    assert (read.version, read.content) == (written.version, written.content)
    with pytest.raises(Problem, match="has another hash"):
        published_patterns(written.content, STRICT)
    with pytest.raises(Problem, match="cannot be read"):
        published_patterns("{}", version_of("{}"))


def scorer_of(text: str) -> Scorer:
    return scoring_by(parse_patterns(text, "test"), Settings()).scorer


def test_a_shadow_is_judged_and_counted_and_changes_no_score() -> None:
    by, alone = scorer_of(SHADOW), scorer_of(TEXT)
    paid = [Payment(f"T{n}", "A", "B", minor) for n, minor in enumerate((100, 300, 200_000))]
    ((_, value),) = messages_of(Chains(1), paid, [0] * 3, [0, 1, 2])
    shadowed, plain = new_partition(), new_partition()
    applied, without = shadowed.apply(0, value, by), plain.apply(0, value, alone)
    assert applied is not None
    assert without is not None
    np.testing.assert_array_equal(applied.stepped.scores, without.stepped.scores)
    assert applied.stepped.shadow_fired.tolist() == [2]
    assert applied.stepped.hit_strengths.tolist() == [[0.6, -0.6]]
    assert shadowed.memory.digest() == plain.memory.digest()


def test_the_kernel_and_polars_agree_on_shadows() -> None:
    from sluicegate.judging.trial import try_patterns  # noqa: PLC0415

    done = try_patterns(compile_patterns(parse_patterns(SHADOW, "test")), 200, 1)
    assert min(done.fired.values()) > 0
    assert replace(scorer_of(TEXT), threshold=0.1).shadows.tolist() == []


@pytest.mark.broker
def test_a_set_that_nobody_published_stops_and_names_the_way_out(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    settings = Settings().changed(topics={"prefix": topic_prefix})
    create_topics(settings, broker.bootstrap)
    sets = ActiveSets(settings, confluent_config(settings.broker, broker.bootstrap))
    assert sets.latest() is sets.of("") is sets.configured
    with pytest.raises(Problem, match=f"pattern set {STRICT} is active and not known") as refused:
        sets.of(STRICT)
    assert "sluicegate patterns publish" in refused.value.hint
