"""Flame graphs of worker and router in a backlog: docs/benchmarks/<day>-worker.svg and -router.svg.

    python benchmarks/flame.py [FOLDER]

py-spy looks at each of the two processes 200 times a second while the backlog is passed. Threads
that wait are left out; so are line numbers, process ids and where things are installed.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.operations.bench_runs import Bench
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import Settings

WARM_UP = 1_000_000
TRANSACTIONS = 2_500_000
AFTER_SECONDS = 5.0
"""From the start of the processes until they are in the backlog."""
SECONDS = 8
PER_SECOND = 200


class WatchedBench(Bench):
    """Looks at the parts of its last run while they work."""

    folder: Path
    watched = False

    @contextmanager
    def parts(self, *args: object, **how: object) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
        """As `Bench.parts`, with a py-spy beside each if this run is watched."""
        with super().parts(*args, **how) as parts:
            spies = [
                threading.Thread(target=record, args=(part.pid, self.folder / f"{name}.svg"))
                for name, part in parts.items()
                if self.watched
            ]
            for spy in spies:
                spy.start()
            try:
                yield parts
            finally:
                for spy in spies:
                    spy.join()


def record(pid: int, out: Path) -> None:
    """Writes the flame graph of a process."""
    time.sleep(AFTER_SECONDS)
    spy = Path(sys.executable).with_name("py-spy")
    command = [spy, "record", "--pid", str(pid), "--duration", str(SECONDS), "--output", out]
    more = ["--rate", str(PER_SECOND), "--function", "--format", "flamegraph"]
    subprocess.run([*command, *more], check=True, capture_output=True)


def cleaned(svg: str, title: str) -> str:
    """The picture under another title, and paths from the package or the library on."""
    svg = re.sub(r'(<text id="title"[^>]*>)[^<]*', rf"\g<1>{title}", svg)
    return re.sub(r"\(/[^()\s]*?(?:/site-packages/|/src/|/lib/python[\d.]+/|/bin/)", "(", svg)


def main(out: Path) -> None:
    """Passes a warm-up, then the backlog that is looked at."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker() as broker:
        bench = WatchedBench(Settings(), broker, Path(folder))
        bench.folder = Path(folder)
        bench.catch_up("warm-", WARM_UP)
        bench.watched = True
        bench.catch_up("flame-", TRANSACTIONS)
        for name in ("worker", "router"):
            svg = (bench.folder / f"{name}.svg").read_text(encoding="utf-8")
            title = f"sluicegate {name}, a backlog, {day}"
            (out / f"{day}-{name}.svg").write_text(cleaned(svg, title), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks"))
