"""One pass over a buffer of JSON messages: each is either surely acceptable, or not sure.

The kernel knows the usual shape of a transaction: one flat object, known fields plain, text in any
script. It says "sure" only where `domain.transaction.parse_transaction` would accept with the very
same values; for everything else (a refusal included) it says "not sure" and the model decides.
Escaped text is understood where only its length counts; nested values never are.

What the contract defines (names, codes, limits) comes in as arguments and not as constants, and
all the kernel calls is in this file: compiled, it is cached on disk under this file's age alone.
"""

# A scanner leaves at the first thing that does not fit, and kernels take plain arguments:
# ruff: noqa: C901, PLR0911, PLR0917
# Numba compiles comparisons one by one, but a tuple for `in` slowly:
# ruff: noqa: PLR1714, SIM109

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.extending import intrinsic

from sluicegate.memory.words import Words

PADDING: Final = 16
"""Bytes that must follow the last message: text is read eight bytes at a time."""


class Field(IntEnum):
    """The fields a transaction may have; from PAYER_BANK on, text that is only measured."""

    ID = 0
    OCCURRED_AT = 1
    AMOUNT = 2
    CURRENCY = 3
    PAYER_ACCOUNT = 4
    PAYEE_ACCOUNT = 5
    CHANNEL = 6
    KIND = 7
    PAYER_BANK = 8
    PAYEE_BANK = 9
    PAYER_REGION = 10
    PAYEE_REGION = 11
    DEVICE_ID = 12
    IP = 13
    BRANCH = 14
    MEMO = 15


class Names(NamedTuple):
    """A closed set of names of at most 16 bytes, found by a hash without collisions."""

    multiplier: np.uint64
    words: Words
    """`[64, 2]`: the name that may be in this slot."""
    codes: npt.NDArray[np.int64]
    """`[64]`: its code, -1 where the slot is empty."""


class Grammar(NamedTuple):
    """The contract, as the kernel takes it."""

    fields: Names
    channels: Names
    kinds: Names
    currencies: Names
    """The one accepted currency."""
    limits: npt.NDArray[np.int64]
    """`[16]`: characters a field may have, by `Field`."""
    default_channel: int
    default_kind: int
    max_amount_minor: int
    earliest_ms: int
    latest_ms: int
    max_ahead_ms: int
    max_bytes: int


class Columns(NamedTuple):
    """Where the kernel writes: a row for each message, meaningful where `sure` is 1."""

    transaction: Words
    """`[n, 8]`: the id."""
    payer: Words
    """`[n, 5]`: zeros for null."""
    payee: Words
    amount_minor: npt.NDArray[np.int64]
    occurred_at_ms: npt.NDArray[np.int64]
    channel: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    sure: npt.NDArray[np.bool_]


NAME_SLOT_BITS: Final = 6
"""A table of names has 64 slots; the top bits of the product say which."""


_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_COMMA: Final = ord(",")
_COLON: Final = ord(":")
_DOT: Final = ord(".")
_MINUS: Final = ord("-")
_PLUS: Final = ord("+")
_ZERO: Final = ord("0")
_U: Final = ord("u")
_Z: Final = ord("Z")
_T: Final = ord("T")
_EXPONENT: Final = ord("e")
_OPEN: Final = ord("{")
_CLOSE: Final = ord("}")
_LOWER: Final = 0x20
"""Set in a letter, this bit makes it lower case."""

_NULL: Final = np.uint64(int.from_bytes(b"null", "little"))
_TRUE: Final = np.uint64(int.from_bytes(b"true", "little"))
_ALSE: Final = np.uint64(int.from_bytes(b"alse", "little"))
_FOUR_BYTES: Final = np.uint64(0xFFFFFFFF)

_ONES: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)
_QUOTES: Final = np.uint64(0x0101010101010101 * 0x22)
_BACKSLASHES: Final = np.uint64(0x0101010101010101 * 0x5C)
_SPACES: Final = np.uint64(0x0101010101010101 * 0x20)
_DELETES: Final = np.uint64(0x0101010101010101 * 0x7F)
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)

