"""Patterns for those who write them: `sluicegate patterns`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sluicegate.options import Broker, reached, settings_of

if TYPE_CHECKING:
    from sluicegate.judging.patterns import PatternSet

# What a command needs is loaded in it, so that --help is there at once.
# ruff: noqa: PLC0415

patterns_app = typer.Typer(
    help="Look at the patterns that judge, and try a file of them.", no_args_is_help=True
)

PatternFile = Annotated[
    Path | None, typer.Option("--patterns", metavar="FILE", help="Instead of the configured file.")
]


def _loaded(context: typer.Context, file: Path | None) -> "PatternSet":
    from sluicegate.judging.patterns import load_patterns

    return load_patterns(file or settings_of(context).patterns.file)


@patterns_app.command("list", epilog="Example: [bold]sluicegate patterns list[/bold]")
def patterns_list(context: typer.Context, patterns: PatternFile = None) -> None:
    """List the patterns: name, side, what it is called, where it comes from."""
    found = _loaded(context, patterns)
    for checked in found.patterns:
        pattern = checked.pattern
        typer.echo(
            f"{pattern.name:26} {pattern.side:6} {pattern.title.zh} · {pattern.title.en} "
            f"({pattern.source})"
        )
    typer.echo(f"{len(found.patterns)} patterns, version {found.version}", err=True)


@patterns_app.command("explain", epilog="Example: [bold]sluicegate patterns explain fan[/bold]")
def patterns_explain(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As `list` shows it.")],
    patterns: PatternFile = None,
) -> None:
    """Tell all of one pattern: condition, strength, words, and what its features mean."""
    from sluicegate.memory.features import FEATURE_INDEX, FEATURES

    checked = _loaded(context, patterns).named(name)
    pattern = checked.pattern
    strength = f"{pattern.weight:g}" if pattern.strength is None else pattern.strength.strip()
    lines = [
        f"{pattern.name}: {pattern.title.zh} · {pattern.title.en}",
        f"side      {pattern.side}",
        f"source    {pattern.source}",
        f"\nwhen\n{_indented(pattern.when)}",
        f"\nstrength\n{_indented(strength)}",
        f"\nreason\n    {pattern.reason.zh}\n    {pattern.reason.en}",
    ]
    if pattern.questions.zh:
        asked = zip(pattern.questions.zh, pattern.questions.en, strict=True)
        lines.append("\nquestions\n" + "\n".join(f"    {zh}\n    {en}" for zh, en in asked))
    lines.append("\nfeatures")
    for feature in sorted(checked.features, key=FEATURE_INDEX.__getitem__):
        told = FEATURES[FEATURE_INDEX[feature]]
        lines.append(f"    {told.name} [{told.unit}]: {told.definition}")
    typer.echo("\n".join(lines))


@patterns_app.command("test", epilog="Example: [bold]sluicegate patterns test new.toml[/bold]")
def patterns_test(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file of patterns.")],
    legs: Annotated[int, typer.Option(metavar="N", min=1, help="Random legs to try.")] = 10_000,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed, the same legs.")
    ] = 1,
) -> None:
    """Check a file as a whole, compile it, and compare the kernel with a second implementation.

    What it would have caught is told by `sluicegate backtest --patterns FILE`.
    """
    from sluicegate.judging.kernels import compile_patterns
    from sluicegate.judging.trial import try_patterns

    compiled = compile_patterns(_loaded(context, file))
    done = try_patterns(compiled, legs, seed)
    never = [name for name, times in done.fired.items() if not times]
    typer.echo(
        f"{compiled.count} patterns, version {compiled.pattern_set.version}: "
        f"kernel and polars agree on {2 * done.legs:,} judgements"
    )
    if never:
        typer.echo(f"never fired on random values: {', '.join(never)}", err=True)


@patterns_app.command(
    "publish", epilog="Example: [bold]sluicegate patterns publish new.toml[/bold]"
)
def patterns_publish(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file of patterns.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A model that `fit` made with these patterns, beside."),
    ] = None,
    broker: Broker = None,
) -> None:
    """Have all workers judge by a file of patterns from one place of each log on, no restart.

    It is checked as a whole first, as `test` does. A set can be published again. With `--model`
    the fitted model judges beside it, and without it none does from then on.
    """
    from sluicegate.judging.kernels import compile_patterns
    from sluicegate.judging.trial import try_patterns
    from sluicegate.operations.tell import publish
    from sluicegate.streaming.scoring import model_at

    compiled = compile_patterns(_loaded(context, file))
    try_patterns(compiled, 2_000, 1)
    fitted = None if model is None else model_at(model, compiled.pattern_set)
    settings, bootstrap = reached(context, broker)
    version = publish(settings, bootstrap, compiled.pattern_set, fitted)
    beside = "" if fitted is None else f" and model {fitted.version}"
    typer.echo(
        f"pattern set {version} of {compiled.count} patterns{beside} is published: "
        "the router activates it in every legs log"
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())
