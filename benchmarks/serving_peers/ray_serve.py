"""Ray Serve with its batching: python -m benchmarks.serving_peers.ray_serve PROFILE PORT.

A replica a core, each on one thread, as ours has workers. With RAY_SERVE_ENABLE_HA_PROXY=1 HAProxy (which must be
installed) stands in front of them; with RAY_SERVE_THROUGHPUT_OPTIMIZED=1 they share their event loops.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import numpy as np
import ray
import torch
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve

from benchmarks.serving_peers.plain_model import PlainModel, Ready
from benchmarks.serving_peers.questions import decode

BATCH = 8
TIMEOUT_S = 0.01

app = FastAPI()


@serve.deployment(max_ongoing_requests=2 * BATCH, num_replicas=os.cpu_count() or 1)
@serve.ingress(app)
class Affect:
    """The model behind Ray Serve's ingress; batches are padded and masked as ours are."""

    def __init__(self, profile: str) -> None:
        torch.set_num_threads(1)
        self._model = PlainModel(profile)

    @app.get("/readyz")
    async def ready(self) -> dict[str, str]:
        """Whether a replica is up."""
        return {"status": "ready"}

    @app.post("/predict")
    async def predict(self, body: dict[str, str]) -> dict[str, object]:
        """Probabilities by label."""
        prepared = await asyncio.to_thread(lambda: self._model.prepare(decode(body)))
        answer: dict[str, object] = self._model.answer(await self._batched(prepared))
        return answer

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=TIMEOUT_S)
    async def _batched(self, batch: list[Ready]) -> list[NDArray[np.float32]]:
        return list(await asyncio.to_thread(self._model.predict, batch))


def main() -> None:
    """Serve until told to stop."""
    options: dict[str, Any] = {"include_dashboard": False, "num_cpus": os.cpu_count(), "log_to_driver": False}
    ray.init(address="local", **options)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
    serve.run(Affect.bind(sys.argv[1]))  # type: ignore[attr-defined]
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
