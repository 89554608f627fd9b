"""Money: whole minor units (fen), read exactly from decimal text and written back."""

import re
from typing import Final

from sluicegate.domain.refusal import Refusal

MINOR_PER_MAJOR: Final = 100
MAX_AMOUNT_MINOR: Final = 10**15
"""Ten million million yuan: above any real movement, and far inside 64 bits."""

_MAX_DIGITS = len(str(MAX_AMOUNT_MINOR))
_QUOTED = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?()", re.ASCII)
_JSON_NUMBER = re.compile(
    r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([-+]?[0-9]+))?",
    re.ASCII,
)


def amount_of_text(text: str) -> int | Refusal:
    """Minor units of an amount written as a string: digits, at most one point, no exponent.

    Leading zeros and trailing zeros are fine ("000012.5000" is 12.50): the value decides.
    """
    return _amount(_QUOTED.fullmatch(text))


def amount_of_number(literal: str) -> int | Refusal:
    """Minor units of an amount written as a JSON number, exponents included, never a float."""
    return _amount(_JSON_NUMBER.fullmatch(literal))


def _amount(match: re.Match[str] | None) -> int | Refusal:
    if match is None:
        return Refusal.AMOUNT_MALFORMED
    sign, whole, fraction, exponent = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if sign or not digits:
        return Refusal.AMOUNT_NOT_POSITIVE
    significant = digits.rstrip("0")
    power = _bounded(exponent) - len(fraction) + len(digits) - len(significant) + 2
    if power < 0:
        return Refusal.AMOUNT_TOO_PRECISE
    # The length is compared before the number is made: "1e999999999" must cost nothing.
    if len(significant) + power > _MAX_DIGITS:
        return Refusal.AMOUNT_TOO_LARGE
    minor = int(significant) * 10**power
    return minor if minor <= MAX_AMOUNT_MINOR else Refusal.AMOUNT_TOO_LARGE


def _bounded(exponent: str) -> int:
    """The exponent as an int, held within 12 digits: further out nothing changes any more."""
    digits = exponent.lstrip("+-").lstrip("0")
    size = int(digits[:13] or "0") if len(digits) <= 12 else 10**12
    return -size if exponent.startswith("-") else size


def amount_text(amount_minor: int) -> str:
    """The plain decimal text of an amount, as on the wire: 1234550 is "12345.50"."""
    sign = "-" if amount_minor < 0 else ""
    major, minor = divmod(abs(amount_minor), MINOR_PER_MAJOR)
    return f"{sign}{major}.{minor:02d}"


def amount_display(amount_minor: int) -> str:
    """An amount for people, with separators: 1234550 is "12,345.50"."""
    sign = "-" if amount_minor < 0 else ""
    major, minor = divmod(abs(amount_minor), MINOR_PER_MAJOR)
    return f"{sign}{major:,}.{minor:02d}"
