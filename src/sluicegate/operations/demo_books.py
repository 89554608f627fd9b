"""The books of the demo: what became of every transaction, and how fast."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from sluicegate.operations.demo_watch import quantiles_of


@dataclass(frozen=True)
class Measured:
    """What the demo saw itself; seconds, None where it did not come to that."""

    delays_ms: Sequence[int]
    """Of the live part's alerts, from the source record to the alert read by a consumer."""
    handed_over: int | None
    """Transactions that the bank has sent and that were acknowledged; None: it could not say."""
    history: int
    backlog_seconds: float | None
    live_seconds: float | None
    first_alert_seconds: float | None
    alerts_stored: int
    deaths: Mapping[str, int]


def books_of(audited: Mapping[str, Any], measured: Measured, *, final: bool) -> dict[str, Any]:
    """The report: what the auditor found, together with what was measured.

    When final, nothing was in a hurry: what still waits is lost. What the bank has sent and the
    topic does not hold is lost in any case.
    """
    waiting = 0 if final else audited["waiting"]
    missing = max(0, (measured.handed_over or 0) - audited["sent"])
    latency = quantiles_of(measured.delays_ms)
    live_scored = audited["scored"] - measured.history
    return {
        **audited,
        "sent": audited["sent"] + missing,
        "waiting": waiting,
        "lost": audited["lost"] + audited["waiting"] - waiting + missing,
        "alerts_stored": measured.alerts_stored,
        "latency_ms": latency._asdict() if latency else {"p50": None, "p99": None, "p999": None},
        "latency_to_record_ms": audited["latency_ms"],
        "rate_tx_s": _rate(live_scored, measured.live_seconds),
        "backlog_tx_s": _rate(measured.history, measured.backlog_seconds),
        "live_seconds": _rounded(measured.live_seconds),
        "seconds_to_first_alert": _rounded(measured.first_alert_seconds),
        "deaths": dict(measured.deaths),
    }


def _rate(transactions: int, seconds: float | None) -> float | None:
    return round(transactions / seconds, 1) if seconds else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def books_tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The books for people: the balance, the planted frauds, the speed."""
    yield _balance(report)
    yield _frauds(report)
    yield _speed(report)


def _balance(report: Mapping[str, Any]) -> Table:
    table = _table("The books", "", "transactions")
    table.add_row("sent", f"{report['sent']:,}")
    table.add_row("= scored", f"{report['scored']:,}")
    table.add_row("+ repeats", f"{report['repeats']:,}")
    table.add_row("+ dead-lettered", f"{report['dead_lettered']:,}")
    if report["waiting"]:
        table.add_row("+ not read before the end", f"{report['waiting']:,}")
    style = "bold red" if report["lost"] else "bold green"
    table.add_row("+ lost", f"{report['lost']:,}", style=style)
    if report["doubled"]:
        table.add_row("scored twice", f"{report['doubled']:,}", style="bold red")
    return table


def _frauds(report: Mapping[str, Any]) -> Table:
    table = _table("Planted frauds", "type", "planted", "caught", "missed")
    for kind, planted in report["planted"].items():
        caught, missed = report["caught"][kind], report["missed"][kind]
        table.add_row(kind.replace("_", " "), f"{planted:,}", f"{caught:,}", f"{missed:,}")
    table.add_section()
    totals = (sum(report[name].values()) for name in ("planted", "caught", "missed"))
    table.add_row("all", *(f"{total:,}" for total in totals), style="bold")
    return table


def _speed(report: Mapping[str, Any]) -> Table:
    table = _table("Alerts and speed", "", "")
    latency = report["latency_ms"]
    table.add_row("alerts", f"{report['alerts']:,}")
    table.add_row("of them at the desk", f"{report['alerts_stored']:,}")
    table.add_row("false alarms", f"{report['false_alarms']:,}")
    table.add_row("backlog", _or_dash(report["backlog_tx_s"], "{:,.0f} transactions/s"))
    table.add_row("live", _or_dash(report["rate_tx_s"], "{:,.0f} transactions/s"))
    for name, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999")):
        table.add_row(f"latency {name}", _or_dash(latency[key], "{:,.0f} ms"))
    return table


def _table(title: str, first: str, *rest: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(rest))
    table.add_column(first)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
