"""The training step that a bundle carries: an ONNX graph from parameters and a batch to gradients.

It holds no weights and decides nothing: which examples, which dropout masks, which loss and what becomes of the
gradients are given or done outside. Every loss of :mod:`fedaffect.client.losses` is one form,

    loss_i = -sum_c t_ic (1 + f ((1 - p_ic)^2 - 1)) log p_ic,  p_i = softmax(a * s_i + b),

with scores s, targets t, a factor and a summand of each class, and f of 1 for the focal loss, else 0; the graph
differentiates sum_i w_i loss_i.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.layout import ArrayLayout
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.onnx_session import session_of_bytes

# Raised when an older step can no longer be run.
FORMAT: Final = 1
ABOUT: Final = "fedaffect-step"
PARAMETERS, TARGETS, SCALE, BIAS, WEIGHTS, FOCAL = "parameters", "targets", "scale", "bias", "weights", "focal"
GRADIENT, LOSSES, SCORES = "gradient", "losses", "scores"


def tokens_name(stream: str) -> str:
    """The graph's input of a stream's tokens, (B, T, W)."""
    return f"{stream}_tokens"


def present_name(stream: str) -> str:
    """The graph's input that says which of them are there, (B, T)."""
    return f"{stream}_present"


def mask_name(place: int) -> str:
    """The graph's input of a dropout mask."""
    return f"mask_{place}"


@dataclass(frozen=True, slots=True)
class Mask:
    """One use of dropout.

    Parameters
    ----------
    rate : float
        Probability that a value is dropped.
    dims : tuple of tuple of int
        Of each dimension of the mask: a constant, then how often the number of examples is in it, then how often each
        stream's length is.
    """

    rate: float
    dims: tuple[tuple[int, ...], ...]

    def shape(self, examples: int, lengths: Sequence[int]) -> tuple[int, ...]:
        """Of the mask for a batch of these sizes; lengths in the streams' order."""
        sizes = (1, examples, *lengths)
        return tuple(sum(factor * size for factor, size in zip(dim, sizes, strict=True)) for dim in self.dims)


@dataclass(frozen=True, slots=True)
class StepAbout:
    """What a step was made for.

    Parameters
    ----------
    model : str
        Name in the registry of models.
    options : mapping
        The model's settings.
    widths : mapping of str to int
        Of each stream's tokens.
    classes : int
        C.
    layout : ArrayLayout
        Of the parameters.
    masks : tuple of Mask
        In the order in which the model drops out.
    """

    model: str
    options: Mapping[str, Any]
    widths: Mapping[str, int]
    classes: int
    layout: ArrayLayout
    masks: tuple[Mask, ...]

    def to_json(self) -> str:
        """As the graph's metadata."""
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> StepAbout:
        """Read back what :meth:`to_json` wrote.

        Raises
        ------
        BundleError
            If it is of a newer format, or something else.
        """
        try:
            about = json.loads(text)
            if about.pop("format") != FORMAT:
                raise BundleError("the bundle's training step is of a newer kind; update fedaffect, or install torch")
            layout = about.pop("layout")
            names, shapes = tuple(layout["names"]), tuple(tuple(shape) for shape in layout["shapes"])
            masks = tuple(Mask(m["rate"], tuple(tuple(dim) for dim in m["dims"])) for m in about.pop("masks"))
            return cls(layout=ArrayLayout(names, shapes), masks=masks, **about)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"the bundle's training step is damaged ({error!r}); get the bundle again") from error


@dataclass(frozen=True, slots=True)
class StepBatch:
    """Examples of one step, B of them.

    Parameters
    ----------
    tokens : mapping of str to float32 array, shape (B, T_m, W_m)
    present : mapping of str to bool array, shape (B, T_m)
    targets : float32 array, shape (B, C)
    weights : float32 array, shape (B,)
        By how much each example's loss counts.
    """

    tokens: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]

    def only(self, place: int) -> StepBatch:
        """One of the examples, without the padding that the others needed."""
        lengths = {s: max(1, int(p[place].nonzero()[0].max(initial=0)) + 1) for s, p in self.present.items()}
        rows = slice(place, place + 1)
        return StepBatch(
            {s: np.ascontiguousarray(t[rows, : lengths[s]]) for s, t in self.tokens.items()},
            {s: np.ascontiguousarray(p[rows, : lengths[s]]) for s, p in self.present.items()},
            self.targets[rows],
            self.weights[rows],
        )


