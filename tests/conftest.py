"""What all tests share: one real broker for the whole run, names of one's own on it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright
from tests.chromium import CHROMIUM

from sluicegate.operations.broker import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """A running broker; tests share it, so they must not stop it and must use `topic_prefix`."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def topic_prefix() -> str:
    """Begins the names of topics and groups of one test."""
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium; see tests/chromium.py."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM or "chromium", args=["--no-sandbox"]
        )
        yield launched
        launched.close()
