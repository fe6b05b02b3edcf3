"""Empties the queue into the cloud."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import Final

from google.protobuf.message import DecodeError

from fedaffect.edge.cloud.client import CloudClient
from fedaffect.edge.cloud.errors import CloudBusy, CloudError, CloudRefused, CloudTimeout, CloudUnreachable
from fedaffect.edge.cloud.messages import read_sequences
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.errors import ConfigError, DataError, FedAffectError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import Sample
from fedaffect.edge.store.queue import Entry, Queue

# An answer that nobody waits for may take its time.
_DEADLINE_MS: Final = 60_000.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What one go brought.

    Parameters
    ----------
    delivered, refused, postponed : int
        Entries.
    stopped_by : str
        Why the go ended before the queue was empty; empty where it did not.
    """

    delivered: int = 0
    refused: int = 0
    postponed: int = 0
    stopped_by: str = ""

    def __str__(self) -> str:
        return f"{self.delivered} delivered, {self.refused} refused, {self.postponed} postponed"


class Sender:
    """Sends what is due, oldest first.

    Parameters
    ----------
    queue : Queue
    cloud : CloudClient
    privacy : {"raw", "features"}
        What may leave the device by now: media that began to wait under ``raw`` are not sent under ``features``.
    """

    def __init__(self, queue: Queue, cloud: CloudClient, privacy: str = "raw") -> None:
        if privacy not in ("raw", "features"):
            raise ConfigError(f"nothing is sent with privacy {privacy!r}; choose raw or features, or leave it waiting")
        self._queue = queue
        self._cloud = cloud
        self._privacy = privacy

    def drain(self, stop: Event | None = None) -> Sent:
        """Send until nothing is due, or the cloud is out of reach.

        Parameters
        ----------
        stop : Event, optional
            Set from elsewhere, it ends the go after the entry that is under way.
        """
        delivered = refused = postponed = 0
        # One at a time, so that what is not sent is not held either.
        while not (stop and stop.is_set()) and (entries := self._queue.lease(1)):
            (entry,) = entries
            try:
                prediction = self._send(entry)
            except CloudRefused as error:
                if not error.for_good:
                    # About the device's key or the moment, not about the entry: it stays as it is.
                    self._queue.postponed(entry, str(error))
                    return Sent(delivered, refused, postponed + 1, str(error))
                self._queue.refused(entry, str(error))
                refused += 1
            except (CloudBusy, CloudUnreachable, CloudTimeout) as error:
                # The next would fare no better.
                self._queue.postponed(entry, str(error), error.retry_after_s if isinstance(error, CloudBusy) else 0.0)
                return Sent(delivered, refused, postponed + 1, str(error))
            except CloudError as error:
                # May be about this entry alone; the next one is tried.
                self._queue.postponed(entry, str(error))
                postponed += 1
            except (DecodeError, FedAffectError) as error:
                # Damaged, or of a version that allowed more: it will not get better.
                self._queue.refused(entry, f"it cannot be sent as it is: {error}")
                refused += 1
            else:
                self._queue.delivered(entry, prediction)
                delivered += 1
        return Sent(delivered, refused, postponed)

    def _send(self, entry: Entry) -> Prediction | None:
        message = entry.message()
        features, keys = read_sequences(message.features)
        if isinstance(message, pb.FeedbackRequest):
            self._cloud.feedback(
                idempotency_key=entry.idempotency_key,
                request_id=message.request_id,
                label=message.label,
                consent=message.consent,
                model_version=message.model_version,
                features=features or None,
                encoder_keys=keys or None,
                deadline_ms=_DEADLINE_MS,
            )
            return None
        if self._privacy != "raw" and not features:
            raise DataError("it holds media or words, and privacy 'features' lets none leave the device; clear it")
        sample = Sample(
            id=message.request_id, text=message.text or None, audio=message.audio or None, video=message.video or None
        )
        return self._cloud.predict(
            None if features else sample,
            request_id=message.request_id,
            features=features or None,
            encoder_keys=keys or None,
            bundle_version=message.bundle_version,
            deadline_ms=_DEADLINE_MS,
            transcribe=message.transcribe,
        )
