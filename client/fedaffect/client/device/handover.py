"""The light half of a client: gives a message to the device's resident trainer and takes its answer.

Nothing here may import torch. What travels is Flower's own protobuf of message and context.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path
from typing import Final

from flwr.app import Context, Message
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ContextProto
from flwr.proto.message_pb2 import Message as MessageProto

from fedaffect.client.device.frames import receive_frame, send_frames
from fedaffect.edge.errors import ConfigError, RunError

# Environment variable: the socket of the resident trainer; set by `fedaffect device start`.
TRAINER_SOCKET: Final = "FEDAFFECT_TRAINER"
# First frame of an answer: what follows.
ANSWERED, RAISED = b"answered", b"raised"

# A trainer that was killed is started again, and imports torch, which takes a slow machine this long.
_STARTING_S: Final = 60.0
_PAUSE_S: Final = 0.1


def hand_over(address: str, message: Message, context: Context) -> Message:
    """Have the resident trainer answer a message.

    Parameters
    ----------
    address : str
        Path of the trainer's socket.
    message : Message
    context : Context
        Its state becomes what the trainer left.

    Raises
    ------
    ConfigError
        If the socket is not this user's own.
    RunError
        If no trainer answers there, or it raised; the message says what.
    """
    with _connected(Path(address)) as connection:
        send_frames(
            connection, message_to_proto(message).SerializeToString(), context_to_proto(context).SerializeToString()
        )
        kind = receive_frame(connection)
        if kind == RAISED:
            raise RunError(receive_frame(connection).decode())
        reply = message_from_proto(MessageProto.FromString(receive_frame(connection)))
        left = context_from_proto(ContextProto.FromString(receive_frame(connection)))
    context.state = left.state
    if reply.has_error():
        return Message(reply.error, reply_to=message)
    return Message(reply.content, reply_to=message)


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deadline = time.monotonic() + _STARTING_S
    while True:
        try:
            _require_own(path)
            connection.connect(str(path))
            return connection
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() > deadline:
                connection.close()
                raise RunError(
                    f"no trainer answers at {path} ({error.strerror}); start the device anew: fedaffect device start"
                ) from error
            time.sleep(_PAUSE_S)
        except BaseException:
            connection.close()
            raise


def _require_own(path: Path) -> None:
    """A socket of somebody else's would get the user's examples' gradients to see."""
    found = path.stat()
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(f"{path} is not a private socket of this user's; stop the device and start it anew")
