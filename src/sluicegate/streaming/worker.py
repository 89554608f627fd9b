"""The worker: a Faust application whose agents judge legs, remember them and raise alerts.

Faust assigns partitions, restores the table and runs the agents; librdkafka reads the legs logs
and feeds the scoring agent's channel (docs/decisions/0004). An error stops the process: it never
skips a leg.
"""

import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import faust
import platformdirs
from confluent_kafka import KafkaError, Message, Producer

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.channel import StreamChannel
from sluicegate.streaming.clients import confluent_config, faust_config
from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.partition import Applied, Outbox, Partition
from sluicegate.streaming.reader import LegsReader
from sluicegate.streaming.scoring import scoring_of
from sluicegate.streaming.starts import log_bounds, next_offset
from sluicegate.streaming.table import SAFE, Changelog, SlabStore
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)

TABLE = "accounts"
GATHERED_ENOUGH = 8_192
"""Arrivals that are sent on although more are to come."""
PROGRESS_SECONDS = 0.01
"""How often the place is published while there is work; the router's lead hangs on it."""
BREATH_SECONDS = 0.05
"""How long judging goes on before the event loop, which sends Faust's heartbeats, has its turn."""
IDLE_SECONDS = 1.0
STOP_SECONDS = 3.0


class Worker:
    """One worker process: partitions, reader, outbox, and the Faust application around them."""

    def __init__(self, settings: Settings, bootstrap: str, metrics: Metrics) -> None:
        self.settings = settings
        self.topics = Topics.of(settings)
        self.partitions: dict[int, Partition] = {}
        self._scoring = scoring_of(settings)
        self._config: dict[str, Any] = confluent_config(settings.broker, bootstrap)
        self._producer = Producer(
            {
                **self._config,
                **SAFE,
                "queue.buffering.max.messages": 1_000_000,
                "error_cb": self._client_failed,
            }
        )
        self._outbox = Outbox(settings.topics.partitions)
        self._outbox_since = 0.0
        self._reader: LegsReader | None = None
        self._failure: Exception | None = None
        self._stopping = asyncio.Event()
        self._checkpoints: dict[int, asyncio.Task[None]] = {}
        self._due_at: dict[int, float] = {}
        self._legs_since: dict[int, int] = {}
        self._published_at = 0.0
        self._rebalances = 0
        self._assigned_at = time.monotonic()
        self._figures = WorkerFigures(metrics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.app = self._application(bootstrap)
        self._channel = StreamChannel(self.app, maxsize=4)
        ownership = self.app.topic(
            self.topics.ownership,
            partitions=settings.topics.partitions,
            value_serializer="raw",
            value_type=bytes,
        )
        # A name that the agents' table must have: Faust co-partitions it with `ownership`.
        self._table = self.app.Table(
            TABLE,
            partitions=settings.topics.partitions,
            changelog_topic=self.app.topic(
                self.topics.changelog,
                partitions=settings.topics.partitions,
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
            ),
            key_type=bytes,
            value_type=bytes,
            # Messages of 1 MB are applied so many at a time; at 1, Faust would go on feeding the
            # live table from its changelog, and the default of 1,000 would hold 1 GB of them.
            recovery_buffer_size=16,
        )
        self.store: SlabStore = self._table.data
        self.store.attach(
            Changelog(self._config, self.topics.changelog),
            settings.worker.slot,
            lambda: AccountMemory(settings.worker.accounts_per_partition),
        )
        self._declare_agents(ownership)
        self._declare_upkeep()

    async def run(self) -> None:
        """Works until SIGTERM or SIGINT, or until something fails.

        Raises:
            Problem: what failed, said so that a person can act.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self.app.finalize()
        await self.app.start()
        crashed = asyncio.ensure_future(self.app.wait_until_stopped())
        asked = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({crashed, asked}, return_when=asyncio.FIRST_COMPLETED)
        if self._failure is None and self.app.crash_reason is None:
            await self._leave()
        else:
            self._stop_reading()
        with contextlib.suppress(TimeoutError):  # all is safe by now, and Faust may wait for ever
            await asyncio.wait_for(self.app.stop(), STOP_SECONDS)
        for task in (crashed, asked):
            task.cancel()
        failure = self._failure or self.app.crash_reason
        if failure is not None:
            raise failure

    def _application(self, bootstrap: str) -> faust.App:
        worker = self.settings.worker
        folder = Path(platformdirs.user_state_dir("sluicegate")) / "faust"
        folder.mkdir(parents=True, exist_ok=True)
        return faust.App(
            f"{self.settings.topics.prefix}{worker.app_id}",
            **faust_config(self.settings.broker, bootstrap),
            datadir=str(folder),
            store="slab://local",
            topic_partitions=self.settings.topics.partitions,
            topic_replication_factor=self.settings.topics.replication,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            consumer_group_instance_id=worker.slot,
            broker_session_timeout=worker.session_timeout_seconds,
            broker_heartbeat_interval=worker.session_timeout_seconds / 5,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            agent_supervisor="mode.CrashingSupervisor",
            # A static member that comes back is given its old assignment, in which Faust asserts
            # its own address: it must not change with the port.
            canonical_url=f"http://{worker.slot}",
            web_bind=worker.web_bind,
            web_host=worker.web_bind,
            web_port=worker.web_port or _free_port(),
        )

    def _declare_agents(self, ownership: object) -> None:
        @self.app.agent(ownership, name="ownership")
        async def own(stream: AsyncIterator[bytes]) -> None:
            """Gives Faust something to assign; control records will come this way."""
            async for _ in stream:
                pass

        @self.app.agent(self._channel, name="score")
        async def score(stream: AsyncIterator[tuple[LegsReader, list[Message]]]) -> None:
            """Judges what the reader brings, in order."""
            async for reader, messages in stream:
                try:
                    await self._turn(reader, messages)
                except Exception as error:
                    self._fail(error)
                    raise
                await asyncio.sleep(0)

        del own, score  # Faust keeps them

    def _declare_upkeep(self) -> None:
        @self.app.timer(IDLE_SECONDS, name="upkeep")
        async def upkeep() -> None:
            """Says where the partitions stand, and takes the checkpoints that are due."""
            self._publish_progress()
            self._figures.state(self.partitions.values(), self._reader.ends if self._reader else {})
            for number in list(self.partitions):
                if self._is_due(number):
                    self._begin_checkpoint(number)

        @self.app.on_rebalance_complete.connect
        async def begin(*_: object, **__: object) -> None:
            try:
                await self._begin()
            except Exception as error:  # noqa: BLE001 - Faust would only log it
                self._fail(error)

        @self.app.on_partitions_revoked.connect
        async def end(*_: object, **__: object) -> None:
            self._rebalances += 1
            await self._leave()

        del upkeep, begin, end  # Faust keeps them

    # Taking partitions over, and leaving them.

    async def _begin(self) -> None:
        """Starts reading the partitions that Faust assigned and restored."""
        rebalances = self._rebalances
        self._stop_reading()
        await self._finish_checkpoints()
        identity = await asyncio.to_thread(topic_identity, self._config, self.topics.legs)
        if rebalances != self._rebalances:
            return  # all this is about to begin anew
        mine = {
            tp.partition
            for tp in self.app.consumer.assignment()
            if tp.topic == self.topics.ownership
        }
        self.partitions = {number: self.store.take_over(number) for number in sorted(mine)}
        for partition in self.partitions.values():
            partition.place.pattern_set = self._scoring.pattern_set.version
        bounds = await asyncio.to_thread(
            log_bounds, self._config, self.topics.legs, list(self.partitions)
        )
        if rebalances != self._rebalances:
            return
        starts = {
            number: next_offset(partition.place, number, self.topics.legs, identity, bounds[number])
            for number, partition in self.partitions.items()
        }
        now = time.monotonic()
        for number in mine:
            self._due_at[number] = now + self.settings.worker.checkpoint_seconds
            self._legs_since[number] = 0
        self._figures.restored(now - self._assigned_at)
        log.info(
            "holds partitions %s with %s accounts, reads on",
            ", ".join(map(str, sorted(mine))) or "none",
            f"{len(self.store):,}",
        )
        if starts and self._loop is not None:
            self._reader = LegsReader(
                self._config, self.topics.legs, starts, self._deliver, self._failed_elsewhere
            )
            self._reader.start()
        self._publish_progress()
        # Hundreds of thousands of objects live as long as the process, most of them of libraries:
        # looking through them again and again would hold the stream up.
        gc.freeze()

    async def _leave(self) -> None:
        """Stops reading and checkpoints what is held, so that the next owner goes on from here."""
        if self._reader is None and not self.partitions:
            return
        self._stop_reading()
        self._assigned_at = time.monotonic()
        if self._failure is None:
            self._publish_progress()
            await self._finish_checkpoints()
            for number in list(self.partitions):
                self._begin_checkpoint(number)
            await self._finish_checkpoints()
        self._outbox.forget()
        self.partitions = {}

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    # The stream.

    def _deliver(self, reader: LegsReader, messages: list[Message]) -> None:
        """Runs in the reader's thread: waits until the channel has room."""
        if self._loop is None:
            return
        put = asyncio.run_coroutine_threadsafe(self._channel.put((reader, messages)), self._loop)
        while not reader.stopped:
            with contextlib.suppress(TimeoutError):
                put.result(timeout=0.5)
                return

    async def _turn(self, reader: LegsReader, messages: list[Message]) -> None:
        """Applies one delivery of the reader, letting heartbeats through between messages."""
        if self._failure is not None:
            return
        started = breathed = time.monotonic()
        for message in messages:
            if reader is not self._reader:
                return  # the partitions have gone: their next owner reads this again
            self._apply(message)
            if self._outbox_is_full():
                self._send_arrivals()
            if time.monotonic() - breathed > BREATH_SECONDS:
                self._producer.poll(0)
                self._publish_progress()
                await asyncio.sleep(0)
                breathed = time.monotonic()
        backlog = self._channel.waiting
        if not backlog:
            self._send_arrivals()
        self._producer.poll(0)
        if not backlog or time.monotonic() - self._published_at > PROGRESS_SECONDS:
            self._publish_progress()
        self._figures.turn(time.monotonic() - started)
        for number in {message.partition() or 0 for message in messages} & self.partitions.keys():
            if self._is_due(number):
                self._begin_checkpoint(number)

    def _apply(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise Problem(
                f"partition {message.partition()} of {self.topics.legs} cannot be read on",
                error.str(),
                "nothing is skipped: start the worker again, and it says where the state stands",
            )
        partition = self.partitions[message.partition() or 0]
        applied = partition.apply(message.offset() or 0, message.value(), self._scoring.scorer)
        if applied is None:
            return
        if len(applied.stepped.hits):
            self._raise_alerts(partition.number, applied, message.timestamp()[1])
        if not self._outbox.waiting:
            self._outbox_since = time.monotonic()
        self._outbox.add(partition, applied.stepped.arrivals)
        self._legs_since[partition.number] += len(applied.legs)
        self._figures.applied(applied)

    def _raise_alerts(self, partition: int, applied: Applied, detected_at_ms: int) -> None:
        """Alerts lie in the partition of their account, which is that of its legs."""
        currency = self.settings.contract.base_currency
        for alert in alerts_of(applied, self._scoring.pattern_set, currency, detected_at_ms):
            self._produce(
                self.topics.stop_payment,
                partition,
                alert.model_dump_json().encode(),
                key=alert.account.encode(),
            )
            self._figures.alert(alert)

    def _outbox_is_full(self) -> bool:
        gathered_ms = (time.monotonic() - self._outbox_since) * 1000
        return self._outbox.waiting >= GATHERED_ENOUGH or (
            self._outbox.waiting > 0 and gathered_ms > self.settings.worker.gather_ms
        )

    def _send_arrivals(self) -> None:
        waiting = self._outbox.waiting
        for target, value in self._outbox.drain():
            self._produce(self.topics.legs, target, value)
        self._figures.sent(waiting)

    def _produce(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> None:
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition=partition, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def _delivered(self, error: object, message: Message) -> None:
        """Runs in whatever thread polls or flushes."""
        if error is not None and self._failure is None:
            lost = Problem(f"a record for {message.topic()} was not taken", str(error))
            self._failure = lost
            self._failed_elsewhere(lost)

    def _publish_progress(self) -> None:
        """Tells the router how far each partition has come."""
        if not self.partitions:
            return
        self._published_at = time.monotonic()
        applied = {str(p.number): p.place.applied for p in self.partitions.values()}
        progress = {
            "worker": self.settings.worker.slot,
            "at_ms": time.time_ns() // 1_000_000,
            "applied": applied,
        }
        self._produce(self.topics.progress, 0, json.dumps(progress).encode())
        self._producer.poll(0)

    # Checkpoints.

    def _is_due(self, number: int) -> bool:
        if number in self._checkpoints or not self._legs_since.get(number):
            return False
        share = self.settings.worker.checkpoint_legs / max(1, len(self.partitions))
        return time.monotonic() > self._due_at[number] or self._legs_since[number] >= share

    def _begin_checkpoint(self, number: int) -> None:
        """Takes the changed rows now; they are written while the stream goes on."""
        self._send_arrivals()  # what the state has sent on must be in the log before the state is
        write = self.store.take_checkpoint(self.partitions[number])
        self._legs_since[number] = 0
        self._due_at[number] = time.monotonic() + self.settings.worker.checkpoint_seconds

        def flush_and_write() -> None:
            started = time.monotonic()
            self._producer.flush()
            if self._failure is not None:
                return  # an arrival or alert may be lost: the state must not say that it was sent
            written = write()
            self._figures.checkpoint(time.monotonic() - started, written.size)

        async def watch() -> None:
            try:
                await asyncio.to_thread(flush_and_write)
            except Exception as error:  # noqa: BLE001 - nobody awaits this task while streaming
                self._failure = self._failure or error  # no other may follow a lost one
                self._fail(error)
            finally:
                self._checkpoints.pop(number, None)

        self._checkpoints[number] = asyncio.ensure_future(watch())

    async def _finish_checkpoints(self) -> None:
        while self._checkpoints:
            await asyncio.wait(list(self._checkpoints.values()))

    # Failure.

    def _fail(self, error: Exception) -> None:
        """The worker stops with its first error; nothing is applied after it."""
        if not self._stopping.is_set():
            self._failure = self._failure or error
            log.error("stops: %s", error, exc_info=not isinstance(error, Problem))
        self._stop_reading()
        self._stopping.set()

    def _failed_elsewhere(self, error: Exception) -> None:
        """The same, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._fail, error)

    def _client_failed(self, error: KafkaError) -> None:
        """Librdkafka reconnects by itself; what it cannot mend comes with the delivery."""
        log.warning("broker: %s", error.str())


def run_worker(settings: Settings, bootstrap: str, metrics: Metrics) -> None:
    """Runs one worker until it is told to stop.

    Raises:
        Problem: it cannot start, or something failed.
    """

    async def main() -> None:
        await Worker(settings, bootstrap, metrics).run()

    asyncio.run(main())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
