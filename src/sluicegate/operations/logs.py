"""One line to stderr for each thing that happens: JSON for machines, text at a terminal."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from sluicegate.errors import Problem
from sluicegate.settings import LogSettings

# What these say at INFO is about themselves, many times a minute.
TALKATIVE: Final = ("aiokafka", "alembic", "faust", "kafka", "mode", "numba", "sqlalchemy")
LONG_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z-])\d{12,}(?![0-9A-Za-z-])")
"""An account as it may slip into the text of an error; ids have letters or hyphens."""
_FIRST: Final = ("at", "level", "part", "event")


def start_logging(part: str, level: int | None = None, settings: LogSettings | None = None) -> None:
    """Send the log lines of this process to stderr under the name of the part.

    `level` stands in for that of the settings. Call it before Faust starts: Faust puts something
    else in the place of stderr.

    Raises:
        Problem: the settings name a level that there is not.
    """
    asked = settings or LogSettings()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(part, _is_json(asked)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    usual = logging.getLevelNamesMapping()[asked.level] if level is None else level
    root.setLevel(usual)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(usual, logging.WARNING))
    for name, own in levels_of(asked.levels).items():
        logging.getLogger(name).setLevel(own)


def event_log(module: str) -> structlog.stdlib.BoundLogger:
    """A logger of events with fields: `event_log(__name__).info("alert raised", trace=...)`."""
    made: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(module),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return made


def levels_of(text: str) -> dict[str, int]:
    """Levels by module, as `sluicegate.streaming=DEBUG,kafka=INFO` says.

    Raises:
        Problem: it does not say so.
    """
    known = logging.getLevelNamesMapping()
    levels: dict[str, int] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, _, level = pair.partition("=")
        if not name or level not in known:
            hint = "it looks like sluicegate.streaming=DEBUG,kafka=INFO"
            raise Problem(f"[logs] levels: {pair!r} names no level of a module", hint=hint)
        levels[name] = known[level]
    return levels


def mask_account(account: str) -> str:
    """An account as it may stand in a log: its last four characters, and all others hidden."""
    if len(account) <= 4:
        return "*" * len(account)
    return "*" * (len(account) - 4) + account[-4:]


def _is_json(asked: LogSettings) -> bool:
    return not sys.stderr.isatty() if asked.format == "auto" else asked.format == "json"


def _formatter(part: str, as_json: bool) -> logging.Formatter:  # noqa: FBT001 - one caller
    def named(_: object, __: str, event: EventDict) -> EventDict:
        return {"part": part, **event}

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, key="at"),
        named,
    ]
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _masked,
        _ordered,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str) if as_json else _line
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
        processors=[_pre(shared), *last, renderer],
    )


def _pre(shared: list[Processor]) -> Processor:
    """The shared steps for events of structlog itself; those of logging have had them."""

    def run(logger: Any, method: str, event: EventDict) -> EventDict:  # noqa: ANN401 - structlog's
        if event.get("_from_structlog"):
            for each in shared:
                event = each(logger, method, event)  # type: ignore[assignment]
        return event

    return run


def _masked(_: object, __: str, event: EventDict) -> EventDict:
    """Hides what may be an account in text that nobody of us wrote."""
    for key in ("event", "exception"):
        text = event.get(key)
        if isinstance(text, str):
            event[key] = LONG_NUMBER.sub(lambda found: mask_account(found[0]), text)
    return event


def _ordered(_: object, __: str, event: EventDict) -> EventDict:
    event["at"] = f"{event['at'][:23]}Z"  # milliseconds
    event["level"] = str(event["level"]).upper()
    first = {key: event[key] for key in _FIRST}
    return {**first, **{key: value for key, value in event.items() if key not in _FIRST}}


def _line(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """`2026-03-01T09:30:00.125Z INFO router: text key=value`; tracebacks on their own lines."""
    rest: Mapping[str, Any] = {key: event[key] for key in event if key not in _FIRST}
    trace = rest.get("exception")
    told = "".join(f" {key}={value}" for key, value in rest.items() if key != "exception")
    text = f"{event['event']}{told}".replace("\r", "\\r").replace("\n", "\\n")
    line = f"{event['at']} {event['level']} {event['part']}: {text}"
    return f"{line}\n{trace}" if trace else line
