"""A batch of questions through the full model: each modality's encoder once, then the fusion."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.attention import Attention
from fedaffect.edge.encoders.base import Prepared
from fedaffect.server.errors import NothingToGoBy
from fedaffect.server.models.full_model.encoder import CloudEncoder
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.serving.engines.explaining import Tokens
from fedaffect.server.serving.scheduling.batcher import Computed

_LOG = logging.getLogger(__name__)


def _none() -> NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Question:
    """What the model is to answer.

    Parameters
    ----------
    prepared : mapping of str to Prepared
        What its encoders take, by modality.
    features : mapping of str to float32 array, shape (T, W)
        Instead of that, where a device encoded.
    attention : bool
        Whether the fusion's attention is wanted, too.
    rows : callable, optional
        Makes of the tokens, by modality, what the fusion is asked, nothing or several samples; without it, it is asked
        the tokens themselves. Called on a worker's thread.
    """

    prepared: Mapping[str, Prepared] = field(default_factory=dict)
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    attention: bool = False
    rows: Callable[[Tokens], Sequence[Tokens]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the model says.

    Parameters
    ----------
    probabilities : float32 array, shape (C,)
        Calibrated.
    modalities : tuple of str
        That they rest on.
    notes : tuple of str
        What was dropped on the way.
    attention : Attention, optional
        Where it was wanted.
    shares : float32 array, shape (R, C)
        Of all R samples that `Question.rows` asked for; ``probabilities`` are the first.
    ratings : float32 array, shape (R, N)
        What the fusion learned beside the class, of the same samples.
    """

    probabilities: NDArray[np.float32]
    modalities: tuple[str, ...]
    notes: tuple[str, ...] = ()
    attention: Attention | None = None
    shares: NDArray[np.float32] = field(default_factory=_none)
    ratings: NDArray[np.float32] = field(default_factory=_none)


class Inference:
    """A batch of questions to outcomes; for `fedaffect.server.serving.scheduling.batcher.Batcher`.

    An encoder runs only for the samples that have its modality. Where it fails on a batch, its samples are tried one by
    one, and a sample on which it fails is answered from what is left.

    Parameters
    ----------
    model : FullModel
    """

    def __init__(self, model: FullModel) -> None:
        self._model = model

    def __call__(self, questions: list[Question]) -> Computed[Outcome]:
        """Answer a batch."""
        seconds: dict[str, float] = {}
        stages: list[tuple[str, float, float]] = []
        tokens: list[dict[str, NDArray[np.float32]]] = [dict(question.features) for question in questions]
        notes: list[list[str]] = [[] for _ in questions]
        for modality, encoder in self._model.encoders.items():
            places = [place for place, question in enumerate(questions) if modality in question.prepared]
            if not places:
                continue
            started_s = monotonic()
            made = encode_usable(encoder, [questions[place].prepared[modality] for place in places])
            ended_s = monotonic()
            seconds[modality] = ended_s - started_s
            stages.append((f"encode {modality}", started_s, ended_s))
            for place, features in zip(places, made, strict=True):
                if features is None:
                    notes[place].append(f"{modality} left out: its encoder could make nothing of it")
                else:
                    tokens[place][modality] = features
        started_s = monotonic()
        asked = [_rows(question, found) for question, found in zip(questions, tokens, strict=True)]
        shares, ratings = self._model.rate([row for rows in asked for row in rows])
        results: list[Outcome | Exception] = []
        at = 0
        for question, found, rows, told in zip(questions, tokens, asked, notes, strict=True):
            own = slice(at, at := at + len(rows))
            if question.rows is not None:
                first = shares[own][0] if rows else shares[:0].reshape(-1)
                modalities = tuple(rows[0]) if rows else ()
                results.append(Outcome(first, modalities, tuple(told), shares=shares[own], ratings=ratings[own]))
            elif not found:
                results.append(NothingToGoBy(f"nothing is left to go by: {'. '.join(told)}; send another"))
            else:
                attention = self._model.attention(found) if question.attention else None
                results.append(Outcome(shares[own][0], tuple(found), tuple(told), attention))
        ended_s = monotonic()
        seconds["features" if questions[0].features else "fusion"] = ended_s - started_s
        stages.append(("fusion", started_s, ended_s))
        return Computed(results, seconds, stages)


def _rows(question: Question, tokens: Tokens) -> Sequence[Tokens]:
    """What the fusion is asked about one question."""
    if question.rows is not None:
        return question.rows(tokens)
    return [tokens] if tokens else []


def encode_usable(encoder: CloudEncoder, batch: Sequence[Prepared]) -> list[NDArray[np.float32] | None]:
    """Features of each sample, (T_i, W); None where there are none that are numbers."""
    try:
        made: list[NDArray[np.float32] | None] = list(encoder.encode(batch))
    # What torch and ONNX Runtime raise for shapes, memory and the like; one sample must not take the others with it.
    except (RuntimeError, ValueError, IndexError) as error:
        _LOG.warning("the %s encoder failed on a batch of %d: %s", encoder.modality, len(batch), type(error).__name__)
        if len(batch) == 1:
            return [None]
        return [one for prepared in batch for one in encode_usable(encoder, [prepared])]
    return [one if one is not None and len(one) and np.isfinite(one).all() else None for one in made]
