"""Many byte strings in one buffer, as kernels read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from sluicegate.streaming.scanner import PADDING


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Many byte strings in one buffer."""

    octets: npt.NDArray[np.uint8]
    """All of them, and `PADDING` bytes more."""
    starts: npt.NDArray[np.int64]
    """`[n + 1]`: where each begins, and the last one ends."""
    is_null: npt.NDArray[np.bool_]
    """`[n]`: there is none; its stretch is empty."""

    @classmethod
    def of(cls, texts: Sequence[bytes | None]) -> "Texts":
        """These texts."""
        try:
            joined = bytearray().join(chain(texts, (bytes(PADDING),)))  # type: ignore[arg-type]
        except TypeError:  # there is a null: mostly there is none
            is_null = np.array([text is None for text in texts], np.bool_)
            return replace(cls.of([text or b"" for text in texts]), is_null=is_null)
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=starts[1:])  # type: ignore[arg-type]
        return cls(np.frombuffer(joined, np.uint8), starts, np.zeros(len(texts), np.bool_))

    @classmethod
    def joined(cls, parts: Sequence["Texts"]) -> "Texts":
        """The texts of all these, one after the other."""
        if len(parts) == 1:
            return parts[0]
        begins = np.cumsum([0, *(part.starts[-1] for part in parts)])
        pairs = zip(parts, begins, strict=False)
        return cls(
            np.concatenate([*(p.octets[: p.starts[-1]] for p in parts), np.zeros(PADDING, "u1")]),
            np.concatenate([*(p.starts[:-1] + begin for p, begin in pairs), begins[-1:]]),
            np.concatenate([part.is_null for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.is_null)

    def __iter__(self) -> Iterator[bytes | None]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> bytes | None:
        if self.is_null[index]:
            return None
        return self.octets[self.starts[index] : self.starts[index + 1]].tobytes()
