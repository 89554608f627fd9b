"""The command line: one function a command, which loads what it needs when it runs.

Exit codes: 0 done, 1 refused or failed with a reason, 2 wrong usage.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sluicegate.analysis import analysis_app
from sluicegate.counter_tools import counter_app
from sluicegate.desk_tools import desk_app
from sluicegate.errors import Problem
from sluicegate.lists import accounts_app, cases_app, directives_app
from sluicegate.options import (
    Broker,
    ColumnMap,
    FittedModel,
    LabelColumns,
    LabelDelay,
    Timezone,
    milliseconds,
    reached,
    settings_of,
)
from sluicegate.pattern_tools import patterns_app
from sluicegate.tools import dead_letter_app, state_app

if TYPE_CHECKING:
    from sluicegate.settings import Settings

# What a command needs is loaded in it, so that --help is there at once; options are arguments.
# ruff: noqa: PLC0415, PLR0917, FBT002

INTERRUPTED: Final = 130

app = typer.Typer(
    help="Watches every account transaction as it happens and stops fraud rings "
    "before the money is gone.",
    epilog="Try it: [bold]sluicegate demo[/bold] runs everything with a simulated bank.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
topics_app = typer.Typer(help="Make the topics, or check them.", no_args_is_help=True)
config_app = typer.Typer(help="Check the settings and the patterns.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(config_app, name="config")
app.add_typer(accounts_app, name="accounts")
app.add_typer(directives_app, name="directives")
app.add_typer(patterns_app, name="patterns")
app.add_typer(cases_app, name="cases")
app.add_typer(dead_letter_app, name="dead-letter")
app.add_typer(state_app, name="state")
app.add_typer(analysis_app)
app.add_typer(counter_app, name="counter")
app.add_typer(desk_app, name="desk")


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value:g} is not above zero")
    return value


Slot = Annotated[
    str | None, typer.Option(metavar="NAME", help="Stable name, unique among those that run.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="The same seed, the same city.")]


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Settings file; else SLUICEGATE_CONFIG, else config/sluicegate.toml.",
        ),
    ] = None,
) -> None:
    """Options before the command."""
    context.obj = config


@app.command(epilog="Example: [bold]sluicegate up --workers 2[/bold]")
def up(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    broker: Broker = None,
) -> None:
    """Run all parts on this machine: router, workers, liaison, counter, an embedded broker.

    A part that dies is started again, after a pause that grows. Ctrl-C stops all in order.
    Further workers take slots w1, w2, ... and metrics ports 10, 20, ... above the first.
    """
    from sluicegate.operations.up import run_up

    settings = settings_of(context, broker)
    _check_patterns(settings)
    run_up(settings, workers)


@app.command(
    epilog="Examples: [bold]sluicegate status[/bold], "
    "[bold]sluicegate status --at 10.0.0.7:9401 --at 10.0.0.8:9402 --json[/bold]"
)
def status(
    context: typer.Context,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Figures of a part; else those of this machine."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that needs nothing else.")
    ] = None,
) -> None:
    """Say on one screen whether money is being watched; 1 if something is wrong."""
    from sluicegate.operations.status import parse_address, take_status
    from sluicegate.operations.status_view import show

    asked = [parse_address(each) for each in at or ()]
    taken = take_status(settings_of(context), asked)
    show(taken, as_json=as_json, page=html)
    raise typer.Exit(0 if taken.well else 1)


@app.command(epilog="Example: [bold]sluicegate broker --port 9092[/bold]")
def broker(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: a free one.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where it keeps its records.")
    ] = None,
) -> None:
    """Run the embedded Kafka broker in the foreground; Ctrl-C stops it, its records stay."""
    from sluicegate.operations.broker import run_broker

    asked = settings_of(context).broker
    run_broker(data_dir or asked.data_dir, asked.port if port is None else port)


@topics_app.command(
    "create", epilog="Example: [bold]sluicegate topics create --broker kafka1:9092[/bold]"
)
def topics_create(context: typer.Context, broker: Broker = None) -> None:
    """Make the topics that are missing; those that exist are left as they are."""
    from sluicegate.streaming.topics import create_topics

    settings, bootstrap = reached(context, broker)
    for made in create_topics(settings, bootstrap):
        typer.echo(f"{made.name}: {'created' if made.created else 'is there'}")


@topics_app.command(
    "check", epilog="Example: [bold]sluicegate topics check --broker kafka1:9092[/bold]"
)
def topics_check(context: typer.Context, broker: Broker = None) -> None:
    """Say what differs between the topics and what the settings ask for; 1 if anything does."""
    from sluicegate.streaming.topics import check_topics

    settings, bootstrap = reached(context, broker)
    differences = check_topics(settings, bootstrap)
    for difference in differences:
        typer.echo(difference)
    if differences:
        raise typer.Exit(1)
    typer.echo("all topics are as configured")


@app.command(epilog="Example: [bold]sluicegate router --broker kafka1:9092,kafka2:9092[/bold]")
def router(context: typer.Context, broker: Broker = None, slot: Slot = None) -> None:
    """Run a router: from transactions to the ordered legs logs. One is active, others stand by."""
    _run_part("router", context, broker, slot=slot)


@app.command(epilog="Example: [bold]sluicegate worker --slot w1[/bold]")
def worker(context: typer.Context, broker: Broker = None, slot: Slot = None) -> None:
    """Run a worker: judges legs, remembers them, raises alerts."""
    _run_part("worker", context, broker, slot=slot)


@app.command(epilog="Example: [bold]sluicegate liaison --broker kafka1:9092[/bold]")
def liaison(context: typer.Context, broker: Broker = None) -> None:
    """Run a liaison consumer: from alerts to the database of the desk."""
    _run_part("liaison", context, broker)


@app.command(
    epilog="Example: [bold]sluicegate simulate --history 100000 --rate 500 --for 60 --seed 7[/bold]"
)
def simulate(
    context: typer.Context,
    history: Annotated[
        int, typer.Option(metavar="N", min=0, help="Transactions of the last months, first.")
    ] = 0,
    rate: Annotated[
        float, typer.Option(metavar="R", callback=_above_zero, help="Then so many a second.")
    ] = 2_000,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="S", min=0, help="For so long; else until Ctrl-C."),
    ] = None,
    seed: Seed = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Into an ndjson file instead of Kafka.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Note the planted frauds, JSON lines.")
    ] = None,
    broker: Broker = None,
) -> None:
    """Send a simulated city's transactions, with planted frauds, to Kafka or to a file.

    Into Kafka the history ends now; into a file it ends on 2025-07-01, and the same options give
    the same file.
    """
    if out is not None:
        if seconds is None:
            raise typer.BadParameter("a file needs an end", param_hint="--for")
        from sluicegate.operations.simulate import write_simulation

        written = write_simulation(
            out, truth, seed=seed, history=history, rate=rate, seconds=seconds
        )
        typer.echo(f"{written:,} transactions in {out}")
        return
    from sluicegate.operations.simulate import send_simulation

    settings, bootstrap = reached(context, broker)
    send_simulation(
        settings, bootstrap, truth, seed=seed, history=history, rate=rate, seconds=seconds
    )


@app.command(
    epilog="Example: [bold]sluicegate replay bank.csv --columns txn=id,at=occurred_at,sum=amount,"
    "payer=payer_account,payee=payee_account --rate 5000[/bold]"
)
def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .parquet, .csv, .csv.gz or .ndjson file.")],
    columns: ColumnMap = None,
    timezone: Timezone = "UTC",
    speed: Annotated[
        float | None, typer.Option(metavar="X", callback=_above_zero, help="Times real time.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="R", callback=_above_zero, help="Transactions a second."),
    ] = None,
    broker: Broker = None,
) -> None:
    """Send a file of transactions into the topic in time order; as fast as it goes, or paced."""
    if speed is not None and rate is not None:
        raise typer.BadParameter("--speed and --rate exclude each other", param_hint="--speed")
    from sluicegate.history.events import read_events
    from sluicegate.history.replay import replay
    from sluicegate.operations.parts import stop_on_signals

    events = read_events(file, columns=columns, timezone=timezone)
    settings, bootstrap = reached(context, broker)
    replay(settings, bootstrap, events, speed=speed, rate=rate, stop=stop_on_signals())


@app.command(
    epilog="Examples: [bold]sluicegate score bank.parquet --out scores.parquet[/bold], "
    "[bold]sluicegate score --legs --out alerts.parquet[/bold]"
)
def score(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The parquet file to write.")],
    events: Annotated[
        Path | None, typer.Argument(help="A .parquet, .csv, .csv.gz or .ndjson file.")
    ] = None,
    columns: ColumnMap = None,
    timezone: Timezone = "UTC",
    model: FittedModel = None,
    directives: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What was found out, counted from `issued_at` on."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Confirmed frauds: whom they paid is known to be."),
    ] = None,
    label_columns: LabelColumns = None,
    label_delay: LabelDelay = "7d",
    legs: Annotated[
        bool, typer.Option("--legs", help="Replay the legs logs on Kafka instead of a file.")
    ] = False,
    broker: Broker = None,
) -> None:
    """Score a file of transactions with the live step function, in time order, without a broker.

    With --legs, replay the legs logs themselves: exactly the live alerts, one row each, and the
    digest of each partition's account rows. With --model, scores are the probabilities of a model
    that `sluicegate fit` made. With --directives, accounts found out (terminals, payees) are known
    from then on; the file is as for `sluicegate directives import`. With --labels (id, label), whom
    a confirmed fraud paid is involved from `known_at` on, or else --label-delay after it.
    """
    for name, given, where in (
        ("--model", model, "the model that was published judges"),
        ("--directives", directives, "the legs logs hold their directives"),
        ("--labels", labels, "the legs logs hold their directives"),
    ):
        if legs and given is not None:
            raise typer.BadParameter(f"is for files: {where}", param_hint=name)
    if (events is None) != legs:
        raise typer.BadParameter("give a file of transactions, or --legs", param_hint="EVENTS")
    from sluicegate.history.score import Confirmed, score_file, score_legs
    from sluicegate.judging.patterns import load_patterns
    from sluicegate.operations.progress import counted
    from sluicegate.operations.tell import read_directives

    if events is None:
        settings, bootstrap = reached(context, broker)
        with counted("legs messages") as progress:
            retraced = score_legs(settings, bootstrap, out, progress)
        for partition, digest in retraced.digests.items():
            typer.echo(f"partition {partition}: account rows {digest}")
        typer.echo(f"{retraced.alerts:,} alerts, in {out}")
        return
    known = []
    if directives is not None:
        patterns = load_patterns(settings_of(context).patterns.file)
        known = read_directives(directives, settings_of(context), patterns)
    delay_ms = milliseconds(label_delay)
    confirmed = None if labels is None else Confirmed(labels, delay_ms, label_columns)
    with counted("transactions") as progress:
        scored = score_file(
            settings_of(context),
            events,
            out,
            columns=columns,
            timezone=timezone,
            model=model,
            directives=known,
            confirmed=confirmed,
            progress=progress,
        )
    for sentence in scored.summary:
        typer.echo(sentence)
    refused = f", {scored.refused:,} refused or repeated" if scored.refused else ""
    typer.echo(f"{scored.transactions:,} transactions{refused}, {scored.alerts:,} alerts, in {out}")


@app.command(epilog="Example: [bold]sluicegate demo --for 30 --report demo.json[/bold]")
def demo(
    context: typer.Context,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="S", callback=_above_zero, help="Live part; else to Ctrl-C."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the books as JSON; no live view.")
    ] = None,
    seed: Seed = 1,
    rate: Annotated[
        float, typer.Option(metavar="R", callback=_above_zero, help="Live transactions a second.")
    ] = 2_000,
    history: Annotated[
        int, typer.Option(metavar="N", min=0, help="Transactions of the months before.")
    ] = 1_000_000,
    language: Annotated[
        str, typer.Option("--lang", metavar="en|zh", help="Of the reasons.")
    ] = "en",
    broker: Broker = None,
) -> None:
    """Run it all with a simulated bank and planted frauds, in a temporary directory.

    First a backlog of some months, then live. At the end, or at Ctrl-C, everything is stopped
    and removed, and the books are printed; 0 only if nothing was lost.
    """
    if language not in ("en", "zh"):
        raise typer.BadParameter(f"{language!r} is neither en nor zh", param_hint="--lang")
    from sluicegate.operations.demo import Wishes, run_demo

    wishes = Wishes(seconds, report, seed, rate, history, language, broker)
    settings = settings_of(context)
    _check_patterns(settings)
    raise typer.Exit(run_demo(settings, wishes))


@app.command(epilog="Example: [bold]sluicegate bench --report bench.json[/bold]")
def bench(
    context: typer.Context,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures as JSON.")
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="One run of each.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Also how it grows with accounts, patterns, workers.")
    ] = False,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="How fast a worker with 1,000,000 accounts is back.")
    ] = False,
    counter_seconds: Annotated[
        int | None,
        typer.Option("--counter", metavar="S", min=1, help="200 checks a second beside a stream."),
    ] = None,
    kills: Annotated[
        bool, typer.Option("--kill", help="With --counter: kill one of two workers meanwhile.")
    ] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="What the figures cost the worker.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also with this model judging.")
    ] = None,
) -> None:
    """Measure throughput, latency and memory of the pipeline on this machine."""
    if metrics:
        from sluicegate.operations.bench_metrics import run_metrics_bench

        run_metrics_bench(settings_of(context), report=report)
        return
    if counter_seconds is not None:
        from sluicegate.operations.bench_counter import run_counter_bench

        run_counter_bench(settings_of(context), report=report, seconds=counter_seconds, kills=kills)
        return
    if recovery:
        from sluicegate.operations.bench_recovery import run_recovery_bench

        run_recovery_bench(settings_of(context), report=report)
        return
    from sluicegate.operations.bench import run_bench

    run_bench(settings_of(context), report=report, short=short, full=full, model=model)


@app.command(epilog="Example: [bold]sluicegate torture --kills 100 --seed 1[/bold]")
def torture(
    context: typer.Context,
    kills: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of workers, routers and liaison together.")
    ] = 100,
    seed: Seed = 1,
    rate: Annotated[
        float, typer.Option(metavar="R", callback=_above_zero, help="Transactions a second.")
    ] = 1_000,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave all records and logs here.")
    ] = None,
) -> None:
    """Kill, stop, freeze and starve the pipeline while it works, and prove that it is exact.

    On a broker of its own that is killed too. 0 only if no transaction was lost or counted twice,
    and state, arrivals, alerts and database are those of a replay of the logs.
    """
    from sluicegate.operations.torture import Wishes, run_torture

    settings = settings_of(context)
    _check_patterns(settings)
    raise typer.Exit(run_torture(settings, Wishes(kills, seed, rate, report, keep)))


@config_app.command(
    "check", epilog="Example: [bold]sluicegate --config bank.toml config check[/bold]"
)
def config_check(context: typer.Context) -> None:
    """Print the settings in force, and check them and the patterns as a whole."""
    from sluicegate.operations.inspection import in_force, mistakes

    settings = settings_of(context)
    typer.echo(in_force(settings, context.obj), nl=False)
    found = mistakes(settings)
    for mistake in found:
        typer.echo(mistake, err=True)
    if found:
        raise typer.Exit(1)


@counter_app.callback(
    invoke_without_command=True, epilog="Example: [bold]sluicegate counter --port 6200[/bold]"
)
def counter(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")
    ] = None,
    broker: Broker = None,
) -> None:
    """Answer tellers before they pay: over HTTP, and at /counter as a page.

    Needs a key for each branch: `sluicegate counter keys create`.
    """
    if context.invoked_subcommand is not None:
        return
    changed = {} if port is None else {"port": port}
    _run_part("counter", context, broker, **changed)


@desk_app.callback(
    invoke_without_command=True, epilog="Example: [bold]sluicegate desk --port 6300[/bold]"
)
def desk(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")
    ] = None,
    broker: Broker = None,
) -> None:
    """Serve the desk where bank and police work on alerts, at /desk.

    The first start makes an administrator and prints a one-time password.
    """
    if context.invoked_subcommand is not None:
        return
    changed = {} if port is None else {"port": port}
    _run_part("desk", context, broker, **changed)


def _check_patterns(settings: "Settings") -> None:
    """A mistake in patterns or model stops the start, instead of each worker again and again."""
    from sluicegate.streaming.scoring import configured

    configured(settings)


def _run_part(
    name: str, context: typer.Context, broker: str | None, **changed: str | int | None
) -> None:
    from sluicegate.operations.metrics import Part
    from sluicegate.operations.parts import bootstrap_of, run_part

    settings = settings_of(context, broker)
    given = {field: value for field, value in changed.items() if value is not None}
    if given:
        settings = settings.changed(**{name: given})
    with contextlib.suppress(KeyboardInterrupt):  # before it took care of that: nothing had begun
        run_part(Part(name), settings, bootstrap_of(settings.broker))
    # All is flushed and committed. To take apart an interpreter with a million account rows and
    # compiled kernels takes a second, and the supervisor has five for everyone.
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    """Run a command; what a person can act on is printed as it is, and the exit code is 1."""
    try:
        app()
    except Problem as problem:
        typer.echo(str(problem), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
