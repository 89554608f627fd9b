"""Whether money is being watched: all parts asked, their figures put together, what is wrong."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, Literal

from sluicegate.errors import Problem
from sluicegate.operations.metric_table import Part
from sluicegate.operations.readiness import READY
from sluicegate.operations.readings import Reading, Readings, quantile, rate, share_within
from sluicegate.operations.up import WORKER_PORTS_APART
from sluicegate.settings import Settings

ASK_SECONDS: Final = 3.0
BETWEEN_SECONDS: Final = 1.0
"""Between the two readings that make a rate."""
MOST_WORKERS: Final = 64
JUDGED_WITHIN_SECONDS: Final = 1.0
CHECKED_WITHIN_SECONDS: Final = 0.05
"""The service levels: docs/service-levels.md."""

State = Literal["ready", "not ready", "away"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a part shows its figures; the part is not known if the address was given by hand."""

    host: str
    port: int
    part: Part | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part as it answers."""

    part: str
    address: str
    state: State
    reasons: tuple[str, ...] = ()
    version: str = ""
    up_seconds: float | None = None
    restarts: int = 0
    memory_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """All parts at one moment."""

    at: float
    """Unix seconds."""
    parts: tuple[PartStatus, ...]
    problems: tuple[str, ...]
    figures: dict[str, float | None]
    """By the names of the message catalogue."""
    latency: list[tuple[float, float]]
    """Buckets of the age of transactions when they were judged: upper bound, how many up to it."""
    check_latency: list[tuple[float, float]]
    measures: dict[str, float]
    patterns: dict[str, float]
    refusals: dict[str, float]
    lag_seconds: dict[str, float]
    """By partition of the legs logs."""
    pattern_sets: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Answer:
    address: Address
    reading: Reading | None
    told: dict[str, Any]

    @property
    def part(self) -> str:
        return str(self.told.get("part") or (self.address.part or "?"))


def parse_address(text: str) -> Address:
    """An address as `host:port`.

    Raises:
        Problem: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise Problem(f"{text}: is not an address", "it looks like 127.0.0.1:9402")
    return Address(host.strip("[]"), int(port))


def usual_addresses(settings: Settings) -> list[Address]:
    """Where the settings say that the parts of this machine show their figures.

    Raises:
        Problem: a part takes any free port.
    """
    ports = {part: int(getattr(settings, part.value).metrics_port) for part in Part}
    for part, port in ports.items():
        if not port:
            raise Problem(
                f"the settings do not say where the {part} shows its figures",
                f"{part}.metrics_port is 0: any free port",
                "name the addresses: --at 127.0.0.1:PORT for each part",
            )
    host = settings.metrics.bind
    if host in ("0.0.0.0", "::"):  # noqa: S104 - it is asked, not bound
        host = "127.0.0.1"
    return [Address(host, port, part) for part, port in ports.items()]


