"""Makes the state anew from the transactions: empty logs, then parts run until all is in.

Each step may be repeated: the routers' places go first, so that whatever is left by a rebuild that
died is routed again, and recognised where it is still there.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from sluicegate.errors import Problem
from sluicegate.operations.supervisor import Plan, Supervisor
from sluicegate.operations.up import part_stages
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.progress import Progress
from sluicegate.streaming.published import published_sets
from sluicegate.streaming.state_quiet import require_nobody, router_group, worker_group
from sluicegate.streaming.stretch import Stretch, StretchReader
from sluicegate.streaming.topics import Topics, check_topics, create_topics

REQUEST_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.5
GONE_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 1.5
"""So long nothing may move at the end: a worker says where it is once a second."""
STOP_SECONDS: Final = 120.0
"""A last checkpoint of everything may be long."""

Told = Callable[[int, int], None]
"""Told how many transactions are routed, and of how many."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to."""

    transactions: int
    legs_messages: int
    seconds: float


def require_idle(settings: Settings, bootstrap: str, say: Callable[[str], None]) -> None:
    """Returns once neither routers nor workers run.

    Raises:
        Problem: somebody stays at work.
    """
    config = confluent_config(settings.broker, bootstrap)
    require_nobody(settings, config, [router_group(settings), worker_group(settings)], say)


def rebuild(
    settings: Settings,
    bootstrap: str,
    *,
    workers: int = 1,
    say: Callable[[str], None],
    progress: Told = lambda _done, _total: None,
) -> Rebuilt:
    """Deletes state and legs, and makes them from what the transactions topic holds now.

    `progress` counts transactions routed. Alerts come again with the ids that they had.

    Raises:
        Problem: routers or workers run, the broker refuses a step, or a part fails.
    """
    began_at = time.monotonic()
    require_idle(settings, bootstrap, say)
    config: dict[str, Any] = confluent_config(settings.broker, bootstrap)
    with closing(StretchReader(config)) as reader:
        transactions = Topics.of(settings).transactions
        sources = [reader.whole(transactions, each) for each in reader.partitions(transactions)]
        _empty(settings, bootstrap, config, reader)
        published = [version for version, _ in published_sets(settings, config)]
        if published:
            say(
                f"all is judged by pattern set {published[-1]}, which was published last: "
                "the transactions do not say which one judged them before"
            )
        for difference in check_topics(settings, bootstrap):
            say(f"topics: {difference}")
        folder = Path(tempfile.mkdtemp(prefix="sluicegate-rebuild-"))
        with closing(_Watch(settings, config, reader, sources)) as watch:
            try:
                with Supervisor(_parts(settings, bootstrap, workers, folder)) as supervisor:
                    while not watch.look(progress):
                        supervisor.look(time.monotonic())
                        _require_alive(supervisor, folder)
                        time.sleep(LOOK_SECONDS)
            except Problem:
                say(f"what the parts said is in {folder}")
                raise
        shutil.rmtree(folder, ignore_errors=True)
        return Rebuilt(
            transactions=sum(each.end - each.start for each in sources),
            legs_messages=sum(watch.ends.values()),
            seconds=time.monotonic() - began_at,
        )


# Away with the old.


def _empty(
    settings: Settings, bootstrap: str, config: dict[str, Any], reader: StretchReader
) -> None:
    """The routers' places, the changelog and the legs logs, from the beginning."""
    topics = Topics.of(settings)
    admin = AdminClient({**config, "log_level": 4})
    _done(
        admin.delete_consumer_groups([router_group(settings)], request_timeout=REQUEST_SECONDS),
        "the places of the routers",
        unless=KafkaError.GROUP_ID_NOT_FOUND,
    )
    old = [topics.changelog, topics.legs]
    _done(
        admin.delete_topics(old, operation_timeout=REQUEST_SECONDS),
        "the topic",
        unless=KafkaError.UNKNOWN_TOPIC_OR_PART,
    )
    deadline = time.monotonic() + GONE_SECONDS
    while set(old) & admin.list_topics(timeout=REQUEST_SECONDS).topics.keys():
        if time.monotonic() > deadline:
            raise Problem(
                f"the broker still shows {' and '.join(old)} after their deletion",
                hint="give the command again in a while",
            )
        time.sleep(LOOK_SECONDS)
    create_topics(settings, bootstrap)
    for topic in old:
        for number in range(settings.topics.partitions):
            reader.whole(topic, number)  # returns when the broker leads it