@dataclass(frozen=True, slots=True)
class ClassScores:
    """What the loss makes of scores: a * s + b, and whether it is focal.

    Parameters
    ----------
    scale, bias : float32 array, shape (C,)
    focal : bool
    """

    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    focal: bool = False


class StepGraph:
    """A bundle's training step, ready to run on one thread.

    Parameters
    ----------
    data : bytes
        As a bundle carries it.
    where : str
        Named in errors.

    Raises
    ------
    BundleError
        If it is damaged or of a newer kind.
    """

    def __init__(self, data: bytes, where: str) -> None:
        try:
            plain = gzip.decompress(data)
        except (OSError, EOFError, ValueError) as error:
            raise BundleError(f"{where} is damaged ({error}); get the bundle again") from error
        self._session = session_of_bytes(plain, where)
        about = self._session.get_modelmeta().custom_metadata_map.get(ABOUT)
        if about is None:
            raise BundleError(f"{where} is not a training step; get the bundle again")
        self.about = StepAbout.from_json(about)
        self._ones = np.ones(0, np.float32)

    @classmethod
    def load(cls, path: Path) -> StepGraph:
        """Open a bundle's file.

        Raises
        ------
        BundleError
            As the constructor, or if it cannot be read.
        """
        try:
            return cls(path.read_bytes(), str(path))
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error}); get the bundle again") from error

    def gradient(
        self,
        parameters: NDArray[np.float32],
        batch: StepBatch,
        scored: ClassScores,
        random: np.random.Generator | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The gradient of the weighted sum of losses, and the losses.

        Parameters
        ----------
        parameters : float32 array, shape (P,)
        batch : StepBatch
        scored : ClassScores
        random : Generator, optional
            Draws dropout masks; nothing is dropped without.

        Returns
        -------
        gradient : float32 array, shape (P,)
        losses : float32 array, shape (B,)
        """
        gradient, losses = self._session.run([GRADIENT, LOSSES], self._feed(parameters, batch, scored, random))
        return gradient, losses

    def scores(self, parameters: NDArray[np.float32], batch: StepBatch, scored: ClassScores) -> NDArray[np.float32]:
        """Class scores, shape (B, C), as they come out of the model."""
        made: NDArray[np.float32] = self._session.run([SCORES], self._feed(parameters, batch, scored, None))[0]
        return made

    def _feed(
        self,
        parameters: NDArray[np.float32],
        batch: StepBatch,
        scored: ClassScores,
        random: np.random.Generator | None,
    ) -> dict[str, NDArray[Any]]:
        lengths = [batch.tokens[stream].shape[1] for stream in self.about.widths]
        feed: dict[str, NDArray[Any]] = {
            PARAMETERS: parameters,
            TARGETS: batch.targets,
            WEIGHTS: batch.weights,
            SCALE: scored.scale,
            BIAS: scored.bias,
            FOCAL: np.array(scored.focal, np.float32),
        }
        for stream in self.about.widths:
            feed[tokens_name(stream)] = batch.tokens[stream]
            feed[present_name(stream)] = batch.present[stream]
        for place, mask in enumerate(self.about.masks):
            shape = mask.shape(len(batch.weights), lengths)
            feed[mask_name(place)] = self._nothing_dropped(shape) if random is None else _drawn(mask, shape, random)
        return feed

    def _nothing_dropped(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        size = math.prod(shape)
        if len(self._ones) < size:
            self._ones = np.ones(size, np.float32)
        return self._ones[:size].reshape(shape)


def _drawn(mask: Mask, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """0 with the mask's rate, to 2^-16, else 1 / (1 - rate)."""
    words = np.frombuffer(random.bytes(2 * math.prod(shape)), np.uint16)
    kept = words >= np.uint16(min(65535, round(mask.rate * 65536)))
    return np.multiply(kept, np.float32(1 / (1 - mask.rate)), dtype=np.float32).reshape(shape)
