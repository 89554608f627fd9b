"""Records of a topic's partitions in blocks: all that one call of librdkafka gives, as columns.

confluent-kafka makes a Python object of each record, which costs the router as much as everything
else that it does. Here the librdkafka that comes with it is asked through its own C interface, and
a kernel copies what the records point at (docs/decisions/0031).
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from confluent_kafka import cimpl

from sluicegate.streaming.pointers import given_back, measured, taken
from sluicegate.streaming.records import SourceRecord
from sluicegate.streaming.scanner import PADDING
from sluicegate.streaming.texts import Texts

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Records of one topic in the order in which they were read, as columns of `[n]`."""

    partitions: Ints
    offsets: Ints
    recorded_at_ms: Ints
    """Their Kafka timestamps."""
    keys: Texts
    values: Texts

    @classmethod
    def of(cls, records: Sequence[tuple[SourceRecord, int]]) -> "Block":
        """These records with their timestamps."""
        return cls(
            np.array([record.partition for record, _ in records], np.int64),
            np.array([record.offset for record, _ in records], np.int64),
            np.array([at_ms for _, at_ms in records], np.int64),
            Texts.of([record.key for record, _ in records]),
            Texts.of([record.value for record, _ in records]),
        )

    @classmethod
    def joined(cls, blocks: Sequence["Block"]) -> "Block":
        """The records of all these, one block after the other."""
        return cls(
            np.concatenate([block.partitions for block in blocks]),
            np.concatenate([block.offsets for block in blocks]),
            np.concatenate([block.recorded_at_ms for block in blocks]),
            Texts.joined([block.keys for block in blocks]),
            Texts.joined([block.values for block in blocks]),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def record(self, topic: str, index: int) -> SourceRecord:
        """One of them, which came from this topic."""
        at = int(self.partitions[index]), int(self.offsets[index])
        return SourceRecord(topic, *at, self.keys[index], self.values[index])


class CannotRead(Exception):  # noqa: N818 - what it says, not that it is one
    """The broker refuses to go on, in its words."""


class BlockReader:
    """One client that reads partitions of a topic, each from an offset on; for one thread.

    What it fetches of all of them comes in one answer of the broker. `config` is as confluent-kafka
    takes it, without callbacks.

    Raises:
        ValueError: librdkafka does not know a setting, or not its value.
    """

    def __init__(self, config: Mapping[str, Any], topic: str, starts: Mapping[int, int]) -> None:
        self._topic = topic.encode()
        self._handle = _open(config)
        _poll_set_consumer(self._handle)
        # Each partition keeps a queue of its own; what befalls the client comes in the first one.
        self._queues = {
            partition: _queue_of_partition(self._handle, self._topic, partition)
            for partition in starts
        }
        of_client = _queue_of_client(self._handle)
        _forward(of_client, next(iter(self._queues.values())))
        _queue_destroy(of_client)
        places = _list_new(len(starts))
        for partition, offset in starts.items():
            _forward(self._queues[partition], None)
            _list_add(places, self._topic, partition)
            _list_set_offset(places, self._topic, partition, offset)
        failed = _assign(self._handle, places)
        _list_destroy(places)
        if failed:
            raise ValueError(_error_text(failed).decode())

    def read(self, partition: int, most: int, seconds: float) -> Block:
        """Up to `most` records of a partition, waiting `seconds` for them at most.

        Raises:
            CannotRead: something other than a record came.
        """
        pointers = np.empty(most, np.uint64)
        queue = self._queues[partition]
        count = _consume(queue, round(seconds * 1000), pointers.ctypes.data, most)
        pointers = pointers[: max(0, count)]
        value_bytes, key_bytes, error = measured(pointers)
        if error:
            said = _message_error(int(error)).decode()
            given_back(pointers, _DESTROY)
            raise CannotRead(said)
        columns = np.empty((3, len(pointers)), np.int64)
        values, keys = _room(len(pointers), value_bytes), _room(len(pointers), key_bytes)
        taken(pointers, _TIMESTAMP, *columns, *_parts(values), *_parts(keys))
        given_back(pointers, _DESTROY)
        return Block(columns[0], columns[1], columns[2], keys, values)

    def end(self, partition: int) -> int:
        """Where a partition ends, as last heard of; below 0 before anything was."""
        low, high = ctypes.c_int64(-1), ctypes.c_int64(-1)
        _watermarks(self._handle, self._topic, partition, ctypes.byref(low), ctypes.byref(high))
        return high.value

    def close(self) -> None:
        """Leaves the broker; nothing may be asked after it."""
        for queue in self._queues.values():
            _queue_destroy(queue)
        _consumer_close(self._handle)
        _destroy(self._handle)


def _room(count: int, size: int) -> Texts:
    octets = np.empty(int(size) + PADDING, np.uint8)
    octets[int(size) :] = 0
    return Texts(octets, np.zeros(count + 1, np.int64), np.empty(count, np.bool_))


def _parts(texts: Texts) -> tuple[npt.NDArray[np.uint8], Ints, npt.NDArray[np.bool_]]:
    return texts.octets, texts.starts, texts.is_null


# The library. What its dependencies have is found through confluent-kafka's own module, however
# they were linked.

_LIBRARY: Final = ctypes.CDLL(cimpl.__file__)
_HANDLE: Final = ctypes.c_void_p


def _function(name: str, result: Any, *arguments: Any) -> Any:  # noqa: ANN401 - ctypes' own types
    function = getattr(_LIBRARY, f"rd_kafka_{name}")
    function.restype, function.argtypes = result, arguments
    return function


def _address(name: str) -> np.uint64:
    return np.uint64(ctypes.cast(getattr(_LIBRARY, f"rd_kafka_{name}"), _HANDLE).value or 0)


_INT, _TEXT, _SIZE = ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
_NUMBER, _OFFSET_TYPE = ctypes.c_int32, ctypes.c_int64
_OUT: Final = ctypes.POINTER(ctypes.c_int64)
_conf_new = _function("conf_new", _HANDLE)
_conf_set = _function("conf_set", _INT, _HANDLE, _TEXT, _TEXT, _TEXT, _SIZE)
_conf_destroy = _function("conf_destroy", None, _HANDLE)
_new = _function("new", _HANDLE, _INT, _HANDLE, _TEXT, _SIZE)
_destroy = _function("destroy", None, _HANDLE)
_poll_set_consumer = _function("poll_set_consumer", _INT, _HANDLE)
_consumer_close = _function("consumer_close", _INT, _HANDLE)
_list_new = _function("topic_partition_list_new", _HANDLE, _INT)
_list_add = _function("topic_partition_list_add", _HANDLE, _HANDLE, _TEXT, _NUMBER)
_list_set_offset = _function(
    "topic_partition_list_set_offset", _INT, _HANDLE, _TEXT, _NUMBER, _OFFSET_TYPE
)
_list_destroy = _function("topic_partition_list_destroy", None, _HANDLE)
_assign = _function("assign", _INT, _HANDLE, _HANDLE)
_queue_of_client = _function("queue_get_consumer", _HANDLE, _HANDLE)
_queue_of_partition = _function("queue_get_partition", _HANDLE, _HANDLE, _TEXT, _NUMBER)
_forward = _function("queue_forward", None, _HANDLE, _HANDLE)
_queue_destroy = _function("queue_destroy", None, _HANDLE)
_consume = _function("consume_batch_queue", ctypes.c_ssize_t, _HANDLE, _INT, _HANDLE, _SIZE)
_watermarks = _function("get_watermark_offsets", _INT, _HANDLE, _TEXT, _NUMBER, _OUT, _OUT)
_error_text = _function("err2str", _TEXT, _INT)
_message_error = _function("message_errstr", _TEXT, _HANDLE)
_TIMESTAMP: Final = _address("message_timestamp")
_DESTROY: Final = _address("message_destroy")

_CONSUMER: Final = 1
_SAID: Final = 512


def _open(config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a handle
    said = ctypes.create_string_buffer(_SAID)
    conf = _conf_new()
    for name, value in config.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if _conf_set(conf, name.encode(), text.encode(), said, _SAID):
            _conf_destroy(conf)
            raise ValueError(said.value.decode())
    handle = _new(_CONSUMER, conf, said, _SAID)
    if not handle:
        _conf_destroy(conf)
        raise ValueError(said.value.decode())
    return handle
