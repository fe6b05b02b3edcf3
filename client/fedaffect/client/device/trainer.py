"""The resident trainer of a device: one process that keeps torch, the model and the examples warm.

Messages come over a Unix socket in a private folder, one at a time. The process ends with the one that started it.
"""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flwr.app import Context, Message
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ContextProto
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.supercore.task_identity import TaskIdentity

from fedaffect.client.device.frames import receive_frame, send_frames
from fedaffect.client.device.handover import ANSWERED, RAISED
from fedaffect.edge.errors import FedAffectError, RunError

logger = logging.getLogger(__name__)

Answer = Callable[[Message, Context], Message]

# struct ucred of socket(7): process, user, group.
_CREDENTIALS: Final = struct.Struct("3i")


class Trainer(socketserver.ThreadingUnixStreamServer):
    """Answers messages at a socket until it is shut down.

    Parameters
    ----------
    path : Path
        Where the socket is made; its folder becomes private to the user.
    answer : callable
        Called with one message at a time.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, path: Path, answer: Answer) -> None:
        self._answer = answer
        # Seeds and the resident model are one process's: two messages at once would mix them.
        self.one_at_a_time = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        # Left behind by a trainer that was killed. Whoever still serves there loses new messages, not those it has.
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        except OSError as error:
            raise RunError(f"no socket can be made at {path} ({error.strerror}); is the path too long?") from error
        finally:
            os.umask(before)

    def answer_one(self, message: Message, context: Context) -> Message:
        """Answer a message when no other is being answered."""
        with self.one_at_a_time:
            # The reply takes its sender from here; Flower sets it in the processes that it starts itself.
            TaskIdentity.run_id, TaskIdentity.node_id = context.run_id, context.node_id
            TaskIdentity.task_id = 0
            return self._answer(message, context)


class _Handler(socketserver.BaseRequestHandler):
    server: Trainer
    request: socket.socket

    def handle(self) -> None:
        if _user_of(self.request) != os.getuid():
            logger.warning("somebody else than this device's user spoke to its trainer, and was not answered")
            return
        try:
            message = message_from_proto(MessageProto.FromString(receive_frame(self.request)))
            context = context_from_proto(ContextProto.FromString(receive_frame(self.request)))
        except FedAffectError as error:
            logger.warning("%s", error)
            return
        try:
            reply = self.server.answer_one(message, context)
        except (FedAffectError, ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
            logger.exception("a %s message could not be answered", message.metadata.message_type)
            send_frames(self.request, RAISED, f"{type(error).__name__}: {error}".encode())
            return
        send_frames(
            self.request,
            ANSWERED,
            message_to_proto(reply).SerializeToString(),
            context_to_proto(context).SerializeToString(),
        )


def _user_of(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return int(user)
