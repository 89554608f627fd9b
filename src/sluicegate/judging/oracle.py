"""The same expressions in polars: the oracle of the compiled kernel, and a way to serve files.

It shares the checked expression with the kernel and nothing else. Running 40 of them costs 0.9 ms
even for one row, which is why the stream and the counter use the kernel.
"""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Final, assert_never

import polars as pl

from sluicegate.judging.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Condition,
    FeatureValue,
    IsNull,
    Not,
    Number,
    Numeric,
    Or,
)
from sluicegate.judging.patterns import CheckedPattern, PatternSet, Side

Binary = Callable[[pl.Expr, pl.Expr], pl.Expr]

_COMPARE: Final[dict[str, Binary]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Final[dict[str, Binary]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def strengths_frame(pattern_set: PatternSet, side: Side, features: pl.DataFrame) -> pl.DataFrame:
    """Strength of each pattern (one Float64 column each) and `score`, for legs of one side.

    `features` has one Float64 column for each feature, a row for each leg; NaN or null is NULL.
    """
    strengths = features.select(pl.all().fill_nan(None)).select(
        _strength(checked, side).alias(checked.pattern.name) for checked in pattern_set.patterns
    )
    judging = (each.pattern.name for each in pattern_set.patterns if not each.pattern.shadow)
    rests = (1.0 - pl.col(name) for name in judging)
    score = 1.0 - reduce(operator.mul, rests, pl.lit(1.0))
    if not pattern_set.patterns:
        return pl.DataFrame({"score": [0.0] * features.height})
    return strengths.with_columns(score.alias("score"))


def number_expression(expression: Numeric) -> pl.Expr:
    """A Float64 expression over feature columns in which NaN has been replaced by null."""
    number = _number(expression)
    # Only these can make a NaN (inf - inf, 0 * inf), which polars would take for a number. Asked
    # at each step of a sum, it would double the size of the expression each time.
    return number.fill_nan(None) if isinstance(expression, Arithmetic | Case) else number


def condition_expression(condition: Condition) -> pl.Expr:
    """A Boolean expression; null where the condition is NULL."""
    match condition:
        case Compare():
            compare = _COMPARE[condition.comparison]
            return compare(number_expression(condition.left), number_expression(condition.right))
        case IsNull():
            return number_expression(condition.operand).is_null()
        case Not():
            return ~condition_expression(condition.operand)
        case And():
            return condition_expression(condition.left) & condition_expression(condition.right)
        case Or():
            return condition_expression(condition.left) | condition_expression(condition.right)
        case _:
            assert_never(condition)


def _column(value: float) -> pl.Expr:
    """A value for each leg. Not a literal: polars loses the height of some that begin with one."""
    return pl.repeat(value, pl.len(), dtype=pl.Float64)


def _strength(checked: CheckedPattern, side: Side) -> pl.Expr:
    none = _column(0.0)
    if not checked.pattern.side.covers(side):
        return none
    fires = condition_expression(checked.condition).fill_null(value=False)
    strength = number_expression(checked.strength).clip(0.0, 1.0).fill_null(0.0)
    strength = -strength if checked.pattern.shadow else strength
    return pl.when(fires).then(strength).otherwise(none)


def _number(expression: Numeric) -> pl.Expr:
    """The same, but NULL may also be NaN: arithmetic carries either on."""
    match expression:
        case Number():
            return _column(expression.value)
        case FeatureValue():
            return pl.col(expression.name)
        case Arithmetic():
            return _arithmetic(expression)
        case Call():
            return _call(expression)
        case Case():
            return _case(expression)
        case _:
            assert_never(expression)


def _arithmetic(expression: Arithmetic) -> pl.Expr:
    left, right = _number(expression.left), _number(expression.right)
    if expression.operator == "/":
        return pl.when(right != 0.0).then(left / right).otherwise(None)
    return _ARITHMETIC[expression.operator](left, right)


def _call(expression: Call) -> pl.Expr:
    arguments = [number_expression(argument) for argument in expression.arguments]
    first = arguments[0]
    match expression.function:
        case "ABS":
            return first.abs()
        case "LN":
            return pl.when(first > 0.0).then(first.log())
        case "SQRT":
            return pl.when(first >= 0.0).then(first.sqrt())
        case "COALESCE":
            return pl.coalesce(arguments)
        case "LEAST":
            return pl.min_horizontal(arguments)
        case "GREATEST":
            return pl.max_horizontal(arguments)
        case _:
            assert_never(expression.function)


def _case(expression: Case) -> pl.Expr:
    default = expression.default
    result = pl.lit(None, dtype=pl.Float64) if default is None else number_expression(default)
    for condition, number in reversed(expression.branches):
        chosen = condition_expression(condition).fill_null(value=False)
        result = pl.when(chosen).then(number_expression(number)).otherwise(result)
    return result
