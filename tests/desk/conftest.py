"""What the tests of the desk share: one desk a module, which they must not leave broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.desk.desk import RunningDesk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    with RunningDesk(tmp_path_factory.mktemp("desk")) as running:
        yield running
