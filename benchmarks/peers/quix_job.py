"""The job in Quix Streams: one dataframe, grouped by account, with its state in RocksDB.

    python quix_job.py BROKER TRANSACTIONS_TOPIC ALERTS_TOPIC LEGS GROUP

Ends when so many legs were remembered, and prints the seconds from the first to the last.
"""

import json
import sys
import tempfile
import time

from job import empty, legs_of, remember
from quixstreams import Application, State

BROKER, TRANSACTIONS, ALERTS, LEGS, GROUP = (*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
seen = {"first": 0.0, "legs": 0}


def split(value: bytes) -> list[dict[str, object]]:
    """The legs of a transaction, each with its account."""
    seen["first"] = seen["first"] or time.monotonic()
    return [{"account": account, **leg} for account, leg in legs_of(value)]


def judge(leg: dict[str, object], state: State) -> bool:
    """Remembers a leg; True where the rule finds it."""
    account = state.get("account") or empty()
    found = remember(account, leg)
    state.set("account", account)
    seen["legs"] += 1
    if seen["legs"] >= LEGS:
        told = {"seconds": time.monotonic() - seen["first"], "legs": seen["legs"]}
        print(json.dumps(told), flush=True)  # noqa: T201 - what the comparison reads
        app.stop()
    return found


with tempfile.TemporaryDirectory() as folder:
    app = Application(
        broker_address=BROKER,
        consumer_group=GROUP,
        auto_offset_reset="earliest",
        state_dir=folder,
        commit_every=20_000,
        loglevel="ERROR",
        producer_extra_config={"linger.ms": 5, "compression.type": "lz4"},
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
    )
    stream = app.dataframe(app.topic(TRANSACTIONS, value_deserializer="bytes"))
    stream = stream.apply(split, expand=True).group_by("account")
    stream = stream.filter(judge, stateful=True)
    stream.to_topic(app.topic(ALERTS), key=lambda leg: leg["account"])
    app.run()
