"""Settings: defaults, file, environment, and mistakes that name themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluicegate.errors import Problem
from sluicegate.settings import (
    DEFAULT_PATH,
    Settings,
    known_keys,
    load_settings,
    settings_file,
    settings_page,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICEGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def written(text: str, path: Path = Path("settings.toml")) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.broker.is_embedded
    assert settings.topics.partitions == 2


def test_the_file_in_the_usual_place_is_read() -> None:
    written("[topics]\npartitions = 16\n", DEFAULT_PATH)
    assert load_settings().topics.partitions == 16


def test_the_environment_names_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written("[topics]\npartitions = 16\n", DEFAULT_PATH)
    other = written("[topics]\npartitions = 2\n")
    monkeypatch.setenv("SLUICEGATE_CONFIG", str(other))
    assert load_settings().topics.partitions == 2
    assert settings_file(Path("given.toml")) == Path("given.toml")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = written('[broker]\nbootstrap = "a:1"\nsecurity_protocol = "SSL"\n')
    monkeypatch.setenv("SLUICEGATE_BROKER__BOOTSTRAP", "b:2")
    monkeypatch.setenv("SLUICEGATE_WORKER__METRICS_PORT", "0")
    settings = load_settings(path)
    assert settings.broker.bootstrap == "b:2"
    assert settings.broker.security_protocol == "SSL"
    assert settings.worker.metrics_port == 0


@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [
        (
            '[broker]\nbootstrp = "x"\n',
            "settings.toml: broker.bootstrp: unknown setting",
            "did you mean broker.bootstrap?",
        ),
        ("[brokr]\nport = 1\n", "settings.toml: brokr: unknown setting", "did you mean broker?"),
        (
            "[router]\npartitions = 4\n",
            "settings.toml: router.partitions: unknown setting",
            "did you mean topics.partitions?",
        ),
        (
            '[topics]\npartitions = "many"\n',
            "settings.toml: topics.partitions: Input should be a valid integer",
            "",
        ),
        ("[topics]\npartitions = 0\n", "greater than or equal to 1, not 0", ""),
        (
            '[broker]\nsecurity_protocol = "TLS"\n',
            "broker.security_protocol: Input should be 'PLAINTEXT', 'SSL'",
            "",
        ),
        (
            '[broker]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\n',
            "settings.toml: broker: SASL_SSL also needs sasl_username, sasl_password",
            "",
        ),
        ('[broker]\nkey_file = "k.pem"\n', "key_file is given without cert_file", ""),
        ("[topics]\nmin_insync_replicas = 2\n", "min_insync_replicas 2 is more than", ""),
        ("[topics\n", "settings.toml: not valid TOML", ""),
    ],
)
def test_a_mistake_in_the_file_names_itself_and_the_way_out(
    text: str, fact: str, hint: str
) -> None:
    with pytest.raises(Problem) as caught:
        load_settings(written(text))
    assert fact in caught.value.fact
    assert caught.value.hint == hint


def test_all_mistakes_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_TOPIC__PREFIX", "x")
    with pytest.raises(Problem) as caught:
        load_settings(written("[topics]\npartitions = 0\nprefix = 'no spaces'\n"))
    assert caught.value.fact == "3 mistakes in the settings"
    assert "SLUICEGATE_TOPIC__PREFIX: unknown section 'topic'; did you mean topics?" in str(
        caught.value
    )


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_LIAISON__METRICS_PORT", "70000")
    with pytest.raises(Problem, match=r"environment: SLUICEGATE_LIAISON__METRICS_PORT: .*70000"):
        load_settings()


def test_a_section_in_the_environment_that_is_no_json_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLUICEGATE_BROKER", "kafka:9092")
    with pytest.raises(Problem, match="environment: a value cannot be read"):
        load_settings()


def test_a_file_that_is_not_there_is_a_problem() -> None:
    with pytest.raises(Problem, match="there is no such settings file"):
        load_settings(Path("nowhere.toml"))


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_BROKER__SASL_PASSWORD", "hush")
    monkeypatch.setenv("SLUICEGATE_LIAISON__DATABASE_URL", "postgresql://desk:hush@db/x")
    settings = load_settings()
    assert "hush" not in repr(settings)
    assert settings.liaison.url == "postgresql://desk:hush@db/x"


def test_the_desk_has_a_database_without_any_setting() -> None:
    assert Settings().liaison.url.startswith("sqlite:///")


def test_the_file_in_the_repository_says_the_defaults() -> None:
    assert load_settings(ROOT / DEFAULT_PATH) == Settings()


def test_the_page_of_settings_is_fresh_and_names_each() -> None:
    page = settings_page()
    again = "run: python -m sluicegate.settings > docs/settings.md"
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == page, again
    assert "| None |" not in page
    assert all(f"| `{key.partition('.')[2]}` |" in page for key in known_keys())