_REQUIRED: Final = 1 << Field.ID | 1 << Field.OCCURRED_AT | 1 << Field.AMOUNT
_ID: Final = int(Field.ID)
_OCCURRED_AT: Final = int(Field.OCCURRED_AT)
_AMOUNT: Final = int(Field.AMOUNT)
_CURRENCY: Final = int(Field.CURRENCY)
_PAYER: Final = int(Field.PAYER_ACCOUNT)
_PAYEE: Final = int(Field.PAYEE_ACCOUNT)
_CHANNEL: Final = int(Field.CHANNEL)
_KIND: Final = int(Field.KIND)
_STRANGER: Final = -1
_MAX_STRANGERS: Final = 16
"""Unknown fields are told apart by hash, so that none appears twice; with more: not sure."""
_NOT_SURE: Final = -1
_NO_NUMBER: Final = 1 << 20

Octets = npt.NDArray[np.uint8]
_Function = TypeVar("_Function", bound=Callable[..., object])


def _compiled(function: _Function) -> _Function:
    """Compiled without reference counts, which would cost ten times the scan itself.

    Every helper is handed some twenty arrays; numba counts each in and out with an atomic
    operation. Nothing here makes an array, and the caller holds those it passes.
    """
    decorate = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
    return cast("_Function", decorate(function))


def _inlined(function: _Function) -> _Function:
    """Compiled into its callers: called, it would have all its arrays copied to the stack."""
    decorate = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)
    return cast("_Function", decorate(function))


@intrinsic
def _word(_context: Any, octets: Any, index: Any) -> Any:  # noqa: ANN401 - numba's own types
    """The eight bytes from an index on, little-endian, whatever the alignment."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return numba.types.uint64(octets, index), generate


@intrinsic
def _trailing_zeros(_context: Any, _word: Any) -> Any:  # noqa: ANN401
    """How many low bits of a word other than zero are zero."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:  # noqa: ANN401
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return numba.types.int64(numba.types.uint64), generate


def scan(
    octets: Octets,
    offsets: npt.NDArray[np.int64],
    recorded_at_ms: npt.NDArray[np.int64],
    grammar: Grammar,
    columns: Columns,
) -> int:
    """Read message `i`, `octets[offsets[i]:offsets[i + 1]]`, into row `i`; how many are not sure.

    `octets` (uint8) goes on for `PADDING` bytes after the last message; `offsets` is `[n + 1]`,
    `recorded_at_ms` (the records' own timestamps) `[n]`.
    """
    strangers = np.empty(_MAX_STRANGERS, np.uint64)
    return _messages(octets, offsets, recorded_at_ms, grammar, columns, strangers)


@_compiled
def _messages(
    octets: Octets,
    offsets: npt.NDArray[np.int64],
    recorded_at_ms: npt.NDArray[np.int64],
    grammar: Grammar,
    columns: Columns,
    strangers: Words,
) -> int:
    unsure = 0
    for row in range(len(offsets) - 1):
        columns.payer[row, :] = 0
        columns.payee[row, :] = 0
        columns.channel[row] = grammar.default_channel
        columns.kind[row] = grammar.default_kind
        start, end = offsets[row], offsets[row + 1]
        sure = end - start <= grammar.max_bytes
        sure = sure and _object(octets, start, end, strangers, row, grammar, columns)
        sure = sure and (columns.payer[row, 0] | columns.payee[row, 0]) != 0
        ahead_ms = columns.occurred_at_ms[row] - grammar.max_ahead_ms
        sure = sure and ahead_ms <= recorded_at_ms[row]
        columns.sure[row] = sure
        unsure += not sure
    return unsure


