"""The card of a model: how it does on what was held out, and a page that says what it is."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.errors import Problem
from sluicegate.history.figures import SHARES, ranking_of
from sluicegate.history.metrics import Floats
from sluicegate.history.outcomes import Period
from sluicegate.judging.model import Card, Model

_PAGE = """\
# Model fitted on {fitted_on}

| | |
|---|---|
| feature table | `{feature_table_version}` |
| pattern set | `{pattern_set_version}` |
| training window | {trained_from} to {trained_until} UTC |
| labels known after | {label_delay_days:g} days |
| transactions, of these fraud | {transactions:,}, {frauds:,} |
| trees | {trees} |
| seed | {seed} |

## On what was held out

{metrics}

## Weights of the patterns

`1 - (1 - strength) ** weight` is how likely fraud is when only that pattern fires.

| pattern | weight |
|---|---|
{weights}
"""


def metrics_of(period: Period, ways: Mapping[str, Floats]) -> dict[str, dict[str, float | None]]:
    """The figures of each way to score the transactions of a period."""
    return {name: _metrics(period, scores) for name, scores in ways.items()}


def _metrics(period: Period, scores: Floats) -> dict[str, float | None]:
    by_account = period.account_scores(scores)[period.accounts]
    transactions = ranking_of(scores, period.fraud)
    accounts = ranking_of(by_account, period.fraudulent[period.accounts])
    return {
        "average precision": transactions.average_precision,
        "ROC AUC": transactions.roc_auc,
        **{
            f"recall at {100 * part:g} %": at.recall
            for part, at in zip(SHARES, transactions.at, strict=True)
        },
        "average precision of accounts": accounts.average_precision,
        "ROC AUC of accounts": accounts.roc_auc,
    }


def write_model(model: Model, path: Path) -> tuple[Path, Path]:
    """Writes the model to `path` and its card beside it; returns both paths.

    Raises:
        Problem: a file cannot be written.
    """
    card = path.with_name(f"{path.name}.card.md")
    for file, text in ((path, model.text()), (card, card_page(model.card))):
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Problem(f"{file}: cannot be written", str(error)) from error
    return path, card


def card_page(card: Card) -> str:
    """The card in Markdown."""
    return _PAGE.format(
        **card.model_dump(exclude={"trees", "metrics"}),
        trained_from=_moment(card.trained_from_ms),
        trained_until=_moment(card.trained_until_ms),
        label_delay_days=card.label_delay_ms / 86_400_000,
        trees=", ".join(f"{name} {count}" for name, count in card.trees.items()),
        metrics=_table(card.metrics) if card.metrics else "Nothing was held out.",
        weights="\n".join(
            f"| {name} | {each:.3f} |" for name, each in card.pattern_weights.items()
        ),
    )


def _table(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    names = list(next(iter(metrics.values())))
    rows = [
        [way, *("-" if figures[name] is None else f"{figures[name]:.3f}" for name in names)]
        for way, figures in metrics.items()
    ]
    lines = [["ranked by", *names], ["---"] * (len(names) + 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
