"""A pattern set published under way: no restart, the same place again in a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.streaming.test_published import TEXT
from tests.system.test_state_tools import asked, said
from tests.system.test_told import Teller, until_told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.pipeline import Pipeline

pytestmark = pytest.mark.broker


def test_a_published_set_judges_from_its_record_on(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.start("router")
    worker = pipeline.start("worker")
    teller = Teller(pipeline)
    assert teller.patterns(teller.pay("A", "B", "1001.00")) == {}

    broken = tmp_path / "broken.toml"
    broken.write_text(TEXT.replace("half > 500", "halve > 500"), encoding="utf-8")
    refused = asked(pipeline, "patterns", "publish", str(broken))
    assert refused.returncode == 1
    assert 'unknown feature "halve"' in refused.stderr

    new = tmp_path / "new.toml"
    new.write_text(TEXT, encoding="utf-8")
    version = said(pipeline, "patterns", "publish", str(new)).split()[2]
    until_told(pipeline)
    named = {"A": {"large"}}
    assert teller.patterns(teller.pay("A", "B", "1001.00")) == named

    worker.stop()
    worker = pipeline.start("worker")  # finds the set that is active in its state
    assert teller.patterns(teller.pay("A", "B", "1001.00")) == named
    assert {alert.pattern_set_version for alert in pipeline.alerts().values()} == {version}

    worker.stop()
    for partition in range(pipeline.settings.topics.partitions):
        live = pipeline.checkpointed(partition)
        state, alerts = pipeline.replayed(partition, live.applied)
        assert state == live
        assert {alert.id for alert in alerts} <= set(pipeline.alerts())
