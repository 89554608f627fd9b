"""Directives that hold for an account: what a judgement sees of them, and what they suppress.

The directives of an account are a chain: `heads[row]` is one more than the index of its latest,
`nexts[index]` of the one before, 0 ends it. Whether one holds depends on the leg's own time.
"""

from typing import Final

import numba as nb
import numpy as np

from sluicegate.memory.features import FEATURE_INDEX
from sluicegate.memory.row import DIRECTIVE, FOR_EVER, MOST_NAMES, WHITELISTED

INVOLVED: Final = FEATURE_INDEX["involved"]
PUNISHED: Final = FEATURE_INDEX["punished"]
WATCHED: Final = FEATURE_INDEX["watched"]
KIND_FEATURE: Final = np.array([-1, INVOLVED, PUNISHED, -1, WATCHED], np.int64)
"""The feature of each kind of directive."""
DIRECTIVE_TYPE: Final = nb.from_dtype(DIRECTIVE)

_jit = nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)


@_jit
def _holds(directive, leg_s):
    until = np.int64(directive.until_s)
    return not directive.is_ended and (leg_s < until or until == FOR_EVER)


@_jit
def observe_directives(heads, nexts, directives, at, leg, f):
    """Fills the features `involved`, `punished`, `watched`; `at` is the account's row, or -1."""
    f[INVOLVED] = 0.0
    f[PUNISHED] = 0.0
    f[WATCHED] = 0.0
    index = heads[at] if at >= 0 else 0
    leg_s = leg.occurred_at_ms // 1000
    while index:
        directive = directives[index - 1]
        feature = KIND_FEATURE[directive.kind]
        if feature >= 0 and _holds(directive, leg_s):
            f[feature] = 1.0
        index = nexts[index - 1]


@_jit
def _is_for(directive, leg):
    """Whether a whitelist is for all legs of its account, or for this counterparty."""
    if directive.counterparty[0] == 0:
        return True
    for w in range(leg.counterparty.shape[0]):
        if directive.counterparty[w] != leg.counterparty[w]:
            return False
    return True


@_jit
def suppress(heads, nexts, directives, at, leg, names, score, strengths):
    """Sets the strengths of whitelisted patterns to 0; returns the score that is left.

    `at` is the account's row, `names[k]` the hash of the name of pattern `k`. A judgement that
    failed (NaN) stays so.
    """
    index = heads[at]
    leg_s = leg.occurred_at_ms // 1000
    changed = False
    while index:
        directive = directives[index - 1]
        if directive.kind == WHITELISTED and _holds(directive, leg_s) and _is_for(directive, leg):
            for n in range(MOST_NAMES):
                for k in range(names.shape[0]):
                    if names[k] == directive.patterns[n] and strengths[k] != 0:
                        strengths[k] = 0.0
                        changed = True
        index = nexts[index - 1]
    if not changed:
        return score
    rest = 1.0
    for k in range(names.shape[0]):
        rest *= 1.0 - max(strengths[k], 0.0)  # a shadow's is below zero
    return 1.0 - rest
