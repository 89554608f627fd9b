"""Pattern sets as they are published, and the one that is active in a partition.

A set is published by one message on the topic `patterns`: its content under its hash. The router
makes of it a record in every legs log, from which on the partition is judged by it.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sluicegate.errors import Problem
from sluicegate.judging.patterns import PatternSet, load_patterns
from sluicegate.judging.publication import read_published
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import Scoring, judging_of, scoring_by
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.topics import Topics


def published_sets(settings: Settings, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Version and content of all that was published, oldest first.

    Raises:
        Problem: the topic is not there, or cannot be read.
    """
    topic = Topics.of(settings).patterns
    with closing(StretchReader(config)) as reader:
        for number in reader.partitions(topic):
            for message in reader.read(reader.whole(topic, number)):
                key, value = message.key(), message.value()
                if isinstance(key, bytes) and value is not None:
                    yield key.decode(errors="replace"), value.decode(errors="replace")


def judging_patterns(settings: Settings, config: dict[str, Any]) -> PatternSet:
    """The patterns published last, those of the configured file if none ever were.

    Raises:
        Problem: as `published_sets`, or they cannot be read.
    """
    published = list(published_sets(settings, config))
    if not published:
        return load_patterns(settings.patterns.file)
    version, content = published[-1]
    return read_published(content, version)[0]


class ActiveSets:
    """The sets by which partitions are judged, compiled, by the version that was activated.

    "" is the configured file, with the configured model if there is one, which judge until a set
    is published.
    """

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        self._settings = settings
        self._config = config
        self.configured = judging_of(settings)
        self._held = {"": self.configured, self.configured.version: self.configured}

    def holds(self, version: str) -> bool:
        """Whether the set is here, so that `of` takes no time."""
        return version in self._held

    def of(self, version: str) -> Scoring:
        """The set of a version; it is fetched and compiled if it is not held.

        Raises:
            Problem: nothing was published under this version.
        """
        if version not in self._held:
            pattern_set, model = read_published(self._fetched(version), version)
            self._held[version] = scoring_by(pattern_set, self._settings, model=model)
        return self._held[version]

    def latest(self) -> Scoring:
        """The set that was published last, the configured file's if none ever was.

        Raises:
            Problem: as `of`, or the topic is not there.
        """
        versions = [version for version, _ in published_sets(self._settings, self._config)]
        return self.of(versions[-1] if versions else "")

    def _fetched(self, version: str) -> str:
        topic = Topics.of(self._settings).patterns
        for known, content in published_sets(self._settings, self._config):
            if known == version:
                return content
        raise Problem(
            f"pattern set {version} is active and not known",
            f"nothing under this hash is on the topic {topic}",
            "publish that set again with `sluicegate patterns publish FILE`, then start anew; "
            "nothing was judged since it was activated",
        )
