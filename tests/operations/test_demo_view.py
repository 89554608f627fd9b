"""What the demo shows: alerts as lines, where it stands, the books."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from sluicegate.domain.alert import Alert, Reason, alert_id, moment_of
from sluicegate.domain.measure import Measure
from sluicegate.operations.demo_books import Measured, books_of, books_tables
from sluicegate.operations.demo_view import Lines, Screen, State, alert_line, progress_line
from sluicegate.operations.demo_watch import Figures, Quantiles, Seen, quantiles_of

NOON_MS = 1_772_337_600_000
AUDITED = {
    "sent": 1_000,
    "scored": 950,
    "repeats": 20,
    "dead_lettered": 20,
    "waiting": 10,
    "lost": 0,
    "doubled": 0,
    "alerts": 5,
    "planted": {"mule_chain": 2, "structuring": 1},
    "caught": {"mule_chain": 1, "structuring": 1},
    "missed": {"mule_chain": 1, "structuring": 0},
    "false_alarms": 1,
    "latency_ms": {"p50": 20.0, "p99": 40.0, "p999": 40.0},
    "rate_tx_s": 99.0,
}


def alert(number: int = 1, score: float = 0.91) -> Alert:
    transaction = f"T{number}"
    return Alert(
        id=alert_id(transaction, "6222000011112222", "outflow"),
        transaction_id=transaction,
        account="6222000011112222",
        side="outflow",
        counterparty="6222000033334444",
        amount_minor=5_200_050,
        currency="CNY",
        score=score,
        measure=Measure.SUSPEND_NON_COUNTER,
        reasons=(
            Reason(pattern="first", strength=0.8, zh="快进快出", en="in and out at once"),
            Reason(pattern="second", strength=0.3, zh="夜间", en="at night"),
        ),
        facts={},
        occurred_at=moment_of(NOON_MS),
        recorded_at=moment_of(NOON_MS + 10),
        detected_at=moment_of(NOON_MS + 20),
        pattern_set_version="0" * 16,
        origin="stream",
    )


def measured(**changes: Any) -> Measured:
    values: dict[str, Any] = {
        "delays_ms": [10, 20, 30],
        "handed_over": 1_000,
        "history": 700,
        "backlog_seconds": 2.0,
        "live_seconds": 5.0,
        "first_alert_seconds": 1.234,
        "alerts_stored": 5,
        "deaths": {},
    }
    return Measured(**values | changes)


def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def printed(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_an_alert_is_one_line_with_all_that_matters() -> None:
    line = alert_line(alert(), "en").plain
    assert "\n" not in line
    for part in (
        *("6222000011112222", "52,000.50 CNY", "0.91", "暂停非柜面 suspend non counter"),
        "in and out at once; at night",
    ):
        assert part in line
    assert "快进快出; 夜间" in alert_line(alert(), "zh").plain


def test_the_delay_of_an_alert_is_that_of_its_reader() -> None:
    assert Seen(alert(), NOON_MS + 45).delay_ms == 35


def test_quantiles_of_nothing_are_nothing() -> None:
    assert quantiles_of([]) is None
    assert quantiles_of([5]) == Quantiles(5.0, 5.0, 5.0)


def test_the_progress_line_says_where_it_stands() -> None:
    figures = Figures(sent=1_500, read=1_400, stored=7)
    state = State("live", 1_000, 3.2, figures, 500.0, 8, Quantiles(20, 41, 44), {"worker-0": 2})
    assert progress_line(state) == (
        "live 3 s: 1,500 sent, 1,400 read, 500/s, lag 100, 8 alerts, 7 stored, "
        "p50 20 ms, p99 41 ms, died: worker-0 2 times"
    )


def test_without_a_terminal_a_phase_begins_with_a_line() -> None:
    on = console()
    lines = Lines(on)
    for phase in ("backlog", "backlog", "live"):
        lines.show(State(phase=phase, live_seconds=0.0), [])
    lines.close()
    assert [line.split(":")[0] for line in printed(on).splitlines()] == ["backlog", "live 0 s"]


def test_on_a_screen_the_strongest_alerts_are_shown_and_the_others_counted() -> None:
    on = console()
    screen = Screen(on, "en")
    seen = [Seen(alert(number, score=0.5 + number / 100), NOON_MS) for number in range(7)]
    screen.show(State(phase="live", live_seconds=1.0), seen)
    screen.close()
    shown = printed(on)
    assert [line.split()[5] for line in shown.splitlines() if "CNY" in line] == [
        *("0.53", "0.54", "0.55", "0.56")
    ]
    assert "and 3 more" in shown


def test_alerts_of_the_backlog_are_only_counted() -> None:
    on = console()
    screen = Screen(on, "en")
    screen.show(State(phase="backlog"), [Seen(alert(), NOON_MS)])
    screen.close()
    assert "CNY" not in printed(on)


def test_what_waits_when_nobody_was_in_a_hurry_is_lost() -> None:
    report = books_of(AUDITED, measured(), final=True)
    assert (report["waiting"], report["lost"]) == (0, 10)


def test_what_waits_when_it_was_stopped_in_between_is_not_lost() -> None:
    report = books_of(AUDITED, measured(), final=False)
    assert (report["waiting"], report["lost"]) == (10, 0)


def test_what_the_bank_sent_and_the_topic_does_not_hold_is_lost() -> None:
    report = books_of(AUDITED, measured(handed_over=1_002), final=False)
    assert (report["sent"], report["lost"]) == (1_002, 2)
    assert books_of(AUDITED, measured(handed_over=None), final=False)["lost"] == 0


def test_the_books_always_balance() -> None:
    for final in (True, False):
        report = books_of(AUDITED, measured(handed_over=1_005), final=final)
        states = ("scored", "repeats", "dead_lettered", "waiting", "lost")
        assert report["sent"] == sum(report[state] for state in states)


def test_rates_and_latency_are_those_that_were_measured() -> None:
    report = books_of(AUDITED, measured(), final=False)
    assert report["rate_tx_s"] == 50.0
    assert report["backlog_tx_s"] == 350.0
    assert report["latency_ms"] == {"p50": 20.0, "p99": 29.8, "p999": 30.0}
    assert report["latency_to_record_ms"] == AUDITED["latency_ms"]


def test_a_demo_that_did_not_come_to_live_still_has_books() -> None:
    nothing = measured(
        delays_ms=[], backlog_seconds=None, live_seconds=None, first_alert_seconds=None
    )
    report = books_of(AUDITED, nothing, final=False)
    assert report["latency_ms"] == {"p50": None, "p99": None, "p999": None}
    on = console()
    for table in books_tables(report):
        on.print(table)
    assert "+ not read before the end" in printed(on)


def test_the_tables_say_what_was_caught_and_missed() -> None:
    on = console()
    for table in books_tables(books_of(AUDITED, measured(), final=True)):
        on.print(table)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed(on).splitlines()]
    assert ["mule chain", "2", "1", "1"] in cells
    assert ["all", "3", "2", "1"] in cells
    assert ["+ lost", "10"] in cells
    assert ["latency p99", "30 ms"] in cells
