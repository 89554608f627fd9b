"""Patterns as declared in config/patterns.toml, read and checked.

A pattern is a named condition over features, with a weight (or an expression for a graded
strength), a reason in words, and questions for the counter. Terms are named numbers that several
patterns share, such as how much of an institution an account looks like.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sluicegate.domain.measure import Measure
from sluicegate.errors import Problem
from sluicegate.judging.declared import read_declared
from sluicegate.judging.expressions import (
    Condition,
    Names,
    Number,
    Numeric,
    did_you_mean,
    features_of,
    parse_condition,
    parse_number,
)
from sluicegate.judging.templates import Template, parse_template
from sluicegate.memory.features import FEATURE_INDEX, FEATURES

PROVENANCE: Final = frozenset(feature.name for feature in FEATURES if feature.provenance)
_STRICT: Final = ConfigDict(frozen=True, extra="forbid", strict=True)

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Side(StrEnum):
    """Whose leg a pattern judges."""

    PAYER = "payer"
    PAYEE = "payee"
    BOTH = "both"

    def covers(self, other: "Side") -> bool:
        """Whether a pattern of this side judges a leg of the other."""
        return self is Side.BOTH or self is other


class Words(BaseModel):
    """The same text in Chinese and English."""

    model_config = _STRICT
    zh: Text
    en: Text


class Questions(BaseModel):
    """What the teller asks, in Chinese and English: the same questions in the same order."""

    model_config = _STRICT
    zh: list[Text] = []
    en: list[Text] = []

    @model_validator(mode="after")
    def _are_paired(self) -> "Questions":
        if len(self.zh) != len(self.en):
            raise ValueError(f"{len(self.zh)} in zh but {len(self.en)} in en")
        return self


class Pattern(BaseModel):
    """A pattern as it is declared."""

    model_config = _STRICT
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    title: Words
    side: Annotated[Side, Field(strict=False)]
    when: Text
    shadow: bool = False
    """Judged and counted, but no part of a score."""
    weight: Share | None = None
    strength: Text | None = None
    reason: Words
    questions: Questions = Questions()
    source: Text

    @model_validator(mode="after")
    def _has_one_strength(self) -> "Pattern":
        if (self.weight is None) == (self.strength is None):
            raise ValueError("give either a weight or a strength")
        return self


class Thresholds(BaseModel):
    """The score from which an alert is raised, and from which each measure is recommended."""

    model_config = _STRICT
    alert: Share
    measures: dict[Annotated[Measure, Field(strict=False)], Share] = {}

    @model_validator(mode="after")
    def _rise_along_the_ladder(self) -> "Thresholds":
        if Measure.NONE in self.measures:
            raise ValueError('"none" has no threshold: it is what is left')
        rungs = sorted(self.measures.items(), key=lambda rung: rung[0].severity)
        for (lighter, low), (heavier, high) in pairwise(rungs):
            if low >= high:
                raise ValueError(f"{heavier} ({high}) must lie above {lighter} ({low})")
        return self


class PatternFile(BaseModel):
    """The whole of config/patterns.toml."""

    model_config = _STRICT
    thresholds: Thresholds
    terms: dict[str, Text] = {}
    pattern: list[Pattern] = []


_ENTRIES: Final = frozenset[str]().union(
    *(model.model_fields for model in (PatternFile, Thresholds, Pattern, Words, Questions))
)


@dataclass(frozen=True)
class CheckedPattern:
    """A pattern whose expressions and templates have been read."""

    pattern: Pattern
    condition: Condition
    strength: Numeric
    reason_zh: Template
    reason_en: Template

    @cached_property
    def features(self) -> frozenset[str]:
        """Every feature that the pattern reads or says."""
        read = features_of(self.condition) | features_of(self.strength)
        return read | self.reason_zh.features | self.reason_en.features

    @cached_property
    def feature_indexes(self) -> frozenset[int]:
        """Where they stand in a vector of features."""
        return frozenset(map(FEATURE_INDEX.__getitem__, self.features))


@dataclass(frozen=True)
class PatternSet:
    """Checked patterns in the order of the file, which is the order of their strengths."""

    patterns: tuple[CheckedPattern, ...]
    thresholds: Thresholds
    terms: Mapping[str, str]
    content: str
    """Canonical JSON of all that was declared."""

    @cached_property
    def version(self) -> str:
        """First 16 hex digits of the SHA-256 of the content."""
        return version_of(self.content)

    def index_of(self, name: str) -> int:
        """Where the strength of a pattern stands; KeyError when there is no such pattern."""
        return {checked.pattern.name: i for i, checked in enumerate(self.patterns)}[name]

    def named(self, name: str) -> CheckedPattern:
        """The pattern of this name.

        Raises:
            Problem: there is none.
        """
        by_name = {checked.pattern.name: checked for checked in self.patterns}
        if name not in by_name:
            raise Problem(
                f"there is no pattern {name!r}{did_you_mean(name, by_name)}",
                f"known are {', '.join(by_name)}",
            )
        return by_name[name]


def load_patterns(path: Path) -> PatternSet:
    """Read and check a file of patterns.

    Raises:
        Problem: names the file, the pattern and the thing that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: cannot read the patterns", str(error)) from error
    return parse_patterns(text, str(path))


