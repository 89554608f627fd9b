"""Half the time to start the broker, by a Java ahead-of-time cache made once on this machine.

Java 25 can note which classes a program loads and links, and write them to a file that later
starts map into memory (JEP 483, 514, 515). The file depends on the Java runtime, the jars and the
options; Java ignores one that does not fit, so a stale or missing one costs time and nothing else.
"""

import os
import sys
import tempfile
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.operations.jars import aot_cache, fetch_jars

TRAINING_STOP_SECONDS = 120.0
RECORDS = 20_000
KEPT = 3


def prepare() -> None:
    """Fetch the jars and make the cache, unless they stand.

    Raises:
        Problem: a jar cannot be fetched. That the cache cannot be made is only said.
    """
    fetch_jars()
    target = aot_cache()
    if target.exists():
        return
    sys.stderr.write("Apache Kafka: preparing its fast start, once\n")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".training-") as scratch:
        made = Path(scratch) / target.name
        _train(made)
        if made.exists():
            made.replace(target)
            _forget_old(target.parent)
        else:
            sys.stderr.write("Apache Kafka: no fast start here; it will take longer each time\n")


def _forget_old(folder: Path) -> None:
    """Keep the newest few: each is some 70 MB, and a new runtime or lock makes a new one."""
    made = sorted(folder.glob("start-*.aot"), key=lambda path: path.stat().st_mtime)
    for path in made[:-KEPT]:
        path.unlink(missing_ok=True)


def _train(output: Path) -> None:
    broker = EmbeddedBroker(aot_output=output)
    broker.start()
    try:
        _work(broker.bootstrap)
    except KafkaException as error:
        sys.stderr.write(f"Apache Kafka: the training was cut short: {error}\n")
    finally:
        # Java writes the file on its way out.
        broker.stop(TRAINING_STOP_SECONDS)


def _work(bootstrap: str) -> None:
    """What a day is made of: topics, batches, a group that reads them and commits."""
    servers: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("training", 4)])["training"].result(30)
    producer = Producer(servers | {"compression.type": "lz4", "enable.idempotence": True})
    for number in range(RECORDS):
        producer.produce("training", b"%064d" % number)
        producer.poll(0)
    producer.flush(30)
    consumer = Consumer(servers | {"group.id": "training", "auto.offset.reset": "earliest"})
    consumer.subscribe(["training"])
    consumer.consume(RECORDS, 20)
    consumer.commit(asynchronous=False)
    consumer.close()


def main() -> int:
    """`prepare` for `make setup`: 0 when it stands, 1 with the reason when it cannot."""
    try:
        prepare()
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # Threads in the middle of a download must not hold up the exit.
        os._exit(130)
