"""Flame graphs of worker and router in a backlog: docs/benchmarks/<day>-worker.svg and -router.svg.

    python benchmarks/flame.py [FOLDER]

py-spy looks at each of the two processes 200 times a second while the backlog is passed. Threads
that wait are left out, and so is the way from the command line to the part. Point at a box to read
its whole name and share.
"""

import html
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.operations.bench_runs import Bench
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import Settings

WARM_UP = 1_000_000
TRANSACTIONS = 2_500_000
AFTER_SECONDS = 9.0
"""From the start of the processes until they are in the backlog."""
SECONDS = 8
PER_SECOND = 200
WAITS = ("select (selectors.py", "Condition.wait (threading.py", "_worker (concurrent/futures")
"""Where a thread is that has nothing to do, whatever the system says of it."""
BEFORE = "run_part (sluicegate/operations/parts.py"
WIDTH, HEIGHT, CHARACTER = 1_200, 16, 6.5
"""Pixels of the picture, of a row, of a letter."""

Stack = tuple[str, ...]


class WatchedBench(Bench):
    """Looks at the parts of its last run while they work."""

    folder: Path
    watched = False

    @contextmanager
    def parts(self, *args: object, **how: object) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
        """As `Bench.parts`, with a py-spy beside each if this run is watched."""
        with super().parts(*args, **how) as parts:
            spies = [
                threading.Thread(target=record, args=(part.pid, self.folder / f"{name}.txt"))
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
    """Writes the stacks of a process, and how often each was seen."""
    time.sleep(AFTER_SECONDS)
    spy = Path(sys.executable).with_name("py-spy")
    command = [spy, "record", "--pid", str(pid), "--duration", str(SECONDS), "--output", out]
    more = ["--rate", str(PER_SECOND), "--function", "--format", "raw"]
    subprocess.run([*command, *more], check=True, capture_output=True)


def stacks(raw: str) -> Counter[Stack]:
    """How often each stack was seen, outermost first."""
    seen: Counter[Stack] = Counter()
    for line in raw.splitlines():
        text, _, times = line.rpartition(" ")
        stack = [
            re.sub(r"/\S*/(site-packages|src|lib/python[\d.]+)/", "", f) for f in text.split(";")
        ]
        begins = [at for at, frame in enumerate(stack) if frame.startswith(BEFORE)]
        if not stack[-1].startswith(WAITS) and ".select (" not in stack[-1]:
            seen[tuple(stack[begins[0] + 1 if begins else 0 :])] += int(times)
    return seen


def drawn(seen: Counter[Stack], title: str) -> str:
    """The flame graph: a box a function, as wide as the share of samples that were within it."""
    samples, deepest = seen.total(), max(map(len, seen))
    boxes = [
        f'<text x="4" y="{HEIGHT - 4}">{html.escape(title)}: {samples:,} samples</text>',
        *boxes_of(seen, 0, samples, 0),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {(deepest + 2) * HEIGHT}" '
        'font-family="monospace" font-size="11">\n' + "\n".join(boxes) + "\n</svg>\n"
    )


def boxes_of(seen: Counter[Stack], begins: int, samples: int, depth: int) -> Iterator[str]:
    """Boxes of what the stacks have from `depth` on, to the right of so many samples."""
    within: dict[str, Counter[Stack]] = {}
    for stack, times in seen.items():
        if len(stack) > depth:
            within.setdefault(stack[depth], Counter())[stack] = times
    for frame, own in sorted(within.items()):
        count = own.total()
        x, wide = begins / samples * WIDTH, count / samples * WIDTH
        y, warmth = (depth + 1) * HEIGHT, 100 + sum(frame.encode()) % 100
        if wide >= 1:
            letters = int(wide / CHARACTER)
            label = html.escape(frame if len(frame) <= letters else frame[: max(letters - 2, 0)])
            name = f"{html.escape(frame)}, {count / samples:.1%}"
            yield (
                f'<g><title>{name}</title><rect x="{x:.1f}" y="{y}" width="{wide:.1f}" '
                f'height="{HEIGHT - 1}" fill="rgb(240,{warmth},60)"/>'
                f'<text x="{x + 2:.1f}" y="{y + HEIGHT - 5}">{label}</text></g>'
            )
            yield from boxes_of(own, begins, samples, depth + 1)
        begins += count


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
            seen = stacks((bench.folder / f"{name}.txt").read_text(encoding="utf-8"))
            picture = drawn(seen, f"sluicegate {name}, a backlog, {day}")
            (out / f"{day}-{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks"))
