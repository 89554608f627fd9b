"""Pages and schemas written from the code; `python -m sluicegate.judging.pages` renews them."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sluicegate.domain.alert import Alert
from sluicegate.domain.decision import answer_schema, measure_schema
from sluicegate.domain.directive import directive_schema
from sluicegate.domain.fields import DIALECT
from sluicegate.domain.measure import Measure
from sluicegate.domain.profile import profile_schema
from sluicegate.domain.transaction import transaction_schema
from sluicegate.judging.patterns import CheckedPattern, PatternSet, load_patterns
from sluicegate.memory.features import FEATURES
from sluicegate.memory.row import DAYS

PATTERNS_FILE: Final = Path("config/patterns.toml")

_LANGUAGE: Final = """\
A pattern is a named condition over the [features](features.md) of one leg, with a strength, a
reason in words and questions for the counter. `when` and `strength` are written in a small part
of SQL:

| what | how |
|---|---|
| numbers, features, terms | `10000`, `0.9`, `inflow_1h`, `private_payer` |
| arithmetic | `+ - * /` and parentheses |
| comparisons | `= <> < <= > >=`, `BETWEEN a AND b`, `IN (1, 2)`, `IS NULL`, `IS NOT NULL` |
| logic | `AND OR NOT` |
| choice | `CASE WHEN condition THEN number ... ELSE number END` |
| functions | `ABS`, `LN`, `SQRT`, `COALESCE`, `LEAST`, `GREATEST` |

Everything else is refused when the file is read, with the file, the pattern and the thing named.
`sluicegate config check` reads it without starting anything.

**NULL is unknown.** A feature is NULL where the table says so. A comparison with NULL is NULL;
`AND`, `OR` and `NOT` follow three-valued logic; arithmetic with NULL is NULL, and so are a
division by zero, the logarithm of a number that is not positive, and the root of a negative one.
`LEAST` and `GREATEST` leave NULLs out. A pattern fires only when its condition is **true**; a
strength that is NULL counts as 0, others are clipped to 0 .. 1. An amount of money is in CNY.

**side**: `payer` judges the departure against the payer's row, `payee` the arrival against the
payee's row, `both` each of them. Features named `payer_*` are carried by arrivals only and can be
used where the side is `payee`.

**shadow**: with `shadow = true` a pattern is judged on every leg, counted in
`sluicegate_worker_shadow_fired_total` and shown by a backtest, but is no part of a score.

**weight or strength**: a number from 0 to 1, or an expression for a graded strength. The score of
a leg is `1 - product of (1 - strength)`: it can always be computed again from its reasons.

**reason**: text with gaps `{feature:kind}`. Kinds: `money` 61,200.00, `count` 4, `count payer`
4 payers (English only, the number makes the plural), `percent` 98 %, `seconds` and `days` a length
of time in words, `plain` the number. An unknown fact reads "unknown" / "不详".

**terms** are named numbers that several patterns share; a term may use the terms before it.
"""

_LEFT_OUT: Final = """\
## Left out

Patterns of the catalogue that cannot be computed from what reaches the worker, by number:

| no. | pattern | why |
|---|---|---|
| 13 | linked accounts pay the same target | which accounts are linked is not told |
| 34, 35 | shared phone, address, device | counts over all accounts: for screening |
| 36 | young device | a leg does not carry the device |
| 38, 39 | frequent opening, agents | openings of accounts are not movements |
| 43, 45 | impossible travel, overseas share | a leg does not carry the region |
"""
_READING_FEATURES: Final = f"""\
The {len(FEATURES)} numbers that a [pattern](patterns.md) may ask for. Each is as the account row
was before the leg, plus the leg. Windows end at the later of the leg's time and the account's
latest event time. NULL means unknown. *Ring* is the 16 latest legs of that side plus this one:
exact up to 16, a lower bound beyond.

