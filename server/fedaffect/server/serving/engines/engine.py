"""The one thing that both transports call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.attention import Attention
from fedaffect.edge.sample import Sample
from fedaffect.server.errors import InvalidRequest

if TYPE_CHECKING:
    from fedaffect.server.models.full_model.model import FullModel
    from fedaffect.server.serving.engines.explaining import Explanation
    from fedaffect.server.serving.engines.following import Follower


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sample to answer.

    Parameters
    ----------
    id : str
        The caller's own.
    sample : Sample, optional
        Media and words, not yet decoded. Not given where features are.
    features : mapping of str to float16 array, shape (T, W)
        What edge encoders made of it, by modality.
    encoder_keys : mapping of str to str
        Keys of those encoders.
    client : str
        Whose fairness and rate it counts against: id of an API key, or address.
    deadline_s : float
        On the clock of ``time.monotonic``; answers after it are of no use.
    model_version : str
        Take this version; empty: the one that the split chooses.
    transcribe : bool
        Find the words in the sound where no text is given.
    attention : bool
        Tell which tokens attend to which, too.
    """

    id: str
    sample: Sample | None = None
    features: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    encoder_keys: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    deadline_s: float = float("inf")
    model_version: str = ""
    transcribe: bool = False
    attention: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the full model says.

    Parameters
    ----------
    label, probabilities, confidence, modalities, model_version, notes, transcript, transcription_ms
        As in `fedaffect.edge.prediction.Prediction`.
    queue_ms, compute_ms : float
        Where the time went, decoding not counted.
    attention : Attention, optional
        Where it was asked for.
    explanation : Explanation, optional
        Of live streams.
    """

    label: str
    probabilities: Mapping[str, float]
    confidence: float
    modalities: tuple[str, ...]
    model_version: str
    notes: tuple[str, ...] = ()
    transcript: str | None = None
    transcription_ms: float | None = None
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    attention: Attention | None = None
    explanation: Explanation | None = None

    def explained(self, explanation: Explanation) -> Answer:
        """The same with an explanation."""
        return replace(self, explanation=explanation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model version as `/v1/models` lists it.

    Parameters
    ----------
    version, profile, label_set : str
    labels : tuple of str
    modalities : tuple of str
        That it can use.
    share : float
        Of requests that it answers, 0 to 1.
    random_init : bool
        Whether its weights were never trained.
    """

    version: str
    profile: str
    label_set: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    share: float
    random_init: bool = False

    @classmethod
    def of(cls, model: FullModel) -> ModelInfo:
        """The only version served, which answers every request."""
        card = model.card
        return cls(
            version=card.version,
            profile=card.profile,
            label_set=card.label_set,
            labels=card.labels,
            modalities=model.modalities,
            share=1.0,
            random_init=card.random_init,
        )


def require_attention(request: Request, model: FullModel) -> None:
    """Refuse to be asked for attention that a model does not tell.

    Raises
    ------
    InvalidRequest
    """
    if request.attention and not model.tells_attention:
        raise InvalidRequest(f"model {model.card.version} does not tell its attention; leave attention out")


class Engine(Protocol):
    """Answers requests; one a process, whichever way it computes."""

    async def predict(self, request: Request) -> Answer:
        """Answer one request.

        Raises
        ------
        ServingError
            `InvalidRequest`, `RequestTooLarge`, `NotFound`, `Overloaded`, `Unavailable` or `DeadlinePassed`.
        """
        ...

    def follow(self, client: str, window_s: float) -> Follower:
        """Follow a live stream, with the version that it gets by the split.

        Parameters
        ----------
        client : str
            Whom it counts against.
        window_s : float
            How much of the stream an answer rests on.

        Raises
        ------
        ServingError
            `InvalidRequest` where no model served takes media, `Unavailable`.
        """
        ...

    def check_room(self, client: str) -> None:
        """Say early that a request would be turned away, before its body is read.

        Parameters
        ----------
        client : str
            Who asks.

        Raises
        ------
        ServingError
            `Overloaded`, or `Unavailable` where the engine is stopping.
        """
        ...

    def models(self) -> tuple[ModelInfo, ...]:
        """Versions being served."""
        ...

    def ready(self) -> bool:
        """Whether a request would be answered now."""
        ...

    async def close(self, drain_s: float) -> None:
        """Take nothing new, finish what is waiting for at most ``drain_s`` seconds, stop."""
        ...
