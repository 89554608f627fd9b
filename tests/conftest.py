"""What all tests share: one real broker for the whole run, names of one's own on it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from sluicegate.operations.broker import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """A running broker; tests share it, so they must not stop it and must use `topic_prefix`."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def topic_prefix() -> str:
    """Begins the names of topics and groups of one test."""
    return f"t{uuid.uuid4().hex[:10]}-"