Legs come in any order. One that is **late**, older than the account's latest event, is judged and
remembered when it comes: it lies in the windows, the local day and the 30-day block of its own
time, as far as these still reach, and weighs in rates as if it had come in time. Behind the
account's latest local day by {DAYS} days or more it is **too late**: no day has room for it, and it
counts only in what looks further back. The rule is in `memory/kernel.py` (`remember`); an account
memory counts both kinds. A time too far **ahead** never gets here: `TIME_IN_FUTURE` goes to
dead-letter when a transaction's time lies more than `contract.max_ahead_seconds` after its record's
own timestamp.
"""


def patterns_page(pattern_set: PatternSet) -> str:
    """Markdown: the language, the thresholds, the terms and every pattern."""
    return "\n".join(
        (
            "# Patterns\n",
            "<!-- Written by python -m sluicegate.judging.pages; do not edit. -->\n",
            _LANGUAGE,
            f"## The shipped set\n\nVersion `{pattern_set.version}`, {_counted(pattern_set)}.\n",
            *_thresholds(pattern_set),
            *_terms(pattern_set.terms),
            *(line for checked in pattern_set.patterns for line in _pattern(checked)),
            _LEFT_OUT,
        )
    )


def features_page() -> str:
    """Markdown: every feature with its unit, definition and source."""
    rows = (f"| `{f.name}` | {f.unit} | {_cell(f.definition)} | {f.source} |" for f in FEATURES)
    return "\n".join(
        (
            "# Features\n",
            "<!-- Written by python -m sluicegate.judging.pages; do not edit. -->\n",
            _READING_FEATURES,
            "| feature | unit | definition | source |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def _published(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


def alert_schema() -> str:
    """JSON Schema of an alert on the `stop-payment` topic."""
    schema = Alert.model_json_schema(mode="serialization")
    return json.dumps(DIALECT | schema, ensure_ascii=False, indent=2) + "\n"


def pages(root: Path) -> Mapping[str, str]:
    """The text of each generated file by its path below the repository's root."""
    return {
        "docs/patterns.md": patterns_page(load_patterns(root / PATTERNS_FILE)),
        "docs/features.md": features_page(),
        "docs/schemas/alert.schema.json": alert_schema(),
        "docs/schemas/transaction.schema.json": _published(transaction_schema()),
        "docs/schemas/profile.schema.json": _published(profile_schema()),
        "docs/schemas/directive.schema.json": _published(directive_schema()),
        "docs/schemas/measure.schema.json": _published(measure_schema()),
        "docs/schemas/measure-answer.schema.json": _published(answer_schema()),
    }


def _counted(pattern_set: PatternSet) -> str:
    return f"{len(pattern_set.patterns)} patterns"


def _thresholds(pattern_set: PatternSet) -> Iterator[str]:
    thresholds = pattern_set.thresholds
    yield f"An alert is raised from a score of {thresholds.alert:g}.\n"
    yield "| recommended measure | | from score |"
    yield "|---|---|---|"
    for measure in Measure:
        if measure in thresholds.measures:
            yield f"| `{measure}` | {measure.title_zh} | {thresholds.measures[measure]:g} |"
    yield ""


def _terms(terms: Mapping[str, str]) -> Iterator[str]:
    if not terms:
        return
    yield "### Terms\n"
    yield "| term | meaning |"
    yield "|---|---|"
    for name, text in terms.items():
        yield f"| `{name}` | `{_cell(' '.join(text.split()))}` |"
    yield ""


def _pattern(checked: CheckedPattern) -> Iterator[str]:
    pattern = checked.pattern
    strength = f"{pattern.weight:g}" if pattern.strength is None else pattern.strength.strip()
    yield f"### {pattern.name}\n"
    yield f"{pattern.title.zh} · {pattern.title.en} · side `{pattern.side}` · {pattern.source}\n"
    yield f"```sql\n{pattern.when.strip()}\n```\n"
    yield f"strength\n\n```sql\n{strength}\n```\n"
    yield f"- {pattern.reason.zh}\n- {pattern.reason.en}\n"
    for zh, en in zip(pattern.questions.zh, pattern.questions.en, strict=True):
        yield f"- ? {zh} / {en}"
    if pattern.questions.zh:
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the files below the folder given (default: the current one)."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in pages(root).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
