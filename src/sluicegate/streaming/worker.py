"""The worker: a Faust application whose agents judge legs, remember them and raise alerts.

Faust assigns partitions, restores the table and runs the agents; librdkafka reads the legs logs
and feeds the scoring agent's channel (docs/decisions/0004). An error stops the process: it never
skips a leg.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faust
import platformdirs
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaException, Message
from faust.tables.recovery import ServiceStopped

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.garbage import look_seldom
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings, WorkerSettings
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.channel import StreamChannel
from sluicegate.streaming.clients import confluent_config, faust_config, wait_for_broker
from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.gaps import Gaps
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.judge_web import JudgeWeb, token_guard
from sluicegate.streaming.later import Later
from sluicegate.streaming.legs import is_routed
from sluicegate.streaming.outgoing import Outgoing
from sluicegate.streaming.partition import Gap
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.reader import LegsReader
from sluicegate.streaming.starts import log_bounds, next_offset
from sluicegate.streaming.table import Changelog, SlabStore, Tables
from sluicegate.streaming.topics import Topics
from sluicegate.streaming.upkeep import Upkeep

if TYPE_CHECKING:
    from sluicegate.streaming.partition import Partition
    from sluicegate.streaming.scoring import Scoring

log = logging.getLogger(__name__)

TABLE = "accounts"
DELIVERIES_AHEAD = 2
"""So many deliveries of the reader wait at most while one is judged."""
LOOK_SECONDS = 0.5
"""How often the reader looks, while it waits for room, whether it is to end."""
BUSY_LEGS = 500
"""Legs of one delivery from which on the router may wait to hear of them: its lead is used up."""
PROGRESS_SECONDS = 0.01
"""How often the place is published then at most."""
CALM_PROGRESS_SECONDS = 0.1
"""And how often else: the router does not wait for it."""
ALERTS_SHARE = 0.1
"""Alerts are gathered for this share of the time that a busy worker is behind the bank."""
MOST_ALERTS_SECONDS = 0.1
"""And how long at most, in a backlog."""
BREATH_SECONDS = 0.05
"""How long judging goes on before the event loop, which sends Faust's heartbeats, has its turn."""
IDLE_SECONDS = 1.0
STOP_SECONDS = 3.0
LEAVE_SECONDS = 4.0
"""So long the last checkpoints are waited for; without them the next owner applies some again."""