def _done(answers: dict[str, Any], what: str, *, unless: int) -> None:
    for name, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() != unless:
                raise Problem(
                    f"{what} {name} cannot be deleted",
                    str(error.args[0].str()),
                    "is this user allowed to, and does the cluster allow topics to be deleted?",
                ) from error


# On with the new.


def _parts(settings: Settings, bootstrap: str, workers: int, folder: Path) -> list[list[Plan]]:
    """A router and workers whose ports are in nobody's way."""
    quiet = settings.changed(router={"metrics_port": 0}, worker={"metrics_port": 0, "web_port": 0})
    router, seats, _ = part_stages(quiet, bootstrap, workers, log_dir=folder)
    return [
        [replace(plan, stop_seconds=STOP_SECONDS) for plan in stage] for stage in (router, seats)
    ]


def _require_alive(supervisor: Supervisor, folder: Path) -> None:
    for name in supervisor.deaths:
        log = folder / f"{name}.log"
        said = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        raise Problem(
            f"{name} stopped before all was applied",
            "\n".join(said[-5:]),
            "when the cause is mended: begin again with `sluicegate state rebuild`",
        )


class _Watch:
    """Sees how far routing and applying have come; close it when done."""

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Any],
        reader: StretchReader,
        sources: Sequence[Stretch],
    ) -> None:
        self._topics = Topics.of(settings)
        self._reader = reader
        self._sources = sources
        self._partitions = range(settings.topics.partitions)
        self._group = Consumer(
            {**config, "group.id": router_group(settings), "enable.auto.commit": False}
        )
        self._said = Consumer(
            {**config, "group.id": "sluicegate-unused", "enable.auto.commit": False}
        )
        progress = self._topics.progress
        self._said.assign([TopicPartition(progress, 0, reader.whole(progress, 0).end)])
        self._applied: dict[int, int] = {}
        self._seen: list[int] = []
        self._seen_at = time.monotonic()
        self.ends: dict[int, int] = {}
        """Where the legs logs end."""

    def close(self) -> None:
        """Leaves the cluster."""
        self._group.close()
        self._said.close()

    def look(self, progress: Told) -> bool:
        """Whether all is routed and applied, and has been for a moment."""
        places = self._routed()
        total = sum(each.end - each.start for each in self._sources)
        left = sum(max(0, each.end - at) for each, at in zip(self._sources, places, strict=True))
        progress(total - left, total)
        self._listen()
        self.ends = {
            number: self._reader.whole(self._topics.legs, number).end for number in self._partitions
        }
        seen = [*places, *self._applied.values(), *self.ends.values()]
        now = time.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if now - self._seen_at < SETTLE_SECONDS:
            return False
        applied = all(self._applied.get(number, -1) >= end - 1 for number, end in self.ends.items())
        is_done = applied and len(self._applied) == len(self.ends) and self._nothing_left(places)
        if is_done:
            progress(total, total)
        return is_done

    def _routed(self) -> list[int]:
        """The place in each source partition up to which the router has committed."""
        asked = [TopicPartition(each.topic, each.partition) for each in self._sources]
        committed = self._group.committed(asked, timeout=REQUEST_SECONDS)
        return [
            max(place.offset, source.start)
            for place, source in zip(committed, self._sources, strict=True)
        ]

    def _nothing_left(self, places: Sequence[int]) -> bool:
        """The last offsets may hold no record, but marks of the bank's Kafka transactions."""
        rests = [
            Stretch(source.topic, source.partition, at, source.end)
            for source, at in zip(self._sources, places, strict=True)
            if at < source.end
        ]
        return all(self._reader.first_of(rest) is None for rest in rests)

    def _listen(self) -> None:
        """What the workers have published since the last time."""
        for message in self._said.consume(1_000, 0.05):
            if message.error() is None:
                self._applied |= Progress.read(message.value()).applied
