"""LitServe with its batching: python -m benchmarks.serving_peers.litserve_batched PROFILE PORT.

LitServe reads the annotations of its methods, which must therefore be types and not their names. It gets a worker a
core, each on one thread, as ours has.
"""

import os
import sys
from typing import Any

import litserve  # type: ignore[import-untyped]
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.serving_peers.plain_model import PlainModel, Ready
from benchmarks.serving_peers.questions import decode

BATCH = 8
TIMEOUT_S = 0.01


class Affect(litserve.LitAPI):  # type: ignore[misc]
    """The model behind LitServe's four steps; batches are padded and masked as ours are."""

    profile = "cloud"

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        torch.set_num_threads(1)
        self.model = PlainModel(self.profile)

    def decode_request(self, request: dict[str, Any]) -> Ready:
        """Files to tensors."""
        return self.model.prepare(decode(request))

    def batch(self, inputs: list[Ready]) -> list[Ready]:
        """Left apart; the encoders pad."""
        return inputs

    def predict(self, x: list[Ready]) -> NDArray[np.float32]:
        """(B, C)."""
        return self.model.predict(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Rows."""
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, object]:
        """Probabilities by label."""
        return self.model.answer(output)


if __name__ == "__main__":
    api = Affect(max_batch_size=BATCH, batch_timeout=TIMEOUT_S)
    # The workers are processes that import this module again; what is set on the class does not reach them.
    api.profile = sys.argv[1]
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=os.cpu_count() or 1,
        healthcheck_path="/readyz",
        timeout=600,
    )
    server.run(port=int(sys.argv[2]), generate_client_file=False, log_level="warning", pretty_logs=False)