@_inlined
def _object(
    octets: Octets,
    start: int,
    end: int,
    strangers: Words,
    row: int,
    grammar: Grammar,
    columns: Columns,
) -> bool:
    """Whether the bytes are one object with each known field well and at most once."""
    i = _space(octets, start, end)
    if i >= end or octets[i] != _OPEN:
        return False
    seen = 0
    stranger_count = 0
    while True:
        i = _space(octets, i + 1, end)
        if i >= end or octets[i] != _QUOTE:
            return False
        name = i + 1
        close, _, plain = _string(octets, name, end)
        if close < 0 or not plain:
            return False
        field = _code(octets, name, close, grammar.fields)
        if field != _STRANGER:
            if seen >> field & 1:
                return False
            seen |= 1 << field
        else:
            if not _new_stranger(octets, name, close, strangers, stranger_count):
                return False
            stranger_count += 1
        i = _space(octets, close + 1, end)
        if i >= end or octets[i] != _COLON:
            return False
        i = _value(octets, _space(octets, i + 1, end), end, field, row, grammar, columns)
        if i < 0:
            return False
        i = _space(octets, i, end)
        if i >= end or octets[i] != _COMMA:
            break
    if i >= end or octets[i] != _CLOSE or _space(octets, i + 1, end) != end:
        return False
    return seen & _REQUIRED == _REQUIRED


@_inlined
def _space(octets: Octets, i: int, end: int) -> int:
    """The next place that is no JSON white space."""
    while i < end and (
        octets[i] == 0x20 or octets[i] == 0x0A or octets[i] == 0x0D or octets[i] == 0x09
    ):
        i += 1
    return i


@_inlined
def _masked(octets: Octets, i: int, count: int) -> np.uint64:
    """The `count` bytes from `i` on as a word, zero-padded; all of it from 8 on."""
    word: np.uint64 = _word(octets, i)
    return word if count >= 8 else word & ((np.uint64(1) << np.uint64(8 * count)) - np.uint64(1))


@_inlined
def _code(octets: Octets, start: int, close: int, table: Names) -> int:
    """The code of a name, -1 for one that is not in the table."""
    length = close - start
    if length > 16 or length == 0:
        return -1
    low = _masked(octets, start, length)
    high = _masked(octets, start + 8, max(length - 8, 0))
    slot = np.int64((low ^ high) * table.multiplier >> np.uint64(64 - NAME_SLOT_BITS))
    if table.words[slot, 0] != low or table.words[slot, 1] != high:
        return -1
    return int(table.codes[slot])


@_inlined
def _new_stranger(octets: Octets, start: int, close: int, strangers: Words, count: int) -> bool:
    """Note an unknown field; False if one of the same hash was there, or there are too many."""
    if count == _MAX_STRANGERS:
        return False
    hashed = np.uint64(close - start)
    for i in range(start, close, 8):
        hashed = (hashed ^ _masked(octets, i, close - i)) * _MIX
        hashed ^= hashed >> np.uint64(29)
    for i in range(count):
        if strangers[i] == hashed:
            return False
    strangers[count] = hashed
    return True


@_inlined
def _value(
    octets: Octets, i: int, end: int, field: int, row: int, grammar: Grammar, columns: Columns
) -> int:
    """Read the value of a field that starts at `i`: the place after it, or -1."""
    if i >= end:
        return _NOT_SURE
    if octets[i] == _QUOTE:
        close, characters, plain = _string(octets, i + 1, end)
        if close < 0:
            return _NOT_SURE
        if field > _KIND:
            return close + 1 if characters <= grammar.limits[field] else _NOT_SURE
        if field == _STRANGER:
            return close + 1
        known = plain and _plain_value(octets, i + 1, close, field, row, grammar, columns)
        return close + 1 if known else _NOT_SURE
    if field == _AMOUNT:
        if octets[i] == _ZERO and _digit(octets, i + 1) <= 9:
            return _NOT_SURE
        amount_minor, i = _amount(octets, i, end, grammar.max_amount_minor)
        columns.amount_minor[row] = amount_minor
        return i
    if field == _STRANGER:
        return _literal_or_number(octets, i, end)
    if field == _ID or field == _OCCURRED_AT:
        return _NOT_SURE
    return _literal(octets, i, end, _NULL)


