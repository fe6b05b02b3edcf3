"""Replies from a grid of Flower's, each read apart from the others and put down to the message that it answers.

A reply is bytes of a machine that nobody here controls, and Flower's grid raises where they are no message: the
ServerApp would end, and with it other replies that were handed over once. What a reply says about its sender is not
believed either: the SuperLink has checked whom it let answer a message, the reply's own metadata it has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final

import httpx
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, inflate_object_from_contents
from flwr.superlink.grid import http_grid

# Replies asked for at once, so that a grid which hands over whole lists never holds many in memory.
_PULL_AT_ONCE: Final = 16
# A reply is there before its parts are. A device that loses its link between keeps the round waiting for so long, where
# Flower waits two hours.
_PARTS_S: Final = 30.0
_LONGEST_WHY: Final = 200


def pull_replies(grid: Grid, asked: Iterable[str]) -> Iterator[tuple[str, RecordDict | Error]]:
    """What has come to these messages: which one it answers, and its content or the error in its place.

    Parameters
    ----------
    grid : Grid
    asked : iterable of str
        Ids of messages.

    Raises
    ------
    httpx.HTTPError
        If the SuperLink does not answer.
    """
    ids = list(asked)
    if not isinstance(grid, http_grid.HttpGrid):
        # In this process, where a request costs nothing: each by itself.
        for message_id in ids:
            try:
                found = [_content(reply) for reply in grid.pull_messages([message_id])]
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this reply's
                found = [_malformed(error)]
            yield from ((message_id, each) for each in found)
        return
    for start in range(0, len(ids), _PULL_AT_ONCE):
        yield from _pull(grid, ids[start : start + _PULL_AT_ONCE])


def _pull(grid: http_grid.HttpGrid, ids: Sequence[str]) -> Iterator[tuple[str, RecordDict | Error]]:
    """Side by side, as they come: devices that were cut off are waited for together, and nobody waits for them."""
    client: Any = grid._runtime_client
    reply = client.PullMessages(PullAppMessagesRequest(message_ids=ids))
    away: httpx.HTTPError | None = None
    with ThreadPoolExecutor(_PULL_AT_ONCE, thread_name_prefix="replies") as pool:
        asked = {
            # As the SuperLink has checked it.
            pool.submit(_read, grid, client, proto.metadata.message_id, tree): proto.metadata.reply_to_message_id
            for proto, tree in zip(reply.messages_list, reply.message_object_trees, strict=True)
        }
        for done in as_completed(asked):
            try:
                yield asked.pop(done), done.result()
            except httpx.HTTPError as error:
                # What was read is handed over once: the others first.
                away = error
    if away is not None:
        raise away


def _read(grid: http_grid.HttpGrid, client: Any, message_id: str, tree: Any) -> RecordDict | Error:
    run_id = grid.run.run_id
    pull = make_pull_object_fn_protobuf(pull_object_protobuf=client.PullObject, node=grid.node, run_id=run_id)
    try:
        ids = [each.object_id for each in iterate_object_tree(tree)]
        # As that module has it, where the wait for missing objects is set.
        contents = vars(http_grid)["pull_objects"](object_ids=ids, pull_object_fn=pull, max_time=_PARTS_S)
        client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=grid.node, run_id=run_id, message_object_id=message_id)
        )
        return _content(inflate_object_from_contents(message_id, contents))
    except ObjectPullError as error:
        return Error(ErrorCode.MESSAGE_UNAVAILABLE, f"parts of the reply never came ({_short(error)})")
    except httpx.HTTPError:
        raise
    # Whatever its bytes make Flower raise, a lack of memory included.
    except Exception as error:  # noqa: BLE001
        return _malformed(error)


def _content(reply: object) -> RecordDict | Error:
    if not isinstance(reply, Message):
        raise TypeError(f"a {type(reply).__name__} is no message")
    if reply.has_error():
        return reply.error
    if not isinstance(reply.content, RecordDict):
        raise TypeError("its content is no records")
    return reply.content


def _malformed(error: Exception) -> Error:
    return Error(ErrorCode.UNKNOWN, f"the reply is malformed ({type(error).__name__}: {_short(error)})")


def _short(error: Exception) -> str:
    return str(error)[:_LONGEST_WHY]
