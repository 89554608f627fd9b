"""All text of the desk, in both languages, and how amounts, times and numbers are shown."""

import tomllib
from datetime import datetime, timedelta, tzinfo
from importlib.resources import files
from typing import Final

from sluicegate.domain.money import amount_display

LANGUAGES: Final = ("zh", "en")
_FOLDER: Final = files("sluicegate.desk") / "messages"


def catalogue() -> dict[str, dict[str, str]]:
    """By language and key; each group of pages has a file of its own.

    Raises:
        ValueError: two files have the same key.
    """
    words: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
    for file in sorted(_FOLDER.iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".toml"):
            continue
        found: dict[str, dict[str, str]] = tomllib.loads(file.read_text(encoding="utf-8"))
        for language, entries in found.items():
            twice = words[language].keys() & entries.keys()
            if twice:
                raise ValueError(f"{file.name}: {', '.join(sorted(twice))} is said elsewhere")
            words[language] |= entries
    return words


WORDS: Final = catalogue()


def local_time(moment: datetime | None, zone: tzinfo) -> str:
    """Date and time of day at the desk; empty for None."""
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def short_time(moment: datetime | None, zone: tzinfo) -> str:
    """Day and time of day to the minute."""
    return "" if moment is None else f"{moment.astimezone(zone):%m-%d %H:%M}"


def lasted(length: timedelta) -> str:
    """A length as clocks show it: 4:07, 1:02:09, 3d 04:10."""
    seconds = max(0, int(length.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{days}d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def masked(account: str | None) -> str:
    """An account number of which only the ends are told: enough to tell cases apart."""
    if not account:
        return ""
    return f"{account[:4]}…{account[-4:]}" if len(account) > 8 else f"…{account[-2:]}"


def hidden(account: str | None) -> str:
    """An account number of which nothing is told."""
    return "" if not account else "••••"


def money(amount_minor: int | None) -> str:
    """An amount in major units with separators; empty for None."""
    return "" if amount_minor is None else amount_display(amount_minor)
