"""The language of patterns: a small subset of SQL expressions over feature names.

Accepted: numbers, feature names, terms, `+ - * /`, `= <> < <= > >=`, `BETWEEN`, `IN (numbers)`,
`IS [NOT] NULL`, `AND OR NOT`, `CASE WHEN ... THEN ... [ELSE ...] END`, `COALESCE`, `LEAST`,
`GREATEST`, `ABS`, `LN`, `SQRT` and parentheses. Everything else is refused by name.

An expression is a number or a condition, never both. NULL is unknown: a comparison with NULL is
NULL, AND, OR and NOT follow Kleene, arithmetic with NULL is NULL, and so are a division by zero,
the logarithm of a number that is not positive, and the root of a negative one. LEAST and GREATEST
leave NULLs out, as PostgreSQL does. A condition counts only when it is true.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal, assert_never

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sluicegate.errors import Problem

Operator = Literal["+", "-", "*", "/"]
Comparison = Literal["=", "<>", "<", "<=", ">", ">="]
Function = Literal["ABS", "COALESCE", "GREATEST", "LEAST", "LN", "SQRT"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number written in the expression."""

    value: float


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """The value of a feature for the leg that is judged."""

    name: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`."""

    operator: Operator
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of numbers."""

    function: Function
    arguments: tuple["Numeric", ...]


@dataclass(frozen=True, slots=True)
class Case:
    """The number of the first branch whose condition is true, else the default (None: NULL)."""

    branches: tuple[tuple["Condition", "Numeric"], ...]
    default: "Numeric | None"


@dataclass(frozen=True, slots=True)
class Compare:
    """`left comparison right`."""

    comparison: Comparison
    left: "Numeric"
    right: "Numeric"


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether a number is unknown: the one condition that is never NULL itself."""

    operand: "Numeric"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; NULL stays NULL."""

    operand: "Condition"


@dataclass(frozen=True, slots=True)
class And:
    """False when one is false, else NULL when one is NULL, else true."""

    left: "Condition"
    right: "Condition"


@dataclass(frozen=True, slots=True)
class Or:
    """True when one is true, else NULL when one is NULL, else false."""

    left: "Condition"
    right: "Condition"


Numeric = Number | FeatureValue | Arithmetic | Call | Case
Condition = Compare | IsNull | Not | And | Or
Expression = Numeric | Condition

ARITHMETIC: Final[dict[type[exp.Expr], Operator]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
}
COMPARISONS: Final[dict[type[exp.Expr], Comparison]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
FUNCTIONS: Final[dict[type[exp.Expr], Function]] = {
    exp.Abs: "ABS",
    exp.Coalesce: "COALESCE",
    exp.Greatest: "GREATEST",
    exp.Least: "LEAST",
    exp.Ln: "LN",
    exp.Sqrt: "SQRT",
}
NUMBERS: Final[tuple[type[exp.Expr], ...]] = (
    exp.Column,
    exp.Literal,
    exp.Neg,
    exp.Case,
    *ARITHMETIC,
    *FUNCTIONS,
)
CONDITIONS: Final[tuple[type[exp.Expr], ...]] = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Is,
    exp.Between,
    exp.In,
    *COMPARISONS,
)
PLAIN_PARTS: Final = frozenset(
    {"this", "expression", "expressions", "low", "high", "ifs", "true", "default", "is_string"}
)
"""Parts of a parsed node that are read here."""
IDLE_PARTS: Final = frozenset({"typed", "safe", "ignore_nulls"})
"""Flags of the dialect that change nothing for numbers that are floats."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a name in an expression can mean: a feature, or a term declared earlier."""

    features: frozenset[str]
    terms: Mapping[str, Numeric]

    def resolve(self, name: str) -> Numeric:
        """The meaning of a name.

        Raises:
            Problem: nothing has this name; the nearest known one is suggested.
        """
        if name in self.terms:
            return self.terms[name]
        if name in self.features:
            return FeatureValue(name)
        known = (*self.features, *self.terms)
        raise Problem(f'unknown feature "{name}"{did_you_mean(name, known)}')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A half-sentence with the nearest known name, or nothing when none is near."""
    nearest = difflib.get_close_matches(name, sorted(known), n=1)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def parse_condition(text: str, names: Names) -> Condition:
    """Read and check an expression that must be true or false.

    Raises:
        Problem: the text cannot be read, is not in the language, or is a number.
    """
    return _condition(_read(text), names)


def parse_number(text: str, names: Names) -> Numeric:
    """Read and check an expression that must be a number.

    Raises:
        Problem: the text cannot be read, is not in the language, or is a condition.
    """
    return _number(_read(text), names)


def features_of(expression: Expression) -> frozenset[str]:
    """The names of all features that an expression reads."""
    return frozenset(node.name for node in _walk(expression) if isinstance(node, FeatureValue))


def _read(text: str) -> exp.Expr:
    try:
        # The dialect is pinned: what a configuration file means must not follow a default.
        trees = [tree for tree in sqlglot.parse(text, dialect="postgres") if tree is not None]
    except SqlglotError as error:
        raise Problem(f'cannot read "{text}": {_complaint(error)}') from error
    if len(trees) != 1:
        raise Problem(f'cannot read "{text}": one expression is expected, found {len(trees)}')
    return trees[0]


def _complaint(error: SqlglotError) -> str:
    """The first line of sqlglot's message: the lines after it repeat the text with colours."""
    return str(error).partition("\n")[0].rstrip(".")


def _number(tree: exp.Expr, names: Names) -> Numeric:  # noqa: PLR0911 - one a construct
    _check_plain(tree)
    match tree:
        case exp.Paren():
            return _number(tree.this, names)
        case exp.Literal() if not _is_foreign(tree):
            return _literal(tree)
        case exp.Column() if not _is_foreign(tree):
            return names.resolve(tree.name)
        case exp.Neg():
            return Arithmetic("-", Number(0.0), _number(tree.this, names))
        case exp.Case() if tree.this is None:
            return _case(tree, names)
    operator = ARITHMETIC.get(type(tree))
    if operator is not None:
        left, right = _number(tree.this, names), _number(tree.expression, names)
        return Arithmetic(operator, left, right)
    function = FUNCTIONS.get(type(tree))
    if function is not None:
        return _call(function, tree, names)
    raise _refusal(tree, "a number")


def _call(function: Function, tree: exp.Expr, names: Names) -> Call:
    arguments = (tree.this, *(tree.args.get("expressions") or ()))
    return Call(function, tuple(_number(argument, names) for argument in arguments))


def _case(tree: exp.Case, names: Names) -> Case:
    branches = tuple(
        (_condition(branch.this, names), _number(branch.args["true"], names))
        for branch in tree.args["ifs"]
    )
    default = tree.args.get("default")
    return Case(branches, None if default is None else _number(default, names))


def _condition(tree: exp.Expr, names: Names) -> Condition:  # noqa: PLR0911 - the same
    if isinstance(tree, exp.Is) and tree.args.get("negate"):
        return Not(_condition(exp.Is(this=tree.this, expression=tree.expression), names))
    _check_plain(tree)
    match tree:
        case exp.Paren():
            return _condition(tree.this, names)
        case exp.And():
            return And(_condition(tree.this, names), _condition(tree.expression, names))
        case exp.Or():
            return Or(_condition(tree.this, names), _condition(tree.expression, names))
        case exp.Not():
            return Not(_condition(tree.this, names))
        case exp.Is() if isinstance(tree.expression, exp.Null):
            return IsNull(_number(tree.this, names))
        case exp.Between():
            return _between(tree, names)
        case exp.In() if tree.expressions:
            return _member(tree, names)
    comparison = COMPARISONS.get(type(tree))
    if comparison is not None:
        left, right = _number(tree.this, names), _number(tree.expression, names)
        return Compare(comparison, left, right)
    raise _refusal(tree, "a condition")


def _between(tree: exp.Between, names: Names) -> Condition:
    operand = _number(tree.this, names)
    low, high = _number(tree.args["low"], names), _number(tree.args["high"], names)
    return And(Compare(">=", operand, low), Compare("<=", operand, high))


def _member(tree: exp.In, names: Names) -> Condition:
    operand = _number(tree.this, names)
    first, *others = (_literal(item) for item in tree.expressions)
    found: Condition = Compare("=", operand, first)
    for other in others:
        found = Or(found, Compare("=", operand, other))
    return found


def _check_plain(tree: exp.Expr) -> None:
    """Refuse a node with a part that is not read here: SYMMETRIC, DISTINCT, a later invention."""
    parts = {name for name, part in tree.args.items() if part}
    if not parts <= PLAIN_PARTS | IDLE_PARTS:
        raise _refusal(tree, "")


def _literal(tree: exp.Expr) -> Number:
    sign, inner = (-1.0, tree.this) if isinstance(tree, exp.Neg) else (1.0, tree)
    if not isinstance(inner, exp.Literal) or inner.is_string:
        raise Problem(f'"{_text(tree)}" in a list after IN must be a plain number')
    value = float(inner.this)
    if not isfinite(value):
        raise Problem(f'"{_text(tree)}" is too large a number')
    return Number(sign * value)


def _refusal(tree: exp.Expr, expected: str) -> Problem:
    """Why a node is refused; `expected` is "a number", "a condition", or "" for neither."""
    if isinstance(tree, exp.Anonymous):
        known = did_you_mean(str(tree.this).upper(), FUNCTIONS.values())
        return Problem(f'unknown function "{tree.this}"{known}')
    for kind, known_types in (("a number", NUMBERS), ("a condition", CONDITIONS)):
        if expected not in ("", kind) and isinstance(tree, known_types) and not _is_foreign(tree):
            return Problem(f'"{_text(tree)}" is {kind} where {expected} is expected')
    return Problem(f'"{_text(tree)}" is not in the language of patterns')


def _is_foreign(tree: exp.Expr) -> bool:
    """A word in quotes, or a name with a table: sqlglot has the same types for them."""
    if isinstance(tree, exp.Column):
        return len(tree.parts) > 1
    return isinstance(tree, exp.Literal) and bool(tree.is_string)


def _text(tree: exp.Expr) -> str:
    return tree.sql(dialect="postgres", comments=False)


def _walk(expression: Expression) -> Iterator[Expression]:
    yield expression
    for child in _children(expression):
        yield from _walk(child)


def _children(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case Number() | FeatureValue():
            return ()
        case Arithmetic() | Compare() | And() | Or():
            return (expression.left, expression.right)
        case Not() | IsNull():
            return (expression.operand,)
        case Call():
            return expression.arguments
        case Case():
            branches = tuple(part for branch in expression.branches for part in branch)
            return branches if expression.default is None else (*branches, expression.default)
        case _:
            assert_never(expression)
