"""The resident trainer's program: answers messages with this device's examples, when the device may learn.

python -m fedaffect.client.device.resident DEVICE_FOLDER
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Final, cast

from flwr.app import ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict

from fedaffect.client.device.budget import DeviceBudget
from fedaffect.client.device.credentials import DeviceCredentials
from fedaffect.client.device.errors import MisfitError
from fedaffect.client.device.executor import Executor
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import Surroundings, refusal
from fedaffect.client.device.ports import runtime_port
from fedaffect.client.device.shared import Shared, note_shared
from fedaffect.client.device.states import DeviceStates
from fedaffect.client.device.sum_memory import SumMemory
from fedaffect.client.device.training_data import training_data_of
from fedaffect.client.flower_compat.tasks import TaskQueue
from fedaffect.client.flower_messages import TrainingData, answer_message
from fedaffect.client.privacy.ledger import BudgetError
from fedaffect.client.secagg.answering import MEMORY, STAGE, session_of
from fedaffect.client.secagg.protocol import MASKED, SHARES, UNMASK
from fedaffect.client.secagg.signed_keys import NotSignedError
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.wire import CONFIG, MASKING, METRICS, REFUSED, RUN, SECAGG, SERVER_ROUND, TRACE
from fedaffect.client.wire import MASKED as MASKED_RECORD
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system import tracing
from fedaffect.edge.system.files import read_private
from fedaffect.edge.system.processes import end_with_parent, stop_on_signals

logger = logging.getLogger(__name__)

_FORGET_EVERY_S = 60.0
# What of an answer is about examples, by the type of its message.
_SHARED: Final = {MessageType.TRAIN: "update", MessageType.EVALUATE: "figures"}


class DeviceAnswers:
    """Answers to Flower's messages, under the device's rules.

    Settings are read again for each message, so that consent that is taken back counts at once.

    Parameters
    ----------
    folder : DeviceFolder
    surroundings : callable, optional
        Asks the machine.
    now : callable, optional
        Local time.
    """

    def __init__(
        self,
        folder: DeviceFolder,
        surroundings: Callable[[], Surroundings] | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._folder = folder
        self._surroundings = surroundings or (lambda: Surroundings.now(cores=os.cpu_count() or 1))
        self._now = now
        self._states = DeviceStates(folder.states)
        self._sums = SumMemory(folder.sums)
        self._budget = DeviceBudget(folder)
        self._credentials = DeviceCredentials(folder)
        # Seeds and the resident model are one process's: two messages at once would mix them.
        self._one_at_a_time = threading.Lock()

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer one message; an error reply with code ``REFUSED`` where the device does not learn now."""
        with self._one_at_a_time, _traced(message):
            return self._reply(message, context)

    def forget(self) -> None:
        """Drop secrets of secure sums that nobody continues."""
        with self._one_at_a_time:
            self._sums.expire()

    def _reply(self, message: Message, context: Context) -> Message:
        settings = self._folder.settings
        asked = message.content.config_records.get(CONFIG, ConfigRecord())
        would_train = message.metadata.message_type == MessageType.QUERY and RUN in asked
        if message.metadata.message_type == MessageType.QUERY and not would_train:
            return answer_message(message, context)
        # Consent first: without it the examples are not even looked at.
        if not settings.consent:
            return _refused(message, self._refusal(settings, 0))
        stage = _stage(message)
        # What a server says it will do counts for the question alone, to which the answer is yes or no.
        masked = bool(stage) or (would_train and bool(asked.get(MASKING, False)))
        if settings.only_secagg and not masked and message.metadata.message_type != MessageType.EVALUATE:
            return _refused(message, "this device trains only for masked sums; run the fleet with --secagg")
        if stage in (SHARES, UNMASK):
            # Nothing is learned there, and at the first stage this device agreed to the round.
            try:
                return self._answered(message, context, None)
            except NotSignedError as error:
                return _refused(message, str(error))
        try:
            data, count = training_data_of(settings)
            if count is None:
                count = _rows(data, message, context)
            # Between two stages a device that agreed does not think better of it: others' sums would suffer.
            reason = None if stage == MASKED else self._refusal(settings, count)
            if reason is not None:
                return _refused(message, reason)
            if would_train:
                task, place = data.opened(asked, context)
                self._budget.require_room(task, place, TrainConfig.from_record(asked))
                # Not how many examples it has.
                return Message(RecordDict({METRICS: MetricRecord({"ready": 1})}), reply_to=message)
            return self._answered(message, context, data)
        except (BudgetError, MisfitError) as error:
            # Before anything was trained: a refusal, not a failure.
            return _refused(message, str(error))

    def _refusal(self, settings: DeviceSettings, examples: int) -> str | None:
        return refusal(
            settings.rules,
            consent=settings.consent,
            examples=examples,
            surroundings=self._surroundings(),
            moment=self._now(),
        )

    def _answered(self, message: Message, context: Context, data: TrainingData | None) -> Message:
        run = str(cast(ConfigRecord, message.content[CONFIG]).get(RUN, ""))
        if run and (kept := self._states.load(run)) is not None:
            context.state = kept
        protocol = message.content.config_records.get(SECAGG)
        # Not what Flower's node has of it, which may be older than what has left.
        context.state.pop(SECAGG, None)
        if protocol is not None and (memory := self._sums.load(session_of(protocol).run)) is not None:
            context.state[SECAGG] = ConfigRecord({MEMORY: memory})
        try:
            reply = answer_message(message, context, data, self._budget, self._credentials)
        finally:
            record = context.state.pop(SECAGG, None)
        if record is not None and protocol is not None:
            self._sums.save(session_of(protocol).run, cast(bytes, cast(ConfigRecord, record)[MEMORY]))
        if run and context.state:
            self._states.save(run, context.state)
        self._note(message, reply, run)
        return reply

    def _note(self, message: Message, reply: Message, run: str) -> None:
        """Write down for the user that something learned of the examples left."""
        what = _SHARED.get(message.metadata.message_type)
        if what is None or reply.has_error():
            return
        held = reply.content
        masked = MASKED_RECORD in held.array_records
        if masked or held.metric_records:
            config = cast(ConfigRecord, message.content[CONFIG])
            noisy = TrainConfig.from_record(config).privacy is not None
            number = int(cast(int, config.get(SERVER_ROUND, 0)))
            note_shared(self._folder.shared_path, Shared(time.time(), what, run, number, masked, noisy))


