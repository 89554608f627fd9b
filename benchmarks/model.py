"""What a fitted model costs in a worker: microseconds a transaction, in process, on one core.

    python benchmarks/model.py bank.parquet bank.model [COLUMNS]

The first 60,000 transactions go through the log of one partition: departure, arrival, alerts.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from sluicegate.domain.transaction import LATEST_MS, Rules
from sluicegate.history.events import Events, read_events
from sluicegate.judging.model import load_model
from sluicegate.judging.patterns import load_patterns
from sluicegate.memory.accounts import AccountMemory, Scorer
from sluicegate.settings import Settings
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.decoder import Decoder
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.routing import Chains, Places
from sluicegate.streaming.scoring import scoring_by

TRANSACTIONS = 60_000


def main(events: Path, model: Path, columns: str | None = None) -> None:
    """Prints a line for each way to judge."""
    settings = Settings()
    patterns = load_patterns(settings.patterns.file)
    with_model = scoring_by(patterns, settings, model=load_model(model, patterns)).scorer
    ways = {
        "patterns alone": replace(with_model, model=None),
        "and the model": with_model,
        "and all of its trees": replace(with_model, least_said=0.0),
    }
    read = read_events(events, columns=columns)
    for at_once in (4_096, 20):
        logs = departures(read, settings, at_once)
        for name, scorer in ways.items():
            spent, alerts = through(logs, scorer, settings)
            told = f"{at_once:5,} at once, {name}: {spent:.1f} us, {alerts:,} alerts\n"
            sys.stdout.write(told)


def departures(events: Events, settings: Settings, at_once: int) -> list[list[bytes]]:
    """The router's messages into one partition, batch by batch."""
    contract = settings.contract
    decoder = Decoder(Rules(contract.base_currency, 0, contract.max_bytes))
    chains, batches, done = Chains(1), [], 0
    for chunk in events.messages(at_once):
        if done >= TRANSACTIONS:
            break
        decoded = decoder.decode([value for _, value in chunk], np.full(len(chunk), LATEST_MS))
        rows = np.arange(len(decoded.row_index))
        sources = np.zeros_like(decoded.row_index)
        places = Places(sources, decoded.row_index + done, decoded.occurred_at_ms)
        batches.append([value for _, value in chains.messages(decoded, places, rows)])
        done += len(chunk)
    return batches


def through(batches: list[list[bytes]], scorer: Scorer, settings: Settings) -> tuple[float, int]:
    """Microseconds a transaction, and how many alerts."""
    partition, outbox = Partition(0, AccountMemory(4 * TRANSACTIONS)), Outbox(1)
    patterns = load_patterns(settings.patterns.file)
    alerts = offset = departed = 0
    began = time.perf_counter()
    for batch in batches:
        waiting = list(batch)
        while waiting:
            applied = partition.apply(offset, waiting.pop(0), scorer)
            offset += 1
            if applied is None:
                raise AssertionError("a message was applied twice")
            departed += len(applied.stepped.arrivals)
            alerts += len(list(alerts_of(applied, patterns, settings.contract.base_currency, 0)))
            outbox.add(partition, applied.stepped.arrivals, applied.stepped.carried)
            waiting += [value for _, value in outbox.drain()]
    return 1e6 * (time.perf_counter() - began) / departed, alerts


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
