"""Sends profiles, directives and pattern sets into their topics, and reads directives back.

A file is checked as a whole before anything of it is sent: half a list helps nobody.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from polars.exceptions import PolarsError

from sluicegate.domain.directive import Action, Directive, parse_directive
from sluicegate.domain.fields import Rules
from sluicegate.domain.profile import Profile, parse_profile
from sluicegate.domain.refusal import Refused
from sluicegate.errors import Problem
from sluicegate.history.tables import scan
from sluicegate.judging.patterns import PatternSet
from sluicegate.judging.publication import published_as
from sluicegate.operations.post import Post
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.published import judging_patterns
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.topics import Topics

if TYPE_CHECKING:
    from sluicegate.judging.model import Model

Progress = Callable[[int, int], None]
Said = TypeVar("Said", Profile, Directive)

NUMBERS: Final = {"birth_year", "tier"}
LISTS: Final = {"device_hashes", "patterns"}
"""In a CSV file their entries have semicolons between them."""
FLUSH_EVERY: Final = 10_000
SAME_AGAIN: Final = "what is sent twice changes nothing"


def read_profiles(file: Path, rules: Rules) -> list[Profile]:
    """The profiles of a parquet, CSV or NDJSON file.

    Raises:
        Problem: the file cannot be read, or a row is no profile.
    """
    return _read(file, lambda value: parse_profile(value, 0, rules))


def read_directives(file: Path, settings: Settings, patterns: PatternSet) -> list[Directive]:
    """The directives of a parquet, CSV or NDJSON file.

    Raises:
        Problem: the file cannot be read, or a row is no directive, or names a pattern that is none
            of `patterns`.
    """
    rules = Rules(max_bytes=settings.contract.max_bytes)
    directives = _read(file, lambda value: parse_directive(value, 0, rules))
    require_patterns(patterns, [name for each in directives for name in each.patterns])
    return directives


def patterns_in_force(settings: Settings, bootstrap: str) -> PatternSet:
    """Those that judge now: published last, else those of the configured file.

    Raises:
        Problem: the topic is not there, or a set cannot be read.
    """
    return judging_patterns(settings, confluent_config(settings.broker, bootstrap))


def require_patterns(patterns: PatternSet, names: Sequence[str]) -> None:
    """Looks whether there are patterns of these names.

    Raises:
        Problem: there is none of one of them.
    """
    for name in names:
        patterns.named(name)


def send(
    settings: Settings,
    bootstrap: str,
    said: Sequence[Profile | Directive],
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Sends profiles or directives, each into its account's partition, and waits for the broker.

    Raises:
        Problem: the broker does not take them.
    """
    topics = Topics.of(settings)
    post = Post(settings, bootstrap, SAME_AGAIN)
    for done, each in enumerate(said, 1):
        topic = topics.accounts if isinstance(each, Profile) else topics.directives
        partition = partition_of(each.account, post.partitions(topic))
        post.send(topic, partition, each.account.encode(), each.wire())
        if done % FLUSH_EVERY == 0:
            post.flush()
            progress(done, len(said))
    post.flush()
    progress(len(said), len(said))


def publish(
    settings: Settings, bootstrap: str, pattern_set: PatternSet, model: "Model | None" = None
) -> str:
    """Stores a pattern set, and a model beside it, under their hash, which is returned.

    The router activates them.

    Raises:
        Problem: the broker does not take it.
    """
    version, content = published_as(pattern_set, model)
    post = Post(settings, bootstrap, SAME_AGAIN)
    topic = Topics.of(settings).patterns
    post.partitions(topic)
    post.send(topic, 0, version.encode(), content.encode())
    post.flush()
    return version


@dataclass(frozen=True, slots=True)
class Listed:
    """A directive as it stands at a moment."""

    directive: Directive
    is_expired: bool

    @property
    def is_in_force(self) -> bool:
        """Neither ended nor expired."""
        return self.directive.action is Action.ADD and not self.is_expired


def directives_of(
    settings: Settings, bootstrap: str, at_ms: int, progress: Progress | None = None
) -> list[Listed]:
    """The last word of every directive on the topic, in order of issue; `at_ms` judges expiry.

    Raises:
        Problem: the topic cannot be read.
    """
    topic = Topics.of(settings).directives
    rules = Rules(max_bytes=settings.contract.max_bytes)
    last: dict[tuple[str, str], Directive] = {}
    with closing(StretchReader(confluent_config(settings.broker, bootstrap))) as reader:
        whole = [reader.whole(topic, number) for number in reader.partitions(topic)]
        total, done = sum(each.end - each.start for each in whole), 0
        for stretch in whole:
            for message in reader.read(stretch):
                said = parse_directive(message.value(), message.timestamp()[1], rules)
                if not isinstance(said, Refused):
                    last[said.account, said.id] = said
                done += 1
                if progress is not None:
                    progress(done, total)
    listed = [
        Listed(each, each.expires_at_ms is not None and each.expires_at_ms <= at_ms)
        for each in last.values()
    ]
    return sorted(listed, key=lambda each: (each.directive.issued_at_ms, each.directive.id))


def end_of(listed: Sequence[Listed], id_: str, account: str | None, at_ms: int) -> Directive:
    """What ends the directive of this id, of this account if the id is not enough.

    Raises:
        Problem: there is none in force, or several.
    """
    found = [
        each.directive
        for each in listed
        if each.directive.id == id_
        and account in {None, each.directive.account}
        and each.directive.action is Action.ADD
    ]
    if not found:
        raise Problem(
            f"there is no directive {id_!r} to end", hint="`sluicegate directives list` shows them"
        )
    if len(found) > 1:
        raise Problem(
            f"{len(found)} accounts have a directive {id_!r}", hint="say which with --account"
        )
    return found[0].model_copy(update={"action": Action.END, "issued_at_ms": at_ms})


def _read(file: Path, parse: Callable[[bytes], Said | Refused]) -> list[Said]:
    said: list[Said] = []
    for number, row in enumerate(_rows(file), 1):
        found = parse(json.dumps(row, ensure_ascii=False).encode())
        if isinstance(found, Refused):
            raise Problem(
                f"{file}: row {number:,} is refused, so nothing was sent",
                f"{found.refusal.value}: {found.field or 'the row'} {found.detail}",
                "docs/schemas says what a row may hold",
            )
        said.append(found)
    return said


def _rows(file: Path) -> Iterator[dict[str, object]]:
    try:
        frame = scan(file).collect()
    except PolarsError as error:
        raise Problem(f"{file}: cannot be read", str(error).partition("\n")[0]) from error
    for row in frame.iter_rows(named=True):
        filled = ((name, value) for name, value in row.items() if value is not None and value != "")
        yield {name: _plain(name, value) for name, value in filled}


def _plain(name: str, value: object) -> object:
    """A value of a file as JSON has it."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str) and name in NUMBERS and value.lstrip("-").isdigit():
        return int(value)
    if isinstance(value, str) and name in LISTS:
        return [part.strip() for part in value.split(";") if part.strip()]
    return value
