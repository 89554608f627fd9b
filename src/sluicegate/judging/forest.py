"""Trees of a fitted model, evaluated leg by leg without LightGBM, and no further than they matter.

LightGBM's own prediction starts threads and takes its time before the first row. These are the
same comparisons on the same numbers. What is more: trees whose leaves left over cannot lift a leg
to what matters any more are not asked.

What a node does with a missing number is settled before the first tree: for each input and each
way in which nodes read it there is a column, in which such a number lies below or above every
threshold. A step is then one comparison, without a branch to guess, and the legs of a block take
it side by side: while one waits for its number, the others go on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types as nt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NODE: Final = np.dtype([("threshold", "<f4"), ("column", "<u2"), ("left", "<u2")])
"""A number above the threshold goes to `left + 1`, within its tree; a leaf leads to itself."""
TREE: Final = np.dtype([("node", "<i4"), ("depth", "<i4")])
COLUMN: Final = np.dtype([("input", "<i4"), ("rule", "<i4")])
SPLIT: Final = np.dtype(
    [("threshold", "<f8"), ("input", "<i8"), ("rule", "<i8"), ("left", "<i8"), ("right", "<i8")]
)
"""Of a tree as LightGBM writes it; a child below 0 is the leaf ~child."""
RULE_BITS: Final = 4
MOST_NODES: Final = 1 << 15
"""Of a tree, leaves and all."""
DEFAULT_LEFT: Final = 2
MISSING_ZERO: Final = 4
MISSING_NAN: Final = 8
"""Bits of a node's rule, as LightGBM writes them."""
NEAR_ZERO: Final = float(np.float32(1e-35))
SLACK: Final = 1e-9
"""Sums are rounded: so much below what matters is still asked to the end."""
AT_ONCE: Final = 256
"""Legs whose columns are held together: few enough to stay in the cache."""
LANES: Final = 16
"""Legs that go through a tree side by side."""
ROUND: Final = 8
"""Trees between two looks whether a leg can still matter."""

_FOREST: Final = (
    nt.Array(nb.from_dtype(NODE), 1, "C"),
    nt.Array(nb.from_dtype(TREE), 1, "C"),
    nt.float64[::1],
    nt.Array(nb.from_dtype(COLUMN), 1, "C"),
)
_inputs = nt.Array(nt.float32, 2, "A", readonly=True)


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _settled(value, rule):
    """What nodes of this rule compare, never NaN."""
    missing = rule & MISSING_NAN != 0
    if value != value:
        if not missing:
            value = np.float32(0.0)
    else:
        missing = False
    if missing or (rule & MISSING_ZERO and -NEAR_ZERO <= value <= NEAR_ZERO):
        return np.float32(-np.inf) if rule & DEFAULT_LEFT else np.float32(np.inf)
    return value


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _walk(nodes, tree, read, base, at, there):
    """Takes the legs of a block, whose columns begin at `base`, to their leaves."""
    root = np.uint64(tree.node)
    for lane in range(there):
        at[lane] = root
    for _ in range(tree.depth):
        for lane in range(there):
            node = nodes[at[lane]]
            value = read[base[lane] + np.uint64(node.column)]
            right = np.uint64(0) if value <= node.threshold else np.uint64(1)
            at[lane] = root + np.uint64(node.left) + right


