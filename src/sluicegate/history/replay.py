"""A file of transactions into the topic, in time order: as fast as can be, or at a pace."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sluicegate.errors import Problem
from sluicegate.history.events import Events
from sluicegate.settings import Settings
from sluicegate.streaming.clients import wait_for_broker
from sluicegate.streaming.sender import Sender

CHUNK = 5_000
BURST = 1_000
"""Messages handed over at most before the progress bar and `stop` are looked at again."""
NAP_SECONDS = 0.05

Due = Callable[[int, int], float]
"""When a transaction is due, in seconds from the start: of its number and its time in ms."""


@dataclass(frozen=True)
class Replayed:
    """What a replay did."""

    sent: int
    seconds: float

    def sentence(self) -> str:
        """The result for people."""
        rate = self.sent / self.seconds if self.seconds else 0.0
        return f"{self.sent:,} sent in {self.seconds:.1f} s, {rate:,.0f} a second"


def replay(
    settings: Settings,
    bootstrap: str,
    events: Events,
    *,
    speed: float | None = None,
    rate: float | None = None,
    stop: Event | None = None,
    say: Callable[[str], None] | None = None,
) -> Replayed:
    """Send the transactions of `events`; the records' timestamps are the time of sending.

    Args:
        settings: Names the topic and the way to the broker.
        bootstrap: Where the broker is.
        events: What is sent, in this order.
        speed: Times real time: 1 is as it happened, 60 an hour in a minute.
        rate: Transactions a second. Neither of the two: as fast as the broker takes them.
        stop: Ends the replay early when set; what was handed over is still delivered.
        say: Where the summary goes; by default to stderr, below the progress bar.

    Raises:
        Problem: The broker is away or refuses a message, or both paces are given.
    """
    due = pace(events, speed, rate)
    console = Console(stderr=True)
    tell = say or console.print
    wait_for_broker(settings, bootstrap, tell)
    sender = Sender(settings, bootstrap)
    started = time.monotonic()
    with _progress(console) as progress:
        task = progress.add_task("replay", total=events.frame.height)
        _send_all(
            sender,
            events,
            due,
            stop or Event(),
            lambda: progress.update(task, completed=sender.sent),
        )
        sender.finish()
    result = Replayed(sender.sent, time.monotonic() - started)
    for sentence in [*events.summary.sentences(), result.sentence()]:
        tell(sentence)
    return result


def pace(events: Events, speed: float | None, rate: float | None) -> Due | None:
    """The time at which each transaction is due; None: at once."""
    if speed is not None and rate is not None:
        raise Problem("--speed and --rate exclude each other", hint="give one of them, or none")
    for name, value in (("--speed", speed), ("--rate", rate)):
        if value is not None and not 0 < value < float("inf"):
            raise Problem(f"{name} must be above zero, not {value:g}")
    if speed is not None:
        first_ms = events.summary.first_ms
        return lambda _, occurred_at_ms: (occurred_at_ms - first_ms) / 1000 / speed
    if rate is not None:
        return lambda number, _: number / rate
    return None


def _send_all(
    sender: Sender, events: Events, due: Due | None, stop: Event, show: Callable[[], None]
) -> None:
    started = time.monotonic()
    times = iter(events.frame["occurred_at_ms"])
    for chunk in events.messages(CHUNK):
        for key, value in chunk:
            if due is not None:
                at = started + due(sender.sent, next(times))
                _wait_until(at, sender, stop, show)
            if sender.sent % BURST == 0:
                show()
            if stop.is_set():
                return
            sender.send(key, value)
    show()


def _wait_until(at: float, sender: Sender, stop: Event, show: Callable[[], None]) -> None:
    """Return at the moment `at` of the monotonic clock, or when stopped."""
    while (left := at - time.monotonic()) > 0 and not stop.is_set():
        show()
        sender.poll(0.0)
        stop.wait(min(left, NAP_SECONDS))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
