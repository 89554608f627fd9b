"""`sluicegate config check`: what is in force, and what is wrong with it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from sluicegate.counter.rules import load_rules
from sluicegate.errors import Problem
from sluicegate.judging.patterns import load_patterns
from sluicegate.settings import ENVIRONMENT_PREFIX, Settings, settings_file
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.scoring import configured

HIDDEN: Final = "********"
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/@]*?):[^@]*@")


def in_force(settings: Settings, config: Path | None) -> str:
    """The settings as TOML with what is secret hidden, then a line on the patterns."""
    return "".join([*_source(config), *_sections(settings), *_patterns(settings)])


def mistakes(settings: Settings) -> list[str]:
    """What would stop a part at its start although each setting by itself is right."""
    found = []
    for check in (_check_broker, _check_patterns, _check_rules):
        try:
            check(settings)
        except Problem as problem:
            found.append(str(problem))
    return found


def _source(config: Path | None) -> Iterator[str]:
    file = settings_file(config)
    yield f"# {file}\n" if file else "# no settings file: defaults\n"
    for variable in sorted(os.environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
            yield f"# overridden by {variable}\n"


def _sections(settings: Settings) -> Iterator[str]:
    for section in Settings.model_fields:
        yield f"\n[{section}]\n"
        for name, value in getattr(settings, section):
            yield f"# {name} is not set\n" if value is None else f"{name} = {_shown(value)}\n"


def _shown(value: object) -> str:
    match value:
        case SecretStr():
            return f'"{HIDDEN}"'
        case int() | float():
            return str(value)
        case _:
            text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", str(value))
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _patterns(settings: Settings) -> Iterator[str]:
    try:
        patterns = load_patterns(settings.patterns.file)
    except Problem:
        return  # told with the mistakes
    alert = patterns.thresholds.alert
    yield f"\n# {len(patterns.patterns)} patterns, version {patterns.version}, alert at {alert:g}\n"
    yield "# they judge until `sluicegate patterns publish` gives a set, then that one does\n"


def _check_broker(settings: Settings) -> None:
    """The files of certificates and keys are there."""
    confluent_config(settings.broker, settings.broker.bootstrap)


def _check_patterns(settings: Settings) -> None:
    configured(settings)


def _check_rules(settings: Settings) -> None:
    load_rules(settings.counter.rules_file)
