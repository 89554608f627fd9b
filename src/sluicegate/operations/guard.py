"""Nothing outlives whoever started it, even if that dies by SIGKILL.

A guard is a small process at the other end of a pipe. When the pipe closes without a farewell,
the one who held it is dead, and the guard kills the processes and removes the folders it was told
of. Not PR_SET_PDEATHSIG: that is Linux only, fires when the starting *thread* ends, and needs code
between fork and exec.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import psutil

REAP_SECONDS = 10.0


class Guard:
    """The holder's end: say what to clean up, and say farewell once that has been done."""

    def __init__(self, *, inherit: Iterable[int] = ()) -> None:
        """Start the guard process.

        Args:
            inherit: open file descriptors that shall stay open until the guard is done, such as
                that of a lock.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sluicegate.operations.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=tuple(inherit),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def kill_later(self, pid: int) -> None:
        """The process `pid` is to be killed should this process die."""
        self._say("kill", str(pid))

    def remove_later(self, folder: Path) -> None:
        """The folder is to be removed, after the killing, should this process die."""
        self._say("remove", str(folder))

    def dismiss(self) -> None:
        """All is cleaned up: the guard ends and does nothing."""
        self._say("farewell", "")
        # Its pipe is closed on the way; a guard that someone killed has nothing to say either.
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _say(self, order: str, subject: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([order, subject]).encode() + b"\n")
            self._process.stdin.flush()


def stand_guard(orders: Iterator[bytes]) -> None:
    """Note orders until they end, then kill and remove, unless a farewell was among them."""
    condemned: list[psutil.Process] = []
    folders: list[Path] = []
    for line in orders:
        match json.loads(line):
            case ["kill", pid]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    # psutil notes the time of its start: a reused pid is not killed.
                    condemned.append(psutil.Process(int(pid)))
            case ["remove", folder]:
                folders.append(Path(folder))
            case _:
                return
    clean_up(condemned, folders)


def clean_up(condemned: list[psutil.Process], folders: list[Path]) -> None:
    """Kill the processes, wait until they are gone, remove the folders."""
    for process in condemned:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(condemned, timeout=REAP_SECONDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    stand_guard(iter(sys.stdin.buffer.readline, b""))
