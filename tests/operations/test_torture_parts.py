"""The tortured processes: who ends by himself is a fault and is started again, who hangs is too."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from sluicegate.operations import torture_parts
from sluicegate.operations.guard import Guard
from sluicegate.operations.torture_parts import Cast, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_SECONDS = 20.0
LIVES = "import time; print('lives', flush=True); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + LIVES
WELL_BEHAVED = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0));" + LIVES


@pytest.fixture
def cast_with(tmp_path: Path) -> Iterator[Callable[[str], Cast]]:
    with Guard() as guard:
        casts: list[Cast] = []

        def make(program: str) -> Cast:
            command = (sys.executable, "-c", program)
            casts.append(Cast({"w0": Part("w0", command, {}, tmp_path / "w0.log")}, guard))
            casts[0].start("w0")
            return casts[0]

        yield make
        for cast in casts:
            cast.end()


def until(cast: Cast, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        cast.look(time.monotonic())
        time.sleep(0.02)


def lives(cast: Cast) -> bool:
    return cast.parts["w0"].has_said("lives")


def test_a_part_that_is_killed_is_no_fault_and_starts_when_it_is_told_to(
    cast_with: Callable[[str], Cast],
) -> None:
    cast = cast_with(LIVES)
    cast.kill("w0")
    until(cast, lambda: not cast.running)
    cast.start("w0")
    assert cast.running == ["w0"]
    assert not cast.faults
    assert cast.kills == {"worker": 1}
    assert len(cast.lives) == 2


def test_a_part_that_ends_by_itself_is_a_fault_with_its_last_words_and_is_started_again(
    cast_with: Callable[[str], Cast],
) -> None:
    cast = cast_with("import sys; print('an account is missing'); sys.exit(1)")
    until(cast, lambda: len(cast.lives) > 1)
    assert cast.faults[0].what == "w0 ended with exit code 1 by itself"
    assert "an account is missing" in cast.faults[0].log


def test_a_part_that_is_told_to_end_may_start_again_when_it_has_ended(
    cast_with: Callable[[str], Cast],
) -> None:
    cast = cast_with(WELL_BEHAVED)
    until(cast, lambda: lives(cast))
    cast.stop("w0")
    cast.start("w0")
    until(cast, lambda: len(cast.lives) == 2)
    assert not cast.faults
    assert len(cast.stop_seconds) == 1


def test_a_part_that_does_not_end_is_a_fault_and_is_killed(
    cast_with: Callable[[str], Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torture_parts, "STOP_LIMIT_SECONDS", 0.2)
    cast = cast_with(DEAF)
    until(cast, lambda: lives(cast))
    cast.stop("w0")
    until(cast, lambda: not cast.running)
    assert [fault.what for fault in cast.faults] == ["w0 did not end within 0.2 s after SIGTERM"]


def test_a_zombie_that_finds_itself_replaced_is_counted_and_no_fault(
    cast_with: Callable[[str], Cast],
) -> None:
    cast = cast_with("import sys, time; print('lives', flush=True); time.sleep(1); sys.exit(1)")
    until(cast, lambda: lives(cast))
    cast.freeze("w0")
    assert cast.awake == []
    cast.thaw("w0")
    until(cast, lambda: cast.replaced == 1)
    assert not cast.faults
