"""What a runtime remembers of its predictions: examples to learn from, and what the cloud is still to be told."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from numpy.typing import NDArray

from fedaffect.edge.cloud.messages import feedback_request
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.upload import audio_bytes, video_bytes
from fedaffect.edge.errors import ConfigError, DataError, unknown_name
from fedaffect.edge.labels import VOCABULARY
from fedaffect.edge.offload.config import PRIVACIES
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample
from fedaffect.edge.store.database import Database, StoreError, default_path
from fedaffect.edge.store.examples import Example, ExampleStore, Retention
from fedaffect.edge.store.queue import Kind, Queue, QueueFull, QueueLimits
from fedaffect.edge.store.steady_clock import steady_s

# What another process that writes may add to a prediction, beyond the app's deadline; then the example is let go.
_BUSY_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a feedback.

    Parameters
    ----------
    labelled : bool
        Whether an example of that request is kept here and has the label now.
    queued : tuple of Kind
        What waits for the cloud because of it.
    notes : tuple of str
        What the caller should know.
    """

    labelled: bool
    queued: tuple[Kind, ...] = ()
    notes: tuple[str, ...] = ()


class Journal:
    """The device's file as a runtime uses it; everything in it is off until asked for.

    Safe to use from several threads, and beside other processes. The file is opened when it is first needed, and again
    where that failed, so that a disk that cannot be written costs a runtime its memory but never its answers.

    Parameters
    ----------
    path : Path, optional
        The file; ``default_path()`` where left out.
    keep_examples : bool
        Keep the features of every prediction, to be labelled by feedback and learned from.
    keep_media : bool
        Keep its media and words beside them. Only if the user asked for it.
    upload_examples : bool
        Let the features of an example travel with feedback that the user consents to.
    defer_predictions : bool
        Where the cloud was wanted and out of reach, let the question wait for it.
    stream_stride_s : float, optional
        Keep a window of a stream every so many seconds; none where left out. Windows overlap by five sixths and come
        twice a second: kept each, they would be one moment many times over, and push all else out of the store.
    retention : Retention, optional
        Of examples.
    limits : QueueLimits, optional
        Of what waits.

    Raises
    ------
    ConfigError
        If what is asked for needs examples and they are not kept.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        keep_examples: bool = False,
        keep_media: bool = False,
        upload_examples: bool = False,
        defer_predictions: bool = False,
        stream_stride_s: float | None = None,
        retention: Retention | None = None,
        limits: QueueLimits | None = None,
    ) -> None:
        if (keep_media or stream_stride_s is not None) and not keep_examples:
            raise ConfigError("media and streams are kept as examples, which are not kept; add keep_examples=True")
        if stream_stride_s is not None and not (math.isfinite(stream_stride_s) and stream_stride_s > 0):
            raise ConfigError(f"a window every {stream_stride_s} s makes no sense; give a positive number of seconds")
        self.path = path or default_path()
        self.keep_examples = keep_examples
        self.keep_media = keep_media
        self.upload_examples = upload_examples
        self.defer_predictions = defer_predictions
        self.stream_stride_s = stream_stride_s
        self._retention = retention or Retention()
        self._limits = limits or QueueLimits()
        self._lock = Lock()
        self._database: Database | None = None
        self._closed = False

    @property
    def queue(self) -> Queue:
        """What waits.

        Raises
        ------
        StoreError
            If the file cannot be opened, or the journal is closed.
        """
        return Queue(self._open(), self._limits)

    @property
    def examples(self) -> ExampleStore:
        """What is kept.

        Raises
        ------
        StoreError
            If the file cannot be opened, or the journal is closed.
        """
        return ExampleStore(self._open(), self._retention, keep_media=self.keep_media)

    def keep(
        self,
        prediction: Prediction,
        features: Mapping[str, NDArray[Any]],
        encoder_keys: Mapping[str, str],
        sample: Sample | None = None,
    ) -> int:
        """Keep what a prediction went by, under its request id.

        Parameters
        ----------
        prediction : Prediction
        features : mapping of str to float array, shape (T, W)
            By modality.
        encoder_keys : mapping of str to str
            Of the encoders that made them.
        sample : Sample, optional
            Its media and words are kept only with ``keep_media``.

        Returns
        -------
        int
            The example's id.

        Raises
        ------
        StoreError
            If it cannot be written; nothing was.
        DataError
            If features are no finite rows, or media cannot be read.
        """
        media = _media(sample) if self.keep_media and sample is not None else None
        return self.examples.add(prediction.request_id, features, encoder_keys, prediction, media)

    def defer(self, request: pb.PredictRequest) -> bool:
        """Let a question wait for the cloud; its answer is an answer to the same request id.

        Returns
        -------
        bool
            False where it waits already.

        Raises
        ------
        StoreError
            If it cannot be written, or the queue is full of what is worth more.
        """
        return self.queue.put(Kind.PREDICTION, request, f"{request.request_id}.{Kind.PREDICTION}")

    def feedback(self, request_id: str, label: str, *, consent: bool = False, privacy: str = "never") -> Receipt:
        """What the user says it really was.

        The example, where one is kept, has the label from now on. Unless ``privacy`` is ``never``, the label waits for
        the cloud, and the example's features with it where the user consents and ``upload_examples`` is on. The last
        word counts: what was said before and still waits is taken back. Said again, it is the same to the cloud, by
        its idempotency key; said otherwise, it is news.

        Parameters
        ----------
        request_id : str
            Of the prediction.
        label : str
            In the vocabulary's words.
        consent : bool
            Whether the user lets the example be learned from.
        privacy : {"raw", "features", "never"}
            What may leave the device.

        Raises
        ------
        ConfigError
            If the label is outside the vocabulary, or the request id cannot be one.
        DataError
            If no such example is kept and nothing may leave the device, so that there is nothing to be done.
        StoreError
            If it cannot be written; nothing was.
        """
        if label not in VOCABULARY:
            raise unknown_name("emotion", label, VOCABULARY)
        if privacy not in PRIVACIES:
            raise unknown_name("privacy", privacy, PRIVACIES)
        examples, queue = self.examples, self.queue
        with self._open().transaction():
            example = examples.find(request_id)
            if example is not None:
                examples.label(request_id, label, consent)
            elif privacy == "never":
                raise DataError(f"there is no example {request_id!r}; see: fedaffect edge examples list")
            queue.withdraw(request_id, Kind.FEEDBACK, Kind.EXAMPLE)
            if privacy == "never":
                return Receipt(labelled=True)
            said: dict[str, Any] = {
                "request_id": request_id,
                "label": label,
                "consent": consent,
                "model_version": example.model_version if example else "",
            }
            revision = self._revision(request_id, label, consent)
            key = f"{request_id}.{Kind.FEEDBACK}.{revision}"
            queue.put(Kind.FEEDBACK, feedback_request(idempotency_key=key, **said), key)
        if example is None:
            return Receipt(False, (Kind.FEEDBACK,), (f"no example of request {request_id} is kept on this device",))
        if not (consent and self.upload_examples):
            return Receipt(True, (Kind.FEEDBACK,))
        return self._upload(example, f"{request_id}.{Kind.EXAMPLE}.{revision}", said)

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        with self._lock:
            self._closed = True
            database = self._database
        # Not under the lock: whoever is in a transaction may be waiting for it.
        if database is not None:
            database.close()

    def _open(self) -> Database:
        with self._lock:
            if self._closed:
                raise StoreError("this journal is closed; open a new one")
            if self._database is None:
                self._database = Database(self.path, busy_ms=_BUSY_MS)
            return self._database

    def _upload(self, example: Example, key: str, said: Mapping[str, Any]) -> Receipt:
        features = self.examples.features(example.id)
        request = feedback_request(idempotency_key=key, features=features, encoder_keys=example.encoder_keys, **said)
        try:
            self.queue.put(Kind.EXAMPLE, request, key)
        except QueueFull as error:
            return Receipt(True, (Kind.FEEDBACK,), (f"the example itself does not travel: {error}",))
        return Receipt(True, (Kind.FEEDBACK, Kind.EXAMPLE))

    def _revision(self, request_id: str, label: str, consent: bool) -> int:
        """How often the user has changed their mind about a request, counted from 1."""
        with self._open().transaction() as connection:
            now = steady_s(connection, time.time)
            connection.execute("DELETE FROM opinions WHERE said_s < ?", (now - self._retention.age_s,))
            last = connection.execute(
                "SELECT label, consent, revision FROM opinions WHERE request_id = ?", (request_id,)
            ).fetchone()
            same = last is not None and (last[0], bool(last[1])) == (label, consent)
            revision = 1 if last is None else int(last[2]) + (not same)
            connection.execute(
                "INSERT OR REPLACE INTO opinions VALUES (?, ?, ?, ?, ?)", (request_id, label, consent, revision, now)
            )
        return revision


def _media(sample: Sample) -> dict[str, bytes]:
    media = {}
    if sample.text is not None:
        media["text"] = sample.text.encode()
    if sample.audio is not None:
        media["audio"] = audio_bytes(sample.audio)
    if sample.video is not None:
        media["video"] = video_bytes(sample.video)
    return media
