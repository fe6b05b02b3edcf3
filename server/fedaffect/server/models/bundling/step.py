"""A fusion model's training step as an ONNX graph: what a device without torch learns with.

    python -m fedaffect.server.models.bundling.step OUT [FUSION]

writes that of a safetensors file, or of the default fusion; those of both shipped fusions lie beside them.

The step is a function of tensors: parameters, a batch and dropout masks go in, gradients, losses and scores come out.
``make_fx`` writes down what the model and ``torch.autograd.grad`` compute, in core ATen operators and with the
attention kernel that is made of them, and torch's exporter translates it. Nothing of what is learned is in the graph:
it is the same for all weights of one architecture.
"""

from __future__ import annotations

import gzip
import hashlib
import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client import models
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.models.registry import build_model, without_step
from fedaffect.client.onnx_engine.graph import (
    ABOUT,
    BIAS,
    FOCAL,
    FORMAT,
    GRADIENT,
    LOSSES,
    PARAMETERS,
    SCALE,
    SCORES,
    TARGETS,
    WEIGHTS,
    Mask,
    StepAbout,
    StepGraph,
    mask_name,
    present_name,
    tokens_name,
)
from fedaffect.edge.errors import BundleError
from fedaffect.edge.system.files import replacing
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.models.bundling.fusion import FusionWeights, read_fusion
from fedaffect.server.models.bundling.recipe import DEFAULT_FUSION, DEFAULT_STEP, PERMISSIVE_STEP
from fedaffect.server.models.bundling.slimming import slim
from fedaffect.server.models.torch_compat import core_decompositions

logger = logging.getLogger(__name__)

