"""The fusion layer: read from its committed weights, exported to ONNX."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fedaffect.client.models.registry import build_model
from fedaffect.edge.bundle import Calibration, FileEntry, FusionEntry, Source
from fedaffect.edge.bundle.fusion import AFTER, ATTENTION, MEMORY, PARTIES, PRESENT, REMEMBERED, SCORES, SPEAKS
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.edge.labels import LabelSet, label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling.export import OPSET
from fedaffect.server.models.bundling.gate import latency_ms
from fedaffect.server.models.bundling.precision import Feed, halve_weights, quantise_dynamic
from fedaffect.server.models.bundling.recipe import METADATA, describe
from fedaffect.server.models.bundling.slimming import slim

# Of a bundle: the parameters that its fusion was made of.
WEIGHTS: Final = "fusion.safetensors"
# And those whom it learned from.
POPULATION: Final = "fusion.population.npz"
# And what it is learned by where there is no torch.
STEP: Final = "fusion.step.onnx.gz"
_EQUAL: Final = 1e-4
# Largest change of any class's probability that a smaller graph may make, of features that are noise.
_FAITHFUL: Final = 0.01
# Where answers to several modalities are multiplied, so is what rounding changes.
_FAITHFUL_PRODUCT: Final = 0.02
_FASTER: Final = 0.9
_LENGTHS: Final = {"text": 20, "audio": 8, "video": 15}


@dataclass(frozen=True, slots=True)
class FusionWeights:
    """A trained fusion layer and what is known of it.

    Parameters
    ----------
    model : str
        Name in the registry of models.
    options : mapping
        Its settings.
    widths : mapping of str to int
        By modality, in the order in which it was trained.
    labels : LabelSet
        What it predicts.
    state : mapping of str to Tensor
        Parameters by name.
    source : Source
        Where they come from.
    calibration : Calibration
        As fitted with them.
    lineage : tuple of mapping
        The runs that they come from, the first one first: ``run``, ``round``, and the ``bundle`` that it started from.
    population : Path, optional
        Says of those whom it learned from how their features are spread; see `fedaffect.edge.bundle.population`.
    ratings : tuple of str
        What it says besides the class: the rows of its last layer behind those of the labels.
    """

    model: str
    options: Mapping[str, Any]
    widths: Mapping[str, int]
    labels: LabelSet
    state: Mapping[str, Tensor]
    source: Source
    calibration: Calibration = field(default_factory=Calibration)
    lineage: tuple[Mapping[str, Any], ...] = ()
    population: Path | None = None
    ratings: tuple[str, ...] = ()

    def module(self) -> nn.Module:
        """The network with these weights, in FP32, ready to infer.

        Raises
        ------
        BundleError
            If the weights do not fit the architecture.
        """
        rated = len(self.ratings)
        module = build_model(self.model, self.widths, len(self.labels) + rated, self.options, rated)
        try:
            module.load_state_dict({name: tensor.float() for name, tensor in self.state.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BundleError(
                f"{self.source.package}: the weights do not fit model {self.model!r} ({reason})"
            ) from error
        return module.eval()


def read_fusion(path: Path) -> FusionWeights:
    """Weights from a safetensors file with our metadata.

    Raises
    ------
    BundleError
        If there is none, or it is damaged.
    """
    if not path.is_file():
        raise BundleError(f"{path} is neither a run folder nor a safetensors file; give --fusion one of them")
    about = describe(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        labels = label_set(about["label_set"])
        if list(labels.labels) != list(about["labels"]):
            raise BundleError(f"{path}: the labels are not those of {labels.name}; train it again with this version")
        return FusionWeights(
            model=about["model"],
            options=about["options"],
            widths={name: int(width) for name, width in about["widths"].items()},
            labels=labels,
            state=state,
            source=Source(about.get("name", "fedaffect"), str(about["version"]), about.get("licence", "")),
            calibration=Calibration(**about.get("calibration", {})),
            lineage=tuple(about.get("lineage", ())),
            ratings=tuple(about.get("ratings", ())),
        )
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError, ValueError, ConfigError) as error:
        raise BundleError(f"{path} holds no fusion layer that this version reads ({error}); give another") from error


def write_fusion(weights: FusionWeights, path: Path) -> None:
    """Write weights as a safetensors file that `read_fusion` reads back equal."""
    about = {
        "model": weights.model,
        "options": dict(weights.options),
        "widths": dict(weights.widths),
        "label_set": weights.labels.name,
        "labels": list(weights.labels.labels),
        "name": weights.source.package,
        "version": weights.source.version,
        "licence": weights.source.licence,
        "calibration": asdict(weights.calibration),
        "lineage": [dict(one) for one in weights.lineage],
        **({"ratings": list(weights.ratings)} if weights.ratings else {}),
    }
    state = {name: tensor.contiguous() for name, tensor in weights.state.items()}
    save_file(state, path, {METADATA: json.dumps(about)})


def export_fusion(weights: FusionWeights, path: Path) -> None:
    """Write the FP32 graph, and check that it computes what torch does.

    Raises
    ------
    BundleError
        If the model cannot be exported, or its graph gives other scores.
    """
    module = weights.module().requires_grad_(False)
    modalities = tuple(weights.widths)
    if strange := [m for m in modalities if m not in MODALITIES]:
        raise BundleError(f"a device has no {', '.join(strange)} to fuse; export a fusion over {', '.join(MODALITIES)}")
    names = [name for m in modalities for name in (m, m + PRESENT)]
    probe = _probe(weights.widths, modalities, np.random.default_rng(0)) | remembered(module, np.random.default_rng(0))
    free = {name: {0: "B", 1: f"T_{name.removesuffix(PRESENT)}"} for name in names}
    outputs: dict[str, dict[int, str]] = {SCORES: {0: "B"}}
    flat: nn.Module = _Flat(module, modalities)
    if getattr(module, "remembers", False):
        # One dialogue at a time, with as many parties as have spoken.
        flat, names = _FlatTurn(module, modalities), [*names, *REMEMBERED]
        free = {name: {1: f"T_{name.removesuffix(PRESENT)}"} for name in names[: -len(REMEMBERED)]}
        free |= {PARTIES: {0: "P"}, SPEAKS: {0: "P"}}
        outputs = {SCORES: {}, AFTER + MEMORY: {}, AFTER + PARTIES: {0: "P"}}
    if hasattr(module, "with_attention"):
        outputs[ATTENTION] = {0: "B", 3: "T", 4: "T"} if module.attends_by_token else {0: "B"}
    with warnings.catch_warnings(), torch.inference_mode():
        # As in `to_onnx`: the exporter warns of shapes that tracing might fix; other shapes are compared below.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                flat.eval(),  # left in training, the exporter would put dropout back after it
                tuple(torch.from_numpy(probe[name]) for name in names),
                str(path),
                input_names=names,
                output_names=list(outputs),
                dynamic_axes=free | outputs,
                opset_version=OPSET,
                dynamo=False,
            )
        except (RuntimeError, ValueError, TypeError) as error:
            logging.getLogger(__name__).debug("export failed", exc_info=True)
            raise BundleError(f"model {weights.model!r} cannot be exported to ONNX ({error})") from error
    _require_equal(module, path, feeds_of(weights, module))


class _Flat(nn.Module):
    """Tokens and presence one after the other, as a graph's inputs are."""

    def __init__(self, model: nn.Module, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.modalities = modalities

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """``m`` (B, T_m, W_m), ``m_present`` (B, T_m), for each modality, to scores (B, C), and attention if told."""
        run = getattr(self.model, "with_attention", self.model)
        made: Tensor | tuple[Tensor, Tensor] = run(
            dict(zip(self.modalities, inputs[::2], strict=True)), dict(zip(self.modalities, inputs[1::2], strict=True))
        )
        return made


class _FlatTurn(_Flat):
    """The same of a model that goes on with a dialogue: its memory comes in and goes out."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Tokens as above, ``memory`` (1, M), ``parties`` (P, h), ``speaks`` (P,), to scores (1, C) and both after."""
        *given, memory, parties, speaks = inputs
        tokens = dict(zip(self.modalities, given[::2], strict=True))
        present = dict(zip(self.modalities, given[1::2], strict=True))
        made: tuple[Tensor, Tensor, Tensor] = self.model.turn(tokens, present, memory, parties, speaks)  # type: ignore[operator]
        return made


def remembered(module: nn.Module, rng: np.random.Generator) -> Feed:
    """A memory to compare graphs on, of three parties; nothing for models that keep none."""
    if not getattr(module, "remembers", False):
        return {}
    states = (module.memory_width - 1) // 3  # type: ignore[operator]
    memory = rng.normal(size=(1, 3 * states + 1)).astype(np.float32)
    memory[:, -1] = 2.0  # a sum of weights
    parties = rng.normal(size=(3, states)).astype(np.float32)
    return {MEMORY: memory, PARTIES: parties, SPEAKS: np.array([False, True, False])}


def feeds_of(weights: FusionWeights, module: nn.Module) -> list[Feed]:
    """Inputs to compare this fusion's graphs on."""
    rng = np.random.default_rng(2)
    return [feed | remembered(module, rng) for feed in probes(weights.widths)]


def probes(widths: Mapping[str, int]) -> list[Feed]:
    """Inputs to compare graphs on: every subset of the modalities, at several lengths."""
    rng = np.random.default_rng(1)
    subsets = [chosen for size in range(1, len(widths) + 1) for chosen in combinations(widths, size)]
    return [_probe(widths, chosen, rng, stretch) for stretch in (0.2, 1.0, 2.5) for chosen in reversed(subsets)]


def _probe(widths: Mapping[str, int], chosen: tuple[str, ...], rng: np.random.Generator, stretch: float = 1.0) -> Feed:
    feed: Feed = {}
    for modality, width in widths.items():
        here = modality in chosen
        length = max(1, int(_LENGTHS[modality] * stretch)) if here else 1
        tokens = rng.normal(rng.normal(), 1.0 + rng.random(), (1, length, width)) * here
        feed[modality], feed[modality + PRESENT] = tokens.astype(np.float32), np.full((1, length), here)
    return feed


def _require_equal(module: nn.Module, path: Path, feeds: list[Feed]) -> None:
    session = open_session(path)
    names = [value.name for value in session.get_outputs()]
    for feed in feeds:
        given = {name: torch.from_numpy(values) for name, values in feed.items()}
        kept = [given.pop(name) for name in REMEMBERED if name in given]
        tokens = {name: values for name, values in given.items() if not name.endswith(PRESENT)}
        here = {m: given[m + PRESENT] for m in tokens}
        with torch.inference_mode():
            if kept:
                expected = [each.numpy() for each in module.turn(tokens, here, *kept)]  # type: ignore[operator]
            elif ATTENTION in names:
                expected = [each.numpy() for each in module.with_attention(tokens, here)]  # type: ignore[operator]
            else:
                expected = [module(tokens, here).numpy()]
        pairs = zip(session.run(names, feed), expected, strict=True)
        worst = max(float(np.abs(made - right).max()) for made, right in pairs)
        # Not `worst > _EQUAL`: NaN must not pass.
        if not worst <= _EQUAL:
            raise BundleError(
                f"{path.name} gives scores {worst:.2g} away from torch's; the model does something that tracing "
                f"freezes: see in_export in client/fedaffect/client/models/cmt.py"
            )


def finish_fusion(
    weights: FusionWeights, scratch: Path, ready: Path, step: bytes | None = None, *, smaller: bool = True
) -> FusionEntry:
    """Export, take the smallest graph that is faithful, and put it into the bundle's folder.

    INT8 only where it is also faster; otherwise weights are stored in half precision, unless that changes answers.

    Parameters
    ----------
    weights : FusionWeights
    scratch, ready : Path
        Folders for what is tried and for what is kept.
    step : bytes, optional
        The model's training step, for devices without torch; see `fedaffect.server.models.bundling.step`.
    smaller : bool
        Whether another graph than FP32's may be taken.
    """
    full, small, half = (scratch / f"fusion.{name}.onnx" for name in ("fp32", "int8", "fp16"))
    export_fusion(weights, full)
    quantise_dynamic(full, small)
    halve_weights(full, half)
    feeds = feeds_of(weights, weights.module())
    slow, fast = latency_ms([full, small], feeds[len(feeds) // 3])
    bound = _FAITHFUL_PRODUCT if weights.options.get("experts") else _FAITHFUL
    changes = {name: _change(full, path, feeds) for name, path in (("int8", small), ("fp16", half))}
    if not smaller:
        precision, taken = "fp32", full
    elif fast < _FASTER * slow and changes["int8"] <= bound:
        precision, taken = "int8", small
    elif changes["fp16"] <= bound:
        precision, taken = "fp16", half
    else:
        precision, taken = "fp32", full
    network = ready / "fusion.onnx"
    graph = onnx.load(taken)
    slim(graph)
    onnx.save(graph, network)
    parameters = ready / WEIGHTS
    write_fusion(weights, parameters)
    population = None
    if weights.population is not None:
        population = Path(shutil.copyfile(weights.population, ready / POPULATION))
    if step is not None:
        (ready / STEP).write_bytes(step)
    return FusionEntry(
        network=FileEntry.of(network),
        widths=dict(weights.widths),
        precision=precision,
        source=weights.source,
        model=weights.model,
        latency_ms={
            "fp32": slow,
            "int8": fast,
            "input": f"{' + '.join(str(_LENGTHS[m]) for m in weights.widths)} tokens",
        },
        fidelity={f"{name}_probability_change": round(c, 5) for name, c in changes.items()} | {"bound": bound},
        weights=FileEntry.of(parameters),
        population=FileEntry.of(population) if population else None,
        step=None if step is None else FileEntry.of(ready / STEP),
        ratings=weights.ratings,
    )


def _change(one: Path, other: Path, feeds: list[Feed]) -> float:
    """Largest change of a class's probability between two graphs."""
    first, second = open_session(one), open_session(other)
    return max(
        float(np.abs(_softmax(first.run([SCORES], f)[0]) - _softmax(second.run([SCORES], f)[0])).max()) for f in feeds
    )


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return shares
