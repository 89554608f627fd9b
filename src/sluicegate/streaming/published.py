"""Pattern sets as they are published, and the one that is active in a partition.

A set is published by one message on the topic `patterns`: its content under its hash. The router
makes of it a record in every legs log, from which on the partition is judged by it.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sluicegate.errors import Problem
from sluicegate.judging.patterns import PatternSet, published_patterns
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import Scoring, scoring_by, scoring_of
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


class ActiveSets:
    """The sets by which partitions are judged, compiled, by the version that was activated.

    "" is the configured file, which judges until a set is published.
    """

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        self._settings = settings
        self._config = config
        self.configured = scoring_of(settings)
        self._held = {"": self.configured, self.configured.pattern_set.version: self.configured}

    def holds(self, version: str) -> bool:
        """Whether the set is here, so that `of` takes no time."""
        return version in self._held

    def of(self, version: str) -> Scoring:
        """The set of a version; it is fetched and compiled if it is not held.

        Raises:
            Problem: nothing was published under this version.
        """
        if version not in self._held:
            self._held[version] = scoring_by(self._fetched(version), self._settings)
        return self._held[version]

    def latest(self) -> Scoring:
        """The set that was published last, the configured file's if none ever was.

        Raises:
            Problem: as `of`, or the topic is not there.
        """
        versions = [version for version, _ in published_sets(self._settings, self._config)]
        return self.of(versions[-1] if versions else "")

    def _fetched(self, version: str) -> PatternSet:
        topic = Topics.of(self._settings).patterns
        for known, content in published_sets(self._settings, self._config):
            if known == version:
                return published_patterns(content, version)
        raise Problem(
            f"pattern set {version} is active and not known",
            f"nothing under this hash is on the topic {topic}",
            "publish that set again with `sluicegate patterns publish FILE`, then start anew; "
            "nothing was judged since it was activated",
        )
