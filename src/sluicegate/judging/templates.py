"""Reasons in words: templates whose gaps are filled with the facts of a leg.

A gap is `{feature:kind}`: `money` 61,200.00 · `count` 4 · `count payer` 4 payers (the English
plural is made by the number) · `percent` 98 % · `seconds` and `days` a length of time in words ·
`plain` the number itself. A fact that is NULL reads "unknown" / "不详".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sluicegate.errors import Problem
from sluicegate.judging.expressions import did_you_mean
from sluicegate.memory.features import FEATURE_INDEX, FEATURES

Language = Literal["zh", "en"]

_UNITS: Final[dict[str, frozenset[str] | None]] = {
    "money": frozenset({"CNY"}),
    "count": frozenset({"legs", "accounts", "hops"}),
    "percent": frozenset({"share", "score in [0, 1]"}),
    "seconds": frozenset({"s"}),
    "days": frozenset({"days"}),
    "plain": None,
}
"""Kinds of a gap and the units they can say; None: any."""

_UNKNOWN: Final[dict[Language, str]] = {"zh": "不详", "en": "unknown"}
_WORDS: Final[dict[Language, tuple[str, str, str, str]]] = {
    "zh": ("秒", "分钟", "小时", "天"),
    "en": ("s", "min", "h", "d"),
}
_GAP: Final = re.compile(r"\{([^{}]*)\}")
_INSIDE: Final = re.compile(r"([A-Za-z0-9_]+):([a-z]+)(?: ([a-z][a-z ]*[a-z]))?")


Sayer = Callable[[float], str]
"""A value of a feature in words; never asked of NaN."""


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template."""

    text: str
    """The sentence with `%s` in place of each gap."""
    gaps: tuple[tuple[int, Sayer], ...]
    """Where the feature of each gap stands in a vector of features, and what says its value."""
    unknown: str
    """What is said of NaN, which is NULL."""

    @property
    def features(self) -> frozenset[str]:
        """The features whose values fill the gaps."""
        return frozenset(FEATURES[index].name for index, _ in self.gaps)

    def fill(self, value_of: Callable[[int], float]) -> str:
        """The sentence, with the value at the index of each feature put in."""
        said = [
            say(value) if (value := value_of(index)) == value else self.unknown  # not so of NaN
            for index, say in self.gaps
        ]
        return self.text % tuple(said)


def parse_template(text: str, language: Language) -> Template:
    """Read and check a template.

    Raises:
        Problem: a gap that cannot be read, an unknown feature, or a kind that does not fit it.
    """
    # re.split with one group gives text and the inside of a gap in turn.
    pieces = _GAP.split(text)
    gaps = tuple(_gap(inside, language) for inside in pieces[1::2])
    if any("{" in piece or "}" in piece for piece in pieces[::2]):
        raise Problem(f'a brace without its partner in "{text}"')
    return Template(
        "%s".join(piece.replace("%", "%%") for piece in pieces[::2]), gaps, _UNKNOWN[language]
    )


def _gap(inside: str, language: Language) -> tuple[int, Sayer]:
    match = _INSIDE.fullmatch(inside)
    if match is None:
        raise Problem(f'cannot read the gap "{{{inside}}}"; write {{feature:kind}}')
    feature, kind, noun = match[1], match[2], match[3] or ""
    if feature not in FEATURE_INDEX:
        raise Problem(f'unknown feature "{feature}"{did_you_mean(feature, FEATURE_INDEX)}')
    if kind not in _UNITS:
        raise Problem(f'unknown kind "{kind}" in "{{{inside}}}"{did_you_mean(kind, _UNITS)}')
    if noun and (kind != "count" or language != "en"):
        raise Problem(f'the noun in "{{{inside}}}" has no place: only an English count takes one')
    _check_unit(feature, kind)
    return FEATURE_INDEX[feature], _sayer(kind, noun, language)


def _check_unit(feature: str, kind: str) -> None:
    unit = FEATURES[FEATURE_INDEX[feature]].unit
    fitting = _UNITS[kind]
    if fitting is not None and unit not in fitting:
        raise Problem(f'"{feature}" is in {unit}: kind "{kind}" cannot say it')


def _sayer(kind: str, noun: str, language: Language) -> Sayer:
    """What says the values of a gap; chosen once, for it is called for each alert."""
    if kind in ("seconds", "days"):
        unit = 86_400.0 if kind == "days" else 1.0
        return lambda value: _duration(value * unit, language)
    if noun:
        return lambda value: f"{value:,.0f} {noun}{'' if round(value) == 1 else 's'}"
    return _NUMBERS[kind]


_NUMBERS: Final[Mapping[str, Sayer]] = {
    "money": lambda value: f"{value:,.2f}",
    "count": lambda value: f"{value:,.0f}",
    "percent": lambda value: f"{100.0 * value:.0f} %",
    "plain": lambda value: f"{value:.6g}",
}


def _duration(seconds: float, language: Language) -> str:
    """A length of time: seconds, minutes, hours with minutes, days."""
    second, minute, hour, day = _WORDS[language]
    if seconds < 60.0:
        return f"{int(seconds)} {second}"
    if seconds < 3_600.0:
        return f"{int(seconds // 60.0)} {minute}"
    if seconds < 86_400.0:
        hours, minutes = divmod(int(seconds // 60.0), 60)
        return f"{hours} {hour} {minutes} {minute}" if minutes else f"{hours} {hour}"
    return f"{int(seconds // 86_400.0)} {day}"
