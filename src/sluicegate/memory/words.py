"""Text as fixed little-endian 64-bit words, zero-padded ASCII: how arrays hold accounts and ids.

All words zero means no text (null): text itself is never empty and never holds U+0000.
"""

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

WORD_BYTES: Final = 8
ACCOUNT_WORDS: Final = 5
"""40 bytes: an account has up to 34 characters."""
TRANSACTION_WORDS: Final = 8
"""64 bytes: the longest transaction id."""

Words = npt.NDArray[np.uint64]


def text_words(text: str | None, words: int) -> Words:
    """The words (shape `[words]`) of one text; zeros for None or empty."""
    result: Words = texts_words([text], words)[0]
    return result


def texts_words(texts: Sequence[str | None], words: int) -> Words:
    """The words (shape `[len(texts), words]`) of many texts.

    Raises:
        ValueError: a text is not ASCII, holds U+0000 or is too long.
    """
    width = words * WORD_BYTES
    encoded = [(text or "").encode("ascii") for text in texts]
    if any(len(text) > width or b"\0" in text for text in encoded):
        raise ValueError(f"text of more than {width} bytes, or with U+0000")
    return np.array(encoded, dtype=f"S{width}").view("<u8").reshape(len(encoded), words)


def name_hash(name: str) -> int:
    """32 bits that stand for a pattern's name in a whitelist; never 0."""
    return zlib.crc32(name.encode()) or 1


def words_text(words: Words) -> list[str]:
    """The texts of words of shape `[n, w]`; "" where all words are zero."""
    return [text.decode("ascii") for text in words_bytes(words).tolist()]


def words_bytes(words: Words) -> npt.NDArray[np.bytes_]:
    """The texts of words of shape `[n, w]` as one array of bytes (dtype `S(8w)`, shape `[n]`)."""
    rows, width = words.shape
    contiguous = np.ascontiguousarray(words, dtype="<u8")
    return contiguous.view(f"S{width * WORD_BYTES}").reshape(rows)
