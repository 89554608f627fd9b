"""From a pattern set to one compiled function.

The function is written as a Python module, compiled by numba and cached on disk beside it, so
that the second start needs no compiler. The module is named by the hash of its own text, so an
old kernel can never be taken for a new one, and two processes that start at once write the same.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, cast

import numba
import numpy as np
import platformdirs
from numba import float64, int64, types
from numba.core.types import WrapperAddressProtocol
from numba.experimental.function_type import _get_wrapper_address
from numpy.typing import NDArray

from sluicegate.errors import Problem
from sluicegate.judging.patterns import CheckedPattern, PatternSet, Side
from sluicegate.judging.source import HELPERS, number_source, true_source
from sluicegate.memory.features import FEATURE_COUNT

STRENGTHS: Final = float64(int64, float64[::1], float64[::1])
"""Side (-1 departure, +1 arrival), features in, strengths out; the score is returned."""

Kernel = Callable[[int, NDArray[np.float64], NDArray[np.float64]], float]


class _Compiled(WrapperAddressProtocol):
    """A compiled function that other compiled functions take as an argument.

    Numba would look its address up at every call, which costs more than judging a hundred legs.
    """

    def __init__(self, compiled: Kernel) -> None:
        self._compiled = compiled
        self._address = int(_get_wrapper_address(compiled, STRENGTHS))
        self._numba_type_ = types.FunctionType(STRENGTHS)

    def __call__(
        self, side: int, features: NDArray[np.float64], strengths: NDArray[np.float64]
    ) -> float:
        """Judges one leg from Python."""
        return self._compiled(side, features, strengths)

    def __wrapper_address__(self) -> int:
        """Numba's protocol: where the machine code is."""
        return self._address

    def signature(self) -> object:
        """Numba's protocol: what it takes and returns."""
        return STRENGTHS


DEPARTURE: Final = -1
ARRIVAL: Final = 1

_HEADER: Final = '''\
"""Written by sluicegate for one pattern set; may be deleted at any time."""

from math import isnan, log, nan, sqrt

from numba import float64, int64, njit

'''
_GUARDS: Final = {Side.PAYER: "side < 0 and ", Side.PAYEE: "side > 0 and ", Side.BOTH: ""}
_STAMP_NS: Final = 1_000_000_000
"""Modification time of every generated module: numba's cache is void when it differs."""


@dataclass(frozen=True, slots=True)
class CompiledPatterns:
    """A pattern set and the function that judges by it; strengths of shadows are below zero."""

    pattern_set: PatternSet
    kernel: Kernel

    @property
    def count(self) -> int:
        """Number of patterns: the length of `strengths_out`."""
        return len(self.pattern_set.patterns)

    def judge(self, side: int, features: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Score and strengths of one leg: for callers outside the hot loop.

        `side` is -1 for a departure, +1 for an arrival; `features` has shape (FEATURE_COUNT,).
        """
        if features.shape != (FEATURE_COUNT,):
            raise ValueError(f"features have shape {features.shape}, not ({FEATURE_COUNT},)")
        strengths = np.zeros(self.count)
        return self.kernel(side, np.ascontiguousarray(features), strengths), strengths


def compile_patterns(pattern_set: PatternSet, folder: Path | None = None) -> CompiledPatterns:
    """The compiled form of a pattern set, from the cache in `folder` when it has been there.

    Raises:
        Problem: the folder cannot be written.
    """
    source = kernel_source(pattern_set)
    place = folder or Path(platformdirs.user_cache_dir("sluicegate")) / "kernels"
    name = f"sluicegate_patterns_{_fingerprint(source)}"
    module = sys.modules.get(name) or _load(name, _written(source, place / f"{name}.py"))
    return CompiledPatterns(pattern_set, _Compiled(cast("Kernel", module.strengths)))


def kernel_source(pattern_set: PatternSet) -> str:
    """The text of the module whose function `strengths` judges by a pattern set."""
    body = "\n".join(_body(pattern_set))
    return f"{_HEADER}\n{HELPERS}\n\n{body}\n"


def _body(pattern_set: PatternSet) -> Iterator[str]:
    yield "@njit("
    yield "    float64(int64, float64[::1], float64[::1]),"
    yield '    cache=True, nogil=True, error_model="numpy",'
    yield ")"
    yield "def strengths(side, f, out):"
    yield "    rest = 1.0"
    for index, checked in enumerate(pattern_set.patterns):
        yield from _pattern(index, checked)
    yield "    return 1.0 - rest"


def _pattern(index: int, checked: CheckedPattern) -> Iterator[str]:
    guard = _GUARDS[checked.pattern.side]
    yield f"    # {checked.pattern.name}"
    yield f"    out[{index}] = 0.0"
    yield f"    if {guard}{true_source(checked.condition)}:"
    if checked.pattern.shadow:  # below zero: no part of the score
        yield f"        out[{index}] = -_clip({number_source(checked.strength)})"
    else:
        yield f"        out[{index}] = _clip({number_source(checked.strength)})"
        yield f"        rest *= 1.0 - out[{index}]"


def _fingerprint(source: str) -> str:
    versions = f"{numba.__version__} {sys.implementation.cache_tag}"
    return hashlib.sha256(f"{versions}\n{source}".encode()).hexdigest()[:32]


def _written(source: str, path: Path) -> Path:
    """Write the module unless it is there; a reader never sees half of it."""
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(source, path)
    except OSError as error:
        raise Problem(
            f"{path.parent}: cannot write the compiled patterns",
            str(error),
            "Give the user a writable cache folder (on Linux: XDG_CACHE_HOME).",
        ) from error
    return path


def _write(source: str, path: Path) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False
    ) as draft:
        draft.write(source)
    os.utime(draft.name, ns=(_STAMP_NS, _STAMP_NS))
    Path(draft.name).replace(path)


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
