"""The 16 places of a ring looked at all at once, in vector instructions.

A choice of places is a number of 16 bits, one for each; choices are combined by `&` and `|`. Numba
unrolls loops as short as these before it could make vector instructions of them, so they are
written in LLVM's own words, which it has for every processor.
"""

from llvmlite import ir
from numba.core import types as nt
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from sluicegate.memory.row import RING

ALL = (1 << RING) - 1
_TRUTHS = ir.VectorType(ir.IntType(1), RING)


def _places(context, builder, array_type, array, bits):
    """The ring as one vector."""
    vector = ir.VectorType(ir.IntType(bits), RING)
    data = context.make_array(array_type)(context, builder, array).data
    place = builder.bitcast(data, vector.as_pointer())
    return builder.load(place, align=bits // 8)


def _all_lanes(builder, value, bits):
    """One number in every lane."""
    if value.type.width > bits:
        value = builder.trunc(value, ir.IntType(bits))
    vector = ir.VectorType(ir.IntType(bits), RING)
    first = builder.insert_element(ir.Constant(vector, None), value, ir.IntType(32)(0))
    every = ir.Constant(ir.VectorType(ir.IntType(32), RING), [0] * RING)
    return builder.shuffle_vector(first, first, every)


def _choice(builder, lanes):
    """A truth for each lane as a number."""
    return builder.zext(builder.bitcast(lanes, ir.IntType(RING)), ir.IntType(64))


@intrinsic
def since(_context, times, least):
    """The places whose time (u4) is not before `least` (u4)."""

    def generate(context, builder, signature, args):
        lanes = _places(context, builder, signature.args[0], args[0], 32)
        bound = _all_lanes(builder, args[1], 32)
        return _choice(builder, builder.icmp_unsigned(">=", lanes, bound))

    return nt.int64(times, nt.uint32), generate


@intrinsic
def equal_to(_context, peers, peer):
    """The places with this counterparty (u4)."""

    def generate(context, builder, signature, args):
        lanes = _places(context, builder, signature.args[0], args[0], 32)
        return _choice(
            builder, builder.icmp_unsigned("==", lanes, _all_lanes(builder, args[1], 32))
        )

    return nt.int64(peers, nt.uint32), generate


@intrinsic
def first_since(_context, peers, times, least):
    """The places that no place before them, of `least` (u4) or later, shares its counterparty."""

    def generate(context, builder, signature, args):
        lanes = _places(context, builder, signature.args[0], args[0], 32)
        moments = _places(context, builder, signature.args[1], args[1], 32)
        latest, met = ir.Constant(lanes.type, None), ir.Constant(_TRUTHS, None)
        for place in range(RING - 1):
            index = ir.IntType(32)(place)
            peer = _all_lanes(builder, builder.extract_element(lanes, index), 32)
            moment = _all_lanes(builder, builder.extract_element(moments, index), 32)
            behind = ir.Constant(_TRUTHS, [int(k > place) for k in range(RING)])
            twin = builder.and_(builder.icmp_unsigned("==", lanes, peer), behind)
            is_later = builder.icmp_unsigned(">", moment, latest)
            latest = builder.select(twin, builder.select(is_later, moment, latest), latest)
            met = builder.or_(met, twin)
        bound = _all_lanes(builder, args[2], 32)
        is_again = builder.and_(met, builder.icmp_unsigned(">=", latest, bound))
        return _choice(builder, builder.not_(is_again))

    return nt.int64(peers, times, nt.uint32), generate


@intrinsic
def between(_context, amounts, low, high):
    """The places whose amount (i8) is `low`, `high`, or between them."""

    def generate(context, builder, signature, args):
        lanes = _places(context, builder, signature.args[0], args[0], 64)
        least = builder.icmp_signed(">=", lanes, _all_lanes(builder, args[1], 64))
        most = builder.icmp_signed("<=", lanes, _all_lanes(builder, args[2], 64))
        return _choice(builder, builder.and_(least, most))

    return nt.int64(amounts, nt.int64, nt.int64), generate


@intrinsic
def sum_of(_context, amounts, chosen):
    """The sum of the amounts (i8) at the chosen places."""

    def generate(context, builder, signature, args):
        lanes = _places(context, builder, signature.args[0], args[0], 64)
        bits = builder.trunc(args[1], ir.IntType(RING))
        truths = builder.bitcast(bits, _TRUTHS)
        kept = builder.select(truths, lanes, ir.Constant(lanes.type, None))
        kind = ir.FunctionType(ir.IntType(64), [lanes.type])
        name = f"llvm.vector.reduce.add.v{RING}i64"
        return builder.call(get_or_insert_function(builder.module, kind, name), [kept])

    return nt.int64(amounts, nt.int64), generate


@intrinsic
def count_of(_context, chosen):
    """How many places are chosen."""

    def generate(_context, builder, _signature, args):
        return builder.ctpop(args[0])

    return nt.int64(nt.int64), generate


@intrinsic
def highest(_context, chosen):
    """The highest chosen place, of one or more."""

    def generate(_context, builder, _signature, args):
        return builder.sub(ir.IntType(64)(63), builder.ctlz(args[0], ir.IntType(1)(1)))

    return nt.int64(nt.int64), generate
