"""Takes Flower's tasks from the device's own SuperNode and answers them in this process.

Flower's SuperNode in its isolation mode ``process`` leaves the running of apps to a process beside it. Flower's own
one, the SuperExec, starts a program for every message, which unpacks the app that the server sent and imports it.
This one answers with what is installed on the device: a message costs milliseconds instead of a process, and no code
that a server sends ever runs here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flwr.app import Context, Error, Message

from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.client.flower_compat.tasks import TASK_ERRORS, Task, TaskClient, TaskQueue
from fedaffect.edge.errors import FedAffectError

logger = logging.getLogger(__name__)

Answer = Callable[[Message, Context], Message]

# Where the SuperNode does not hold the request for a task until there is one, as ours does.
_BUSY_S, _IDLE_S = 0.05, 0.5
_HELD_S: Final = 0.5
_AWAKE_S: Final = 60.0
# Flower gives a task up after twice its interval of 30 s.
_HEARTBEAT_S: Final = 15.0


class Executor:
    """Answers a SuperNode's tasks: their messages are waited for side by side, and answered one after the other.

    Parameters
    ----------
    queue : TaskQueue
        Of the SuperNode; closed at the end.
    answer : callable
        What answers messages.
    """

    def __init__(self, queue: TaskQueue, answer: Answer) -> None:
        self._queue = queue
        self._answer = answer
        self._answering = threading.Lock()

    def run(self) -> None:
        """Work until the process ends; a SuperNode that is away is waited for."""
        busy = time.monotonic()
        try:
            while True:
                asked = time.monotonic()
                if (client := self._acquired()) is not None:
                    threading.Thread(target=self._execute, args=(client,), name="task", daemon=True).start()
                    busy = time.monotonic()
                elif time.monotonic() - asked < _HELD_S:
                    awake = time.monotonic() - busy < _AWAKE_S
                    time.sleep(_BUSY_S if awake else _IDLE_S)
        finally:
            self._queue.close()

    def _acquired(self) -> TaskClient | None:
        try:
            return self._queue.acquire()
        except TASK_ERRORS as error:
            # The SuperNode is starting, or was killed and starts again.
            logger.debug("no task: %s", error)
            return None

    def _execute(self, client: TaskClient) -> None:
        """One task, from its message to its reply."""
        over = threading.Event()
        threading.Thread(target=_beat, args=(client, over), name="heartbeat", daemon=True).start()
        try:
            task = client.pull()
            with self._answering:
                task.act_as_its_node()
                reply, failure = self._answered(task)
                client.push(task, reply, failure)
        except TASK_ERRORS as error:
            # The server asks again where it still wants an answer.
            logger.warning("a task could not be finished: %s", error)
        finally:
            over.set()
            client.close()

    def _answered(self, task: Task) -> tuple[Message, str]:
        try:
            return self._answer(task.message, task.context), ""
        except (FedAffectError, ValueError, RuntimeError, KeyError, TypeError, OSError) as error:
            logger.exception("a %s message could not be answered", task.message.metadata.message_type)
            # Where files lie names the user to the server.
            failure = f"{type(error).__name__}: {error}".replace(str(Path.home()), "~")
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, failure), reply_to=task.message), failure


def _beat(client: TaskClient, over: threading.Event) -> None:
    """Send heartbeats; Flower's own sender would end this process where its run is over."""
    while not over.wait(_HEARTBEAT_S):
        try:
            client.heartbeat()
        except TASK_ERRORS as error:
            logger.debug("a heartbeat was not taken: %s", error)
