from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.domain.money import (
    MAX_AMOUNT_MINOR,
    amount_display,
    amount_of_number,
    amount_of_text,
    amount_text,
)
from sluicegate.domain.refusal import Refusal


@pytest.mark.parametrize(
    ("text", "amount_minor"),
    [
        ("0.01", 1),
        ("1", 100),
        ("1.5", 150),
        ("12.50", 12_50),
        ("12.5000", 12_50),
        ("000000012.50", 12_50),
        ("10000000000000", MAX_AMOUNT_MINOR),
        ("0" * 10_000 + "1." + "0" * 10_000, 100),
        ("10000000000000.01", Refusal.AMOUNT_TOO_LARGE),
        ("99999999999999999999", Refusal.AMOUNT_TOO_LARGE),
        ("9" * 100_000, Refusal.AMOUNT_TOO_LARGE),
        ("1.005", Refusal.AMOUNT_TOO_PRECISE),
        ("0.001", Refusal.AMOUNT_TOO_PRECISE),
        ("99999999999999999999.001", Refusal.AMOUNT_TOO_PRECISE),
        ("0", Refusal.AMOUNT_NOT_POSITIVE),
        ("0.000", Refusal.AMOUNT_NOT_POSITIVE),
        ("-5", Refusal.AMOUNT_NOT_POSITIVE),
        ("", Refusal.AMOUNT_MALFORMED),
        ("+5", Refusal.AMOUNT_MALFORMED),
        ("5.", Refusal.AMOUNT_MALFORMED),
        (".5", Refusal.AMOUNT_MALFORMED),
        ("1e3", Refusal.AMOUNT_MALFORMED),
        ("1,000.00", Refusal.AMOUNT_MALFORMED),
        (" 5", Refusal.AMOUNT_MALFORMED),
        ("5\n", Refusal.AMOUNT_MALFORMED),
        ("\uff15", Refusal.AMOUNT_MALFORMED),
        ("NaN", Refusal.AMOUNT_MALFORMED),
    ],
)
def test_an_amount_in_a_string_is_read_exactly_or_refused_by_name(
    text: str, amount_minor: int | Refusal
) -> None:
    assert amount_of_text(text) == amount_minor


@pytest.mark.parametrize(
    ("literal", "amount_minor"),
    [
        ("1.1e3", 1100_00),
        ("110000E-2", 1100_00),
        ("1e-2", 1),
        ("1e+13", MAX_AMOUNT_MINOR),
        ("100e0000000000000000000000", 100_00),
        ("1e14", Refusal.AMOUNT_TOO_LARGE),
        ("1e999999999999999999999", Refusal.AMOUNT_TOO_LARGE),
        ("1e-3", Refusal.AMOUNT_TOO_PRECISE),
        ("1e-999999999999999999999", Refusal.AMOUNT_TOO_PRECISE),
        ("0e999999999999999999999", Refusal.AMOUNT_NOT_POSITIVE),
        ("-1e3", Refusal.AMOUNT_NOT_POSITIVE),
        ("-0", Refusal.AMOUNT_NOT_POSITIVE),
    ],
)
def test_an_amount_as_a_number_may_have_an_exponent(
    literal: str, amount_minor: int | Refusal
) -> None:
    assert amount_of_number(literal) == amount_minor


@given(st.decimals(0, 10**14, allow_nan=False, places=3), st.integers(-20, 20))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_an_amount_agrees_with_decimal_arithmetic(amount: Decimal, exponent: int) -> None:
    minor = amount.scaleb(exponent) * 100
    if minor == 0:
        expected: int | Refusal = Refusal.AMOUNT_NOT_POSITIVE
    elif minor != minor.to_integral_value():
        expected = Refusal.AMOUNT_TOO_PRECISE
    else:
        expected = int(minor) if minor <= MAX_AMOUNT_MINOR else Refusal.AMOUNT_TOO_LARGE
    assert amount_of_number(f"{amount:f}e{exponent}") == expected


@given(st.integers(1, MAX_AMOUNT_MINOR))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_an_amount_written_is_read_back(amount_minor: int) -> None:
    assert amount_of_text(amount_text(amount_minor)) == amount_minor
    assert amount_of_number(amount_text(amount_minor)) == amount_minor
    assert amount_of_text(amount_display(amount_minor).replace(",", "")) == amount_minor


def test_an_amount_for_people_has_separators() -> None:
    assert amount_display(123_456_705) == "1,234,567.05"
    assert amount_text(-5) == "-0.05"
