import pytest

from sluicegate.errors import Problem
from sluicegate.judging.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Condition,
    FeatureValue,
    IsNull,
    Names,
    Not,
    Number,
    Numeric,
    Or,
    features_of,
    parse_condition,
    parse_number,
)

A, B = FeatureValue("amount"), FeatureValue("inflow_1h")
NAMES = Names(frozenset({"amount", "inflow_1h"}), {"double": Arithmetic("*", Number(2.0), A)})


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1.5", Number(1.5)),
        ("1e3", Number(1000.0)),
        ("amount", A),
        ("double", Arithmetic("*", Number(2.0), A)),
        ("-amount", Arithmetic("-", Number(0.0), A)),
        ("1 + 2 * amount", Arithmetic("+", Number(1.0), Arithmetic("*", Number(2.0), A))),
        ("(1 - 2) / amount", Arithmetic("/", Arithmetic("-", Number(1.0), Number(2.0)), A)),
        ("abs(amount)", Call("ABS", (A,))),
        ("LN(amount)", Call("LN", (A,))),
        ("SQRT(amount)", Call("SQRT", (A,))),
        ("COALESCE(amount, inflow_1h, 0)", Call("COALESCE", (A, B, Number(0.0)))),
        ("LEAST(amount, 1)", Call("LEAST", (A, Number(1.0)))),
        ("GREATEST(amount, 1)", Call("GREATEST", (A, Number(1.0)))),
        (
            "CASE WHEN amount > 1 THEN 2 ELSE 3 END",
            Case(((Compare(">", A, Number(1.0)), Number(2.0)),), Number(3.0)),
        ),
        (
            "CASE WHEN amount > 1 THEN 2 END",
            Case(((Compare(">", A, Number(1.0)), Number(2.0)),), None),
        ),
    ],
)
def test_a_number_is_read_as(text: str, tree: Numeric) -> None:
    assert parse_number(text, NAMES) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("amount = 1", Compare("=", A, Number(1.0))),
        ("amount <> 1", Compare("<>", A, Number(1.0))),
        ("amount != 1", Compare("<>", A, Number(1.0))),
        ("amount < inflow_1h", Compare("<", A, B)),
        ("amount IS NULL", IsNull(A)),
        ("amount IS NOT NULL", Not(IsNull(A))),
        ("NOT (amount > 1)", Not(Compare(">", A, Number(1.0)))),
        (
            "amount BETWEEN 1 AND 2",
            And(Compare(">=", A, Number(1.0)), Compare("<=", A, Number(2.0))),
        ),
        ("amount IN (1, -2)", Or(Compare("=", A, Number(1.0)), Compare("=", A, Number(-2.0)))),
        ("amount NOT IN (1)", Not(Compare("=", A, Number(1.0)))),
        (
            "amount > 1 OR amount > 2 AND inflow_1h > 3",
            Or(
                Compare(">", A, Number(1.0)),
                And(Compare(">", A, Number(2.0)), Compare(">", B, Number(3.0))),
            ),
        ),
        ("amount > 1 -- a remark", Compare(">", A, Number(1.0))),
    ],
)
def test_a_condition_is_read_as(text: str, tree: Condition) -> None:
    assert parse_condition(text, NAMES) == tree


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("inflow_1hr > 1", 'unknown feature "inflow_1hr"; did you mean "inflow_1h"?'),
        ("Amount > 1", 'unknown feature "Amount"; did you mean "amount"?'),
        ("doubel > 1", 'unknown feature "doubel"; did you mean "double"?'),
        ("zzz > 1", 'unknown feature "zzz"'),
        ("SQUARE(amount) > 1", 'unknown function "SQUARE"; did you mean "SQRT"?'),
        ("FOO(amount) > 1", 'unknown function "FOO"'),
        ("amount > 1e999", '"1e999" is too large a number'),
        ("COALESC(amount, 1) > 1", 'unknown function "COALESC"; did you mean "COALESCE"?'),
        ("POWER(amount, 2) > 1", '"POWER(amount, 2)" is not in the language of patterns'),
        ("amount % 2 = 0", '"amount % 2" is not in the language of patterns'),
        ("amount > 'x'", "\"'x'\" is not in the language of patterns"),
        ("'x'", "\"'x'\" is not in the language of patterns"),
        ("amount = NULL", '"NULL" is not in the language of patterns'),
        ("amount IS TRUE", '"amount IS TRUE" is not in the language of patterns'),
        ("TRUE", '"TRUE" is not in the language of patterns'),
        ("t.amount > 1", '"t.amount" is not in the language of patterns'),
        ("t.amount", '"t.amount" is not in the language of patterns'),
        ("SELECT 1", '"SELECT 1" is not in the language of patterns'),
        ("amount IN (SELECT 1)", '"amount IN (SELECT 1)" is not in the language of patterns'),
        ("amount IN (inflow_1h)", '"inflow_1h" in a list after IN must be a plain number'),
        (
            "CASE amount WHEN 1 THEN 2 END > 1",
            '"CASE amount WHEN 1 THEN 2 END" is not in the language of patterns',
        ),
        ("CAST(amount AS INT) > 1", '"CAST(amount AS INT)" is not in the language of patterns'),
        ("amount", '"amount" is a number where a condition is expected'),
        ("amount + 1", '"amount + 1" is a number where a condition is expected'),
        ("amount > 1 > 2", '"amount > 1" is a condition where a number is expected'),
        ("(amount > 1) IS NULL", '"amount > 1" is a condition where a number is expected'),
        ("amount AND inflow_1h > 1", '"amount" is a number where a condition is expected'),
        ("amount > 1; amount > 2", None),
        ("(amount > 1", 'cannot read "(amount > 1": Expecting ). Line 1, Col: 11'),
        ("", None),
        ("-- nothing", None),
        ("amount ~~~ 1", None),
        ("amount > 1_000", None),
        ("LEAST()", None),
        ("LN(amount, 2) > 1", None),
        ("amount[1] > 1", None),
        ("*", None),
        ("amount BETWEEN SYMMETRIC 2 AND 1", None),
        ("amount > ALL (1)", None),
    ],
)
def test_a_condition_is_refused_with_a_word(text: str, complaint: str | None) -> None:
    with pytest.raises(Problem) as caught:
        parse_condition(text, NAMES)
    if complaint is not None:
        assert caught.value.fact == complaint
    assert "\x1b" not in str(caught.value)


def test_a_condition_is_no_number() -> None:
    with pytest.raises(Problem, match='"amount > 1" is a condition where a number is expected'):
        parse_number("amount > 1", NAMES)


def test_the_features_of_an_expression_are_those_it_reads() -> None:
    condition = parse_condition("CASE WHEN amount > 1 THEN inflow_1h ELSE 2 END > 1", NAMES)
    assert features_of(condition) == {"amount", "inflow_1h"}
    assert features_of(parse_number("double + 1", NAMES)) == {"amount"}