def take_status(settings: Settings, addresses: Sequence[Address] = ()) -> Status:
    """Asks the parts twice, a second apart; without addresses those of this machine.

    Raises:
        Problem: see `usual_addresses`.
    """
    named = list(addresses) or usual_addresses(settings)
    asked = [each for address in named for each in _resolved(address)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        first = list(pool.map(_ask, asked))
        if not addresses:
            first += _further_workers(first)
        time.sleep(BETWEEN_SECONDS)
        second = list(pool.map(_ask, [each.address for each in first]))
    return status_of(first, second, settings.topics.partitions, time.time())


def _resolved(address: Address) -> list[Address]:
    """All addresses behind a name: several workers can stand behind one."""
    try:
        found = socket.getaddrinfo(address.host, address.port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:  # asked under its name, it says that it is away
        return [address]
    hosts = sorted({str(each[4][0]) for each in found})
    return [replace(address, host=host) for host in hosts]


def _further_workers(answers: Sequence[_Answer]) -> Iterator[_Answer]:
    """Workers of `sluicegate up --workers N` behind the first, as long as they answer."""
    worker = next(each.address for each in answers if each.address.part is Part.WORKER)
    for index in range(1, MOST_WORKERS):
        answer = _ask(Address(worker.host, worker.port + WORKER_PORTS_APART * index, Part.WORKER))
        if answer.reading is None or answer.part != Part.WORKER:
            return
        yield answer


def _ask(address: Address) -> _Answer:
    try:
        status, page = _get(address, "/metrics")
        _, told = _get(address, READY)
        if status != 200:
            return _Answer(address, None, {})
        return _Answer(address, Reading.of(page, time.monotonic()), json.loads(told))
    except (OSError, HTTPException, ValueError):
        return _Answer(address, None, {})


def _get(address: Address, path: str) -> tuple[int, str]:
    connection = HTTPConnection(address.host, address.port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def status_of(
    first: Sequence[_Answer], second: Sequence[_Answer], partitions: int, at: float
) -> Status:
    """What two rounds of answers come to; `partitions` of accounts there are, `at` is now."""
    parts = tuple(_part_status(each, at) for each in second)
    readings = [each.reading for each in second if each.reading is not None]
    now, before = Readings(readings), Readings(each.reading for each in first if each.reading)
    seconds = _seconds_between(first, second)
    sets = tuple(sorted(now.by("version", "sluicegate_pattern_set_info")))
    status = Status(
        at=at,
        parts=parts,
        problems=(),
        figures=_figures(before, now, seconds, at),
        latency=now.buckets("sluicegate_transaction_seconds"),
        check_latency=now.buckets("sluicegate_counter_check_seconds"),
        measures=_above_zero(now.by("measure", "sluicegate_worker_alerts_total")),
        patterns=_above_zero(now.by("pattern", "sluicegate_worker_reasons_total")),
        refusals=_above_zero(now.by("reason", "sluicegate_router_refused_total")),
        lag_seconds=dict(
            sorted(
                now.by("partition", "sluicegate_worker_lag_seconds").items(),
                key=lambda pair: int(pair[0]),
            )
        ),
        pattern_sets=sets,
    )
    return _with_problems(status, now, partitions)


def _seconds_between(first: Sequence[_Answer], second: Sequence[_Answer]) -> float:
    pairs = zip(first, second, strict=True)
    apart = [b.reading.at - a.reading.at for a, b in pairs if a.reading and b.reading]
    return sum(apart) / len(apart) if apart else 0.0


def _part_status(answer: _Answer, at: float) -> PartStatus:
    if answer.reading is None:
        return PartStatus(answer.part, str(answer.address), "away", ("does not answer",))
    own = Readings([answer.reading])
    reasons = tuple(answer.told.get("reasons", ()))
    began = own.most("process_start_time_seconds")
    return PartStatus(
        part=answer.part,
        address=str(answer.address),
        state="not ready" if reasons else "ready",
        reasons=reasons,
        version=str(answer.told.get("version", "")),
        up_seconds=None if began is None else at - began,
        restarts=round(own.total("sluicegate_restarts") or 0),
        memory_bytes=own.total("process_resident_memory_bytes"),
    )


def _figures(before: Readings, now: Readings, seconds: float, at: float) -> dict[str, float | None]:
    def a_second(name: str) -> float | None:
        return rate(before.total(name), now.total(name), seconds)

    def ago(name: str) -> float | None:
        moment = now.most(name)
        return at - moment if moment else None

    judged = now.buckets("sluicegate_transaction_seconds")
    checked = now.buckets("sluicegate_counter_check_seconds")
    accounts = now.total("sluicegate_worker_accounts")
    memory = now.total("sluicegate_worker_memory_bytes")
    return {
        "transactions_a_second": a_second("sluicegate_router_transactions_total"),
        "transactions": now.total("sluicegate_router_transactions_total"),
        "last_transaction_seconds_ago": ago("sluicegate_router_read_timestamp_seconds"),
        "refused": now.total("sluicegate_router_refused_total"),
        "repeats": now.total("sluicegate_router_repeats_total"),
        "router_lag": now.total("sluicegate_router_lag_records"),
        "lead": now.total("sluicegate_router_lead_transactions"),
        "judged_a_second": a_second("sluicegate_transaction_seconds_count"),
        "judged": now.total("sluicegate_transaction_seconds_count"),
        "judged_in_time": share_within(JUDGED_WITHIN_SECONDS, judged),
        "latency_p50_seconds": quantile(0.5, judged),
        "latency_p99_seconds": quantile(0.99, judged),
        "worker_lag": now.total("sluicegate_worker_lag_records"),
        "lag_seconds": now.most("sluicegate_worker_lag_seconds"),
        "accounts": accounts,
        "account_bytes": memory / accounts if memory and accounts else None,
        "alerts": now.total("sluicegate_worker_alerts_total"),
        "last_alert_seconds_ago": ago("sluicegate_worker_last_alert_timestamp_seconds"),
        "suppressed": now.total("sluicegate_worker_suppressed_total"),
        "unjudged": now.total("sluicegate_worker_unjudged_total"),
        "stored": now.total("sluicegate_liaison_stored_total"),
        "liaison_lag": now.total("sluicegate_liaison_lag_records"),
        "checks": now.total("sluicegate_counter_checks_total"),
        "referred": now.total("sluicegate_counter_checks_total", verdict="refer"),
        "degraded": now.total("sluicegate_counter_degraded_total"),
        "checked_in_time": share_within(CHECKED_WITHIN_SECONDS, checked),
        "check_p99_seconds": quantile(0.99, checked),
    }


def _with_problems(status: Status, now: Readings, partitions: int) -> Status:
    return replace(status, problems=tuple(_problems(status, now, partitions)))


def _problems(status: Status, now: Readings, partitions: int) -> Iterator[str]:
    for part in status.parts:
        if part.state != "ready":
            yield f"{part.part} at {part.address}: {'; '.join(part.reasons)}"
    if any(part.part == Part.WORKER and part.state != "away" for part in status.parts):
        held = len(now.by("partition", "sluicegate_worker_accounts"))
        if held < partitions:
            yield f"{partitions - held} of {partitions} partitions have no worker"
    for partition, gap in now.by("partition", "sluicegate_worker_gap").items():
        if gap:
            yield f"the log of partition {partition} has a hole: docs/runbooks/GapNotRepaired.md"
    versions = sorted({part.version for part in status.parts if part.version})
    if len(versions) > 1:
        yield f"parts of different versions run: {', '.join(versions)}"
    if len(status.pattern_sets) > 1:
        yield f"workers judge by different pattern sets: {', '.join(status.pattern_sets)}"


def _above_zero(by_label: dict[str, float]) -> dict[str, float]:
    return {label: value for label, value in by_label.items() if value}
