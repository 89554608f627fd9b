"""One story that fires and one that just does not for each of the shipped patterns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.judging.stories import tell

if TYPE_CHECKING:
    from sluicegate.judging.kernels import CompiledPatterns


def days_of(*counts: int) -> str:
    """So many small movements on one day after the other."""
    return "".join(
        f"+{day}d {9 + number:02}:00  in  50.00  cash\n"
        for day, count in enumerate(counts)
        for number in range(count)
    )


def nights(count: int, amount: str, apart: int = 1) -> str:
    """So many movements late at night, on nights after one another or all on one."""
    return "".join(
        f"+{apart * number}d 23:{10 + number:02}  in  {amount}  from B\n" for number in range(count)
    )


def payers(count: int) -> str:
    """So many different payers on one day."""
    return "".join(
        f"+0d {9 + number // 60:02}:{number % 60:02}  in  1,000.00  from P{number}\n"
        for number in range(count)
    )


def ordinary_trade(weeks: int = 70, pairs: int = 32) -> str:
    """Pairs that know each other, each paying much the same once a week: enough to be usual."""
    return "".join(
        f"+{7 * week + pair % 7}d {9 + pair // 7:02}:00  "
        f"X{pair} pays Y{pair}  {100 + week % 3}.00\n"
        for week in range(weeks)
        for pair in sorted(range(pairs), key=lambda pair: (pair % 7, pair // 7))
    )


FIRES = {
    # no labels, no sums: nobody else at this bank passes fresh money on
    "unusual-payment": ordinary_trade()
    + """
        +500d 10:00  in   90.00  from B
        +500d 10:20  out  89.00  to C
    """,
    # the same seen by who gets it: the signs of the payer come along
    "unusual-receipt": ordinary_trade()
    + """
        +500d 10:00  X1 pays X2  100.00
        +500d 10:20  X2 pays A1  99.00
        +500d 10:40  A1 pays A2  98.00
        +500d 10:50  A2 pays A3  97.00
        +500d 10:55  in  96.00  from A3
    """,
    # 1: three payments come in and their sum leaves the next morning, less a commission
    "pass-through": """
        +0d 18:00  in    8,000.00  from B
        +0d 18:20  in   12,000.00  from C
        +0d 19:05  in   10,000.00  from D
        +1d 08:10  out  28,500.00  to E
    """,
    # 3: stolen money stays six minutes
    "fast-in-fast-out": """
        +0d 10:02  in   50,000.00  from B
        +0d 10:08  out  49,000.00  to C
    """,
    # 7: a week of collecting, one payment out
    "scatter-in-gather-out": """
        +0d 09:00  in    9,000.00  from B
        +1d 09:00  in   11,000.00  from C
        +2d 09:00  in    8,000.00  from D
        +3d 09:00  in   12,000.00  from E
        +4d 17:00  out  39,000.00  to F
    """,
    # 14: five strangers pay one account on one day
    "convergence": """
        +0d 09:00  in   6,000.00  from B
        +0d 11:00  in   8,000.00  from C
        +0d 14:00  in   5,500.00  from D
        +0d 16:00  in   9,000.00  from E
        +1d 08:59  in   7,000.00  from F
    """,
    "divergence": """
        +0d 09:00  in   50,000.00  from B
        +0d 09:10  out   9,800.00  to C
        +0d 09:12  out   9,700.00  to D
        +0d 09:14  out   9,900.00  to E
        +0d 09:16  out   9,600.00  to F
        +0d 17:09  out   9,500.00  to G
    """,
    # 18: bought, and woken with the first large payment
    "dormant-wakes": """
        +0d 12:00   in       200.00  from B
        +0d 12:30   out      150.00  to SHOP
        +91d 10:00  in    30,000.00  from C
    """,
    "dormant-drained": """
        +0d 12:00    in       200.00  from B
        +0d 12:30    out      150.00  to SHOP
        +120d 10:00  in    30,000.00  from C
        +120d 15:00  out   29,000.00  to D
    """,
    # 22: an elderly customer sends what was never sent before
    "far-above-own-largest": """
        +0d 09:00   in   80,000.00  cash
        +5d 10:00   out     800.00  to SHOP
        +12d 10:00  out   1,200.00  to SHOP
        +20d 10:00  out   2,000.00  to SON
        +33d 10:00  out     900.00  to SHOP
        +40d 15:30  out  60,000.00  to X
    """,
    "far-above-own-largest-in": """
        +0d 09:00   in   3,000.00  from B
        +30d 09:00  in   3,000.00  from B
        +45d 09:00  in  40,000.00  from C
    """,
    # 25: two small ones first, then the large one
    "test-then-large": """
        +0d 09:00  in   60,000.00  cash
        +1d 10:00  out       1.00  to X
        +1d 10:05  out      50.00  to X
        +2d 09:59  out  40,000.00  to X
    """,
    # 30: six movements above 10,000 in ten days
    "structuring-out": """
        +0d 08:00  in   99,000.00  cash
        +0d 09:00  out  12,000.00  to B
        +1d 09:00  out  13,000.00  to C
        +3d 09:00  out  12,500.00  to D
        +5d 09:00  out  11,000.00  to E
        +7d 09:00  out  14,000.00  to F
        +9d 09:00  out  12,000.00  to G
    """,
    "structuring-in": """
        +0d 09:00  in  12,000.00  from B
        +1d 09:00  in  13,000.00  from C
        +3d 09:00  in  12,500.00  from D
        +5d 09:00  in  11,000.00  from E
        +7d 09:00  in  14,000.00  from F
        +9d 09:00  in  12,000.00  from G
    """,
    # 30: always just below the line
    "just-below-the-line-out": """
        +0d 08:00  in  99,000.00  cash
        +0d 09:00  out  9,900.00  to B
        +1d 09:00  out  9,500.00  to B
        +2d 09:00  out  9,800.00  to B
    """,
    "just-below-the-line-in": """
        +0d 09:00  in  49,500.00  from B
        +1d 09:00  in   9,500.00  from C
        +2d 09:00  in  19,800.00  cash
    """,
    # 37: the police have named the payee
    "pays-involved-account": """
        involved C
        +0d 09:00  in   5,000.00  cash
        +0d 10:00  out     10.00  to C
    """,
    "paid-by-involved-account": """
        involved C
        +0d 09:00  in  5,000.00  from C
    """,
    "involved-account-moves": """
        involved A
        +0d 09:00  out  1.00  to C
    """,
    "punished-holder": """
        punished A
        +0d 09:00  in  1,000.00  from C
    """,
    "watched-account": """
        watched A
        +0d 09:00  in  1,000.00  from C
    """,
    # 23: ten days after the opening, a hundred thousand
    "new-account-large": """
        holder opened 0d
        +10d 23:00  in  100,000.00  from C
    """,
    # 40: at 60, to somebody never paid before
    "elderly-pays-stranger": """
        holder born 1966
        +0d 09:00  out  20,000.00  to X
    """,
    # 46: ten months' income within a month
    "beyond-income": """
        holder income 6_000
        +0d 09:00  in  30,000.00  from B
        +0d 09:00  in  30,000.00  from C
    """,
    # 47: the day after the last day of validity
    "documents-expired": """
        holder documents 0d
        +1d 00:00  in  10,000.00  from C
    """,
    "closed-enterprise-moves": """
        holder status revoked
        +0d 09:00  in  5,000.00  from C
    """,
    # 2: a twelfth stays with the mule
    "commission-kept": """
        +0d 10:02  in   50,000.00  from B
        +0d 10:08  out  46,000.00  to C
    """,
    "large-fast-through": """
        +0d 09:00  in   150,000.00  from B
        +0d 15:00  out  130,000.00  to C
    """,
    # 5: two months, and nothing stays
    "transit-account": """
        +0d 09:00   in    60,000.00  from B
        +0d 10:00   out   59,000.00  to C
        +31d 09:00  in   100,000.00  from B
        +31d 10:00  out   99,000.00  to C
    """,
    "same-day-drain": """
        +0d 09:00   in      100.00  cash
        +30d 09:00  in   30,000.00  from B
        +30d 15:00  out  30,000.00  to C
    """,
    # 8: the mirror of scatter-in-gather-out
    "gather-in-scatter-out": """
        +0d 09:00  in   40,000.00  from B
        +1d 09:00  out   9,500.00  to C
        +2d 09:00  out   9,500.00  to D
        +3d 09:00  out   9,500.00  to E
        +4d 09:00  out   9,500.00  to F
    """,
    "funnel": """
        +0d 09:00  in   11,000.00  from B
        +0d 11:00  in   11,000.00  from C
        +1d 09:00  in   11,000.00  from D
        +1d 11:00  in   11,000.00  from E
        +2d 09:00  in   11,000.00  from F
        +2d 10:00  out  50,000.00  to G
    """,
    "fan": """
        +0d 09:00  in   60,000.00  from B
        +0d 10:00  out  10,500.00  to C
        +0d 11:00  out  10,500.00  to D
        +0d 12:00  out  10,500.00  to E
        +0d 13:00  out  10,500.00  to F
        +0d 14:00  out  10,500.00  to G
    """,
    "five-sources-one-target": """
        +0d 09:00  in    50,000.00  from B
        +1d 09:00  in    50,000.00  from C
        +2d 09:00  in    50,000.00  from D
        +3d 09:00  in    50,000.00  from E
        +4d 09:00  in    50,000.00  from F
        +4d 12:00  out  210,000.00  to G
    """,
    "split-large-inflow": """
        +0d 09:00  in   150,000.00  from B
        +0d 10:00  out   25,000.00  to C
        +0d 12:00  out   27,000.00  to D
        +0d 14:00  out   23,000.00  to E
        +0d 16:00  out   30,000.00  to F
        +0d 18:00  out   22,000.00  to G
    """,
    # 12: exactly an hour from the first to the third
    "rush-to-one-payee": """
        +0d 09:00  in  1,500.00  from B
        +0d 09:30  in  1,500.00  from C
        +0d 10:00  in  1,500.00  from D
    """,
    # 15: the payer has spread what it got over four others before
    "payer-diverges": """
        +0d 09:00  V pays B 50,000.00
        +0d 09:10  B pays C 9,800.00
        +0d 09:12  B pays D 9,700.00
        +0d 09:14  B pays E 9,900.00
        +0d 09:16  B pays F 9,600.00
        +0d 09:18  in  9,500.00  from B
    """,
    # 16: four times in four days
    "same-pair-same-amount": """
        +0d 09:00  out  6,000.00  to B
        +1d 09:00  out  6,100.00  to B
        +2d 09:00  out  5,900.00  to B
        +3d 09:00  out  6,000.00  to B
    """,
    "similar-amounts-out": """
        +0d 09:00  out  3,000.00  to B
        +0d 11:00  out  3,100.00  to C
        +0d 13:00  out  2,900.00  to D
        +0d 15:00  out  3,000.00  to E
        +0d 17:00  out  3,050.00  to F
    """,
    "surge": """
        +0d 12:00   in     1,000.00  cash
        +10d 12:00  out      500.00  to SHOP
        +40d 12:00  out      600.00  to SHOP
        +70d 12:00  in   120,000.00  from B
    """,
    "busy-day": days_of(1, 3, 1, 3, 1, 3, 7) + "+6d 20:00  in  1,000.00  from B",
    "above-own-habit": """
        +0d 09:00  out     100.00  to SHOP
        +1d 09:00  out     120.00  to SHOP
        +2d 09:00  out      90.00  to SHOP
        +3d 09:00  out     110.00  to SHOP
        +4d 09:00  out     130.00  to SHOP
        +5d 09:00  out  10,000.00  to X
    """,
    "first-is-a-test": """
        +0d 09:00  in  10.00  from B
    """,
    "probe-burst": """
        +0d 09:00  out  9.90  to B
        +0d 09:10  out  9.90  to C
        +0d 09:20  out  9.90  to D
        +0d 09:30  out  9.90  to E
        +0d 10:00  out  9.90  to F
    """,
    # 27: seven nights, and the eighth
    "night-account": nights(7, "2,000.00") + "+8d 04:59  in  1,000.00  from C",
    "gambling-mix": nights(10, "1,000.00", apart=0) + "+1d 09:00  out  10,000.00  to C",
    "round-amounts": nights(19, "1,000.00") + "+20d 12:00  out  5,000.00  to C",
    "many-counterparties": payers(60) + "+0d 20:00  out  20,000.00  to C",
    "alternation": """
        +0d 09:00  in   30,000.00  from B
        +0d 15:00  out  30,000.00  to C
        +1d 09:00  in   30,000.00  from B
        +1d 15:00  out  30,000.00  to C
        +2d 09:00  in   30,000.00  from B
        +2d 15:00  out  30,000.00  to C
        +3d 09:00  in   30,000.00  from B
        +3d 15:00  out  29,001.00  to C
    """,
    "burst-then-silence": """
        +0d 09:00   in   200,000.00  from B
        +2d 09:00   in    60,000.01  from C
        +4d 09:00   out  130,000.00  to D
        +6d 09:00   out  110,000.00  to E
        +26d 09:01  in        10.00  from F
    """,
    "follow-up": """
        +0d 10:00  in   20,000.00  from B
        +0d 10:10  out   6,000.00  to C
        +0d 10:15  out   5,000.00  to D
    """,
    "first-payment-to-payee": """
        +0d 09:00  out     300.00  to SHOP
        +1d 09:00  out     300.00  to SHOP
        +2d 09:00  out     300.00  to SHOP
        +3d 09:00  out     300.00  to SHOP
        +4d 09:00  out  50,000.00  to X
    """,
    # 44: fifty amounts that all begin with a nine
    "unnatural-digits": nights(48, "9.00")
    + "+60d 09:00  in  9,500.00  from C\n+60d 10:00  out  9,000.00  to D",
}

JUST_NOT = {
    # a payment like all the others of a life like all the others
    "unusual-payment": re.sub(r"X0 pays Y0  (\S+)", r"out  \1  to C", ordinary_trade())
    + "+500d 10:00  out  100.00  to C",
    "unusual-receipt": ordinary_trade()
    + """
        +500d 10:00  in   90.00  from X1
    """,
    # a quarter of it stays
    "pass-through": """
        +0d 18:00  in    8,000.00  from B
        +0d 18:20  in   12,000.00  from C
        +0d 19:05  in   10,000.00  from D
        +1d 08:10  out  26,000.00  to E
    """,
    # the same money leaves an hour and a minute later
    "fast-in-fast-out": """
        +0d 10:02  in   50,000.00  from B
        +0d 11:03  out  49,000.00  to C
    """,
    # a third payment out: three in for each out no more
    "scatter-in-gather-out": """
        +0d 09:00  in    9,000.00  from B
        +1d 09:00  in   11,000.00  from C
        +2d 09:00  in    8,000.00  from D
        +3d 09:00  in   12,000.00  from E
        +3d 12:00  out     300.00  to SHOP
        +4d 17:00  out  39,000.00  to F
    """,
    # the first payer lies 24 hours and a minute back
    "convergence": """
        +0d 09:00  in   6,000.00  from B
        +0d 11:00  in   8,000.00  from C
        +0d 14:00  in   5,500.00  from D
        +0d 16:00  in   9,000.00  from E
        +1d 09:01  in   7,000.00  from F
    """,
    # the last payee comes after more than eight hours
    "divergence": """
        +0d 09:00  in   50,000.00  from B
        +0d 09:10  out   9,800.00  to C
        +0d 09:12  out   9,700.00  to D
        +0d 09:14  out   9,900.00  to E
        +0d 09:16  out   9,600.00  to F
        +0d 17:11  out   9,500.00  to G
    """,
    # a coffee a month before: not dormant
    "dormant-wakes": """
        +0d 12:00   in       200.00  from B
        +60d 12:30  out       15.00  to SHOP
        +91d 10:00  in    30,000.00  from C
    """,
    # the account was in use last week
    "dormant-drained": """
        +0d 12:00    in       200.00  from B
        +113d 12:30  out      150.00  to SHOP
        +120d 10:00  in    30,000.00  from C
        +120d 15:00  out   29,000.00  to D
    """,
    # as much was paid two months before
    "far-above-own-largest": """
        +0d 09:00   in   99,000.00  cash
        +5d 10:00   out  40,100.00  to HOSPITAL
        +12d 10:00  out   1,200.00  to SHOP
        +20d 10:00  out   2,000.00  to SON
        +33d 10:00  out     900.00  to SHOP
        +60d 15:30  out  60,000.00  to X
    """,
    "far-above-own-largest-in": """
        +0d 09:00   in   3,000.00  from B
        +30d 09:00  in  27,000.00  from B
        +45d 09:00  in  40,000.00  from C
    """,
    # the first test lies 24 hours and a minute back
    "test-then-large": """
        +0d 09:00  in   60,000.00  cash
        +1d 09:58  out       1.00  to X
        +1d 10:05  out      50.00  to X
        +2d 09:59  out  40,000.00  to X
    """,
    # one of the six is of exactly 10,000.00
    "structuring-out": """
        +0d 08:00  in   99,000.00  cash
        +0d 09:00  out  12,000.00  to B
        +1d 09:00  out  10,000.00  to C
        +3d 09:00  out  12,500.00  to D
        +5d 09:00  out  11,000.00  to E
        +7d 09:00  out  14,000.00  to F
        +9d 09:00  out  12,000.00  to G
    """,
    # the first has left the ten days
    "structuring-in": """
        +0d 09:00   in  12,000.00  from B
        +1d 09:00   in  13,000.00  from C
        +3d 09:00   in  12,500.00  from D
        +5d 09:00   in  11,000.00  from E
        +7d 09:00   in  14,000.00  from F
        +10d 09:00  in  12,000.00  from G
    """,
    # one of the three reaches the line
    "just-below-the-line-out": """
        +0d 08:00  in   99,000.00  cash
        +0d 09:00  out   9,900.00  to B
        +1d 09:00  out  10,000.00  to B
        +2d 09:00  out   9,800.00  to B
    """,
    "just-below-the-line-in": """
        +0d 09:00  in  49,500.00  from B
        +1d 09:00  in   8,999.00  from C
        +2d 09:00  in  19,800.00  cash
    """,
    # another account is
    "pays-involved-account": """
        involved D
        punished C
        +0d 09:00  in   5,000.00  cash
        +0d 10:00  out     10.00  to C
    """,
    "paid-by-involved-account": """
        punished C
        +0d 09:00  in  5,000.00  from C
    """,
    "involved-account-moves": """
        involved C
        +0d 09:00  out  1.00  to C
    """,
    "punished-holder": """
        punished A
        +0d 09:00  in  999.99  from C
    """,
    "watched-account": """
        watched C
        +0d 09:00  in  1,000.00  from C
    """,
    # the eleventh day
    "new-account-large": """
        holder opened 0d
        +11d 00:00  in  100,000.00  from C
    """,
    # paid once before
    "elderly-pays-stranger": """
        holder born 1966
        +0d 09:00  out      1.00  to X
        +0d 10:00  out  20,000.00  to X
    """,
    "beyond-income": """
        holder income 6_001
        +0d 09:00  in  30,000.00  from B
        +0d 09:00  in  30,000.00  from C
    """,
    # the last day of validity
    "documents-expired": """
        holder documents 0d
        +0d 23:59  in  10,000.00  from C
    """,
    "closed-enterprise-moves": """
        holder status suspended
        +0d 09:00  in  5,000.00  from C
    """,
    "commission-kept": """
        +0d 10:02  in   50,000.00  from B
        +0d 10:08  out  49,000.00  to C
    """,
    "large-fast-through": """
        +0d 09:00  in   120,000.00  from B
        +0d 15:00  out   99,999.99  to C
    """,
    # a tenth of the second month stays
    "transit-account": """
        +0d 09:00   in    60,000.00  from B
        +0d 10:00   out   59,000.00  to C
        +31d 09:00  in   100,000.00  from B
        +31d 10:00  out   90,000.00  to C
    """,
    # the account was in use the day before
    "same-day-drain": """
        +0d 09:00   in      100.00  cash
        +29d 08:00  in   20,000.00  from B
        +30d 09:00  in   30,000.00  from B
        +30d 15:00  out  30,000.00  to C
    """,
    "gather-in-scatter-out": """
        +0d 09:00  in   40,000.00  from B
        +1d 09:00  out   8,900.00  to C
        +2d 09:00  out   8,900.00  to D
        +3d 09:00  out   8,900.00  to E
        +4d 09:00  out   8,900.00  to F
    """,
    # one of them pays twice: four sources
    "funnel": """
        +0d 09:00  in   11,000.00  from B
        +0d 11:00  in   11,000.00  from C
        +1d 09:00  in   11,000.00  from D
        +1d 11:00  in   11,000.00  from E
        +2d 09:00  in   11,000.00  from B
        +2d 10:00  out  50,000.00  to G
    """,
    "fan": """
        +0d 09:00  in   60,000.00  from B
        +0d 10:00  out  10,500.00  to C
        +0d 11:00  out  10,500.00  to D
        +0d 12:00  out  10,500.00  to E
        +0d 13:00  out  10,500.00  to F
        +0d 14:00  out  10,500.00  to C
    """,
    # less than 80 % to one
    "five-sources-one-target": """
        +0d 09:00  in    50,000.00  from B
        +1d 09:00  in    50,000.00  from C
        +2d 09:00  in    50,000.00  from D
        +3d 09:00  in    50,000.00  from E
        +4d 09:00  in    50,000.00  from F
        +4d 11:00  out   60,000.00  to H
        +4d 12:00  out  150,000.00  to G
    """,
    "split-large-inflow": """
        +0d 09:00  in    99,999.00  from B
        +0d 10:00  out   20,000.00  to C
        +0d 12:00  out   17,000.00  to D
        +0d 14:00  out   18,000.00  to E
        +0d 16:00  out   16,000.00  to F
        +0d 18:00  out   15,000.00  to G
    """,
    "rush-to-one-payee": """
        +0d 09:00     in  1,500.00  from B
        +0d 09:30     in  1,500.00  from C
        +0d 10:00:01  in  1,500.00  from D
    """,
    # the fourth payee of the payer
    "payer-diverges": """
        +0d 09:00  V pays B 50,000.00
        +0d 09:10  B pays C 9,800.00
        +0d 09:12  B pays D 9,700.00
        +0d 09:14  B pays E 9,900.00
        +0d 09:18  in  9,500.00  from B
    """,
    # one of them is more than 5 % away
    "same-pair-same-amount": """
        +0d 09:00  out  6,000.00  to B
        +1d 09:00  out  5,600.00  to B
        +2d 09:00  out  5,900.00  to B
        +3d 09:00  out  6,000.00  to B
    """,
    "similar-amounts-out": """
        +0d 09:00  out  3,000.00  to B
        +0d 11:00  out  3,100.00  to C
        +0d 13:00  out  2,900.00  to D
        +0d 15:00  out  3,050.00  to F
    """,
    # a quarter of it two months before
    "surge": """
        +0d 12:00   in     1,000.00  cash
        +10d 12:00  out      500.00  to SHOP
        +40d 12:00  out   30,000.00  to SHOP
        +70d 12:00  in   120,000.00  from B
    """,
    "busy-day": days_of(1, 3, 1, 3, 1, 3, 2) + "+6d 20:00  in  1,000.00  from B",
    "above-own-habit": """
        +0d 09:00  out    100.00  to SHOP
        +1d 09:00  out    120.00  to SHOP
        +2d 09:00  out     90.00  to SHOP
        +3d 09:00  out    110.00  to SHOP
        +4d 09:00  out    130.00  to SHOP
        +5d 09:00  out  9,999.99  to X
    """,
    "first-is-a-test": """
        +0d 09:00  in  10.01  from B
    """,
    # the first of five lies an hour and a second back
    "probe-burst": """
        +0d 09:00     out  9.90  to B
        +0d 09:10     out  9.90  to C
        +0d 09:20     out  9.90  to D
        +0d 09:30     out  9.90  to E
        +0d 10:00:01  out  9.90  to F
    """,
    "night-account": nights(7, "2,000.00") + "+8d 05:00  in  1,000.00  from C",
    "gambling-mix": nights(9, "1,000.00", apart=0) + "+1d 09:00  out  10,000.00  to C",
    "round-amounts": nights(18, "1,000.00") + "+20d 12:00  out  5,000.00  to C",
    "many-counterparties": payers(30) + "+0d 20:00  out  10,000.00  to C",
    # the sums are 1,001.00 apart
    "alternation": """
        +0d 09:00  in   30,000.00  from B
        +0d 15:00  out  30,000.00  to C
        +1d 09:00  in   30,000.00  from B
        +1d 15:00  out  30,000.00  to C
        +2d 09:00  in   30,000.00  from B
        +2d 15:00  out  30,000.00  to C
        +3d 09:00  in   30,000.00  from B
        +3d 15:00  out  28,999.00  to C
    """,
    # twenty days of silence to the minute
    "burst-then-silence": """
        +0d 09:00   in   200,000.00  from B
        +2d 09:00   in    60,000.01  from C
        +4d 09:00   out  130,000.00  to D
        +6d 09:00   out  110,000.00  to E
        +26d 09:00  in        10.00  from F
    """,
    "follow-up": """
        +0d 10:00     in   20,000.00  from B
        +0d 10:10     out   6,000.00  to C
        +0d 10:15:01  out   5,000.00  to D
    """,
    "first-payment-to-payee": """
        +0d 09:00  out     300.00  to SHOP
        +1d 09:00  out     300.00  to SHOP
        +2d 09:00  out     300.00  to SHOP
        +3d 09:00  out     300.00  to X
        +4d 09:00  out  50,000.00  to X
    """,
    "unnatural-digits": nights(47, "9.00")
    + "+60d 09:00  in  9,500.00  from C\n+60d 10:00  out  9,000.00  to D",
}

ORDINARY = {
    "salary, rent and groceries": """
        +0d 09:00   in   9,000.00  from EMPLOYER
        +0d 12:00   out  3,000.00  to LANDLORD
        +0d 18:00   out    120.00  to SHOP
        +9d 18:00   out    240.00  to SHOP
        +30d 09:00  in   9,000.00  from EMPLOYER
        +30d 09:30  out  3,000.00  to LANDLORD
    """,
    "salary saved within the hour": """
        +0d 09:00   in   9,000.00  from EMPLOYER
        +0d 09:30   out  5,000.00  to SAVINGS
        +30d 09:00  in   9,000.00  from EMPLOYER
        +30d 09:30  out  8,500.00  to SAVINGS
    """,
}


def test_each_pattern_has_both_stories(shipped: CompiledPatterns) -> None:
    declared = {checked.pattern.name for checked in shipped.pattern_set.patterns}
    assert set(FIRES) == set(JUST_NOT) == declared


@pytest.mark.parametrize("pattern", FIRES)
def test_the_story_fires(pattern: str, shipped: CompiledPatterns) -> None:
    assert pattern in tell(FIRES[pattern], shipped).patterns


@pytest.mark.parametrize("pattern", JUST_NOT)
def test_the_story_just_does_not_fire(pattern: str, shipped: CompiledPatterns) -> None:
    assert pattern not in tell(JUST_NOT[pattern], shipped).patterns


@pytest.mark.parametrize("story", ORDINARY)
def test_an_ordinary_life_raises_no_alert(story: str, shipped: CompiledPatterns) -> None:
    assert tell(ORDINARY[story], shipped).score < shipped.pattern_set.thresholds.alert


def test_the_reasons_say_what_the_account_did(shipped: CompiledPatterns) -> None:
    by_amount, by_speed = tell(FIRES["fast-in-fast-out"], shipped).reasons
    assert by_amount == (
        "49,000.00 goes out, within 2 % of the sum of the latest 1 inflow of 24 h; "
        "the latest came 6 min ago"
    )
    assert by_speed == (
        "1 inflow of 1 h totalling 50,000.00 (1 payer in 24 h): 98 % has left again, "
        "6 min after the latest came in"
    )


def test_nothing_is_unusual_before_enough_is_known(shipped: CompiledPatterns) -> None:
    story = FIRES["unusual-payment"].replace(ordinary_trade(), ordinary_trade(weeks=10))
    assert tell(story, shipped).patterns.isdisjoint({"unusual-payment", "unusual-receipt"})


def test_fresh_money_to_a_stranger_is_an_alert(shipped: CompiledPatterns) -> None:
    verdict = tell(FIRES["fast-in-fast-out"], shipped)
    assert verdict.score >= shipped.pattern_set.thresholds.alert
