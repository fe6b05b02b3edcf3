"""What the cloud is asked with: media and words, or what the encoders made of them, as privacy allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.cloud.client import CloudClient
from fedaffect.edge.errors import DataError
from fedaffect.edge.offload.pooling import weighed
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.sample import MODALITIES, Frames, Sample, Waveform, ZipMember

if TYPE_CHECKING:
    from fedaffect.edge.cloud.proto import affect_pb2 as pb

# What packing makes of decoded media, in bytes: FLAC a sample, JPEG a pixel.
_FLAC_BYTES: Final = 1.2
_JPEG_BYTES: Final = 0.25
_HALF_PRECISION_LIMIT: Final = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a long sample, about which the cloud is asked by itself.

    Parameters
    ----------
    start_s : float
        Where in the whole it begins.
    tokens : mapping of str to float32 array, shape (T, W)
        What the encoders made of it.
    encoder_keys : mapping of str to str
        By modality.
    weight : float
        Of its answer in that to the whole.
    """

    start_s: float
    tokens: Mapping[str, NDArray[np.float32]]
    encoder_keys: Mapping[str, str]
    weight: float


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the cloud, now or later, under one request id.

    Parameters
    ----------
    request_id : str
    sample : Sample
        Media and words of the modalities that were usable.
    tokens : mapping of str to float32 array, shape (T, W)
        What the encoders made of them.
    encoder_keys : mapping of str to str
        By modality.
    bundle_version : str
        Of the bundle whose encoders they are.
    sent : Sample, optional
        What is sent of the sample, where that is less than all of it.
    transcribe : bool
        Whether the cloud shall find the words in the sound where there are none.
    windows : tuple of Excerpt
        Of a sample that is longer than a cloud takes: it is asked about one after the other.
    cut : callable, optional
        Gives the decoded media of those windows, each when it is asked for.
    """

    request_id: str
    sample: Sample
    tokens: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    encoder_keys: Mapping[str, str] = field(default_factory=dict)
    bundle_version: str = ""
    transcribe: bool = False
    sent: Sample | None = None
    windows: tuple[Excerpt, ...] = ()
    cut: Callable[[], Iterator[Sample]] | None = None

    @property
    def features(self) -> dict[str, NDArray[np.float32]]:
        """The tokens within half precision, which is what travels; beyond it they would arrive as infinity."""
        limit = _HALF_PRECISION_LIMIT
        return {modality: np.clip(tokens, -limit, limit) for modality, tokens in self.tokens.items()}

    def size_bytes(self, privacy: str) -> int:
        """About how much asking would send: features as float16, files as they are, decoded media packed.

        What cannot be read counts as nothing; `ask` says so. Of several windows the one that is kept counts for each.
        """
        if self.windows:
            return len(self.windows) * replace(self, windows=()).size_bytes(privacy)
        match privacy:
            case "raw":
                sample = self.sent or self.sample
                words = 0 if sample.text is None else len(sample.text)
                return words + sum(_stored_bytes(source) for source in (sample.audio, sample.video))
            case "features":
                return sum(2 * tokens.size for tokens in self.tokens.values())
            case _:
                return 0

    def ask(self, cloud: CloudClient, privacy: str, within_ms: float) -> Prediction:
        """The cloud's answer.

        Raises
        ------
        CloudError
            See `CloudClient.predict`.
        DataError
            If the media cannot be read.
        """
        if not self.windows:
            return cloud.predict(deadline_ms=within_ms, **self._parts(privacy))
        until_s = perf_counter() + within_ms / 1000
        answers = []
        media = self.cut() if privacy == "raw" and self.cut is not None else repeat(self.sample)
        for place, (window, sample) in enumerate(zip(self.windows, media, strict=False)):
            one = replace(
                self,
                # To a cloud, two questions of one id are the same question.
                request_id=f"{self.request_id}.{place}" if place else self.request_id,
                sample=sample,
                sent=None,
                tokens=window.tokens,
                encoder_keys=window.encoder_keys,
                windows=(),
            )
            answers.append(one.ask(cloud, privacy, max(0.0, (until_s - perf_counter()) * 1000)))
        if not answers:
            raise DataError("the sample's media changed while the cloud was asked; ask again")
        return _whole(answers, [window.weight for window in self.windows[: len(answers)]])

    def message(self, privacy: str) -> pb.PredictRequest:
        """The same as a protocol message, its media read and packed, for a queue.

        Raises
        ------
        DataError
            If the media cannot be read.
        """
        # Here, not above: a device that lets nothing wait needs no protobuf.
        from fedaffect.edge.cloud.messages import predict_request

        return predict_request(**self._parts(privacy))

    def _parts(self, privacy: str) -> dict[str, Any]:
        if privacy == "raw":
            transcribe = self.transcribe and self.sample.text is None
            return {"sample": self.sent or self.sample, "request_id": self.request_id, "transcribe": transcribe}
        return {
            "sample": None,
            "request_id": self.request_id,
            "features": self.features,
            "encoder_keys": self.encoder_keys,
            "bundle_version": self.bundle_version,
        }


def _whole(answers: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
    """One answer of those to its windows."""
    labels = tuple(answers[0].probabilities)
    shares = weighed([np.array([answer.probabilities[label] for label in labels]) for answer in answers], weights)
    best = int(shares.argmax())
    heard = [answer.transcript for answer in answers if answer.transcript is not None]
    spent_ms = [answer.transcription_ms for answer in answers if answer.transcription_ms is not None]
    return replace(
        answers[0],
        label=labels[best],
        probabilities={label: float(share) for label, share in zip(labels, shares, strict=True)},
        confidence=float(shares[best]),
        modalities=tuple(m for m in MODALITIES if any(m in answer.modalities for answer in answers)),
        notes=tuple(dict.fromkeys(note for answer in answers for note in answer.notes)),
        transcript=" ".join(heard) if heard else None,
        transcription_ms=sum(spent_ms) if spent_ms else None,
    )


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
            try:
                return len(source.read())
            except DataError:
                return 0
        case _:
            try:
                return int(Path(source).stat().st_size)
            except OSError:
                return 0
