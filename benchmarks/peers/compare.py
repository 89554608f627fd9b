"""Runs plain Faust, Quix Streams and sluicegate one after another on one broker: `make bench-peer`.

All three read the same stream of transactions from one Kafka on this machine. The peers do the job
of job.py; sluicegate does its whole work, with every pattern on. Slower engines get fewer
transactions, so that each takes about as long; a rate counts from the first transaction read.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median

from job import legs_of
from rich.console import Console
from rich.table import Table

from sluicegate.operations.bench import machine
from sluicegate.operations.bench_runs import ACCOUNTS, SEED, Bench
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import load_settings
from sluicegate.simulation.city import bench_stream
from sluicegate.streaming.producing import hand_over

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".venv"
GIVE_UP_SECONDS = 300
RUNS = 3
OURS = 1_000_000


@dataclass(frozen=True)
class Peer:
    """An engine, its program, and how many transactions it is given."""

    name: str
    program: str
    python: Path
    transactions: int


PEERS = (
    Peer("plain Faust", "faust_job.py", Path(sys.executable), 15_000),
    Peer("Quix Streams", "quix_job.py", ENVIRONMENT / "bin" / "python", 60_000),
)


def prepare() -> None:
    """Quix Streams needs an older librdkafka than sluicegate: an environment of its own."""
    pip = ENVIRONMENT / "bin" / "pip"
    if not pip.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    wanted = ["install", "--quiet", "--require-hashes", "-r", str(HERE / "requirements.lock")]
    subprocess.run([str(pip), *wanted], check=True)


def rate_of(peer: Peer, bench: Bench, broker: EmbeddedBroker, run: int) -> float:
    """Transactions a second of one run of a peer."""
    topics = bench.prepare(f"{peer.program.partition('_')[0]}{run}-")
    producer = bench.producer(20)
    stream = (each for chunk in bench_stream(SEED, peer.transactions, ACCOUNTS) for each in chunk)
    legs = 0
    for key, value in islice(stream, peer.transactions):
        hand_over(producer, topics.transactions, value, key=key)
        legs += sum(1 for _ in legs_of(value))
    producer.flush()
    command = [str(peer.python), peer.program, broker.bootstrap, topics.transactions]
    done = subprocess.run(
        [*command, topics.stop_payment, str(legs), f"{peer.program.partition('_')[0]}-{run}"],
        cwd=HERE, stdout=subprocess.PIPE, timeout=GIVE_UP_SECONDS, check=True,
    )  # fmt: skip
    return peer.transactions / float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def main() -> None:
    """Measures, prints a table, and writes JSON beside the other reports."""
    console = Console(stderr=True)
    console.print("prepares the environment of Quix Streams")
    prepare()
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-peers-")))
        broker = stack.enter_context(EmbeddedBroker())
        bench = Bench(load_settings(None), broker, folder)
        bench.catch_up("warm-", OURS)
        for run in range(RUNS):
            for peer in PEERS:
                rate = rate_of(peer, bench, broker, run)
                rates.setdefault(peer.name, []).append(rate)
                console.print(f"{peer.name}: {rate:,.0f} a second")
            caught = bench.catch_up(f"ours{run}-", OURS)
            rates.setdefault("sluicegate", []).append(OURS / caught.seconds)
            console.print(f"sluicegate: {rates['sluicegate'][-1]:,.0f} a second")
    report(rates)


def report(rates: dict[str, list[float]]) -> None:
    """The table, and docs/benchmarks/<day>-peers.json."""
    ours = median(rates["sluicegate"])
    table = Table("engine", "transactions/s", "range", "sluicegate is")
    for name, found in rates.items():
        ratio = f"{ours / median(found):,.1f} times as fast" if name != "sluicegate" else ""
        table.add_row(
            name, f"{median(found):,.0f}", f"{min(found):,.0f} to {max(found):,.0f}", ratio
        )
    Console().print(table)
    told = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "transactions_s": {
            name: {"median": round(median(found)), "range": [round(min(found)), round(max(found))]}
            for name, found in rates.items()
        },
        "ratio": {
            name: round(ours / median(found), 1)
            for name, found in rates.items()
            if name != "sluicegate"
        },
    }
    out = Path("docs/benchmarks") / f"{datetime.now(UTC):%Y-%m-%d}-peers.json"
    out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
