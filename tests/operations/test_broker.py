"""The embedded broker as its users meet it: it serves, it survives, it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker, running_broker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.broker


def make_topic(bootstrap: str, name: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.create_topics([NewTopic(name, num_partitions=1)])[name].result(15)


def send(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "acks": "all",
            "message.max.bytes": 8_000_000,
        }
    )
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(15) == 0


def receive(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}readers",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, 20)]
    finally:
        consumer.close()


def test_what_is_produced_with_lz4_is_consumed_by_a_group(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}echo"
    make_topic(broker.bootstrap, topic)
    values = [b"%d" % number for number in range(1000)]
    send(broker.bootstrap, topic, values)
    assert receive(broker.bootstrap, topic, 1000) == values


def test_a_message_of_seven_mebibytes_passes(broker: EmbeddedBroker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}large"
    make_topic(broker.bootstrap, topic)
    large = os.urandom(7 * 2**20)
    send(broker.bootstrap, topic, [large])
    assert receive(broker.bootstrap, topic, 1) == [large]


def test_a_topic_that_nobody_made_does_not_appear(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": topic_prefix,
            "allow.auto.create.topics": True,
        }
    )
    consumer.subscribe([f"{topic_prefix}misspelt"])
    message = consumer.poll(5)
    consumer.close()
    assert message is not None
    assert message.error() is not None
    assert f"{topic_prefix}misspelt" not in client.list_topics(timeout=10).topics


def test_it_listens_on_the_loopback_interface_only(broker: EmbeddedBroker) -> None:
    listening = [
        connection.laddr
        for connection in psutil.Process(broker.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) == 2
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_records_survive_a_kill_and_stop_leaves_no_process_and_no_files() -> None:
    broker = EmbeddedBroker(heap_mb=256)
    broker.start()
    home, first_pid, bootstrap = broker._home, broker.pid, broker.bootstrap
    make_topic(bootstrap, "kept")
    send(bootstrap, "kept", [b"before the power cut"])
    assert processes_in(home)
    broker.kill()
    assert broker.pid is None

    broker.start()
    assert broker.bootstrap == bootstrap
    assert broker.pid not in (None, first_pid)
    assert receive(bootstrap, "kept", 1) == [b"before the power cut"]

    broker.stop()
    assert not processes_in(home)
    assert not home.exists()
    broker.stop()  # once more changes nothing


def processes_in(folder: Path) -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.cwd() == str(folder)]


HOLDER = """
import sys, time
from sluicegate.operations.broker import EmbeddedBroker, running_broker
broker = EmbeddedBroker(heap_mb=256)
broker.start()
print(broker.pid, broker._home, flush=True)
time.sleep(600)
"""


def test_it_dies_with_a_holder_that_dies_by_sigkill(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert holder.stdout is not None
    pid, home = holder.stdout.readline().split()
    family = [psutil.Process(int(pid)), *psutil.Process(holder.pid).children(recursive=True)]
    assert str(tmp_path) in home
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    assert gone
    assert not list(tmp_path.iterdir())


def test_a_second_broker_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    first = EmbeddedBroker(tmp_path)
    first._occupy_folder()
    (tmp_path / "address").touch()
    try:
        with pytest.raises(Problem, match="another one runs on"):
            EmbeddedBroker(tmp_path).start()
        assert (tmp_path / "address").exists()
    finally:
        first.stop()
    assert tmp_path.exists()  # a directory that was given is never removed


def test_an_ahead_of_time_cache_that_does_not_fit_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotten = tmp_path / "start-0.aot"
    rotten.write_bytes(b"not what Java wrote" * 1000)
    monkeypatch.setattr("sluicegate.operations.broker.aot_cache", lambda: rotten)
    with EmbeddedBroker(heap_mb=256) as broker:
        assert broker.pid is not None


def test_a_cluster_id_may_begin_with_a_hyphen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in 64 does; Kafka's tool once took it for an option."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0xF8 << 120))
    with EmbeddedBroker(tmp_path):
        assert "cluster.id=-A" in (tmp_path / "kafka" / "meta.properties").read_text()


def test_an_address_left_behind_by_a_hard_death_is_not_believed(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (tmp_path / "address").write_text(f"127.0.0.1:{probe.getsockname()[1]}\n")
    assert running_broker(tmp_path) is None
    (tmp_path / "address").write_text("rubbish\n")
    assert running_broker(tmp_path) is None
    assert running_broker(tmp_path / "nowhere") is None


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Problem, match=f"port {port} of 127.0.0.1 is in use"):
            EmbeddedBroker(port=port).start()


def test_a_broker_that_dies_at_the_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "meta.properties").write_text("version=9\n")
    with pytest.raises(Problem, match="did not come up") as caught:
        EmbeddedBroker(tmp_path, heap_mb=256).start()
    assert "version" in caught.value.detail
    assert not processes_in(tmp_path)


RUNNER = """
import sys
import uuid
from pathlib import Path
from sluicegate.operations.broker import run_broker
run_broker(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_broker_in_the_foreground_ends_in_peace(tmp_path: Path, number: signal.Signals) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    line = runner.stdout.readline()
    assert line.startswith("broker at 127.0.0.1:")
    assert running_broker(tmp_path) == line.split()[2].rstrip(",")
    family = psutil.Process(runner.pid).children(recursive=True)
    assert len(family) == 2
    runner.send_signal(number)
    runner.communicate()
    assert runner.returncode == 0
    assert not [process for process in family if process.is_running()]
    assert running_broker(tmp_path) is None
    assert tmp_path.joinpath("kafka", "meta.properties").exists()
