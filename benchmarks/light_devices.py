"""Devices of a fleet that compute nothing: hundreds in one process, over real sockets, in Flower's own words.

Each has a key of its own, was enrolled by the fleet's service, and says to the Fleet API what Flower's SuperNode says:
it activates its node, sends heartbeats, waits for a message, fetches run, app and objects one by one, confirms, and
pushes its reply and the reply's objects. In place of training it answers with arrays that were made beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import httpcore
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, TIMESTAMP_HEADER
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto import fab_pb2, fleet_pb2, heartbeat_pb2, message_pb2, run_pb2
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from google.protobuf.message import Message as Proto

from fedaffect.client.flower_compat.names import act_as
from fedaffect.client.wire import (
    ABOUT,
    ARRAYS,
    ATTEMPT,
    BASE,
    CONFIG,
    METRICS,
    NUM_EXAMPLES,
    PACKED,
    RUN,
    SERVER_ROUND,
)

# As Flower's clients have it: httpx closes what it did not use for so long.
_IDLE_S: Final = 5.0
_ANSWER_S: Final = {"connect": 30.0, "read": 120.0, "write": 120.0, "pool": 120.0}
_AWAY: Final = (502, 503, 504)
_AGAIN_S: Final = 1.0
# Of Flower's sender of heartbeats: in the mean four fifths of the interval, a tenth more or less.
_BEATS: Final = (0.7, 0.9)

P = TypeVar("P", bound=Proto)


@dataclass(slots=True)
class Told:
    """What devices have said and heard."""

    requests: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    replies: int = 0
    online: int = 0


class LightDevice:
    """One device.

    Parameters
    ----------
    number : int
        Of its partition; its arrays are drawn by it.
    key : Path
        Its private key in OpenSSH's form.
    superlink : str
        ``host:port``.
    context : ssl.SSLContext
        Believes the fleet's authority.
    told : Told
        Shared by all.
    """

    def __init__(self, number: int, key: Path, superlink: str, context: ssl.SSLContext, told: Told) -> None:
        private = load_ssh_private_key(key.read_bytes(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self._number, self._key, self._told = number, private, told
        self._public = public_key_to_bytes(private.public_key())
        self._base = f"https://{superlink}"
        self._pool = httpcore.AsyncConnectionPool(ssl_context=context, max_connections=8, keepalive_expiry=_IDLE_S)
        self._headers = [
            ("content-type", PROTOBUF_MEDIA_TYPE),
            ("accept", PROTOBUF_MEDIA_TYPE),
            ("host", superlink),
            *RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata(),
        ]
        self._node = Node()
        self._runs: set[int] = set()
        self._arrays: ArrayRecord | None = None

    async def live(self) -> None:
        """Take part until cancelled."""
        found = await self._say(
            "activate-node",
            fleet_pb2.ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL),
            fleet_pb2.ActivateNodeResponse,
        )
        self._node = Node(node_id=found.node_id)
        self._told.online += 1
        beats = asyncio.create_task(self._beat())
        try:
            while True:
                await self._turn()
        finally:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats
            await self._pool.aclose()

    async def _turn(self) -> None:
        """One look for a message, and the answer to it."""
        asked = time.monotonic()
        found = await self._say(
            "pull-messages", fleet_pb2.PullMessagesRequest(node=self._node), fleet_pb2.PullMessagesResponse
        )
        if not found.messages_list:
            # As the SuperNode does where the gate has not held the request.
            if time.monotonic() - asked < 1.0:
                await asyncio.sleep(0.2)
            return
        proto, tree = found.messages_list[0], found.message_object_trees[0]
        run_id = proto.metadata.run_id
        await self._know(run_id)
        contents = {each.object_id: await self._object(run_id, each.object_id) for each in iterate_object_tree(tree)}
        await self._say(
            "confirm-message-received",
            message_pb2.ConfirmMessageReceivedRequest(node=self._node, run_id=run_id, message_object_id=tree.object_id),
            message_pb2.ConfirmMessageReceivedResponse,
        )
        asked_of = inflate_object_from_contents(tree.object_id, contents)
        assert isinstance(asked_of, Message)
        asked_of.metadata.__dict__["_message_id"] = tree.object_id
        await self._reply(run_id, message_from_proto(proto), asked_of.content)
        self._told.replies += 1

    async def _know(self, run_id: int) -> None:
        """Fetch a run and its app, the first time."""
        if run_id in self._runs:
            return
        found = await self._say(
            "get-run", run_pb2.GetRunRequest(node=self._node, run_id=run_id), run_pb2.GetRunResponse
        )
        fab = fab_pb2.GetFabRequest(node=self._node, hash_str=found.run.fab_hash, run_id=run_id)
        await self._say("get-fab", fab, fab_pb2.GetFabResponse)
        self._runs.add(run_id)

    async def _object(self, run_id: int, object_id: str) -> bytes:
        """An object of a message, once it is there."""
        asked = message_pb2.PullObjectRequest(node=self._node, run_id=run_id, object_id=object_id)
        while True:
            found = await self._say("pull-object", asked, message_pb2.PullObjectResponse)
            if found.object_available:
                return bytes(found.object_content)
            if not found.object_found:
                raise RuntimeError(f"object {object_id} is gone")
            await asyncio.sleep(0.05)

    async def _reply(self, run_id: int, asked: Message, content: RecordDict) -> None:
        # Flower's constructors read it, and nothing else runs before the next await.
        act_as(run_id, self._node.node_id, 1)
        reply = Message(self._answer(content), reply_to=asked)
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            tree, objects = get_object_tree(reply), get_all_nested_objects(reply)
            deflated = {name: each.deflate() for name, each in objects.items()}
        pushed = await self._say(
            "push-messages",
            fleet_pb2.PushMessagesRequest(
                node=self._node,
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[tree],
                clientapp_runtime_list=[0.01],
            ),
            fleet_pb2.PushMessagesResponse,
        )
        wanted = set(pushed.objects_to_push)
        for name, data in deflated.items():
            if name in wanted:
                stored = await self._say(
                    "push-object",
                    message_pb2.PushObjectRequest(
                        node=self._node,
                        run_id=run_id,
                        object_id=name,
                        object_content=data,
                        session_id=pushed.session_id,
                    ),
                    message_pb2.PushObjectResponse,
                )
                if not stored.stored:
                    self._told.failed["an object was not stored"] += 1

    def _answer(self, content: RecordDict) -> RecordDict:
        """What a trained device would send: arrays of its own, counts, and which round it answers."""
        config = content.config_records[CONFIG]
        if self._arrays is None:
            size = int(np.prod(content.array_records[ARRAYS][PACKED].shape))
            values = np.random.default_rng(self._number).normal(0.0, 0.02, size).astype(np.float32)
            self._arrays = ArrayRecord({PACKED: Array(values)})
        about = {name: config[name] for name in (RUN, ATTEMPT, BASE, SERVER_ROUND)}
        return RecordDict(
            {
                ABOUT: ConfigRecord(about),
                METRICS: MetricRecord({NUM_EXAMPLES: 16, "train_loss": 1.0 + self._number / 1e6}),
                ARRAYS: self._arrays,
            }
        )

    async def _beat(self) -> None:
        asked = heartbeat_pb2.SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        while True:
            await self._say("send-node-heartbeat", asked, heartbeat_pb2.SendNodeHeartbeatResponse)
            await asyncio.sleep(HEARTBEAT_DEFAULT_INTERVAL * random.uniform(*_BEATS))

    async def _say(self, what: str, request: Proto, kind: type[P]) -> P:
        """One request, signed, and again where the server is away."""
        content = request.SerializeToString(deterministic=True)
        while True:
            self._told.requests[what] += 1
            try:
                answer = await self._pool.request(
                    "POST",
                    f"{self._base}/v1/fleet/{what}",
                    headers=[*self._headers, *self._signed(), ("content-length", str(len(content)))],
                    content=content,
                    extensions={"timeout": _ANSWER_S},
                )
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
                self._told.failed[f"{what}: {type(error).__name__}"] += 1
                await asyncio.sleep(_AGAIN_S)
                continue
            if answer.status in _AWAY:
                self._told.failed[f"{what}: status {answer.status}"] += 1
                await asyncio.sleep(_AGAIN_S)
                continue
            if answer.status != 200:
                raise RuntimeError(f"{what}: status {answer.status}: {answer.content[:200]!r}")
            return kind.FromString(answer.content)

    def _signed(self) -> Sequence[tuple[str, str]]:
        moment = now().isoformat()
        return (
            (FLEET_HTTP_PUBLIC_KEY_HEADER, b64encode(self._public).decode()),
            (TIMESTAMP_HEADER, moment),
            (FLEET_HTTP_SIGNATURE_HEADER, b64encode(sign_message(self._key, moment.encode("ascii"))).decode()),
        )


@asynccontextmanager
async def alive(devices: Sequence[LightDevice], told: Told) -> AsyncIterator[None]:
    """Devices live meanwhile; one that fails begins again, as its SuperNode would be started again."""

    async def lasting(device: LightDevice, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while True:
            try:
                await device.live()
            except Exception as error:  # noqa: BLE001 - counted, and told at the end
                told.failed[str(error)[:120]] += 1
                await asyncio.sleep(_AGAIN_S)

    # Not all in one instant.
    tasks = [asyncio.create_task(lasting(device, number / 50)) for number, device in enumerate(devices)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
