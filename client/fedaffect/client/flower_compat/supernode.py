"""Flower's SuperNode: its program, and the patches that a device gives it: three for speed, one for its loop's order.

None is needed for a device to learn; each is left out, with a warning, where Flower no longer has what it replaces.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Final, Protocol

from fedaffect.client.flower_compat.fitting import fits, has_function, module_or_none
from fedaffect.client.flower_compat.object_chunks import wait_less_for_chunks
from fedaffect.client.protocol.long_poll import LongPoll, LongPolling
from fedaffect.client.protocol.notifier import Notifier

_LOOP, _RUNTIME_API = "flwr.supernode.start_client_internal", "flwr.supernode.main"
_PULL: Final = "_pull_and_store_message"
_PUSH: Final = "_push_messages"
_ACQUIRE_TASK, _PUSH_OUTPUT = "/v1/runtime/acquire-task", "/v1/runtime/push-task-output"
# Below the 30 s that the executor waits for an answer.
_TASK_POLL_S: Final = 10.0


class Sleeper(Protocol):
    """Stands in for the ``time`` module in Flower's loop."""

    def sleep(self, seconds: float) -> None:
        """Sleep as long as makes sense now."""


def run_supernode(arguments: Sequence[str]) -> None:
    """Run ``flower-supernode`` in this process until it is told to stop."""
    (program,) = entry_points(group="console_scripts", name="flower-supernode")
    sys.argv = [program.name, *arguments]
    program.load()()


def speed_up(sleeper: Sleeper, answered: threading.Event) -> None:
    """Apply the patches that fit.

    Parameters
    ----------
    sleeper : Sleeper
        Says how long Flower's loop sleeps.
    answered : Event
        Set when the executor has pushed an answer.
    """
    loop = module_or_none(_LOOP)
    # First, for the others hide what Flower's functions take.
    wait_for_own_answer(loop)
    replace_sleep(loop, sleeper)
    hold_task_requests(loop, answered)
    wait_less_for_chunks(loop)


def wait_for_own_answer(loop: ModuleType | None) -> bool:
    """Have Flower's loop wait for the answer to the message that it took last, and send all others that come meanwhile.

    Flower's goes on after any answer. Where a run ends while its message is being taken, the loop takes the next
    message, and sends the late answer to the first as if it were the second's. The second's own then stays until a
    third message comes, and so on: such a device would answer each message only when the next one is there.
    """
    met = has_function(loop, _PULL, ("receive",)) and has_function(loop, _PUSH, ("send",))
    if not fits(met, "after a run that was ended, answers may come a message late") or loop is None:
        return False
    pull, push = getattr(loop, _PULL), getattr(loop, _PUSH)
    asked = [""]

    def pulled(*arguments: Any, receive: Any, **named: Any) -> Any:
        def received() -> Any:
            found = receive()
            if found is not None:
                asked[0] = found[0].metadata.message_id
            return found

        return pull(*arguments, receive=received, **named)

    def pushed(*arguments: Any, send: Any, **named: Any) -> None:
        answered: set[str] = set()

        def sent(reply: Any, *more: Any) -> Any:
            answered.add(reply.metadata.reply_to_message_id)
            return send(reply, *more)

        while asked[0] not in answered:
            push(*arguments, send=sent, **named)

    setattr(loop, _PULL, pulled)
    setattr(loop, _PUSH, pushed)
    return True


def replace_sleep(loop: ModuleType | None, sleeper: Sleeper) -> bool:
    """Have Flower's loop sleep by ``sleeper``, which is told the seconds that Flower would sleep."""
    met = loop is not None and set(re.findall(r"\btime\.(\w+)", inspect.getsource(loop))) == {"sleep"}
    if not fits(met, "messages are looked for every 3 s") or loop is None:
        return False
    loop.time = sleeper  # type: ignore[attr-defined]
    return True


def hold_task_requests(loop: ModuleType | None, answered: threading.Event) -> bool:
    """Have the executor's request for a task wait until the loop has a message, and the loop hear of answers."""
    runtime_api, leaving = module_or_none(_RUNTIME_API), module_or_none("flwr.supercore.exit")
    met = (
        has_function(loop, _PULL)
        and has_function(runtime_api, "create_app")
        and has_function(leaving, "add_exit_handler", ("run_before_force_exit",))
    )
    if not fits(met, "tasks are asked for in intervals") or loop is None or runtime_api is None or leaving is None:
        return False
    tasks = Notifier()
    polls = {_ACQUIRE_TASK: LongPoll(tasks, _TASK_POLL_S)}
    make_app, pull = runtime_api.create_app, getattr(loop, _PULL)

    def create_app(*arguments: Any, **named: Any) -> Any:
        app = make_app(*arguments, **named)
        app.add_middleware(LongPolling, polls=polls, answered={_PUSH_OUTPUT: lambda *_: answered.set()})
        return app

    def pulled(*arguments: Any, **named: Any) -> Any:
        run = pull(*arguments, **named)
        if run is not None:
            # Not before the message is there as a whole.
            tasks.notify()
        return run

    setattr(loop, _PULL, pulled)
    runtime_api.create_app = create_app  # type: ignore[attr-defined]
    leaving.add_exit_handler(tasks.close, run_before_force_exit=True)
    return True
