"""Trees of a fitted model, evaluated leg by leg without LightGBM, and no further than they matter.

LightGBM's own prediction starts threads and takes its time before the first row. These are the
same comparisons on the same numbers. What is more: trees whose leaves left over cannot lift a leg
to what matters any more are not asked.
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

NODE: Final = np.dtype(
    [
        ("threshold", "<f8"),
        ("feature", "<i2"),
        ("left", "<i2"),  # within its tree; below 0 the leaf ~left
        ("right", "<i2"),
        ("rule", "<i2"),
    ]
)
TREE: Final = np.dtype([("node", "<i4"), ("leaf", "<i4"), ("root", "<i4"), ("spare", "<i4")])
DEFAULT_LEFT: Final = 2
MISSING_ZERO: Final = 4
MISSING_NAN: Final = 8
"""Bits of a node's rule, as LightGBM writes them."""
NEAR_ZERO: Final = float(np.float32(1e-35))
SLACK: Final = 1e-9
"""Sums are rounded: so much below what matters is still asked to the end."""


_FOREST: Final = (
    nt.Array(nb.from_dtype(NODE), 1, "C"),
    nt.Array(nb.from_dtype(TREE), 1, "C"),
    nt.float64[::1],
    nt.float64[::1],
    nt.int64,
    nt.float32[:, ::1],
)


@nb.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _goes_left(node, row):
    value = np.float64(row[node.feature])
    if value != value:
        if node.rule & MISSING_NAN:
            return node.rule & DEFAULT_LEFT != 0
        value = 0.0
    if node.rule & MISSING_ZERO and -NEAR_ZERO <= value <= NEAR_ZERO:
        return node.rule & DEFAULT_LEFT != 0
    return value <= node.threshold


@nb.njit(
    nt.void(*_FOREST, nt.float64, nt.float64[::1]),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def _odds(nodes, trees, leaves, rest, boosters, inputs, least, said):
    bound = least * boosters - SLACK
    for i in range(inputs.shape[0]):
        row = inputs[i]
        total = 0.0
        for t in range(trees.shape[0]):
            if total + rest[t] < bound:
                total = -np.inf
                break
            tree = trees[t]
            first = np.uint64(tree.node)
            at = np.int64(tree.root)
            while at >= 0:
                node = nodes[first + np.uint64(at)]
                value = row[np.uint64(node.feature)]
                if value == value and not node.rule & MISSING_ZERO:
                    goes_left = value <= node.threshold
                else:
                    goes_left = _goes_left(node, row)
                at = np.int64(node.left) if goes_left else np.int64(node.right)
            total += leaves[np.uint64(tree.leaf + ~at)]
        said[i] = total / boosters


@nb.njit(
    nt.void(*_FOREST, nt.float64[:, ::1]),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def _add_contributions(nodes, trees, leaves, worth, boosters, inputs, added):
    for i in range(inputs.shape[0]):
        row = inputs[i]
        for t in range(trees.shape[0]):
            tree = trees[t]
            at = np.int64(tree.root)
            while at >= 0:
                node = nodes[tree.node + at]
                before = worth[tree.node + at]
                at = np.int64(node.left if _goes_left(node, row) else node.right)
                after = worth[tree.node + at] if at >= 0 else leaves[tree.leaf + ~at]
                added[i, node.feature] += (after - before) / boosters


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of several boosters, whose mean is what they say."""

    nodes: npt.NDArray[np.void]
    trees: npt.NDArray[np.void]
    leaves: Floats
    worth: Floats
    """Of each node: what its tree would say if it ended there."""
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
        found = [list(_trees(text)) for text in texts]
        # By turns: the first trees of a booster say most, so that the rest soon cannot matter.
        longest = max(map(len, found), default=0)
        trees = [own[at] for at in range(longest) for own in found if at < len(own)]
        nodes = [_nodes(tree) for tree in trees]
        leaves = [np.array(tree["leaf_value"].split(), np.float64) for tree in trees]
        table = np.zeros(len(trees), TREE)
        table["node"] = np.cumsum([0, *map(len, nodes)])[:-1]
        table["leaf"] = np.cumsum([0, *map(len, leaves)])[:-1]
        table["root"] = [0 if len(own) else -1 for own in nodes]
        most = [float(own.max()) for own in leaves]
        return cls(
            nodes=np.concatenate([np.zeros(0, NODE), *nodes]),
            trees=table,
            leaves=np.concatenate([np.zeros(0), *leaves]),
            worth=np.concatenate([np.zeros(0), *map(_worth, trees)]),
            rest=np.append(np.cumsum(most[::-1])[::-1], 0.0),
            boosters=len(texts),
            inputs=1 + int(_header(texts[0])["max_feature_idx"]),
        )

    def odds(self, inputs: Singles, least: float = -np.inf) -> Floats:
        """`[n]`: what the trees say of `[n, inputs]`; -inf where that is surely below `least`."""
        self._require(inputs)
        said = np.empty(len(inputs))
        _odds(
            self.nodes, self.trees, self.leaves, self.rest, self.boosters,
            np.ascontiguousarray(inputs, np.float32), least, said,
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
            self.nodes, self.trees, self.leaves, self.worth, self.boosters,
            np.ascontiguousarray(inputs, np.float32), added,
        )  # fmt: skip
        return added

    def _require(self, inputs: Singles) -> None:
        if inputs.shape[1] != self.inputs:
            raise ValueError(f"{inputs.shape[1]} inputs for trees of {self.inputs}")


def _worth(tree: dict[str, str]) -> Floats:
    return np.array(tree.get("internal_value", "").split(), np.float64)


def _header(text: str) -> dict[str, str]:
    return _entries(text.partition("\nTree=")[0])


def _trees(text: str) -> Iterator[dict[str, str]]:
    body = text.partition("\nend of trees")[0]
    yield from (_entries(part) for part in body.split("\nTree=")[1:])


def _entries(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _nodes(tree: dict[str, str]) -> npt.NDArray[np.void]:
    columns: dict[str, Any] = {
        "threshold": "threshold",
        "feature": "split_feature",
        "left": "left_child",
        "right": "right_child",
        "rule": "decision_type",
    }
    try:
        if int(tree["num_cat"]):
            raise ValueError("a tree has categories")
        found = np.zeros(int(tree["num_leaves"]) - 1, NODE)
        for name, column in columns.items():
            if len(found):
                found[name] = np.array(tree[column].split(), np.float64)
    except KeyError as error:
        raise ValueError(f"a tree has no {error}") from error
    return found
