import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.memory.words import ACCOUNT_WORDS, texts_words
from sluicegate.streaming.partitioning import murmur2, partition_of, partitions_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, as it reads its files
    from kafka.partitioner.default import (  # type: ignore[import-untyped]
        murmur2 as kafka_python_murmur2,
    )

ACCOUNTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=34)


@given(st.binary(max_size=100), st.integers(0, 7))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_murmur2_is_the_one_of_kafka_python(octets: bytes, before: int) -> None:
    buffer = np.frombuffer(b"\xff" * before + octets + b"\xff" * 8, np.uint8)
    assert murmur2(buffer, before, len(octets)) == kafka_python_murmur2(octets)


@given(st.lists(ACCOUNTS, max_size=20), st.integers(1, 64))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_many_accounts_get_the_partitions_of_each(accounts: list[str], partitions: int) -> None:
    expected = [
        (kafka_python_murmur2(account.encode()) & 0x7FFFFFFF) % partitions for account in accounts
    ]
    assert [partition_of(account, partitions) for account in accounts] == expected
    words = texts_words(accounts, ACCOUNT_WORDS)
    assert partitions_of(words, partitions).tolist() == expected


def test_accounts_in_a_slice_of_wider_rows_are_read_in_place() -> None:
    rows = np.zeros((3, 12), np.uint64)
    rows[:, 2:7] = texts_words(["a", "bb", "c" * 34], ACCOUNT_WORDS)
    found = partitions_of(rows[:, 2:7], 8).tolist()
    assert found == [partition_of(account, 8) for account in ("a", "bb", "c" * 34)]


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        # From Kafka's own UtilsTest.testMurmur2 (apache/kafka, clients)
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_values_of_kafkas_own_test(key: bytes, hashed: int) -> None:
    buffer = np.frombuffer(key, np.uint8)
    assert int(murmur2(buffer, 0, len(key))) == hashed % 2**32
