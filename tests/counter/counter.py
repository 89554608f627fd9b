"""A counter with a worker's pages behind it, both over real HTTP, without Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from aiohttp import web

from sluicegate.counter.api import create_app
from sluicegate.counter.database import open_counter_database
from sluicegate.counter.keys import Scope, create_key
from sluicegate.counter.service import CounterService
from sluicegate.counter.serving import server_of_counter
from sluicegate.domain.transaction import Channel, Kind
from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.broker import free_port
from sluicegate.operations.metrics import Metrics, Part
from sluicegate.settings import Settings
from sluicegate.streaming.judge_contract import STANDING_PATH, IntendedLeg, Judgements
from sluicegate.streaming.judge_web import JudgeWeb, records_of
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.partitioning import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from sluicegate.streaming.scoring import Scoring

ROOT = Path(__file__).parents[2]
PARTITIONS = 3
NOBODY = "127.0.0.1:1"
ALL_SCOPES = frozenset(Scope)


@dataclass
class Held:
    """A worker as its pages see it."""

    partitions: dict[int, Partition] = field(
        default_factory=lambda: {n: Partition(n, AccountMemory(500)) for n in range(PARTITIONS)}
    )
    lags: dict[int, int | None] = field(default_factory=dict)
    delay_seconds: float = 0.0
    """Before each answer to a question."""
    standing_delay_seconds: float = 0.0
    """Before it says what it holds."""

    def lag_ms(self, number: int) -> int | None:
        return self.lags.get(number, 0)

    def paid(self, scoring: Scoring, account: str, other: str, yuan: int, ago_s: int) -> None:
        """The account has been paid, as the stream would have told."""
        leg = IntendedLeg(
            account=account,
            counterparty=other,
            side="inflow",
            amount_minor=yuan * 100,
            occurred_at_ms=int(datetime.now(UTC).timestamp() * 1000) - ago_s * 1000,
            transaction="T",
            channel=Channel.MOBILE,
            kind=Kind.TRANSFER,
        )
        number = partition_of(account, PARTITIONS)
        self.partitions[number].memory.step(
            records_of([leg]), scoring.scorer, partition=number, log_offset=0
        )


class _SlowPages(JudgeWeb):
    """A worker's pages, as busy as the test wants them."""

    def __init__(self, held: Held, scoring: Scoring) -> None:
        super().__init__(held, scoring, slot="w0", partition_count=PARTITIONS)
        self._held = held

    async def answer(self, legs: Sequence[IntendedLeg]) -> Judgements:
        await _rest(lambda: self._held.delay_seconds)
        return await super().answer(legs)


async def _rest(seconds: Callable[[], float]) -> None:
    until = time.monotonic() + seconds()
    while time.monotonic() < until and seconds():  # noqa: ASYNC110 - the end of a test cuts it short
        await asyncio.sleep(0.02)


class RunningCounter:
    """The service on a port, and the pages of a worker that holds all partitions."""

    def __init__(self, folder: Path, scoring: Scoring, **counter: Any) -> None:
        self.held = Held()
        self.port, self.worker_port = free_port(), free_port()
        self.settings = Settings().changed(
            topics={"partitions": PARTITIONS},
            patterns={"file": ROOT / "config" / "patterns.toml"},
            counter={
                "port": self.port,
                "workers": f"127.0.0.1:{self.worker_port}",
                "rules_file": ROOT / "config" / "counter.toml",
                "database_url": f"sqlite:///{folder / 'counter.db'}",
                "desk_phone": "0512-110",
                **counter,
            },
        )
        self.engine = open_counter_database(self.settings.counter.url)
        self.metrics = Metrics(Part.COUNTER)
        self._scoring = scoring
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._worker: web.AppRunner | None = None
        service = CounterService(self.settings, NOBODY, self.engine, self.metrics)
        self._service = service
        self._server = server_of_counter(create_app(service), self.settings.counter)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start_worker()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.held.delay_seconds = self.held.standing_delay_seconds = 0.0
        self.client.close()
        self._server.should_exit = True
        self._await(self._serving_ends())
        self.stop_worker()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.engine.dispose()

    def start_worker(self) -> None:
        self._await(self._start_worker())

    def stop_worker(self) -> None:
        """The worker is gone; its address refuses."""
        if self._worker is not None:
            self._await(self._worker.cleanup())
            self._worker = None

    def key(self, branch: str = "0101", scopes: frozenset[Scope] = ALL_SCOPES) -> dict[str, str]:
        """Headers with a new key, once the counter knows it."""
        text = create_key(self.engine, branch, scopes, datetime.now(UTC))
        self._service.keys.load()
        return {"Authorization": f"Bearer {text}"}

    def ask_workers(self) -> None:
        """Lets the counter see at once what the worker holds."""
        self._await(self._service._owners.ask_all())

    async def _start_worker(self) -> None:
        @web.middleware
        async def slow(request: web.Request, handler: Any) -> Any:
            if request.path == STANDING_PATH:
                await _rest(lambda: self.held.standing_delay_seconds)
            return await handler(request)

        app = web.Application(middlewares=[slow])
        _SlowPages(self.held, self._scoring).add_to(app)
        self._worker = web.AppRunner(app, shutdown_timeout=0.1)
        await self._worker.setup()
        await web.TCPSite(self._worker, "127.0.0.1", self.worker_port).start()

    async def _start(self) -> None:
        self._serving = asyncio.ensure_future(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def _serving_ends(self) -> None:
        await self._serving

    def _await(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