@_inlined
def _plain_value(
    octets: Octets, start: int, close: int, field: int, row: int, grammar: Grammar, columns: Columns
) -> bool:
    """Store a string of printable ASCII in its column; False if the field does not take it."""
    length = close - start
    if field == _ID or field == _PAYER or field == _PAYEE:
        if length == 0 or length > grammar.limits[field]:
            return False
        if field == _ID:
            _copy(octets, start, length, columns.transaction, row)
        elif field == _PAYER:
            _copy(octets, start, length, columns.payer, row)
        else:
            _copy(octets, start, length, columns.payee, row)
        return True
    if field == _AMOUNT:
        amount_minor, after = _amount(octets, start, close, grammar.max_amount_minor)
        columns.amount_minor[row] = amount_minor
        return after == close
    if field == _OCCURRED_AT:
        occurred_at_ms = _time(octets, start, close)
        columns.occurred_at_ms[row] = occurred_at_ms
        return grammar.earliest_ms <= occurred_at_ms < grammar.latest_ms
    if field == _CURRENCY:
        return _code(octets, start, close, grammar.currencies) == 0
    if field == _CHANNEL:
        code = _code(octets, start, close, grammar.channels)
        columns.channel[row] = code
        return code >= 0
    code = _code(octets, start, close, grammar.kinds)
    columns.kind[row] = code
    return code >= 0


@_inlined
def _copy(octets: Octets, start: int, length: int, column: Words, row: int) -> None:
    for word in range(column.shape[1]):
        left = length - 8 * word
        # A plain 0 beside an unsigned word would make both a float, to numba.
        column[row, word] = _masked(octets, start + 8 * word, left) if left > 0 else np.uint64(0)


@_inlined
def _string(octets: Octets, i: int, end: int) -> tuple[int, int, bool]:
    """A string from after its quote: its closing quote or -1, characters, only printable ASCII.

    Not sure of: control characters, U+0000, half surrogate pairs, bytes that are not UTF-8.
    """
    start = i
    beyond = 0  # bytes that are more than one to their character
    plain = True
    while True:
        i = _printable(octets, i, end)
        if i >= end:
            return _NOT_SURE, 0, False
        octet = octets[i]
        if octet == _QUOTE:
            return i, i - start - beyond, plain
        plain = False
        after = _character(octets, i, end)
        if after < 0:
            return _NOT_SURE, 0, False
        beyond += after - i - 1
        i = after


@_inlined
def _printable(octets: Octets, i: int, end: int) -> int:
    """The next place, or one past the end, that is a quote, a backslash or no printable ASCII.

    A byte of a word is under 0x20, or equal to a wanted one, where a subtraction borrows into its
    high bit; borrows run upwards only, so the lowest bit that is set is always true.
    """
    while i < end:
        word = _word(octets, i)
        quotes = word ^ _QUOTES
        backslashes = word ^ _BACKSLASHES
        deletes = word ^ _DELETES
        special = (quotes - _ONES) & ~quotes
        special |= (backslashes - _ONES) & ~backslashes
        special |= (deletes - _ONES) & ~deletes
        special |= (word - _SPACES) & ~word
        special = (special | word) & _HIGHS
        if special != 0:
            zeros: int = _trailing_zeros(special)
            return i + (zeros >> 3)
        i += 8
    return i


@_inlined
def _character(octets: Octets, i: int, end: int) -> int:
    """The place after the escape, DEL or UTF-8 sequence at `i`, or -1."""
    octet = octets[i]
    if octet == _BACKSLASH:
        return _escape(octets, i + 1, end)
    if octet == 0x7F:
        return i + 1
    if octet < 0xC2 or octet > 0xF4:  # control, continuation, overlong, beyond U+10FFFF
        return _NOT_SURE
    # The second byte tells overlong forms, surrogates and what is beyond U+10FFFF.
    least, most, after = 0x80, 0xBF, i + 2
    if octet >= 0xE0:
        after = i + 3 if octet < 0xF0 else i + 4
        least = 0xA0 if octet == 0xE0 else (0x90 if octet == 0xF0 else 0x80)
        most = 0x9F if octet == 0xED else (0x8F if octet == 0xF4 else 0xBF)
    if after > end or octets[i + 1] < least or octets[i + 1] > most:
        return _NOT_SURE
    for rest in range(i + 2, after):
        if octets[rest] & 0xC0 != 0x80:
            return _NOT_SURE
    return after


