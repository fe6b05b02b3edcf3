"""A draft's encoder replaced by a smaller student of it, where that is both faster and faithful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import torch

from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.encoders.speech import SpeechEncoder, SpeechSettings
from fedaffect.edge.encoders.text import TextEncoder, TextSettings
from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.bundling.draft import Draft
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.gate import latency_ms
from fedaffect.server.models.distillation.distil import DistilConfig, distil
from fedaffect.server.models.distillation.examples import read_examples
from fedaffect.server.models.distillation.students import drop_layers, layers_of

# The corpus that is made, not read.
_NEEDS_NO_FOLDER: Final = "synthetic"


@dataclass(frozen=True, slots=True)
class DistilRequest:
    """Which encoder to make smaller, and on what.

    Parameters
    ----------
    modality : {"text", "audio"}
    corpus : str
        Name of the corpus to learn on; its test split is not read.
    data_dir : Path, optional
        Its folder; None for the synthetic corpus.
    keep : tuple of int
        Layers to keep, counted from 1; every other one, the last included, if empty.
    config : DistilConfig
        How the student is trained.
    """

    modality: str
    corpus: str
    data_dir: Path | None
    keep: tuple[int, ...] = ()
    config: DistilConfig = field(default_factory=DistilConfig)


def requests_of(
    modalities: Sequence[str], data: str | None, keep: str | None, epochs: int
) -> tuple[DistilRequest, ...]:
    """Requests from the command's words.

    Raises
    ------
    ConfigError
        If data are missing or not NAME=DIR, or layers are not numbers.
    """
    if not modalities:
        if data or keep:
            raise ConfigError("--distil-data and --keep-layers say how to distil; add --distil text or --distil audio")
        return ()
    name, equals, folder = (data or "").partition("=")
    if name != _NEEDS_NO_FOLDER and not (equals and folder):
        raise ConfigError(
            "a student learns on data; add --distil-data NAME=DIR, as in meld=data/meld, or --distil-data synthetic"
        )
    try:
        layers = tuple(int(layer) for layer in keep.split(",")) if keep else ()
    except ValueError:
        raise ConfigError(f"--keep-layers takes numbers, as in 1,3,5, not {keep!r}") from None
    config = DistilConfig(epochs=epochs)
    place = Path(folder).expanduser() if folder else None
    return tuple(DistilRequest(modality, name, place, layers, config) for modality in modalities)


def distil_draft(draft: Draft, request: DistilRequest, folder: Path) -> Draft:
    """Train a student of a draft's encoder; the draft with the student in it, or as it was, with what was found.

    Parameters
    ----------
    draft : Draft
        With the module that was exported.
    request : DistilRequest
    folder : Path
        Where to write the student's graph.

    Raises
    ------
    ConfigError
        If a student cannot be made of this encoder, or the corpus lacks the modality.
    DataError
        If the corpus cannot be read.
    """
    if draft.module is None:
        raise ConfigError(f"no student can be made of this {draft.modality} encoder; text and Whisper encoders can")
    teacher = draft.module
    depth = layers_of(teacher)
    keep = request.keep or tuple(range(depth % 2 or 2, depth + 1, 2))
    student = drop_layers(teacher, keep)
    train, dev = read_examples(request.corpus, request.data_dir, _preparer(draft))
    with torch.inference_mode(False), torch.enable_grad():
        found = distil(teacher, student, train, dev, request.config)
    name, example = next(iter(draft.probes[0].items()))
    axes = {0: "samples", example.ndim - 1: "places"}
    network = folder / f"{draft.modality}.student.onnx"
    to_onnx(found.student, name, torch.from_numpy(example), axes, network)
    slow, fast = latency_ms([draft.network, network], draft.probes[0])
    taken = fast < slow and found.cosine >= request.config.bound
    findings = {
        "student": {
            "taken": taken,
            "layers": list(keep),
            "corpus": request.corpus,
            "cosine_to_teacher": round(found.cosine, 4),
            "bound": request.config.bound,
            "teacher_ms": slow,
            "student_ms": fast,
            "teacher_dev_accuracy": round(found.teacher_accuracy, 4),
            "student_dev_accuracy": round(found.student_accuracy, 4),
        }
    }
    if not taken:
        return replace(draft, findings=findings)
    return replace(draft, network=network, module=found.student, findings=findings)


def _preparer(draft: Draft) -> Encoder:
    """The draft as an encoder, for its preprocessing."""
    if isinstance(draft.settings, TextSettings):
        return TextEncoder(draft.network, draft.assets["tokenizer"], draft.settings, width=draft.width, key="draft")
    if isinstance(draft.settings, SpeechSettings):
        return SpeechEncoder(draft.network, draft.assets["voice"], draft.settings, width=draft.width, key="draft")
    raise ConfigError("face encoders are distilled by: python -m fedaffect.server.models.faces")
