"""What a model leans on, in words."""

from __future__ import annotations

import re
from math import nan, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.judging.model_inputs import PAYEE_NAMES, PAYEE_PAST, PAYER_NAMES, PAYER_PAST
from sluicegate.judging.model_words import MOST_REASONS, model_reasons, words_of

INPUTS = (*PAYER_NAMES, *PAYER_PAST, *PAYEE_NAMES, *PAYEE_PAST)


@pytest.mark.parametrize(
    ("name", "value", "zh", "en"),
    [
        (
            "payee.sources_24h",
            5.0,
            "收款账户 24 小时内 5 个付款方",
            "payee's account: 5 payers within 24 h",
        ),
        ("payer.since_outflow_s", nan, "付款账户 此前无转出", "payer's account: no outflow before"),
        (
            "payer.past_in",
            1.5,
            "付款账户 近期转入累计得分 1.50",
            "payer's account: scores of recent inflows add up to 1.50",
        ),
        (
            "payee.inflow_sum_decayed_7d",
            1234.5,
            "收款账户 近 7d 加权转入 1,234.50 元",
            "payee's account: weighted sum of inflows of about 7d: 1,234.50",
        ),
    ],
)
def test_an_input_is_said_with_its_side_and_value(
    name: str, value: float, zh: str, en: str
) -> None:
    assert words_of(name, value) == (zh, en)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("value", [0.0, 1.0, 17.25, nan])
def test_every_input_has_words(name: str, value: float) -> None:
    for text in words_of(name, value):
        assert text
        assert not re.search(r"[{}]", text)


@given(
    st.lists(st.floats(-5, 5), min_size=len(INPUTS), max_size=len(INPUTS)), st.floats(0.01, 0.999)
)
def test_strengths_of_the_reasons_come_to_the_probability(
    contributions: list[float], probability: float
) -> None:
    added = np.array(contributions)
    found = model_reasons(INPUTS, np.ones(len(INPUTS)), added, probability)
    assert len(found) == max(1, min(MOST_REASONS, int((added > 0).sum())))
    rest = prod(1 - reason.strength for reason in found)
    assert 1 - rest == pytest.approx(probability, abs=1e-9)
    strengths = [reason.strength for reason in found]
    assert strengths == sorted(strengths, reverse=True)
    assert found[0].pattern == f"model.{INPUTS[int(added.argmax())]}"
