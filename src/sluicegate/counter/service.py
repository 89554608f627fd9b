"""The counter at work: who may ask, how much at once, and what is done with an answer."""

import asyncio
import gc
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.counter import database
from sluicegate.counter.checking import Checked, Rulebook, check_all
from sluicegate.counter.contract import (
    CheckKept,
    CheckTold,
    Intended,
    OutcomeAsked,
    OutcomeTold,
    read_intended,
)
from sluicegate.counter.journal import Journal
from sluicegate.counter.keys import Key, KeyRing, Rates
from sluicegate.counter.owners import WHYS, Owners, Unjudged
from sluicegate.counter.problems import (
    ACCOUNT_AWAY,
    AUDIT_AWAY,
    INVALID,
    KEY_REUSED,
    NOT_FOUND,
    OVERLOADED,
    RATE_LIMITED,
    ApiProblem,
    refused_field,
)
from sluicegate.counter.referrals import Referrals, alerts_for
from sluicegate.counter.rules import load_rules
from sluicegate.counter.verdict import Verdict
from sluicegate.domain.refusal import Refused
from sluicegate.domain.transaction import Rules
from sluicegate.judging.patterns import load_patterns
from sluicegate.operations.logs import event_log, mask_account
from sluicegate.operations.metrics import Metrics
from sluicegate.operations.readiness import Readiness
from sluicegate.operations.tracing import Tracing
from sluicegate.settings import Settings

events = event_log(__name__)

RETRY_SECONDS: Final = 1
TELL_SECONDS: Final = 0.5
GC_OBJECTS: Final = 20_000
"""New objects between two looks for cycles; at Python's 700 they take a twentieth of a check."""
AUDIT_SECONDS: Final = 2.0
"""So long an answer waits for its audit record."""


