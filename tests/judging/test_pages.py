from pathlib import Path

import pytest

from sluicegate.judging.pages import pages

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(pages(ROOT)))
def test_a_generated_page_is_fresh(name: str) -> None:
    committed = (ROOT / name).read_text(encoding="utf-8")
    assert committed == pages(ROOT)[name], "run: python -m sluicegate.judging.pages"
