"""The edge's answer, or the cloud's where the edge is unsure: never an error of the cloud's, never later than asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from edge_runtime.cloud.client import PREDICT_DEADLINE_MS, CloudClient
from edge_runtime.cloud.errors import CloudRefused, CloudTimeout
from edge_runtime.errors import DataError, unknown_name
from edge_runtime.media.source import describe
from edge_runtime.offload import PRIVACIES, OffloadPolicy, Reason
from edge_runtime.prediction import Prediction
from edge_runtime.sample import Frames, Sample, Waveform, ZipMember

# Kept back for the way from here to the app.
_RETURN_MS: Final = 2.0
# Calls that may be under way; a cloud that hangs keeps each until its deadline.
_CALLS: Final = 8
# What packing makes of decoded media, in bytes: FLAC a sample, JPEG a pixel.
_FLAC_BYTES: Final = 1.2
_JPEG_BYTES: Final = 0.25


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """What the device itself says, and what the cloud would be asked with.

    Parameters
    ----------
    prediction : Prediction
        The device's; its offload reason is not settled yet.
    sample : Sample
        Media and words of the modalities that were usable.
    tokens : mapping of str to float32 array, shape (T, W)
        What the encoders made of them.
    encoder_keys : mapping of str to str
        By modality.
    transcribe : bool
        Whether the cloud shall find the words in the sound.
    """

    prediction: Prediction
    sample: Sample
    tokens: Mapping[str, NDArray[np.float32]]
    encoder_keys: Mapping[str, str] = field(default_factory=dict)
    transcribe: bool = False


class Cascade:
    """Asks the cloud where the policy says so, and falls back to the device's own answer.

    Parameters
    ----------
    cloud : CloudClient, optional
        None where there is none.
    policy : OffloadPolicy
        Decides.
    privacy : {"raw", "features", "never"}
        What may leave the device.
    """

    def __init__(self, cloud: CloudClient | None, policy: OffloadPolicy, privacy: str) -> None:
        if privacy not in PRIVACIES:
            raise unknown_name("privacy", privacy, PRIVACIES)
        self.cloud = cloud
        self.policy = policy
        self.privacy = privacy
        self._free = BoundedSemaphore(_CALLS)

    def settle(self, local: LocalAnswer, started_s: float, deadline_ms: float | None) -> Prediction:
        """The answer that the app gets.

        Parameters
        ----------
        local : LocalAnswer
            The device's.
        started_s : float
            On ``time.perf_counter``, when the app asked.
        deadline_ms : float, optional
            From then on; at most ten seconds are waited where there is none.
        """
        mine = local.prediction
        left_ms = None if deadline_ms is None else deadline_ms - _RETURN_MS - _since_ms(started_s)
        size = request_bytes(local, self.privacy)
        decision = self.policy.decide(
            mine.confidence,
            modalities=mine.modalities,
            request_bytes=size,
            deadline_left_ms=left_ms,
            privacy=self.privacy,
            cloud=self.cloud is not None,
        )
        if not decision.offload or self.cloud is None:
            notes = mine.notes
            if deadline_ms is not None and _since_ms(started_s) > deadline_ms:
                notes = (*notes, f"the device itself took longer than the {deadline_ms:g} ms allowed")
            return replace(mine, offload_reason=str(decision.reason), notes=notes)
        asked_s = perf_counter()
        try:
            theirs = self._ask(self.cloud, local, PREDICT_DEADLINE_MS if left_ms is None else left_ms)
        # Whatever goes wrong on the way to the cloud, the app has an answer: this device's own.
        except Exception as error:  # noqa: BLE001
            self._report(error, _since_ms(asked_s))
            reason = " ".join(str(error).split()) or type(error).__name__
            notes = (*mine.notes, f"the cloud was asked and did not answer: {reason}")
            return replace(
                mine, offload_reason=str(Reason.CLOUD_FAILED), notes=notes, latency_ms=_latency_ms(mine, started_s)
            )
        self.policy.succeeded(_since_ms(asked_s), size)
        return replace(
            theirs,
            source="cloud",
            offload_reason=str(Reason.UNSURE),
            latency_ms=_latency_ms(mine, started_s),
            notes=(*mine.notes, *theirs.notes),
            transcript=theirs.transcript if theirs.transcript is not None else mine.transcript,
            transcription_ms=theirs.transcription_ms if theirs.transcript is not None else mine.transcription_ms,
        )

    def close(self) -> None:
        """Close the way to the cloud."""
        if self.cloud is not None:
            self.cloud.close()

    def _ask(self, cloud: CloudClient, local: LocalAnswer, within_ms: float) -> Prediction:
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
                answers.put(_call(cloud, local, self.privacy, within_ms))
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


def request_bytes(local: LocalAnswer, privacy: str) -> int:
    """About how much asking would send: features as float16, files as they are, decoded media packed."""
    match privacy:
        case "raw":
            sample = local.sample
            words = 0 if sample.text is None else len(sample.text)
            return words + sum(_stored_bytes(source) for source in (sample.audio, sample.video))
        case "features":
            return sum(2 * tokens.size for tokens in local.tokens.values())
        case _:
            return 0


def _stored_bytes(source: Any) -> int:
    match source:
        case None:
            return 0
        case Waveform(samples=samples):
            return int(_FLAC_BYTES * len(samples))
        case Frames(images=images):
            return int(_JPEG_BYTES * images.size / 3)
        case bytes():
            return len(source)
        case ZipMember():
            return len(source.read())
        case _:
            try:
                return int(source.stat().st_size)
            except OSError as error:
                raise DataError(f"{describe(source)} cannot be read ({error.strerror}); check the path") from error


def _call(cloud: CloudClient, local: LocalAnswer, privacy: str, within_ms: float) -> Prediction:
    request_id = uuid4().hex
    if privacy == "raw":
        return cloud.predict(local.sample, request_id=request_id, deadline_ms=within_ms, transcribe=local.transcribe)
    # Half precision is what travels, and what lies beyond it would arrive as infinity.
    limit = float(np.finfo(np.float16).max)
    return cloud.predict(
        None,
        request_id=request_id,
        features={modality: np.clip(tokens, -limit, limit) for modality, tokens in local.tokens.items()},
        encoder_keys=local.encoder_keys,
        bundle_version=local.prediction.model_version,
        deadline_ms=within_ms,
    )


def _since_ms(start_s: float) -> float:
    return (perf_counter() - start_s) * 1000


def _latency_ms(mine: Prediction, started_s: float) -> float:
    return _since_ms(started_s) - (mine.transcription_ms or 0.0)
