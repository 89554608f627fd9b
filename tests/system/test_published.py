"""A pattern set published under way: no restart, the same place again in a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.judging.small_model import small_model
from tests.streaming.test_published import TEXT
from tests.system.test_state_tools import asked, said
from tests.system.test_told import Teller, until_told

from sluicegate.judging.patterns import load_patterns

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

    fitted = small_model(load_patterns(new))
    file = tmp_path / "small.model"
    file.write_text(fitted.text(), encoding="utf-8")
    both = said(pipeline, "patterns", "publish", str(new), "--model", str(file)).split()[2]
    assert both != version
    until_told(pipeline)
    partitions = range(pipeline.settings.topics.partitions)
    pipeline.until(
        lambda: all(pipeline.checkpointed(each).sources.get("p0") == 1 for each in partitions),
        "the activation in a checkpoint of each partition, those without legs too",
    )
    worker.kill()
    worker = pipeline.start("worker")
    paid = teller.pay("A", "B", "1001.00")
    assert teller.patterns(paid).keys() == {"A", "B"}  # by the model, which finds all suspect
    alerts = [each for each in pipeline.alerts().values() if each.transaction_id == paid]
    assert {alert.model_version for alert in alerts} == {fitted.version}
    assert {alert.pattern_set_version for alert in alerts} == {version}
    names = [{reason.pattern for reason in alert.reasons} for alert in alerts]
    assert all(any(name.startswith("model.") for name in each) for each in names)
    assert sum("large" in each for each in names) == 1

    worker.stop()
    for partition in partitions:
        live = pipeline.checkpointed(partition)
        state, alerts = pipeline.replayed(partition, live.applied)
        assert state == live
        assert {alert.id for alert in alerts} <= set(pipeline.alerts())