class Worker:
    """One worker process: partitions, reader, outbox, and the Faust application around them."""

    def __init__(self, settings: Settings, bootstrap: str, metrics: Metrics) -> None:
        self.settings = settings
        self.topics = Topics.of(settings)
        self.partitions: dict[int, Partition] = {}
        self._config: dict[str, Any] = confluent_config(settings.broker, bootstrap)
        self._sets = ActiveSets(settings, self._config)
        self._reader: LegsReader | None = None
        self._recorded_ms = 0
        """When the bank's record of the last leg was written."""
        self._applied_ms: dict[int, int] = {}
        """Kafka timestamp of the last message applied, by partition."""
        self._failure: Exception | None = None
        self._stopping = asyncio.Event()
        self._asked_to_stop_at: float | None = None
        self._rebalances = 0
        self._assigned_at = time.monotonic()
        self._figures = WorkerFigures(metrics, settings.metrics.max_lag_seconds)
        self._figures.judges_by(self._sets.configured.pattern_set)
        self._gaps = Gaps(
            _state_folder(), f"{settings.topics.prefix}{settings.worker.slot}", self._figures
        )
        self._outgoing = Outgoing(settings, self._config, self._figures, self._failed_elsewhere)
        self._publishing = Later(self._publish, self._fail)
        self._alerting = Later(self._outgoing.send_alerts, self._fail)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.app = self._application(bootstrap)
        self._channel = StreamChannel(self.app, maxsize=DELIVERIES_AHEAD)
        self._room = threading.Semaphore(DELIVERIES_AHEAD)
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
            Changelog(self._config, self.topics.changelog, self._waited_enough),
            settings.worker.slot,
            lambda: AccountMemory(settings.worker.accounts_per_partition),
        )
        self._upkeep = Upkeep(
            settings.worker, self.store, self._outgoing, self._figures,
            failed=self._fail, give_up=self._waited_enough,
        )  # fmt: skip
        self._declare_agents(ownership)
        self._declare_upkeep()

    async def run(self) -> None:
        """Works until SIGTERM or SIGINT, or until something fails.

        Raises:
            Problem: what failed, said so that a person can act.
        """
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(tell_unless_stopped)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop)
        self.app.finalize()
        JudgeWeb(
            self,
            self._sets.configured,
            slot=self.settings.worker.slot,
            partition_count=self.settings.topics.partitions,
            active=self.active,
        ).add_to(self.app.web.web_app)
        starting = asyncio.ensure_future(self.app.start())
        asked = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        unstarted = starting.exception() if starting.done() else None
        if starting.done() and unstarted is None:
            crashed = asyncio.ensure_future(self.app.wait_until_stopped())
            await asyncio.wait({crashed, asked}, return_when=asyncio.FIRST_COMPLETED)
            crashed.cancel()
        if not (self._failure or unstarted or self.app.crash_reason):
            await self._leave()  # partitions may be held although the start is not done
        else:
            self._stop_reading()
        starting.cancel()
        asked.cancel()
        with contextlib.suppress(TimeoutError):  # all is safe by now, and Faust may wait for ever
            await asyncio.wait_for(self.app.stop(), STOP_SECONDS)
        failure = self._failure or unstarted or self.app.crash_reason
        if failure is not None:
            raise failure

    def _stop(self) -> None:
        """Asked to stop; from now on no answer of the broker is waited for without end."""
        self._asked_to_stop_at = self._asked_to_stop_at or time.monotonic()
        self._stopping.set()

    def _waited_enough(self) -> bool:
        """Whether the broker had its chance to take the last checkpoints; asked in threads."""
        asked = self._asked_to_stop_at
        return asked is not None and time.monotonic() - asked > LEAVE_SECONDS

    def _application(self, bootstrap: str) -> faust.App:
        worker = self.settings.worker
        return faust.App(
            f"{self.settings.topics.prefix}{worker.app_id}",
            **faust_config(self.settings.broker, bootstrap),
            datadir=str(_state_folder()),
            store="slab://local",
            TableManager=Tables,
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
            web_application_options={"middlewares": _guards(worker)},
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
                self._room.release()
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
            self._publishing.now()
            held = list(self.partitions.values())
            self._figures.state(held, self._reader.ends if self._reader else {})
            self._gaps.look(held)
            self._upkeep.look_around()

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
        await self._upkeep.finish()
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
            await self._activate(partition)
        bounds = await asyncio.to_thread(
            log_bounds, self._config, self.topics.legs, list(self.partitions)
        )
        if rebalances != self._rebalances:
            return
        self._applied_ms = {}
        starts = {
            number: next_offset(partition.place, number, self.topics.legs, identity, bounds[number])
            for number, partition in self.partitions.items()
        }
        now = time.monotonic()
        self._upkeep.begin(self.partitions.values())
        held = self.partitions.values()
        self._figures.restored(now - self._assigned_at, held, self.store.take_fenced())
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
        self._publishing.now()
        look_seldom()

    async def _leave(self) -> None:
        """Stops reading and checkpoints what is held, so that the next owner goes on from here."""
        if self._reader is None and not self.partitions:
            return
        self._stop_reading()
        self._assigned_at = time.monotonic()
        if self._failure is None:
            self._publishing.now()
            await self._upkeep.leave()
        self._outgoing.forget_arrivals()
        self.partitions = {}
        self._figures.left()

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    async def _activate(self, partition: "Partition") -> None:
        """Has the set that is active in a partition fetched and compiled, beside the heartbeats."""
        scoring = await asyncio.to_thread(self._sets.of, partition.place.activated)
        partition.place.pattern_set = scoring.version
        self._figures.judges_by(scoring.pattern_set)

    # The counter asks.

    def active(self, number: int) -> "Scoring":
        """The pattern set that judges in a held partition; the one before while it is fetched."""
        version = self.partitions[number].place.activated
        return self._sets.of(version) if self._sets.holds(version) else self._sets.configured

    def lag_ms(self, number: int) -> int | None:
        """How old the last applied message is while more wait; None while nothing is read."""
        end = self._reader.ends.get(number, -1) if self._reader is not None else -1
        if end < 0 or self._failure is not None:
            return None
        if self.partitions[number].place.applied + 1 >= end:
            return 0
        applied_ms = self._applied_ms.get(number)
        return None if applied_ms is None else max(0, time.time_ns() // 1_000_000 - applied_ms)

    # The stream.

    def _deliver(self, reader: LegsReader, messages: list[Message]) -> None:
        """Runs in the reader's thread: waits until there is room.

        It does not wait for the event loop, so that the next delivery lies ready when a turn ends.
        """
        while not self._room.acquire(timeout=LOOK_SECONDS):
            if reader.stopped:
                return
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._channel.put((reader, messages)), self._loop)

    async def _turn(self, reader: LegsReader, messages: list[Message]) -> None:
        """Applies one delivery of the reader, letting heartbeats through between messages."""
        if self._failure is not None:
            return
        started = breathed = time.monotonic()
        legs = 0
        last_routed = next((each for each in reversed(messages) if is_routed(each.value())), None)
        for message in messages:
            if reader is not self._reader:
                return  # the partitions have gone: their next owner reads this again
            legs += self._apply(message)
            partition = self.partitions[message.partition() or 0]
            if not self._sets.holds(partition.place.activated):
                await self._activate(partition)
            if message is last_routed and legs >= BUSY_LEGS:
                # The router may wait for this; what follows from it goes into the logs before what
                # the router sends next.
                self._outgoing.send_arrivals()
                self._publishing.within(PROGRESS_SECONDS)
            self._outgoing.send_due()
            if time.monotonic() - breathed > BREATH_SECONDS:
                self._publishing.now()
                await asyncio.sleep(0)
                breathed = time.monotonic()
        if not self._channel.waiting:
            self._outgoing.send_arrivals()
        behind = time.time() - self._recorded_ms / 1000
        self._alerting.within(
            min(MOST_ALERTS_SECONDS, ALERTS_SHARE * behind) if legs >= BUSY_LEGS else 0.0
        )
        self._publishing.within(CALM_PROGRESS_SECONDS)
        self._outgoing.poll()
        self._figures.turn(time.monotonic() - started)
        self._upkeep.take_due({message.partition() or 0 for message in messages})

    def _publish(self) -> None:
        self._outgoing.publish_progress(self.partitions.values())

    def _apply(self, message: Message) -> int:
        """Judges and remembers one message, and gives how many legs it held.

        Whatever goes wrong names its place in the log.
        """
        number, offset = message.partition() or 0, message.offset() or 0
        error = message.error()
        if error is not None:
            raise Problem(
                f"partition {number} of {self.topics.legs} cannot be read on",
                error.str(),
                "nothing is skipped: start the worker again, and it says where the state stands",
            )
        partition = self.partitions[number]
        try:
            scoring = self._sets.of(partition.place.activated)
            partition.place.pattern_set = scoring.version
            applied = partition.apply(offset, message.value(), scoring.scorer)
        except Exception:
            log.error("stopped at partition %d offset %d of %s", number, offset, self.topics.legs)  # noqa: TRY400 - the error itself is told by _fail
            raise
        judged_at_ms = self._applied_ms[number] = message.timestamp()[1]
        if applied is None:
            return 0
        if len(applied.stepped.hits):
            currency = self.settings.contract.base_currency
            judged = alerts_of(applied, scoring.pattern_set, currency, judged_at_ms)
            self._outgoing.tell(number, offset, judged)
        self._outgoing.gather(partition, applied.stepped.arrivals, applied.stepped.carried)
        if len(applied.legs):
            self._recorded_ms = int(applied.legs["recorded_at_ms"][-1])
        # What is told is made safe like legs: the log is not kept for ever.
        self._upkeep.note(number, len(applied.legs) or 1)
        self._figures.applied(number, applied)
        self._figures.shadows(applied, scoring)
        return len(applied.legs)

    # Failure.

    def _fail(self, error: Exception) -> None:
        """The worker stops with its first error; nothing is applied after it."""
        if not self._stopping.is_set():
            self._failure = self._failure or error
            if isinstance(error, Gap):
                self._gaps.found(error)
            log.error("stops: %s", error, exc_info=not isinstance(error, Problem))
        self._stop_reading()
        self._stopping.set()
        with contextlib.suppress(KafkaException):  # of a producer that failed, and takes no more
            self._outgoing.send_alerts()  # what was judged before stands

    def _failed_elsewhere(self, error: Exception) -> None:
        """The same, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._fail, error)


def run_worker(settings: Settings, bootstrap: str, metrics: Metrics) -> None:
    """Runs one worker until it is told to stop.

    Raises:
        Problem: it cannot start, or something failed.
    """

    async def main() -> None:
        await Worker(settings, bootstrap, metrics).run()

    while True:
        try:
            return asyncio.run(main())
        except KafkaConnectionError as error:  # while it began: nothing was held yet
            log.warning("the broker has gone away again: %s", error)
            wait_for_broker(settings, bootstrap, log.warning)


def tell_unless_stopped(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of a task that nobody waits for; Faust leaves one behind when it is stopped as it starts."""
    if not isinstance(context.get("exception"), ServiceStopped):
        loop.default_exception_handler(context)


def _guards(worker: WorkerSettings) -> list[Any]:
    token = worker.web_token
    return [] if token is None else [token_guard(token.get_secret_value())]


def _state_folder() -> Path:
    folder = Path(platformdirs.user_state_dir("sluicegate")) / "faust"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