@nb.njit(
    nt.void(
        *_FOREST, nt.float64[::1], nt.float64, _inputs, nt.float64, nt.float32[::1],
        nt.uint64[:, ::1], nt.int64[::1], nt.float64[::1],
    ),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def _odds(nodes, trees, worth, columns, rest, boosters, inputs, least, read, lanes, asked, said):
    bound = least * boosters - SLACK
    width = columns.shape[0]
    base, at = lanes[0], lanes[1]
    for start in range(0, inputs.shape[0], AT_ONCE):
        left = min(AT_ONCE, inputs.shape[0] - start)
        for i in range(left):
            asked[i] = i
            said[start + i] = 0.0
            for c in range(width):
                column = columns[c]
                read[i * width + c] = _settled(inputs[start + i, column.input], column.rule)
        for first in range(0, trees.shape[0], ROUND):
            last = min(first + ROUND, trees.shape[0])
            for block in range(0, left, LANES):
                there = min(LANES, left - block)
                for lane in range(there):
                    base[lane] = np.uint64(asked[block + lane] * width)
                for t in range(first, last):
                    _walk(nodes, trees[t], read, base, at, there)
                    for lane in range(there):
                        said[start + asked[block + lane]] += worth[at[lane]]
            still = 0
            for k in range(left):
                leg = asked[k]
                if said[start + leg] + rest[last] < bound:
                    said[start + leg] = -np.inf
                else:
                    asked[still] = leg
                    still += 1
            left = still
            if left == 0:
                break
    for i in range(inputs.shape[0]):
        said[i] /= boosters


@nb.njit(
    nt.void(*_FOREST, nt.float64, _inputs, nt.float64[:, ::1]),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def _add_contributions(nodes, trees, worth, columns, boosters, inputs, added):
    for i in range(inputs.shape[0]):
        for t in range(trees.shape[0]):
            at = root = np.int64(trees[t].node)
            for _ in range(trees[t].depth):
                node = nodes[at]
                column = columns[node.column]
                before = worth[at]
                value = _settled(inputs[i, column.input], column.rule)
                at = root + np.int64(node.left) + (0 if value <= node.threshold else 1)
                added[i, column.input] += (worth[at] - before) / boosters


@nb.njit(
    nt.void(nt.float64[:, ::1], nt.int64[::1], nt.int64[::1], nt.float32[:, :]),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def take_inputs(features, legs, chosen, inputs):
    """Writes the chosen features of the chosen legs into the first columns of `inputs`."""
    for i in range(legs.shape[0]):
        for k in range(chosen.shape[0]):
            inputs[i, k] = features[legs[i], chosen[k]]


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of several boosters, whose mean is what they say."""

    nodes: npt.NDArray[np.void]
    """Of each tree the root, then its nodes and leaves, two that have one parent side by side."""
    trees: npt.NDArray[np.void]
    """Those first after which most is settled about a leg that nobody suspects."""
    worth: Floats
    """Of each node: what its tree says if it ends there."""
    columns: npt.NDArray[np.void]
    """What the nodes read: an input, and what it means that it is missing."""
    rest: Floats
    """`[trees + 1]`: the most that the trees from here on can add to the sum of all boosters."""
    boosters: int
    inputs: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """The forest of models as LightGBM writes them.

        Raises:
            ValueError: a text is no such model.
        """
        found = [_Tree.of(entries) for text in texts for entries in _trees(text)]
        # What a tree usually takes from the most that it could say is what settles a leg.
        found.sort(key=lambda tree: tree.usual - tree.most)
        reads = np.unique(np.concatenate([np.zeros(0, np.int64), *(tree.reads for tree in found)]))
        columns = np.zeros(len(reads), COLUMN)
        columns["input"] = reads >> RULE_BITS
        columns["rule"] = reads & (1 << RULE_BITS) - 1
        table = np.zeros(len(found), TREE)
        table["node"] = np.cumsum([0, *(len(tree.nodes) for tree in found)])[:-1]
        table["depth"] = [tree.depth for tree in found]
        for tree in found:
            tree.nodes["column"] = np.searchsorted(reads, tree.reads)
        most = np.array([tree.most for tree in found])
        return cls(
            nodes=np.concatenate([np.zeros(0, NODE), *(tree.nodes for tree in found)]),
            trees=table,
            worth=np.concatenate([np.zeros(0), *(tree.worth for tree in found)]),
            columns=columns,
            rest=np.append(np.cumsum(most[::-1])[::-1], 0.0),
            boosters=len(texts),
            inputs=1 + int(_header(texts[0])["max_feature_idx"]),
        )

    def odds(self, inputs: Singles, least: float = -np.inf) -> Floats:
        """`[n]`: what the trees say of `[n, inputs]`; -inf where that is surely below `least`."""
        self._require(inputs)
        said = np.empty(len(inputs))
        _odds(
            self.nodes, self.trees, self.worth, self.columns, self.rest, self.boosters, inputs,
            least, np.empty(AT_ONCE * len(self.columns), np.float32),
            np.empty((2, LANES), np.uint64), np.empty(AT_ONCE, np.int64), said,
        )  # fmt: skip
        return said

    def contributions(self, inputs: Singles) -> Floats:
        """`[n, inputs]`: what each input adds on the way through the trees.

        Each step from a node to the next adds what the trees say more there (Saabas 2014): their
        sum is what the trees say, less what they say of nobody in particular.
        """
        self._require(inputs)
        added = np.zeros(inputs.shape)
        _add_contributions(
            self.nodes, self.trees, self.worth, self.columns, self.boosters, inputs, added,
        )  # fmt: skip
        return added

    def _require(self, inputs: Singles) -> None:
        if inputs.shape[1] != self.inputs:
            raise ValueError(f"{inputs.shape[1]} inputs for trees of {self.inputs}")


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree, its nodes in the order in which they are met level by level."""

    nodes: npt.NDArray[np.void]
    reads: Ints
    """What each node compares, as `_read` says; a leaf what its root does, to no effect."""
    worth: Floats
    depth: int
    most: float
    usual: float
    """The mean of its leaves over what it was grown on."""

    @classmethod
    def of(cls, entries: dict[str, str]) -> Self:
        splits = _splits(entries)
        leaves = np.array(entries["leaf_value"].split(), np.float64)
        order, lefts, depth = _by_level(splits)
        inner = order >= 0
        nodes, worth = np.zeros(len(order), NODE), np.empty(len(order))
        nodes["left"], nodes["threshold"] = lefts, np.inf
        reads = np.zeros(len(order), np.int64)
        worth[~inner] = leaves[~order[~inner]]
        if len(splits):
            met = splits[order[inner]]
            nodes["threshold"][inner] = _not_above(met["threshold"])
            worth[inner] = np.array(entries["internal_value"].split(), np.float64)[order[inner]]
            reads[:] = _read(splits[:1])
            reads[inner] = _read(met)
        counts = np.array(entries.get("leaf_count", "0").split(), np.float64)
        usual = np.average(leaves, weights=counts) if counts.sum() else leaves.mean()
        return cls(nodes, reads, worth, depth, float(leaves.max()), float(usual))


def _read(splits: npt.NDArray[np.void]) -> Ints:
    """One number for an input and the rule by which it is read."""
    read: Ints = splits["input"] << RULE_BITS | splits["rule"] & (1 << RULE_BITS) - 1
    return read


def _not_above(thresholds: Floats) -> Singles:
    """The highest finite 4-byte number not above each: a 4-byte number is above both or none."""
    ends = np.finfo(np.float32)
    near = np.clip(thresholds, ends.min, ends.max).astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _by_level(splits: npt.NDArray[np.void]) -> tuple[Ints, list[int], int]:
    """The splits of a tree and its leaves (`~leaf`), where each leads to, and how deep it is."""
    order, lefts, levels = [0 if len(splits) else ~0], [], [0]
    children = splits[["left", "right"]].tolist()
    for at, met in enumerate(order):
        lefts.append(at if met < 0 else len(order))
        if met >= 0:
            if len(order) >= MOST_NODES:
                raise ValueError("a tree goes round in circles, or is larger than any that we fit")
            order += children[met]
            levels += 2 * [levels[at] + 1]
    return np.array(order), lefts, max(levels)


def _header(text: str) -> dict[str, str]:
    return _entries(text.partition("\nTree=")[0])


def _trees(text: str) -> Iterator[dict[str, str]]:
    body = text.partition("\nend of trees")[0]
    yield from (_entries(part) for part in body.split("\nTree=")[1:])


def _entries(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _splits(tree: dict[str, str]) -> npt.NDArray[np.void]:
    columns: dict[str, Any] = {
        "threshold": "threshold",
        "input": "split_feature",
        "left": "left_child",
        "right": "right_child",
        "rule": "decision_type",
    }
    try:
        if int(tree["num_cat"]):
            raise ValueError("a tree has categories")
        found = np.zeros(int(tree["num_leaves"]) - 1, SPLIT)
        for name, column in columns.items():
            if len(found):
                found[name] = np.array(tree[column].split(), np.float64)
    except KeyError as error:
        raise ValueError(f"a tree has no {error}") from error
    return found
