"""What passes the SuperLink's APIs, as far as long polls need it: which messages wait for which chunks.

Only speed depends on it. Where this Flower says it differently, :func:`messages_can_be_watched` is False.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from flwr.supercore.constant import TASK_TOKEN_HEADER
from google.protobuf.message import DecodeError

from fedaffect.client.flower_compat.fitting import fits, module_or_none

TASK_HEADER: Final = str(TASK_TOKEN_HEADER)

_PUSH_MESSAGES: Final = {"fleet": "PushMessagesResponse", "runtime": "PushAppMessagesResponse"}
_PUSH_REQUEST: Final = "PushAppMessagesRequest"
_PULL_REQUEST: Final = "PullMessagesRequest"
_PUSHED: Final = {"session_id", "objects_to_push"}
_CHUNK: Final = {"session_id", "object_id"}


def messages_can_be_watched(paths: Iterable[str]) -> bool:
    """Whether this Flower has these paths, and says in its messages what is needed; if not, a warning says so."""
    push, metadata = _type("runtime_pb2", _PUSH_REQUEST), _type("message_pb2", "Metadata")
    pull, node = _type("fleet_pb2", _PULL_REQUEST), _type("node_pb2", "Node")
    translation = module_or_none("flwr.supercore.protobuf.translation")
    known = {path for _, path in getattr(translation, "PROTOBUF_REQUEST_TYPES", {})}
    replies = [_type(f"{api}_pb2", name) for api, name in _PUSH_MESSAGES.items()]
    met = (
        set(paths) <= known
        and all(_fields(reply) >= _PUSHED for reply in replies)
        and _fields(_type("message_pb2", "PushObjectRequest")) >= _CHUNK
        and "messages_list" in _fields(push)
        and "dst_node_id" in _fields(metadata)
        and "node" in _fields(pull)
        and "node_id" in _fields(node)
    )
    return fits(met, "nodes and ServerApp look for messages in intervals")


def announced_chunks(api: str, reply: bytes) -> tuple[str, list[str]] | None:
    """Session, and ids of the chunks that will follow, from the reply to a push of messages at an API.

    None where it cannot be read.
    """
    said = _parsed(_type(f"{api}_pb2", _PUSH_MESSAGES[api]), reply)
    return None if said is None else (said.session_id, list(said.objects_to_push))


def addressees(request: bytes) -> set[int] | None:
    """Nodes that a ServerApp's push of messages is for; None where it cannot be read."""
    said = _parsed(_type("runtime_pb2", _PUSH_REQUEST), request)
    return None if said is None else {message.metadata.dst_node_id for message in said.messages_list} or None


def asking_node(request: bytes) -> int | None:
    """The node that asks for its messages; None where it cannot be read."""
    said = _parsed(_type("fleet_pb2", _PULL_REQUEST), request)
    return None if said is None else said.node.node_id or None


def stored_chunk(request: bytes) -> tuple[str, str] | None:
    """Session and id of a chunk, from the request that stores it; None where it cannot be read."""
    said = _parsed(_type("message_pb2", "PushObjectRequest"), request)
    return None if said is None else (said.session_id, said.object_id)


def _type(module: str, name: str) -> Any:
    return getattr(module_or_none(f"flwr.proto.{module}"), name, None)


def _fields(kind: Any) -> set[str]:
    return set() if kind is None else set(kind.DESCRIPTOR.fields_by_name)


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        return None
