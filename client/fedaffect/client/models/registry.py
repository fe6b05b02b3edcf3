"""Fusion models by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedaffect.client.cohort import Batch
from fedaffect.client.models.avafn import avafn
from fedaffect.client.models.avt import ALONE, audio_visual_transformer
from fedaffect.client.models.cmt import cross_modal_transformer
from fedaffect.client.models.cmt_paper import paper_transformer
from fedaffect.client.models.early import early_fusion
from fedaffect.client.models.fedmultimodal import fedmultimodal
from fedaffect.client.models.head import LinearHead
from fedaffect.client.models.hybrid import hybrid_fusion
from fedaffect.client.models.late import late_fusion
from fedaffect.client.models.mfer import mfer
from fedaffect.client.models.mmbt import multimodal_bitransformer
from fedaffect.client.models.own import own_head
from fedaffect.client.models.pooled import PooledLinear
from fedaffect.client.plugins import Plugins
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.own_code import raised_in, said_of

GROUP = "fedaffect.models"

# (widths by stream, number of classes, options) -> module whose forward takes tokens and present by stream
ModelBuilder: TypeAlias = Callable[..., nn.Module]

OWN_MODELS: Mapping[str, ModelBuilder] = {
    "cmt": cross_modal_transformer,
    "cmt-paper": paper_transformer,
    "early": early_fusion,
    "late": late_fusion,
    "mmbt": multimodal_bitransformer,
    "hybrid": hybrid_fusion,
    "mfer": mfer,
    "avafn": avafn,
    "avt": audio_visual_transformer,
    "fedmultimodal": fedmultimodal,
    "linear": PooledLinear,
    "head": LinearHead,
    "own": own_head,
}

# Models that mix the class probabilities of several heads, and so have to know which answers are ratings.
_MIXING: Final = ("late", "hybrid", "avt")

_UNROLLED = "a recurrent layer is differentiated step by step, and a graph would hold as many steps as one batch had"
_DIALOGUES = "it hears whole dialogues, which a device's examples are not; give it the option dialogue=false"
_ALONE = "its exported step would train each modality alone under --dp too, which torch's does not"
# Models whose training step cannot be exported, so that a device needs torch to learn them, and why.
NO_STEP: Mapping[str, str] = {
    "mfer": _UNROLLED,
    "fedmultimodal": _UNROLLED,
    "avafn": _DIALOGUES,
    "late": _ALONE,
}


def without_step(name: str, options: Mapping[str, Any], ratings: Sequence[str] = ()) -> str:
    """Why the training step of a model with these options cannot be exported; empty where it can.

    Parameters
    ----------
    name : str
    options : mapping
    ratings : sequence of str
        What it learned besides the class.
    """
    if ratings:
        return f"its step learns classes alone, and it answers {ratings[0]} too"
    if name == "avt" and options.get("fusion", "cross") in ALONE:
        return _ALONE
    return "" if name == "avafn" and not options.get("dialogue", True) else NO_STEP.get(name, "")


PLUGINS: Plugins[ModelBuilder] = Plugins(
    "model", GROUP, OWN_MODELS, callable, "a function (widths, num_classes, **options) that returns a torch module"
)


def model_names() -> list[str]:
    """Names of our own models and of those that installed packages add."""
    return PLUGINS.names()


def build_model(
    name: str, widths: Mapping[str, int], num_classes: int, options: Mapping[str, Any], ratings: int = 0
) -> nn.Module:
    """A freshly initialised fusion model.

    Parameters
    ----------
    name : str
        One of :func:`model_names`.
    widths : mapping of str to int
        Width of each stream's tokens; decides which adapters there are.
    num_classes : int
        C, and R more where ratings are learned beside the class.
    options : mapping
        The model's own settings.
    ratings : int
        R.

    Raises
    ------
    ConfigError
        On an unknown model or option.
    """
    builder = PLUGINS.find(name)
    mixing = {"ratings": ratings} if name in _MIXING else {}
    try:
        model = builder(widths, num_classes, **mixing, **options)
    except TypeError as error:
        if raised_in(error):
            raise
        raise ConfigError(f"model {name!r} does not take these options: {error}") from error
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        raise ConfigError(f"model {name!r} returns {_shown(model)}, not a torch module with parameters")
    if odd := {str(p.dtype) for p in model.parameters()} - {"torch.float32"}:
        raise ConfigError(f"model {name!r} has parameters of {', '.join(sorted(odd))}; only float32 is trained")
    return model


@torch.no_grad()
def load_arrays(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put a checkpoint's arrays into a model.

    Raises
    ------
    ConfigError
        If they are of another model.
    """
    parameters = dict(model.named_parameters())
    if parameters.keys() != arrays.keys() or any(p.shape != arrays[name].shape for name, p in parameters.items()):
        raise ConfigError("the arrays are of another model or of other options; open the run with the model it learned")
    for name, parameter in parameters.items():
        parameter.copy_(torch.from_numpy(np.asarray(arrays[name])))


def _shown(value: object) -> str:
    return "a module without any" if isinstance(value, nn.Module) else f"a {type(value).__name__}"


@torch.no_grad()
def require_scores(name: str, model: nn.Module, batch: Batch, num_classes: int) -> None:
    """Refuse a model that cannot be asked about a batch, before anything is trained.

    Parameters
    ----------
    name : str
    model : Module
    batch : Batch
        Of B rows.
    num_classes : int
        C.

    Raises
    ------
    ConfigError
        If it fails, or gives anything but float32 scores of shape (B, C).
    """
    wanted = (len(batch.labels), num_classes)
    try:
        scores = model.eval()(batch.tokens, batch.present)
    except Exception as error:
        raise ConfigError(f"model {name!r} fails on a batch of {wanted[0]} rows: {said_of(error)}") from error
    if not isinstance(scores, torch.Tensor) or scores.shape != wanted or scores.dtype != torch.float32:
        got = f"{tuple(scores.shape)} of {scores.dtype}" if isinstance(scores, torch.Tensor) else _shown(scores)
        raise ConfigError(f"model {name!r} gives {got}; its forward(tokens, present) returns float32 scores {wanted}")
