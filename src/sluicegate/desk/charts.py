"""Charts drawn on the server: SVG without a script, sized by the style sheet.

Text in them is escaped by Markup; colours come from classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from sluicegate.domain.money import amount_display

WIDTH: Final = 640
HEIGHT: Final = 200
LEFT: Final = 92
"""Room for the amounts."""
FOOT: Final = 22
TOP: Final = 12
MOST_PEERS: Final = 6
ROW: Final = 34
MOST_LABELS: Final = 8


@dataclass(frozen=True, slots=True)
class Day:
    """What came in and went out on a day; amounts in minor units."""

    label: str
    inflow_minor: int
    outflow_minor: int


@dataclass(frozen=True, slots=True)
class Peer:
    """Another account and what passed between; `is_payer`: it paid."""

    label: str
    amount_minor: int
    count: int
    is_payer: bool


def flow_chart(days: Sequence[Day], title: str, names: tuple[str, str, str]) -> Markup:
    """Inflow upwards, outflow downwards, and how the balance changed since the first day."""
    balance, balances = 0, []
    for day in days:
        balance += day.inflow_minor - day.outflow_minor
        balances.append(balance)
    highest = max([*(day.inflow_minor for day in days), *balances, 0])
    lowest = max([*(day.outflow_minor for day in days), *(-each for each in balances), 0])
    scale = (HEIGHT - TOP - FOOT) / max(1, highest + lowest)
    zero = TOP + highest * scale
    step = (WIDTH - LEFT) / max(1, len(days))
    marks = {highest, 0, -lowest}  # the same one only once
    parts = [_axis(zero - mark * scale, mark) for mark in sorted(marks)]
    for n, day in enumerate(days):
        x = LEFT + n * step
        parts += [
            _bar(x + step * 0.12, zero, -day.inflow_minor * scale, step * 0.36, "inflow"),
            _bar(x + step * 0.5, zero, day.outflow_minor * scale, step * 0.36, "outflow"),
            _text(x + step / 2, HEIGHT - 6, day.label, "label"),
        ]
    points = " ".join(
        f"{LEFT + (n + 0.5) * step:.1f},{zero - each * scale:.1f}"
        for n, each in enumerate(balances)
    )
    parts.append(Markup('<polyline class="balance" points="{}"/>').format(points))
    inflow, outflow, kept = names
    sums = (
        f"{inflow} {amount_display(sum(day.inflow_minor for day in days))}; "
        f"{outflow} {amount_display(sum(day.outflow_minor for day in days))}; "
        f"{kept} {amount_display(balance)}"
    )
    return _svg(HEIGHT, f"{title}: {sums}", parts)


def peer_graph(peers: Sequence[Peer], title: str, centre: str) -> Markup:
    """Who paid the account on the left, whom it paid on the right; the wider the more."""
    payers = _largest([each for each in peers if each.is_payer])
    payees = _largest([each for each in peers if not each.is_payer])
    height = max(len(payers), len(payees), 1) * ROW + 20
    middle = height / 2
    most = max([each.amount_minor for each in (*payers, *payees)], default=1)
    parts: list[Markup] = []
    for side, (x, at) in ((payers, (170, 268)), (payees, (470, 372))):
        for n, peer in enumerate(side):
            y = middle + (n - (len(side) - 1) / 2) * ROW
            width = 1 + 7 * peer.amount_minor / most
            kind = "inflow" if peer.is_payer else "outflow"
            bend = (x + at) / 2
            parts.append(
                Markup(
                    '<path class="edge {}" stroke-width="{:.1f}" '
                    'd="M{} {:.1f} C{} {:.1f} {} {:.1f} {} {:.1f}"/>'
                ).format(kind, width, x, y, bend, y, bend, middle, at, middle)
            )
            anchor = "end" if peer.is_payer else "start"
            label = f"{peer.label} {amount_display(peer.amount_minor)}"
            label += f" ×{peer.count}" if peer.count > 1 else ""  # noqa: RUF001 - times
            parts.append(_text(x + (-6 if peer.is_payer else 6), y + 4, label, anchor))
    parts.append(
        Markup('<rect class="node" x="268" y="{:.1f}" width="104" height="28" rx="5"/>').format(
            middle - 14
        )
    )
    parts.append(_text(320, middle + 5, centre, "label centre"))
    told = "; ".join(f"{each.label} {amount_display(each.amount_minor)}" for each in peers)
    return _svg(height, f"{title}: {told}", parts)


def _largest(peers: Sequence[Peer]) -> list[Peer]:
    return sorted(peers, key=lambda each: -each.amount_minor)[:MOST_PEERS]


def _svg(height: float, told: str, parts: Sequence[Markup]) -> Markup:
    frame = Markup('<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}</svg>')
    return frame.format(WIDTH, height, told, Markup("").join(parts))


def _axis(y: float, amount_minor: int) -> Markup:
    line = Markup('<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
        LEFT, WIDTH, y, y
    )
    return line + _text(LEFT - 6, y + 4, amount_display(amount_minor), "end")


def _bar(x: float, zero: float, length: float, width: float, kind: str) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, x, min(zero, zero + length), width, abs(length)
    )


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a chart: its height, and both as they are told."""

    label: str
    value: float
    told: str


def column_chart(columns: Sequence[Column], title: str) -> Markup:
    """Columns side by side from zero; the highest is told at the axis, all are told in words."""
    highest = max(columns, key=lambda each: each.value, default=None)
    scale = (HEIGHT - TOP - FOOT) / max(1.0, highest.value if highest else 0)
    zero, step = HEIGHT - FOOT, (WIDTH - LEFT) / max(1, len(columns))
    every = -(-len(columns) // MOST_LABELS)
    parts = [_line(zero, "0")]
    if highest is not None and highest.value > 0:
        parts.append(_line(zero - highest.value * scale, highest.told))
    for n, column in enumerate(columns):
        x = LEFT + n * step
        parts.append(_bar(x + step * 0.15, zero, -column.value * scale, step * 0.7, "column"))
        if n % every == 0:
            parts.append(_text(x + step / 2, HEIGHT - 6, column.label, "label"))
    told = "; ".join(f"{each.label} {each.told}" for each in columns)
    return _svg(HEIGHT, f"{title}: {told}", parts)


def _line(y: float, told: str) -> Markup:
    line = Markup('<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
        LEFT, WIDTH, y, y
    )
    return line + _text(LEFT - 6, y + 4, told, "end")
