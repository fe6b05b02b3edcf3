"""Stream encoders learned without labels, as a file that a run starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fedaffect.client.task import ClientTask
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.edge.system.files import write_whole
from fedaffect.server.models.bundling.recipe import METADATA, describe

KIND: Final = "streams"


@dataclass(frozen=True, slots=True)
class PretrainedStreams:
    """Some of a model's parameters, and what they learned from; a `fedaffect.server.federation.start.Start`.

    Parameters
    ----------
    name : str
        As the user named the file.
    model : str
        Of the registry of models.
    options : mapping
        Its settings.
    widths : mapping of str to int
        By stream.
    state : mapping of str to Tensor
        Parameters by their names in the model.
    encoder_keys : mapping of str to str
        What made the tokens, by stream.
    normalise : str
        How tokens were standardised.
    dataset : str
        Whose clips it learned from.
    loss : float
        On development clips; 1 is what the mean of each feature gets.
    """

    name: str
    model: str
    options: Mapping[str, Any]
    widths: Mapping[str, int]
    state: Mapping[str, Tensor]
    encoder_keys: Mapping[str, str]
    normalise: str
    dataset: str
    loss: float

    def settings(self) -> dict[str, Any]:
        """Settings of a run that starts from it, where its user gave none."""
        return {"model": self.model, "model_options": dict(self.options)}

    def weights(self, task: ClientTask, seed: int) -> Tensor:
        """Parameters, shape (P,): what was learned where the task's model has a place for it, else fresh ones.

        Raises
        ------
        ConfigError
            If the run's model or features are others, or its folds would test clips that were learned from.
        """
        about = task.cohort.about
        for stream, known in self.encoder_keys.items():
            here = keys_in(about.get("encoder_keys", {}), stream)
            if here and known not in here:
                raise self._misfit(f"learned on other {stream} features than the run's", "give the same encoders")
        if (said := about.get("normalise", self.normalise)) != self.normalise:
            raise self._misfit(f"learned with --normalise {self.normalise}, the run has {said}", "let them be equal")
        if about.get("dataset") == self.dataset and about.get("folds"):
            raise self._misfit(
                f"may have heard clips of {self.dataset} that a fold of the run tests", "pretrain on another corpus"
            )
        arrays = task.layout.unflatten(task.initial_weights(seed))
        taken = 0
        for name, tensor in self.state.items():
            if name not in arrays:
                continue
            if arrays[name].shape != tuple(tensor.shape):
                raise self._misfit(
                    f"has {name!r} of shape {tuple(tensor.shape)}, and the run's model of {arrays[name].shape}",
                    "leave --model-option out",
                )
            arrays[name] = np.asarray(tensor.float().numpy())
            taken += 1
        if not taken:
            raise self._misfit("has no parameter of the run's model", f"give --model {self.model}")
        return task.layout.flatten(arrays)

    def _misfit(self, why: str, remedy: str) -> ConfigError:
        return ConfigError(f"--start-from {self.name} {why}; {remedy}")

    def about(self) -> Mapping[str, Any]:
        """Where they come from."""
        return {
            "from": self.name,
            "name": f"streams of {self.model} learned without labels on {self.dataset}",
            "bundle": "",
            "sha256": digest_of(self.state),
            "lineage": [],
        }


def keys_in(encoder_keys: Mapping[str, Any], stream: str) -> frozenset[str]:
    """Which encoders made a stream's tokens, as cohorts and summaries say it: one key or several; empty if unknown."""
    said = encoder_keys.get(stream)
    return frozenset([said] if isinstance(said, str) else said or ())


def digest_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over parameters by name, hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def is_pretrained(path: Path) -> bool:
    """Whether a safetensors file of ours holds streams learned without labels.

    Raises
    ------
    BundleError
        If it is no file of ours.
    """
    return describe(path).get("kind") == KIND


def write_streams(streams: PretrainedStreams, path: Path) -> None:
    """Write a safetensors file that `read_streams` reads back equal; whole or not at all."""
    about = {
        "kind": KIND,
        "model": streams.model,
        "options": dict(streams.options),
        "widths": dict(streams.widths),
        "encoder_keys": dict(streams.encoder_keys),
        "normalise": streams.normalise,
        "dataset": streams.dataset,
        "loss": streams.loss,
    }
    state = {name: tensor.contiguous() for name, tensor in streams.state.items()}
    write_whole(path, save(state, {METADATA: json.dumps(about)}))


def read_streams(path: Path, name: str = "") -> PretrainedStreams:
    """Streams from such a file.

    Raises
    ------
    BundleError
        If there is none, or it is damaged.
    """
    about = describe(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a mapping
        if odd := next((key for key, tensor in state.items() if not tensor.isfinite().all()), None):
            raise ValueError(f"{odd} has values that are no numbers")
        return PretrainedStreams(
            name=name or str(path),
            model=str(about["model"]),
            options=dict(about["options"]),
            widths={stream: int(width) for stream, width in about["widths"].items()},
            state=state,
            encoder_keys={stream: str(key) for stream, key in about["encoder_keys"].items()},
            normalise=str(about["normalise"]),
            dataset=str(about["dataset"]),
            loss=float(about["loss"]),
        )
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{path} holds no pretrained streams ({error}); make them with fedaffect pretrain") from error