@_inlined
def _escape(octets: Octets, i: int, end: int) -> int:
    """The place after an escape, from after its backslash, or -1; a surrogate pair is one."""
    if i >= end:
        return _NOT_SURE
    octet = octets[i]
    if octet != _U:
        simple = octet == _QUOTE or octet == _BACKSLASH or octet == ord("/")
        simple = simple or octet == ord("b") or octet == ord("f") or octet == ord("n")
        simple = simple or octet == ord("r") or octet == ord("t")
        return i + 1 if simple else _NOT_SURE
    unit = _hexadecimal(octets, i + 1, end)
    if unit <= 0 or 0xDC00 <= unit <= 0xDFFF:
        return _NOT_SURE
    if unit < 0xD800 or unit > 0xDFFF:
        return i + 5
    if i + 6 >= end or octets[i + 5] != _BACKSLASH or octets[i + 6] != _U:
        return _NOT_SURE
    return i + 11 if 0xDC00 <= _hexadecimal(octets, i + 7, end) <= 0xDFFF else _NOT_SURE


@_inlined
def _hexadecimal(octets: Octets, i: int, end: int) -> int:
    """Four hexadecimal digits, or -1."""
    if i + 4 > end:
        return _NOT_SURE
    unit = 0
    for place in range(i, i + 4):
        digit = int(octets[place]) - _ZERO
        if digit < 0 or digit > 9:
            digit = int(octets[place] | _LOWER) - ord("a") + 10
            if digit < 10 or digit > 15:
                return _NOT_SURE
        unit = unit << 4 | digit
    return unit


@_inlined
def _digit(octets: Octets, i: int) -> int:
    """The digit at `i`, or a number above 9 (the subtraction wraps round)."""
    return int(np.uint8(octets[i] - np.uint8(_ZERO)))


@_inlined
def _amount(octets: Octets, i: int, end: int, most: int) -> tuple[int, int]:
    """Minor units of the digits from `i` on and the place after them; -1 if not sure."""
    first = i
    minor = 0
    while i < end and _digit(octets, i) <= 9:
        minor = minor * 10 + _digit(octets, i)
        if minor > most:
            return 0, _NOT_SURE
        i += 1
    minor *= 100
    if i == first:
        return 0, _NOT_SURE
    if i < end and octets[i] == _DOT:
        fraction = i + 1
        i = fraction
        while i < end and _digit(octets, i) <= 9:
            if i < fraction + 2:
                minor += _digit(octets, i) * (10 if i == fraction else 1)
            elif octets[i] != _ZERO:
                return 0, _NOT_SURE
            i += 1
        if i == fraction:
            return 0, _NOT_SURE
    if i < end and octets[i] | _LOWER == _EXPONENT:
        return 0, _NOT_SURE
    return (minor, i) if 0 < minor <= most else (0, _NOT_SURE)


@_inlined
def _two(octets: Octets, i: int) -> int:
    """The number of two digits, or one too large for anything."""
    tens, units = _digit(octets, i), _digit(octets, i + 1)
    return tens * 10 + units if tens <= 9 and units <= 9 else _NO_NUMBER