def _traced(message: Message) -> AbstractContextManager[object]:
    """A span below the round's, where this device writes traces."""
    if not tracing.is_on():
        return nullcontext()
    asked = message.content.config_records.get(CONFIG, ConfigRecord())
    tracing.arrived(str(asked.get(TRACE, "")))
    run, number = str(asked.get(RUN, "")), int(cast(int, asked.get(SERVER_ROUND, 0)))
    stage = f" {stage}" if (stage := _stage(message)) else ""
    return tracing.span(f"{message.metadata.message_type.split('.')[0]}{stage}", run=run, round=number)


def _stage(message: Message) -> str:
    """Of a secure sum; empty where a message is of none."""
    protocol = message.content.config_records.get(SECAGG)
    return "" if protocol is None else str(protocol.get(STAGE, ""))


def _rows(data: TrainingData, message: Message, context: Context) -> int:
    task, client = data.opened(cast(ConfigRecord, message.content[CONFIG]), context)
    return len(task.cohort.rows_of(client))


def _refused(message: Message, reason: str | None) -> Message:
    logger.info("refused this round: %s", reason)
    return Message(Error(REFUSED, reason or "it does not learn now"), reply_to=message)


def _forget_in_time(answers: DeviceAnswers) -> None:
    while True:
        try:
            answers.forget()
        except (FedAffectError, OSError) as error:
            logger.warning("secrets of a secure sum could not be dropped yet: %s", error)
        time.sleep(_FORGET_EVERY_S)


def main(folder: DeviceFolder) -> None:
    """Answer this device's SuperNode until told to stop."""
    # A handler must not wait for the loop that it interrupts.
    stop_on_signals(lambda: os._exit(0))
    answers = DeviceAnswers(folder)
    threading.Thread(target=_forget_in_time, args=(answers,), name="secrets", daemon=True).start()
    tracing.write_traces("fedaffect-device")
    queue = TaskQueue(f"127.0.0.1:{runtime_port()}", read_private(folder.secret_path))
    Executor(queue, answers).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    # A line for every look at the SuperNode would be ten a second.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    end_with_parent()
    try:
        main(DeviceFolder(Path(sys.argv[1])))
    except FedAffectError as error:
        logger.error("%s", error)
        raise SystemExit(2) from error
