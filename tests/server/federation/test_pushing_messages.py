"""A SuperLink that answers late, as on a busy machine: what was pushed is pushed again, once."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.proto.message_pb2 import PushObjectResponse
from flwr.proto.runtime_pb2 import PushAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.run import Run
from flwr.superlink.grid.http_grid import HttpGrid

from fedaffect.server.federation.flower_grid import FlowerGrid
from fedaffect.server.flower_compat.pushing import push_messages


class Late:
    """What a SuperLink keeps, by its own rules: an object that is not missing any more is refused."""

    def __init__(self, lost: int = 0, away: int = 0) -> None:
        self.lost, self.away = lost, away
        self.messages: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.missing: set[str] = set()

    def PushMessages(self, request: Any) -> PushAppMessagesResponse:
        if self.away:
            self.away -= 1
            raise httpx.ReadTimeout("too slow")
        ids = [message.metadata.message_id for message in request.messages_list]
        self.messages += [each for each in ids if each not in self.messages]
        named = {node.object_id for tree in request.message_object_trees for node in iterate_object_tree(tree)}
        self.missing = named - set(self.objects)
        return PushAppMessagesResponse(message_ids=ids, objects_to_push=sorted(self.missing), session_id="s")

    def PushObject(self, request: Any) -> PushObjectResponse:
        if request.object_id not in self.missing:
            return PushObjectResponse(stored=False)
        self.missing.discard(request.object_id)
        self.objects[request.object_id] = request.object_content
        if self.lost:
            # It is stored, the answer comes too late, and Flower asks again.
            self.lost -= 1
            return self.PushObject(request)
        return PushObjectResponse(stored=True)


class LateGrid(HttpGrid):
    def __init__(self, superlink: Late) -> None:
        super().__init__(token="x")
        self.superlink = superlink
        self.set_run(Run.create_empty(1))

    @property
    def _runtime_client(self) -> Any:
        return self.superlink


def _messages() -> list[Message]:
    record = RecordDict({"arrays": ArrayRecord({"w": Array(np.arange(6, dtype=np.float32))})})
    return [Message(record, node, "train") for node in (11, 12)]


@pytest.mark.parametrize(("lost", "away"), [(1, 0), (3, 0), (0, 2), (2, 1)])
def test_a_late_superlink_has_each_message_once_and_whole(lost: int, away: int) -> None:
    superlink = Late(lost, away)
    ids = FlowerGrid(LateGrid(superlink)).push_messages(_messages())
    assert list(ids) == superlink.messages
    assert len(set(ids)) == 2
    assert not superlink.missing


def test_flower_alone_gives_up_at_once() -> None:
    # What this is for; if it passes one day without an error, the wrapper can go.
    with pytest.raises(ObjectPushError):
        LateGrid(Late(lost=1)).push_messages(_messages())


def test_one_that_stays_away_is_given_up() -> None:
    with pytest.raises(httpx.ReadTimeout):
        push_messages(LateGrid(Late(away=100)), _messages(), give_up_s=0.1)
