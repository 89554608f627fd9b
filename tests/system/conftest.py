"""What the whole-process tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.system.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker


@pytest.fixture
def pipeline(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Topics of one's own, and parts that are gone at the end."""
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path) as made:
        yield made
