"""The same workload in pfl-research, run by the Python of an environment that has it; prints its figures as JSON.

Set that environment up apart from the project's, since the two want different versions of things:

    python3.11 -m venv pfl-environment
    pfl-environment/bin/pip install 'pfl==0.6.*' torch==2.13.0

``benchmarks.simulation_engines --pfl-python pfl-environment/bin/python`` then starts this file with torchrun, one
process a core. It reads the arrays of the cohort itself, and takes of the project only the model.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch.nn import functional

from fedaffect.client.models.cmt import cross_modal_transformer


class Clock(TrainingProcessCallback):
    """Takes the time of each round."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Metrics]:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now
        return False, Metrics()


def fusion_model(workload: dict[str, Any], streams: list[str]) -> torch.nn.Module:
    """The project's model with the two methods that pfl asks for."""
    model = cross_modal_transformer(
        dict.fromkeys(streams, workload["width"]), workload["classes"], **workload["model_options"]
    )

    def loss(*data: torch.Tensor) -> torch.Tensor:
        *tokens, labels = data
        model.train()
        named = dict(zip(streams, tokens, strict=True))
        present = {s: torch.ones(t.shape[:2], dtype=torch.bool) for s, t in named.items()}
        return functional.cross_entropy(model(named, present), labels)

    model.loss = loss  # type: ignore[assignment]
    model.metrics = lambda *data: {}  # type: ignore[assignment]
    return model


def main(request: dict[str, Any]) -> list[float]:
    """Milliseconds a client update, one figure a timed round."""
    torch.set_num_threads(1)
    workload, folder = request["workload"], Path(request["cohort"])
    streams = json.loads((folder / "cohort.json").read_text())["streams"]
    labels = torch.from_numpy(np.load(folder / "train_labels.npy"))
    tokens = [
        torch.from_numpy(np.load(folder / f"{s}.tokens.npy")).view(len(labels), -1, workload["width"]) for s in streams
    ]
    rows, offsets = np.load(folder / "client_rows.npy"), np.load(folder / "client_offsets.npy")

    def dataset_of(client: int) -> Dataset:
        own = torch.from_numpy(rows[offsets[client] : offsets[client + 1]])
        own = own[torch.randperm(len(own))]
        return Dataset(raw_data=[*(t[own] for t in tokens), labels[own]], user_id=client)

    torch.manual_seed(0)
    model = fusion_model(workload, streams)
    clock = Clock()
    clients = FederatedDataset(dataset_of, lambda: int(np.random.randint(workload["clients"])))  # noqa: NPY002
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=request["rounds"] + request["warm_up"],
            evaluation_frequency=10**9,
            train_cohort_size=workload["clients_a_round"],
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(training_data=clients, val_data=clients),
        model=PyTorchModel(model, torch.optim.SGD, torch.optim.SGD(model.parameters(), 1.0)),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=workload["lr"], local_batch_size=workload["batch_size"]
        ),
        callbacks=[clock],
    )
    return [s * 1e3 / workload["clients_a_round"] for s in clock.seconds[request["warm_up"] :]]


if __name__ == "__main__":
    figures = main(json.loads(sys.argv[1]))
    if os.environ.get("RANK", "0") == "0":
        print("figures: " + json.dumps(figures))
