"""The edge's answer, or the cloud's where the edge is unsure: never an error of the cloud's, never later than asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from time import perf_counter
from typing import Final

import numpy as np

from fedaffect.edge.bundle import Calibration
from fedaffect.edge.cloud.client import PREDICT_DEADLINE_MS, CloudClient
from fedaffect.edge.cloud.errors import CloudRefused, CloudTimeout
from fedaffect.edge.errors import ConfigError, DataError, unknown_name
from fedaffect.edge.offload import PRIVACIES, OffloadPolicy, Reason
from fedaffect.edge.offload.pooling import pool
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.runtime.local import shares_of
from fedaffect.edge.runtime.question import Question

# Kept back for the way from here to the app.
_RETURN_MS: Final = 2.0
# Calls that may be under way; a cloud that hangs keeps each until its deadline.
_CALLS: Final = 8
# A cloud that hangs, or a network that swallows what is sent, soon shows as round trips that no deadline leaves time
# for. Of the other reasons to stay here, none says that the cloud was wanted and out of reach; the budget least of
# all, which whoever asks later would overdraw.
_OUT_OF_REACH: Final = (Reason.CIRCUIT_OPEN, Reason.DEADLINE)


@dataclass(frozen=True, slots=True)
class Decided:
    """What the app gets, and what was left undone.

    Parameters
    ----------
    prediction : Prediction
    missed : bool
        Whether the cloud was wanted and could not answer, so that the same question may be worth asking later.
    """

    prediction: Prediction
    missed: bool = False


class Cascade:
    """Asks the cloud where the policy says so, and falls back to the device's own answer.

    Parameters
    ----------
    cloud : CloudClient, optional
        None where there is none.
    policy : OffloadPolicy, optional
        Decides, by thresholds of its own. Without one, those of the bundle that answers count.
    privacy : {"raw", "features", "never"}
        What may leave the device.
    """

    def __init__(self, cloud: CloudClient | None, policy: OffloadPolicy | None, privacy: str) -> None:
        if privacy not in PRIVACIES:
            raise unknown_name("privacy", privacy, PRIVACIES)
        self.cloud = cloud
        self.policy = policy if policy is not None else OffloadPolicy()
        self._by_bundle = policy is None
        self.privacy = privacy
        self._free = BoundedSemaphore(_CALLS)

    def decide(
        self,
        mine: Prediction,
        question: Question,
        started_s: float,
        deadline_ms: float | None,
        calibration: Calibration,
    ) -> Decided:
        """The answer that the app gets.

        Parameters
        ----------
        mine : Prediction
            The device's; its offload reason is not decided yet.
        question : Question
            What the cloud would be asked with.
        started_s : float
            On ``time.perf_counter``, when the app asked.
        deadline_ms : float, optional
            From then on; at most ten seconds are waited where there is none.
        calibration : Calibration
            Of the bundle that answered.
        """
        left_ms = _left_ms(started_s, deadline_ms)
        size = question.size_bytes(self.privacy)
        decision = self.policy.decide(
            mine.confidence,
            modalities=mine.modalities,
            request_bytes=size,
            deadline_left_ms=left_ms,
            privacy=self.privacy,
            cloud=self.cloud is not None,
            threshold=calibration.threshold(mine.modalities) if self._by_bundle else None,
        )
        if not decision.offload or self.cloud is None:
            notes = mine.notes
            if deadline_ms is not None and _since_ms(started_s) > deadline_ms:
                notes = (*notes, f"the device itself took longer than the {deadline_ms:g} ms allowed")
            here = replace(mine, offload_reason=str(decision.reason), notes=notes)
            return Decided(here, missed=decision.reason in _OUT_OF_REACH)
        try:
            theirs = self._ask(self.cloud, question, size, left_ms)
        # Whatever goes wrong on the way to the cloud, the app has an answer: this device's own.
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split()) or type(error).__name__
            notes = (*mine.notes, f"the cloud was asked and did not answer: {reason}")
            here = replace(
                mine, offload_reason=str(Reason.CLOUD_FAILED), notes=notes, latency_ms=_latency_ms(mine, started_s)
            )
            return Decided(here, missed=not _own_fault(error))
        heard = theirs.transcript is not None
        return Decided(
            replace(
                pooled(mine, theirs, self.policy.config.cloud_share),
                source="cloud",
                offload_reason=str(decision.reason),
                latency_ms=_latency_ms(mine, started_s),
                notes=(*mine.notes, *theirs.notes),
                transcript=theirs.transcript if heard else mine.transcript,
                transcription_ms=theirs.transcription_ms if heard else mine.transcription_ms,
                request_id=question.request_id,
            )
        )

    def instead(self, unusable: DataError, question: Question, started_s: float, deadline_ms: float | None) -> Decided:
        """The cloud's answer to what the device can use nothing of: its encoders may do what the device's cannot.

        Only raw media can help here, as there are no features; deadline, budget and circuit count as ever.

        Parameters
        ----------
        unusable : DataError
            Why the device has no answer.
        question, started_s, deadline_ms
            As for `decide`.

        Raises
        ------
        DataError
            ``unusable``, where the cloud is not asked or does not answer.
        """
        if self.cloud is None or self.privacy != "raw" or not question.sample.modalities:
            raise unusable
        left_ms = _left_ms(started_s, deadline_ms)
        size = question.size_bytes(self.privacy)
        decision = self.policy.decide(
            None,
            modalities=question.sample.modalities,
            request_bytes=size,
            deadline_left_ms=left_ms,
            privacy=self.privacy,
        )
        if not decision.offload:
            raise unusable
        try:
            theirs = self._ask(self.cloud, question, size, left_ms)
        except Exception as error:
            raise unusable from error
        return Decided(
            replace(
                theirs,
                source="cloud",
                offload_reason=str(decision.reason),
                latency_ms=_since_ms(started_s) - (theirs.transcription_ms or 0.0),
                notes=(f"nothing of it could be used on this device: {unusable}", *theirs.notes),
                request_id=question.request_id,
            )
        )

    def close(self) -> None:
        """Close the way to the cloud."""
        if self.cloud is not None:
            self.cloud.close()

    def _ask(self, cloud: CloudClient, question: Question, size: int, left_ms: float | None) -> Prediction:
        """Ask, and tell the policy how it went.

        Raises
        ------
        Exception
            Whatever the client raises, or `CloudTimeout`.
        """
        asked_s = perf_counter()
        try:
            usual_ms = PREDICT_DEADLINE_MS * max(1, len(question.windows))
            theirs = self._answer(cloud, question, usual_ms if left_ms is None else left_ms)
        except Exception as error:
            self._report(error, _since_ms(asked_s))
            raise
        self.policy.succeeded(_since_ms(asked_s), size)
        return theirs

    def _answer(self, cloud: CloudClient, question: Question, within_ms: float) -> Prediction:
        """Ask on a thread of its own, so that a client which overstays its deadline keeps nobody waiting.

        Raises
        ------
        CloudTimeout
            If there is no answer in time.
        Exception
            Whatever the client raises.
        """
        if not self._free.acquire(blocking=False):
            raise CloudTimeout(f"{_CALLS} calls are still under way; wait for them, or raise their deadlines")
        answers: SimpleQueue[Prediction | Exception] = SimpleQueue()

        def call() -> None:
            try:
                answers.put(question.ask(cloud, self.privacy, within_ms))
            # Carried over to the thread that waits, or dropped where it no longer does.
            except Exception as error:  # noqa: BLE001
                answers.put(error)
            finally:
                self._free.release()

        Thread(target=call, name="fedaffect-cloud", daemon=True).start()
        try:
            answer = answers.get(timeout=max(0.0, within_ms) / 1000)
        except Empty:
            raise CloudTimeout(f"no answer within {within_ms:.0f} ms; give a later deadline") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _report(self, error: Exception, waited_ms: float) -> None:
        match error:
            case CloudTimeout():
                self.policy.failed(waited_ms)
            case CloudRefused() | DataError():
                # The request's own fault says nothing of the cloud's health.
                self.policy.abandoned()
            case _:
                self.policy.failed()


def pooled(mine: Prediction, theirs: Prediction, cloud_share: float) -> Prediction:
    """The cloud's answer with the device's own taken into account, where both tell the same emotions apart.

    Parameters
    ----------
    mine, theirs : Prediction
        The device's and the cloud's.
    cloud_share : float
        As of `fedaffect.edge.calibration.pool`.
    """
    labels = tuple(theirs.probabilities)
    if {*labels} != {*mine.probabilities}:
        return theirs
    edge, cloud = (np.array([each.probabilities[label] for label in labels]) for each in (mine, theirs))
    return replace(theirs, **shares_of(labels, pool(edge, cloud, cloud_share)))


def _own_fault(error: Exception) -> bool:
    """Whether the same question would fare no better later."""
    return isinstance(error, DataError | ConfigError) or (isinstance(error, CloudRefused) and error.for_good)


def _left_ms(started_s: float, deadline_ms: float | None) -> float | None:
    return None if deadline_ms is None else deadline_ms - _RETURN_MS - _since_ms(started_s)


def _since_ms(start_s: float) -> float:
    return (perf_counter() - start_s) * 1000


def _latency_ms(mine: Prediction, started_s: float) -> float:
    return _since_ms(started_s) - (mine.transcription_ms or 0.0)
