"""The fuzzer finds no difference between decoder and model, and would find one."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

from tests.streaming.fuzz import Findings, compare, fuzz, main, read_again, report
from tests.streaming.fuzz_messages import RULES, make_message

from sluicegate.domain.transaction import Refusal
from sluicegate.streaming.decoder import Decoded, Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pytest

    from sluicegate.streaming.texts import Texts

NEVER_MADE = {
    Refusal.ID_REUSED,
    *(Refusal.UNKNOWN_VALUE, Refusal.NUMBER_OUT_OF_RANGE, Refusal.DATE_MALFORMED),  # of profiles
    *(Refusal.DIRECTIVE_INCOMPLETE, Refusal.DIRECTIVE_CONTRADICTORY),
}
"""The router's own, against what came before."""


def test_mutated_messages_are_read_alike_by_decoder_and_model() -> None:
    findings = fuzz(20_000, seed=20_260_301)
    assert findings.differences == []
    assert findings.exceptions == []
    assert findings.accepted > 5_000
    assert set(findings.refused) == set(Refusal) - NEVER_MADE


def test_the_same_seed_makes_the_same_messages() -> None:
    first, second = random.Random("7"), random.Random("7")
    made = [make_message(first) for _ in range(500)]
    assert made == [make_message(second) for _ in range(500)]
    assert made != [make_message(random.Random("8")) for _ in range(500)]


class Generous(Decoder):
    """Adds one to an amount in a hundred."""

    def decode(
        self, values: Texts | Sequence[bytes | None], recorded_at_ms: npt.NDArray[np.int64]
    ) -> Decoded:
        decoded = super().decode(values, recorded_at_ms)
        more = decoded.amount_minor + (decoded.amount_minor % 100 == 7)
        return dataclasses.replace(decoded, amount_minor=more)


class Fragile(Decoder):
    """Falls over empty messages."""

    def decode(
        self, values: Texts | Sequence[bytes | None], recorded_at_ms: npt.NDArray[np.int64]
    ) -> Decoded:
        if b"" in list(values):
            raise ValueError("nothing there")
        return super().decode(values, recorded_at_ms)


def found_by(decoder: Decoder) -> Findings:
    draw = random.Random(1)
    return compare([make_message(draw) for _ in range(5_000)], decoder)


def test_a_decoder_that_differs_is_found_out_and_its_messages_kept(tmp_path: Path) -> None:
    findings = found_by(Generous(RULES))
    assert len(findings.differences) > 5
    assert findings.exceptions == []
    told = report(findings, 1, tmp_path)
    assert told.endswith(f"differences: {len(findings.differences)}, exceptions: 0\n")
    kept = sorted(tmp_path.glob("fuzz-1-*.json"))
    assert str(kept[0]) in told
    assert read_again(kept[0]).is_clean  # the decoder itself does not differ


def test_a_decoder_that_raises_is_found_out_by_the_message_that_does_it() -> None:
    findings = found_by(Fragile(RULES))
    assert {message.value for message, _ in findings.exceptions} == {b""}
    assert findings.differences == []


def test_the_command_says_its_counts_and_leaves_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--messages", "2000", "--seed", "3", "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "2,000 messages, seed 3" in told
    assert "NOT_JSON" in told
    assert told.endswith("differences: 0, exceptions: 0\n")
    assert list(tmp_path.iterdir()) == []
