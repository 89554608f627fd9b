"""From a checked expression to Python source that numba compiles; NULL is NaN.

A condition is written in two forms, "is true" and "is false"; NULL is neither. IEEE comparisons
with NaN are false, which makes both forms plain comparisons, and NOT only swaps the forms:
three-valued logic costs nothing at run time.
"""

from typing import Final, assert_never

from sluicegate.judging.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Comparison,
    Condition,
    FeatureValue,
    IsNull,
    Not,
    Number,
    Numeric,
    Or,
)
from sluicegate.memory.features import FEATURE_INDEX

HELPERS: Final = """\
@njit
def _divide(dividend, divisor):
    return dividend / divisor if divisor != 0.0 else nan


@njit
def _ln(value):
    return log(value) if value > 0.0 else nan


@njit
def _sqrt(value):
    return sqrt(value) if value >= 0.0 else nan


@njit
def _first(left, right):
    return right if left != left else left


@njit
def _least(left, right):
    return right if left != left or right < left else left


@njit
def _greatest(left, right):
    return right if left != left or right > left else left


@njit
def _clip(strength):
    return min(strength, 1.0) if strength > 0.0 else 0.0
"""
"""Functions that the generated source calls, in the generated module itself so that its own text
is all that a cached kernel depends on."""

_TRUE: Final[dict[Comparison, str]] = {
    "=": "{0} == {1}",
    "<>": "({0} < {1} or {0} > {1})",
    "<": "{0} < {1}",
    "<=": "{0} <= {1}",
    ">": "{0} > {1}",
    ">=": "{0} >= {1}",
}
_OPPOSITE: Final[dict[Comparison, Comparison]] = {
    "=": "<>",
    "<>": "=",
    "<": ">=",
    "<=": ">",
    ">": "<=",
    ">=": "<",
}
_UNARY: Final = {"ABS": "abs", "LN": "_ln", "SQRT": "_sqrt"}
_FOLDED: Final = {"COALESCE": "_first", "LEAST": "_least", "GREATEST": "_greatest"}


def number_source(expression: Numeric) -> str:
    """Source of a float64 over the feature vector `f`, NaN for NULL."""
    match expression:
        case Number():
            return repr(expression.value)
        case FeatureValue():
            return f"f[{FEATURE_INDEX[expression.name]}]"
        case Arithmetic():
            return _arithmetic(expression)
        case Call():
            return _call(expression)
        case Case():
            return _case(expression)
        case _:
            assert_never(expression)


def true_source(condition: Condition) -> str:
    """Source of a bool: the condition is true (neither false nor NULL)."""
    match condition:
        case Compare():
            return _compare(condition, condition.comparison)
        case IsNull():
            return f"isnan({number_source(condition.operand)})"
        case Not():
            return false_source(condition.operand)
        case And():
            return f"({true_source(condition.left)} and {true_source(condition.right)})"
        case Or():
            return f"({true_source(condition.left)} or {true_source(condition.right)})"
        case _:
            assert_never(condition)


def false_source(condition: Condition) -> str:
    """Source of a bool: the condition is false (neither true nor NULL)."""
    match condition:
        case Compare():
            return _compare(condition, _OPPOSITE[condition.comparison])
        case IsNull():
            return f"(not isnan({number_source(condition.operand)}))"
        case Not():
            return true_source(condition.operand)
        case And():
            return f"({false_source(condition.left)} or {false_source(condition.right)})"
        case Or():
            return f"({false_source(condition.left)} and {false_source(condition.right)})"
        case _:
            assert_never(condition)


def _compare(condition: Compare, comparison: Comparison) -> str:
    left, right = number_source(condition.left), number_source(condition.right)
    return _TRUE[comparison].format(left, right)


def _arithmetic(expression: Arithmetic) -> str:
    left, right = number_source(expression.left), number_source(expression.right)
    if expression.operator == "/":
        return f"_divide({left}, {right})"
    return f"({left} {expression.operator} {right})"


def _call(expression: Call) -> str:
    first, *others = (number_source(argument) for argument in expression.arguments)
    if expression.function in _UNARY:
        return f"{_UNARY[expression.function]}({first})"
    folded = first
    for other in others:
        folded = f"{_FOLDED[expression.function]}({folded}, {other})"
    return folded


def _case(expression: Case) -> str:
    source = "nan" if expression.default is None else number_source(expression.default)
    for condition, number in reversed(expression.branches):
        source = f"({number_source(number)} if {true_source(condition)} else {source})"
    return source
