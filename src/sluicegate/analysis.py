"""Commands on files whose frauds are known: what alerts would have come to, and a fitted model."""

from pathlib import Path
from typing import Annotated

import typer

from sluicegate.options import (
    ColumnMap,
    FittedModel,
    LabelColumns,
    LabelDelay,
    Timezone,
    milliseconds,
    settings_of,
)

# What a command needs is loaded in it, so that --help is there at once; options are arguments.
# ruff: noqa: PLC0415, PLR0917

analysis_app = typer.Typer()


def _share(value: float) -> float:
    if not 0 < value <= 1:
        raise typer.BadParameter(f"{value:g} is not a share above 0 and up to 1")
    return value


Holdout = Annotated[
    float,
    typer.Option(metavar="X", callback=_share, help="Last share of the time, which is tested."),
]


@analysis_app.command(
    epilog="Example: [bold]sluicegate backtest bank.parquet labels.csv --report out "
    "--against config/patterns.old.toml[/bold]"
)
def backtest(
    context: typer.Context,
    events: Annotated[Path, typer.Argument(help="Transactions: .parquet, .csv(.gz) or .ndjson.")],
    labels: Annotated[Path, typer.Argument(help="Their labels: id, label, and scenario or none.")],
    report: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for report.html and report.json.")
    ],
    patterns: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Patterns, instead of the configured ones.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other patterns to compare with.")
    ] = None,
    model: FittedModel = None,
    holdout: Holdout = 0.5,
    budget: Annotated[
        int, typer.Option(metavar="N", min=1, help="Alerts the desk can look at in a day.")
    ] = 50,
    columns: ColumnMap = None,
    label_columns: LabelColumns = None,
    timezone: Timezone = "UTC",
) -> None:
    """Measure on a file with known frauds what alerts would have come to.

    The file is judged once, in order of time, each transaction as of itself. Labels have columns
    id, label (0 or 1) and, where kinds of fraud are known, scenario. A model is tested on what
    comes after its training window, beside the patterns alone.
    """
    if model is not None and against is not None:
        raise typer.BadParameter("--against and --model exclude each other", param_hint="--model")
    from sluicegate.history.backtest import Plan
    from sluicegate.history.backtest import backtest as run
    from sluicegate.history.known import History
    from sluicegate.history.report import PAGE, write_report
    from sluicegate.operations.progress import counted

    settings = settings_of(context)
    if patterns is not None:
        settings = settings.changed(patterns={"file": patterns})
    history = History(events, labels, columns, label_columns, timezone)
    with counted("transactions") as progress:
        result = run(settings, history, Plan(holdout, budget, against, model), progress)
    write_report(result, report)
    for sentence in result.sentences():
        typer.echo(sentence)
    typer.echo(f"report in {report / PAGE}")


@analysis_app.command(
    epilog="Example: [bold]sluicegate fit bank.parquet labels.csv --out bank.model "
    "--label-delay 7d[/bold]"
)
def fit(
    context: typer.Context,
    events: Annotated[Path, typer.Argument(help="Transactions: .parquet, .csv(.gz) or .ndjson.")],
    labels: Annotated[Path, typer.Argument(help="Their labels: id, label, and scenario or none.")],
    out: Annotated[Path, typer.Option(metavar="MODEL", help="The file to write.")],
    holdout: Annotated[
        float,
        typer.Option(metavar="X", min=0, max=0.95, help="Last share of the time, kept for a test."),
    ] = 0.5,
    label_delay: LabelDelay = "0d",
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed, the same model.")
    ] = 1,
    columns: ColumnMap = None,
    label_columns: LabelColumns = None,
    timezone: Timezone = "UTC",
) -> None:
    """Fit a model, and weights of the patterns, to a file whose frauds are known.

    Only labels known at the end of the training window are learnt from. MODEL.card.md says what it
    is and how it does on the time held out. Use it with score --model and backtest --model.
    """
    from sluicegate.history.card import write_model
    from sluicegate.history.fit import FitPlan
    from sluicegate.history.fit import fit as run
    from sluicegate.history.known import History
    from sluicegate.operations.progress import counted

    history = History(events, labels, columns, label_columns, timezone)
    plan = FitPlan(holdout, milliseconds(label_delay), seed)
    with counted("transactions") as walked, counted("trainings") as trained:
        model = run(settings_of(context), history, plan, walked, trained)
    for written in write_model(model, out):
        typer.echo(f"written {written}")
    for way, figures in model.card.metrics.items():
        said = (f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
        typer.echo(f"{way}: {', '.join(said)}")
