from math import nan

import pytest

from sluicegate.errors import Problem
from sluicegate.judging.templates import Language, parse_template


def said(text: str, value: float, language: Language = "en") -> str:
    return parse_template(text, language).fill(lambda _: value)


@pytest.mark.parametrize(
    ("text", "value", "sentence"),
    [
        ("{amount:money} in", 61200.0, "61,200.00 in"),
        ("{sources_24h:count}", 1204.0, "1,204"),
        ("{sources_24h:count payer}", 4.0, "4 payers"),
        ("{sources_24h:count payer}", 1.0, "1 payer"),
        ("{small_same_pair_24h:count test payment}", 2.0, "2 test payments"),
        ("{covered_1h:percent}", 0.98, "98 %"),
        ("{since_inflow_s:seconds}", 0.0, "0 s"),
        ("{since_inflow_s:seconds}", 59.0, "59 s"),
        ("{since_inflow_s:seconds}", 60.0, "1 min"),
        ("{since_inflow_s:seconds}", 2_280.0, "38 min"),
        ("{since_inflow_s:seconds}", 3_600.0, "1 h"),
        ("{since_inflow_s:seconds}", 4_800.0, "1 h 20 min"),
        ("{since_inflow_s:seconds}", 172_800.0, "2 d"),
        ("{silent_days:days}", 200.4, "200 d"),
        ("{silent_days:days}", 0.5, "12 h"),
        ("{local_hour:plain}", 3.25, "3.25"),
        ("{amount:money}", nan, "unknown"),
        ("no gap", 1.0, "no gap"),
    ],
)
def test_facts_are_put_into_words(text: str, value: float, sentence: str) -> None:
    assert said(text, value) == sentence


@pytest.mark.parametrize(
    ("text", "value", "sentence"),
    [
        ("共 {amount:money} 元", 61200.0, "共 61,200.00 元"),
        ("{since_inflow_s:seconds}", 4_800.0, "1 小时 20 分钟"),
        ("{since_inflow_s:seconds}", 5.0, "5 秒"),
        ("{silent_days:days}", 200.4, "200 天"),
        ("{silent_days:days}", nan, "不详"),
    ],
)
def test_facts_are_put_into_chinese_words(text: str, value: float, sentence: str) -> None:
    assert said(text, value, "zh") == sentence


@pytest.mark.parametrize(
    ("text", "language", "complaint"),
    [
        ("{amount}", "en", 'cannot read the gap "{amount}"; write {feature:kind}'),
        ("{}", "en", 'cannot read the gap "{}"; write {feature:kind}'),
        ("{amount:money", "en", 'a brace without its partner in "{amount:money"'),
        ("amount} in", "en", 'a brace without its partner in "amount} in"'),
        ("{amonut:money}", "en", 'unknown feature "amonut"; did you mean "amount"?'),
        ("{amount:mony}", "en", 'unknown kind "mony" in "{amount:mony}"; did you mean "money"?'),
        ("{amount:count}", "en", '"amount" is in CNY: kind "count" cannot say it'),
        (
            "{sources_24h:count payer}",
            "zh",
            'the noun in "{sources_24h:count payer}" has no place: only an English count takes one',
        ),
    ],
)
def test_a_wrong_template_is_refused_with_a_word(
    text: str, language: Language, complaint: str
) -> None:
    with pytest.raises(Problem) as caught:
        parse_template(text, language)
    assert caught.value.fact == complaint


def test_a_template_knows_its_features() -> None:
    template = parse_template("{amount:money} of {inflow_1h:money}", "en")
    assert template.features == {"amount", "inflow_1h"}