# The least that the newer exporter writes.
_OPSET: Final = 18
# Sizes to trace with: no two alike, and none that a layer has, or the exporter would take them for one.
_SIZES: Final = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79)
Step = Callable[..., tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class StepModel:
    """A model whose step is exported.

    Parameters
    ----------
    name : str
        Of the registry of models.
    options : mapping
        Its settings.
    widths : mapping of str to int
        Of each stream's tokens.
    classes : int
        C.
    """

    name: str
    options: Mapping[str, Any]
    widths: Mapping[str, int]
    classes: int

    @classmethod
    def of(cls, weights: FusionWeights) -> StepModel:
        """That of a trained fusion layer."""
        return cls(weights.model, weights.options, weights.widths, len(weights.labels))

    def fits(self, about: StepAbout) -> bool:
        """Whether a step was made for this model."""
        theirs = StepModel(about.model, about.options, about.widths, about.classes)
        return _described(self) == _described(theirs)

    def module(self) -> nn.Module:
        """A fresh one."""
        with torch.random.fork_rng():
            return build_model(self.name, self.widths, self.classes, self.options)


def step_bytes(model: StepModel) -> bytes:
    """The step as a bundle carries it: the shipped one, or made and kept in the cache, as tracing takes half a minute.

    Raises
    ------
    BundleError
        If the model's step cannot be exported, or computes something else than torch.
    """
    if why := without_step(model.name, model.options):
        raise BundleError(f"model {model.name!r} is learned with torch alone: {why}")
    for shipped in (DEFAULT_STEP, PERMISSIVE_STEP):
        if shipped.is_file() and model.fits(StepGraph.load(shipped).about):
            return shipped.read_bytes()
    kept = cache_folder() / "steps" / f"{_key(model)}.onnx.gz"
    if kept.is_file():
        return kept.read_bytes()
    made = _exported(model)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as part:
        part.write_bytes(made)
    return made


def _key(model: StepModel) -> str:
    """The same while model, exporter and code are."""
    sources = [Path(__file__), *sorted(Path(models.__path__[0]).glob("*.py"))]
    try:
        sources.append(Path(inspect.getfile(type(model.module()))))
    except (OSError, TypeError):
        logger.debug("the file of model %s is not known", model.name)
    digest = hashlib.sha256(repr((FORMAT, torch.__version__, _described(model))).encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _described(model: StepModel) -> str:
    return json.dumps([model.name, dict(model.options), list(model.widths.items()), model.classes], sort_keys=True)


def _exported(model: StepModel) -> bytes:
    import onnx

    module = model.module().train()
    taken = {model.classes, *model.widths.values(), *(size for p in module.parameters() for size in p.shape)}
    sizes = [size for size in _SIZES if size not in taken][: 1 + len(model.widths)]
    masks = _masks_of(module, model, sizes)
    about = StepAbout(
        model=model.name,
        options=dict(model.options),
        widths=dict(model.widths),
        classes=model.classes,
        layout=ArrayLayout.of(module),
        masks=tuple(masks),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        try:
            _trace(module, about, sizes, path)
        except Exception as error:
            # The exporter raises two dozen classes, some of which are the compiler's own.
            logger.debug("the step of %s cannot be exported", model.name, exc_info=True)
            reason = str(error).strip().partition("\n")[0]
            raise BundleError(f"the step of model {model.name!r} cannot be exported ({reason[:80]})") from error
        graph = onnx.load(path)
    slim(graph)
    entry = graph.metadata_props.add()
    entry.key, entry.value = ABOUT, about.to_json()
    # Without a time in it: the same step is the same bytes.
    return gzip.compress(graph.SerializeToString(), compresslevel=9, mtime=0)


def _trace(module: nn.Module, about: StepAbout, sizes: Sequence[int], path: Path) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    given = _inputs(module, about, sizes[0], dict(zip(about.widths, sizes[1:], strict=True)))
    names, examples = list(given), tuple(given.values())
    with warnings.catch_warnings(), _exporting():
        warnings.simplefilter("ignore")
        traced = make_fx(
            _step_of(module, about, names),
            decomposition_table=core_decompositions(),
            tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*examples)
        torch.onnx.export(
            traced,
            examples,
            str(path),
            input_names=names,
            output_names=[GRADIENT, LOSSES, SCORES],
            dynamic_shapes=tuple(_dynamic(name, tensor) for name, tensor in given.items()),
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
            dynamo=True,
        )


def _dynamic(name: str, tensor: Tensor) -> dict[int, Any]:
    """Which dimensions of an input follow the batch."""
    auto = torch.export.Dim.AUTO
    if name in (TARGETS, WEIGHTS):
        return {0: auto}
    if name in (PARAMETERS, SCALE, BIAS, FOCAL):
        return {}
    return dict.fromkeys(range(min(2, tensor.dim())), auto)


def _step_of(module: nn.Module, about: StepAbout, names: Sequence[str]) -> Step:
    """The step as a function of its inputs, one after the other."""
    layout, streams = about.layout, list(about.widths)

    def step(*values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = dict(zip(names, values, strict=True))
        pieces = given[PARAMETERS].split(list(layout.sizes))  # type: ignore[no-untyped-call]
        parameters = {n: p.view(s) for n, s, p in zip(layout.names, layout.shapes, pieces, strict=True)}
        tokens = {s: given[tokens_name(s)] for s in streams}
        present = {s: given[present_name(s)] for s in streams}

        # Not by torch.func, whose linear layers read sizes as numbers.
        leaves = {name: values.detach().requires_grad_() for name, values in parameters.items()}
        with _masked(iter([given[mask_name(place)] for place in range(len(about.masks))])):
            scores: Tensor = torch.func.functional_call(module, leaves, (tokens, present))
        logs = (scores * given[SCALE] + given[BIAS]).log_softmax(-1)
        shares = 1 + given[FOCAL] * ((1 - logs.exp()) ** 2 - 1)  # (B, C)
        each = -(given[TARGETS] * shares * logs).sum(-1)  # (B,)
        if scores.dim() == 3:
            # Several answers, (A, B, C), as `fedaffect.client.losses` takes them.
            each, scores = each[0] + each[1:].mean(dim=0), scores[0]
        gradients = torch.autograd.grad((given[WEIGHTS] * each).sum(), list(leaves.values()))
        return torch.cat([gradient.reshape(-1) for gradient in gradients]), each.detach(), scores.detach()

    return step


def _inputs(module: nn.Module, about: StepAbout, examples: int, lengths: Mapping[str, int]) -> dict[str, Tensor]:
    """Some batch of these sizes, by input, in the graph's order."""
    draw = torch.Generator().manual_seed(examples)
    given = {
        PARAMETERS: torch.cat([p.detach().reshape(-1) for p in module.parameters()]),
        TARGETS: functional.one_hot(torch.arange(examples) % about.classes, about.classes).float(),
        SCALE: torch.ones(about.classes),
        BIAS: torch.zeros(about.classes),
        WEIGHTS: torch.full((examples,), 1 / examples),
        FOCAL: torch.zeros(()),
    }
    for stream, width in about.widths.items():
        given[tokens_name(stream)] = torch.randn(examples, lengths[stream], width, generator=draw)
        given[present_name(stream)] = torch.ones(examples, lengths[stream], dtype=torch.bool)
    for place, mask in enumerate(about.masks):
        given[mask_name(place)] = torch.ones(mask.shape(examples, list(lengths.values())))
    return given


@contextmanager
def _exporting() -> Iterator[None]:
    """Models and attention as an export needs them: nothing decided by the values of a batch."""
    before = torch.onnx.is_in_onnx_export
    torch.onnx.is_in_onnx_export = lambda: True
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.onnx.is_in_onnx_export = before


@contextmanager
def _masked(masks: Iterator[Tensor]) -> Iterator[None]:
    """Dropout by masks that are given: 0 or 1 / (1 - p)."""

    def dropout(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return values * next(masks) if training and p else values

    with _dropout(dropout):
        yield


@contextmanager
def _dropout(other: Callable[..., Tensor]) -> Iterator[None]:
    before = functional.dropout
    functional.dropout = other
    try:
        yield
    finally:
        functional.dropout = before


def _masks_of(module: nn.Module, model: StepModel, sizes: Sequence[int]) -> list[Mask]:
    """Each use of dropout: its rate, and how the shape of its mask follows from the batch's."""
    base = _dropouts(module, model, sizes)
    longer = [
        _dropouts(module, model, tuple(size + (place == other) for other, size in enumerate(sizes)))
        for place in range(len(sizes))
    ]
    made = []
    for use, (rate, shape) in enumerate(base):
        dims = []
        for axis, size in enumerate(shape):
            factors = tuple(seen[use][1][axis] - size for seen in longer)
            dims.append((size - int(np.dot(factors, sizes)), *factors))
        made.append(Mask(rate, tuple(dims)))
    other = tuple(3 * size + 2 for size in sizes)
    if [(m.rate, m.shape(other[0], other[1:])) for m in made] != _dropouts(module, model, other):
        raise BundleError(f"dropout of model {model.name!r} has masks whose sizes are no sums of its inputs' sizes")
    return made


def _dropouts(module: nn.Module, model: StepModel, sizes: Sequence[int]) -> list[tuple[float, tuple[int, ...]]]:
    seen: list[tuple[float, tuple[int, ...]]] = []

    def dropout(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if training and p:
            seen.append((p, tuple(values.shape)))
        return values

    tokens = {s: torch.zeros(sizes[0], n, w) for (s, w), n in zip(model.widths.items(), sizes[1:], strict=True)}
    with torch.no_grad(), _exporting(), _dropout(dropout):
        module(tokens, {s: torch.ones(t.shape[:2], dtype=torch.bool) for s, t in tokens.items()})
    return seen


def main(out: Path, fusion: Path = DEFAULT_FUSION) -> None:
    """See the module's text."""
    out.write_bytes(_exported(StepModel.of(read_fusion(fusion))))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
