"""Flower's records as bytes: the protobuf that travels between its processes."""

from __future__ import annotations

from flwr.app import RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto


def record_to_bytes(record: RecordDict) -> bytes:
    """A record as bytes, which :func:`record_from_bytes` reads back equal."""
    return bytes(recorddict_to_proto(record).SerializeToString())


def record_from_bytes(data: bytes) -> RecordDict:
    """A record from its bytes."""
    return recorddict_from_proto(RecordDictProto.FromString(data))


def wire_bytes(content: RecordDict) -> int:
    """Serialised size of a message's content."""
    return int(recorddict_to_proto(content).ByteSize())