class CounterService:
    """Answers checks; open it before the first and close it after the last."""

    def __init__(
        self, settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
    ) -> None:
        patterns = load_patterns(settings.patterns.file)
        self.settings = settings.counter
        self.currency = settings.contract.base_currency
        self.rulebook = Rulebook(
            patterns.thresholds,
            load_rules(settings.counter.rules_file),
            settings.counter.desk_phone,
        )
        self.keys = KeyRing(engine)
        self._version = patterns.version
        self._engine = engine
        self._metrics = metrics
        self._contract = Rules(
            settings.contract.base_currency, settings.contract.max_ahead_seconds * 1000
        )
        self._owners = Owners(settings)
        self._rates = Rates(settings.counter.key_checks_per_second)
        taken = metrics.counter("sluicegate_counter_alerts_total")
        self._referrals = Referrals(settings, bootstrap, engine, taken)
        self._journal = Journal(engine, self._referrals.send)
        self._seconds = metrics.histogram("sluicegate_counter_check_seconds")
        for verdict in Verdict:  # from 0 on, so that the first one shows as a rise
            metrics.counter("sluicegate_counter_checks_total", verdict=verdict.value)
        for why in WHYS:
            metrics.counter("sluicegate_counter_degraded_total", why=why)
        self._tracing = Tracing(settings.tracing, "counter")
        self._in_flight = 0
        self._loops: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reads the keys, asks the workers, starts what writes and sends."""
        await asyncio.to_thread(self.keys.load)
        await asyncio.to_thread(self._referrals.start)
        self._journal.start()
        await self._owners.open()
        self._loops = [
            asyncio.ensure_future(self._owners.keep_asking()),
            asyncio.ensure_future(self.keys.keep_loading()),
            asyncio.ensure_future(self._keep_telling()),
        ]
        # What is there now stays: looking through it again and again would hold checks up.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_OBJECTS)

    async def close(self) -> None:
        """Stores and sends what is left."""
        for each in self._loops:
            each.cancel()
        await self._owners.close()
        await asyncio.to_thread(self._journal.stop)
        await asyncio.to_thread(self._referrals.stop)
        await asyncio.to_thread(self._tracing.close)

    async def _keep_telling(self) -> None:
        """Says again and again whether checks can be judged."""
        owned = self._metrics.gauge("sluicegate_counter_owned_partitions")
        while True:
            count, most = self._owners.owned, self._owners.partition_count
            owned.set(count)
            missing = [f"{most - count} of {most} partitions have no worker that answers"]
            self.readiness.report(*(missing if count < most else []))
            await asyncio.sleep(TELL_SECONDS)

    @property
    def readiness(self) -> Readiness:
        """Whether checks can be judged now; without, they are answered by policy."""
        return self._metrics.readiness

    # Checks.

    async def check(
        self, key: Key, asked: Sequence[Mapping[str, object]], idempotency_key: str | None = None
    ) -> list[CheckTold]:
        """Answers checks together; an idempotency key is for one alone.

        Raises:
            ApiProblem: a field is wrong, too much was asked, or the audit cannot be written.
        """
        began = time.monotonic()
        self._spend(key, len(asked))
        with self._admitted():
            intended = self._read(asked)
            deadline = began + self.settings.deadline_ms / 1000
            span, checks = self._tracing.span, intended[0].check_id
            with span("check", check=checks, count=len(intended)):
                with span("judge"):
                    checked = await check_all(
                        self._owners, self.rulebook, intended, began, deadline
                    )
                with span("audit"):
                    told = await self._kept(key, checked, idempotency_key)
        for each in told:
            self._note(each)
        self._seconds.observe(time.monotonic() - began)
        return told

    def refused(self, problem: ApiProblem) -> None:
        """Counts a request that was not answered."""
        self._metrics.counter("sluicegate_counter_refused_total", problem=problem.kind.name).inc()

    def _spend(self, key: Key, checks: int) -> None:
        wait = self._rates.wait_for(key.id, checks, time.monotonic())
        if wait:
            detail = f"{self.settings.key_checks_per_second:g} checks a second"
            raise ApiProblem(RATE_LIMITED, detail, headers={"Retry-After": str(int(wait) + 1)})

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._in_flight >= self.settings.max_in_flight:
            raise ApiProblem(OVERLOADED, headers={"Retry-After": str(RETRY_SECONDS)})
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def _read(self, asked: Sequence[Mapping[str, object]]) -> list[Intended]:
        now_ms = time.time_ns() // 1_000_000
        read = [
            read_intended(each, check_id=_new_id(now_ms), now_ms=now_ms, rules=self._contract)
            for each in asked
        ]
        errors = [
            refused_field(each, f"checks.{index}." if len(read) > 1 else "")
            for index, each in enumerate(read)
            if isinstance(each, Refused)
        ]
        if errors:
            raise ApiProblem(INVALID, errors=errors)
        return [each for each in read if isinstance(each, Intended)]

    async def _kept(
        self, key: Key, checked: Sequence[Checked], idempotency_key: str | None
    ) -> list[CheckTold]:
        """The answers, when they are in the audit; an earlier one under the same key instead."""
        try:
            async with asyncio.timeout(AUDIT_SECONDS):
                if len(checked) == 1:
                    stored = [await self._store(key, checked[0], idempotency_key)]
                else:
                    stored = await asyncio.gather(
                        *(self._store(key, each, idempotency_key) for each in checked)
                    )
                if all(stored):
                    return [each.answer for each in checked]
                return [await self._before(key, checked[0], idempotency_key)]
        except (SQLAlchemyError, TimeoutError) as error:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise ApiProblem(AUDIT_AWAY, headers=headers) from error

    async def _store(self, key: Key, checked: Checked, idempotency_key: str | None) -> bool:
        intended, answer = checked.intended, checked.answer
        transaction = intended.transaction
        now_ms = time.time_ns() // 1_000_000
        row = {
            "id": intended.check_id,
            "at": datetime.fromtimestamp(now_ms / 1000, UTC),
            "key_id": key.id,
            "branch": key.branch,
            "idempotency_key": idempotency_key,
            "digest": intended.digest,
            "payer_account": transaction.payer_account,
            "payee_account": transaction.payee_account,
            "amount_minor": transaction.amount_minor,
            "verdict": answer.verdict.value,
            "score": answer.score,
            "degraded": answer.degraded,
            "transaction": transaction.model_dump(mode="json", by_alias=True, exclude_none=True),
            "customer": intended.customer.model_dump(mode="json", exclude_none=True),
            "answer": answer.model_dump(mode="json"),
        }
        version = answer.pattern_set_version or self._version
        alerts = alerts_for(intended, checked.weighed, version, now_ms)
        return await self._journal.store(row, alerts)

    async def _before(self, key: Key, checked: Checked, idempotency_key: str | None) -> CheckTold:
        if idempotency_key is None:
            raise ApiProblem(AUDIT_AWAY)
        before = await asyncio.to_thread(
            database.answer_before, self._engine, key.id, idempotency_key
        )
        if before is None or before[0] != checked.intended.digest:
            raise ApiProblem(KEY_REUSED, "ask under a new Idempotency-Key")
        return before[1]

    def _note(self, told: CheckTold) -> None:
        self._metrics.counter("sluicegate_counter_checks_total", verdict=told.verdict.value).inc()
        for why in told.degraded_because:
            self._metrics.counter("sluicegate_counter_degraded_total", why=why).inc()
        if told.degraded or told.verdict != "allow":
            events.info(
                "check answered",
                trace=told.check_id,
                verdict=told.verdict.value,
                score=round(told.score, 3),
                accounts=[mask_account(side.account) for side in told.sides],
                degraded_because=list(told.degraded_because),
                took_ms=told.took_ms,
            )

    # What became of checks.

    async def kept(self, key: Key, check_id: str) -> CheckKept:
        """A check of the key's branch.

        Raises:
            ApiProblem: there is none, or the database is away.
        """
        try:
            kept = await asyncio.to_thread(database.find_check, self._engine, check_id, key.branch)
        except SQLAlchemyError as error:
            raise ApiProblem(AUDIT_AWAY) from error
        if kept is None:
            raise ApiProblem(NOT_FOUND, "this branch has no check of this id")
        return kept

    async def add_outcome(self, key: Key, check_id: str, asked: OutcomeAsked) -> OutcomeTold:
        """Records how a check ended.

        Raises:
            ApiProblem: there is no such check, or the database is away.
        """
        await self.kept(key, check_id)
        outcome = OutcomeTold(**asked.model_dump(), at=datetime.now(UTC))
        try:
            await asyncio.to_thread(database.add_outcome, self._engine, check_id, key.id, outcome)
        except SQLAlchemyError as error:
            raise ApiProblem(AUDIT_AWAY) from error
        name = "sluicegate_counter_outcomes_total"
        self._metrics.counter(name, outcome=asked.outcome.value).inc()
        return outcome

    async def account(self, key: Key, account: str) -> dict[str, Any]:
        """What is remembered of an account, as its worker has it now.

        Raises:
            ApiProblem: nothing is, or its worker cannot say.
        """
        self._spend(key, 1)
        deadline = time.monotonic() + self.settings.deadline_ms / 1000
        view = await self._owners.account(account, deadline)
        if view is None:
            raise ApiProblem(NOT_FOUND, "nothing is remembered of this account")
        if isinstance(view, Unjudged):
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise ApiProblem(ACCOUNT_AWAY, str(view), headers=headers)
        return view


def _new_id(now_ms: int) -> str:
    """Unique, and in the order of time."""
    return f"c{now_ms:011x}{secrets.token_hex(8)}"
