"""Short turns are asked of Linux where it knows them, and of nobody else."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from sluicegate.operations.turns import take_short_turns

ASK = """
import os
from sluicegate.operations.turns import take_short_turns
before = os.getpriority(os.PRIO_PROCESS, 0)
print(take_short_turns(), os.getpriority(os.PRIO_PROCESS, 0) - before)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has it")
def test_linux_takes_the_request_and_the_priority_stays() -> None:
    """In a process of its own: it holds for all that a process starts later."""
    for nice in (0, 5):
        command = ["nice", "-n", str(nice), sys.executable, "-c", ASK]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "0"]


def test_who_is_scheduled_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_BATCH)
    assert take_short_turns() is False


def test_other_systems_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert take_short_turns() is False