@_inlined
def _time(octets: Octets, i: int, close: int) -> int:
    """Milliseconds since the epoch of an RFC 3339 time that ends at `close`, or -1."""
    if close - i < 20:
        return _NOT_SURE
    year = _two(octets, i) * 100 + _two(octets, i + 2)
    month, day = _two(octets, i + 5), _two(octets, i + 8)
    hour, minute, second = _two(octets, i + 11), _two(octets, i + 14), _two(octets, i + 17)
    marks = octets[i + 4] == _MINUS and octets[i + 7] == _MINUS and octets[i + 10] == _T
    marks = marks and octets[i + 13] == _COLON and octets[i + 16] == _COLON
    valid = marks and year <= 9999 and 1 <= month <= 12 and 1 <= day <= _month_days(year, month)
    if not (valid and hour <= 23 and minute <= 59 and second <= 59):
        return _NOT_SURE
    milliseconds, i = _fraction(octets, i + 19, close)
    if i < 0:
        return _NOT_SURE
    ahead_min = _offset(octets, i, close)
    if ahead_min == _NO_NUMBER:
        return _NOT_SURE
    minutes = (_days(year, month, day) * 24 + hour) * 60 + minute - ahead_min
    return (minutes * 60 + second) * 1000 + milliseconds


@_inlined
def _fraction(octets: Octets, i: int, close: int) -> tuple[int, int]:
    """Milliseconds of the fraction at `i`, if there is one, and the place after it, or -1."""
    if octets[i] != _DOT:
        return 0, i
    milliseconds = 0
    scale = 100
    i += 1
    first = i
    while i < close and _digit(octets, i) <= 9:
        milliseconds += _digit(octets, i) * scale
        scale //= 10
        i += 1
    return milliseconds, (i if i > first else _NOT_SURE)


@_inlined
def _offset(octets: Octets, i: int, close: int) -> int:
    """Minutes ahead of UTC of the offset from `i` to `close`; _NO_NUMBER if it is none."""
    if i + 1 == close and octets[i] == _Z:
        return 0
    if i + 6 != close or octets[i + 3] != _COLON:
        return _NO_NUMBER
    hours, minutes = _two(octets, i + 1), _two(octets, i + 4)
    if hours > 23 or minutes > 59:
        return _NO_NUMBER
    if octets[i] == _PLUS:
        return hours * 60 + minutes
    return -(hours * 60 + minutes) if octets[i] == _MINUS else _NO_NUMBER


@_inlined
def _month_days(year: int, month: int) -> int:
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 + ((month + (month >> 3)) & 1)


@_inlined
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 (Howard Hinnant, chrono-compatible low-level date algorithms)."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468


@_inlined
def _literal(octets: Octets, i: int, end: int, letters: np.uint64) -> int:
    """The place after four letters, if they are these, or -1."""
    if i + 4 > end or _word(octets, i) & _FOUR_BYTES != letters:
        return _NOT_SURE
    return i + 4


@_inlined
def _literal_or_number(octets: Octets, i: int, end: int) -> int:
    """The place after a null, true, false or number, or -1."""
    octet = octets[i]
    if octet == ord("n"):
        return _literal(octets, i, end, _NULL)
    if octet == ord("t"):
        return _literal(octets, i, end, _TRUE)
    if octet == ord("f"):
        return _literal(octets, i + 1, end, _ALSE)
    return _number(octets, i, end)


@_inlined
def _number(octets: Octets, i: int, end: int) -> int:
    """The place after a number of JSON's grammar, or -1."""
    if octets[i] == _MINUS:
        i += 1
    if i < end and octets[i] == _ZERO:
        i += 1
    else:
        i = _digits(octets, i, end)
    if 0 <= i < end and octets[i] == _DOT:
        i = _digits(octets, i + 1, end)
    if 0 <= i < end and octets[i] | _LOWER == _EXPONENT:
        i += 1
        if i < end and (octets[i] == _PLUS or octets[i] == _MINUS):
            i += 1
        i = _digits(octets, i, end)
    return i


@_inlined
def _digits(octets: Octets, i: int, end: int) -> int:
    """The place after one or more digits, or -1."""
    first = i
    while i < end and _digit(octets, i) <= 9:
        i += 1
    return i if i > first else _NOT_SURE
