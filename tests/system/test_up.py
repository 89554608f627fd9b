"""All parts under one supervisor: what dies comes back, what is stopped stays stopped."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.system.commands import COMMAND, ROOT, Running, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


def pid_of(up: Running, part: str) -> int:
    """The process that runs a part."""
    (found,) = (each for each in up.family() if each.cmdline()[-1:] == [part])
    return found.pid


def test_a_part_that_is_killed_comes_back_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    settings = {
        "SLUICEGATE_BROKER__DATA_DIR": str(tmp_path / "broker"),
        "SLUICEGATE_LIAISON__DATABASE_URL": f"sqlite:///{tmp_path / 'liaison.db'}",
        "SLUICEGATE_COUNTER__DATABASE_URL": f"sqlite:///{tmp_path / 'counter.db'}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        **{
            f"SLUICEGATE_{name}_PORT": "0"
            for name in (
                *("ROUTER__METRICS", "WORKER__METRICS", "WORKER__WEB", "LIAISON__METRICS"),
                *("COUNTER__METRICS", "COUNTER_", "DESK__METRICS", "DESK_"),
            )
        },
    }
    with running(tmp_path, "up", **settings) as up:
        up.until(lambda: "desk: sign in as admin with the one-time password" in up.err)
        up.until(lambda: "holds partitions 0, 1 with" in up.err)
        first = pid_of(up, "worker")
        next(each for each in up.family() if each.pid == first).kill()
        up.until(lambda: up.err.count("holds partitions 0, 1 with") == 2)
        assert re.search(r"worker-0 was killed by SIGKILL after .* death 1, starts again", up.err)
        assert pid_of(up, "worker") != first

        checked = subprocess.run(
            [str(COMMAND), "topics", "check"],
            cwd=ROOT, env={**_path(), **settings}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (checked.returncode, checked.stderr) == (0, "")

        assert up.interrupt() == 0, up.err
        assert not up.left_over()
        assert (tmp_path / "broker" / "kafka").exists()


def _path() -> dict[str, str]:

    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
