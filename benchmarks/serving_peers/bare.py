"""The full model without a server: ``serving_peers.bare PROFILE PRECISION DEVICE COUNT [DATA_DIR]``."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.serving_peers.plain_model import PlainModel
from benchmarks.serving_peers.questions import questions
from fedaffect.server.models.full_model import Compute, FullModel


def measure(profile: str, precision: str, device: str, count: str, *data_dir: str) -> dict[str, object]:
    """How near tokens and answers are to FP32's."""
    torch.set_num_threads(1)
    asked = [one.sample for one in questions(int(count), *map(Path, data_dir))]
    plain = PlainModel(profile)
    readies = [plain.prepare(sample) for sample in asked]
    wanted = [_tokens(plain.model, ready) for ready in readies]
    wanted_answers = plain.model.fuse(wanted)
    del plain
    gc.collect()
    model = FullModel.random(profile, Compute(device=device, precision=precision))
    made = [_tokens(model, ready) for ready in readies]
    least = {m: min(_cosine(mine[m], other[m]) for mine, other in zip(made, wanted, strict=True)) for m in made[0]}
    answers = model.fuse(made)
    return {
        "token_cosine_least": least,
        "answer_cosine_least": min(_cosine(a[None], b[None]) for a, b in zip(answers, wanted_answers, strict=True)),
        "answer_difference_largest": float(np.abs(answers - wanted_answers).max()),
        "same_label": float((answers.argmax(1) == wanted_answers.argmax(1)).mean()),
    }


def _tokens(model: FullModel, ready: Mapping[str, object]) -> dict[str, NDArray[np.float32]]:
    return {m: encoder.encode([ready[m]])[0] for m, encoder in model.encoders.items()}  # type: ignore[list-item]


def _cosine(mine: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The least over rows."""
    norms = np.linalg.norm(mine, axis=1) * np.linalg.norm(other, axis=1)
    return float(((mine * other).sum(1) / norms).min())


if __name__ == "__main__":
    print("figures: " + json.dumps(measure(*sys.argv[1:])))
