"""After an answer: what of it is kept, what waits for the cloud, and that it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fedaffect.edge.cloud.client import CloudClient
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.runtime.cascade import Decided
from fedaffect.edge.runtime.question import Question
from fedaffect.edge.store.delivery import Delivery, LateAnswer
from fedaffect.edge.store.journal import Journal, Receipt


class Recorder:
    """Writes into a journal what it is opened for. Whatever goes wrong there becomes a note, never an error.

    Parameters
    ----------
    journal : Journal
        Closed with it.
    cloud : CloudClient, optional
        With one, and unless nothing may leave the device, what waits is delivered in the background.
    privacy : {"raw", "features", "never"}
        What may leave the device.
    on_late_answer : callable, optional
        See `Delivery`.
    """

    def __init__(
        self, journal: Journal, cloud: CloudClient | None, privacy: str, on_late_answer: LateAnswer | None = None
    ) -> None:
        self.journal = journal
        self._privacy = privacy
        self._delivery: Delivery | None = None
        if cloud is not None and privacy != "never":
            self._delivery = Delivery(journal, cloud, privacy, on_late_answer)

    @property
    def keeps_stream_media(self) -> bool:
        """Whether windows of a stream are kept with their media."""
        return self.journal.keep_media and self.journal.stream_stride_s is not None

    def record(self, decided: Decided, question: Question) -> Prediction:
        """Keep an answer's features, or let its question wait; the prediction, with notes of what failed."""
        notes = []
        if self.journal.keep_examples and question.tokens:
            notes += _tried(lambda: self._keep(decided.prediction, question), "it is not kept as an example")
        if decided.missed and self.journal.defer_predictions and self._privacy != "never":
            failed = _tried(lambda: self._defer(question), "the cloud is not asked later either")
            notes += failed or ["the cloud is asked later"]
        self.heard(decided.prediction)
        return replace(decided.prediction, notes=(*decided.prediction.notes, *notes))

    def heard(self, prediction: Prediction) -> None:
        """An answer of the cloud's says that it is within reach again."""
        if prediction.source == "cloud" and self._delivery is not None and self._delivery.failing:
            self._delivery.retry()

    def stream(self) -> StreamRecorder:
        """For the windows of one stream."""
        return StreamRecorder(self, self.journal.stream_stride_s)

    def feedback(self, request_id: str, label: str, consent: bool) -> Receipt:
        """See `Journal.feedback`."""
        receipt = self.journal.feedback(request_id, label, consent=consent, privacy=self._privacy)
        if receipt.queued and self._delivery is not None:
            self._delivery.wake()
        return receipt

    def deliver_now(self) -> None:
        """Try to deliver what waits, whatever its back-off."""
        if self._delivery is not None:
            self._delivery.retry()

    def stop(self) -> None:
        """Begin no further delivery."""
        if self._delivery is not None:
            self._delivery.stop()

    def close(self) -> None:
        """Stop, wait a moment for a delivery that is under way, and close the journal."""
        if self._delivery is not None:
            self._delivery.close()
        self.journal.close()

    def _keep(self, prediction: Prediction, question: Question) -> None:
        self.journal.keep(prediction, question.features, question.encoder_keys, question.sample)

    def _defer(self, question: Question) -> None:
        self.journal.defer(question.message(self._privacy))
        if self._delivery is not None:
            self._delivery.wake()


class StreamRecorder:
    """Keeps a window of a stream every stride, where that was asked for.

    No question of a stream waits for the cloud: when the answer came, its moment would be long over.

    Parameters
    ----------
    recorder : Recorder
    stride_s : float, optional
        None keeps no window.
    """

    def __init__(self, recorder: Recorder, stride_s: float | None) -> None:
        self._recorder = recorder
        self._stride_s = stride_s
        self._due_s = float("-inf")

    def record(self, prediction: Prediction, question: Question, end_s: float) -> Prediction:
        """The prediction, kept if a stride has passed since the last that was."""
        self._recorder.heard(prediction)
        # Half a millisecond forgives sums of hops.
        if self._stride_s is None or end_s + 5e-4 < self._due_s:
            return prediction
        self._due_s = end_s + self._stride_s
        return self._recorder.record(Decided(prediction), question)


def _tried(write: Callable[[], object], otherwise: str) -> list[str]:
    try:
        write()
    # A full disk, a locked file, a damaged one: the app has its answer in every case.
    except Exception as error:  # noqa: BLE001
        return [f"{otherwise}: {' '.join(str(error).split()) or type(error).__name__}"]
    return []
