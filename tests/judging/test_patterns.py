"""What a file of patterns may say, and how it is told when it is wrong."""

from pathlib import Path

import pytest

from sluicegate.domain.measure import Measure
from sluicegate.errors import Problem
from sluicegate.judging.patterns import load_patterns, parse_patterns

THRESHOLDS = "[thresholds]\nalert = 0.5\n"
PATTERN = {
    "name": '"fast-drain"',
    "title": '{ zh = "快进快出", en = "Fast drain" }',
    "side": '"payer"',
    "when": '"inflow_1h > 1"',
    "weight": "0.4",
    "reason": '{ zh = "转入 {inflow_1h:money}", en = "{inflow_1h:money} in" }',
    "source": '"test"',
}


def written(**changes: str | None) -> str:
    entry = {key: value for key, value in (PATTERN | changes).items() if value is not None}
    return "[[pattern]]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items())


def complaint(text: str) -> str:
    with pytest.raises(Problem) as caught:
        parse_patterns(text, "config/patterns.toml")
    return caught.value.fact


def test_a_good_file_is_read() -> None:
    (checked,) = parse_patterns(THRESHOLDS + written(), "x").patterns
    assert checked.pattern.name == "fast-drain"
    assert checked.features == {"inflow_1h"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"when": '"inflow_1hr > 1"'}, 'unknown feature "inflow_1hr"; did you mean "inflow_1h"?'),
        ({"when": '"inflow_1h"'}, '"inflow_1h" is a number where a condition is expected'),
        (
            {"when": '"payer_score > 0.5"'},
            '"payer_score" is carried by arrivals only, but the side is "payer"',
        ),
        (
            {"side": '"both"', "reason": '{ zh = "x", en = "{payer_score:percent}" }'},
            '"payer_score" is carried by arrivals only, but the side is "both"',
        ),
        ({"side": '"sender"'}, "side: Input should be 'payer', 'payee' or 'both'"),
        ({"weight": "1.1"}, "weight: Input should be less than or equal to 1"),
        ({"weight": "nan"}, None),
        ({"weight": '"0.4"'}, "weight: Input should be a valid number"),
        ({"weight": None}, "give either a weight or a strength"),
        ({"strength": '"0.5"'}, "give either a weight or a strength"),
        (
            {"weight": None, "strength": '"amount > 1"'},
            '"amount > 1" is a condition where a number is expected',
        ),
        ({"source": None}, "source: Field required"),
        ({"wieght": "0.4"}, 'unknown entry "wieght"; did you mean "weight"?'),
        ({"title": '{ zh = "x" }'}, "title.en: Field required"),
        (
            {"reason": '{ zh = "x", en = "{inflow_1hr:money}" }'},
            'unknown feature "inflow_1hr"; did you mean "inflow_1h"?',
        ),
        (
            {"reason": '{ zh = "x", en = "{inflow_1h:percent}" }'},
            '"inflow_1h" is in CNY: kind "percent" cannot say it',
        ),
        ({"questions": '{ zh = ["谁"], en = [] }'}, "questions: 1 in zh but 0 in en"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_pattern(
    changes: dict[str, str | None], said: str | None
) -> None:
    fact = complaint(THRESHOLDS + written(**changes))
    assert fact.startswith('config/patterns.toml: pattern "fast-drain": ')
    if said is not None:
        assert fact == f'config/patterns.toml: pattern "fast-drain": {said}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (THRESHOLDS + written() + written(), 'pattern "fast-drain": the name is used twice'),
        (THRESHOLDS + written(name=None), "pattern number 1: name: Field required"),
        (written(), "thresholds: Field required"),
        ("[thresholds]\nalert = 2", "thresholds.alert: Input should be less than or equal to 1"),
        ("=", "is not TOML"),
        ("[threshold]\nalert = 1", 'unknown entry "threshold"; did you mean "thresholds"?'),
        (
            THRESHOLDS + "[thresholds.measures]\nwatch = 0.5\nverify = 0.5",
            "thresholds: verify (0.5) must lie above watch (0.5)",
        ),
        (
            THRESHOLDS + "[thresholds.measures]\nnone = 0.5",
            'thresholds: "none" has no threshold: it is what is left',
        ),
        (THRESHOLDS + "[thresholds.measures]\nwacth = 0.5", None),
        (
            THRESHOLDS + '[terms]\nbusy = "sources_60 + 1"',
            'term "busy": unknown feature "sources_60"; did you mean "sources_60d"?',
        ),
        (THRESHOLDS + '[terms]\namount = "1"', 'term "amount": a feature has this name'),
        (THRESHOLDS + '[terms]\na = "b"\nb = "1"', 'term "a": unknown feature "b"'),
        ("pattern = 1\n" + THRESHOLDS, "pattern: Input should be a valid list"),
        (THRESHOLDS + "[[pattern]]", None),
        (
            THRESHOLDS + "aler = 0.5",
            'unknown entry "thresholds.aler"; did you mean "alert"?',
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, said: str | None) -> None:
    fact = complaint(text)
    assert fact.startswith("config/patterns.toml: ")
    if said is not None:
        assert fact == f"config/patterns.toml: {said}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"none.toml: cannot read the patterns"):
        load_patterns(tmp_path / "none.toml")


def test_a_term_stands_for_its_expression() -> None:
    terms = '[terms]\nhalf = "amount / 2"\nquarter = "half / 2"\n'
    with_terms = parse_patterns(THRESHOLDS + terms + written(when='"quarter > 1"'), "x")
    plain = parse_patterns(THRESHOLDS + written(when='"amount / 2 / 2 > 1"'), "x")
    assert with_terms.patterns[0].condition == plain.patterns[0].condition


def test_the_version_follows_the_content_and_not_the_layout() -> None:
    one = parse_patterns(THRESHOLDS + written(), "one")
    same = parse_patterns("# a remark\n\n" + THRESHOLDS + written(), "two")
    other = parse_patterns(THRESHOLDS + written(weight="0.41"), "one")
    assert one.version == same.version != other.version
    assert len(one.version) == 16
    assert set(one.version) <= set("0123456789abcdef")


def test_the_shipped_file_can_recommend_every_measure_but_those_people_decide() -> None:
    shipped = load_patterns(Path(__file__).parents[2] / "config" / "patterns.toml")
    left_to_people = {Measure.NONE, Measure.FREEZE_BOTH, Measure.FREEZE}
    assert set(shipped.thresholds.measures) == set(Measure) - left_to_people
