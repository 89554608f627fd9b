"""Commands run as people run them, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("sluicegate")
WAIT_SECONDS = 120.0


class Running:
    """A command with a folder of its own for temporary files; its output goes to files."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(COMMAND), *arguments],
                cwd=ROOT,
                env=_environment() | settings | {"TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text("utf-8")

    def until(self, true: Callable[[], object]) -> None:
        """Wait for something while the command runs."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not true():
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.05)

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(WAIT_SECONDS)

    def interrupt(self) -> int:
        """As Ctrl-C in a terminal: to all of its process group. Its exit code."""
        os.killpg(self.process.pid, 2)
        return self.end()

    def family(self) -> list[psutil.Process]:
        """The processes that inherited its temporary folder, wherever they stand by now."""
        return [each for each in psutil.process_iter() if self._is_of(each)]

    def _is_of(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                return process.environ().get("TMPDIR") == str(self.temporary)
        return False

    def left_over(self) -> list[object]:
        """Processes and temporary files."""
        return [*self.family(), *self.temporary.iterdir()]


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[Running]:
    """A command that is gone at the end, whatever the test found."""
    command = Running(folder, *arguments, **settings)
    try:
        yield command
    finally:
        for process in command.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        command.process.wait()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name[:11] != "SLUICEGATE_"}
