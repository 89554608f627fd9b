"""The job in plain Faust: two agents and a table with its changelog.

    python faust_job.py BROKER TRANSACTIONS_TOPIC ALERTS_TOPIC LEGS GROUP

Ends when so many legs were remembered, and prints the seconds from the first to the last.
"""

import json
import os
import random
import sys
import tempfile
import time

import faust
from job import empty, legs_of, remember

BROKER, TRANSACTIONS, ALERTS, LEGS, GROUP = (*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
PARTITIONS = 8
SILENT_SECONDS = 10.0

app = faust.App(
    GROUP,
    broker=f"kafka://{BROKER}",
    store="memory://",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    table_standby_replicas=0,
    stream_wait_empty=False,
    stream_buffer_maxsize=65_536,
    broker_max_poll_records=5_000,
    producer_linger=0.005,
    producer_compression_type="lz4",
    web_bind="127.0.0.1",
    web_port=random.randrange(20_000, 30_000),
    datadir=tempfile.mkdtemp(prefix="peer-faust-"),
)
transactions = app.topic(TRANSACTIONS, value_serializer="raw", key_serializer="raw")
legs = app.topic(f"{GROUP}-legs", partitions=PARTITIONS, value_serializer="json", internal=True)
alerts = app.topic(ALERTS, partitions=PARTITIONS, value_serializer="json")
accounts = app.Table("accounts", partitions=PARTITIONS)
seen = {"first": 0.0, "last": 0.0, "legs": 0}


@app.agent(transactions)
async def split(stream: faust.StreamT[bytes]) -> None:
    """Sends each leg to the partition of its account."""
    async for value in stream:
        seen["first"] = seen["first"] or time.monotonic()
        for account, leg in legs_of(value):
            await legs.send(key=account, value=leg)


@app.agent(legs)
async def judge(stream: faust.StreamT[bytes]) -> None:
    """Remembers each leg, and tells of those that the rule finds."""
    async for account, leg in stream.items():
        name = account.decode() if isinstance(account, bytes) else account
        state = accounts.get(name) or empty()
        if remember(state, leg):
            await alerts.send(key=name, value={"account": name, "id": leg["id"]})
        accounts[name] = state
        seen["legs"] += 1
        seen["last"] = time.monotonic()


@app.timer(1.0)
async def finish() -> None:
    """Tells the figures when all legs were seen, or, as Faust loses some, when no more come."""
    if seen["legs"] >= LEGS or (seen["legs"] and time.monotonic() - seen["last"] > SILENT_SECONDS):
        told = {"seconds": seen["last"] - seen["first"], "legs": seen["legs"]}
        os.write(1, json.dumps(told).encode())  # Faust has taken sys.stdout over
        os._exit(0)  # nothing of it is needed any more


if __name__ == "__main__":
    faust.Worker(app, loglevel="error").execute_from_commandline()
