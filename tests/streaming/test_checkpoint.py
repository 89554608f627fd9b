"""Claims and checkpoints: what counts when owners come, go, and come too late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.streaming.flow import SCORER, Payment, decoded_of

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.population import POPULATION
from sluicegate.memory.row import LAYOUT_VERSION, ROW
from sluicegate.memory.words import text_words, words_text
from sluicegate.streaming.checkpoint import (
    ROWS_A_CHUNK,
    Place,
    Restorer,
    chunks,
    claim,
    new_owner,
)
from sluicegate.streaming.routing import Places, first_legs
from sluicegate.streaming.topics import BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sluicegate.memory.taken import Taken

A, B = b"A" * 16, b"B" * 16


def pay(memory: AccountMemory, payers: Sequence[str], offset: int = 0) -> None:
    """Steps a payment of each payer, so that their rows change."""
    decoded = decoded_of([Payment(f"T{payer}", payer, None) for payer in payers])
    nothing = np.zeros(len(payers), np.int64)
    places = Places(nothing, np.arange(len(payers)), decoded.occurred_at_ms)
    legs = first_legs(decoded, places, np.arange(len(payers)))
    memory.step(legs, SCORER, partition=0, log_offset=offset)


def restored(values: Iterable[bytes], capacity: int = 5_000) -> Restorer:
    restorer = Restorer(AccountMemory(capacity))
    for value in values:
        restorer.feed(value)
    return restorer


def checkpoint(
    memory: AccountMemory, applied: int, owner: bytes = A, number: int = 1
) -> list[bytes]:
    return list(chunks(memory, Place(applied=applied), owner, number))


def a_checkpoint(applied: int, owner: bytes = A, number: int = 1, rows: int = 5) -> list[bytes]:
    """Of a fresh memory with that many accounts, whose names tell owner and number."""
    memory = AccountMemory(5_000)
    pay(memory, [f"{owner.decode()}{number}-{row}" for row in range(rows)])
    return checkpoint(memory, applied, owner, number)


# Round trips.


def test_the_memory_comes_back_as_it_was() -> None:
    memory = AccountMemory(5_000)
    pay(memory, [f"P{number}" for number in range(2_000)])
    values = checkpoint(memory, 7)
    assert len(values) == -(-2_000 // ROWS_A_CHUNK)
    assert max(map(len, values)) < BATCH_BYTES
    restorer = restored([claim(A, "w0"), *values])
    assert restorer.memory.digest() == memory.digest()
    assert len(restorer.memory) == 2_000


def test_the_place_comes_back_as_it_was() -> None:
    place = Place(
        applied=2**40,
        sources={"t0": 2**62, "l7": -1},
        sent={0: 5, 1_023: 2**50},
        topics={"cluster": "XYZ", "bank1-legs": "a_b-c"},
        pattern_set="0123456789abcdef",
    )
    restorer = restored([claim(A, "w0"), *chunks(AccountMemory(1), place, A, 1)])
    assert restorer.place == place


def test_no_two_places_share_what_they_hold() -> None:
    first, second = Place(), Place()
    first.sources["t0"], first.sent[1] = 5, 6
    assert (second.sources, second.sent) == ({}, {})


def test_a_second_checkpoint_holds_only_what_changed() -> None:
    memory = AccountMemory(5_000)
    pay(memory, [f"P{number}" for number in range(1_500)])
    first = checkpoint(memory, 1)
    pay(memory, ["P3", "NEW"], offset=1)
    second = checkpoint(memory, 2, number=2)
    assert sum(map(len, second)) < 3 * ROW.itemsize + 2 * POPULATION.itemsize
    restorer = restored([claim(A, "w0"), *first, *second])
    assert restorer.memory.digest() == memory.digest()
    assert (restorer.applied, restorer.number) == (2, 2)


def test_a_checkpoint_without_changed_rows_still_moves_the_place() -> None:
    values = checkpoint(AccountMemory(5), 41)
    assert len(values) == 1
    assert restored([claim(A, "w0"), *values]).applied == 41


def test_a_checkpoint_is_of_the_moment_at_which_it_was_taken() -> None:
    """It is written in another thread, while the stream goes on."""
    memory, place = AccountMemory(5_000), Place(applied=1)
    pay(memory, ["P1", "P2"])
    digest = memory.digest()
    taken = chunks(memory, place, A, 1)
    place.applied = 2
    place.sources["t0"] = 99
    pay(memory, ["P1"], offset=1)
    restorer = restored([claim(A, "w0"), *taken])
    assert restorer.memory.digest() == digest
    assert restorer.place == Place(applied=1)


def test_what_is_restored_is_not_written_again() -> None:
    restorer = restored([claim(A, "w0"), *a_checkpoint(1)])
    assert list(restorer.memory.take_dirty(10)) == []


def test_owners_are_never_the_same_twice() -> None:
    owners = {new_owner() for _ in range(100)}
    assert len(owners) == 100
    assert {len(owner) for owner in owners} == {16}


# What counts.


def test_a_checkpoint_without_its_last_chunk_does_not_count() -> None:
    values = a_checkpoint(7, rows=2_000)
    restorer = restored([claim(A, "w0"), *values[:-1]])
    assert (len(restorer.memory), restorer.applied, restorer.number) == (0, -1, 0)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_checkpoint_with_a_chunk_lost_does_not_count(lost: int) -> None:
    values = a_checkpoint(7, rows=2_000)
    restorer = restored([claim(A, "w0"), *values[:lost], *values[lost + 1 :]])
    assert (len(restorer.memory), restorer.applied) == (0, -1)


def test_chunks_of_two_checkpoints_never_make_one() -> None:
    """The first lost its end, the second its beginning."""
    first, second = a_checkpoint(1, rows=2_000), a_checkpoint(2, number=2, rows=2_000)
    restorer = restored([claim(A, "w0"), *first[:2], *second[2:]])
    assert (len(restorer.memory), restorer.applied) == (0, -1)


def test_a_lost_checkpoint_between_two_is_a_problem() -> None:
    """The rows that changed in it alone would be old ones, and nobody would know."""
    restorer = restored([claim(A, "w0"), *a_checkpoint(1)])
    with pytest.raises(Problem, match="checkpoint 3 follows 1") as refused:
        restorer.feed(a_checkpoint(3, number=3)[0])
    assert refused.value.hint


def test_a_changelog_that_was_trimmed_begins_with_any_number() -> None:
    assert restored([claim(A, "w0"), *a_checkpoint(70, number=35)]).number == 35


def test_a_checkpoint_before_its_owners_claim_does_not_count() -> None:
    restorer = restored([*a_checkpoint(7), claim(A, "w0")])
    assert (restorer.applied, restorer.fenced) == (-1, 1)


def test_a_claim_in_the_middle_of_a_checkpoint_voids_it() -> None:
    values = a_checkpoint(7, rows=2_000)
    restorer = restored([claim(A, "w0"), values[0], claim(B, "w1"), *values[1:]])
    assert (len(restorer.memory), restorer.applied) == (0, -1)
    assert restorer.fenced == len(values) - 1
    assert restorer.owner == B


def test_an_owner_that_lost_the_partition_is_fenced_and_the_next_one_counts() -> None:
    late = a_checkpoint(8, number=2)
    good = a_checkpoint(9, owner=B, number=2)
    story = [claim(A, "w0"), *a_checkpoint(5), claim(B, "w1"), *late, *good, *late]
    restorer = restored(story)
    assert (restorer.applied, restorer.number, restorer.fenced) == (9, 2, 2)
    names = words_text(restorer.memory.rows["account"])
    assert {name[:17] for name in names} == {"A" * 16 + "1", "B" * 16 + "2"}


def test_an_own_second_claim_voids_what_was_begun_before_it() -> None:
    values = a_checkpoint(7, rows=2_000)
    restorer = restored([claim(A, "w0"), *values[:2], claim(A, "w0"), values[2]])
    assert restorer.applied == -1


# What is refused.


def test_another_row_layout_is_refused() -> None:
    (value,) = a_checkpoint(7)
    other = value[:5] + (LAYOUT_VERSION + 1).to_bytes(2, "little") + value[7:]
    with pytest.raises(Problem, match=f"row layout {LAYOUT_VERSION + 1}") as refused:
        restored([claim(A, "w0"), other])
    assert "run the version that wrote it" in refused.value.hint


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"SLG1" + b"\0" * 100, b"SLC1", b"SLC1\x09" + b"\0" * 100]
)
def test_what_is_neither_claim_nor_checkpoint_is_refused(value: bytes | None) -> None:
    with pytest.raises(Problem, match="neither claim nor checkpoint"):
        Restorer(AccountMemory(1)).feed(value)


def test_every_chunk_cut_short_is_refused() -> None:
    (value,) = a_checkpoint(7, rows=1)
    whole = {len(value) - ROW.itemsize, len(value)}
    for length in set(range(len(value))) - whole:
        with pytest.raises(Problem, match="neither claim nor checkpoint"):
            restored([claim(A, "w0"), value[:length]])


# Whatever happens, against a model that looks at the whole story at once.


class Twos(AccountMemory):
    """Gives its changed rows two at a time, so that small checkpoints have several chunks."""

    def take_dirty(self, most: int) -> Taken:
        del most
        return super().take_dirty(2)


@dataclass(frozen=True)
class Piece:
    """A message of the changelog, as the model sees it."""

    owner: int
    number: int
    index: int
    count: int
    value: bytes
    rows: tuple[tuple[str, int], ...] = ()

    @property
    def is_claim(self) -> bool:
        return self.number == 0


def claimed(owner: int) -> Piece:
    return Piece(owner, 0, 0, 1, claim(owner.to_bytes(16), f"w{owner}"))


def pieces(owner: int, number: int, accounts: list[int]) -> list[Piece]:
    """The chunks of a checkpoint, each row with a mark of its own."""
    memory, mark = Twos(30), 100 * owner + number
    rows = np.zeros(len(accounts), ROW)
    for row, account in zip(rows, accounts, strict=True):
        row["account"], row["first_s"] = text_words(f"P{account}", 5), mark
    memory.put(rows)
    memory._dirty[:] = 1
    values = list(chunks(memory, Place(applied=mark), owner.to_bytes(16), number))
    named = [f"P{account}" for account in accounts]
    return [
        Piece(
            owner,
            number,
            at,
            len(values),
            value,
            tuple((name, mark) for name in named[2 * at : 2 * at + 2]),
        )
        for at, value in enumerate(values)
    ]


OWNED = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=5), max_size=3)


@st.composite
def stories(draw: st.DrawFn) -> list[Piece]:
    """Two or three owners, each a claim and then checkpoints, interleaved; some chunks lost."""
    waiting = []
    for owner, checkpoints in enumerate(draw(st.lists(OWNED, max_size=3)), start=1):
        own = [claimed(owner)]
        for number, accounts in enumerate(checkpoints, start=draw(st.integers(1, 2))):
            own += pieces(owner, number, accounts)
        waiting.append(own)
    turns = draw(st.permutations([at for at, own in enumerate(waiting) for _ in own]))
    told = [waiting[turn].pop(0) for turn in turns]
    lost = draw(st.sets(st.integers(0, 20), max_size=2))
    return [piece for at, piece in enumerate(told) if piece.is_claim or at not in lost]


def model(story: list[Piece]) -> tuple[int, dict[str, int]] | None:
    """Place and rows that the story comes to; None if a checkpoint that counts is not the next."""
    applied, last, rows = -1, 0, dict[str, int]()
    for end, piece in enumerate(story):
        if piece.is_claim or piece.index != piece.count - 1:
            continue
        claims = [at for at in range(end) if story[at].is_claim]
        if not claims or story[claims[-1]].owner != piece.owner:
            continue
        since = story[claims[-1] + 1 : end + 1]
        own = [other for other in since if (other.owner, other.number) == mark_of(piece)]
        if len(own) < piece.count:
            continue
        if last and piece.number != last + 1:
            return None
        last, applied = piece.number, 100 * piece.owner + piece.number
        rows |= {name: mark for other in own for name, mark in other.rows}
    return applied, rows


def mark_of(piece: Piece) -> tuple[int, int]:
    return piece.owner, piece.number


@given(stories())
@settings(max_examples=250, deadline=None)
def test_any_story_of_owners_comes_to_what_the_model_says(story: list[Piece]) -> None:
    expected = model(story)
    if expected is None:
        with pytest.raises(Problem, match="follows"):
            restored([piece.value for piece in story], capacity=30)
        return
    restorer = restored([piece.value for piece in story], capacity=30)
    names = words_text(restorer.memory.rows["account"])
    marks = restorer.memory.rows["first_s"].tolist()
    assert (restorer.applied, dict(zip(names, marks, strict=True))) == expected
    assert restorer.place.applied == restorer.applied
