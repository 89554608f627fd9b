"""Asks for memory before it is needed, so that kernels do not wait for each cache line in turn."""

from typing import Final

from llvmlite import ir
from numba import types as nt
from numba.extending import intrinsic

CACHE_LINE: Final = 64


@intrinsic
def prefetch(_context, array, row, byte):
    """Asks for the cache line at `byte` of `array[row]` (LLVM's prefetch: write, keep, data)."""

    def generate(context, builder, signature, args):
        rows = context.make_array(signature.args[0])(context, builder, args[0])
        base = builder.ptrtoint(rows.data, ir.IntType(64))
        offset = builder.add(builder.mul(args[1], rows.itemsize), args[2])
        line = builder.inttoptr(builder.add(base, offset), ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, i32, i32, i32])
        llvm = builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind)
        builder.call(llvm, [line, i32(1), i32(3), i32(1)])
        return context.get_dummy_value()

    return nt.void(array, nt.int64, nt.int64), generate
