import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.memory.words import (
    ACCOUNT_WORDS,
    TRANSACTION_WORDS,
    text_words,
    texts_words,
    words_bytes,
    words_text,
)

TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


@given(st.lists(TEXTS, max_size=10))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_text_becomes_words_and_text_again(texts: list[str]) -> None:
    words = texts_words(texts, ACCOUNT_WORDS)
    assert words.shape == (len(texts), ACCOUNT_WORDS)
    assert words_text(words) == texts
    assert words_bytes(words).tolist() == [text.encode() for text in texts]


def test_words_are_zero_padded_little_endian_ascii() -> None:
    assert text_words("ABC", ACCOUNT_WORDS).tolist() == [0x434241, 0, 0, 0, 0]
    assert text_words("x" * 64, TRANSACTION_WORDS).tolist() == [0x7878787878787878] * 8


def test_no_text_is_all_zero_words() -> None:
    assert not text_words(None, ACCOUNT_WORDS).any()
    assert words_text(np.zeros((2, ACCOUNT_WORDS), np.uint64)) == ["", ""]


@pytest.mark.parametrize("text", ["x" * 41, "a\0b", "\u623f"])
def test_what_does_not_fit_is_an_error_and_never_cut(text: str) -> None:
    with pytest.raises(ValueError, match=r"40 bytes|ascii"):
        text_words(text, ACCOUNT_WORDS)
