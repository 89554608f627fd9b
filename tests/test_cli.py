"""The command line: help, wrong usage, and problems that a person can act on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from sluicegate import cli
from sluicegate.settings import Settings

if TYPE_CHECKING:
    from typer.testing import Result

COMMANDS = (
    *("up", "broker", "topics create", "topics check", "router", "worker", "liaison"),
    *("simulate", "replay", "score", "backtest", "fit", "demo", "bench", "config check"),
    *("counter keys create", "counter keys list", "counter keys revoke"),
    *("dead-letter list", "dead-letter show", "dead-letter replay"),
    *("state show", "state digest", "state export", "state import", "state rebuild", "state adopt"),
)
RULES = Path(__file__).parents[1] / "config" / "counter.toml"
SHIPPED = (Path(__file__).parents[1] / "config" / "patterns.toml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _an_empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICEGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `sluicegate ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["sluicegate", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = asked(*command.split(), "--help")
    assert result.exit_code == 0
    assert re.search(rf"Examples?: sluicegate (--config \S+ )?{command}", result.output)


def test_the_help_lists_the_commands() -> None:
    result = asked("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command.split()[0] in result.output


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from sluicegate.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numba', 'faust', 'polars', 'numpy', 'confluent_kafka', 'pydantic'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "no-such-command",
        "replay",
        "replay events.csv --rate 0",
        "replay events.csv --speed -2",
        "replay events.csv --rate 5 --speed 5",
        "replay events.csv --broker nonsense",
        "router --broker kafka:9092,",
        "up --workers 0",
        "broker --port 70000",
        "simulate --history -1",
        "simulate --rate nan",
        "simulate --out events.ndjson",
        "demo --lang fr",
        "demo --for 0",
        "score events.csv",
        "score --legs --out alerts.parquet --model bank.model",
        "backtest events.csv labels.csv",
        "backtest events.csv labels.csv --report out --holdout 0",
        "backtest events.csv labels.csv --report out --budget 0",
        "backtest events.csv labels.csv --report out --against old.toml --model bank.model",
        "fit events.csv labels.csv",
        "fit events.csv labels.csv --out bank.model --label-delay soon",
        "fit events.csv labels.csv --out bank.model --holdout 1",
    ],
)
def test_wrong_usage_is_2(arguments: str) -> None:
    result = asked(*arguments.split())
    assert result.exit_code == 2
    assert "Usage: " in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--config nowhere.toml config check", "nowhere.toml: there is no such settings file"),
        ("router", "no embedded broker is running"),
        ("topics check", "no embedded broker is running"),
        ("replay events.csv", "events.csv: there is no such file"),
        ("backtest events.csv labels.csv --report out", "events.csv: there is no such file"),
        ("up", "config/patterns.toml: cannot read the patterns"),
        ("demo --for 1", "config/patterns.toml: cannot read the patterns"),
        ("simulate --for 1 --out no/such/folder/events.ndjson", "cannot be written"),
    ],
)
def test_a_problem_is_told_and_is_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    said: str,
) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments.split())
    assert code == 1
    assert said in err
    assert "Traceback" not in err
    assert not out


def test_a_report_that_cannot_be_written_is_told_before_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "patterns.toml").write_text(SHIPPED, encoding="utf-8")
    file = "no/such/folder/demo.json"
    code, out, err = run(monkeypatch, capsys, "demo", "--for", "1", "--report", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"{file}: cannot be written")


def test_a_broker_that_is_not_there_is_waited_for_and_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICEGATE_BROKER__GIVE_UP_AFTER_SECONDS", "0.2")
    code, _, err = run(monkeypatch, capsys, "topics", "check", "--broker", "127.0.0.1:1")
    assert code == 1
    assert "no Kafka broker at 127.0.0.1:1" in err
    assert "is it running" in err


def test_config_check_prints_what_is_in_force_and_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "patterns.toml").write_text(SHIPPED, encoding="utf-8")
    (tmp_path / "bank.toml").write_text(
        '[broker]\nbootstrap = "kafka:9092"\nsecurity_protocol = "SASL_PLAINTEXT"\n'
        'sasl_mechanism = "PLAIN"\nsasl_username = "gate"\n[patterns]\nfile = "patterns.toml"\n'
        f'[counter]\nrules_file = "{RULES}"\n'
        '[liaison]\ndatabase_url = "postgresql://desk:topsecret@db/sluicegate"\n'
    )
    monkeypatch.setenv("SLUICEGATE_BROKER__SASL_PASSWORD", "topsecret")
    code, out, err = run(monkeypatch, capsys, "--config", "bank.toml", "config", "check")
    assert (code, err) == (0, "")
    assert "# bank.toml" in out
    assert "# overridden by SLUICEGATE_BROKER__SASL_PASSWORD" in out
    assert 'sasl_password = "********"' in out
    assert 'database_url = "postgresql://desk:********@db/sluicegate"' in out
    assert "topsecret" not in out
    assert " patterns, version " in out
    for section in Settings.model_fields:
        assert f"[{section}]" in out


def test_config_check_tells_every_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    misspelt = SHIPPED.replace("inflow_24h", "inflow_24hr")
    (tmp_path / "patterns.toml").write_text(misspelt, encoding="utf-8")
    monkeypatch.setenv("SLUICEGATE_PATTERNS__FILE", "patterns.toml")
    monkeypatch.setenv("SLUICEGATE_BROKER__CA_FILE", "nowhere.pem")
    code, _, err = run(monkeypatch, capsys, "config", "check")
    assert code == 1
    assert "there is no file nowhere.pem" in err
    assert "patterns.toml: " in err
    assert 'did you mean "inflow_24h"?' in err


def test_a_misspelt_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bank.toml").write_text("[router]\nlinger = 3\n")
    code, _, err = run(monkeypatch, capsys, "--config", "bank.toml", "router")
    assert code == 1
    assert "bank.toml: router.linger: unknown setting" in err
    assert "did you mean router.linger_ms?" in err


def test_the_same_seed_writes_the_same_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        code, out, _ = run(
            monkeypatch,
            capsys,
            *("simulate", "--out", f"{name}.ndjson", "--truth", f"{name}.truth"),
            *("--history", "2000", "--rate", "100", "--for", "2", "--seed", "7"),
        )
        assert code == 0
        assert out == f"2,200 transactions in {name}.ndjson\n"
    for ending in ("ndjson", "truth"):
        first = (tmp_path / f"one.{ending}").read_bytes()
        assert first
        assert first == (tmp_path / f"two.{ending}").read_bytes()