def parse_patterns(text: str, origin: str) -> PatternSet:
    """Read and check the TOML text of a pattern set; `origin` is named in what goes wrong.

    Raises:
        Problem: names the origin, the pattern and the thing that is wrong.
    """
    declared = read_declared(PatternFile, text, origin, table="pattern", entries=_ENTRIES)
    return _pattern_set(declared, origin)


def published_patterns(content: str, version: str) -> PatternSet:
    """The set whose content was published under a version.

    Raises:
        Problem: it is of another version, or this program does not know all of it.
    """
    origin = f"pattern set {version}"
    try:
        found = _pattern_set(PatternFile.model_validate_json(content, strict=False), origin)
    except ValidationError as error:
        raise Problem(
            f"{origin}: cannot be read",
            str(error.errors()[0]["msg"]),
            "another version of sluicegate has published it: publish it again with this one",
        ) from error
    if found.version != version:
        raise Problem(
            f"{origin}: what it says has another hash",
            found.version,
            "another version of sluicegate has published it: publish it again with this one",
        )
    return found


def version_of(content: str) -> str:
    """First 16 hex digits of the SHA-256 of the content of a pattern set."""
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _pattern_set(declared: PatternFile, origin: str) -> PatternSet:
    _check_unique([pattern.name for pattern in declared.pattern], origin)
    names = _names(declared.terms, origin)
    patterns = tuple(_checked(pattern, names, origin) for pattern in declared.pattern)
    content = json.dumps(
        declared.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    return PatternSet(patterns, declared.thresholds, declared.terms, content)


def _check_unique(names: list[str], origin: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Problem(f'{origin}: pattern "{name}": the name is used twice')
        seen.add(name)


def _names(terms: Mapping[str, str], origin: str) -> Names:
    """The features, and the terms one after another: a term may use those before it."""
    known: dict[str, Numeric] = {}
    names = Names(frozenset(FEATURE_INDEX), known)
    for name, text in terms.items():
        with _named(f'{origin}: term "{name}"'):
            if name in names.features:
                raise Problem("a feature has this name")
            known[name] = parse_number(text, names)
    return names


def _checked(pattern: Pattern, names: Names, origin: str) -> CheckedPattern:
    with _named(f'{origin}: pattern "{pattern.name}"'):
        checked = _read(pattern, names)
        astray = sorted(checked.features & PROVENANCE)
        if astray and pattern.side is not Side.PAYEE:
            raise Problem(
                f'"{astray[0]}" is carried by arrivals only, but the side is "{pattern.side}"'
            )
    return checked


def _read(pattern: Pattern, names: Names) -> CheckedPattern:
    if pattern.strength is not None:
        strength = parse_number(pattern.strength, names)
    else:
        strength = Number(0.0 if pattern.weight is None else pattern.weight)
    return CheckedPattern(
        pattern=pattern,
        condition=parse_condition(pattern.when, names),
        strength=strength,
        reason_zh=parse_template(pattern.reason.zh, "zh"),
        reason_en=parse_template(pattern.reason.en, "en"),
    )


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Name the place in whatever problem arises there."""
    try:
        yield
    except Problem as problem:
        raise Problem(f"{place}: {problem.fact}", problem.detail, problem.hint) from problem
